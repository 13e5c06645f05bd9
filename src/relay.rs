//! From the outbox to the broker: the only code that publishes, and the only code that deletes outbox rows.
//!
//! Whoever commits rows hands them over at once, through a bounded queue in memory for each [`Lane`], so that results
//! which some subscriber's queue does not take hold up no work. The sweep finds what is left:
//! rows that did not fit, that could not be published, whose process has died, or whose delay is over. A row may be
//! published twice; whatever receives it must not mind.

mod chores;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Connection, Exchange, Lane, Publication, PublishError};
use crate::pulse::Pulse;
use crate::stages::{Entered, Name, Stage};
use crate::store::Database;
use crate::store::commands::Commands;
use crate::store::rows::{OutboxId, OutboxRow};

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

/// Takes rows that were just committed.
#[derive(Clone)]
pub struct Relay {
    work: mpsc::Sender<OutboxRow>,
    results: mpsc::Sender<OutboxRow>,
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
    lanes: [(Lane, mpsc::Receiver<OutboxRow>); 2],
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
    stages: RelayStages,
}

/// The stages that the relay's work belongs to.
#[derive(Clone)]
struct RelayStages {
    dispatch: Stage,
    announce: Stage,
    reply: Stage,
    sweep: Stage,
    rescue: Stage,
    erase: Stage,
}

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
    let backlog = Arc::<Backlog>::default();
    let tasks = RelayTasks {
        lanes: [(Lane::Work, work_lane), (Lane::Results, results_lane)],
        publisher: Publisher {
            broker,
            commands,
            stages: RelayStages::new(settings),
            pulses: Pulses {
                publish: Pulse::new("relay"),
                sweep: Pulse::new("sweep"),
                last_net: Pulse::new("last net"),
                backlog: Pulse::new("backlog"),
                tokens: Pulse::new("card tokens"),
            },
        },
        database,
        settings,
        backlog: Arc::clone(&backlog),
    };
    let relay = Relay {
        work,
        results,
        backlog,
    };
    (relay, tasks)
}

impl Relay {
    /// Takes committed rows. What does not fit is left to the sweep.
    pub fn hand_over(&self, rows: Vec<OutboxRow>) {
        for row in rows {
            let lane = match row.publication.exchange.lane() {
                Lane::Work => &self.work,
                Lane::Results => &self.results,
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

impl RelayStages {
    fn new(settings: RelaySettings) -> Self {
        Self {
            dispatch: Stage::new(Name::Dispatch),
            announce: Stage::new(Name::Announce),
            reply: Stage::new(Name::Reply),
            sweep: Stage::new(Name::Sweep),
            rescue: Stage::retried_every(Name::Rescue, settings.check_every),
            erase: Stage::retried_every(Name::Erase, chores::ERASE_EVERY),
        }
    }

    /// Those that publish, in the order of [`Self::place`].
    fn publishing(&self) -> [&Stage; 3] {
        [&self.dispatch, &self.announce, &self.reply]
    }

    /// The one that most rows of a lane belong to.
    fn of(&self, lane: Lane) -> &Stage {
        match lane {
            Lane::Work => &self.dispatch,
            Lane::Results => &self.announce,
        }
    }

    /// Which of them a message belongs to.
    fn place(publication: &Publication) -> usize {
        match publication.exchange {
            Exchange::Work | Exchange::Requests | Exchange::DeadLetters => 0,
            Exchange::Results => 1,
            Exchange::Default => 2,
        }
    }

    fn enter(&self, publications: &[Publication]) -> [Entered; 3] {
        let mut numbers = [0; 3];
        for publication in publications {
            numbers[Self::place(publication)] += 1;
        }
        let [dispatch, announce, reply] = numbers;
        [
            self.dispatch.enter_many(dispatch),
            self.announce.enter_many(announce),
            self.reply.enter_many(reply),
        ]
    }

    /// Of each stage, one message that has left is enough: it lets something out.
    fn leave(
        &self,
        entered: [Entered; 3],
        publications: &[Publication],
        results: &[Result<(), PublishError>],
    ) {
        let mut outcomes: [Option<&Result<(), PublishError>>; 3] = [None; 3];
        for (publication, result) in publications.iter().zip(results) {
            let outcome = &mut outcomes[Self::place(publication)];
            if result.is_ok() || outcome.is_none() {
                *outcome = Some(result);
            }
        }
        for (entered, outcome) in entered.into_iter().zip(outcomes) {
            match outcome {
                Some(Err(error)) => entered.failed(error),
                _ => entered.left(),
            }
        }
    }
}

impl RelayTasks {
    /// The stages of the tasks' work.
    pub fn stages(&self) -> Vec<Stage> {
        let stages = &self.publisher.stages;
        let looking = [&stages.sweep, &stages.rescue, &stages.erase];
        let all = stages.publishing().into_iter().chain(looking);
        all.cloned().collect()
    }

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
            join(publish_handed_over(handed_over, publisher, stop), sweep)
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
    mut rows: mpsc::Receiver<OutboxRow>,
    publisher: Publisher,
    stop: CancellationToken,
) {
    let under_way = Arc::new(Semaphore::new(CHUNKS_UNDER_WAY));
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
        let (rows, publications): (Vec<_>, Vec<Publication>) = rows
            .into_iter()
            .map(|row| ((row.id, row.payment), row.publication))
            .unzip();
        let spans: Vec<tracing::Span> = rows
            .iter()
            .zip(&publications)
            .map(|((_, payment), publication)| step_span(payment.map(|id| id.0), publication))
            .collect();
        let in_hand = self.pulses.publish.take();
        let entered = self.stages.enter(&publications);
        let results = self.broker.publish(&publications).await;
        self.stages.leave(entered, &publications, &results);
        drop(in_hand);
        drop(spans);
        let mut confirmed = Vec::with_capacity(rows.len());
        for (((id, payment), publication), result) in
            rows.into_iter().zip(&publications).zip(results)
        {
            match result {
                Ok(()) => confirmed.push(id),
                Err(error) => {
                    metrics::counter!("relay_failures").increment(1);
                    tracing::debug!(payment.id = payment.map(|id| id.0), routing_key = publication.routing_key,
                        %error, "not published; the sweep will try again");
                }
            }
        }
        metrics::counter!("relay_published").increment(confirmed.len() as u64);
        confirmed
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

fn step_span(payment: Option<i64>, publication: &Publication) -> tracing::Span {
    let kind = publication.properties.kind.as_deref().unwrap_or("");
    tracing::debug_span!(
        "relay",
        payment.id = payment,
        messaging.destination = publication.exchange.name(),
        kind
    )
}
