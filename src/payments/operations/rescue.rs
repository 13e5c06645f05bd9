//! Operations whose message seems lost, payments that are captured later and whose message seems lost, and authorizations
//! that have expired.

use std::time::Duration;

use uuid::Uuid;

use super::Locked;
use crate::domain::{PaymentId, PaymentStatus, Timestamp};
use crate::payments::leases::Leases;
use crate::payments::outbox::Taken;
use crate::payments::outgoing::{self, NewMessage};
use crate::store::rows::{OutboxId, StoredPayment};
use crate::store::{Store, StoreError};

/// Dispatches tries again whose check is overdue by at least the given time, up to `limit` of operations and as many of
/// authorizations. A message that was not lost after all does no harm: the claim decides.
pub(in crate::payments) async fn dispatch_forgotten(
    database: &Store,
    leases: Leases,
    overdue: Duration,
    limit: u32,
) -> Result<Taken, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let before = now - overdue;
    let operations = tx.forgotten_operations(before, limit).await?;
    let payments = tx.due_capture_checks(before, limit).await?;
    if operations.is_empty() && payments.is_empty() {
        return Ok(Taken::default());
    }
    let ids: Vec<_> = operations.iter().map(|(id, _)| *id).collect();
    let mut locked = Locked::lock(&mut tx, leases, payments.iter().copied(), &ids).await?;
    let found = operations.len().max(payments.len());
    for id in ids {
        locked.dispatch_operation(id, before);
    }
    for id in payments {
        locked.dispatch_authorization(id);
    }
    let messages = locked.write(tx, &[]).await?;
    Ok(Taken {
        messages,
        found,
        oldest: None,
    })
}

/// Up to `limit` payments whose authorization has expired.
pub(in crate::payments) async fn expired(
    database: &Store,
    limit: u32,
) -> Result<Vec<PaymentId>, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    tx.expired_authorizations(now, limit).await
}

/// The next check: after the time that the row has already waited, within bounds.
fn next_check(leases: Leases, now: Timestamp, since: Timestamp) -> Timestamp {
    let waiting = Duration::try_from(now - since).unwrap_or_default();
    now + waiting.clamp(leases.check, leases.longest_check())
}

impl Locked {
    fn dispatch_operation(&mut self, id: crate::domain::OperationId, before: Timestamp) {
        let (now, leases) = (self.now, self.leases);
        let Some(row) = self.operations.get_mut(&id) else {
            return;
        };
        // Another process may have dispatched it since.
        if !row.progress().awaits_answer() || row.check_at.is_none_or(|at| at > before) {
            return;
        }
        row.check_at = Some(next_check(leases, now, row.operation.updated_at));
        let due_at = now + leases.outbox;
        let message = outgoing::operation_try(row, OutboxId(Uuid::now_v7()), 0, due_at);
        self.moved_operations.push(id);
        self.publish(vec![message]);
    }

    fn dispatch_authorization(&mut self, id: PaymentId) {
        let (now, leases) = (self.now, self.leases);
        let Some(row) = self.payments.get_mut(&id) else {
            return;
        };
        let is_due = is_being_authorized(row);
        row.check_at = is_due.then(|| next_check(leases, now, row.payment.updated_at));
        let message = is_due.then(|| NewMessage::of_try(row, now + leases.outbox));
        self.moved_payments.push(id);
        self.publish(message.into_iter().collect());
    }
}

fn is_being_authorized(row: &StoredPayment) -> bool {
    row.payment.status == PaymentStatus::Processing && row.payment.funds.operation.is_none()
}
