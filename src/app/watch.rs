//! Tasks that watch: the store, the consumers, and the results that wake waiting requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::broker::{Broker, Connection, Consumer};
use crate::config::Role;
use crate::domain::{PaymentId, PaymentStatus};
use crate::http::wait::Waiters;
use crate::messages::result::PAYMENT_ID_HEADER;
use crate::pulse::Pulse;
use crate::store::Database;

/// A consumer that is away for this long although the broker is there ends the process.
const CONSUMER_MISSING: Duration = Duration::from_secs(30);

/// How often is looked whether anybody waits for an outcome.
const NOBODY_WAITS: Duration = Duration::from_secs(5);

/// How often the database is asked for some of the payments that are waited for.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How many.
const LOOKED_AT: usize = 20;

/// A subscription that brings nothing is renewed at most so often.
const RENEWED_LATELY: Duration = Duration::from_secs(10);

/// Looks at the store again and again; the first to reach it in the role that does everything brings it up to date.
pub(super) async fn watch_store(
    database: Arc<dyn Database>,
    role: Role,
    state: watch::Sender<Result<(), String>>,
    (pulse, stop): (Pulse, CancellationToken),
) {
    let mut migrated = role != Role::All;
    loop {
        let mut seen = if migrated {
            Ok(())
        } else {
            database.migrate().await
        };
        if seen.is_ok() {
            migrated = true;
            let _in_hand = pulse.take();
            seen = database.check().await;
        }
        let seen = seen.map_err(|error| error.to_string());
        let changed = *state.borrow() != seen;
        if changed {
            match &seen {
                Ok(()) => tracing::info!("the database can be used"),
                Err(reason) => tracing::warn!(reason, "the database cannot be used; trying again"),
            }
            let _previous = state.send_replace(seen);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Ends with an error when some consumer was away for too long while the broker was there.
pub(super) async fn watch_consumers(
    connection: watch::Receiver<Connection>,
    consumers: Vec<watch::Receiver<bool>>,
    stop: CancellationToken,
) -> Option<AppError> {
    let mut missing_since = None;
    loop {
        let all_there = consumers.iter().all(|registered| *registered.borrow());
        let up = matches!(*connection.borrow(), Connection::Up);
        if all_there || !up {
            missing_since = None;
        } else if missing_since.get_or_insert_with(Instant::now).elapsed() > CONSUMER_MISSING {
            return Some(AppError::ConsumerMissing(CONSUMER_MISSING));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// Results wake the requests that wait here. While nobody waits, none are asked for: every process that listens gets every
/// result.
pub(super) async fn wake_waiters(
    (broker, database): (Arc<dyn Broker>, Arc<dyn Database>),
    waiters: Arc<Waiters>,
    (pulse, stop): (Pulse, CancellationToken),
) {
    let listen_and_rest = async {
        let mut listener = Listener {
            waiters: &waiters,
            database: database.as_ref(),
            last: None,
            has_ended: false,
            renewed: None,
        };
        loop {
            let consumer = broker.subscribe_results(&["payment.#"]);
            match listener.listen(consumer, &pulse).await {
                Ended::NobodyWaits => waiters.somebody().await,
                Ended::Deaf => tracing::warn!(
                    "a payment that was waited for ended, and its result was not heard: results are subscribed to anew"
                ),
                Ended::Closed => return,
            }
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen_and_rest => {}
    }
}

/// Why a subscription ended.
enum Ended {
    /// Nobody waits.
    NobodyWaits,
    /// It stands, and brings nothing: the exchange was deleted and made again, or the binding was.
    Deaf,
    /// The broker was closed.
    Closed,
}

/// Wakes waiting requests, and finds out by the database whether it is deaf.
struct Listener<'a> {
    waiters: &'a Waiters,
    database: &'a dyn Database,
    /// The last payment that was looked at.
    last: Option<PaymentId>,
    /// At the last look a payment that is waited for had ended, and no result at all was heard since. Results that are
    /// merely late come with others.
    has_ended: bool,
    /// When the subscription was last renewed for being deaf.
    renewed: Option<Instant>,
}

impl Listener<'_> {
    /// Until nobody waits, or the subscription is deaf. What was missed while the consumer was away is read again.
    async fn listen(&mut self, mut consumer: Consumer, pulse: &Pulse) -> Ended {
        let mut rest = interval_at(Instant::now() + NOBODY_WAITS, NOBODY_WAITS);
        let mut look = interval_at(Instant::now() + LOOK_EVERY, LOOK_EVERY);
        look.set_missed_tick_behavior(MissedTickBehavior::Delay);
        self.has_ended = false;
        loop {
            tokio::select! {
                biased;
                changed = consumer.registered.changed() => match changed {
                    Ok(()) => self.waiters.wake_all(),
                    Err(_) => return Ended::Closed,
                },
                _ = rest.tick() => {
                    if self.waiters.number() == 0 {
                        return Ended::NobodyWaits;
                    }
                }
                _ = look.tick() => {
                    if *consumer.registered.borrow() && self.is_deaf() {
                        return Ended::Deaf;
                    }
                    self.has_ended = false;
                    let _ = timeout(LOOK_EVERY, self.look()).await;
                }
                delivery = consumer.deliveries.recv() => {
                    let Some(delivery) = delivery else { return Ended::Closed };
                    let id = delivery.properties.headers.get(PAYMENT_ID_HEADER).and_then(|id| id.parse().ok());
                    let _in_hand = pulse.take();
                    self.has_ended = false;
                    if let Some(id) = id {
                        self.waiters.wake(PaymentId(id));
                    }
                    delivery.settle.acknowledge().await;
                }
            }
        }
    }

    /// Looks at some of the payments that have been waited for, by their keys: few, however many wait. A request whose
    /// payment has ended is woken, whether a result comes or not.
    async fn look(&mut self) {
        let waited_for = self.waiters.waiting_for(LOOK_EVERY, self.last, LOOKED_AT);
        self.last = waited_for.last().copied();
        for id in waited_for {
            let Ok(Some(found)) = self.database.payment(id).await else {
                return;
            };
            if found.payment.status != PaymentStatus::Processing {
                self.has_ended = true;
                self.waiters.wake(id);
            }
        }
    }

    fn is_deaf(&mut self) -> bool {
        let lately = |renewed: Instant| renewed.elapsed() < RENEWED_LATELY;
        let deaf = self.has_ended && !self.renewed.is_some_and(lately);
        if deaf {
            self.renewed = Some(Instant::now());
        }
        deaf
    }
}

#[cfg(test)]
mod tests;
