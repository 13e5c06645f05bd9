//! Deadlines and card data, broken on purpose.

use super::breaking;
use payment_service::store::audit::{RULES, Severity};

#[tokio::test]
async fn a_payment_that_is_processing_beyond_its_deadline_is_a_breach() {
    breaking(
        "UPDATE payments SET updated_at = '2026-01-01 00:00:00.000000' WHERE id = 2",
        &[("processing_in_time", "2")],
    )
    .await;
}

#[tokio::test]
async fn an_overdue_reversal_is_a_notice_but_not_a_breach() {
    breaking(
        "UPDATE payments SET updated_at = '2026-01-01 00:00:00.000000', phase = 'reverse' WHERE id = 2",
        &[("reversal_in_time", "2")],
    )
    .await;
    let rule = RULES.iter().find(|rule| rule.name == "reversal_in_time");
    assert_eq!(rule.unwrap().severity, Severity::Notice);
}

#[tokio::test]
async fn a_payment_that_the_rescue_cannot_find_is_a_breach() {
    breaking(
        "UPDATE payments SET check_at = NULL WHERE id = 2",
        &[("rescue", "2")],
    )
    .await;
}

#[tokio::test]
async fn a_payment_that_the_rescue_finds_needlessly_is_a_breach() {
    breaking(
        "UPDATE payments SET check_at = '2026-01-01 00:00:00.000000' WHERE id = 4",
        &[("rescue", "4")],
    )
    .await;
}

#[tokio::test]
async fn a_sealed_card_on_an_ended_payment_is_a_breach() {
    breaking(
        "UPDATE payments SET sealed_card = x'01' WHERE id = 3",
        &[("cards_erased", "3")],
    )
    .await;
}

#[tokio::test]
async fn an_expired_token_with_a_card_is_a_breach_and_its_id_is_not_shown() {
    breaking(
        "UPDATE card_tokens SET expires_at = '2026-01-01 00:00:00.000000'",
        &[("tokens_erased", "a token of store-manager")],
    )
    .await;
}

#[tokio::test]
async fn a_used_token_with_its_card_is_a_breach() {
    breaking(
        "UPDATE card_tokens SET used_by = 3 WHERE used_by IS NULL",
        &[("tokens_erased", "a token of store-manager")],
    )
    .await;
}

#[tokio::test]
async fn quarantined_rows_are_a_breach_and_named_with_their_reason() {
    breaking(
        "UPDATE payments SET quarantined = 'origin cannot be read', updated_at = '2026-01-01 00:00:00.000000' WHERE id = 2",
        &[("payments_quarantined", "2: origin cannot be read")],
    )
    .await;
    let rule = RULES.iter().find(|rule| rule.name == "outbox_quarantined");
    assert_eq!(rule.unwrap().severity, Severity::Breach);
}

#[tokio::test]
async fn a_later_try_may_take_longer_than_the_first() {
    for (tries, findings) in [(1, &[("processing_in_time", "2")][..]), (2, &[])] {
        breaking(
            &format!(
                "UPDATE payments SET try_number = {tries}, updated_at = {} WHERE id = 2",
                ago(90)
            ),
            findings,
        )
        .await;
    }
}

#[tokio::test]
async fn a_payment_due_years_ahead_is_a_breach() {
    for column in ["check_at", "claimed_until"] {
        breaking(
            &format!("UPDATE payments SET {column} = '2036-01-01 00:00:00.000000' WHERE id = 2"),
            &[("due_in_time", "payment 2")],
        )
        .await;
    }
}

#[tokio::test]
async fn a_token_of_a_missing_payment_and_two_tokens_of_one_attempt_are_breaches() {
    breaking(
        "UPDATE card_tokens SET used_by = 77 WHERE used_by = 4",
        &[("tokens_used_once", "payment 77")],
    )
    .await;
    breaking(
        "UPDATE card_tokens SET used_by = 4, sealed_card = NULL WHERE used_by IS NULL",
        &[("tokens_used_once", "payment 4")],
    )
    .await;
}

/// A moment as both databases take it.
fn ago(seconds: i64) -> String {
    let moment = time::OffsetDateTime::now_utc() - time::Duration::seconds(seconds);
    let (date, (hour, minute, second)) = (moment.date(), moment.time().as_hms());
    format!("'{date} {hour:02}:{minute:02}:{second:02}.000000'")
}
