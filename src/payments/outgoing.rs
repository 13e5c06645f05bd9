//! Messages on their way to the broker. The outbox stores the facts about a payment's messages; this renders them, when
//! they are written and again when a sweep finds them.

use std::collections::HashMap;

use uuid::Uuid;

use super::row_ids::RowIds;
use crate::broker::Publication;
use crate::domain::{
    DeclineCode, Event, EventKind, MethodSummary, Payment, PaymentId, PaymentStatus, Timestamp,
};
use crate::store::quarantine::{Key, SetAside};
use crate::store::rows::{Content, Fact, OutboxId, OutboxRow, StoredPayment};
use crate::store::{StoreError, Transaction};
use crate::wire::result;
use crate::wire::work::WorkMessage;

/// A message to publish, and the outbox row to delete afterwards.
#[derive(Debug, Clone, PartialEq)]
pub struct Outgoing {
    /// The id of its row.
    pub id: OutboxId,
    /// The payment that it is about; none for a message without a payment.
    pub payment: Option<PaymentId>,
    /// Not swept before this time.
    pub due_at: Timestamp,
    /// The message.
    pub publication: Publication,
}

/// A payment's message that is about to be written, and published as soon as that is committed.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct NewMessage {
    pub row: OutboxRow,
    publication: Publication,
}

impl NewMessage {
    /// To be published once its row is committed.
    pub(super) fn outgoing(self) -> Outgoing {
        Outgoing {
            id: self.row.id,
            payment: self.row.payment,
            due_at: self.row.due_at,
            publication: self.publication,
        }
    }
}

impl Outgoing {
    /// The row of a message without a payment, which stores the message itself.
    pub fn row(&self) -> OutboxRow {
        OutboxRow {
            id: self.id,
            payment: self.payment,
            due_at: self.due_at,
            content: Content::Message(self.publication.clone()),
        }
    }
}

/// The current try of a payment, as a fact.
pub(super) fn current_try(row: &StoredPayment, postponed: u32) -> Fact {
    Fact::Try {
        attempt: row.payment.attempt,
        try_number: row.try_number,
        postponed,
    }
}

/// The row of a payment's current try, with a new id.
pub(super) fn try_row(row: &StoredPayment, postponed: u32, due_at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: OutboxId(Uuid::now_v7()),
        payment: Some(row.payment.id),
        due_at,
        content: Content::Fact(current_try(row, postponed)),
    }
}

/// The work message of a payment's current try.
pub(super) fn work_of(row: &StoredPayment) -> Publication {
    let work = WorkMessage {
        payment_id: row.payment.id,
        attempt: row.payment.attempt,
        try_number: row.try_number,
    };
    work.publication(&row.payment.client, row.origin.traceparent.as_deref())
}

/// The messages of a payment that has just moved: the next try's work message, or the result and, if the client wants
/// one, the reply.
pub(super) fn messages(
    row: &StoredPayment,
    event: &Event,
    ids: &RowIds,
    due_at: Timestamp,
) -> Vec<NewMessage> {
    let rendered = if row.payment.status == PaymentStatus::Processing {
        vec![(current_try(row, 0), work_of(row))]
    } else {
        let (sequence, method) = (event.sequence, row.payment.method.clone());
        let reply = Fact::Reply {
            sequence,
            method: method.clone(),
        };
        let facts = [Fact::Result { sequence, method }, reply];
        let publications = result::publications(&row.payment, event.id, &row.origin);
        facts.into_iter().zip(publications).collect()
    };
    let message = |(id, (fact, publication))| NewMessage {
        row: OutboxRow {
            id,
            payment: Some(row.payment.id),
            due_at,
            content: Content::Fact(fact),
        },
        publication,
    };
    ids.outbox.into_iter().zip(rendered).map(message).collect()
}

/// Renders rows that a sweep has found; those that cannot be rendered are to be set aside.
pub(super) async fn render(
    tx: &mut Transaction,
    rows: Vec<OutboxRow>,
) -> Result<(Vec<Outgoing>, Vec<SetAside>), StoreError> {
    let history = History::of(tx, &rows).await?;
    let (mut rendered, mut unreadable) = (Vec::with_capacity(rows.len()), Vec::new());
    for row in rows {
        let publication = match row.content {
            Content::Message(publication) => Ok(publication),
            Content::Fact(fact) => history.render(row.payment, &fact),
        };
        match publication {
            Ok(publication) => rendered.push(Outgoing {
                id: row.id,
                payment: row.payment,
                due_at: row.due_at,
                publication,
            }),
            Err(reason) => unreadable.push(SetAside::new(Key::Outbox(row.id), reason)),
        }
    }
    Ok((rendered, unreadable))
}

/// The payments and events that facts are about.
#[derive(Default)]
struct History {
    payments: HashMap<PaymentId, StoredPayment>,
    events: HashMap<(PaymentId, u32), Event>,
}

impl History {
    async fn of(tx: &mut Transaction, rows: &[OutboxRow]) -> Result<Self, StoreError> {
        let facts = rows.iter().filter_map(|row| match &row.content {
            Content::Fact(fact) => Some((row.payment?, fact)),
            Content::Message(_) => None,
        });
        let (mut ids, mut numbers) = (Vec::new(), Vec::new());
        for (payment, fact) in facts {
            ids.push(payment);
            match fact {
                Fact::Result { sequence, .. } | Fact::Reply { sequence, .. } => {
                    numbers.push((payment, *sequence));
                }
                Fact::Try { .. } => {}
            }
        }
        let mut history = Self::default();
        if !ids.is_empty() {
            let payments = tx.read_payments(&ids).await?;
            // One that is set aside is reported where it is worked on.
            tx.left_out();
            history.payments = payments
                .into_iter()
                .map(|row| (row.payment.id, row))
                .collect();
        }
        if !numbers.is_empty() {
            let events = tx.read_events(&numbers).await?;
            history.events = events
                .into_iter()
                .map(|event| ((event.payment, event.sequence), event))
                .collect();
        }
        Ok(history)
    }

    /// The message, or why there is none.
    fn render(&self, payment: Option<PaymentId>, fact: &Fact) -> Result<Publication, &'static str> {
        let payment = payment.and_then(|id| self.payments.get(&id));
        let row = payment.ok_or("its payment is missing, set aside or cannot be read")?;
        match fact {
            Fact::Try {
                attempt,
                try_number,
                postponed,
            } => {
                let work = WorkMessage {
                    payment_id: row.payment.id,
                    attempt: *attempt,
                    try_number: *try_number,
                };
                let (client, traceparent) = (&row.payment.client, &row.origin.traceparent);
                Ok(work.postponed_publication(client, traceparent.as_deref(), *postponed))
            }
            Fact::Result { sequence, method } => self.event(row, *sequence, method.as_ref(), 0),
            Fact::Reply { sequence, method } => self.event(row, *sequence, method.as_ref(), 1),
        }
    }

    /// The message about an event: the result is the first, the reply the second.
    fn event(
        &self,
        row: &StoredPayment,
        sequence: u32,
        method: Option<&MethodSummary>,
        number: usize,
    ) -> Result<Publication, &'static str> {
        let event = self.events.get(&(row.payment.id, sequence));
        let event = event.ok_or("its event is missing or cannot be read")?;
        let payment = at_the_moment(&row.payment, event, method)?;
        let mut publications = result::publications(&payment, event.id, &row.origin);
        match number < publications.len() {
            true => Ok(publications.swap_remove(number)),
            false => Err("its payment has no address for replies"),
        }
    }
}

/// The payment as it was when the event happened.
fn at_the_moment(
    payment: &Payment,
    event: &Event,
    method: Option<&MethodSummary>,
) -> Result<Payment, &'static str> {
    if payment.sequence == event.sequence {
        return Ok(payment.clone());
    }
    let status = match event.kind {
        EventKind::Accepted => PaymentStatus::RequiresPaymentMethod,
        EventKind::Succeeded => PaymentStatus::Succeeded,
        EventKind::Declined => PaymentStatus::Declined,
        EventKind::Failed => PaymentStatus::Failed,
        EventKind::Canceled => PaymentStatus::Canceled,
        EventKind::AttemptStarted | EventKind::TryFailed | EventKind::ReversalStarted => {
            return Err("its event is not a result");
        }
    };
    if !method.is_none_or(MethodSummary::is_showable) {
        return Err("its card cannot be read");
    }
    Ok(Payment {
        status,
        decline_code: event.reason.clone().map(DeclineCode::new),
        authorization_code: payment
            .authorization_code
            .clone()
            .filter(|_| status == PaymentStatus::Succeeded),
        method: method.cloned(),
        attempt: event.attempt,
        sequence: event.sequence,
        updated_at: event.at,
        ..payment.clone()
    })
}
