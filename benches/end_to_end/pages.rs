//! Open operators' pages: each does what the page's script does in a browser (src/http/admin/assets/admin.js), except that
//! it shows nothing.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Notify;
use tokio::task::JoinSet;

use crate::support::operator::Operator;

/// The page that an operator leaves open.
const PAGE: &str = "/";

/// After this a browser connects again to events that have ended.
const RECONNECTED_AFTER: Duration = Duration::from_secs(3);

/// Pages that are open until this is closed.
pub struct Pages {
    fetched: Arc<AtomicU64>,
    open: JoinSet<()>,
}

impl Pages {
    /// Opens so many, each in its own session.
    pub async fn open(admin: SocketAddr, number: usize) -> Self {
        let (fetched, mut open) = (Arc::new(AtomicU64::new(0)), JoinSet::new());
        for _ in 0..number {
            let operator = Operator::log_in(admin).await;
            let page = Page {
                operator,
                passed: Notify::new(),
                comes: AtomicBool::new(false),
                fetched: Arc::clone(&fetched),
            };
            let renewed = page.fetch().await;
            open.spawn(async move {
                tokio::join!(page.renew(renewed), page.listen());
            });
        }
        fetched.store(0, Ordering::Relaxed);
        Self { fetched, open }
    }

    /// Closes them, and returns how often they were fetched, or came by an event, after they were opened.
    pub fn close(mut self) -> u64 {
        assert!(self.open.try_join_next().is_none(), "a page has ended");
        self.fetched.load(Ordering::Relaxed)
    }
}

struct Page {
    operator: Operator,
    /// A result has passed: an earlier release says so, and the page is fetched.
    passed: Notify,
    /// The page comes by the events, so that it is not fetched.
    comes: AtomicBool,
    fetched: Arc<AtomicU64>,
}

impl Page {
    /// Fetches the page as often as it says, or when a result passes, unless it comes by the events; one fetch at a time.
    async fn renew(&self, mut renewed: Duration) {
        loop {
            // Results that pass during a fetch do not count.
            let _ = tokio::time::timeout(renewed, self.passed.notified()).await;
            if !self.comes.load(Ordering::Relaxed) {
                renewed = self.fetch().await;
            }
        }
    }

    /// Returns how long to wait until the next time.
    async fn fetch(&self) -> Duration {
        let answer = self.operator.get(PAGE).await.expect("an answer");
        assert_eq!(answer.status(), 200, "the page");
        let html = answer.text().await.expect("a page");
        self.fetched.fetch_add(1, Ordering::Relaxed);
        let renewed = html.split_once("data-renewed=\"");
        let renewed = renewed.and_then(|(_, rest)| rest.split_once('"')?.0.parse().ok());
        Duration::from_millis(renewed.expect("how soon the page is fetched again"))
    }

    /// Reads the events; if they end, connects again.
    async fn listen(&self) {
        loop {
            let mut events = self.operator.get("/api/events").await.expect("an answer");
            assert_eq!(events.status(), 200, "the events");
            while let Ok(Some(event)) = events.chunk().await {
                if event.starts_with(b"event: page") {
                    self.comes.store(true, Ordering::Relaxed);
                    self.fetched.fetch_add(1, Ordering::Relaxed);
                }
                // An event is sent as a whole, so it is never in two chunks that begin with something else.
                if event.starts_with(b"event: passed") || event.starts_with(b"event: dropped") {
                    self.passed.notify_waiters();
                }
            }
            self.comes.store(false, Ordering::Relaxed);
            tokio::time::sleep(RECONNECTED_AFTER).await;
        }
    }
}
