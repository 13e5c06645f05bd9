//! The contract in a file, and what only a file shows.

use payment_service::store::Store;
use sqlx::Connection;
use tempfile::TempDir;

use super::samples::{keep, payment, read};
use super::{contract_ids, contract_lists, contract_outbox, contract_payments, contract_tokens};

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
async fn a_payment_comes_back_as_it_was_written() {
    let (_folder, database) = ready().await;
    contract_payments::a_payment_comes_back_as_it_was_written(database).await;
}

#[tokio::test]
async fn a_change_writes_what_can_change_and_nothing_else() {
    let (_folder, database) = ready().await;
    contract_payments::a_change_writes_what_can_change_and_nothing_else(database).await;
}

#[tokio::test]
async fn what_is_too_long_is_rejected_and_never_shortened() {
    let (_folder, database) = ready().await;
    contract_payments::what_is_too_long_is_rejected_and_never_shortened(database).await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    let (_folder, database) = ready().await;
    contract_payments::a_dropped_transaction_leaves_nothing(database).await;
}

#[tokio::test]
async fn a_second_payment_under_a_key_is_skipped_and_the_first_read_back() {
    let (_folder, database) = ready().await;
    contract_payments::a_second_payment_under_a_key_is_skipped_and_the_first_read_back(database)
        .await;
}

#[tokio::test]
async fn the_same_rows_written_again_change_nothing() {
    let (_folder, database) = ready().await;
    contract_payments::the_same_rows_written_again_change_nothing(database).await;
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
async fn a_claim_is_kept_until_its_time() {
    let (_folder, database) = ready().await;
    contract_payments::a_claim_is_kept_until_its_time(database).await;
}

#[tokio::test]
async fn payments_end_as_they_are_told_and_lose_what_they_need_no_more() {
    let (_folder, database) = ready().await;
    contract_payments::payments_end_as_they_are_told_and_lose_what_they_need_no_more(database)
        .await;
}

#[tokio::test]
async fn every_status_and_phase_is_kept() {
    let (_folder, database) = ready().await;
    contract_payments::every_status_and_phase_is_kept(database).await;
}

#[tokio::test]
async fn an_outbox_row_comes_back_as_it_was_written() {
    let (_folder, database) = ready().await;
    contract_outbox::an_outbox_row_comes_back_as_it_was_written(database).await;
}

#[tokio::test]
async fn due_rows_come_oldest_first_and_later_ones_not_at_all() {
    let (_folder, database) = ready().await;
    contract_outbox::due_rows_come_oldest_first_and_later_ones_not_at_all(database).await;
}

#[tokio::test]
async fn postponed_rows_are_not_due() {
    let (_folder, database) = ready().await;
    contract_outbox::postponed_rows_are_not_due(database).await;
}

#[tokio::test]
async fn deleted_rows_are_gone_and_missing_ones_no_error() {
    let (_folder, database) = ready().await;
    contract_outbox::deleted_rows_are_gone_and_missing_ones_no_error(database).await;
}

#[tokio::test]
async fn the_depth_counts_what_is_due_by_the_databases_clock() {
    let (_folder, database) = ready().await;
    contract_outbox::the_depth_counts_what_is_due_by_the_databases_clock(database).await;
}

#[tokio::test]
async fn forgotten_payments_have_no_outbox_row_and_their_time_has_passed() {
    let (_folder, database) = ready().await;
    contract_outbox::forgotten_payments_have_no_outbox_row_and_their_time_has_passed(database)
        .await;
}

#[tokio::test]
async fn a_used_token_says_by_whom_and_its_card_is_erased() {
    let (_folder, database) = ready().await;
    contract_tokens::a_used_token_says_by_whom_and_its_card_is_erased(database).await;
}

#[tokio::test]
async fn a_token_is_found_by_its_very_name() {
    let (_folder, database) = ready().await;
    contract_tokens::a_token_is_found_by_its_very_name(database).await;
}

#[tokio::test]
async fn cards_of_expired_tokens_are_erased_a_few_at_a_time() {
    let (_folder, database) = ready().await;
    contract_tokens::cards_of_expired_tokens_are_erased_a_few_at_a_time(database).await;
}

#[tokio::test]
async fn the_ledger_notes_each_charge_and_reversal_once() {
    let (_folder, database) = ready().await;
    contract_tokens::the_ledger_notes_each_charge_and_reversal_once(database).await;
}

#[tokio::test]
async fn lists_are_filtered_and_newest_first() {
    let (_folder, database) = ready().await;
    contract_lists::lists_are_filtered_and_newest_first(database).await;
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats() {
    let (_folder, database) = ready().await;
    contract_lists::pages_have_no_gaps_and_no_repeats(database).await;
}

#[tokio::test]
async fn it_knows_whether_it_holds_payments_of_others() {
    let (_folder, database) = ready().await;
    contract_lists::it_knows_whether_it_holds_payments_of_others(database).await;
}

#[tokio::test]
async fn a_block_of_ids_begins_behind_the_largest_payment() {
    let (_folder, database) = ready().await;
    contract_ids::a_block_of_ids_begins_behind_the_largest_payment(database).await;
}

#[tokio::test]
async fn blocks_of_ids_start_where_told_and_follow_each_other() {
    let (_folder, database) = ready().await;
    contract_ids::blocks_of_ids_start_where_told_and_follow_each_other(database).await;
}

#[tokio::test]
async fn blocks_of_ids_that_many_tasks_reserve_are_disjoint() {
    let (_folder, database) = ready().await;
    contract_ids::blocks_of_ids_that_many_tasks_reserve_are_disjoint(database).await;
}

#[tokio::test]
async fn the_schema_is_made_once_however_often_it_is_asked_for() {
    let (_folder, database) = bare();
    contract_ids::the_schema_is_made_once_however_often_it_is_asked_for(database).await;
}

#[tokio::test]
async fn what_was_committed_is_there_when_the_file_is_opened_again() {
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
async fn a_later_release_may_have_changed_the_file() {
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
