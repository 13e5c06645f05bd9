//! The lines of `payments watch` for people.

use super::changes::Change;
use crate::cli::output::{self, Paint};
use crate::domain::{Event, PaymentStatus, rfc3339};

/// The heading above [`change`].
pub(super) fn change_heading() -> String {
    format!(
        "{:<27}  {:>10}  {:>10}  {:<20}  {:<23}  {:<22}  {}",
        "at", "id", "order", "client", "status", "reason", "amount"
    )
}

/// A new payment or a changed status, as one line.
pub(super) fn change(change: &Change) -> String {
    let status = format!("{:<23}", change.status.as_str());
    format!(
        "{:<27}  {:>10}  {:>10}  {:<20}  {}  {:<22}  {} {}",
        rfc3339(change.at),
        change.payment.0,
        change.order.0,
        change.client.as_str(),
        output::painted(&status, paint(change.status)),
        change.reason.as_deref().unwrap_or("-"),
        change.amount.major(),
        change.amount.currency().code(),
    )
}

fn paint(status: PaymentStatus) -> Option<Paint> {
    match status {
        PaymentStatus::Succeeded => Some(Paint::Green),
        PaymentStatus::Declined | PaymentStatus::Canceled => Some(Paint::Yellow),
        PaymentStatus::Failed => Some(Paint::Red),
        PaymentStatus::RequiresPaymentMethod
        | PaymentStatus::Processing
        | PaymentStatus::RequiresAction
        | PaymentStatus::RequiresCapture => None,
    }
}

/// The heading above [`event_line`].
pub(super) fn event_heading() -> String {
    format!(
        "{:<27}  {:>8}  {:<20}  {:>7}  {:>3}  {}",
        "at", "sequence", "kind", "attempt", "try", "reason"
    )
}

/// An event of a history, as one line.
pub(super) fn event_line(event: &Event) -> String {
    let kind = format!("{:<20}", event.kind.as_str());
    format!(
        "{:<27}  {:>8}  {}  {:>7}  {:>3}  {}",
        rfc3339(event.at),
        event.sequence,
        output::painted(&kind, event.kind.status().and_then(paint)),
        event.attempt,
        event.try_number,
        event.reason.as_deref().unwrap_or("-"),
    )
}
