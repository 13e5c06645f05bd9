//! The contract at RabbitMQ.

use super::{contract, fixture::Fixture};

#[tokio::test]
async fn what_is_published_is_delivered_in_order_and_gone_once_acknowledged() {
    contract::what_is_published_is_delivered_in_order_and_gone_once_acknowledged(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn several_tasks_publish_at_once() {
    contract::several_tasks_publish_at_once(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn properties_and_headers_arrive_as_they_were_sent() {
    contract::properties_and_headers_arrive_as_they_were_sent(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn rejected_beyond_the_delivery_limit_it_is_a_dead_letter() {
    contract::rejected_beyond_the_delivery_limit_it_is_a_dead_letter(Fixture::rabbitmq().await)
        .await;
}

#[tokio::test]
async fn given_back_it_comes_again_and_is_no_dead_letter() {
    contract::given_back_it_comes_again_and_is_no_dead_letter(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn mandatory_without_a_queue_is_unroutable_and_its_neighbours_are_not() {
    contract::mandatory_without_a_queue_is_unroutable_and_its_neighbours_are_not(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn what_nobody_hears_is_no_error() {
    contract::what_nobody_hears_is_no_error(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn the_default_exchange_leads_to_a_queue_by_its_name() {
    contract::the_default_exchange_leads_to_a_queue_by_its_name(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn a_full_queue_refuses_and_takes_again_when_there_is_room() {
    contract::a_full_queue_refuses_and_takes_again_when_there_is_room(
        Fixture::rabbitmq_with_work_length(3).await,
    )
    .await;
}

#[tokio::test]
async fn results_reach_every_subscriber_whose_pattern_fits() {
    contract::results_reach_every_subscriber_whose_pattern_fits(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn a_consumer_holds_no_more_than_its_prefetch() {
    contract::a_consumer_holds_no_more_than_its_prefetch(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn two_consumers_share_the_work() {
    contract::two_consumers_share_the_work(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn what_is_unsettled_when_its_client_closes_comes_again() {
    contract::what_is_unsettled_when_its_client_closes_comes_again(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn a_dropped_consumer_gives_back_what_it_did_not_hand_out() {
    contract::a_dropped_consumer_gives_back_what_it_did_not_hand_out(Fixture::rabbitmq().await)
        .await;
}

#[tokio::test]
async fn a_queue_is_consumed_while_it_has_a_consumer() {
    contract::a_queue_is_consumed_while_it_has_a_consumer(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn after_stopping_to_consume_what_is_in_hand_can_be_settled() {
    contract::after_stopping_to_consume_what_is_in_hand_can_be_settled(Fixture::rabbitmq().await)
        .await;
}

#[tokio::test]
async fn depth_counts_what_waits_and_not_what_is_worked_on() {
    contract::depth_counts_what_waits_and_not_what_is_worked_on(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn after_closing_nothing_is_connected() {
    contract::after_closing_nothing_is_connected(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn results_are_led_to_a_queue_while_their_keys_are_wanted() {
    contract::results_are_led_to_a_queue_while_their_keys_are_wanted(Fixture::rabbitmq().await)
        .await;
}
