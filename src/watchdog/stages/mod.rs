//! Whether work makes progress: the registry of the stages that an item passes. `ready`, the log, the metrics and `check`
//! use it.
//!
//! A stage counts items that enter and leave, with only a few atomic operations for each payment. An item that leaves is
//! a success, whatever its answer: a declined card or a refused message blocks nothing. A stage that has work but from
//! which no item has left for its limit is stuck. [`crate::watchdog::pulse`] checks something else: whether a task of this
//! process hangs, which a restart would fix. An outage stops stages, but no task hangs.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

use crate::metric;

/// Default limit: how long a stage may have work without any item leaving.
const LIMIT: Duration = Duration::from_secs(5);

/// How long a failure counts as remaining work: longer than any pause before the next try, so that items waiting for
/// it are not overlooked.
const RECENT: Duration = Duration::from_secs(30);

/// If its caller left earlier than this, an item says nothing about the stage.
const HUNG_UP: Duration = Duration::from_secs(1);

/// The stages of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A request, by REST or by message, until it is committed or refused.
    Accept,
    /// A try, until the broker has confirmed its message.
    Dispatch,
    /// A try in a worker, until the processor has answered or timed out.
    Authorize,
    /// An answer of the processor, until it is committed.
    Record,
    /// A result, until the broker has confirmed it.
    Announce,
    /// A reply, until the broker has confirmed it.
    Reply,
    /// An event in a worker, until its receiver has it or it is set aside.
    Callback,
    /// A search for outbox rows that are due.
    Sweep,
    /// A search for payments whose message was lost.
    Rescue,
    /// A search for expired cards.
    Erase,
    /// An event of a payment platform that is due, until it was looked at.
    PlatformEvent,
}

impl Name {
    /// The name in metrics, logs and JSON.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Dispatch => "dispatch",
            Self::Authorize => "authorize",
            Self::Record => "record",
            Self::Announce => "announce",
            Self::Reply => "reply",
            Self::Callback => "callback",
            Self::Sweep => "sweep",
            Self::Rescue => "rescue",
            Self::Erase => "erase",
            Self::PlatformEvent => "platform_event",
        }
    }

    /// What to do when it is stuck.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Accept => {
                "can the database be written to (payment-service check)? callers get 503 and retry with their key"
            }
            Self::Record | Self::Sweep | Self::Rescue | Self::Erase | Self::PlatformEvent => {
                "can the database be written to (payment-service check)? waiting work continues automatically"
            }
            Self::Dispatch => {
                "is RabbitMQ up, without an alarm, and is its queue payments.work not full (payment-service check)?"
            }
            Self::Announce => {
                "is RabbitMQ up, and does every queue on payments.results accept messages? see ADR 015 in docs/adr"
            }
            Self::Reply => "does the queue of the reply accept messages? its client owns it",
            Self::Authorize => "do the processor and the database answer (payment-service check)?",
            Self::Callback => "do the receivers answer, and the database (payment-service check)?",
        }
    }
}

/// One stage. Clones share it.
#[derive(Debug, Clone)]
pub struct Stage(Arc<State>);

/// Times are milliseconds since `begin`; 0 means never.
#[derive(Debug)]
struct State {
    name: Name,
    begin: Instant,
    limit: AtomicU64,
    /// How long a failure counts as remaining work.
    recent: Duration,
    in_progress: AtomicUsize,
    /// When an item last entered while none was in progress.
    busy_since: AtomicU64,
    last_left: AtomicU64,
    /// The first failure since an item last left.
    failing_since: AtomicU64,
    last_failure: AtomicU64,
    /// Since when the oldest item of the last sweep has been waiting.
    waiting_since: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<String>>,
    stuck: AtomicBool,
    /// Items that have left.
    left: AtomicU64,
    /// How many had left at the last check, and the rate since the one before.
    rate: Mutex<Rate>,
}

/// How fast items leave a stage, from check to check.
#[derive(Debug, Default)]
struct Rate {
    /// When it was checked last, in milliseconds, and how many items had left by then.
    last: (u64, u64),
    per_second: f64,
}

impl Rate {
    /// The newer half of it counts as much as everything before.
    fn note(&mut self, now: u64, left: u64) {
        let (before, had_left) = std::mem::replace(&mut self.last, (now, left));
        let seconds = now.saturating_sub(before) as f64 / 1000.0;
        if seconds > 0.0 {
            let rate = left.saturating_sub(had_left) as f64 / seconds;
            self.per_second = f64::midpoint(self.per_second, rate);
        }
        if self.per_second < LEAST_RATE {
            self.per_second = 0.0;
        }
    }
}

/// A lower rate counts as none.
const LEAST_RATE: f64 = 0.05;

/// An item in a stage.
#[derive(Debug)]
pub struct Entered {
    stage: Stage,
    items: usize,
    since: u64,
    settled: bool,
}

/// A change in a stage's state.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// No item has left for this long.
    Stuck(Duration),
    /// It makes progress again, or has no more work.
    Recovered,
}

/// The current state of a stage, for `ready`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Whether it has work but no item leaves.
    pub stuck: bool,
    /// Number of items in it.
    pub in_progress: usize,
    /// How long the oldest item that could have been served has been waiting, in seconds.
    pub oldest_age: f64,
    /// How long ago the last item left, in seconds; none if no item has left since the start of the process.
    pub last_success_ago: Option<f64>,
    /// How many items left per second lately.
    pub per_second: f64,
    /// Number of failures since the start.
    pub failures: u64,
    /// The last failure, if no item has left since.
    pub error: Option<String>,
}

impl Stage {
    /// Without work.
    pub fn new(name: Name) -> Self {
        Self::retried_every(name, Duration::ZERO)
    }

    /// Without work; failed work is tried again after this pause.
    pub fn retried_every(name: Name, pause: Duration) -> Self {
        let stage = State {
            name,
            recent: RECENT.max(pause * 3),
            begin: Instant::now(),
            limit: AtomicU64::new(millis(LIMIT)),
            in_progress: AtomicUsize::new(0),
            busy_since: AtomicU64::new(0),
            last_left: AtomicU64::new(0),
            failing_since: AtomicU64::new(0),
            last_failure: AtomicU64::new(0),
            waiting_since: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            error: Mutex::default(),
            stuck: AtomicBool::new(false),
            left: AtomicU64::new(0),
            rate: Mutex::default(),
        };
        Self(Arc::new(stage))
    }

    /// Its name.
    pub fn name(&self) -> Name {
        self.0.name
    }

    /// Sets how long it may take between two items that leave.
    pub fn allow(&self, limit: Duration) {
        self.0.limit.store(millis(limit), Ordering::Relaxed);
    }

    /// An item enters. If it is dropped without a result, its caller has left; the work may continue.
    #[must_use = "it is in the stage until this is dropped"]
    pub fn enter(&self) -> Entered {
        self.enter_many(1)
    }

    /// As [`Self::enter`], for items that leave together.
    #[must_use = "they are in the stage until this is dropped"]
    pub fn enter_many(&self, items: usize) -> Entered {
        let now = self.now();
        if items > 0 && self.0.in_progress.fetch_add(items, Ordering::Relaxed) == 0 {
            self.0.busy_since.store(now, Ordering::Relaxed);
        }
        Entered {
            stage: self.clone(),
            items,
            since: now,
            settled: items == 0,
        }
    }

    /// Runs a piece of work as an item of this stage: on an error it does not leave.
    pub async fn watch<T, E: Display>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.watch_unless(|_| false, work).await
    }

    /// As [`Self::watch`], for work in which some errors count as answers.
    pub async fn watch_unless<T, E: Display>(
        &self,
        is_answer: impl FnOnce(&E) -> bool,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        let entered = self.enter();
        let result = work.await;
        match &result {
            Err(error) if !is_answer(error) => entered.failed(error),
            _ => entered.left(),
        }
        result
    }

    /// Whatever is in it makes progress. Items that leave are counted by [`Entered::left`].
    pub fn moved(&self) {
        self.0.last_left.store(self.now(), Ordering::Relaxed);
        // Usually it is 0; only reading keeps the value in every processor's cache.
        if self.0.failing_since.load(Ordering::Relaxed) != 0 {
            self.0.failing_since.store(0, Ordering::Relaxed);
        }
    }

    /// An item could not leave now. It may be tried again.
    pub fn failed(&self, error: &dyn Display) {
        self.has_failed(self.now(), error);
    }

    /// An item that entered at `entered` could not leave.
    fn has_failed(&self, entered: u64, error: &dyn Display) {
        let state = &self.0;
        let order = Ordering::Relaxed;
        let _ = state
            .failing_since
            .compare_exchange(0, entered, order, order);
        state.last_failure.store(self.now(), order);
        state.failures.fetch_add(1, order);
        *state.error.lock().unwrap_or_else(PoisonError::into_inner) = Some(error.to_string());
    }

    /// The result of a sweep: how long the oldest item has been waiting, or none.
    pub fn found(&self, oldest: Option<Duration>) {
        let since = oldest.map_or(0, |age| self.now().saturating_sub(millis(age)).max(1));
        self.0.waiting_since.store(since, Ordering::Relaxed);
    }

    /// The failed work has not been tried again since, and would still fail.
    pub fn still_failing(&self) {
        if self.0.failing_since.load(Ordering::Relaxed) != 0 {
            self.0.last_failure.store(self.now(), Ordering::Relaxed);
        }
    }

    /// A check has proved that the failed work would succeed now.
    pub fn proved(&self) {
        self.0.failing_since.store(0, Ordering::Relaxed);
    }

    /// Whether it was stuck at the last check.
    pub fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    /// How long it has had work without any item leaving.
    fn still_for(&self) -> Option<Duration> {
        let state = &self.0;
        let now = self.now();
        let read = |time: &AtomicU64| Some(time.load(Ordering::Relaxed)).filter(|at| *at > 0);
        let busy =
            read(&state.busy_since).filter(|_| state.in_progress.load(Ordering::Relaxed) > 0);
        let recent = now.saturating_sub(millis(state.recent));
        let failing = read(&state.failing_since)
            .filter(|_| read(&state.last_failure).is_some_and(|at| at >= recent));
        let waiting = read(&state.waiting_since);
        let since = [busy, failing, waiting].into_iter().flatten().min()?;
        let since = since.max(state.last_left.load(Ordering::Relaxed));
        Some(Duration::from_millis(now.saturating_sub(since)))
    }

    /// Checks whether it is stuck, and returns what has changed since the last check. `awake` is how long this process has
    /// been running without being stopped: earlier time proves nothing.
    pub fn look(&self, awake: Duration) -> Option<Change> {
        let left = self.0.left.load(Ordering::Relaxed);
        self.rate().note(self.now(), left);
        let limit = Duration::from_millis(self.0.limit.load(Ordering::Relaxed));
        let still_for = self.still_for().map(|time| time.min(awake));
        let stuck = still_for.filter(|time| *time > limit);
        let before = self.0.stuck.swap(stuck.is_some(), Ordering::Relaxed);
        match (before, stuck) {
            (false, Some(time)) => Some(Change::Stuck(time)),
            (true, None) => Some(Change::Recovered),
            _ => None,
        }
    }

    /// The last failure, if no item has left since.
    pub fn error(&self) -> Option<String> {
        if self.0.failing_since.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let error = self.0.error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Its current state.
    pub fn snapshot(&self) -> Snapshot {
        let state = &self.0;
        let last_left = state.last_left.load(Ordering::Relaxed);
        let ago = Duration::from_millis(self.now().saturating_sub(last_left));
        Snapshot {
            stuck: self.is_stuck(),
            in_progress: state.in_progress.load(Ordering::Relaxed),
            oldest_age: self.still_for().unwrap_or_default().as_secs_f64(),
            last_success_ago: (last_left > 0).then_some(ago.as_secs_f64()),
            per_second: self.rate().per_second,
            failures: state.failures.load(Ordering::Relaxed),
            error: self.error(),
        }
    }

    fn rate(&self) -> MutexGuard<'_, Rate> {
        self.0.rate.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Updates its metrics.
    fn measure(&self) {
        let now = self.snapshot();
        let stage = self.name().as_str();
        let last_success = now.last_success_ago.map_or(0.0, |ago| {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            since_1970.unwrap_or_default().as_secs_f64() - ago
        });
        metrics::gauge!(metric::STAGE_LAST_SUCCESS, "stage" => stage).set(last_success);
        metrics::gauge!(metric::STAGE_OLDEST_AGE, "stage" => stage).set(now.oldest_age);
        metrics::gauge!(metric::STAGE_IN_PROGRESS, "stage" => stage).set(now.in_progress as f64);
        metrics::gauge!(metric::STAGE_STUCK, "stage" => stage).set(f64::from(u8::from(now.stuck)));
        metrics::counter!(metric::STAGE_FAILURES, "stage" => stage).absolute(now.failures);
    }

    fn now(&self) -> u64 {
        millis(self.0.begin.elapsed()).max(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Entered {
    /// All of them have left, with any answer.
    pub fn left(mut self) {
        self.settled = true;
        if self.items > 0 {
            self.stage
                .0
                .left
                .fetch_add(self.items as u64, Ordering::Relaxed);
            self.stage.moved();
        }
    }

    /// They could not leave now.
    pub fn failed(mut self, error: &dyn Display) {
        self.settled = true;
        self.stage.has_failed(self.since, error);
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let stage = &self.stage;
        if !self.settled {
            let stayed = Duration::from_millis(stage.now().saturating_sub(self.since));
            if stayed >= HUNG_UP {
                let words = format_args!("the caller left after {} ms", stayed.as_millis());
                stage.has_failed(self.since, &words);
            }
        }
        stage.0.in_progress.fetch_sub(self.items, Ordering::Relaxed);
    }
}

/// The stages of a process.
#[derive(Debug, Clone, Default)]
pub struct Stages(Arc<Vec<Stage>>);

impl Stages {
    /// With the stages of this process.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self(Arc::new(stages))
    }

    /// The stage of this name, if this process has it.
    pub fn get(&self, name: Name) -> Option<&Stage> {
        self.0.iter().find(|stage| stage.name() == name)
    }

    /// Those that get stuck when the database accepts no rows.
    pub fn writing(&self) -> Vec<&Stage> {
        let writing = [Name::Accept, Name::Record];
        writing.iter().filter_map(|name| self.get(*name)).collect()
    }

    /// Checks each once: logs changes, and updates the metrics.
    pub fn look(&self, awake: Duration) {
        for stage in self.0.iter() {
            let name = stage.name();
            match stage.look(awake) {
                Some(Change::Stuck(time)) => tracing::warn!(
                    stage = name.as_str(),
                    seconds = time.as_secs(),
                    error = stage.error(),
                    remedy = name.remedy(),
                    "a stage has work but makes no progress"
                ),
                Some(Change::Recovered) => {
                    tracing::info!(
                        stage = name.as_str(),
                        "the stage makes progress again, or has no more work"
                    );
                }
                None => {}
            }
            stage.measure();
        }
    }

    /// Updates the metrics.
    pub fn measure(&self) {
        self.0.iter().for_each(Stage::measure);
    }

    /// All stages by name, for `ready`.
    pub fn to_json(&self) -> Value {
        let stage = |stage: &Stage| {
            let snapshot = serde_json::to_value(stage.snapshot()).unwrap_or_default();
            (stage.name().as_str().to_owned(), snapshot)
        };
        Value::Object(self.0.iter().map(stage).collect::<Map<_, _>>())
    }
}

#[cfg(test)]
mod tests;
