//! Operations whose message seems lost, payments that are kept apart and whose message seems lost, authorizations that
//! have expired, and actions whose shopper has returned.

use std::time::Duration;

use uuid::Uuid;

use super::Locked;
use crate::domain::{Event, EventId, EventKind, PaymentId, PaymentStatus, Phase, Timestamp};
use crate::payments::apply::next_event;
use crate::payments::leases::Leases;
use crate::payments::outbox::Taken;
use crate::payments::outgoing::{self, NewMessage, Outgoing};
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
    row.payment.status.has_a_try() && row.payment.funds.operation.is_none()
}

/// Asks the processor now what became of an action, instead of at the next of the growing intervals: its shopper may have
/// acted. One who approved `late`, when the attempt was closed already, is noted in the history. Returns the messages to
/// publish.
pub(in crate::payments) async fn shopper_returned(
    database: &Store,
    leases: Leases,
    (payment, attempt): (PaymentId, u32),
    (late, event): (bool, EventId),
) -> Result<Vec<Outgoing>, StoreError> {
    let mut tx = database.begin().await?;
    let mut locked = Locked::lock(&mut tx, leases, std::iter::once(payment), &[]).await?;
    let Some(row) = locked.payments.get_mut(&payment) else {
        return Ok(Vec::new());
    };
    let is_open = row.phase == Phase::Ask && row.payment.status == PaymentStatus::RequiresAction;
    if is_open && row.payment.attempt == attempt {
        // Whoever is asking now may have had the answer of before.
        row.try_number += 1;
        row.claimed_until = None;
        locked.dispatch_authorization(payment);
    } else if late {
        if row.payment.status.has_a_try() && row.payment.funds.operation.is_none() {
            // The row does not hold the check of a payment that is kept apart: it must stay watched.
            row.check_at = Some(locked.now + leases.check);
        }
        if let Some(noted) = late_approval(row, attempt, (event, locked.now)) {
            locked.events.push(noted);
            locked.moved_payments.push(payment);
        }
    }
    locked.write(tx, &[]).await
}

/// The event of an approval that came too late, once for an action.
fn late_approval(
    row: &mut StoredPayment,
    attempt: u32,
    (id, now): (EventId, Timestamp),
) -> Option<Event> {
    let action = row.payment.action.as_mut()?;
    if std::mem::replace(&mut action.late, true) {
        return None;
    }
    let noted = next_event(row, EventKind::LateApproval, None, (id, now));
    Some(Event { attempt, ..noted })
}
