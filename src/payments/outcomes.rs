//! Counts attempts to pay, and outcomes.

use crate::domain::{DeclineCode, MethodSummary, Payment};
use crate::metric;

/// The label of a payment without a code or without a payment method.
pub const NONE: &str = "none";

/// Counts a payment whose attempt has started.
pub(super) fn count_attempt(payment: &Payment) {
    metrics::counter!(metric::PAYMENT_ATTEMPTS, "client" => payment.client.to_string())
        .increment(1);
}

/// Counts a payment that has an outcome.
pub fn count(payment: &Payment) {
    let method = payment.method.as_ref().map_or(NONE, MethodSummary::name);
    let code = payment
        .decline_code
        .as_ref()
        .map_or(NONE, DeclineCode::as_str);
    metrics::counter!(
        metric::PAYMENT_OUTCOMES,
        "status" => payment.status.as_str(),
        "payment_method" => method.to_owned(),
        "decline_code" => code.to_owned(),
        "client" => payment.client.to_string(),
    )
    .increment(1);
}
