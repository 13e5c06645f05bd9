//! Idle consumers register again, in case the broker has lost them.

use std::time::Duration;

use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::broker::{Broker as _, Consumer, PublishError, Queue};
use tokio::time::timeout;

use super::fixture::{blocking, eventually, is_registered, is_up, next, options, publish, work};
use crate::support::proxy::Proxy;
use crate::support::servers::{Broker, BrokerOptions, fresh_vhost, stick};

const IDLE: Duration = Duration::from_millis(300);

/// For answers of the broker.
const LIMIT: Duration = Duration::from_secs(2);

#[tokio::test]
async fn an_idle_consumer_registers_again_and_a_busy_one_does_not() {
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

/// One broker that looks like two hosts, and a client of it whose consumer of work is registered at the first.
struct TwoHosts {
    hosts: [Proxy; 2],
    client: RabbitMq,
    _consumer: Consumer,
    _server: Broker,
}

impl TwoHosts {
    /// From now on the work queue does not answer.
    async fn with_a_silent_queue(idle: Duration) -> Self {
        let (server, vhost) = blocking(|| {
            let server = Broker::start(&BrokerOptions::default()).unwrap();
            let vhost = server.vhost().unwrap();
            (server, vhost)
        })
        .await;
        let url = server.url(&vhost);
        let hosts = [(); 2].map(|()| Proxy::before(&url).unwrap());
        let direct = format!("127.0.0.1:{}", server.port());
        let both = format!("{},{}", hosts[0].address(), hosts[1].address());
        let mut two = options(&url.replacen(&direct, &both, 1));
        two.idle = idle;
        (two.connect_timeout, two.confirm_timeout) = (LIMIT, LIMIT);
        let client = RabbitMq::new(two);
        is_up(&client).await;
        let consumer = client.consume(Queue::Work, 1);
        is_registered(&consumer).await;
        assert_eq!(hosts[1].accepted(), 0);
        let server = blocking(move || {
            stick(&server, &vhost, Queue::Work.name()).unwrap();
            server
        })
        .await;
        Self {
            _server: server,
            hosts,
            client,
            _consumer: consumer,
        }
    }

    async fn until_connections_to_the_second(&self, number: usize) {
        eventually("it goes to the other host", || async {
            self.hosts[1].accepted() >= number
        })
        .await;
    }
}

#[tokio::test]
async fn a_consumer_whose_queue_does_not_answer_moves_to_the_next_host() {
    let place = TwoHosts::with_a_silent_queue(IDLE).await;
    place.until_connections_to_the_second(1).await;
    place.client.close().await;
}

#[tokio::test]
async fn a_missing_confirm_moves_the_consumers_of_that_host_to_the_next_one() {
    let place = TwoHosts::with_a_silent_queue(Duration::from_mins(10)).await;
    let outcomes = place.client.publish(&[work("unconfirmed")]).await;
    assert_eq!(outcomes, [Err(PublishError::NotConfirmed)]);
    // The publishing and the consuming connection.
    place.until_connections_to_the_second(2).await;
    place.client.close().await;
}

async fn registers_anew(consumer: &mut Consumer, within: Duration) -> bool {
    consumer.registered.mark_unchanged();
    timeout(within, consumer.registered.changed()).await.is_ok()
}
