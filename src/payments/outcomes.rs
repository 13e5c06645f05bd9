//! Outcomes in the log and in the metrics: one line at level `info` and one count for each outcome of a payment, one line for
//! each outcome of a refund. Called after the commit, by the code that recorded the outcome. The lines hold no card data.

use crate::domain::card::holds_card_number;
use crate::domain::{
    CancellationReason, DeclineCode, MethodSummary, Operation, OperationKind, OperationStatus,
    OrderId, Origin, Payment, PaymentStatus, Timestamp,
};
use crate::metric;
use crate::wire::trace_id;

/// The label of a payment without a code or without a payment method.
pub const NONE: &str = "none";

/// Counts a payment whose attempt has started.
pub(super) fn count_attempt(payment: &Payment) {
    metrics::counter!(metric::PAYMENT_ATTEMPTS, "client" => payment.client.to_string())
        .increment(1);
}

/// Reports the payment's outcome; nothing while it is processing or waits for a card.
pub fn of_payment(payment: &Payment, origin: &Origin) {
    let reason = payment.decline_code.as_ref().map(DeclineCode::as_str);
    let canceled = payment.funds.cancellation_reason;
    report_payment(
        payment,
        reason.or(canceled.map(CancellationReason::as_str)),
        origin,
    );
}

/// Reports what the end of an operation means: for a refund its own outcome, for a capture or void that of the payment.
/// `before` is the status of the operation before the answer; nothing is reported if it has not changed.
pub fn of_operation(
    (payment, operation): (&Payment, &Operation),
    before: OperationStatus,
    origin: &Origin,
) {
    if operation.status == before || operation.status == OperationStatus::Pending {
        return;
    }
    let failure = operation.failure_code.as_ref().map(DeclineCode::as_str);
    if operation.kind != OperationKind::Refund {
        let canceled = payment.funds.cancellation_reason;
        let canceled = canceled.map(CancellationReason::as_str);
        report_payment(payment, failure.or(canceled), origin);
        return;
    }
    tracing::info!(
        payment.id = payment.id.0,
        payment.order_id = order(payment.order_id),
        payment.client = payment.client.as_str(),
        refund.id = %operation.id,
        refund.status = operation.status.as_str(),
        refund.reason = failure,
        duration_ms = milliseconds(operation.created_at, operation.updated_at),
        trace_id = origin.traceparent.as_deref().and_then(trace_id),
        "a refund has an outcome"
    );
}

fn report_payment(payment: &Payment, reason: Option<&str>, origin: &Origin) {
    if is_open(payment.status) {
        return;
    }
    count(payment);
    tracing::info!(
        payment.id = payment.id.0,
        payment.order_id = order(payment.order_id),
        payment.client = payment.client.as_str(),
        payment.status = payment.status.as_str(),
        payment.reason = reason,
        payment.attempt = payment.attempt,
        duration_ms = milliseconds(payment.created_at, payment.updated_at),
        trace_id = origin.traceparent.as_deref().and_then(trace_id),
        "a payment has an outcome"
    );
}

fn is_open(status: PaymentStatus) -> bool {
    match status {
        PaymentStatus::RequiresPaymentMethod
        | PaymentStatus::Processing
        | PaymentStatus::RequiresAction => true,
        PaymentStatus::RequiresCapture
        | PaymentStatus::Succeeded
        | PaymentStatus::Declined
        | PaymentStatus::Failed
        | PaymentStatus::Canceled => false,
    }
}

/// The order's number; none if it is a card number sent by mistake.
fn order(order: OrderId) -> Option<i64> {
    (!holds_card_number(&order.0.to_string())).then_some(order.0)
}

/// From the acceptance on, by the database's clock.
fn milliseconds(from: Timestamp, to: Timestamp) -> i64 {
    i64::try_from((to - from).whole_milliseconds()).unwrap_or(i64::MAX)
}

/// Counts a payment that has an outcome.
fn count(payment: &Payment) {
    let method = payment.method.as_ref().map_or(NONE, MethodSummary::name);
    // A canceled payment may have been declined before: that outcome has the code.
    let code = payment.decline_code.as_ref();
    let code = code.filter(|_| payment.status != PaymentStatus::Canceled);
    let code = code.map_or(NONE, DeclineCode::as_str);
    metrics::counter!(
        metric::PAYMENT_OUTCOMES,
        "status" => payment.status.as_str(),
        "payment_method" => method.to_owned(),
        "decline_code" => code.to_owned(),
        "client" => payment.client.to_string(),
    )
    .increment(1);
}
