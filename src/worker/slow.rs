//! A try whose call is slow leaves its group: a row in the outbox takes the place of its part of the message, so that the
//! message can be acknowledged. The call goes on.
//!
//! The row is due when the claim ends, so it brings the try back only if this process dies.

use tokio::{join, pin, select};

use super::Worker;
use super::dispatch::Received;
use crate::metric;
use crate::payments::postpone::{Postpone, Postponed};
use crate::store::StoreError;
use crate::store::rows::OutboxId;
use crate::wire::work::{Work, WorkMessage};

/// What brings a try back if this process dies before the answer is recorded.
pub(super) enum Kept {
    /// The broker delivers it again.
    Delivery(Box<Received>),
    /// A sweep finds this row.
    Row(OutboxId),
}

impl Worker {
    /// Waits for an answer. If the try should leave its group before that, it does so in the meantime.
    pub(super) async fn leaving_its_group_if_slow<A>(
        &self,
        asking: impl Future<Output = A>,
        (received, work): (Received, WorkMessage),
    ) -> (A, Kept) {
        pin!(asking);
        select! {
            biased;
            answer = &mut asking => (answer, Kept::Delivery(Box::new(received))),
            () = received.should_leave() => join!(asking, self.leave_group(received, work)),
        }
    }

    async fn leave_group(&self, received: Received, work: WorkMessage) -> Kept {
        let waits = Postpone::until_its_claim_ends(work);
        let row = waits.id();
        if !matches!(self.commands.postpone(waits).await, Ok(Postponed::Done)) {
            // It stays in its group, and fails with the record if the payment's row is the cause.
            return Kept::Delivery(Box::new(received));
        }
        metrics::counter!(metric::TRIES_LEFT_GROUP).increment(1);
        let Received {
            delivery, place, ..
        } = received;
        delivery.settle.acknowledge().await;
        drop(place);
        Kept::Row(row)
    }

    /// Deletes the row of a try that has left its group, unless the try is still needed. A row that is not deleted does no
    /// harm: the try is over when it is due.
    pub(super) async fn delete_row(
        &self,
        row: OutboxId,
        work: WorkMessage,
        recorded: Result<(), StoreError>,
    ) {
        let is_needed = match recorded {
            Ok(()) => false,
            // A payment that was set aside is dispatched again when it is released.
            Err(error) => !self.set_aside(Work::Authorization(work), &error).await,
        };
        if !is_needed {
            let _ = self.commands.published(row).await;
        }
    }
}
