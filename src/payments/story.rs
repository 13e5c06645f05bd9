//! Everything that is known about one payment, for operators: its row, history, operations, charges, and what is due.

use serde_json::{Value, json};

use crate::broker::{Exchange, Queue};
use crate::domain::{Event, MethodSummary, PaymentId, Timestamp, rfc3339};
use crate::store::rows::{
    Content, Fact, LaterFact, LedgerEntry, OutboxRow, StoredOperation, StoredPayment,
};
use crate::store::{Store, StoreError};
use crate::wire::result::{CALLBACK_ERROR_HEADER, CALLBACK_REASON_HEADER, CALLBACK_TRIES_HEADER};

/// How many operations of a payment are shown: more than a person reads.
const MOST_OPERATIONS: u32 = 1000;

/// Everything that is known about one payment.
pub struct Story {
    /// Its row. The sealed card and the keys in it are not shown.
    pub row: StoredPayment,
    /// Its history, in order.
    pub events: Vec<Event>,
    /// What waits in the outbox, by due time.
    pub due: Vec<OutboxRow>,
    /// Its lines in the issuer's ledger.
    pub ledger: Vec<LedgerEntry>,
    /// Its captures, voids and refunds, the oldest first.
    pub operations: Vec<StoredOperation>,
}

/// How much of the outbox is searched for what is due.
#[derive(Debug, Clone, Copy)]
pub enum Searched {
    /// The newest rows, so that it can be read often ([`Store::newest_outbox_about`]).
    Newest,
    /// All of it ([`Store::outbox_about`]).
    All,
}

impl Story {
    /// Reads it.
    pub async fn read(
        database: &Store,
        id: PaymentId,
        outbox: Searched,
    ) -> Result<Option<Self>, StoreError> {
        let Some(row) = database.payment(id).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            events: database.events(id).await?,
            due: match outbox {
                Searched::Newest => database.newest_outbox_about(id).await?,
                Searched::All => database.outbox_about(id).await?,
            },
            ledger: database.ledger(id).await?,
            operations: database.operations_of(id, None, MOST_OPERATIONS).await?,
            row,
        }))
    }

    /// As `payments show --json` prints it.
    pub fn to_json(&self) -> Value {
        let mut value = payment(&self.row);
        value["due"] = self.due.iter().map(|row| json_of(&Due::of(row))).collect();
        value["events"] = self.events.iter().map(event).collect();
        value["charges"] = self.ledger.iter().map(charge).collect();
        value["operations"] = self.operations.iter().map(operation).collect();
        value
    }
}

/// The parts of a payment's row that operators need. Its sealed card and its keys are not shown.
pub fn payment(row: &StoredPayment) -> Value {
    let payment = &row.payment;
    let moment = |at: Option<Timestamp>| at.map(rfc3339);
    json!({
        "payment_id": payment.id.0,
        "client": payment.client,
        "order_id": payment.order_id.0,
        "user_id": payment.user_id.0,
        "total_amount": payment.amount.major(),
        "currency": payment.amount.currency().code(),
        "status": payment.status,
        "decline_code": payment.decline_code.as_ref().map(ToString::to_string),
        "authorization_code": payment.authorization_code,
        "method": payment.method.as_ref().map(MethodSummary::name),
        "card": payment.card(),
        "capture_method": payment.funds.capture_method,
        "captured_minor": payment.funds.captured,
        "refunded_minor": payment.funds.refunded,
        "refunds_reserved_minor": payment.funds.reserved,
        "capture_before": moment(payment.funds.capture_before),
        "operation": payment.funds.operation,
        "cancellation_reason": payment.funds.cancellation_reason,
        "disputes": payment.disputes,
        "attempt": payment.attempt,
        "try": row.try_number,
        "phase": row.phase.as_str(),
        "uncertain": row.uncertain,
        "claimed_until": moment(row.claimed_until),
        "looked_at_again": moment(row.check_at),
        "created_at": rfc3339(payment.created_at),
        "updated_at": rfc3339(payment.updated_at),
    })
}

/// An entry of a payment's history.
pub fn event(event: &Event) -> Value {
    json!({
        "sequence": event.sequence,
        "at": rfc3339(event.at),
        "kind": event.kind,
        "attempt": event.attempt,
        "try": event.try_number,
        "reason": event.reason,
    })
}

fn charge(entry: &LedgerEntry) -> Value {
    json!({
        "key": entry.key,
        "charged_at": entry.charged_at.map(rfc3339),
        "reversed_at": entry.reversed_at.map(rfc3339),
    })
}

/// A refund in a list, with its payment and client.
pub fn refund(row: &StoredOperation) -> Value {
    let mut refund = operation(row);
    refund["payment_id"] = row.operation.payment.0.into();
    refund["client"] = row.operation.client.as_str().into();
    refund["currency"] = row.operation.amount.currency().code().into();
    refund
}

fn operation(row: &StoredOperation) -> Value {
    let operation = &row.operation;
    json!({
        "id": operation.id.to_string(),
        "kind": operation.kind.as_str(),
        "amount": operation.amount.major(),
        "status": operation.status.as_str(),
        "failure_code": operation.failure_code.as_ref().map(ToString::to_string),
        "phase": row.phase.as_str(),
        "try": row.try_number,
        "uncertain": row.uncertain,
        "claimed_until": row.claimed_until.map(rfc3339),
        "looked_at_again": row.check_at.map(rfc3339),
        "reason": operation.reason,
        "client_reference": operation.client_reference,
        "source": operation.source,
        "created_at": rfc3339(operation.created_at),
        "updated_at": rfc3339(operation.updated_at),
    })
}

/// Something that waits to be published; for a callback also how often it was sent, and how the last call failed.
pub struct Due<'r> {
    /// When.
    pub at: Timestamp,
    /// `try`, `result`, `reply`, `callback`, …
    pub what: &'static str,
    /// Calls so far.
    pub tries: Option<&'r str>,
    /// The reason of the last failure.
    pub reason: Option<&'r str>,
    /// The error text of the last failure.
    pub error: Option<&'r str>,
}

impl<'r> Due<'r> {
    /// What an outbox row is.
    pub fn of(row: &'r OutboxRow) -> Self {
        let Content::Message(publication) = &row.content else {
            return Self {
                at: row.due_at,
                what: of_fact(&row.content),
                tries: None,
                reason: None,
                error: None,
            };
        };
        let what = match publication.exchange {
            Exchange::Work => "try",
            Exchange::Results => "result",
            Exchange::DeadLetters => "dead letter",
            Exchange::Requests => "request",
            Exchange::Default if publication.routing_key == Queue::Callbacks.name() => "callback",
            Exchange::Default => "reply",
        };
        let header = |name: &str| {
            let value = publication.properties.headers.get(name);
            value.map(String::as_str)
        };
        Self {
            at: row.due_at,
            what,
            tries: header(CALLBACK_TRIES_HEADER),
            reason: header(CALLBACK_REASON_HEADER),
            error: header(CALLBACK_ERROR_HEADER),
        }
    }
}

fn json_of(due: &Due<'_>) -> Value {
    json!({
        "due_at": rfc3339(due.at),
        "what": due.what,
        "tries": due.tries,
        "reason": due.reason,
        "error": due.error,
    })
}

fn of_fact(content: &Content) -> &'static str {
    match content {
        Content::Message(_) => "message",
        Content::Fact(Fact::Try { .. })
        | Content::LaterFact(
            LaterFact::Try { .. }
            | LaterFact::Payment {
                about: Fact::Try { .. },
                ..
            },
        ) => "try",
        Content::Fact(Fact::Result { .. })
        | Content::LaterFact(
            LaterFact::RefundResult { .. }
            | LaterFact::Payment {
                about: Fact::Result { .. },
                ..
            },
        ) => "result",
        Content::Fact(Fact::Reply { .. })
        | Content::LaterFact(
            LaterFact::RefundReply { .. }
            | LaterFact::Payment {
                about: Fact::Reply { .. },
                ..
            },
        ) => "reply",
    }
}
