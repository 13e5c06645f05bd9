//! The time by the database's clock, which all workers share: how old an event is and when it was signed must not depend
//! on the clock of the process that makes the call.
//!
//! The database is queried at intervals. In between, time advances by this machine's monotonic clock, which nobody can
//! set.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{Instant, sleep, timeout};

use crate::domain::Timestamp;
use crate::store::Store;

/// How long an answer of the database is used.
const FRESH: Duration = Duration::from_secs(30);

/// How long the database may take to answer.
const PATIENCE: Duration = Duration::from_secs(5);

/// Pause between two queries to a database that does not answer.
const PAUSE: Duration = Duration::from_millis(200);

/// A larger difference from this process's clock is logged.
const TOLERATED: time::Duration = time::Duration::MINUTE;

/// The database's clock, as this process knows it.
pub struct DatabaseClock {
    database: Store,
    seen: Mutex<Option<Seen>>,
    asking: tokio::sync::Mutex<()>,
    differs: AtomicBool,
}

#[derive(Clone, Copy)]
struct Seen {
    now: Timestamp,
    at: Instant,
}

impl Seen {
    fn now(self) -> Timestamp {
        self.now + self.at.elapsed()
    }
}

impl DatabaseClock {
    /// The clock of this database.
    pub fn new(database: Store) -> Self {
        Self {
            database,
            seen: Mutex::new(None),
            asking: tokio::sync::Mutex::new(()),
            differs: AtomicBool::new(false),
        }
    }

    /// The time now. Waits for the database if it has never answered; later an old answer is good enough.
    pub async fn now(&self) -> Timestamp {
        loop {
            let seen = self.seen();
            if let Some(seen) = seen {
                if seen.at.elapsed() < FRESH {
                    return seen.now();
                }
                if let Ok(_asking) = self.asking.try_lock() {
                    self.ask().await;
                }
                return self.seen().unwrap_or(seen).now();
            }
            let asking = self.asking.lock().await;
            if self.seen().is_none() && !self.ask().await {
                drop(asking);
                sleep(PAUSE).await;
            }
        }
    }

    async fn ask(&self) -> bool {
        let asked = Instant::now();
        let Ok(Ok(server)) = timeout(PATIENCE, self.database.server()).await else {
            return false;
        };
        // The database read its clock at some moment in between.
        let at = asked + asked.elapsed() / 2;
        let seen = Seen {
            now: server.now,
            at,
        };
        self.tell(seen.now() - OffsetDateTime::now_utc());
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(seen);
        true
    }

    fn tell(&self, ahead: time::Duration) {
        let differs = ahead.abs() > TOLERATED;
        if differs == self.differs.swap(differs, Ordering::Relaxed) {
            return;
        }
        if differs {
            tracing::warn!(
                seconds = ahead.whole_seconds(),
                "the database's clock differs from this process's clock by more than a minute: callbacks use the \
                 database's; synchronize the clocks (NTP)"
            );
        } else {
            tracing::info!("the database's clock and this process's clock agree again");
        }
    }

    fn seen(&self) -> Option<Seen> {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
