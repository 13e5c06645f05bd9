//! The contract with RabbitMQ.

use super::{contract, fixture::Fixture};

#[tokio::test]
async fn published_messages_are_delivered_in_order_and_deleted_once_acknowledged() {
    contract::published_messages_are_delivered_in_order_and_deleted_once_acknowledged(
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
async fn a_message_rejected_beyond_the_delivery_limit_is_dead_lettered() {
    contract::a_message_rejected_beyond_the_delivery_limit_is_dead_lettered(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn a_message_that_is_given_back_is_redelivered_and_never_dead_lettered() {
    contract::a_message_that_is_given_back_is_redelivered_and_never_dead_lettered(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn a_mandatory_message_without_a_queue_is_unroutable_and_the_others_are_published() {
    contract::a_mandatory_message_without_a_queue_is_unroutable_and_the_others_are_published(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn a_message_without_subscribers_is_no_error() {
    contract::a_message_without_subscribers_is_no_error(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn the_default_exchange_routes_by_queue_name() {
    contract::the_default_exchange_routes_by_queue_name(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn a_full_queue_refuses_messages_until_there_is_room() {
    contract::a_full_queue_refuses_messages_until_there_is_room(
        Fixture::rabbitmq_with_work_length(3).await,
    )
    .await;
}

#[tokio::test]
async fn results_reach_every_subscriber_whose_pattern_matches() {
    contract::results_reach_every_subscriber_whose_pattern_matches(Fixture::rabbitmq().await).await;
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
async fn unsettled_messages_are_redelivered_when_their_client_closes() {
    contract::unsettled_messages_are_redelivered_when_their_client_closes(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn a_dropped_consumer_gives_back_the_messages_that_it_did_not_hand_out() {
    contract::a_dropped_consumer_gives_back_the_messages_that_it_did_not_hand_out(
        Fixture::rabbitmq().await,
    )
    .await;
}

#[tokio::test]
async fn a_queue_is_consumed_while_it_has_a_consumer() {
    contract::a_queue_is_consumed_while_it_has_a_consumer(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn deliveries_can_be_settled_after_consuming_has_stopped() {
    contract::deliveries_can_be_settled_after_consuming_has_stopped(Fixture::rabbitmq().await)
        .await;
}

#[tokio::test]
async fn depth_counts_waiting_messages_and_not_unacknowledged_ones() {
    contract::depth_counts_waiting_messages_and_not_unacknowledged_ones(Fixture::rabbitmq().await)
        .await;
}

#[tokio::test]
async fn a_closed_broker_is_not_connected() {
    contract::a_closed_broker_is_not_connected(Fixture::rabbitmq().await).await;
}

#[tokio::test]
async fn results_are_routed_to_a_queue_while_their_keys_are_bound() {
    contract::results_are_routed_to_a_queue_while_their_keys_are_bound(Fixture::rabbitmq().await)
        .await;
}
