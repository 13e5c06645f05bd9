//! Works off tries: claim, authorize (or reverse), record the answer, acknowledge. In that order.
//!
//! A delivery is acknowledged only after its outcome is committed, so that a worker that dies loses nothing: the
//! broker delivers again, and claim and transition decide what is left to do.

mod authorize;
pub mod retry;

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use crate::broker::{Broker, Consumer, Delivery, Queue};
use crate::domain::{ClientName, Payment};
use crate::messages::work::WorkMessage;
use crate::pulse::Pulse;
use crate::relay::Relay;
use crate::store::StoreError;
use crate::store::commands::{Advance, Advanced, Claim, Commands, RowIds};

pub use authorize::Authorizer;

/// Takes tries from the work queue.
pub struct Worker {
    /// Where they come from.
    pub broker: Arc<dyn Broker>,
    /// Where they are claimed and recorded.
    pub commands: Commands,
    /// Who asks the processor.
    pub authorizer: Authorizer,
    /// Takes what is to be published.
    pub relay: Relay,
    /// Tries under way at the same time.
    pub permits: usize,
    /// Of the calls to the processor; claiming and recording are group commits.
    pub pulse: Pulse,
}

impl Worker {
    /// Registers for tries.
    pub fn consume(&self) -> Consumer {
        // A few more than can be worked on, so that a permit that comes free finds work.
        let prefetch = u16::try_from(self.permits + self.permits / 4 + 1).unwrap_or(u16::MAX);
        self.broker.consume(Queue::Work, prefetch)
    }

    /// Works off what [`Self::consume`] brings until `stop`, then finishes what is in hand.
    pub async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        let tries = TaskTracker::new();
        let this = Arc::new(self);
        let work = |delivery| {
            let this = Arc::clone(&this);
            async move { this.work_off(delivery).await }
        };
        consumer.hand_out(this.permits, &tries, &stop, work).await;
        consumer.give_back_the_rest().await;
        tries.close();
        tries.wait().await;
    }

    async fn work_off(&self, delivery: Delivery) {
        let work = match WorkMessage::parse(&delivery.body) {
            Ok(work) => work,
            Err(error) => {
                // Only the relay writes here, so this is a foreign message: it ends among the dead letters.
                tracing::warn!(%error, "a work message cannot be read");
                return delivery.settle.reject().await;
            }
        };
        let span = tracing::debug_span!(
            "work",
            payment.id = work.payment_id.0,
            attempt = work.attempt,
            try_number = work.try_number
        );
        match self.take_and_try(work).instrument(span).await {
            Ok(()) => delivery.settle.acknowledge().await,
            Err(error) => {
                tracing::error!(payment.id = work.payment_id.0, %error, "a try could not be recorded");
                delivery.settle.reject().await;
            }
        }
    }

    async fn take_and_try(&self, work: WorkMessage) -> Result<(), StoreError> {
        let authorizing = self.commands.stages().authorize.enter();
        let claimed = self
            .commands
            .claim(work)
            .instrument(tracing::debug_span!(
                "claim",
                payment.id = work.payment_id.0
            ))
            .await?;
        let Claim::Taken(stored) = claimed else {
            authorizing.left();
            tracing::debug!(?claimed, "nothing to do");
            return Ok(());
        };
        let in_hand = self.pulse.take();
        let (trigger, delay) = self.authorizer.ask(&stored).await;
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
        if let Advanced::Moved(payment, outbox) = recorded {
            report(&payment);
            self.relay.hand_over(outbox);
        }
        Ok(())
    }
}

fn report(payment: &Payment) {
    metrics::counter!("payments_tried", "status" => payment.status.as_str()).increment(1);
    tracing::debug!(payment.id = payment.id.0, status = %payment.status, "recorded");
}
