//! The body of one request, shared between its handler and the connection: the part that the handler does not read is
//! read and discarded before the answer is sent.
//!
//! A caller that is still sending when the connection is closed loses its answer: when its next packet is refused, its
//! system discards what it has received. Behind a proxy, the next request on that connection fails as well.

use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};

use crate::metric;

/// The most bytes that are discarded before the answer.
const MOST: usize = 4 * 1024 * 1024;
/// How long discarding may take.
const LONGEST: Duration = Duration::from_secs(1);

/// A handle to the body of one request. The handler has one, the connection another.
#[derive(Debug, Clone)]
pub(super) struct RequestBody(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    body: Incoming,
    /// Whether the handler has started to read it: only then the caller is told to send it (`Expect: 100-continue`).
    asked_for: bool,
    ended: bool,
    broken: bool,
}

impl RequestBody {
    pub(super) fn new(body: Incoming) -> Self {
        Self(Arc::new(Mutex::new(State {
            body,
            asked_for: false,
            ended: false,
            broken: false,
        })))
    }

    /// Reads and discards the rest, within [`MOST`] and [`LONGEST`]. Returns whether the connection can be used for
    /// another request. A caller that `waits` for `100 Continue` does not get it.
    pub(super) async fn discard(&mut self, waits: bool) -> bool {
        {
            let state = self.state();
            if state.broken {
                return false;
            }
            if state.ended || state.body.is_end_stream() {
                return true;
            }
            let announced = state.body.size_hint().lower();
            if announced > MOST as u64 || (waits && !state.asked_for) {
                return counted(false);
            }
        }
        let discarded = tokio::time::timeout(LONGEST, self.read_to_end()).await;
        counted(discarded.unwrap_or(false))
    }

    async fn read_to_end(&mut self) -> bool {
        let mut left = MOST;
        loop {
            let frame = std::future::poll_fn(|context| Pin::new(&mut *self).poll_frame(context));
            match frame.await {
                None => return true,
                Some(Err(_)) => return false,
                Some(Ok(frame)) => {
                    let length = frame.data_ref().map_or(0, Bytes::len);
                    match left.checked_sub(length) {
                        Some(rest) => left = rest,
                        None => return false,
                    }
                }
            }
        }
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn counted(whole: bool) -> bool {
    let result = if whole { "whole" } else { "cut" };
    metrics::counter!(metric::HTTP_BODIES_DISCARDED, "result" => result).increment(1);
    whole
}

impl Body for RequestBody {
    type Data = Bytes;
    type Error = hyper::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, hyper::Error>>> {
        let mut state = self.state();
        state.asked_for = true;
        let frame = ready!(Pin::new(&mut state.body).poll_frame(context));
        match &frame {
            None => state.ended = true,
            Some(Err(_)) => state.broken = true,
            Some(Ok(_)) => {}
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        let state = self.state();
        state.ended || state.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.state().body.size_hint()
    }
}
