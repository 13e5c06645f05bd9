//! From the outbox to the broker: the only code that publishes, and the only code that deletes outbox rows.
//!
//! Code that commits rows hands them over at once ([`crate::payments::hand_over`]). Each [`Lane`] has its own queue and
//! task, so that results do not hold up work when a subscriber's queue does not accept them. The sweep finds the
//! remaining rows: those that did not fit, could not be published, belong to a process that died, or were delayed until
//! now. A row may be published twice; its receivers must tolerate that.

mod groups;
mod periodic_tasks;
mod publisher;
mod replies;
mod reply_addresses;

use std::sync::Arc;
use std::time::Duration;

use futures::future::{join, join_all};
use tokio::sync::{Semaphore, mpsc};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::broker::{Broker, Lane, Publication, PublishError};
use crate::payments::Backlog;
use crate::payments::commands::Commands;
use crate::payments::hand_over::HandedOver;
use crate::payments::outgoing::Outgoing;
use crate::store::Store;
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::{Entered, Name, Stage};
use groups::Groups;
use publisher::Publisher;

/// Settings of the relay.
#[derive(Debug, Clone, Copy)]
pub struct RelaySettings {
    /// Pause between two sweeps that found nothing.
    pub sweep_every: Duration,
    /// Pause between two searches for payments whose message was lost.
    pub check_every: Duration,
    /// Outbox rows of payments at which no more payments are accepted.
    pub backlog_limit: u64,
    /// Tries that travel in one message if so many wait; 1 for none.
    pub work_tries: usize,
}

/// Rows published together.
const CHUNK: usize = 256;
/// Chunks under way at the same time, so that waiting for confirms does not hold up the next publish.
const CHUNKS_UNDER_WAY: usize = 4;
/// The same for replies, more because any of them may wait for a queue that does not confirm.
const REPLIES_UNDER_WAY: usize = 32;

/// The relay: its tasks, to be run by the caller.
pub struct RelayTasks {
    lanes: [(Lane, mpsc::Receiver<Outgoing>); 3],
    publisher: Publisher,
    database: Store,
    settings: RelaySettings,
    backlog: Backlog,
}

/// The stages of the relay's work.
#[derive(Clone)]
struct RelayStages {
    dispatch: Stage,
    announce: Stage,
    reply: Stage,
    sweep: Stage,
    rescue: Stage,
    erase: Stage,
}

/// The progress of publishing, and of the database queries of the periodic tasks.
#[derive(Clone)]
struct Pulses {
    publish: Pulse,
    sweep: Pulse,
    rescue: Pulse,
    backlog: Pulse,
    tokens: Pulse,
}

/// Builds the relay. It counts in `backlog` how many rows wait.
pub fn relay(
    broker: Arc<dyn Broker>,
    database: Store,
    (commands, handed_over): (Commands, HandedOver),
    settings: RelaySettings,
) -> RelayTasks {
    let HandedOver {
        work,
        results,
        replies,
    } = handed_over;
    RelayTasks {
        lanes: [
            (Lane::Work, work),
            (Lane::Results, results),
            (Lane::Replies, replies),
        ],
        publisher: Publisher::new(
            broker,
            commands,
            (RelayStages::new(settings), Groups::of(settings.work_tries)),
            Pulses {
                publish: Pulse::new("relay"),
                sweep: Pulse::new("sweep"),
                rescue: Pulse::new("rescue"),
                backlog: Pulse::new("backlog"),
                tokens: Pulse::new("card tokens"),
            },
        ),
        database,
        settings,
        backlog: Backlog::default(),
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
            erase: Stage::retried_every(Name::Erase, periodic_tasks::ERASE_EVERY),
        }
    }

    /// The stages that publish, in the order of [`Self::place`].
    fn publishing(&self) -> [&Stage; 3] {
        [&self.dispatch, &self.announce, &self.reply]
    }

    /// The stage that most rows of a lane belong to.
    fn of(&self, lane: Lane) -> &Stage {
        match lane {
            Lane::Work => &self.dispatch,
            Lane::Results => &self.announce,
            Lane::Replies => &self.reply,
        }
    }

    /// The index of the stage that a message belongs to.
    fn place(publication: &Publication) -> usize {
        match publication.lane() {
            Lane::Work => 0,
            Lane::Results => 1,
            Lane::Replies => 2,
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

    /// For each stage, one published message is enough to show that it makes progress.
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
    /// How many rows wait in the outbox, as these tasks count them.
    pub fn backlog(&self) -> Backlog {
        self.backlog.clone()
    }

    /// The stages of the tasks' work.
    pub fn stages(&self) -> Vec<Stage> {
        let stages = &self.publisher.stages;
        let looking = [&stages.sweep, &stages.rescue, &stages.erase];
        let all = stages.publishing().into_iter().chain(looking);
        all.cloned().collect()
    }

    /// The pulses of the tasks.
    pub fn pulses(&self) -> Vec<Pulse> {
        let Pulses {
            publish,
            sweep,
            rescue,
            backlog,
            tokens,
        } = &self.publisher.pulses;
        [publish, sweep, rescue, backlog, tokens]
            .map(Pulse::clone)
            .into()
    }

    /// Runs until `stop`, then publishes what was already handed over and ends.
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
            let sweep = periodic_tasks::sweep(lane, publisher.clone(), settings, stop.clone());
            join(
                publish_handed_over(lane, handed_over, publisher, stop),
                sweep,
            )
        });
        tokio::join!(
            join_all(lanes),
            periodic_tasks::dispatch_forgotten(publisher.clone(), settings, stop.clone()),
            periodic_tasks::dispatch_forgotten_operations(
                publisher.clone(),
                settings,
                stop.clone()
            ),
            periodic_tasks::measure(
                publisher.clone(),
                database,
                (settings, backlog),
                stop.clone()
            ),
            periodic_tasks::erase_expired_tokens(publisher, stop),
        );
    }
}

async fn publish_handed_over(
    lane: Lane,
    mut rows: mpsc::Receiver<Outgoing>,
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
