//! Refunds about which a platform has sent an event: the platform is asked at once, instead of later or not at all.

use super::Locked;
use crate::domain::{OperationId, OperationKind, OperationPhase, OperationStatus, PaymentId};
use crate::payments::leases::Leases;
use crate::payments::outgoing::{self, Outgoing};
use crate::processors::notifications::RefundState;
use crate::store::rows::{OutboxId, StoredOperation};
use crate::store::{Store, StoreError};
use uuid::Uuid;

/// What a hint about a refund came to.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Hinted {
    /// There is nothing to do, or the platform is being asked.
    Done,
    /// A call about it is under way, or it is not in the database yet: look again later.
    TooEarly,
    /// The platform says something else than we do about what is decided here.
    Contradicts,
}

/// Asks now what became of a refund, if the platform has another state of it. Returns the messages to publish.
pub(in crate::payments) async fn refund_changed(
    database: &Store,
    leases: Leases,
    (payment, id): (PaymentId, OperationId),
    there: &RefundState,
) -> Result<(Hinted, Vec<Outgoing>), StoreError> {
    let mut tx = database.begin().await?;
    let mut locked = Locked::lock(&mut tx, leases, std::iter::empty(), &[id]).await?;
    let Some(row) = locked.operations.get(&id) else {
        // Not there, or set aside.
        return Ok((Hinted::TooEarly, locked.write(tx, &[]).await?));
    };
    let is_refund = row.operation.kind == OperationKind::Refund && row.operation.payment == payment;
    let next = if is_refund {
        asks(row, there)
    } else {
        Asks::Nothing
    };
    match next {
        Asks::Nothing => Ok((Hinted::Done, Vec::new())),
        Asks::Later => Ok((Hinted::TooEarly, Vec::new())),
        Asks::Person => Ok((Hinted::Contradicts, Vec::new())),
        Asks::Now(phase) => {
            locked.ask_now(id, phase);
            Ok((Hinted::Done, locked.write(tx, &[]).await?))
        }
    }
}

/// Whether the platform has to be asked.
enum Asks {
    Nothing,
    Later,
    Now(OperationPhase),
    /// No answer would change what is decided here.
    Person,
}

fn asks(row: &StoredOperation, there: &RefundState) -> Asks {
    match (row.operation.status, row.phase, there) {
        (OperationStatus::Pending, OperationPhase::Query, RefundState::Pending) => Asks::Nothing,
        (OperationStatus::Pending, OperationPhase::Query, _) => Asks::Now(OperationPhase::Query),
        (OperationStatus::Pending, _, _) => Asks::Later,
        (OperationStatus::Succeeded, _, RefundState::Failed(_)) => {
            Asks::Now(OperationPhase::Confirm)
        }
        (OperationStatus::Failed, _, RefundState::Succeeded) => Asks::Person,
        (OperationStatus::Succeeded | OperationStatus::Failed, _, _) => Asks::Nothing,
    }
}

impl Locked {
    /// Starts a new try of an operation, whose number makes the answers of earlier tries stale.
    fn ask_now(&mut self, id: OperationId, phase: OperationPhase) {
        let (now, leases) = (self.now, self.leases);
        let Some(row) = self.operations.get_mut(&id) else {
            return;
        };
        row.phase = phase;
        row.try_number += 1;
        row.claimed_until = None;
        row.check_at = Some(now + leases.check);
        let due_at = now + leases.outbox;
        let message = outgoing::operation_try(row, OutboxId(Uuid::now_v7()), 0, due_at);
        self.moved_operations.push(id);
        self.publish(vec![message]);
    }
}
