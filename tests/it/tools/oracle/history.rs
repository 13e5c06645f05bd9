//! History and status, broken on purpose.

use super::breaking;

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
