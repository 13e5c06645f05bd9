//! History and status, broken on purpose.

use payment_service::store::audit::READABLE;

use super::super::fixture::Fixture;
use super::{all_in_order, audit, breaking};

#[tokio::test]
async fn an_ended_payment_without_its_outcome_event_is_a_breach() {
    breaking(
        "DELETE FROM payment_events WHERE payment_id = 4 AND kind = 'declined'",
        &[
            ("outcome_events", "4"),
            ("last_event", "4"),
            ("whole_history", "4"),
        ],
    )
    .await;
}

#[tokio::test]
async fn an_earlier_attempt_without_its_outcome_event_is_a_breach() {
    breaking(
        "UPDATE payment_events SET kind = 'try_failed' WHERE payment_id = 3 AND kind = 'declined'",
        &[("outcome_events", "3")],
    )
    .await;
}

#[tokio::test]
async fn two_outcome_events_for_one_attempt_are_a_breach() {
    breaking(
        "UPDATE payment_events SET kind = 'failed' WHERE payment_id = 5 AND kind = 'reversal_started'",
        &[("outcome_events", "5")],
    )
    .await;
}

#[tokio::test]
async fn an_outcome_event_of_the_wrong_attempt_is_a_breach() {
    breaking(
        "UPDATE payment_events SET attempt = 2 WHERE payment_id = 4 AND kind = 'declined'",
        &[("outcome_events", "4")],
    )
    .await;
}

#[tokio::test]
async fn an_outcome_event_of_a_payment_that_is_processing_is_a_breach() {
    breaking(
        "UPDATE payment_events SET kind = 'declined' WHERE payment_id = 2 AND kind = 'attempt_started'",
        &[("outcome_events", "2"), ("last_event", "2")],
    )
    .await;
}

#[tokio::test]
async fn a_last_event_that_contradicts_the_status_is_a_breach() {
    breaking(
        "UPDATE payment_events SET kind = 'succeeded' WHERE payment_id = 4 AND kind = 'declined'",
        &[("last_event", "4")],
    )
    .await;
}

#[tokio::test]
async fn a_gap_in_a_history_is_a_breach() {
    breaking(
        "DELETE FROM payment_events WHERE payment_id = 5 AND sequence = 2",
        &[("whole_history", "5")],
    )
    .await;
}

#[tokio::test]
async fn an_event_beyond_the_last_one_is_a_breach() {
    breaking(
        "UPDATE payments SET sequence = 3 WHERE id = 6",
        &[("last_event", "6"), ("whole_history", "6")],
    )
    .await;
}

#[tokio::test]
async fn an_event_earlier_than_the_one_before_it_is_a_breach() {
    breaking(
        "UPDATE payment_events SET happened_at = '2026-01-01 00:00:00.000000' WHERE payment_id = 3 AND sequence = 4",
        &[("history_in_time", "3")],
    )
    .await;
}

#[tokio::test]
async fn events_without_their_payment_are_a_breach_even_without_ledger_rows() {
    breaking(
        "DELETE FROM payments WHERE id = 1",
        &[("payments_kept", "1")],
    )
    .await;
}

#[tokio::test]
async fn a_succeeded_payment_without_its_authorization_code_is_a_breach() {
    for code in ["NULL", "''"] {
        breaking(
            &format!("UPDATE payments SET authorization_code = {code} WHERE id = 3"),
            &[("authorized", "3")],
        )
        .await;
    }
}

#[tokio::test]
async fn an_authorization_code_on_a_declined_payment_is_a_breach() {
    breaking(
        "UPDATE payments SET authorization_code = 'A1B2C3' WHERE id = 4",
        &[("authorized", "4")],
    )
    .await;
}

#[tokio::test]
async fn payment_ids_that_would_be_reused_are_a_breach() {
    breaking("UPDATE id_blocks SET next_id = 6", &[("ids_ahead", "6")]).await;
    breaking("DELETE FROM id_blocks", &[("ids_ahead", "6")]).await;
}

#[tokio::test]
async fn unreadable_rows_are_a_breach_before_anything_reads_them() {
    for (column, value) in [
        ("metadata", "'{'"),
        ("origin", "'7'"),
        ("currency", "'XXQ'"),
        ("client", "'UPPER CASE'"),
    ] {
        let statement = format!("UPDATE payments SET {column} = {value} WHERE id = 1");
        for fixture in Fixture::both().await {
            all_in_order(&fixture).await;
            fixture.execute(&statement).await;
            let finding = audit(&fixture).await.finding(READABLE).unwrap().clone();
            assert_eq!(finding.count, 1, "{statement}");
            assert!(
                finding.examples[0].starts_with("payment 1: "),
                "{finding:?}"
            );
        }
    }
    for fixture in Fixture::both().await {
        all_in_order(&fixture).await;
        fixture.execute("UPDATE outbox SET publication = 'x'").await;
        let finding = audit(&fixture).await.finding(READABLE).unwrap().clone();
        assert_eq!(finding.count, 1);
        assert!(finding.examples[0].starts_with("outbox "), "{finding:?}");
    }
}
