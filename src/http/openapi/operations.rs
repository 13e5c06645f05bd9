//! Captures, cancellations and refunds.

use super::operation::Operation;
use super::payments::{ACCEPTED, reference};
use super::{refusals, samples};
use crate::domain::Refusal;
use crate::http::operations::key_missing;
use crate::payments::operations::start::OperationRefusal;

const CAPTURE: &str = "/payments/{payment_id}/capture";
const CANCEL: &str = "/payments/{payment_id}/cancel";
const REFUNDS: &str = "/payments/{payment_id}/refunds";
const REFUND: &str = "/refunds/{refund_id}";

pub(super) fn cancel() -> Operation {
    Operation::post(CANCEL, "cancelPayment", "Cancel a payment")
        .tag("payments")
        .about(
            "A payment that waits for a card is canceled at once: 200. One that is authorized is voided: 202, then it is `processing` \
             with `operation: \"void\"` until the processor has released the amount. Takes no body; one with fields is \
             refused. If the shopper can still approve: 202 until the processor has closed the attempt, then `canceled`, or \
             `succeeded` if it was charged already. Canceling at once \
             uses up no `Idempotency-Key`: repeating it changes nothing.",
        )
        .takes(&["payment_id", "Idempotency-Key", "Prefer", "traceparent"])
        .answers(
            200,
            "It is canceled, now or already.",
            &[ACCEPTED.as_slice(), &["Idempotent-Replayed"]].concat(),
            (reference("Payment"), &[samples::canceled()]),
        )
        .answers(
            202,
            "The authorization is being voided, or the attempt closed.",
            &[ACCEPTED.as_slice(), &["Idempotent-Replayed"]].concat(),
            (reference("Payment"), &[samples::operating("void")]),
        )
        .refuses(&refusals::of_payments())
        .refuses(&refusals::of_operations())
        .refuses(&[
            refusals::state("processing", Refusal::Processing),
            refusals::operation("succeeded", OperationRefusal::RefundInstead),
        ])
}

pub(super) fn capture() -> Operation {
    Operation::post(CAPTURE, "capturePayment", "Capture an authorized amount")
        .tag("payments")
        .about(
            "For a payment with `capture_method: \"manual\"` that is authorized (`requires_capture`): takes the amount, or a part of \
             it, once; the rest is released. 202, then the payment is `processing` with `operation: \"capture\"` until the processor \
             has answered. If it refuses, the payment is `requires_capture` again, or `canceled` if the authorization is gone. The body \
             may be left out.",
        )
        .takes(&["payment_id", "Idempotency-Key", "Prefer", "traceparent"])
        .body("CaptureRequest", &samples::captures())
        .body_is_optional()
        .answers(
            200,
            "The outcome came in time.",
            &[ACCEPTED.as_slice(), &["Idempotent-Replayed"]].concat(),
            (reference("Payment"), &[samples::captured()]),
        )
        .answers(
            202,
            "The amount is being captured.",
            &[ACCEPTED.as_slice(), &["Idempotent-Replayed"]].concat(),
            (reference("Payment"), &[samples::operating("capture")]),
        )
        .refuses(&refusals::of_payments())
        .refuses(&refusals::of_bodies())
        .refuses(&refusals::of_operations())
        .refuses(&[
            refusals::state("processing", Refusal::Processing),
            refusals::state("not_authorized", Refusal::NotAuthorized),
            refusals::state("canceled", Refusal::Canceled),
            refusals::operation("succeeded", OperationRefusal::RefundInstead),
            refusals::operation("expired", OperationRefusal::Expired),
            refusals::too_much(),
        ])
}

pub(super) fn refund() -> Operation {
    Operation::post(REFUNDS, "createRefund", "Refund a payment")
        .tag("refunds")
        .about(
            "Returns the captured amount, or a part of it. Any number of refunds is possible, together never more than was captured: \
             pending ones count. The payment's `status` and `is_paid` stay. A refund that succeeded can still fail, if the card's bank \
             returns the money. The body may be left out.",
        )
        .takes(&["payment_id", "Required-Idempotency-Key", "traceparent"])
        .body("RefundRequest", &samples::refund_requests())
        .body_is_optional()
        .answers(
            202,
            "Accepted, or the request was repeated: the refund in its current state.",
            &["Location", "Idempotent-Replayed", "Cache-Control"],
            (reference("Refund"), &[samples::refund()]),
        )
        .refuses(&refusals::of_payments())
        .refuses(&refusals::of_bodies())
        .refuses(&refusals::of_operations())
        .refuses(&[
            ("key_missing", key_missing()),
            refusals::state("processing", Refusal::Processing),
            refusals::state("canceled", Refusal::Canceled),
            refusals::operation("authorized", OperationRefusal::CancelInstead),
            refusals::operation("not_charged", OperationRefusal::NothingCharged),
            refusals::operation("nothing_left", OperationRefusal::NothingLeft),
            refusals::too_much(),
        ])
}

pub(super) fn list() -> Operation {
    Operation::get(REFUNDS, "listRefunds", "Read a payment's refunds")
        .tag("refunds")
        .about("All of them, the oldest first.")
        .takes(&["payment_id"])
        .answers(
            200,
            "The refunds.",
            &["Cache-Control"],
            (reference("Refunds"), &[samples::refunds()]),
        )
        .refuses(&refusals::of_payments())
}

pub(super) fn show() -> Operation {
    Operation::get(REFUND, "getRefund", "Read a refund")
        .tag("refunds")
        .about("Its current state.")
        .takes(&["refund_id"])
        .answers(
            200,
            "The refund.",
            &["Cache-Control"],
            (reference("Refund"), &[samples::refund()]),
        )
        .refuses(&refusals::of_clients())
        .refuses(&[refusals::no_refund()])
}
