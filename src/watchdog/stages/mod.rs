//! Whether work gets through: the one registry of the stages that an item passes, from which `ready`, the log, the
//! metrics and `check` are made.
//!
//! A stage counts what enters and what leaves, on a payment's way with a few atomic operations and nothing else. An
//! item that leaves is a success, whatever its answer: a declined card or a refused message stops nothing. A stage that
//! has work and has let nothing out for its limit is stuck. [`crate::watchdog::pulse`] asks another question: whether a task of
//! this process hangs, which a restart would mend. An outage stops stages and hangs no task.

use std::fmt::Display;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use serde::Serialize;
use serde_json::{Map, Value};
use tokio::time::Instant;

/// How long a stage may have work and let nothing out, unless it says otherwise.
const LIMIT: Duration = Duration::from_secs(5);

/// For how long a failure says that there is still work: longer than any pause before the next try, so that what waits
/// for it is not taken for nothing.
const RECENT: Duration = Duration::from_secs(30);

/// An item whose caller left earlier says nothing about the stage.
const HUNG_UP: Duration = Duration::from_secs(1);

/// The stages of this service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Name {
    /// A request, by either way in, until it is committed or refused.
    Accept,
    /// A try, until the broker has confirmed its message.
    Dispatch,
    /// A try in a worker, until the processor has answered or was too late.
    Authorize,
    /// An answer of the processor, until it is committed.
    Record,
    /// A result, until the broker has confirmed it.
    Announce,
    /// A reply, until the broker has confirmed it.
    Reply,
    /// An event in a worker, until its receiver has it or it is put aside.
    Callback,
    /// A look for outbox rows that are due.
    Sweep,
    /// A look for payments whose message was lost.
    Rescue,
    /// A look for expired cards.
    Erase,
}

impl Name {
    /// For metrics, logs and JSON.
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
        }
    }

    /// What to do when it is stuck.
    pub fn remedy(self) -> &'static str {
        match self {
            Self::Accept => {
                "can the database be written to (payment-service check)? callers get 503 and repeat under their key"
            }
            Self::Record | Self::Sweep | Self::Rescue | Self::Erase => {
                "can the database be written to (payment-service check)? what waits goes on by itself"
            }
            Self::Dispatch => {
                "is RabbitMQ there, without alarm, and its queue payments.work not full (payment-service check)?"
            }
            Self::Announce => {
                "is RabbitMQ there, and does every queue on payments.results take messages? see ADR 015 in docs/adr"
            }
            Self::Reply => "does the queue of the reply take messages? its client owns it",
            Self::Authorize => "do the processor and the database answer (payment-service check)?",
            Self::Callback => "do the receivers answer, and the database (payment-service check)?",
        }
    }
}

/// One stage. Clones share it.
#[derive(Debug, Clone)]
pub struct Stage(Arc<State>);

/// Times are milliseconds since `begin`, and 0 stands for never.
#[derive(Debug)]
struct State {
    name: Name,
    begin: Instant,
    limit: AtomicU64,
    /// For how long a failure says that there is still work.
    recent: Duration,
    in_progress: AtomicUsize,
    /// When the first of those in progress entered, or one that came while there was none.
    busy_since: AtomicU64,
    last_left: AtomicU64,
    /// The first failure since something left last.
    failing_since: AtomicU64,
    last_failure: AtomicU64,
    /// Since when the oldest item waits that the last sweep found.
    waiting_since: AtomicU64,
    failures: AtomicU64,
    error: Mutex<Option<String>>,
    stuck: AtomicBool,
}

/// An item in a stage.
#[derive(Debug)]
pub struct Entered {
    stage: Stage,
    items: usize,
    since: u64,
    settled: bool,
}

/// What has become of a stage.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It has let nothing out for so long.
    Stuck(Duration),
    /// It goes on, or has nothing to do any more.
    Recovered,
}

/// A stage as it is now, for `ready`.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Snapshot {
    /// Whether it has work and lets nothing out.
    pub stuck: bool,
    /// Items that are in it.
    pub in_progress: usize,
    /// For how long the oldest item waits that could have been served, in seconds.
    pub oldest_age: f64,
    /// How long ago an item left it, in seconds; none since the start of the process.
    pub last_success_ago: Option<f64>,
    /// Since the start.
    pub failures: u64,
    /// The last failure, as long as nothing has left since.
    pub error: Option<String>,
}

impl Stage {
    /// Without work.
    pub fn new(name: Name) -> Self {
        Self::retried_every(name, Duration::ZERO)
    }

    /// Without work; what fails is tried again after such a pause.
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
        };
        Self(Arc::new(stage))
    }

    /// Which one.
    pub fn name(&self) -> Name {
        self.0.name
    }

    /// Lets it take that long between two items that leave.
    pub fn allow(&self, limit: Duration) {
        self.0.limit.store(millis(limit), Ordering::Relaxed);
    }

    /// An item enters. If it is dropped without a word, its caller has left; what it began may go on.
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

    /// Runs a piece of work as an item of this stage: an error keeps it from leaving.
    pub async fn watch<T, E: Display>(
        &self,
        work: impl Future<Output = Result<T, E>>,
    ) -> Result<T, E> {
        self.watch_unless(|_| false, work).await
    }

    /// As [`Self::watch`], for work in which some errors are answers.
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

    /// Something has left.
    pub fn moved(&self) {
        self.0.last_left.store(self.now(), Ordering::Relaxed);
        // Usually it is not, and what is only read stays in every processor's cache.
        if self.0.failing_since.load(Ordering::Relaxed) != 0 {
            self.0.failing_since.store(0, Ordering::Relaxed);
        }
    }

    /// Something could not leave now. It may be tried again.
    pub fn failed(&self, error: &dyn Display) {
        self.has_failed(self.now(), error);
    }

    /// What entered then has not left.
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

    /// What a sweep found: for how long the oldest item has been waiting, or that none is.
    pub fn found(&self, oldest: Option<Duration>) {
        let since = oldest.map_or(0, |age| self.now().saturating_sub(millis(age)).max(1));
        self.0.waiting_since.store(since, Ordering::Relaxed);
    }

    /// What failed has not been tried again since, and would fail.
    pub fn still_failing(&self) {
        if self.0.failing_since.load(Ordering::Relaxed) != 0 {
            self.0.last_failure.store(self.now(), Ordering::Relaxed);
        }
    }

    /// There is proof that what failed would work now.
    pub fn proved(&self) {
        self.0.failing_since.store(0, Ordering::Relaxed);
    }

    /// Whether it was stuck when it was looked at last.
    pub fn is_stuck(&self) -> bool {
        self.0.stuck.load(Ordering::Relaxed)
    }

    /// For how long it has had work and let nothing out.
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

    /// Looks whether it is stuck, and what has changed since the last look. `awake` is how long this process has been
    /// running without a stop: the time before it proves nothing.
    pub fn look(&self, awake: Duration) -> Option<Change> {
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

    /// The last failure, if nothing has left since.
    pub fn error(&self) -> Option<String> {
        if self.0.failing_since.load(Ordering::Relaxed) == 0 {
            return None;
        }
        let error = self.0.error.lock();
        error.unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// As it is now.
    pub fn snapshot(&self) -> Snapshot {
        let state = &self.0;
        let last_left = state.last_left.load(Ordering::Relaxed);
        let ago = Duration::from_millis(self.now().saturating_sub(last_left));
        Snapshot {
            stuck: self.is_stuck(),
            in_progress: state.in_progress.load(Ordering::Relaxed),
            oldest_age: self.still_for().unwrap_or_default().as_secs_f64(),
            last_success_ago: (last_left > 0).then_some(ago.as_secs_f64()),
            failures: state.failures.load(Ordering::Relaxed),
            error: self.error(),
        }
    }

    /// Sets its metrics.
    fn measure(&self) {
        let now = self.snapshot();
        let stage = self.name().as_str();
        if let Some(ago) = now.last_success_ago {
            let since_1970 = SystemTime::now().duration_since(UNIX_EPOCH);
            let at = since_1970.unwrap_or_default().as_secs_f64() - ago;
            metrics::gauge!("payment_service_stage_last_success", "stage" => stage).set(at);
        }
        metrics::gauge!("payment_service_stage_oldest_age", "stage" => stage).set(now.oldest_age);
        metrics::gauge!("payment_service_stage_in_progress", "stage" => stage)
            .set(now.in_progress as f64);
        metrics::gauge!("payment_service_stage_stuck", "stage" => stage)
            .set(f64::from(u8::from(now.stuck)));
        metrics::counter!("payment_service_stage_failures", "stage" => stage)
            .absolute(now.failures);
    }

    fn now(&self) -> u64 {
        millis(self.0.begin.elapsed()).max(1)
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

impl Entered {
    /// All of them have left, with whatever answer.
    pub fn left(mut self) {
        self.settled = true;
        if self.items > 0 {
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
    /// Those that this process has.
    pub fn new(stages: Vec<Stage>) -> Self {
        Self(Arc::new(stages))
    }

    /// The stage of this name, if this process has it.
    pub fn get(&self, name: Name) -> Option<&Stage> {
        self.0.iter().find(|stage| stage.name() == name)
    }

    /// Those that are stuck when the database takes no rows.
    pub fn writing(&self) -> Vec<&Stage> {
        let writing = [Name::Accept, Name::Record];
        writing.iter().filter_map(|name| self.get(*name)).collect()
    }

    /// Looks at each once: logs what has changed, and sets the metrics.
    pub fn look(&self, awake: Duration) {
        for stage in self.0.iter() {
            let name = stage.name();
            match stage.look(awake) {
                Some(Change::Stuck(time)) => tracing::warn!(
                    stage = name.as_str(),
                    seconds = time.as_secs(),
                    error = stage.error(),
                    remedy = name.remedy(),
                    "a stage has work and lets nothing out"
                ),
                Some(Change::Recovered) => {
                    tracing::info!(
                        stage = name.as_str(),
                        "the stage goes on, or has nothing left to do"
                    );
                }
                None => {}
            }
            stage.measure();
        }
    }

    /// By name, for `ready`.
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
