//! Consumers that get nothing: they register anew, in case the broker has forgotten them.

use std::time::Duration;

use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::broker::{Broker, Consumer, Queue};
use tokio::time::timeout;

use super::place::{is_registered, is_up, next, options, publish, work};
use crate::support::servers::fresh_vhost;

const IDLE: Duration = Duration::from_millis(300);

#[tokio::test]
async fn one_with_nothing_in_hand_registers_anew_and_one_that_is_busy_does_not() {
    let mut renewing = options(&fresh_vhost().await.unwrap());
    renewing.idle = IDLE;
    let client = RabbitMq::new(renewing);
    is_up(&client).await;
    let mut consumer = client.consume(Queue::Work, 1);
    is_registered(&consumer).await;
    assert!(registers_anew(&mut consumer, Duration::from_secs(20)).await);

    publish(&client, work("first")).await;
    publish(&client, work("second")).await;
    let in_hand = next(&mut consumer).await;
    consumer.registered.mark_unchanged();
    assert!(
        !registers_anew(&mut consumer, IDLE * 6).await,
        "busy, and yet it asks for more"
    );
    assert!(consumer.deliveries.is_empty(), "more than it may hold");
    in_hand.settle.acknowledge().await;
    next(&mut consumer).await.settle.acknowledge().await;
    assert!(registers_anew(&mut consumer, Duration::from_secs(20)).await);
    client.close().await;
}

async fn registers_anew(consumer: &mut Consumer, within: Duration) -> bool {
    consumer.registered.mark_unchanged();
    timeout(within, consumer.registered.changed()).await.is_ok()
}
