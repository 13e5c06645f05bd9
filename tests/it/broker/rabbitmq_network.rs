//! Network faults between a client and RabbitMQ, by a proxy.

use std::time::{Duration, Instant};

use payment_service::broker::{Broker, PublishError, Queue, rabbitmq::RabbitMq};

use super::fixture::{
    depth_becomes, eventually, is_registered, is_up, next, options, publish, text, work,
};
use crate::support::{
    proxy::{Mode, Proxy, Trigger},
    servers::fresh_vhost,
};

/// How soon clients must recover: two missed heartbeats, and the delays between attempts.
const BACK: Duration = Duration::from_secs(10);

/// A client behind a proxy, with a heartbeat of one second.
async fn ready() -> (Proxy, RabbitMq) {
    let url = fresh_vhost().await.unwrap();
    let proxy = Proxy::before(&url).unwrap();
    let mut options = options(&format!("{}?heartbeat=1", proxy.url(&url)));
    options.confirm_timeout = Duration::from_secs(2);
    let client = RabbitMq::new(options);
    is_up(&client).await;
    (proxy, client)
}

#[tokio::test]
async fn a_message_whose_confirm_is_lost_counts_as_not_published() {
    let (proxy, client) = ready().await;
    let tripped = proxy.cut_at(Trigger::confirm_not_delivered());
    let outcome = client.publish(&[work("a")]).await;
    assert_eq!(outcome, [Err(PublishError::NotConfirmed)]);
    assert!(tripped.wait().await);
    is_up(&client).await;
    eventually("published again", || async {
        client.publish(&[work("a")]).await == [Ok(())]
    })
    .await;
    // Both copies were published: consumers must recognize a duplicate.
    depth_becomes(&client, Queue::Work, 2).await;
    client.close().await;
}

#[tokio::test]
async fn a_consumer_recovers_from_a_silent_connection() {
    let (proxy, client) = ready().await;
    let mut consumer = client.consume(Queue::Work, 10);
    publish(&client, work("before")).await;
    let in_hand = next(&mut consumer).await;
    proxy.silence_all();
    let begin = Instant::now();
    let mut registered = consumer.registered.clone();
    // The guard that `wait_for` returns would block the sender.
    let lost = tokio::time::timeout(BACK, registered.wait_for(|it| !it))
        .await
        .is_ok();
    assert!(lost, "the silence was not noticed");
    in_hand.settle.acknowledge().await;
    is_registered(&consumer).await;
    println!(
        "back {:.1} s after the silence began",
        begin.elapsed().as_secs_f32()
    );
    // The broker notices as well, and redelivers messages whose acknowledgement was lost.
    let again = next(&mut consumer).await;
    assert_eq!(text(&again), "before");
    assert!(again.redelivered);
    again.settle.acknowledge().await;
    eventually("published", || async {
        client.publish(&[work("after")]).await == [Ok(())]
    })
    .await;
    let after = next(&mut consumer).await;
    assert_eq!(text(&after), "after");
    after.settle.acknowledge().await;
    client.close().await;
}

#[tokio::test]
async fn splitting_or_delaying_the_traffic_changes_nothing() {
    let (proxy, client) = ready().await;
    let mut consumer = client.consume(Queue::Work, 10);
    for mode in [Mode::ByteByByte, Mode::Delay(Duration::from_millis(50))] {
        proxy.set(mode);
        publish(&client, work(&"x".repeat(1_000))).await;
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.body.len(), 1_000, "{mode:?}");
        delivery.settle.acknowledge().await;
    }
    client.close().await;
}
