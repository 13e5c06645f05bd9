//! The output of `payments list` and `payments show` in words.

use std::fmt::Write;

use serde_json::Value;

use crate::cli::output::printable;
use crate::domain::rfc3339;
use crate::payments::story::Story;
use crate::store::rows::StoredPayment;

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

/// Everything about one payment: its fields, then a table for each list.
pub(super) fn story(story: &Story) -> String {
    let value = story.to_json();
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

/// One line per refund, under a heading.
pub(super) fn refunds(refunds: &Value) -> String {
    let mut text = String::new();
    let columns = [
        "id",
        "payment_id",
        "client",
        "amount",
        "currency",
        "status",
        "failure_code",
        "client_reference",
        "created_at",
    ];
    table(&mut text, "refunds", refunds, &columns);
    if text.is_empty() {
        "no refunds\n".to_owned()
    } else {
        text.trim_start().to_owned()
    }
}

/// One line per row, under a heading; nothing if there are no rows.
fn table(text: &mut String, name: &str, rows: &Value, columns: &[&str]) {
    let rows = rows.as_array().map_or(&[][..], Vec::as_slice);
    if rows.is_empty() {
        return;
    }
    let cell = |row: &Value, column: &str| match &row[column] {
        Value::Null => "-".to_owned(),
        Value::String(words) => printable(words),
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
