//! Processes tries: claim, authorize (or reverse), record the answer, acknowledge, in this order.
//!
//! A delivery is acknowledged only after its outcome is committed, so nothing is lost when a worker dies: the broker
//! delivers again, and claim and transition decide what is left to do.

mod authorize;
mod dispatch;
mod group;
mod open_groups;
mod operate;
mod outcome;
mod processor_calls;
mod shares;
mod slow;
mod unknown;

use std::ops::ControlFlow;
use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::broker::{Broker, Consumer, Delivery, Queue};
use crate::clients::Clients;
use crate::domain::ClientName;
use crate::payments::advance::Advanced;
use crate::payments::apply::Advance;
use crate::payments::backlog::Backlog;
use crate::payments::claim::Claim;
use crate::payments::commands::Commands;
use crate::payments::operations::claim::PostponeOperation;
use crate::payments::postpone::{Postpone, Postponed};
use crate::payments::row_ids::RowIds;
use crate::store::quarantine::{Key, SetAside};
use crate::store::rows::StoredPayment;
use crate::store::{Store, StoreError};
use crate::watchdog::pulse::Pulse;
use crate::wire::work::{GroupedTry, Work, WorkMessage};

use authorize::Asked;
pub use authorize::Authorizer;
use dispatch::{Dispatcher, Permit, Received, Takes};
pub use processor_calls::ProcessorCalls;
use slow::Kept;
pub use unknown::UnknownPayments;

/// With more than one client, a worker holds this many waiting tries in addition to those that its permits need: room to
/// see the tries of other clients further back in the queue.
const ROOM: usize = 128;

/// Takes tries from the work queue.
pub struct Worker {
    /// Where tries come from.
    pub broker: Arc<dyn Broker>,
    /// Knows the client of a payment.
    pub database: Store,
    /// Claims and records tries.
    pub commands: Commands,
    /// Calls the processor.
    pub authorizer: Authorizer,
    /// Knows how much waits to be published.
    pub backlog: Backlog,
    /// The clients that share the permits, with their weights.
    pub clients: Clients,
    /// Tries that are claimed and not yet answered, at the same time.
    pub permits: usize,
    /// The progress of calls to the processor; claiming and recording are group commits.
    pub pulse: Pulse,
    /// Tries in a message of a group.
    pub tries_in_group: usize,
    /// Work for payments that are not in the database.
    pub unknown: UnknownPayments,
}

/// Where a worker gets its tries.
pub struct Consumers {
    /// One in a message.
    pub tries: Consumer,
    /// Several in a message; none if such messages do not come.
    pub groups: Option<Consumer>,
}

/// All queues that a worker consumes.
pub struct WorkConsumers {
    /// Authorizations of payments that are captured at once.
    pub authorizations: Consumers,
    /// Captures, voids and refunds, and authorizations of payments that are captured later.
    pub operations: Consumers,
}

/// What a worker receives.
enum WorkDelivery {
    Try(Delivery),
    Group(Delivery),
}

impl Consumers {
    /// The next message; none when one of them is closed. If both have some, neither is preferred.
    async fn next(&mut self) -> Option<WorkDelivery> {
        let Some(groups) = &mut self.groups else {
            return self.tries.deliveries.recv().await.map(WorkDelivery::Try);
        };
        tokio::select! {
            delivery = self.tries.deliveries.recv() => delivery.map(WorkDelivery::Try),
            delivery = groups.deliveries.recv() => delivery.map(WorkDelivery::Group),
        }
    }

    async fn give_back_the_rest(self) {
        self.tries.give_back_the_rest().await;
        if let Some(groups) = self.groups {
            groups.give_back_the_rest().await;
        }
    }
}

/// How to settle a delivery.
enum Settlement {
    Done,
    /// The payment is not in the database.
    UnknownPayment,
}

impl Worker {
    /// Registers for tries.
    pub fn consume(&self) -> WorkConsumers {
        WorkConsumers {
            authorizations: Consumers {
                tries: self.broker.consume(Queue::Work, self.prefetch()),
                groups: Some(self.broker.consume(Queue::WorkGroups, self.groups())),
            },
            operations: Consumers {
                tries: self.broker.consume(Queue::Operations, self.prefetch()),
                groups: None,
            },
        }
    }

    /// Twice the number of permits: the other tries are on their way from the broker, or their answers are being
    /// recorded; both take long if the servers are far away.
    fn prefetch(&self) -> u16 {
        let room = if self.clients.default_client().is_some() {
            0
        } else {
            ROOM
        };
        let prefetch = 2 * self.permits + 1 + room;
        u16::try_from(prefetch).unwrap_or(u16::MAX)
    }

    /// How many groups have as many tries as the prefetch.
    fn groups(&self) -> u16 {
        let groups = usize::from(self.prefetch()).div_ceil(self.tries_in_group.max(1));
        u16::try_from(groups).unwrap_or(u16::MAX)
    }

    /// A try that would wait for longer than this delays other clients: half of the longest time that another client's
    /// try may need to reach the worker, since a permit becomes free for it within one time-out.
    fn horizon(&self) -> Duration {
        self.authorizer.timeout / 2
    }

    /// Processes what [`Self::consume`] receives until `stop`, then finishes the work under way.
    pub async fn run(self, consumers: WorkConsumers, stop: CancellationToken) {
        let tries = TaskTracker::new();
        let worker = Arc::new(self);
        // If one of the two ends because nothing more arrives, the other ends, too.
        let stop = stop.child_token();
        let work = async |takes, mut consumers: Consumers| {
            let from = (Arc::clone(&worker), takes);
            let dispatcher = Dispatcher::new(from, tries.clone(), stop.clone());
            dispatcher.run(&mut consumers).await;
            stop.cancel();
            consumers.give_back_the_rest().await;
        };
        tokio::join!(
            work(Takes::Authorizations, consumers.authorizations),
            work(Takes::Operations, consumers.operations),
        );
        tries.close();
        tries.wait().await;
    }

    async fn work_off(&self, received: Received, permit: Permit, stop: &CancellationToken) {
        match received.work {
            Work::Authorization(work) => {
                let span = tracing::debug_span!(
                    "work",
                    payment.id = work.payment_id.0,
                    attempt = work.attempt,
                    try_number = work.try_number
                );
                self.take_and_try((received, work), permit, stop)
                    .instrument(span)
                    .await;
            }
            Work::Operation(work) => {
                let span = tracing::debug_span!(
                    "work",
                    payment.id = work.payment_id.0,
                    operation.id = %work.operation_id,
                    try_number = work.try_number
                );
                let settlement = self.take_and_operate(work, permit).instrument(span).await;
                self.settle(received, settlement, stop).await;
            }
        }
    }

    /// Moves a try to the outbox until its turn comes.
    async fn postpone(
        &self,
        received: Received,
        times: u32,
        delay: Duration,
        stop: &CancellationToken,
    ) {
        let settlement = match received.work {
            Work::Authorization(work) => {
                let postpone = Postpone::new(work, times, delay);
                let postponed = self.commands.postpone(postpone).await;
                postponed.map(|postponed| match postponed {
                    Postponed::Done => Settlement::Done,
                    Postponed::UnknownPayment => Settlement::UnknownPayment,
                })
            }
            Work::Operation(work) => {
                let postpone = PostponeOperation::new(work, times, delay);
                let is_known = self.commands.postpone_operation(postpone).await;
                is_known.map(|is_known| match is_known {
                    true => Settlement::Done,
                    false => Settlement::UnknownPayment,
                })
            }
        };
        self.settle(received, settlement, stop).await;
    }

    /// Moves the tries of a group to the outbox, from where each travels alone: one of them may have ended the worker that
    /// had the group before.
    async fn separate(&self, delivery: Delivery, tries: Vec<GroupedTry>, stop: &CancellationToken) {
        let moved = tries.iter().map(|try_| {
            let postpone = Postpone::new(try_.work, try_.postponed, Duration::ZERO);
            self.commands.postpone(postpone)
        });
        let mut unknown = None;
        for (moved, try_) in join_all(moved).await.into_iter().zip(&tries) {
            match moved {
                Ok(Postponed::Done) => {}
                Ok(Postponed::UnknownPayment) => unknown = Some(try_.work.payment_id),
                Err(error) => {
                    tracing::error!(payment.id = try_.work.payment_id.0, %error, "a try could not be recorded");
                    return delivery.settle.reject().await;
                }
            }
        }
        match unknown {
            Some(payment) => self.unknown.put_back(payment, delivery, stop).await,
            None => delivery.settle.acknowledge().await,
        }
    }

    async fn settle(
        &self,
        received: Received,
        settlement: Result<Settlement, StoreError>,
        stop: &CancellationToken,
    ) {
        let Received {
            work,
            delivery,
            place,
            ..
        } = received;
        let payment = work.payment();
        match settlement {
            Ok(Settlement::Done) => delivery.settle.acknowledge().await,
            Ok(Settlement::UnknownPayment) => self.unknown.put_back(payment, delivery, stop).await,
            Err(error) => match self.set_aside(work, &error).await {
                true => delivery.settle.acknowledge().await,
                false => delivery.settle.reject().await,
            },
        }
        drop(place);
    }

    /// Logs the error, and quarantines the payment or operation if it would fail again and again: true if it did. After its
    /// release, the rescue dispatches it again.
    async fn set_aside(&self, work: Work, error: &StoreError) -> bool {
        tracing::error!(payment.id = work.payment().0, %error, "a try could not be recorded");
        let Some(reason) = error.reason_to_set_aside() else {
            return false;
        };
        let key = match work {
            Work::Authorization(work) => Key::Payment(work.payment_id),
            Work::Operation(work) => Key::Operation(work.operation_id),
        };
        let row = SetAside::new(key, reason);
        self.commands.quarantine(&[row]).await.is_ok()
    }

    async fn take_and_try(
        &self,
        (received, work): (Received, WorkMessage),
        permit: Permit,
        stop: &CancellationToken,
    ) {
        let authorizing = self.commands.stages().authorize.enter();
        let stored = match self.claim(work).await {
            Ok(ControlFlow::Continue(stored)) => stored,
            Ok(ControlFlow::Break(settlement)) => {
                authorizing.left();
                drop(permit);
                return self.settle(received, Ok(settlement), stop).await;
            }
            Err(error) => {
                drop((authorizing, permit));
                return self.settle(received, Err(error), stop).await;
            }
        };
        let busy = self.pulse.take();
        permit.asked();
        let asking = async {
            let answer = self.authorizer.ask(&stored).await;
            // The next try need not wait until the answer is in the database.
            drop(permit);
            drop(busy);
            authorizing.left();
            answer
        };
        let (answer, kept) = self
            .leaving_its_group_if_slow(asking, (received, work))
            .await;
        let recorded = self.record(&stored, answer).await;
        match kept {
            Kept::Delivery(received) => {
                let settlement = recorded.map(|()| Settlement::Done);
                self.settle(*received, settlement, stop).await;
            }
            Kept::Row(row) => self.delete_row(row, work, recorded).await,
        }
    }

    /// Takes the try for one lease, or says how to settle it.
    async fn claim(
        &self,
        work: WorkMessage,
    ) -> Result<ControlFlow<Settlement, Box<StoredPayment>>, StoreError> {
        let span = tracing::debug_span!("claim", payment.id = work.payment_id.0);
        let claimed = self.commands.claim(work).instrument(span).await?;
        Ok(match claimed {
            Claim::Taken(stored) => ControlFlow::Continue(stored),
            Claim::UnknownPayment => ControlFlow::Break(Settlement::UnknownPayment),
            Claim::Held | Claim::Over => {
                tracing::debug!(?claimed, "nothing to do");
                ControlFlow::Break(Settlement::Done)
            }
            Claim::Quarantined(payment) => {
                tracing::warn!(%payment, "a try of a quarantined payment is left to its release");
                ControlFlow::Break(Settlement::Done)
            }
        })
    }

    async fn record(
        &self,
        stored: &StoredPayment,
        Asked {
            trigger,
            delay,
            card,
        }: Asked,
    ) -> Result<(), StoreError> {
        let payment = stored.payment.id;
        let advance = Advance {
            payment,
            client: None::<ClientName>,
            trigger,
            card,
            token: None,
            delay,
            capture_within: self.clients.capture_within(&stored.payment.client),
            ids: RowIds::draw(),
        };
        let span = tracing::debug_span!("record", payment.id = payment.0);
        match self.commands.record(advance).instrument(span).await? {
            Advanced::Moved(payment) => self.report(stored, &payment).await,
            // After its release, the call is repeated under the same key, and the processor gives the same answer.
            Advanced::Quarantined(payment) => {
                tracing::error!(%payment, "an answer was not recorded");
            }
            _ => {}
        }
        Ok(())
    }
}
