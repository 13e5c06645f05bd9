//! What passes while somebody watches: `GET /api/events`, server-sent events.
//!
//! One subscription to the results serves every stream of this process, and there is none while nobody watches. A stream
//! gets at most four events a second, whatever passes. The channel to the streams is bounded: one that reads too slowly
//! gets the event `dropped` and ends, and nothing ever waits for it.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde::Serialize;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;

use super::Admin;
use crate::broker::{Broker, Delivery};
use crate::http::problem::{Kind, Problem};
use crate::wire::result::PAYMENT_ID_HEADER;

/// Streams at the same time. Each holds a connection, and the admin listener has 256, which probes need, too.
pub const MOST_STREAMS: usize = 128;

/// Events that a slow reader may be behind: about 16 seconds.
const BEHIND: usize = 64;

/// How often what has passed is sent.
const EVERY: Duration = Duration::from_millis(250);

/// After this many of those times an event is sent even if nothing has passed, so that a closed connection is noticed.
const QUIET: u32 = 4;

/// How many of the last results are kept.
const LAST: usize = 10;

/// What passes. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    events: broadcast::Sender<Bytes>,
    streams: Arc<Semaphore>,
    watched: Notify,
    passed: Mutex<Passed>,
    stop: CancellationToken,
}

/// The results since somebody began to watch.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Passed {
    /// How many, by event type.
    pub counts: BTreeMap<String, u64>,
    /// The last ones, the newest first.
    pub last: VecDeque<PassedResult>,
}

/// A result that has passed.
#[derive(Debug, Clone, Serialize)]
pub struct PassedResult {
    /// The event type, such as `payment.succeeded`.
    pub kind: String,
    /// The client.
    pub client: String,
    /// The payment.
    pub payment_id: i64,
}

impl Live {
    /// Without streams, until `stop`.
    pub fn new(stop: CancellationToken) -> Self {
        Self::with_limits(stop, MOST_STREAMS, BEHIND)
    }

    fn with_limits(stop: CancellationToken, streams: usize, behind: usize) -> Self {
        Self(Arc::new(Shared {
            events: broadcast::Sender::new(behind),
            streams: Arc::new(Semaphore::new(streams)),
            watched: Notify::new(),
            passed: Mutex::default(),
            stop,
        }))
    }

    /// What has passed since somebody began to watch.
    pub fn passed(&self) -> Passed {
        self.lock().clone()
    }

    /// Subscribes to the results whenever somebody watches.
    pub async fn run(self, broker: Arc<dyn Broker>) {
        let stop = self.0.stop.clone();
        let watching = async {
            loop {
                if self.0.events.receiver_count() == 0 {
                    self.0.watched.notified().await;
                }
                self.watch(broker.as_ref()).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
    }

    /// Sends what passes until nobody watches.
    async fn watch(&self, broker: &dyn Broker) {
        *self.lock() = Passed::default();
        let mut results = broker.subscribe_results(&["payment.#", "refund.#"]);
        let mut tick = interval(EVERY);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let (mut changed, mut quiet) = (false, 0);
        loop {
            tokio::select! {
                biased;
                _ = tick.tick() => {
                    if self.0.events.receiver_count() == 0 {
                        return;
                    }
                    quiet = if changed { 0 } else { quiet + 1 };
                    if changed || quiet % QUIET == 0 {
                        self.send(if changed { "passed" } else { "quiet" });
                    }
                    changed = false;
                }
                delivery = results.deliveries.recv() => match delivery {
                    Some(delivery) => {
                        changed |= self.note(&delivery);
                        delivery.settle.acknowledge().await;
                    }
                    // The broker was closed: the process is stopping.
                    None => return self.0.stop.cancelled().await,
                },
            }
        }
    }

    /// Counts a result: its routing key is the event type and the client.
    fn note(&self, delivery: &Delivery) -> bool {
        let id = delivery.properties.headers.get(PAYMENT_ID_HEADER);
        let id = id.and_then(|id| id.parse().ok());
        let (Some((kind, client)), Some(payment_id)) = (delivery.routing_key.rsplit_once('.'), id)
        else {
            return false;
        };
        let mut passed = self.lock();
        *passed.counts.entry(kind.to_owned()).or_default() += 1;
        passed.last.truncate(LAST - 1);
        passed.last.push_front(PassedResult {
            kind: kind.to_owned(),
            client: client.to_owned(),
            payment_id,
        });
        true
    }

    fn send(&self, name: &str) {
        let data = json!(self.passed());
        // Without receivers there is nobody to tell.
        let _ = self.0.events.send(event(name, &data));
    }

    fn lock(&self) -> MutexGuard<'_, Passed> {
        self.0.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream, unless there are too many. It ends when its reader may not read any more.
    fn stream(&self, may_read: impl Fn() -> bool + Send + 'static) -> Option<Body> {
        let permit = Arc::clone(&self.0.streams).try_acquire_owned().ok()?;
        let open = Open {
            events: self.0.events.subscribe(),
            stop: self.0.stop.clone(),
            may_read: Box::new(may_read),
            _permit: permit,
        };
        self.0.watched.notify_one();
        Some(Body::from_stream(stream::unfold(Some(open), next)))
    }
}

/// An open stream.
struct Open {
    events: broadcast::Receiver<Bytes>,
    stop: CancellationToken,
    may_read: Box<dyn Fn() -> bool + Send>,
    _permit: OwnedSemaphorePermit,
}

/// The next event of a stream, and the rest of the stream.
async fn next(open: Option<Open>) -> Option<(Result<Bytes, Infallible>, Option<Open>)> {
    let mut open = open?;
    let received = tokio::select! {
        biased;
        () = open.stop.cancelled() => return None,
        received = open.events.recv() => received,
    };
    match received {
        // Logged out, or the session has ended.
        Ok(_) if !(open.may_read)() => None,
        Ok(event) => Some((Ok(event), Some(open))),
        Err(RecvError::Lagged(missed)) => {
            let dropped = event("dropped", &json!({ "missed": missed }));
            Some((Ok(dropped), None))
        }
        Err(RecvError::Closed) => None,
    }
}

/// An event as the standard writes it; the JSON has no line breaks.
fn event(name: &str, data: &serde_json::Value) -> Bytes {
    format!("event: {name}\ndata: {data}\n\n").into()
}

/// The stream; 503 if there are too many.
pub async fn events(State(admin): State<Arc<Admin>>, headers: HeaderMap) -> Response {
    let reader = Arc::clone(&admin);
    let may_read = move || reader.access.operator(&headers).is_some();
    match admin.live.stream(may_read) {
        Some(body) => ([(CONTENT_TYPE, "text/event-stream")], body).into_response(),
        None => {
            let sentence = "Too many pages are open; close some.";
            Problem::new(Kind::Overloaded, sentence).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use futures::StreamExt;

    use super::*;
    use crate::broker::embedded::Embedded;
    use crate::broker::{Exchange, Properties, Publication};

    fn result(kind: &str, id: i64) -> Publication {
        let headers = [(PAYMENT_ID_HEADER.to_owned(), id.to_string())];
        Publication {
            exchange: Exchange::Results,
            routing_key: format!("{kind}.shop"),
            properties: Properties {
                headers: headers.into(),
                ..Properties::default()
            },
            body: "{}".to_owned(),
            mandatory: false,
        }
    }

    async fn text(body: &mut axum::body::BodyDataStream) -> Option<String> {
        let chunk = body.next().await?.expect("a chunk");
        Some(String::from_utf8(chunk.to_vec()).expect("text"))
    }

    #[tokio::test]
    async fn results_are_counted_while_somebody_watches() {
        let live = Live::new(CancellationToken::new());
        let broker = Arc::new(Embedded::new().expect("a broker"));
        tokio::spawn(live.clone().run(Arc::clone(&broker) as Arc<dyn Broker>));
        let mut body = live.stream(|| true).expect("a stream").into_data_stream();
        // The first event is sent when the subscription exists.
        let first = text(&mut body).await.expect("an event");
        assert!(first.starts_with("event: quiet\n"), "{first}");
        let sent = [result("payment.succeeded", 7), result("refund.failed", 8)];
        broker.publish(&sent).await;
        let passed = loop {
            let event = text(&mut body).await.expect("an event");
            if event.starts_with("event: passed\n") {
                break event;
            }
        };
        assert!(passed.ends_with("\n\n"), "{passed}");
        let now = live.passed();
        assert_eq!(now.counts["payment.succeeded"], 1);
        assert_eq!(now.last[0].kind, "refund.failed");
        assert_eq!((now.last[1].payment_id, &*now.last[1].client), (7, "shop"));
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_and_dropped_and_others_are_not_delayed() {
        let live = Live::with_limits(CancellationToken::new(), 2, 4);
        let mut slow = live.stream(|| true).expect("a stream").into_data_stream();
        let mut quick = live.stream(|| true).expect("a stream").into_data_stream();
        for _ in 0..9 {
            live.send("passed");
            assert!(text(&mut quick).await.expect("an event").contains("passed"));
        }
        let told = text(&mut slow).await.expect("the marker");
        assert_eq!(told, "event: dropped\ndata: {\"missed\":5}\n\n");
        assert_eq!(text(&mut slow).await, None);
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_reader_has_logged_out() {
        let live = Live::new(CancellationToken::new());
        let session = CancellationToken::new();
        let is_open = session.clone();
        let body = live.stream(move || !is_open.is_cancelled());
        let mut body = body.expect("a stream").into_data_stream();
        live.send("passed");
        assert!(text(&mut body).await.is_some());
        session.cancel();
        live.send("passed");
        assert_eq!(text(&mut body).await, None);
    }

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_the_process() {
        let stop = CancellationToken::new();
        let live = Live::with_limits(stop.clone(), 1, 4);
        let mut only = live.stream(|| true).expect("a stream").into_data_stream();
        assert!(live.stream(|| true).is_none());
        stop.cancel();
        assert_eq!(text(&mut only).await, None);
        drop(only);
        assert!(live.stream(|| true).is_some());
    }
}
