//! Payments that needed their shopper, broken on purpose. Payment 3 was declined and then succeeded.

use super::breaking;

/// Its last attempt needed the shopper.
const NEEDED_SHOPPER: &str = r#"
UPDATE payments SET action = '{"state":"over","url":"https://pay.example/","expires_at":"2026-01-01T00:00:00Z"}'
WHERE id = 3;"#;

#[tokio::test]
async fn a_payment_that_needed_its_shopper_is_in_order() {
    breaking(NEEDED_SHOPPER, &[]).await;
}

#[tokio::test]
async fn an_attempt_without_an_outcome_is_a_breach() {
    let lost = "UPDATE payment_events SET kind = 'close_started' WHERE payment_id = 3 AND kind = 'declined';";
    let statement = NEEDED_SHOPPER.to_owned() + lost;
    breaking(&statement, &[("outcome_events_of_actions", "3")]).await;
}

#[tokio::test]
async fn an_attempt_that_another_card_replaced_needs_no_outcome() {
    let replaced = "UPDATE payment_events SET kind = 'close_started', reason = 'replaced'
                    WHERE payment_id = 3 AND kind = 'declined';";
    breaking(&(NEEDED_SHOPPER.to_owned() + replaced), &[]).await;
}

#[tokio::test]
async fn a_payment_that_waits_for_its_shopper_is_watched_and_has_no_card() {
    let waits = "UPDATE payments SET status = 'processing', stage = 'requires_action', sealed_card = X'00',
                 authorization_code = NULL WHERE id = 3;
                 UPDATE payment_events SET kind = 'requires_action' WHERE payment_id = 3 AND kind = 'succeeded';";
    let expected = [("rescue", "3"), ("cards_erased", "3")];
    breaking(&(NEEDED_SHOPPER.to_owned() + waits), &expected).await;
}
