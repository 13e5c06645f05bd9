//! Watches the store, the consumers and the stages, and wakes requests that wait for results.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::broker::{Broker, ConnectionState, Consumer};
use crate::config::Role;
use crate::domain::{PaymentId, PaymentStatus};
use crate::http::wait::Waiters;
use crate::store::probe::{End, try_write};
use crate::store::rows::Horizons;
use crate::store::{Checked, Store, StoreError};
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::Stages;
use crate::wire::result::PAYMENT_ID_HEADER;

/// If a consumer is missing for this long although the broker is up, the process ends.
const CONSUMER_MISSING: Duration = Duration::from_secs(30);

/// How often the listener checks whether any request is waiting for an outcome.
const NOBODY_WAITS: Duration = Duration::from_secs(5);

/// How often the database is queried for some of the payments that requests wait for.
const LOOK_FOR_WAITERS_EVERY: Duration = Duration::from_secs(1);

/// How many payments one such query reads.
const LOOKED_AT: usize = 20;

/// A subscription that receives nothing is renewed at most this often.
const RENEWED_LATELY: Duration = Duration::from_secs(10);

/// How long the database may take to answer.
const ANSWER: Duration = Duration::from_secs(5);

/// How often a test write is tried.
const WRITE_EVERY: Duration = Duration::from_secs(3);

/// A larger difference between the clocks is logged.
const CLOCKS_DIFFER: time::Duration = time::Duration::minutes(1);

/// How often to look for rows whose due time is too far ahead because a clock was wrong.
const BRING_BACK_EVERY: Duration = Duration::from_secs(5);

/// How often the stages are checked.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// Checks the store periodically.
pub(super) struct StoreWatch {
    pub database: Store,
    /// In the role that does everything, the first process to reach the database migrates it.
    pub role: Role,
    /// Publishes whether the database can be used.
    pub state: watch::Sender<Result<(), String>>,
    pub pulse: Pulse,
    pub stages: Stages,
}

/// What was already logged, so that it is logged once.
#[derive(Default)]
struct Told {
    later_migration: Option<i64>,
    clock_is_off: bool,
}

impl StoreWatch {
    pub(super) async fn run(self, stop: CancellationToken) {
        let mut migrated = self.role != Role::All;
        let mut told = Told::default();
        let mut written: Option<Instant> = None;
        loop {
            let mut seen = if migrated {
                Ok(())
            } else {
                let migrated = self.database.migrate().await;
                migrated.map_err(|error| error.to_string())
            };
            if seen.is_ok() {
                migrated = true;
                let _in_hand = self.pulse.take();
                seen = self.look(&mut told).await;
                if seen.is_ok() && written.is_none_or(|at| at.elapsed() >= WRITE_EVERY) {
                    seen = self.try_write().await;
                    written = seen.is_ok().then(Instant::now);
                }
            }
            self.tell(seen);
            tokio::select! {
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
                () = stop.cancelled() => return,
            }
        }
    }

    /// Checks that the database answers and that its schema is compatible.
    async fn look(&self, told: &mut Told) -> Result<(), String> {
        let checked = timeout(ANSWER, self.database.check()).await;
        let checked = checked.map_err(|_| format!("it has not answered within {ANSWER:?}"))?;
        let checked = checked.map_err(|error| error.to_string())?;
        told.note(&checked);
        Ok(())
    }

    /// Checks that rows can be written. Payments need a commit, but as long as nothing points to a problem, a transaction
    /// that is rolled back is enough.
    async fn try_write(&self) -> Result<(), String> {
        let writing = self.stages.writing();
        let doubted = self.state.borrow().is_err() || writing.iter().any(|it| it.is_stuck());
        let end = if doubted { End::Commit } else { End::RollBack };
        let trying = async {
            match try_write(&self.database, end).await {
                // The database gave way to another transaction, for example on a cluster whose tables are being altered.
                Err(StoreError::Conflict(_) | StoreError::Locked(_)) => {
                    try_write(&self.database, end).await
                }
                result => result,
            }
        };
        let tried = timeout(ANSWER, trying).await;
        let fault = match tried {
            Ok(Ok(())) => {
                if doubted {
                    writing.iter().for_each(|stage| stage.proved());
                }
                return Ok(());
            }
            Ok(Err(error)) => format!("rows cannot be written: {error}"),
            Err(_) => format!("a row could not be written within {ANSWER:?}"),
        };
        writing.iter().for_each(|stage| stage.still_failing());
        Err(fault)
    }

    fn tell(&self, seen: Result<(), String>) {
        if *self.state.borrow() == seen {
            return;
        }
        match &seen {
            Ok(()) => tracing::info!("the database can be used"),
            Err(reason) => tracing::warn!(reason, "the database cannot be used; trying again"),
        }
        let _previous = self.state.send_replace(seen);
    }
}

impl Told {
    fn note(&mut self, checked: &Checked) {
        if checked.later_migration != self.later_migration {
            self.later_migration = checked.later_migration;
            if let Some(migration) = self.later_migration {
                tracing::warn!(
                    migration,
                    "the database has the schema of a later release, which this one can use; start that release here, too"
                );
            }
        }
        let is_off = checked.clock_ahead.abs() > CLOCKS_DIFFER;
        if is_off == self.clock_is_off {
            return;
        }
        self.clock_is_off = is_off;
        let seconds = checked.clock_ahead.whole_seconds();
        if is_off {
            tracing::warn!(
                database_is_ahead_by_seconds = seconds,
                "the clocks of this process and of the database differ; synchronize them (NTP): cards and tokens expire and \
                 leases end by one or the other"
            );
        } else {
            tracing::info!("the clocks of this process and of the database agree");
        }
    }
}

/// Checks the stages until `stop`.
pub(super) async fn watch_stages(stages: Stages, stop: CancellationToken) {
    let mut looked = Instant::now();
    let mut awake_since = looked;
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        // This process was suspended or got no CPU time: what did not progress meanwhile was not stuck.
        if looked.elapsed() > LOOK_EVERY * 3 {
            awake_since = Instant::now();
        }
        looked = Instant::now();
        stages.look(awake_since.elapsed());
    }
}

/// Resets, until `stop`, rows that are due too far ahead because a clock was set back.
pub(super) async fn bring_back(database: Store, horizons: Horizons, stop: CancellationToken) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(BRING_BACK_EVERY) => {}
            () = stop.cancelled() => return,
        }
        match database.bring_back(horizons).await {
            Ok(0) => {}
            Ok(rows) => tracing::warn!(
                rows,
                "rows were due later than any delay allows: was the database's clock set back? they are due now"
            ),
            // The store watch reports a failing database; this is tried again.
            Err(error) => tracing::debug!(%error, "rows due too far ahead could not be reset"),
        }
    }
}

/// Ends with an error when a consumer was missing for too long although the broker was up.
pub(super) async fn watch_consumers(
    connection: watch::Receiver<ConnectionState>,
    consumers: Vec<watch::Receiver<bool>>,
    stop: CancellationToken,
) -> Option<AppError> {
    let mut missing_since = None;
    loop {
        let all_there = consumers.iter().all(|registered| *registered.borrow());
        let up = matches!(*connection.borrow(), ConnectionState::Up);
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

/// Results wake the requests that wait here. While none waits, this process does not subscribe: each subscriber receives
/// every result.
pub(super) async fn wake_waiters(
    (broker, database): (Arc<dyn Broker>, Store),
    waiters: Arc<Waiters>,
    (pulse, stop): (Pulse, CancellationToken),
) {
    let listen_and_rest = async {
        let mut listener = Listener {
            waiters: &waiters,
            database: &database,
            last: None,
            has_ended: false,
            renewed: None,
        };
        loop {
            let consumer = broker.subscribe_results(&["payment.#"]);
            match listener.listen(consumer, &pulse).await {
                Ended::NobodyWaits => waiters.somebody().await,
                Ended::Deaf => tracing::warn!(
                    "a payment that a request waits for has ended, but its result did not arrive: subscribing to results again"
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
    /// No request is waiting.
    NobodyWaits,
    /// It exists but receives nothing: the exchange or the binding was deleted and created again.
    Deaf,
    /// The broker was closed.
    Closed,
}

/// Wakes waiting requests, and checks against the database that results still arrive.
struct Listener<'a> {
    waiters: &'a Waiters,
    database: &'a Store,
    /// The last payment that was checked.
    last: Option<PaymentId>,
    /// At the last check a payment that a request waits for had ended, and no result at all has arrived since. If results
    /// were only late, others would have arrived.
    has_ended: bool,
    /// When the subscription was last renewed because it received nothing.
    renewed: Option<Instant>,
}

impl Listener<'_> {
    /// Runs until no request waits or the subscription receives nothing. After the consumer was missing, reads from the
    /// database what it missed.
    async fn listen(&mut self, mut consumer: Consumer, pulse: &Pulse) -> Ended {
        let mut rest = interval_at(Instant::now() + NOBODY_WAITS, NOBODY_WAITS);
        let mut look = interval_at(
            Instant::now() + LOOK_FOR_WAITERS_EVERY,
            LOOK_FOR_WAITERS_EVERY,
        );
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
                    let _ = timeout(LOOK_FOR_WAITERS_EVERY, self.look()).await;
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

    /// Reads some of the payments that requests wait for, by their keys: always few, however many wait. Wakes a request
    /// whose payment has ended, even if no result arrives.
    async fn look(&mut self) {
        let waited_for = self
            .waiters
            .waiting_for(LOOK_FOR_WAITERS_EVERY, self.last, LOOKED_AT);
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
