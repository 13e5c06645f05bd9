//! Messages that RabbitMQ passes on and lapin cannot read, or should not: properties that are not
//! UTF-8, deeply nested headers, very large bodies.

use std::time::Duration;

use payment_service::broker::{
    Exchange, HEADERS_DROPPED, KEPT_BODY_BYTES, LONGEST_HEADER_BYTES, Queue,
};
use tokio::time::Instant;

use super::fixture::{Fixture, depth_becomes, is_registered, message, next, publish, text, work};
use crate::raw_amqp::{HEADERS, MESSAGE_ID, RawPublisher, deep_header, long, short};

const ORDERS: (&str, &str) = ("payments.requests", "order.payment");

async fn raw(fixture: &Fixture) -> RawPublisher {
    let Fixture::RabbitMq { url, .. } = fixture else {
        panic!("not at RabbitMQ")
    };
    RawPublisher::connect(url).await
}

#[tokio::test]
async fn three_hundred_messages_that_are_not_text_delay_no_other_and_are_delivered_once() {
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    let client = &*client;
    let mut sender = raw(&fixture).await;
    for _ in 0..300 {
        let properties = short(&[0xff, 0xfe]);
        sender.publish(ORDERS, MESSAGE_ID, &properties, b"{}").await;
    }
    sender.close().await;
    depth_becomes(client, Queue::Requests, 300).await;
    publish(
        client,
        message(Exchange::Requests, "order.payment", "ordinary", true),
    )
    .await;

    let mut working = client.consume(Queue::Work, 10);
    is_registered(&working).await;
    working.registered.mark_unchanged();
    let begin = Instant::now();
    let mut requests = client.consume(Queue::Requests, 256);
    for _ in 0..300 {
        let delivery = next(&mut requests).await;
        assert!(!delivery.redelivered);
        assert_eq!(
            delivery.properties.message_id.as_deref(),
            Some("\u{1a}\u{1a}")
        );
        delivery.settle.acknowledge().await;
    }
    let ordinary = next(&mut requests).await;
    assert_eq!(text(&ordinary), "ordinary");
    ordinary.settle.acknowledge().await;
    let took = begin.elapsed();
    assert!(took < Duration::from_secs(3), "{took:?}");

    assert!(!working.registered.has_changed().unwrap());
    publish(client, work("meanwhile")).await;
    next(&mut working).await.settle.acknowledge().await;
    depth_becomes(client, Queue::Requests, 0).await;
    depth_becomes(client, Queue::DeadLetters, 0).await;
    client.close().await;
}

/// Consumers of every queue, and a subscription to results.
#[tokio::test]
async fn every_consumer_can_read_any_message() {
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    let client = &*client;
    let mut results = client.subscribe_results(&["#"]);
    is_registered(&results).await;
    let queues = [
        Queue::Requests,
        Queue::Work,
        Queue::Callbacks,
        Queue::DeadLetters,
    ];
    let mut sender = raw(&fixture).await;
    let unreadable = [
        (MESSAGE_ID, short(&[0xff; 255])),
        (HEADERS, long(&deep_header())),
        (HEADERS, long(&[&short(&[0xff])[..], b"V"].concat())),
    ];
    for (flags, properties) in &unreadable {
        for queue in queues {
            let to = ("", queue.name());
            sender.publish(to, *flags, properties, b"{}").await;
        }
        let to = ("payments.results", "payment.succeeded.x");
        sender.publish(to, *flags, properties, b"{}").await;
    }
    sender.close().await;
    for queue in queues {
        let mut consumer = client.consume(queue, 10);
        read_all(&mut consumer, unreadable.len()).await;
    }
    read_all(&mut results, unreadable.len()).await;
    client.close().await;
}

async fn read_all(consumer: &mut payment_service::broker::Consumer, count: usize) {
    for number in 0..count {
        let delivery = next(consumer).await;
        assert_eq!(text(&delivery), "{}");
        let headers = &delivery.properties.headers;
        assert_eq!(headers.contains_key(HEADERS_DROPPED), number == 1);
        delivery.settle.acknowledge().await;
    }
}

#[tokio::test]
async fn only_a_limited_part_of_oversized_bodies_and_headers_is_received() {
    let fixture = Fixture::rabbitmq().await;
    let client = fixture.client().await;
    let client = &*client;
    let mut sender = raw(&fixture).await;
    let body = vec![b'x'; 15_000_000];
    let trace = [&short(b"traceparent")[..], b"S", &long(&[b'y'; 66_000])].concat();
    for _ in 0..2 {
        sender.publish(ORDERS, HEADERS, &long(&trace), &body).await;
    }
    sender.close().await;
    depth_becomes(client, Queue::Requests, 2).await;
    publish(
        client,
        message(Exchange::Requests, "order.payment", "ordinary", true),
    )
    .await;
    let mut requests = client.consume(Queue::Requests, 256);
    for _ in 0..2 {
        let delivery = next(&mut requests).await;
        assert_eq!(delivery.body, &body[..KEPT_BODY_BYTES]);
        assert_eq!(delivery.size(), 15_000_000);
        let trace = &delivery.properties.headers["traceparent"];
        assert_eq!(trace.len(), LONGEST_HEADER_BYTES);
        delivery.settle.acknowledge().await;
    }
    let ordinary = next(&mut requests).await;
    assert_eq!(text(&ordinary), "ordinary");
    assert_eq!(ordinary.size(), 8);
    ordinary.settle.acknowledge().await;
    client.close().await;
}
