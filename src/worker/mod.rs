//! Processes tries: claim, authorize (or reverse), record the answer, acknowledge, in this order.
//!
//! A delivery is acknowledged only after its outcome is committed, so nothing is lost when a worker dies: the broker
//! delivers again, and claim and transition decide what is left to do.

mod authorize;
mod dispatch;
mod group;
mod shares;
mod unknown;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::broker::{Broker, Consumer, Delivery, Queue};
use crate::clients::Clients;
use crate::domain::{ClientName, Payment, PaymentId};
use crate::payments::advance::Advanced;
use crate::payments::apply::Advance;
use crate::payments::backlog::Backlog;
use crate::payments::claim::Claim;
use crate::payments::commands::Commands;
use crate::payments::postpone::{Postpone, Postponed};
use crate::payments::row_ids::RowIds;
use crate::store::quarantine::{Key, SetAside};
use crate::store::{Store, StoreError};
use crate::watchdog::pulse::Pulse;
use crate::wire::work::{GroupedTry, WorkMessage};

pub use authorize::Authorizer;
use dispatch::{Dispatcher, Permit, Received};
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
    /// Several in a message.
    pub groups: Consumer,
}

/// What a worker receives.
enum WorkDelivery {
    Try(Delivery),
    Group(Delivery),
}

impl Consumers {
    /// The next message; none when one of them is closed. If both have some, neither is preferred.
    async fn next(&mut self) -> Option<WorkDelivery> {
        tokio::select! {
            delivery = self.tries.deliveries.recv() => delivery.map(WorkDelivery::Try),
            delivery = self.groups.deliveries.recv() => delivery.map(WorkDelivery::Group),
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
    pub fn consume(&self) -> Consumers {
        let groups = usize::from(self.prefetch()).div_ceil(self.tries_in_group.max(1));
        let groups = u16::try_from(groups).unwrap_or(u16::MAX);
        Consumers {
            tries: self.broker.consume(Queue::Work, self.prefetch()),
            groups: self.broker.consume(Queue::WorkGroups, groups),
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

    /// A try that would wait for longer than this delays other clients: half of the longest time that another client's
    /// try may need to reach the worker, since a permit becomes free for it within one time-out.
    fn horizon(&self) -> Duration {
        self.authorizer.timeout / 2
    }

    /// Processes what [`Self::consume`] receives until `stop`, then finishes the work under way.
    pub async fn run(self, mut consumers: Consumers, stop: CancellationToken) {
        let tries = TaskTracker::new();
        let dispatcher = Dispatcher::new(Arc::new(self), tries.clone(), stop);
        dispatcher.run(&mut consumers).await;
        consumers.tries.give_back_the_rest().await;
        consumers.groups.give_back_the_rest().await;
        tries.close();
        tries.wait().await;
    }

    async fn work_off(&self, received: Received, permit: Permit, stop: &CancellationToken) {
        let work = received.work;
        let span = tracing::debug_span!(
            "work",
            payment.id = work.payment_id.0,
            attempt = work.attempt,
            try_number = work.try_number
        );
        let settlement = self.take_and_try(work, permit).instrument(span).await;
        self.settle(received, settlement, stop).await;
    }

    /// Moves a try to the outbox until its turn comes.
    async fn postpone(
        &self,
        received: Received,
        times: u32,
        delay: Duration,
        stop: &CancellationToken,
    ) {
        let postpone = Postpone::new(received.work, times, delay);
        let settlement = match self.commands.postpone(postpone).await {
            Ok(Postponed::Done) => Ok(Settlement::Done),
            Ok(Postponed::UnknownPayment) => Ok(Settlement::UnknownPayment),
            Err(error) => Err(error),
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
                Ok(Postponed::UnknownPayment) => unknown = Some(try_.work),
                Err(error) => {
                    tracing::error!(payment.id = try_.work.payment_id.0, %error, "a try could not be recorded");
                    return delivery.settle.reject().await;
                }
            }
        }
        match unknown {
            Some(work) => self.unknown.put_back(work, delivery, stop).await,
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
        match settlement {
            Ok(Settlement::Done) => delivery.settle.acknowledge().await,
            Ok(Settlement::UnknownPayment) => self.unknown.put_back(work, delivery, stop).await,
            Err(error) => {
                tracing::error!(payment.id = work.payment_id.0, %error, "a try could not be recorded");
                if self.set_aside(work.payment_id, &error).await {
                    delivery.settle.acknowledge().await;
                } else {
                    delivery.settle.reject().await;
                }
            }
        }
        drop(place);
    }

    /// Quarantines a payment that would fail again and again. After its release, the rescue dispatches it again.
    async fn set_aside(&self, payment: PaymentId, error: &StoreError) -> bool {
        let Some(reason) = error.reason_to_set_aside() else {
            return false;
        };
        let row = SetAside::new(Key::Payment(payment), reason);
        self.commands.quarantine(&[row]).await.is_ok()
    }

    async fn take_and_try(
        &self,
        work: WorkMessage,
        permit: Permit,
    ) -> Result<Settlement, StoreError> {
        let authorizing = self.commands.stages().authorize.enter();
        let claimed = self
            .commands
            .claim(work)
            .instrument(tracing::debug_span!(
                "claim",
                payment.id = work.payment_id.0
            ))
            .await?;
        let stored = match claimed {
            Claim::Taken(stored) => stored,
            Claim::UnknownPayment => {
                authorizing.left();
                return Ok(Settlement::UnknownPayment);
            }
            Claim::Held | Claim::Over => {
                authorizing.left();
                tracing::debug!(?claimed, "nothing to do");
                return Ok(Settlement::Done);
            }
            Claim::Quarantined(payment) => {
                authorizing.left();
                tracing::warn!(%payment, "a try of a quarantined payment is left to its release");
                return Ok(Settlement::Done);
            }
        };
        let in_hand = self.pulse.take();
        permit.asked();
        let (trigger, delay) = self.authorizer.ask(&stored).await;
        // The next try need not wait until the answer is in the database.
        drop(permit);
        drop(in_hand);
        authorizing.left();
        let advance = Advance {
            payment: work.payment_id,
            client: None::<ClientName>,
            trigger,
            card: None,
            token: None,
            delay,
            ids: RowIds::draw(),
        };
        let recorded = self
            .commands
            .record(advance)
            .instrument(tracing::debug_span!(
                "record",
                payment.id = work.payment_id.0
            ))
            .await?;
        match recorded {
            Advanced::Moved(payment) => report(&payment),
            // After its release, the call is repeated under the same key, and the processor gives the same answer.
            Advanced::Quarantined(payment) => {
                tracing::error!(%payment, "an answer was not recorded");
            }
            _ => {}
        }
        Ok(Settlement::Done)
    }
}

fn report(payment: &Payment) {
    metrics::counter!("payments_tried", "status" => payment.status.as_str()).increment(1);
    tracing::debug!(payment.id = payment.id.0, status = %payment.status, "recorded");
}
