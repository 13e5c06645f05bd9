//! Captures and refunds, broken on purpose. Payment 3 succeeded.

use super::breaking;

/// A refund of this amount, status, time of the next check, and reason of a quarantine; the last two may be NULL.
fn refund(amount: &str, status: &str, check_at: &str, quarantined: &str) -> String {
    format!(
        "INSERT INTO operations (id, payment_id, client, kind, amount_minor, currency, status, created_at, updated_at,
             try_number, phase, uncertain, check_at, origin, quarantined)
         SELECT X'019A3F00000070008000000000000009', id, client, 'refund', {amount}, currency, '{status}', created_at,
             created_at, 1, 'execute', 0, {check_at}, '{{}}', {quarantined} FROM payments WHERE id = 3;"
    )
}

/// The sums that such a refund needs in its payment.
const RESERVED: &str = "UPDATE payments SET reserved_minor = 100 WHERE id = 3;";
const REFUNDED: &str =
    "UPDATE payments SET refunded_minor = 100, reserved_minor = 100 WHERE id = 3;";

/// The payment is one that was captured later, completely.
const CAPTURED_LATER: &str =
    "UPDATE payments SET capture_method = 'manual', captured_minor = amount_minor WHERE id = 3;";

/// What the issuer has carried out for it.
fn carried_out(kind: &str, key: &str, amount: &str) -> String {
    format!(
        "INSERT INTO issuer_operations (idempotency_key, authorization_key, payment_id, kind, amount_minor, currency, executed_at)
         SELECT '{key}', '3-2', id, '{kind}', {amount}, currency, created_at FROM payments WHERE id = 3;"
    )
}

#[tokio::test]
async fn a_refund_that_the_issuer_did_not_carry_out_is_a_breach() {
    let statement = refund("100", "succeeded", "NULL", "NULL") + REFUNDED;
    breaking(&statement, &[("refunded_rightly", "payment 3")]).await;
}

#[tokio::test]
async fn a_failed_refund_that_the_issuer_carried_out_is_a_breach() {
    let key = "019a3f00-0000-7000-8000-000000000009";
    let statement = refund("100", "failed", "NULL", "NULL") + &carried_out("refund", key, "100");
    breaking(&statement, &[("refunded_rightly", "payment 3")]).await;
}

#[tokio::test]
async fn reserved_amounts_without_a_refund_are_a_breach() {
    breaking(RESERVED, &[("refunds_added_up", "3")]).await;
}

#[tokio::test]
async fn refunds_of_more_than_was_charged_are_a_breach() {
    let statement = refund("amount_minor + 1", "pending", "NULL", "NULL")
        + "UPDATE payments SET reserved_minor = amount_minor + 1 WHERE id = 3;";
    breaking(&statement, &[("refunds_added_up", "3")]).await;
}

#[tokio::test]
async fn an_overdue_refund_is_a_breach() {
    let statement = refund("100", "pending", "created_at", "NULL") + RESERVED;
    breaking(&statement, &[("operations_in_time", "payment 3")]).await;
}

#[tokio::test]
async fn a_quarantined_refund_is_a_breach() {
    let statement = refund("100", "pending", "NULL", "'no phase'") + RESERVED;
    let example = "019A3F00000070008000000000000009: no phase";
    breaking(&statement, &[("operations_quarantined", example)]).await;
}

#[tokio::test]
async fn a_captured_payment_that_the_issuer_did_not_capture_is_a_breach() {
    breaking(CAPTURED_LATER, &[("captured_rightly", "3")]).await;
}

#[tokio::test]
async fn a_capture_of_another_amount_is_a_breach() {
    let statement = CAPTURED_LATER.to_owned() + &carried_out("capture", "c", "amount_minor - 1");
    breaking(&statement, &[("captured_rightly", "3")]).await;
}

#[tokio::test]
async fn a_captured_payment_without_an_authorization_is_a_breach() {
    let statement = CAPTURED_LATER.to_owned()
        + &carried_out("capture", "c", "amount_minor")
        + "DELETE FROM issuer_ledger WHERE payment_id = 3;";
    breaking(&statement, &[("held_once", "3")]).await;
}

#[tokio::test]
async fn a_captured_payment_whose_authorization_was_voided_is_a_breach() {
    let statement = CAPTURED_LATER.to_owned()
        + &carried_out("capture", "c", "amount_minor")
        + &carried_out("void", "v", "amount_minor");
    breaking(&statement, &[("held_once", "3")]).await;
}
