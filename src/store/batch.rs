//! Group commit: what queued up while the last transaction was committing runs as one multi-row transaction.
//!
//! Nothing waits when idle. Under load, a batch waits for more about as long as a transaction takes: fewer and longer
//! transactions are what that load needs. A caller that hangs up cancels nothing. Collisions and lost connections run
//! the whole batch again; refused data is split by halves, so that one bad row does not hurt its neighbours.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::{mpsc, oneshot};
use tokio::time::Instant;

use super::StoreError;
use crate::pulse::Pulse;
use crate::stages::Stage;

/// So many items at once are load: what comes alone or in small company goes at once.
const CROWD: usize = 32;

/// A command that runs over many items in one transaction.
#[async_trait]
pub trait Batch: Send + Sync + 'static {
    /// For logs and metrics.
    const NAME: &'static str;
    /// What is asked.
    type Item: Clone + Send + Sync + 'static;
    /// What comes back, for each item.
    type Outcome: Send + 'static;

    /// Runs one transaction; one outcome for each item, in their order. It may run again with the same items after
    /// any error, also when the first run was committed after all: it must then come to the same outcomes, or to ones
    /// that lose nothing but time.
    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Self::Outcome>, StoreError>;
}

/// How much a group commit takes and how long it tries.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Items that may wait; beyond, [`StoreError::Busy`].
    pub waiting: usize,
    /// Items in one transaction.
    pub rows: usize,
    /// For how long a batch is run again after transient errors; `None`: for ever.
    pub patience: Option<Duration>,
    /// After this long, a transaction's result counts as unknown.
    pub timeout: Duration,
    /// How long a crowd waits for more at most; it never waits longer than the last transaction took.
    pub pause: Duration,
    /// How long the first item waits for others, crowd or not. For what is in no hurry, where a commit for each would
    /// slow others.
    pub linger: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            waiting: 8192,
            rows: 256,
            patience: Some(Duration::from_secs(8)),
            timeout: Duration::from_secs(10),
            pause: Duration::from_millis(8),
            linger: Duration::ZERO,
        }
    }
}

impl Limits {
    /// How long items wait for others after a transaction that took so long.
    fn wait(&self, items: usize, took: Duration) -> Duration {
        match items {
            full if full >= self.rows => Duration::ZERO,
            crowd if crowd >= CROWD => self.linger.max(took.min(self.pause)),
            _ => self.linger,
        }
    }
}

type Waiting<B> = (
    <B as Batch>::Item,
    oneshot::Sender<Result<<B as Batch>::Outcome, StoreError>>,
);

/// The sending side of a group commit. Its task ends when the last clone is dropped.
#[derive(Debug)]
pub struct Batcher<B: Batch> {
    sender: mpsc::Sender<Waiting<B>>,
    pulse: Pulse,
}

impl<B: Batch> Clone for Batcher<B> {
    fn clone(&self) -> Self {
        Self {
            sender: self.sender.clone(),
            pulse: self.pulse.clone(),
        }
    }
}

impl<B: Batch> Batcher<B> {
    /// Starts the task that runs the batches, one transaction at a time.
    pub fn spawn(batch: B, limits: Limits) -> Self {
        Self::spawn_for(batch, limits, None)
    }

    /// As [`Self::spawn`]; the stage hears of every transaction that failed, also of those that run again.
    pub fn spawn_for(batch: B, limits: Limits, stage: Option<Stage>) -> Self {
        let (sender, receiver) = mpsc::channel(limits.waiting);
        let pulse = Pulse::new(B::NAME);
        let watched = Watched {
            pulse: pulse.clone(),
            stage,
        };
        tokio::spawn(work_off(Arc::new(batch), limits, receiver, watched));
        Self { sender, pulse }
    }

    /// Of the task that runs the batches.
    pub fn pulse(&self) -> Pulse {
        self.pulse.clone()
    }

    /// Has an item done with whatever else is waiting. Fails at once when too much is.
    pub async fn submit(&self, item: B::Item) -> Result<B::Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.sender
            .try_send((item, reply))
            .map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }

    /// As [`Self::submit`], but waits for a place: for callers that hold work back on their own.
    pub async fn submit_patiently(&self, item: B::Item) -> Result<B::Outcome, StoreError> {
        let (reply, outcome) = oneshot::channel();
        self.sender
            .send((item, reply))
            .await
            .map_err(|_| StoreError::Busy)?;
        outcome.await.unwrap_or(Err(StoreError::Busy))
    }
}

/// Who hears of what a group commit does.
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
    let mut waiting = Vec::with_capacity(limits.rows);
    let mut took = Duration::ZERO;
    while queue.recv_many(&mut waiting, limits.rows).await > 0 {
        gather(&mut queue, &mut waiting, limits, took).await;
        let (items, replies): (Vec<_>, Vec<_>) = waiting.drain(..).unzip();
        metrics::histogram!("store_batch_rows", "batch" => B::NAME).record(items.len() as f64);
        let in_hand = watched.pulse.take();
        let began = Instant::now();
        let outcomes = run_to_the_end(batch.as_ref(), &items, limits, &watched).await;
        took = began.elapsed();
        drop(in_hand);
        for (reply, outcome) in replies.into_iter().zip(outcomes) {
            // An error here is a caller that has hung up; its item is done all the same.
            let _ = reply.send(outcome);
        }
    }
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

async fn run_to_the_end<B: Batch>(
    batch: &B,
    items: &[B::Item],
    limits: Limits,
    watched: &Watched,
) -> Vec<Result<B::Outcome, StoreError>> {
    match run_again_while_transient(batch, items, limits, watched).await {
        Ok(outcomes) => outcomes.into_iter().map(Ok).collect(),
        Err(StoreError::Rejected(_)) if items.len() > 1 => {
            let (left, right) = items.split_at(items.len() / 2);
            let mut outcomes = Box::pin(run_to_the_end(batch, left, limits, watched)).await;
            outcomes.extend(Box::pin(run_to_the_end(batch, right, limits, watched)).await);
            outcomes
        }
        Err(error) => items.iter().map(|_| Err(error.clone())).collect(),
    }
}

async fn run_again_while_transient<B: Batch>(
    batch: &B,
    items: &[B::Item],
    limits: Limits,
    watched: &Watched,
) -> Result<Vec<B::Outcome>, StoreError> {
    let started = Instant::now();
    let mut pause = Duration::from_millis(5);
    loop {
        // Also while the database is away: trying is what this task has to get on with.
        watched.pulse.beat();
        let result = match tokio::time::timeout(limits.timeout, batch.run(items)).await {
            Ok(result) => result,
            Err(_) => Err(StoreError::CommitUnknown(Arc::new(
                sqlx::Error::PoolTimedOut,
            ))),
        };
        match result {
            Err(error) if error.is_transient() => {
                watched.failed(&error);
                metrics::counter!("store_batch_repeats", "batch" => B::NAME).increment(1);
                if limits
                    .patience
                    .is_some_and(|patience| started.elapsed() >= patience)
                {
                    return Err(error);
                }
                tracing::debug!(batch = B::NAME, rows = items.len(), %error, "running the batch again");
                tokio::time::sleep(pause.mul_f64(rand::random_range(0.5..1.5))).await;
                pause = (pause * 2).min(Duration::from_secs(1));
            }
            settled => {
                // A refusal of the rows is an answer, too.
                watched.moved();
                return settled;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Answers each item with the number of items in its transaction.
    struct Counted;

    #[async_trait]
    impl Batch for Counted {
        const NAME: &'static str = "counted";
        type Item = ();
        type Outcome = usize;

        async fn run(&self, items: &[()]) -> Result<Vec<usize>, StoreError> {
            Ok(vec![items.len(); items.len()])
        }
    }

    async fn sizes(linger: Duration) -> Vec<usize> {
        let limits = Limits {
            linger,
            rows: 4,
            ..Limits::default()
        };
        let batcher = Batcher::spawn(Counted, limits);
        let submit = async |after| {
            tokio::time::sleep(Duration::from_millis(after)).await;
            batcher.submit(()).await.expect("an outcome")
        };
        let items = [0, 10, 20, 30, 40, 200].map(submit);
        futures::future::join_all(items).await
    }

    #[test]
    fn a_crowd_waits_as_long_as_the_last_transaction_took_and_nobody_else_does() {
        let limits = Limits::default();
        let wait = |items, took| limits.wait(items, Duration::from_millis(took)).as_millis();
        assert_eq!(wait(CROWD - 1, 5), 0);
        assert_eq!(wait(CROWD, 0), 0);
        assert_eq!(wait(CROWD, 5), 5);
        assert_eq!(wait(CROWD, 5_000), limits.pause.as_millis());
        assert_eq!(wait(limits.rows, 5), 0);
    }

    #[tokio::test(start_paused = true)]
    async fn what_is_in_no_hurry_waits_for_others_to_share_its_transaction() {
        assert_eq!(sizes(Duration::ZERO).await, [1; 6]);
        let together = sizes(Duration::from_millis(50)).await;
        assert_eq!(together, [4, 4, 4, 4, 1, 1]);
    }
}
