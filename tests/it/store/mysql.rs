//! The contract on a server: MySQL or MariaDB, whichever the run has.

use payment_service::store::mysql::parse_url;
use payment_service::store::{MinuteCounts, Store};
use sqlx::Connection;

use super::{
    contract_ids, contract_lists, contract_minutes, contract_outbox, contract_payments,
    contract_tokens,
};
use crate::support::servers::fresh_database;

/// A database without a schema.
async fn bare() -> Store {
    let url = fresh_database().await.unwrap();
    Store::mysql(parse_url(&url).unwrap(), 10)
}

/// A database that is ready.
async fn ready() -> Store {
    let database = bare().await;
    database.migrate().await.unwrap();
    database
}

#[tokio::test]
async fn a_payment_is_read_as_it_was_written() {
    contract_payments::a_payment_is_read_as_it_was_written(ready().await).await;
}

#[tokio::test]
async fn an_update_writes_only_the_columns_that_can_change() {
    contract_payments::an_update_writes_only_the_columns_that_can_change(ready().await).await;
}

#[tokio::test]
async fn values_that_are_too_long_are_rejected_and_never_cut() {
    contract_payments::values_that_are_too_long_are_rejected_and_never_cut(ready().await).await;
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    contract_payments::a_dropped_transaction_is_rolled_back(ready().await).await;
}

#[tokio::test]
async fn a_second_payment_under_a_key_is_skipped_and_the_first_can_be_read() {
    contract_payments::a_second_payment_under_a_key_is_skipped_and_the_first_can_be_read(
        ready().await,
    )
    .await;
}

#[tokio::test]
async fn writing_the_same_rows_again_changes_nothing() {
    contract_payments::writing_the_same_rows_again_changes_nothing(ready().await).await;
}

#[tokio::test]
async fn histories_are_read_by_sequence() {
    contract_payments::histories_are_read_by_sequence(ready().await).await;
}

#[tokio::test]
async fn another_event_under_the_same_sequence_is_rejected() {
    contract_payments::another_event_under_the_same_sequence_is_rejected(ready().await).await;
}

#[tokio::test]
async fn locked_payments_come_in_the_order_of_their_ids() {
    contract_payments::locked_payments_come_in_the_order_of_their_ids(ready().await).await;
}

#[tokio::test]
async fn a_claim_is_kept_until_it_expires() {
    contract_payments::a_claim_is_kept_until_it_expires(ready().await).await;
}

#[tokio::test]
async fn ended_payments_have_their_outcome_and_no_card() {
    contract_payments::ended_payments_have_their_outcome_and_no_card(ready().await).await;
}

#[tokio::test]
async fn every_status_and_phase_can_be_stored() {
    contract_payments::every_status_and_phase_can_be_stored(ready().await).await;
}

#[tokio::test]
async fn an_outbox_row_is_read_as_it_was_written() {
    contract_outbox::an_outbox_row_is_read_as_it_was_written(ready().await).await;
}

#[tokio::test]
async fn due_rows_are_found_oldest_first_and_later_ones_are_not() {
    contract_outbox::due_rows_are_found_oldest_first_and_later_ones_are_not(ready().await).await;
}

#[tokio::test]
async fn postponed_rows_are_not_due() {
    contract_outbox::postponed_rows_are_not_due(ready().await).await;
}

#[tokio::test]
async fn deleting_rows_ignores_missing_ones() {
    contract_outbox::deleting_rows_ignores_missing_ones(ready().await).await;
}

#[tokio::test]
async fn the_depth_counts_due_rows_by_the_databases_clock() {
    contract_outbox::the_depth_counts_due_rows_by_the_databases_clock(ready().await).await;
}

#[tokio::test]
async fn forgotten_payments_are_overdue_and_have_no_outbox_row() {
    contract_outbox::forgotten_payments_are_overdue_and_have_no_outbox_row(ready().await).await;
}

#[tokio::test]
async fn a_used_token_names_its_payment_and_has_no_card() {
    contract_tokens::a_used_token_names_its_payment_and_has_no_card(ready().await).await;
}

#[tokio::test]
async fn a_token_is_found_only_by_its_exact_id() {
    contract_tokens::a_token_is_found_only_by_its_exact_id(ready().await).await;
}

#[tokio::test]
async fn cards_of_expired_tokens_are_erased_in_small_batches() {
    contract_tokens::cards_of_expired_tokens_are_erased_in_small_batches(ready().await).await;
}

#[tokio::test]
async fn the_ledger_records_each_charge_and_reversal_once() {
    contract_tokens::the_ledger_records_each_charge_and_reversal_once(ready().await).await;
}

#[tokio::test]
async fn lists_are_filtered_and_sorted_newest_first() {
    contract_lists::lists_are_filtered_and_sorted_newest_first(ready().await).await;
}

#[tokio::test]
async fn payments_that_are_kept_apart_are_listed_by_status_with_all_others() {
    contract_lists::payments_that_are_kept_apart_are_listed_by_status_with_all_others(
        ready().await,
    )
    .await;
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats() {
    contract_lists::pages_have_no_gaps_and_no_repeats(ready().await).await;
}

#[tokio::test]
async fn it_can_be_told_whether_other_clients_have_payments() {
    contract_lists::it_can_be_told_whether_other_clients_have_payments(ready().await).await;
}

#[tokio::test]
async fn a_block_of_ids_begins_after_the_largest_payment_id() {
    contract_ids::a_block_of_ids_begins_after_the_largest_payment_id(ready().await).await;
}

#[tokio::test]
async fn ids_can_be_left_out() {
    contract_ids::ids_can_be_left_out(ready().await).await;
}

#[tokio::test]
async fn a_processor_has_the_type_that_was_noted_last() {
    contract_ids::a_processor_has_the_type_that_was_noted_last(ready().await).await;
}

#[tokio::test]
async fn what_many_tasks_note_first_is_noted_once() {
    contract_ids::what_many_tasks_note_first_is_noted_once(ready().await).await;
}

#[tokio::test]
async fn blocks_of_ids_start_at_the_first_id_and_follow_each_other() {
    contract_ids::blocks_of_ids_start_at_the_first_id_and_follow_each_other(ready().await).await;
}

#[tokio::test]
async fn blocks_of_ids_that_many_tasks_reserve_are_disjoint() {
    contract_ids::blocks_of_ids_that_many_tasks_reserve_are_disjoint(ready().await).await;
}

#[tokio::test]
async fn migrating_repeatedly_creates_the_schema_once() {
    contract_ids::migrating_repeatedly_creates_the_schema_once(bare().await).await;
}

#[tokio::test]
async fn counts_of_a_minute_are_summed_over_processes() {
    contract_minutes::counts_of_a_minute_are_summed_over_processes(ready().await).await;
}

#[tokio::test]
async fn counts_are_deleted_after_two_days() {
    let url = fresh_database().await.unwrap();
    let database = Store::mysql(parse_url(&url).unwrap(), 2);
    database.migrate().await.unwrap();
    let mut connection = sqlx::MySqlConnection::connect(&url).await.unwrap();
    let old = "INSERT INTO metric_minutes (minute, id, counts) VALUES (1, 'old', '{}')";
    sqlx::query(old).execute(&mut connection).await.unwrap();
    database
        .write_minute(&MinuteCounts::default())
        .await
        .unwrap();
    let kept = "SELECT COUNT(*) FROM metric_minutes";
    let kept: i64 = sqlx::query_scalar(kept)
        .fetch_one(&mut connection)
        .await
        .unwrap();
    assert_eq!(kept, 1);
}
