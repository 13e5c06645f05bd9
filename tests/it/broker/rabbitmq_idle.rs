//! Consumers that get nothing: they register anew, in case the broker has forgotten them.

use std::sync::Arc;
use std::time::Duration;

use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::broker::{Broker as _, Consumer, Queue};
use tokio::time::timeout;

use super::place::{blocking, eventually, is_registered, is_up, next, options, publish, work};
use crate::support::proxy::Proxy;
use crate::support::servers::{Broker, BrokerOptions, fresh_vhost, stick};

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

#[tokio::test]
async fn one_whose_queue_does_not_answer_at_one_host_goes_to_the_next() {
    let (server, vhost) = blocking(|| {
        let server = Broker::start(&BrokerOptions::default()).unwrap();
        let vhost = server.vhost().unwrap();
        (Arc::new(server), vhost)
    })
    .await;
    let url = server.url(&vhost);
    let hosts = [(); 2].map(|()| Proxy::before(&url).unwrap());
    let direct = format!("127.0.0.1:{}", server.port());
    let both = format!("{},{}", hosts[0].address(), hosts[1].address());
    let mut two = options(&url.replacen(&direct, &both, 1));
    (two.idle, two.connect_timeout) = (IDLE, Duration::from_secs(2));
    let client = RabbitMq::new(two);
    is_up(&client).await;
    let consumer = client.consume(Queue::Work, 1);
    is_registered(&consumer).await;
    assert_eq!(hosts[1].accepted(), 0);

    let asked = Arc::clone(&server);
    blocking(move || stick(&asked, &vhost, Queue::Work.name()).unwrap()).await;
    eventually("it goes to the other host", || async {
        hosts[1].accepted() > 0
    })
    .await;
    client.close().await;
}

async fn registers_anew(consumer: &mut Consumer, within: Duration) -> bool {
    consumer.registered.mark_unchanged();
    timeout(within, consumer.registered.changed()).await.is_ok()
}
