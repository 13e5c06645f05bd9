//! Connections: accepted, limited in number and time, and closed in order when the service stops.
//!
//! A connection that sends no complete request head within [`Limits::head_time`] is closed; this includes keep-alive
//! connections between two requests. At [`Limits::connections`] a connection without a request is closed for a new one,
//! the longest idle first; if all have a request, the new one is answered 503 and closed. So neither idle nor slow
//! connections keep others out.
//!
//! No answer is lost because its caller is still sending: the rest of a body is read before the answer is sent
//! (`request_body.rs`), and a connection that is closed after an answer is closed for writing first (`linger.rs`).

mod connection_limit;
pub(super) mod head;
mod linger;
mod request_body;
pub(super) mod socket;

use std::convert::Infallible;
use std::io;
use std::net::IpAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use axum::http::header::{CACHE_CONTROL, CONNECTION};
use axum::http::{HeaderValue, Request};
use axum::response::{IntoResponse, Response};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use tokio::net::{TcpListener, TcpStream};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tower_service::Service;

use super::problem::{Kind, Problem};
use crate::metric;
use connection_limit::{ConnectionLimit, Slot};
use request_body::RequestBody;
use socket::Socket;

/// Limits of a listener's connections.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Open at the same time.
    pub connections: usize,
    /// From the end of one request, or from the start, to the end of the next request's head.
    pub head_time: Duration,
}

/// Request line and headers together, in bytes; longer ones are answered 431.
const HEAD_SIZE: usize = 16 * 1024;

/// New connections beyond the limit that may be answered 503 at the same time; further ones are closed without an answer.
const TOLD_OFF: usize = 64;
/// How long such a connection may take to send its request, so that it can be answered.
const TOLD_OFF_WITHIN: Duration = Duration::from_secs(2);

/// How long a stopping service keeps a connection without a request: its last answer may be on the way, and a request
/// that was just sent is still answered.
const LINGER: Duration = Duration::from_secs(1);

/// Pause after the system could not accept a connection, for example because too many files are open.
const AFTER_REFUSAL: Duration = Duration::from_millis(500);

/// The address at the other end of a request's connection.
#[derive(Debug, Clone, Copy)]
pub struct Peer(pub IpAddr);

/// Serves connections until `stop`, then finishes the requests under way.
pub async fn serve(listener: TcpListener, router: Router, limits: Limits, stop: CancellationToken) {
    let limit = ConnectionLimit::new(limits.connections);
    let overflow = ConnectionLimit::new(TOLD_OFF);
    let connections = TaskTracker::new();
    loop {
        let accepted = tokio::select! {
            biased;
            () = stop.cancelled() => break,
            accepted = listener.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) if broke_off(&error) => continue,
            Err(error) => {
                tracing::warn!(%error, "a connection cannot be accepted");
                tokio::time::sleep(AFTER_REFUSAL).await;
                continue;
            }
        };
        // Otherwise an answer waits until the last packet of the previous one is acknowledged.
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY could not be set");
        }
        if let Some(slot) = limit.take().await {
            let builder = builder(limits.head_time);
            connections.spawn(serve_one(
                builder,
                stream,
                router.clone(),
                slot,
                stop.clone(),
            ));
            continue;
        }
        metrics::counter!(metric::HTTP_CONNECTIONS_REFUSED).increment(1);
        if let Some(slot) = overflow.take_free() {
            let mut builder = builder(TOLD_OFF_WITHIN);
            builder.keep_alive(false);
            connections.spawn(serve_one(builder, stream, too_many(), slot, stop.clone()));
        }
    }
    drop(listener);
    connections.close();
    connections.wait().await;
}

fn builder(head_time: Duration) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(head_time)
        .max_header_size(HEAD_SIZE);
    builder
}

/// One connection, to its end.
async fn serve_one(
    builder: http1::Builder,
    stream: TcpStream,
    router: Router,
    slot: Arc<Slot>,
    stop: CancellationToken,
) {
    let at = Arc::clone(&slot);
    let peer = stream.peer_addr().ok().map(|address| Peer(address.ip()));
    let service = service_fn(move |mut request: Request<Incoming>| {
        let (router, at) = (router.clone(), Arc::clone(&at));
        if let Some(peer) = peer {
            request.extensions_mut().insert(peer);
        }
        async move { Ok::<_, Infallible>(answer(router, request, &at).await) }
    });
    let socket = TokioIo::new(Socket::new(stream));
    let mut connection = builder.serve_connection(socket, service);
    let (mut stopping, mut lingering) = (false, pin!(tokio::time::sleep(LINGER)));
    let ended = loop {
        tokio::select! {
            biased;
            // First, so that no request is started that would then be cut off.
            () = slot.wanted() => return,
            () = stop.cancelled(), if !stopping => {
                stopping = true;
                Pin::new(&mut connection).graceful_shutdown();
                lingering.as_mut().reset(Instant::now() + LINGER);
            }
            ended = &mut connection => break ended,
            () = lingering.as_mut(), if stopping => {
                if !slot.is_busy() {
                    return;
                }
                lingering.as_mut().reset(Instant::now() + LINGER);
            }
        }
    };
    let mut socket = connection.into_parts().io.into_inner();
    if let Err(error) = ended {
        tracing::debug!(%error, "a connection broke");
        if error.is_parse_version_h2() {
            socket.refuse_http_2().await;
        }
    }
    if let Some(mut stream) = socket.half_closed() {
        tokio::select! {
            biased;
            () = slot.wanted() => {}
            () = async { stop.cancelled().await; tokio::time::sleep(LINGER).await } => {}
            () = linger::linger(&mut stream) => {}
        }
    }
}

/// Answers one request. First discards the part of the body that its handler has not read; if it does not end in time,
/// the connection is closed after the answer.
async fn answer(mut router: Router, request: Request<Incoming>, slot: &Arc<Slot>) -> Response {
    let busy = slot.busy();
    let (head, body) = request.into_parts();
    let mut body = RequestBody::new(body);
    let waits = head::waits_to_send(&head);
    let mut response = match head::check(&head) {
        Ok(()) => {
            let request = Request::from_parts(head, Body::new(body.clone()));
            match router.call(request).await {
                Ok(response) => response,
                Err(never) => match never {},
            }
        }
        Err(problem) => problem.into_response(),
    };
    busy.may_make_room();
    let headers = response.headers_mut();
    let no_store = HeaderValue::from_static("no-store");
    headers.entry(CACHE_CONTROL).or_insert(no_store);
    if !body.discard(waits).await {
        headers.insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response
}

/// The answer to connections beyond the limit.
fn too_many() -> Router {
    Router::new().fallback(async || {
        Problem::new(
            Kind::Overloaded,
            "Too many connections are open, and each has a request under way; try again shortly.",
        )
    })
}

/// Errors of the one connection that was being accepted, not of the listener.
fn broke_off(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionRefused
            | io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
    )
}
