//! The contract on a server: MySQL or MariaDB, whichever the run has.

use payment_service::store::Store;
use payment_service::store::mysql::parse_url;

use super::{contract_ids, contract_lists, contract_outbox, contract_payments, contract_tokens};
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
async fn a_payment_comes_back_as_it_was_written() {
    contract_payments::a_payment_comes_back_as_it_was_written(ready().await).await;
}

#[tokio::test]
async fn a_change_writes_what_can_change_and_nothing_else() {
    contract_payments::a_change_writes_what_can_change_and_nothing_else(ready().await).await;
}

#[tokio::test]
async fn what_is_too_long_is_rejected_and_never_shortened() {
    contract_payments::what_is_too_long_is_rejected_and_never_shortened(ready().await).await;
}

#[tokio::test]
async fn a_dropped_transaction_leaves_nothing() {
    contract_payments::a_dropped_transaction_leaves_nothing(ready().await).await;
}

#[tokio::test]
async fn a_second_payment_under_a_key_is_skipped_and_the_first_read_back() {
    contract_payments::a_second_payment_under_a_key_is_skipped_and_the_first_read_back(
        ready().await,
    )
    .await;
}

#[tokio::test]
async fn the_same_rows_written_again_change_nothing() {
    contract_payments::the_same_rows_written_again_change_nothing(ready().await).await;
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
async fn a_claim_is_kept_until_its_time() {
    contract_payments::a_claim_is_kept_until_its_time(ready().await).await;
}

#[tokio::test]
async fn payments_end_as_they_are_told_and_lose_what_they_need_no_more() {
    contract_payments::payments_end_as_they_are_told_and_lose_what_they_need_no_more(ready().await)
        .await;
}

#[tokio::test]
async fn every_status_and_phase_is_kept() {
    contract_payments::every_status_and_phase_is_kept(ready().await).await;
}

#[tokio::test]
async fn an_outbox_row_comes_back_as_it_was_written() {
    contract_outbox::an_outbox_row_comes_back_as_it_was_written(ready().await).await;
}

#[tokio::test]
async fn due_rows_come_oldest_first_and_later_ones_not_at_all() {
    contract_outbox::due_rows_come_oldest_first_and_later_ones_not_at_all(ready().await).await;
}

#[tokio::test]
async fn postponed_rows_are_not_due() {
    contract_outbox::postponed_rows_are_not_due(ready().await).await;
}

#[tokio::test]
async fn deleted_rows_are_gone_and_missing_ones_no_error() {
    contract_outbox::deleted_rows_are_gone_and_missing_ones_no_error(ready().await).await;
}

#[tokio::test]
async fn the_depth_counts_what_is_due_by_the_databases_clock() {
    contract_outbox::the_depth_counts_what_is_due_by_the_databases_clock(ready().await).await;
}

#[tokio::test]
async fn forgotten_payments_have_no_outbox_row_and_their_time_has_passed() {
    contract_outbox::forgotten_payments_have_no_outbox_row_and_their_time_has_passed(ready().await)
        .await;
}

#[tokio::test]
async fn a_used_token_says_by_whom_and_its_card_is_erased() {
    contract_tokens::a_used_token_says_by_whom_and_its_card_is_erased(ready().await).await;
}

#[tokio::test]
async fn a_token_is_found_by_its_very_name() {
    contract_tokens::a_token_is_found_by_its_very_name(ready().await).await;
}

#[tokio::test]
async fn cards_of_expired_tokens_are_erased_a_few_at_a_time() {
    contract_tokens::cards_of_expired_tokens_are_erased_a_few_at_a_time(ready().await).await;
}

#[tokio::test]
async fn the_ledger_notes_each_charge_and_reversal_once() {
    contract_tokens::the_ledger_notes_each_charge_and_reversal_once(ready().await).await;
}

#[tokio::test]
async fn lists_are_filtered_and_newest_first() {
    contract_lists::lists_are_filtered_and_newest_first(ready().await).await;
}

#[tokio::test]
async fn pages_have_no_gaps_and_no_repeats() {
    contract_lists::pages_have_no_gaps_and_no_repeats(ready().await).await;
}

#[tokio::test]
async fn it_knows_whether_it_holds_payments_of_others() {
    contract_lists::it_knows_whether_it_holds_payments_of_others(ready().await).await;
}

#[tokio::test]
async fn a_block_of_ids_begins_behind_the_largest_payment() {
    contract_ids::a_block_of_ids_begins_behind_the_largest_payment(ready().await).await;
}

#[tokio::test]
async fn blocks_of_ids_start_where_told_and_follow_each_other() {
    contract_ids::blocks_of_ids_start_where_told_and_follow_each_other(ready().await).await;
}

#[tokio::test]
async fn blocks_of_ids_that_many_tasks_reserve_are_disjoint() {
    contract_ids::blocks_of_ids_that_many_tasks_reserve_are_disjoint(ready().await).await;
}

#[tokio::test]
async fn the_schema_is_made_once_however_often_it_is_asked_for() {
    contract_ids::the_schema_is_made_once_however_often_it_is_asked_for(bare().await).await;
}
