//! What passes while somebody watches: `GET /api/events`, server-sent events.
//!
//! One task reads the results of the last minute from the database ([`Sample`]) and renders the overview, once for all
//! streams of a language; nothing runs while nobody watches. A stream gets at most two events a second, fewer if there are
//! many streams, whatever passes. The channel to the streams is bounded: one that reads too slowly gets the event `dropped`
//! and ends, and nothing ever waits for it.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::HeaderMap;
use axum::http::header::CONTENT_TYPE;
use axum::response::{IntoResponse, Response};
use futures::stream;
use serde_json::json;
use tokio::sync::broadcast::error::RecvError;
use tokio::sync::{Notify, OwnedSemaphorePermit, Semaphore, broadcast};
use tokio::time::{Instant, sleep_until, timeout};
use tokio_util::sync::CancellationToken;

use super::Admin;
use super::sample::{Passed, Sample};
use super::shell::Visitor;
use crate::http::page::Language;
use crate::http::problem::{Kind, Problem};

/// Streams at the same time, if the process may open that many files.
pub const MOST_STREAMS: usize = 1000;

/// Events that a slow reader may be behind: at least 16 seconds.
const BEHIND: usize = 32;

/// How often what has passed is sent.
const EVERY: Duration = Duration::from_millis(500);

/// The same for each stream, if that is longer for all of them: at most 500 events a second are written.
const EVERY_FOR_EACH: Duration = Duration::from_millis(2);

/// After this time an event is sent even if nothing has changed, so that a closed connection is noticed.
const QUIET: Duration = Duration::from_secs(5);

/// How long a reading of the database may take: the page says within two seconds that it does not answer.
const PATIENCE: Duration = Duration::from_millis(800);

/// The main part of the page in a language; none if it cannot be rendered.
pub type Render = Box<dyn Fn(Language, &Passed) -> Option<String> + Send + Sync>;

/// What passes. Clones share it.
#[derive(Clone)]
pub struct Live(Arc<Shared>);

struct Shared {
    english: broadcast::Sender<Bytes>,
    french: broadcast::Sender<Bytes>,
    streams: Arc<Semaphore>,
    watched: Notify,
    passed: Mutex<Passed>,
    stop: CancellationToken,
}

/// What a language's streams were sent.
#[derive(Default)]
struct Sent {
    page: String,
    at: Option<Instant>,
}

impl Live {
    /// Without streams, until `stop`; for at most so many streams.
    pub fn new(stop: CancellationToken, streams: usize) -> Self {
        Self::with_limits(stop, streams, BEHIND)
    }

    fn with_limits(stop: CancellationToken, streams: usize, behind: usize) -> Self {
        Self(Arc::new(Shared {
            english: broadcast::Sender::new(behind),
            french: broadcast::Sender::new(behind),
            streams: Arc::new(Semaphore::new(streams)),
            watched: Notify::new(),
            passed: Mutex::default(),
            stop,
        }))
    }

    /// What has passed in the last minute. Reads the database if no stream is open, so that a page without one is right.
    pub async fn passed(&self, sample: impl FnOnce() -> Sample) -> Passed {
        if self.number() == 0 {
            self.read(&mut sample()).await;
        }
        self.lock().clone()
    }

    /// Reads and sends whenever somebody watches.
    pub async fn run(self, sample: impl Fn() -> Sample, render: Render) {
        let stop = self.0.stop.clone();
        let watching = async {
            loop {
                if self.number() == 0 {
                    self.0.watched.notified().await;
                }
                self.watch(sample(), &render).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = watching => {}
        }
    }

    /// Sends what passes until nobody watches.
    async fn watch(&self, mut sample: Sample, render: &Render) {
        let mut sent = [Sent::default(), Sent::default()];
        loop {
            let began = Instant::now();
            self.read(&mut sample).await;
            let passed = self.lock().clone();
            let languages = [Language::English, Language::French];
            for (language, sent) in languages.into_iter().zip(&mut sent) {
                if self.events(language).receiver_count() > 0
                    && let Some(page) = render(language, &passed)
                {
                    self.send(language, page, sent);
                }
            }
            sleep_until(began + pause(self.number())).await;
            if self.number() == 0 {
                return;
            }
        }
    }

    /// Reads the results of the last minute.
    async fn read(&self, sample: &mut Sample) {
        let read = timeout(PATIENCE, sample.read()).await;
        match read {
            Ok(Ok(passed)) => *self.lock() = passed,
            // The page says that the database is away, and what to do.
            Ok(Err(_)) | Err(_) => self.lock().is_old = true,
        }
    }

    /// Sends a page to the streams if it has changed, otherwise from time to time that it has not.
    fn send(&self, language: Language, page: String, sent: &mut Sent) {
        let data = if page != sent.page {
            event("page", &page)
        } else if sent.at.is_none_or(|at| at.elapsed() >= QUIET) {
            event("quiet", "{}")
        } else {
            return;
        };
        *sent = Sent {
            page,
            at: Some(Instant::now()),
        };
        // Without receivers there is nobody to tell.
        let _ = self.events(language).send(data);
    }

    fn events(&self, language: Language) -> &broadcast::Sender<Bytes> {
        match language {
            Language::English => &self.0.english,
            Language::French => &self.0.french,
        }
    }

    /// Open streams.
    fn number(&self) -> usize {
        self.0.english.receiver_count() + self.0.french.receiver_count()
    }

    fn lock(&self) -> MutexGuard<'_, Passed> {
        self.0.passed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new stream, unless there are too many. It ends when its reader may not read any more.
    fn stream(
        &self,
        language: Language,
        may_read: impl Fn() -> bool + Send + 'static,
    ) -> Option<Body> {
        let permit = Arc::clone(&self.0.streams).try_acquire_owned().ok()?;
        let open = Open {
            events: self.events(language).subscribe(),
            stop: self.0.stop.clone(),
            may_read: Box::new(may_read),
            _permit: permit,
        };
        self.0.watched.notify_one();
        Some(Body::from_stream(stream::unfold(Some(open), next)))
    }
}

/// From one sending to the next, with so many streams.
fn pause(streams: usize) -> Duration {
    let streams = u32::try_from(streams).unwrap_or(u32::MAX);
    EVERY.max(EVERY_FOR_EACH.saturating_mul(streams))
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
            let dropped = event("dropped", &json!({ "missed": missed }).to_string());
            Some((Ok(dropped), None))
        }
        Err(RecvError::Closed) => None,
    }
}

/// An event as the standard writes it: each line of the data by itself.
fn event(name: &str, data: &str) -> Bytes {
    let mut text = format!("event: {name}\n");
    for line in data.lines() {
        text.extend(["data: ", line, "\n"]);
    }
    text.push('\n');
    text.into()
}

/// The stream, in the reader's language; 503 if there are too many.
pub async fn events(
    State(admin): State<Arc<Admin>>,
    visitor: Visitor,
    headers: HeaderMap,
) -> Response {
    let reader = Arc::clone(&admin);
    let may_read = move || reader.access.operator(&headers).is_some();
    match admin.live.stream(visitor.language, may_read) {
        Some(body) => ([(CONTENT_TYPE, "text/event-stream")], body).into_response(),
        None => {
            let sentence = "Too many pages are open; close some.";
            Problem::new(Kind::Overloaded, sentence).into_response()
        }
    }
}

#[cfg(test)]
mod tests {
    use axum::body::BodyDataStream;
    use futures::StreamExt;

    use super::*;
    use crate::clients::Clients;
    use crate::store::Store;

    const L: Language = Language::English;

    /// Of a database without a schema.
    fn sample(folder: &tempfile::TempDir) -> impl Fn() -> Sample + use<> {
        let database = Store::sqlite(&folder.path().join("payments.db"));
        move || Sample::new(database.clone(), Clients::single())
    }

    async fn text(body: &mut BodyDataStream) -> Option<String> {
        let chunk = body.next().await?.expect("a chunk");
        Some(String::from_utf8(chunk.to_vec()).expect("text"))
    }

    fn tell(live: &Live, page: &str) {
        live.send(L, page.to_owned(), &mut Sent::default());
    }

    #[tokio::test]
    async fn a_page_is_rendered_once_for_all_streams_of_its_language_while_somebody_watches() {
        let live = Live::new(CancellationToken::new(), MOST_STREAMS);
        let folder = tempfile::tempdir().expect("a folder");
        let render: Render = Box::new(|language, passed| {
            assert_eq!(language, Language::French, "nobody reads English");
            Some(format!("<p>\n{}</p>", passed.is_old))
        });
        tokio::spawn(live.clone().run(sample(&folder), render));
        let french = || live.stream(Language::French, || true).expect("a stream");
        let mut both = [french().into_data_stream(), french().into_data_stream()];
        for body in &mut both {
            let page = text(body).await.expect("an event");
            // The database cannot be read, and the stream says so.
            assert_eq!(page, "event: page\ndata: <p>\ndata: true</p>\n\n");
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_page_that_has_not_changed_is_not_sent_again() {
        let live = Live::new(CancellationToken::new(), MOST_STREAMS);
        let mut body = live
            .stream(L, || true)
            .expect("a stream")
            .into_data_stream();
        let mut sent = Sent::default();
        for page in ["a", "a", "b"] {
            live.send(L, page.to_owned(), &mut sent);
        }
        tokio::time::advance(QUIET).await;
        live.send(L, "b".to_owned(), &mut sent);
        for expected in ["page\ndata: a", "page\ndata: b", "quiet\ndata: {}"] {
            let event = text(&mut body).await.expect("an event");
            assert_eq!(event, format!("event: {expected}\n\n"));
        }
    }

    #[test]
    fn with_many_streams_there_are_fewer_events() {
        assert_eq!(pause(1), EVERY);
        assert_eq!(pause(250), EVERY);
        assert_eq!(pause(MOST_STREAMS), Duration::from_secs(2));
    }

    #[tokio::test]
    async fn a_slow_reader_is_told_and_dropped_and_others_are_not_delayed() {
        let live = Live::with_limits(CancellationToken::new(), 2, 4);
        let mut slow = live
            .stream(L, || true)
            .expect("a stream")
            .into_data_stream();
        let mut quick = live
            .stream(L, || true)
            .expect("a stream")
            .into_data_stream();
        for _ in 0..9 {
            tell(&live, "a");
            assert!(text(&mut quick).await.expect("an event").contains("page"));
        }
        let told = text(&mut slow).await.expect("the marker");
        assert_eq!(told, "event: dropped\ndata: {\"missed\":5}\n\n");
        assert_eq!(text(&mut slow).await, None);
    }

    #[tokio::test]
    async fn a_stream_ends_when_its_reader_has_logged_out() {
        let live = Live::new(CancellationToken::new(), 1);
        let session = CancellationToken::new();
        let is_open = session.clone();
        let body = live.stream(L, move || !is_open.is_cancelled());
        let mut body = body.expect("a stream").into_data_stream();
        tell(&live, "a");
        assert!(text(&mut body).await.is_some());
        session.cancel();
        tell(&live, "b");
        assert_eq!(text(&mut body).await, None);
    }

    #[tokio::test]
    async fn streams_are_bounded_and_end_with_the_process() {
        let stop = CancellationToken::new();
        let live = Live::with_limits(stop.clone(), 1, 4);
        let mut only = live
            .stream(L, || true)
            .expect("a stream")
            .into_data_stream();
        assert!(live.stream(L, || true).is_none());
        stop.cancel();
        assert_eq!(text(&mut only).await, None);
        drop(only);
        assert!(live.stream(L, || true).is_some());
    }
}
