//! Messages on their way to the broker. The outbox stores the facts about a payment's messages; this renders them, when
//! they are written and again when a sweep finds them.

use std::collections::HashMap;

use uuid::Uuid;

use super::row_ids::RowIds;
use crate::broker::Publication;
use crate::domain::{
    DeclineCode, Event, EventKind, Funds, MethodSummary, Operation, OperationId, OperationStatus,
    Origin, Payment, PaymentId, PaymentStatus, Timestamp,
};
use crate::store::quarantine::{Key, SetAside};
use crate::store::rows::{
    Content, Fact, LaterFact, OutboxId, OutboxRow, StoredOperation, StoredPayment,
};
use crate::store::{StoreError, Transaction};
use crate::wire::result;
use crate::wire::work::{OperationWork, WorkMessage};

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
    /// The work message of a payment's current try, with a new id.
    pub(super) fn of_try(row: &StoredPayment, due_at: Timestamp) -> Self {
        Self {
            row: try_row(row, 0, due_at),
            publication: work_of(row),
        }
    }

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

/// What the outbox stores of a fact about a payment: releases without captures and actions must not see those of payments
/// that are kept apart.
pub(super) fn content(row: &StoredPayment, fact: Fact) -> Content {
    match row.is_apart() {
        false => Content::Fact(fact),
        true => Content::LaterFact(LaterFact::Payment {
            about: fact,
            operation: None,
        }),
    }
}

/// The row of a payment's current try, with a new id.
pub(super) fn try_row(row: &StoredPayment, postponed: u32, due_at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: OutboxId(Uuid::now_v7()),
        payment: Some(row.payment.id),
        due_at,
        content: content(row, current_try(row, postponed)),
    }
}

/// The work message of a payment's current try.
pub(super) fn work_of(row: &StoredPayment) -> Publication {
    let work = WorkMessage {
        payment_id: row.payment.id,
        attempt: row.payment.attempt,
        try_number: row.try_number,
    };
    work_publication(row, work, 0)
}

fn work_publication(row: &StoredPayment, work: WorkMessage, postponed: u32) -> Publication {
    let (client, traceparent) = (&row.payment.client, row.origin.traceparent.as_deref());
    let publication = work.postponed_publication(client, traceparent, postponed);
    match row.is_apart() {
        false => publication,
        true => WorkMessage::for_operations(publication),
    }
}

/// The rows of a payment's result, and of the reply if its client wants one.
pub(super) fn results(
    row: &StoredPayment,
    event: &Event,
    ids: &RowIds,
    (due_at, operation): (Timestamp, Option<&StoredOperation>),
) -> Vec<NewMessage> {
    let (sequence, method) = (event.sequence, row.payment.method.clone());
    let reply = Fact::Reply {
        sequence,
        method: method.clone(),
    };
    let facts = [Fact::Result { sequence, method }, reply];
    let origin = &origin(row, operation);
    let publications = result::publications(&row.payment, event.id, origin);
    let message = |((id, fact), publication)| NewMessage {
        row: OutboxRow {
            id,
            payment: Some(row.payment.id),
            due_at,
            content: match operation {
                None => content(row, fact),
                Some(operation) => Content::LaterFact(LaterFact::Payment {
                    about: fact,
                    operation: Some(operation.operation.id),
                }),
            },
        },
        publication,
    };
    let with_ids = ids.outbox.into_iter().zip(facts);
    with_ids.zip(publications).map(message).collect()
}

/// Where results go in addition to the topic, and under which correlation id: as the request of the operation says, and
/// otherwise that of the payment.
fn origin(row: &StoredPayment, operation: Option<&StoredOperation>) -> Origin {
    match operation.map(|operation| &operation.origin) {
        Some(own) if own.reply_to.is_some() => own.clone(),
        Some(own) if own.correlation_id.is_some() => Origin {
            reply_to: row.origin.reply_to.clone(),
            ..own.clone()
        },
        _ => row.origin.clone(),
    }
}

/// The message about a try of an operation, with its row.
pub(super) fn operation_try(
    operation: &StoredOperation,
    id: OutboxId,
    postponed: u32,
    due_at: Timestamp,
) -> NewMessage {
    let (about, traceparent) = (&operation.operation, &operation.origin.traceparent);
    NewMessage {
        row: OutboxRow {
            id,
            payment: Some(about.payment),
            due_at,
            content: Content::LaterFact(LaterFact::Try {
                operation: about.id,
                try_number: operation.try_number,
                postponed,
            }),
        },
        publication: OperationWork::of(about, operation.try_number).publication(
            &about.client,
            traceparent.as_deref(),
            postponed,
        ),
    }
}

/// The result of a refund, and the reply if its client wants one.
pub(super) fn refund_results(
    refund: &StoredOperation,
    event: &Event,
    ids: &RowIds,
    due_at: Timestamp,
) -> Vec<NewMessage> {
    let (operation, sequence) = (refund.operation.id, event.sequence);
    let facts = [
        LaterFact::RefundResult {
            operation,
            sequence,
        },
        LaterFact::RefundReply {
            operation,
            sequence,
        },
    ];
    let publications = result::refund_publications(&refund.operation, event, &refund.origin);
    let message = |((id, fact), publication)| NewMessage {
        row: OutboxRow {
            id,
            payment: Some(refund.operation.payment),
            due_at,
            content: Content::LaterFact(fact),
        },
        publication,
    };
    let with_ids = ids.outbox.into_iter().zip(facts);
    with_ids.zip(publications).map(message).collect()
}

/// The message about a dispute, to the topic only: the request of the payment is long over. Stored as it is.
pub(super) fn dispute_result(
    row: &StoredPayment,
    event: &Event,
    (id, due_at): (OutboxId, Timestamp),
) -> NewMessage {
    let publication = result::dispute_publication(&row.payment, event);
    NewMessage {
        row: OutboxRow {
            id,
            payment: Some(row.payment.id),
            due_at,
            content: Content::Message(publication.clone()),
        },
        publication,
    }
}

/// The messages of a payment that has just moved: the next try's work message, or the result and, if the client wants
/// one, the reply.
pub(super) fn messages(
    row: &StoredPayment,
    event: &Event,
    ids: &RowIds,
    due_at: Timestamp,
) -> Vec<NewMessage> {
    if row.payment.status != PaymentStatus::Processing {
        return results(row, event, ids, (due_at, None));
    }
    work(row, ids, due_at)
}

/// The next try's work message.
pub(super) fn work(row: &StoredPayment, ids: &RowIds, due_at: Timestamp) -> Vec<NewMessage> {
    vec![NewMessage {
        row: OutboxRow {
            id: ids.outbox[0],
            ..try_row(row, 0, due_at)
        },
        publication: work_of(row),
    }]
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
            Content::Fact(fact) => history.render(row.payment, &fact, None),
            Content::LaterFact(fact) => history.render_later(row.payment, &fact),
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
    operations: HashMap<OperationId, StoredOperation>,
}

impl History {
    async fn of(tx: &mut Transaction, rows: &[OutboxRow]) -> Result<Self, StoreError> {
        let (mut ids, mut numbers, mut operations) = (Vec::new(), Vec::new(), Vec::new());
        for row in rows {
            let Some(payment) = row.payment else { continue };
            let (fact, operation) = match &row.content {
                Content::Message(_) => continue,
                Content::Fact(fact) => (Some(fact), None),
                Content::LaterFact(LaterFact::Payment { about, operation }) => {
                    (Some(about), *operation)
                }
                Content::LaterFact(LaterFact::Try { operation, .. }) => (None, Some(*operation)),
                Content::LaterFact(
                    LaterFact::RefundResult {
                        operation,
                        sequence,
                    }
                    | LaterFact::RefundReply {
                        operation,
                        sequence,
                    },
                ) => {
                    numbers.push((payment, *sequence));
                    (None, Some(*operation))
                }
            };
            operations.extend(operation);
            if let Some(fact) = fact {
                ids.push(payment);
                if let Fact::Result { sequence, .. } | Fact::Reply { sequence, .. } = fact {
                    numbers.push((payment, *sequence));
                }
            }
        }
        let mut history = Self::default();
        if !operations.is_empty() {
            let found = tx.read_operations(&operations).await?;
            // One that is set aside is reported where it is worked on.
            tx.left_out();
            let found = found.into_iter();
            history.operations = found.map(|row| (row.operation.id, row)).collect();
        }
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
    fn render(
        &self,
        payment: Option<PaymentId>,
        fact: &Fact,
        operation: Option<&StoredOperation>,
    ) -> Result<Publication, &'static str> {
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
                Ok(work_publication(row, work, *postponed))
            }
            Fact::Result { sequence, method } => {
                self.event((row, operation), *sequence, method.as_ref(), 0)
            }
            Fact::Reply { sequence, method } => {
                self.event((row, operation), *sequence, method.as_ref(), 1)
            }
        }
    }

    fn render_later(
        &self,
        payment: Option<PaymentId>,
        fact: &LaterFact,
    ) -> Result<Publication, &'static str> {
        match fact {
            LaterFact::Payment { about, operation } => {
                let operation = operation.map(|id| self.operation(id)).transpose()?;
                self.render(payment, about, operation)
            }
            LaterFact::Try {
                operation,
                try_number,
                postponed,
            } => {
                let row = self.operation(*operation)?;
                let (about, traceparent) = (&row.operation, &row.origin.traceparent);
                let work = OperationWork::of(about, *try_number);
                Ok(work.publication(&about.client, traceparent.as_deref(), *postponed))
            }
            LaterFact::RefundResult {
                operation,
                sequence,
            } => self.refund(*operation, *sequence, 0),
            LaterFact::RefundReply {
                operation,
                sequence,
            } => self.refund(*operation, *sequence, 1),
        }
    }

    fn operation(&self, id: OperationId) -> Result<&StoredOperation, &'static str> {
        let row = self.operations.get(&id);
        row.ok_or("its operation is missing, set aside or cannot be read")
    }

    /// The message about a refund: the result is the first, the reply the second.
    fn refund(
        &self,
        id: OperationId,
        sequence: u32,
        number: usize,
    ) -> Result<Publication, &'static str> {
        let row = self.operation(id)?;
        let event = self.events.get(&(row.operation.payment, sequence));
        let event = event.ok_or("its event is missing or cannot be read")?;
        let status = match event.kind {
            EventKind::RefundSucceeded => OperationStatus::Succeeded,
            EventKind::RefundFailed => OperationStatus::Failed,
            _ => return Err("its event is not the result of a refund"),
        };
        let refund = Operation {
            status,
            failure_code: event.reason.clone().map(DeclineCode::new),
            updated_at: event.at,
            ..row.operation.clone()
        };
        let mut publications = result::refund_publications(&refund, event, &row.origin);
        match number < publications.len() {
            true => Ok(publications.swap_remove(number)),
            false => Err("its refund has no address for replies"),
        }
    }

    /// The message about an event: the result is the first, the reply the second.
    fn event(
        &self,
        (row, operation): (&StoredPayment, Option<&StoredOperation>),
        sequence: u32,
        method: Option<&MethodSummary>,
        number: usize,
    ) -> Result<Publication, &'static str> {
        let event = self.events.get(&(row.payment.id, sequence));
        let event = event.ok_or("its event is missing or cannot be read")?;
        let payment = at_the_moment(&row.payment, event, method)?;
        let origin = &origin(row, operation);
        let mut publications = result::publications(&payment, event.id, origin);
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
        EventKind::RequiresCapture => PaymentStatus::RequiresCapture,
        EventKind::RequiresAction => PaymentStatus::RequiresAction,
        EventKind::CloseStarted
        | EventKind::LateApproval
        | EventKind::AttemptStarted
        | EventKind::TryFailed
        | EventKind::ReversalStarted
        | EventKind::CaptureStarted
        | EventKind::VoidStarted
        | EventKind::OperationTryFailed
        | EventKind::RefundStarted
        | EventKind::RefundSucceeded
        | EventKind::RefundFailed
        | EventKind::DisputeOpened
        | EventKind::DisputeClosed => return Err("its event is not a result"),
    };
    if !method.is_none_or(MethodSummary::is_showable) {
        return Err("its card cannot be read");
    }
    let is_declined = matches!(status, PaymentStatus::Declined | PaymentStatus::Failed);
    let is_authorized = matches!(
        status,
        PaymentStatus::RequiresCapture | PaymentStatus::Succeeded
    );
    let funds = &payment.funds;
    let is_captured = status == PaymentStatus::Succeeded;
    Ok(Payment {
        status,
        decline_code: event
            .reason
            .clone()
            .filter(|_| is_declined)
            .map(DeclineCode::new),
        authorization_code: payment.authorization_code.clone().filter(|_| is_authorized),
        funds: Funds {
            capture_method: funds.capture_method,
            captured: if is_captured { funds.captured } else { 0 },
            capture_before: funds.capture_before.filter(|_| is_authorized),
            ..Funds::default()
        },
        method: method.cloned(),
        // The page of another attempt is another one.
        action: payment
            .action
            .clone()
            .filter(|_| payment.attempt == event.attempt),
        attempt: event.attempt,
        sequence: event.sequence,
        updated_at: event.at,
        ..payment.clone()
    })
}
