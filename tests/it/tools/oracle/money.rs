//! The ledger, broken on purpose.

use super::breaking;

#[tokio::test]
async fn a_succeeded_payment_that_was_not_charged_is_a_breach() {
    breaking(
        "DELETE FROM issuer_ledger WHERE payment_id = 3",
        &[("charged_once", "3")],
    )
    .await;
}

#[tokio::test]
async fn a_succeeded_payment_whose_charge_was_reversed_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET reversed_at = charged_at WHERE payment_id = 3",
        &[("charged_once", "3")],
    )
    .await;
}

#[tokio::test]
async fn a_payment_charged_twice_under_two_keys_is_a_breach() {
    breaking(
        "INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, charged_at)
         SELECT '3-1', payment_id, amount_minor, charged_at FROM issuer_ledger WHERE idempotency_key = '3-2'",
        &[("charged_once", "3"), ("charged_by_attempt", "3-1")],
    )
    .await;
}

#[tokio::test]
async fn a_payment_that_is_processing_and_charged_twice_is_a_breach() {
    breaking(
        "INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, charged_at)
         SELECT '2-0', payment_id, amount_minor, charged_at FROM issuer_ledger WHERE idempotency_key = '2-1'",
        &[("charged_once", "2"), ("charged_by_attempt", "2-0")],
    )
    .await;
}

#[tokio::test]
async fn a_failed_payment_whose_charge_still_stands_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET reversed_at = NULL WHERE payment_id = 5",
        &[("charged_once", "5")],
    )
    .await;
}

#[tokio::test]
async fn a_canceled_payment_that_was_charged_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET payment_id = 6, idempotency_key = '6-1' WHERE payment_id = 2",
        &[("charged_once", "6")],
    )
    .await;
}

#[tokio::test]
async fn a_charge_without_a_payment_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET payment_id = 77 WHERE payment_id = 2",
        &[("charged_rightly", "2-1")],
    )
    .await;
}

#[tokio::test]
async fn a_charge_of_another_amount_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET amount_minor = amount_minor + 1 WHERE payment_id = 3",
        &[("charged_rightly", "3-2")],
    )
    .await;
}

#[tokio::test]
async fn a_charge_in_another_currency_is_a_breach() {
    breaking(
        "UPDATE payments SET currency = 'EUR' WHERE id = 3",
        &[("charged_rightly", "3-2")],
    )
    .await;
}

#[tokio::test]
async fn a_charge_under_the_key_of_another_attempt_is_a_breach() {
    breaking(
        "UPDATE issuer_ledger SET idempotency_key = '3-1' WHERE idempotency_key = '3-2'",
        &[("charged_by_attempt", "3-1")],
    )
    .await;
}
