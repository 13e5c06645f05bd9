//! What the stand-ins of all platforms share: which of their requests fail and how, the answers that they store under
//! idempotency keys, and the webhooks that they send.

use std::collections::{HashMap, VecDeque};

use axum::body::{Body, Bytes};
use axum::http::Response;
use futures::stream;
use rand::rngs::StdRng;
use rand::{RngExt, SeedableRng};
use serde_json::Value;
use tokio::sync::mpsc::UnboundedSender;

/// A status and an object.
pub type Reply = (u16, Value);

/// How a request fails.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Fault {
    /// 500, and it was not executed. Stripe stores this under the key; PayPal does not, so a repeated request is executed.
    ErrorBefore,
    /// 500, although it was executed; stored.
    ErrorAfter,
    /// 500, not executed, but stored by PayPal, too.
    StoredError,
    /// This refusal, although it was executed; stored.
    RefusedAfter(&'static str),
    /// Executed, but there is no answer.
    Silent,
    /// It is lost on its way: not executed, and there is no answer.
    Lost,
    /// 429, not executed.
    Busy,
    /// 429 with `Retry-After`, in seconds.
    BusyFor(u32),
    /// Executed; the answer is a page for people.
    Html,
    /// Executed; half of the answer.
    Half,
    /// Executed; the connection ends in the middle of the answer.
    Cut,
    /// Executed; the answer never ends.
    Endless,
    /// Executed; the answer leads elsewhere.
    Redirect,
    /// Executed; the answer is about another amount.
    OtherAmount,
    /// Executed; the answer is about another payment.
    OtherPayment,
    /// Executed; the answer says only that there is an order, and where its page is.
    Short,
    /// Executed; the answer says that it was declined.
    SaysDeclined,
    /// Waits to be released before it is executed: it is delayed on its way.
    Delayed,
    /// Begins, and waits to be released before it is executed: its key is in use.
    InProgress,
}

/// Which requests of a stand-in fail.
#[derive(Default)]
pub struct Faults {
    next: VecDeque<(&'static str, Fault)>,
    random: Option<AtRandom>,
    failed: usize,
}

struct AtRandom {
    random: StdRng,
    one_in: u32,
    faults: &'static [Fault],
}

impl Faults {
    /// The next request whose path ends like this fails.
    pub fn fail(&mut self, path: &'static str, fault: Fault) {
        self.next.push_back((path, fault));
    }

    /// From now on one request in so many fails in one of these ways, as the seed decides.
    pub fn fail_at_random(&mut self, seed: u64, one_in: u32, faults: &'static [Fault]) {
        self.random = Some(AtRandom {
            random: StdRng::seed_from_u64(seed),
            one_in,
            faults,
        });
    }

    /// From now on no request fails.
    pub fn fail_never(&mut self) {
        self.random = None;
    }

    /// How many requests have failed.
    pub fn so_far(&self) -> usize {
        self.failed
    }

    /// How the request that has come now fails, if it does. At random only in ways that are allowed for it.
    pub fn of(&mut self, path: &str, is_allowed: impl Fn(Fault) -> bool) -> Option<Fault> {
        let found = self.next.iter().position(|(end, _)| path.ends_with(end));
        let fault = match found {
            Some(place) => self.next.remove(place).map(|(_, fault)| fault),
            None => self.random_one().filter(|fault| is_allowed(*fault)),
        };
        self.failed += usize::from(fault.is_some());
        fault
    }

    fn random_one(&mut self) -> Option<Fault> {
        let AtRandom {
            random,
            one_in,
            faults,
        } = self.random.as_mut()?;
        let fails = random.random_range(0..*one_in) == 0;
        let fault = faults.get(random.random_range(0..faults.len())).copied();
        fault.filter(|_| fails)
    }
}

/// The answers stored under idempotency keys, with their requests; none while a request is in progress.
#[derive(Default)]
pub struct Keys(HashMap<String, (String, Option<Reply>)>);

/// What is stored under a key.
pub enum Stored {
    Nothing,
    /// The answer to the same request.
    Answer(Reply),
    /// Another request.
    Other,
    InProgress,
}

impl Keys {
    /// What a request with this key gets.
    pub fn stored(&self, key: Option<&String>, request: &str) -> Stored {
        match key.and_then(|key| self.0.get(key)) {
            None => Stored::Nothing,
            Some((first, _)) if first != request => Stored::Other,
            Some((_, None)) => Stored::InProgress,
            Some((_, Some(reply))) => Stored::Answer(reply.clone()),
        }
    }

    pub fn store(&mut self, key: String, request: String, reply: Reply) {
        self.0.insert(key, (request, Some(reply)));
    }

    /// The request has begun.
    pub fn begin(&mut self, key: String, request: String) {
        self.0.insert(key, (request, None));
    }

    pub fn forget(&mut self, key: &str) {
        self.0.remove(key);
    }
}

/// The answer as it arrives.
pub async fn respond((status, answer): Reply, fault: Option<Fault>) -> Response<Body> {
    let text = answer.to_string();
    let response = Response::builder();
    let response = match fault {
        Some(Fault::Silent | Fault::Lost) => std::future::pending().await,
        Some(Fault::Redirect) => response.status(307).header("location", "/v1/elsewhere"),
        Some(Fault::BusyFor(seconds)) => response.status(status).header("retry-after", seconds),
        _ => response.status(status),
    };
    let half = || text[..text.len() / 2].to_owned();
    let body = match fault {
        Some(Fault::Html) => Body::from("<html>Have a nice day</html>"),
        Some(Fault::Half) => Body::from(half()),
        Some(Fault::Cut) => {
            let ended = std::io::Error::other("cut in the middle");
            Body::from_stream(stream::iter([Ok(Bytes::from(half())), Err(ended)]))
        }
        Some(Fault::Endless) => {
            let more = || std::io::Result::Ok(Bytes::from(" ".repeat(10_000)));
            Body::from_stream(stream::repeat_with(more))
        }
        _ if status == 204 => Body::empty(),
        _ => Body::from(text),
    };
    response.body(body).unwrap()
}

/// Who delivers the webhooks, as bodies; nobody in most tests, which send their own.
#[derive(Default)]
pub struct Reports(Option<UnboundedSender<String>>);

impl Reports {
    /// From now on everything is reported to somebody.
    pub fn go_to(&mut self, courier: UnboundedSender<String>) {
        self.0 = Some(courier);
    }

    /// Reports an event.
    pub fn send(&self, event: String) {
        if let Some(courier) = &self.0 {
            // At the end of a test nobody is there any more.
            let _ = courier.send(event);
        }
    }
}

/// What a platform holds for one payment, in minor units.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Book {
    /// Charges that were captured, whether or not they were returned, or are held.
    pub charges: usize,
    /// Held, and not captured.
    pub held: i64,
    pub captured: i64,
    /// Those that stand, sorted.
    pub refunds: Vec<i64>,
}
