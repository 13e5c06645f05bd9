//! Replies: an address for which the broker closes the connection affects nothing else.

use std::sync::Arc;

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, BasicPublishOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use payment_service::broker::{Broker as _, Exchange, Publication, PublishError, Queue};

use super::fixture::{Fixture, depth_becomes, eventually, message, work};
use crate::support::servers::fresh_vhost;
use crate::support::servers::{Broker, BrokerOptions};

/// A direct reply-to address that another broker created.
pub async fn foreign_address() -> String {
    let start = || Broker::start(&BrokerOptions::default()).unwrap();
    let server = super::fixture::blocking(start).await;
    let server = Arc::new(server);
    let asked = Arc::clone(&server);
    let vhost = super::fixture::blocking(move || asked.vhost().unwrap()).await;
    let address = address_at(&server.url(&vhost)).await;
    super::fixture::blocking(move || drop(server)).await;
    address
}

/// The address that a broker puts in place of `amq.rabbitmq.reply-to`.
async fn address_at(url: &str) -> String {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let no_ack = BasicConsumeOptions {
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let direct = "amq.rabbitmq.reply-to";
    let consume =
        |queue: &str| channel.basic_consume(queue.into(), "".into(), no_ack, FieldTable::default());
    let _replies = consume(direct).await.unwrap();
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare("".into(), exclusive, FieldTable::default())
        .await
        .unwrap();
    let mut asked = consume(queue.name().as_str()).await.unwrap();
    channel
        .basic_publish(
            "".into(),
            queue.name().clone(),
            BasicPublishOptions::default(),
            b"",
            BasicProperties::default().with_reply_to(direct.into()),
        )
        .await
        .unwrap();
    let asked = asked.next().await.unwrap().unwrap();
    asked.properties.reply_to().as_ref().unwrap().to_string()
}

fn reply(to: &str) -> Publication {
    message(Exchange::Default, to, "{}", false)
}

#[tokio::test]
async fn a_reply_address_of_another_broker_does_not_affect_work_or_results() {
    let foreign = foreign_address().await;
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    let client = &*client;
    let mixed = [
        work("one"),
        reply(&foreign),
        message(Exchange::Results, "payment.succeeded.x", "{}", false),
        work("two"),
    ];
    let outcomes = client.publish(&mixed).await;
    eprintln!("at this broker: {outcomes:?}");
    for index in [0, 2, 3] {
        assert_eq!(outcomes[index], Ok(()), "{index}");
    }
    // Newer brokers may treat it as an address without a consumer.
    assert!(matches!(outcomes[1], Ok(()) | Err(PublishError::Closed(_))));
    // Published alone it has the same result, and the next reply finds a session.
    let begin = std::time::Instant::now();
    let alone = client.publish_alone(&[reply(&foreign)]).await;
    eprintln!("alone it took {:?}", begin.elapsed());
    assert_eq!(alone[0].is_ok(), outcomes[1].is_ok(), "{alone:?}");
    let next = client.publish(&[reply(Queue::DeadLetters.name())]).await;
    assert_eq!(next, [Ok(())]);
    depth_becomes(client, Queue::DeadLetters, 1).await;
    client.close().await;
}

#[tokio::test]
async fn replies_to_missing_queues_are_no_error() {
    let url = fresh_vhost().await.unwrap().to_string();
    let client = payment_service::broker::rabbitmq::RabbitMq::new(super::fixture::options(&url));
    super::fixture::is_up(&client).await;
    let long_name = "n".repeat(255);
    for name in [
        "nobody.here",
        "control\u{1}\u{1f}characters",
        &long_name,
        "amq.rabbitmq.reply-to.",
        "amq.rabbitmq.reply-to.nonsense",
        "amq.rabbitmq.reply-to.g1h2AA.x",
        "amq.gen-nobodys",
    ] {
        eventually(name, || async {
            match &client.publish(&[reply(name)]).await[..] {
                [Ok(())] => true,
                [Err(PublishError::Closed(words))] => {
                    eprintln!("{name}: {words}");
                    true
                }
                _ => false,
            }
        })
        .await;
    }
    client.close().await;
}
