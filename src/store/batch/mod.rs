//! Group commit: items that queued up while the last transaction was committing run as one multi-row transaction.
//!
//! A full batch may start while other transactions are running: if a round trip takes milliseconds, one transaction at a
//! time would be the bottleneck.
//!
//! An idle service does not wait. Under load, a batch waits for more items about as long as a transaction takes, because
//! fewer and longer transactions suit that load. If a caller disconnects, its item still runs. After a collision or a
//! lost connection the whole batch runs again. If an item may be the cause (refused data, an unreadable row, a panic, a
//! connection that breaks repeatedly while another works), the batch is run in halves, so that only this item fails. If
//! a batch times out waiting for a lock, for example of a process that was stopped in the middle of a transaction, it is
//! split: each item gets its own transaction, and later batches do not wait for items that are still locked.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures::StreamExt;
use futures::stream::FuturesUnordered;
use tokio::sync::{Semaphore, mpsc, oneshot};
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::StoreError;
use crate::metric;
use crate::retry::Backoff;
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::Stage;
use crate::watchdog::vital::{Vital, caught};

/// This many items at once count as load: smaller groups run immediately.
const CROWD: usize = 32;

/// A command that runs over many items in one transaction.
#[async_trait]
pub trait Batch: Send + Sync + 'static {
    /// For logs and metrics.
    const NAME: &'static str;
    /// The input of one item.
    type Item: Clone + Send + Sync + 'static;
    /// The result of one item.
    type Outcome: Send + 'static;

    /// Runs one transaction; one outcome for each item, in the same order. It may run again with the same items after any
    /// error, even if the first run was committed after all: it must then return the same outcomes, or outcomes that only
    /// cost time.
    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Self::Outcome>, StoreError>;

    /// Whether a transaction without these items succeeds now, on a working connection. Called when connections break:
    /// then either the database is down, or the items are the cause.
    async fn succeeds_without_items(&self) -> bool;
}

/// How often the connection breaks on several items before they are run in halves.
const BREAKS: u32 = 3;

/// How often it breaks on a single item before that is refused. More often, because a refusal is final, and other items
/// do not wait much longer for it.
const BREAKS_ALONE: u32 = 6;

/// Maximum number of concurrent transactions for items of split batches; they use the pool's connections.
const AT_A_TIME: usize = 4;

/// Maximum number of these that may be unfinished when the next batch starts. With more, locks are widespread, and all
/// items wait.
const APART: usize = 64;

/// The delays before a batch is run again after a transient error.
const REPEAT: Backoff = Backoff::doubling(Duration::from_millis(5), Duration::from_secs(1));

/// Sizes and times of a group commit.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Maximum number of waiting items; more get [`StoreError::Busy`].
    pub waiting: usize,
    /// Maximum number of items in one transaction.
    pub rows: usize,
    /// Maximum number of concurrent transactions. Only a full batch starts while another one runs: then one transaction at
    /// a time is the bottleneck, for example because the database is far away.
    pub lanes: usize,
    /// How long a batch is retried after transient errors; `None`: for ever.
    pub patience: Option<Duration>,
    /// Time after which a transaction's result counts as unknown.
    pub timeout: Duration,
    /// Maximum time that a batch under load waits for more items; it never waits longer than the last transaction took.
    pub pause: Duration,
    /// How long the first item waits for others, even without load. For items that are not urgent, if a commit for each
    /// would slow others down.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 8192,
            rows: 256,
            lanes: 1,
            patience: Some(Duration::from_secs(8)),
            timeout: Duration::from_secs(10),
            pause: Duration::from_millis(8),
            linger: Duration::ZERO,
        }
    }
}

impl Limits {
    /// How long items wait for others after a transaction that took `took`.
    fn wait(&self, items: usize, took: Duration) -> Duration {
        match items {
            full if full >= self.rows => Duration::ZERO,
            crowd if crowd >= CROWD => self.linger.max(took.min(self.pause)),
            _ => self.linger,
        }
    }
}

type Reply<B> = oneshot::Sender<Result<<B as Batch>::Outcome, StoreError>>;

type Waiting<B> = (<B as Batch>::Item, Reply<B>);

/// The sending side of a group commit. Its task ends when the last clone is dropped.
#[derive(Debug)]
pub struct Batcher<B: Batch> {
    sender: mpsc::Sender<Waiting<B>>,
    pulse: Pulse,
    vital: Vital,
}

impl<B: Batch> Clone for Batcher<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            pulse: self.pulse.clone(),
            vital: self.vital.clone(),
        }
    }
}

impl<B: Batch> Batcher<B> {
    /// Starts the task that runs the batches.
    pub fn spawn(batch: B, limits: Limits) -> Self {
        Self::spawn_for(batch, limits, None)
    }

    /// As [`Self::spawn`]; reports every failed transaction to the stage, even if it is retried.
    pub fn spawn_for(batch: B, limits: Limits, stage: Option<Stage>) -> Self {
        let (sender, receiver) = mpsc::channel(limits.waiting);
        let (pulse, vital) = (Pulse::new(B::NAME), Vital::new(B::NAME));
        // `/metrics` shows them before the first batch.
        drop(metrics::histogram!(metric::STORE_BATCH_ROWS, "batch" => B::NAME));
        metrics::counter!(metric::STORE_BATCH_REPEATS, "batch" => B::NAME).increment(0);
        metrics::counter!(metric::STORE_ITEMS_REFUSED, "batch" => B::NAME).increment(0);
        let watched = Watched {
            pulse: pulse.clone(),
            stage,
        };
        let task = work_off(Arc::new(batch), limits, receiver, watched);
        tokio::spawn(vital.clone().watch(task));
        Self {
            sender,
            pulse,
            vital,
        }
    }

    /// The task that runs the batches. An item's panic does not end it.
    pub fn vital(&self) -> Vital {
        self.vital.clone()
    }

    /// The pulse of the task that runs the batches.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Submits an item to the next batch. Fails at once when too many items wait.
    pub async fn submit(&self, item: B::Item) -> Result<B::Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.sender
            .try_send((item, reply))
            .map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }

    /// As [`Self::submit`], but waits for a place in the queue: for callers that limit their own work.
    pub async fn submit_patiently(&self, item: B::Item) -> Result<B::Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.sender
            .send((item, reply))
            .await
            .map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }
}

/// The stage and pulse that a group commit reports to.
#[derive(Clone)]
struct Watched {
    pulse: Pulse,
    stage: Option<Stage>,
}

impl Watched {
    fn failed(&self, error: &StoreError) {
        if let Some(stage) = &self.stage {
            stage.failed(error);
        }
    }

    fn moved(&self) {
        if let Some(stage) = &self.stage {
            stage.moved();
        }
    }
}

async fn work_off<B: Batch>(
    batch: Arc<B>,
    limits: Limits,
    mut queue: mpsc::Receiver<Waiting<B>>,
    watched: Watched,
) {
    let run = Run {
        batch,
        limits,
        watched,
    };
    let mut under_way = FuturesUnordered::new();
    let (mut apart, turns) = (JoinSet::new(), Arc::new(Semaphore::new(AT_A_TIME)));
    let mut waiting = Vec::with_capacity(limits.rows);
    let mut took = Duration::ZERO;
    let mut is_open = true;
    loop {
        let room = limits.rows - waiting.len();
        let takes = is_open && room > 0 && apart.len() <= APART;
        tokio::select! {
            received = queue.recv_many(&mut waiting, room), if takes => is_open = received > 0,
            Some(ended) = under_way.next() => {
                let Ended { began, locked } = ended;
                took = began.elapsed();
                for item in locked {
                    apart.spawn(run.clone().apart(item, began, Arc::clone(&turns)));
                }
            }
            Some(_) = apart.join_next() => {}
            else => return,
        }
        let starts = if under_way.is_empty() {
            !waiting.is_empty()
        } else {
            waiting.len() >= limits.rows && under_way.len() < limits.lanes
        };
        if starts {
            gather(&mut queue, &mut waiting, limits, took).await;
            under_way.push(run.transaction(waiting.drain(..).unzip()));
        }
    }
}

/// The result of a transaction.
struct Ended<B: Batch> {
    began: Instant,
    /// Items whose rows are locked by another transaction.
    locked: Vec<Waiting<B>>,
}

async fn gather<W>(
    queue: &mut mpsc::Receiver<W>,
    waiting: &mut Vec<W>,
    limits: Limits,
    took: Duration,
) {
    let wait = limits.wait(waiting.len(), took);
    if wait.is_zero() {
        return;
    }
    tokio::time::sleep(wait).await;
    while waiting.len() < limits.rows
        && let Ok(item) = queue.try_recv()
    {
        waiting.push(item);
    }
}

/// How one batch is run.
struct Run<B> {
    batch: Arc<B>,
    limits: Limits,
    watched: Watched,
}

impl<B> Clone for Run<B> {
    fn clone(&self) -> Self {
        Self {
            batch: Arc::clone(&self.batch),
            limits: self.limits,
            watched: self.watched.clone(),
        }
    }
}

impl<B: Batch> Run<B> {
    /// Runs an item in its own transactions; its batch has waited since `began`. While it waits for its lock, it lets others
    /// run.
    async fn apart(self, (item, reply): Waiting<B>, began: Instant, turns: Arc<Semaphore>) {
        let item = [item];
        let outcome = loop {
            let turn = turns.acquire().await;
            let outcome = self.to_the_end(&item, BREAKS).await.pop();
            drop(turn);
            let patience = self.limits.patience;
            let is_over = patience.is_some_and(|patience| began.elapsed() >= patience);
            match outcome {
                Some(Err(StoreError::Locked(_))) if !is_over => {}
                Some(outcome) => break outcome,
                None => break Err(StoreError::Busy),
            }
        };
        let _ = reply.send(outcome);
    }

    /// Runs a batch and answers its callers, except for items whose rows are locked by another transaction.
    async fn transaction(&self, (items, replies): (Vec<B::Item>, Vec<Reply<B>>)) -> Ended<B> {
        metrics::histogram!(metric::STORE_BATCH_ROWS, "batch" => B::NAME)
            .record(items.len() as f64);
        let in_hand = self.watched.pulse.take();
        let began = Instant::now();
        let outcomes = self.to_the_end(&items, BREAKS).await;
        drop(in_hand);
        let mut locked = Vec::new();
        for ((item, reply), outcome) in items.into_iter().zip(replies).zip(outcomes) {
            if matches!(outcome, Err(StoreError::Locked(_))) {
                locked.push((item, reply));
            } else {
                // An error here means that the caller has disconnected; its item was still executed.
                let _ = reply.send(outcome);
            }
        }
        Ended { began, locked }
    }

    /// Runs the items together, then in halves if one of them may be the cause of an error. `breaks`: how often the
    /// connection may break on several.
    async fn to_the_end(
        &self,
        items: &[B::Item],
        breaks: u32,
    ) -> Vec<Result<B::Outcome, StoreError>> {
        let is_alone = items.len() == 1;
        let breaks = if is_alone { BREAKS_ALONE } else { breaks };
        match self.again_while_transient(items, breaks).await {
            Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
            Err(error) if error.is_of_the_rows() && !is_alone => {
                let (left, right) = items.split_at(items.len() / 2);
                // One of them is the cause: one more break shows in which half.
                let mut outcomes = Box::pin(self.to_the_end(left, 1)).await;
                outcomes.extend(Box::pin(self.to_the_end(right, 1)).await);
                outcomes
            }
            Err(error) => {
                if error.is_of_the_rows() {
                    metrics::counter!(metric::STORE_ITEMS_REFUSED, "batch" => B::NAME).increment(1);
                }
                items.iter().map(|_| Err(error.clone())).collect()
            }
        }
    }

    async fn again_while_transient(
        &self,
        items: &[B::Item],
        most_breaks: u32,
    ) -> Result<Vec<B::Outcome>, StoreError> {
        let started = Instant::now();
        let (mut repeats, mut breaks) = (0, 0);
        loop {
            // Also while the database is down: retrying counts as progress of this task.
            self.watched.pulse.beat();
            let error = match self.once(items).await {
                Err(error) if error.is_transient() => error,
                settled => {
                    // If the rows are refused, that is an answer, too.
                    self.watched.moved();
                    return settled;
                }
            };
            self.watched.failed(&error);
            metrics::counter!(metric::STORE_BATCH_REPEATS, "batch" => B::NAME).increment(1);
            if matches!(error, StoreError::Locked(_)) {
                return Err(error);
            }
            if error.is_broken_off() && self.succeeds_without_items().await {
                breaks += 1;
                if breaks >= most_breaks {
                    return Err(broken_off(breaks));
                }
            }
            let patience = self.limits.patience;
            if patience.is_some_and(|patience| started.elapsed() >= patience) {
                return Err(error);
            }
            tracing::debug!(batch = B::NAME, rows = items.len(), %error, "running the batch again");
            repeats += 1;
            tokio::time::sleep(REPEAT.delay_after(repeats)).await;
        }
    }

    async fn once(&self, items: &[B::Item]) -> Result<Vec<B::Outcome>, StoreError> {
        let run = tokio::time::timeout(self.limits.timeout, self.batch.run(items));
        match caught(B::NAME, run).await {
            Some(Ok(result)) => result,
            Some(Err(_)) => Err(StoreError::CommitUnknown(Arc::new(
                sqlx::Error::PoolTimedOut,
            ))),
            None => Err(StoreError::Panicked(B::NAME.to_owned())),
        }
    }

    async fn succeeds_without_items(&self) -> bool {
        let check = self.batch.succeeds_without_items();
        let checked = tokio::time::timeout(self.limits.timeout, check);
        matches!(caught(B::NAME, checked).await, Some(Ok(true)))
    }
}

fn broken_off(times: u32) -> StoreError {
    let words = format!(
        "the connection broke {times} times on these rows and on no others (are they longer than max_allowed_packet?)"
    );
    StoreError::Rejected(Arc::new(sqlx::Error::Protocol(words)))
}

#[cfg(test)]
mod tests;
