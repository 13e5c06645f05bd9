//! Disputes that a platform has reported: noted in the payment and in its history, and published. They move no amount.

use super::Locked;
use super::hinted::Hinted;
use crate::domain::{Dispute, EventKind, PaymentStatus};
use crate::payments::apply::next_event;
use crate::payments::leases::Leases;
use crate::payments::outgoing::{self, Outgoing};
use crate::payments::row_ids::RowIds;
use crate::processors::notifications::DisputeThere;
use crate::store::{Store, StoreError};

/// Notes a dispute; returns what has happened, and the messages to publish.
pub(in crate::payments) async fn disputed(
    database: &Store,
    leases: Leases,
    processor: &str,
    there: &DisputeThere,
) -> Result<(Hinted, Vec<EventKind>, Vec<Outgoing>), StoreError> {
    let ids = RowIds::draw();
    let (payment, attempt) = (there.authorization.payment, there.authorization.attempt);
    let mut tx = database.begin().await?;
    let mut locked = Locked::lock(&mut tx, leases, std::iter::once(payment), &[]).await?;
    let (now, due_at) = (locked.now, locked.now + leases.outbox);
    let Some(row) = locked.payments.get_mut(&payment) else {
        // Not there, or set aside.
        return Ok((Hinted::TooEarly, Vec::new(), locked.write(tx, &[]).await?));
    };
    if row.payment.status.has_a_try() {
        return Ok((Hinted::TooEarly, Vec::new(), Vec::new()));
    }
    if row.payment.attempt != attempt || row.payment.status != PaymentStatus::Succeeded {
        tracing::warn!(
            payment.id = payment.0,
            dispute = there.reference,
            "a dispute is about a payment that has not succeeded"
        );
        return Ok((Hinted::Contradicts, Vec::new(), Vec::new()));
    }
    let reported = Dispute {
        processor: processor.to_owned(),
        reference: there.reference.clone(),
        reason: there.reason.to_string(),
        ended: there.ended.as_ref().map(ToString::to_string),
    };
    let noted = Dispute::note(&mut row.payment.disputes, reported);
    if noted.is_empty() {
        return Ok((Hinted::Done, Vec::new(), Vec::new()));
    }
    let (mut events, mut messages) = (Vec::new(), Vec::new());
    for (place, (kind, reason)) in noted.into_iter().enumerate() {
        let event = next_event(row, kind, Some(reason), (ids.events[place], now));
        messages.push(outgoing::dispute_result(
            row,
            &event,
            (ids.outbox[place], due_at),
        ));
        events.push(event);
    }
    let kinds = events.iter().map(|event| event.kind).collect();
    tx.set_disputes(payment, &row.payment.disputes).await?;
    locked.moved_payments.push(payment);
    locked.events.extend(events);
    locked.publish(messages);
    Ok((Hinted::Done, kinds, locked.write(tx, &[]).await?))
}
