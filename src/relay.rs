//! From the outbox to the broker: the only code that publishes, and the only code that deletes outbox rows.
//!
//! Whoever commits rows hands them over at once, through a bounded queue in memory for each [`Lane`], so that results
//! which some subscriber's queue does not take hold up no work. The sweep finds what is left:
//! rows that did not fit, that could not be published, whose process has died, or whose delay is over. A row may be
//! published twice; whatever receives it must not mind.

mod chores;
mod replies;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Connection, Lane, Publication, PublishError};
use crate::pulse::Pulse;
use crate::store::Database;
use crate::store::commands::Commands;
use crate::store::rows::{OutboxId, OutboxRow};
use replies::Addresses;

/// How the relay works.
#[derive(Debug, Clone, Copy)]
pub struct RelaySettings {
    /// Pause between two sweeps that found nothing.
    pub sweep_every: Duration,
    /// Pause between two looks for payments whose message was lost.
    pub check_every: Duration,
    /// Outbox rows of payments at which no more payments are taken.
    pub backlog_limit: u64,
}

/// Rows that may wait in memory for their first publication.
const HANDED_OVER: usize = 16_384;
/// Rows published together.
const CHUNK: usize = 256;
/// Chunks under way at the same time, so that one confirm does not hold up the next publish.
const CHUNKS_UNDER_WAY: usize = 4;
/// The same of replies, more because any of them may wait for a queue that confirms nothing.
const REPLIES_UNDER_WAY: usize = 32;

/// Takes rows that were just committed.
#[derive(Clone)]
pub struct Relay {
    work: mpsc::Sender<OutboxRow>,
    results: mpsc::Sender<OutboxRow>,
    replies: mpsc::Sender<OutboxRow>,
    backlog: Arc<Backlog>,
}

/// What was last seen in the outbox.
#[derive(Default)]
struct Backlog {
    /// So many rows of payments that no more payments should be taken.
    full: AtomicBool,
    /// Rows that belong to no payment.
    others: AtomicU64,
}

/// The tasks behind a [`Relay`].
pub struct RelayTasks {
    lanes: [(Lane, mpsc::Receiver<OutboxRow>); 3],
    publisher: Publisher,
    database: Arc<dyn Database>,
    settings: RelaySettings,
    backlog: Arc<Backlog>,
}

#[derive(Clone)]
struct Publisher {
    broker: Arc<dyn Broker>,
    commands: Commands,
    pulses: Pulses,
    addresses: Addresses,
}

/// A row and what the broker said of it.
type Outcome = (OutboxRow, Result<(), PublishError>);

/// Of publishing, and of the questions that the chores ask the database.
#[derive(Clone)]
struct Pulses {
    publish: Pulse,
    sweep: Pulse,
    last_net: Pulse,
    backlog: Pulse,
    tokens: Pulse,
}

/// A relay and its tasks, to be run by the caller.
pub fn relay(
    broker: Arc<dyn Broker>,
    database: Arc<dyn Database>,
    commands: Commands,
    settings: RelaySettings,
) -> (Relay, RelayTasks) {
    let (work, work_lane) = mpsc::channel(HANDED_OVER);
    let (results, results_lane) = mpsc::channel(HANDED_OVER);
    let (replies, replies_lane) = mpsc::channel(HANDED_OVER);
    let backlog = Arc::<Backlog>::default();
    let tasks = RelayTasks {
        lanes: [
            (Lane::Work, work_lane),
            (Lane::Results, results_lane),
            (Lane::Replies, replies_lane),
        ],
        publisher: Publisher {
            broker,
            commands,
            pulses: Pulses {
                publish: Pulse::new("relay"),
                sweep: Pulse::new("sweep"),
                last_net: Pulse::new("last net"),
                backlog: Pulse::new("backlog"),
                tokens: Pulse::new("card tokens"),
            },
            addresses: Addresses::default(),
        },
        database,
        settings,
        backlog: Arc::clone(&backlog),
    };
    let relay = Relay {
        work,
        results,
        replies,
        backlog,
    };
    (relay, tasks)
}

impl Relay {
    /// Takes committed rows. What does not fit is left to the sweep.
    pub fn hand_over(&self, rows: Vec<OutboxRow>) {
        for row in rows {
            let lane = match row.publication.lane() {
                Lane::Work => &self.work,
                Lane::Results => &self.results,
                Lane::Replies => &self.replies,
            };
            if lane.try_send(row).is_err() {
                metrics::counter!("relay_left_to_sweep").increment(1);
            }
        }
    }

    /// Whether so many rows wait in the outbox that no more payments should be taken.
    pub fn backlog_is_full(&self) -> bool {
        self.backlog.full.load(Ordering::Relaxed)
    }

    /// Rows in the outbox that belong to no payment: callbacks that come again, and dead letters. As of two seconds ago.
    pub fn messages_waiting(&self) -> u64 {
        self.backlog.others.load(Ordering::Relaxed)
    }
}

impl RelayTasks {
    /// Of the tasks.
    pub fn pulses(&self) -> Vec<Pulse> {
        let Pulses {
            publish,
            sweep,
            last_net,
            backlog,
            tokens,
        } = &self.publisher.pulses;
        [publish, sweep, last_net, backlog, tokens]
            .map(Pulse::clone)
            .into()
    }

    /// Runs until `stop`, then publishes what was handed over before and ends.
    pub async fn run(self, stop: CancellationToken) {
        let Self {
            lanes,
            publisher,
            database,
            settings,
            backlog,
        } = self;
        let lanes = lanes.map(|(lane, handed_over)| {
            let (publisher, stop) = (publisher.clone(), stop.clone());
            let sweep = chores::sweep(lane, publisher.clone(), settings, stop.clone());
            join(
                publish_handed_over(lane, handed_over, publisher, stop),
                sweep,
            )
        });
        tokio::join!(
            join_all(lanes),
            chores::dispatch_forgotten(publisher.clone(), settings, stop.clone()),
            chores::measure(
                publisher.clone(),
                database,
                (settings, backlog),
                stop.clone()
            ),
            chores::erase_expired_tokens(publisher, stop),
        );
    }
}

async fn publish_handed_over(
    lane: Lane,
    mut rows: mpsc::Receiver<OutboxRow>,
    publisher: Publisher,
    stop: CancellationToken,
) {
    let under_way = match lane {
        Lane::Work | Lane::Results => CHUNKS_UNDER_WAY,
        Lane::Replies => REPLIES_UNDER_WAY,
    };
    let under_way = Arc::new(Semaphore::new(under_way));
    let chunks = TaskTracker::new();
    loop {
        let Ok(permit) = Arc::clone(&under_way).acquire_owned().await else {
            break;
        };
        let mut chunk = Vec::with_capacity(CHUNK);
        let stopped = tokio::select! {
            biased;
            received = rows.recv_many(&mut chunk, CHUNK) => received == 0,
            () = stop.cancelled() => {
                while chunk.len() < CHUNK && let Ok(row) = rows.try_recv() {
                    chunk.push(row);
                }
                chunk.is_empty()
            }
        };
        if stopped {
            break;
        }
        let publisher = publisher.clone();
        chunks.spawn(async move {
            if lane == Lane::Replies {
                publisher.reply(chunk).await;
                drop(permit);
                return;
            }
            let confirmed = publisher.publish(chunk).await;
            drop(permit);
            publisher.forget(confirmed).await;
        });
    }
    chunks.close();
    chunks.wait().await;
}

impl Publisher {
    /// Publishes rows; returns those that the broker has confirmed.
    async fn publish(&self, rows: Vec<OutboxRow>) -> Vec<OutboxId> {
        let outcomes = self.attempt(rows).await;
        let confirmed = outcomes.into_iter().filter(|(_, outcome)| outcome.is_ok());
        confirmed.map(|(row, _)| row.id).collect()
    }

    /// Publishes rows and says what became of each.
    async fn attempt(&self, rows: Vec<OutboxRow>) -> Vec<Outcome> {
        if rows.is_empty() {
            return Vec::new();
        }
        let (rows, publications): (Vec<_>, Vec<Publication>) = rows
            .into_iter()
            .map(|row| ((row.id, row.payment, row.due_at), row.publication))
            .unzip();
        let spans: Vec<tracing::Span> = rows
            .iter()
            .zip(&publications)
            .map(|((_, payment, _), publication)| step_span(payment.map(|id| id.0), publication))
            .collect();
        let in_hand = self.pulses.publish.take();
        let results = self.broker.publish(&publications).await;
        drop(in_hand);
        drop(spans);
        let outcomes: Vec<Outcome> = rows
            .into_iter()
            .zip(publications)
            .map(|((id, payment, due_at), publication)| OutboxRow {
                id,
                payment,
                due_at,
                publication,
            })
            .zip(results)
            .collect();
        count(&outcomes);
        outcomes
    }

    async fn forget(&self, published: Vec<OutboxId>) {
        let deletions = published.into_iter().map(|id| self.commands.published(id));
        for deleted in join_all(deletions).await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "a published outbox row was not deleted: it will be published again");
            }
        }
    }

    fn connected(&self) -> bool {
        matches!(
            *self.broker.connection().borrow(),
            Connection::Up | Connection::Mismatch(_)
        )
    }
}

fn count(outcomes: &[Outcome]) {
    let mut confirmed = 0;
    for (row, outcome) in outcomes {
        match outcome {
            Ok(()) => confirmed += 1,
            Err(error) => {
                metrics::counter!("relay_failures").increment(1);
                tracing::debug!(payment.id = row.payment.map(|id| id.0), routing_key = row.publication.routing_key,
                    %error, "not published; the sweep will try again");
            }
        }
    }
    metrics::counter!("relay_published").increment(confirmed);
}

fn step_span(payment: Option<i64>, publication: &Publication) -> tracing::Span {
    let kind = publication.properties.kind.as_deref().unwrap_or("");
    tracing::debug_span!(
        "relay",
        payment.id = payment,
        messaging.destination = publication.exchange.name(),
        kind
    )
}
