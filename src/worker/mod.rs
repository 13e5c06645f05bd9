//! Works off tries: claim, authorize (or reverse), record the answer, acknowledge. In that order.
//!
//! A delivery is acknowledged only after its outcome is committed, so that a worker that dies loses nothing: the
//! broker delivers again, and claim and transition decide what is left to do.

mod authorize;
mod dispatch;
mod shares;
mod unknown;

use std::sync::Arc;
use std::time::Duration;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::broker::{Broker, Consumer, Queue};
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
use crate::store::{Database, StoreError};
use crate::watchdog::pulse::Pulse;
use crate::wire::work::WorkMessage;

pub use authorize::Authorizer;
use dispatch::{Dispatcher, Permit, Received};
pub use unknown::UnknownPayments;

/// Tries that wait in a worker besides those that its permits need, where there is more than one client: room to see
/// what lies behind the tries of one of them in the queue.
const ROOM: usize = 128;

/// Takes tries from the work queue.
pub struct Worker {
    /// Where they come from.
    pub broker: Arc<dyn Broker>,
    /// Knows whose a payment is.
    pub database: Arc<dyn Database>,
    /// Where they are claimed and recorded.
    pub commands: Commands,
    /// Who asks the processor.
    pub authorizer: Authorizer,
    /// Knows how much waits to be published.
    pub backlog: Backlog,
    /// Who shares the permits, and in which proportion.
    pub clients: Clients,
    /// Tries that are claimed and not yet answered, at the same time.
    pub permits: usize,
    /// Of the calls to the processor; claiming and recording are group commits.
    pub pulse: Pulse,
    /// Work for payments that are not in the database.
    pub unknown: UnknownPayments,
}

/// What is to happen to a delivery.
enum Settlement {
    Done,
    /// The payment is not in the database.
    UnknownPayment,
}

impl Worker {
    /// Registers for tries.
    pub fn consume(&self) -> Consumer {
        self.broker.consume(Queue::Work, self.prefetch())
    }

    /// Twice as many as may be with the processor: the others come from the broker, or their answers are being recorded,
    /// which both take long where the servers are far away.
    fn prefetch(&self) -> u16 {
        let room = if self.clients.default_client().is_some() {
            0
        } else {
            ROOM
        };
        let prefetch = 2 * self.permits + 1 + room;
        u16::try_from(prefetch).unwrap_or(u16::MAX)
    }

    /// A try that waits for longer than that holds up others: half of what another client may have to wait at most for
    /// its way to the worker, since a permit comes free for it within one time-out.
    fn horizon(&self) -> Duration {
        self.authorizer.timeout / 2
    }

    /// Works off what [`Self::consume`] brings until `stop`, then finishes what is under way.
    pub async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        let tries = TaskTracker::new();
        let dispatcher = Dispatcher::new(Arc::new(self), tries.clone(), stop);
        dispatcher.run(&mut consumer).await;
        consumer.give_back_the_rest().await;
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

    /// Has a try wait in the outbox until its turn comes.
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

    /// Sets a payment aside that would fail again and again. Released, it is dispatched again by the rescue.
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
            // Released, it is asked again under the same key, and the processor answers the same.
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
