//! The output of `payments list` and `payments show`, in words and in JSON.

use std::fmt::Write;

use serde_json::{Value, json};

use crate::broker::{Exchange, Queue};
use crate::callbacks::event::{ERROR_HEADER, REASON_HEADER, TRIES_HEADER};
use crate::cli::output::printable;
use crate::domain::rfc3339;
use crate::domain::{Event, MethodSummary, Timestamp};
use crate::store::rows::{
    Content, Fact, LaterFact, LedgerEntry, OutboxRow, StoredOperation, StoredPayment,
};

/// Everything known about one payment.
pub(super) struct About {
    pub row: StoredPayment,
    pub events: Vec<Event>,
    /// What waits in the outbox.
    pub due: Vec<OutboxRow>,
    pub ledger: Vec<LedgerEntry>,
    /// Its captures, voids and refunds.
    pub operations: Vec<StoredOperation>,
}

/// The parts of a payment's row that operators need. Its sealed card and its keys are not shown.
pub(super) fn payment(row: &StoredPayment) -> Value {
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

/// One line per payment, under a heading.
pub(super) fn lines(payments: &[StoredPayment]) -> String {
    if payments.is_empty() {
        return "no payments\n".to_owned();
    }
    let mut text = format!(
        "{:>10}  {:<20}  {:>10}  {:>14}  {:<23}  {:<20}  {:>7}  {}\n",
        "id", "client", "order", "amount", "status", "decline code", "attempt", "updated"
    );
    for row in payments {
        let payment = &row.payment;
        let code = payment.decline_code.as_ref().map(ToString::to_string);
        let amount = format!(
            "{} {}",
            payment.amount.major(),
            payment.amount.currency().code()
        );
        let _ = writeln!(
            text,
            "{:>10}  {:<20}  {:>10}  {amount:>14}  {:<23}  {:<20}  {:>7}  {}",
            payment.id.0,
            payment.client.as_str(),
            payment.order_id.0,
            payment.status.as_str(),
            code.as_deref().unwrap_or("-"),
            payment.attempt,
            rfc3339(payment.updated_at),
        );
    }
    text
}

impl About {
    pub(super) fn as_json(&self) -> Value {
        let mut value = payment(&self.row);
        let events: Vec<Value> = self.events.iter().map(event).collect();
        let ledger: Vec<Value> = self.ledger.iter().map(charge).collect();
        value["due"] = self.due.iter().map(waiting).collect();
        value["events"] = Value::Array(events);
        value["charges"] = Value::Array(ledger);
        value["operations"] = self.operations.iter().map(operation).collect();
        value
    }

    pub(super) fn as_text(&self) -> String {
        let value = self.as_json();
        let mut text = String::new();
        for (name, value) in value.as_object().into_iter().flatten() {
            match value {
                Value::Null | Value::Array(_) => {}
                Value::String(words) => {
                    let _ = writeln!(text, "{name:<18} {}", printable(words));
                }
                other => {
                    let _ = writeln!(text, "{name:<18} {other}");
                }
            }
        }
        table(
            &mut text,
            "history",
            &value["events"],
            &["sequence", "at", "kind", "attempt", "try", "reason"],
        );
        table(
            &mut text,
            "charges",
            &value["charges"],
            &["key", "charged_at", "reversed_at"],
        );
        table(
            &mut text,
            "operations",
            &value["operations"],
            &[
                "id",
                "kind",
                "amount",
                "status",
                "failure_code",
                "phase",
                "try",
                "looked_at_again",
                "reason",
            ],
        );
        table(
            &mut text,
            "due",
            &value["due"],
            &["due_at", "what", "tries", "reason", "error"],
        );
        text
    }
}

pub(super) fn event(event: &Event) -> Value {
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
        "created_at": rfc3339(operation.created_at),
        "updated_at": rfc3339(operation.updated_at),
    })
}

/// What a fact is about.
fn what(content: &Content) -> &'static str {
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

/// A try, a result or a callback that waits to be published; for a callback also how often it was sent, and how the last
/// call failed.
fn waiting(row: &OutboxRow) -> Value {
    let publication = match &row.content {
        Content::Message(publication) => publication,
        Content::Fact(_) | Content::LaterFact(_) => {
            let what = what(&row.content);
            let nothing = Value::Null;
            return json!({
                "due_at": rfc3339(row.due_at), "what": what,
                "tries": nothing, "reason": nothing, "error": nothing,
            });
        }
    };
    let what = match publication.exchange {
        Exchange::Work => "try",
        Exchange::Results => "result",
        Exchange::DeadLetters => "dead letter",
        Exchange::Requests => "request",
        Exchange::Default if publication.routing_key == Queue::Callbacks.name() => "callback",
        Exchange::Default => "reply",
    };
    let header = |name: &str| publication.properties.headers.get(name);
    json!({
        "due_at": rfc3339(row.due_at),
        "what": what,
        "tries": header(TRIES_HEADER),
        "reason": header(REASON_HEADER),
        "error": header(ERROR_HEADER),
    })
}

/// One line per row, under a heading; nothing if there are no rows.
fn table(text: &mut String, name: &str, rows: &Value, columns: &[&str]) {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return;
    }
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(words) => words.clone(),
        other => other.to_string(),
    };
    let width = |column: &str| {
        let widths = rows.iter().map(|row| cell(row, column).chars().count());
        widths.max().unwrap_or(0).max(column.len())
    };
    let _ = writeln!(text, "\n{name}");
    let mut line = |cells: Vec<String>| {
        let padded: Vec<String> = cells
            .into_iter()
            .zip(columns)
            .map(|(cell, column)| format!("{cell:<width$}", width = width(column)))
            .collect();
        let _ = writeln!(text, "  {}", padded.join("  ").trim_end());
    };
    line(columns.iter().map(|column| (*column).to_owned()).collect());
    for row in rows {
        line(columns.iter().map(|column| cell(row, column)).collect());
    }
}
