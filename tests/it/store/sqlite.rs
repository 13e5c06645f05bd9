//! The contract with a file, and tests that only a file allows.

use payment_service::store::{MinuteCounts, Store};
use sqlx::Connection;
use tempfile::TempDir;

use super::samples::{keep, payment, read};
use super::{
    contract_ids, contract_lists, contract_minutes, contract_outbox, contract_payments,
    contract_tokens,
};

/// A file that is removed with its folder.
fn bare() -> (TempDir, Store) {
    let folder = TempDir::new().unwrap();
    let database = Store::sqlite(&folder.path().join("payments.db"));
    (folder, database)
}

/// A database that is ready.
async fn ready() -> (TempDir, Store) {
    let (folder, database) = bare();
    database.migrate().await.unwrap();
    (folder, database)
}

#[tokio::test]
async fn a_payment_is_read_as_it_was_written() {
    let (_folder, database) = ready().await;
    contract_payments::a_payment_is_read_as_it_was_written(database).await;
}

#[tokio::test]
async fn an_update_writes_only_the_columns_that_can_change() {
    let (_folder, database) = ready().await;
    contract_payments::an_update_writes_only_the_columns_that_can_change(database).await;
}

#[tokio::test]
async fn values_that_are_too_long_are_rejected_and_never_cut() {
    let (_folder, database) = ready().await;
    contract_payments::values_that_are_too_long_are_rejected_and_never_cut(database).await;
}

#[tokio::test]
async fn a_dropped_transaction_is_rolled_back() {
    let (_folder, database) = ready().await;
    contract_payments::a_dropped_transaction_is_rolled_back(database).await;
}

#[tokio::test]
async fn a_second_payment_under_a_key_is_skipped_and_the_first_can_be_read() {
    let (_folder, database) = ready().await;
    contract_payments::a_second_payment_under_a_key_is_skipped_and_the_first_can_be_read(database)
        .await;
}

#[tokio::test]
async fn writing_the_same_rows_again_changes_nothing() {
    let (_folder, database) = ready().await;
    contract_payments::writing_the_same_rows_again_changes_nothing(database).await;
}

#[tokio::test]
async fn histories_are_read_by_sequence() {
    let (_folder, database) = ready().await;
    contract_payments::histories_are_read_by_sequence(database).await;
}

#[tokio::test]
async fn another_event_under_the_same_sequence_is_rejected() {
    let (_folder, database) = ready().await;
    contract_payments::another_event_under_the_same_sequence_is_rejected(database).await;
}

#[tokio::test]
async fn locked_payments_come_in_the_order_of_their_ids() {
    let (_folder, database) = ready().await;
    contract_payments::locked_payments_come_in_the_order_of_their_ids(database).await;
}

#[tokio::test]
async fn a_claim_is_kept_until_it_expires() {
    let (_folder, database) = ready().await;
    contract_payments::a_claim_is_kept_until_it_expires(database).await;
}

#[tokio::test]
async fn ended_payments_have_their_outcome_and_no_card() {
    let (_folder, database) = ready().await;
    contract_payments::ended_payments_have_their_outcome_and_no_card(database).await;
}

#[tokio::test]
async fn every_status_and_phase_can_be_stored() {
    let (_folder, database) = ready().await;
    contract_payments::every_status_and_phase_can_be_stored(database).await;
}

#[tokio::test]
async fn an_outbox_row_is_read_as_it_was_written() {
    let (_folder, database) = ready().await;
    contract_outbox::an_outbox_row_is_read_as_it_was_written(database).await;
}

#[tokio::test]
async fn due_rows_are_found_oldest_first_and_later_ones_are_not() {
    let (_folder, database) = ready().await;
    contract_outbox::due_rows_are_found_oldest_first_and_later_ones_are_not(database).await;
}

#[tokio::test]
async fn postponed_rows_are_not_due() {
    let (_folder, database) = ready().await;
    contract_outbox::postponed_rows_are_not_due(database).await;
}

#[tokio::test]
async fn deleting_rows_ignores_missing_ones() {
    let (_folder, database) = ready().await;
    contract_outbox::deleting_rows_ignores_missing_ones(database).await;
}

#[tokio::test]
async fn the_depth_counts_due_rows_by_the_databases_clock() {
    let (_folder, database) = ready().await;
    contract_outbox::the_depth_counts_due_rows_by_the_databases_clock(database).await;
}

#[tokio::test]
async fn forgotten_payments_are_overdue_and_have_no_outbox_row() {
    let (_folder, database) = ready().await;
    contract_outbox::forgotten_payments_are_overdue_and_have_no_outbox_row(database).await;
}

#[tokio::test]
async fn a_used_token_names_its_payment_and_has_no_card() {
    let (_folder, database) = ready().await;
    contract_tokens::a_used_token_names_its_payment_and_has_no_card(database).await;
}

#[tokio::test]
async fn a_token_is_found_only_by_its_exact_id() {
    let (_folder, database) = ready().await;
    contract_tokens::a_token_is_found_only_by_its_exact_id(database).await;
}

#[tokio::test]
async fn cards_of_expired_tokens_are_erased_in_small_batches() {
    let (_folder, database) = ready().await;
    contract_tokens::cards_of_expired_tokens_are_erased_in_small_batches(database).await;
}

#[tokio::test]
async fn the_ledger_records_each_charge_and_reversal_once() {
    let (_folder, database) = ready().await;
    contract_tokens::the_ledger_records_each_charge_and_reversal_once(database).await;
}

#[tokio::test]
async fn lists_are_filtered_and_sorted_newest_first() {
    let (_folder, database) = ready().await;
    contract_lists::lists_are_filtered_and_sorted_newest_first(database).await;
}

#[tokio::test]
async fn payments_that_are_kept_apart_are_listed_by_status_with_all_others() {
    let (_folder, database) = ready().await;
    contract_lists::payments_that_are_kept_apart_are_listed_by_status_with_all_others(database)
        .await;
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats() {
    let (_folder, database) = ready().await;
    contract_lists::pages_have_no_gaps_and_no_repeats(database).await;
}

#[tokio::test]
async fn it_can_be_told_whether_other_clients_have_payments() {
    let (_folder, database) = ready().await;
    contract_lists::it_can_be_told_whether_other_clients_have_payments(database).await;
}

#[tokio::test]
async fn a_block_of_ids_begins_after_the_largest_payment_id() {
    let (_folder, database) = ready().await;
    contract_ids::a_block_of_ids_begins_after_the_largest_payment_id(database).await;
}

#[tokio::test]
async fn ids_can_be_left_out() {
    let (_folder, database) = ready().await;
    contract_ids::ids_can_be_left_out(database).await;
}

#[tokio::test]
async fn a_processor_has_the_type_that_was_noted_last() {
    let (_folder, database) = ready().await;
    contract_ids::a_processor_has_the_type_that_was_noted_last(database).await;
}

#[tokio::test]
async fn what_many_tasks_note_first_is_noted_once() {
    let (_folder, database) = ready().await;
    contract_ids::what_many_tasks_note_first_is_noted_once(database).await;
}

#[tokio::test]
async fn blocks_of_ids_start_at_the_first_id_and_follow_each_other() {
    let (_folder, database) = ready().await;
    contract_ids::blocks_of_ids_start_at_the_first_id_and_follow_each_other(database).await;
}

#[tokio::test]
async fn blocks_of_ids_that_many_tasks_reserve_are_disjoint() {
    let (_folder, database) = ready().await;
    contract_ids::blocks_of_ids_that_many_tasks_reserve_are_disjoint(database).await;
}

#[tokio::test]
async fn migrating_repeatedly_creates_the_schema_once() {
    let (_folder, database) = bare();
    contract_ids::migrating_repeatedly_creates_the_schema_once(database).await;
}

#[tokio::test]
async fn committed_rows_are_there_when_the_file_is_reopened() {
    let (folder, database) = ready().await;
    keep(&database, &[payment(1)]).await;
    assert_eq!(database.reserve_ids(10, 1).await.unwrap(), 2);
    database.close().await;
    drop(database);
    let path = folder.path().join("payments.db");
    let again: Store = Store::sqlite(&path);
    again.check().await.unwrap();
    assert_eq!(read(&again, 1).await, Some(payment(1)));
    assert_eq!(again.reserve_ids(10, 1).await.unwrap(), 12);
}

#[tokio::test]
async fn a_file_changed_by_a_later_release_is_accepted() {
    let (folder, database) = ready().await;
    assert_eq!(database.check().await.unwrap().later_migration, None);
    let url = format!("sqlite://{}", folder.path().join("payments.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    let later =
        "INSERT INTO _sqlx_migrations (version, description, success, checksum, execution_time)
        VALUES (9999, 'later', TRUE, X'00', 1)";
    sqlx::query(later).execute(&mut connection).await.unwrap();
    let checked = database.check().await.unwrap();
    assert_eq!(checked.later_migration, Some(9999));
    database.migrate().await.unwrap();
}

#[tokio::test]
async fn counts_of_a_minute_are_summed_over_processes() {
    let (_folder, database) = ready().await;
    contract_minutes::counts_of_a_minute_are_summed_over_processes(database).await;
}

#[tokio::test]
async fn counts_are_deleted_after_two_days() {
    let (folder, database) = ready().await;
    let url = format!("sqlite://{}", folder.path().join("payments.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
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
