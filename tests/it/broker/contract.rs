//! The contract of both brokers. `embedded.rs` and `rabbitmq.rs` run each function.

use payment_service::broker::{Exchange, Properties, PublishError, Queue};

use super::fixture::{
    Fixture, depth_becomes, eventually, is_registered, message, next, publish, text, work,
};

pub async fn published_messages_are_delivered_in_order_and_deleted_once_acknowledged(
    fixture: Fixture,
) {
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Work, 200);
    let messages: Vec<_> = (0..100).map(|number| work(&number.to_string())).collect();
    assert!(client.publish(&messages).await.iter().all(Result::is_ok));
    for number in 0..100 {
        let delivery = next(&mut consumer).await;
        assert_eq!(text(&delivery), number.to_string());
        assert!(!delivery.redelivered);
        delivery.settle.acknowledge().await;
    }
    client.close().await;

    let after = fixture.client().await;
    depth_becomes(&*after, Queue::Work, 0).await;
    after.close().await;
}

pub async fn several_tasks_publish_at_once(fixture: Fixture) {
    let client = fixture.client().await;
    let calls = (0..100).map(|call| {
        let client = client.clone();
        tokio::spawn(async move {
            client
                .publish(&[work(&format!("{call}a")), work(&format!("{call}b"))])
                .await
        })
    });
    for results in futures::future::join_all(calls).await {
        assert_eq!(results.unwrap(), [Ok(()), Ok(())]);
    }
    depth_becomes(&*client, Queue::Work, 200).await;
    client.close().await;
}

pub async fn properties_and_headers_arrive_as_they_were_sent(fixture: Fixture) {
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Requests, 1);
    let properties = Properties {
        message_id: Some("m-1".to_owned()),
        correlation_id: Some("c-1".to_owned()),
        reply_to: Some("store-manager.replies".to_owned()),
        content_type: Some("application/json".to_owned()),
        kind: Some("order.payment".to_owned()),
        user_id: None,
        headers: [
            ("traceparent".to_owned(), "00-ab-cd-01".to_owned()),
            ("é".to_owned(), "ü".to_owned()),
        ]
        .into(),
    };
    let mut sent = message(
        Exchange::Requests,
        "order.payment",
        "{\"order_id\": 1}",
        true,
    );
    sent.properties = properties.clone();
    publish(&*client, sent).await;

    let delivery = next(&mut consumer).await;
    assert_eq!(delivery.routing_key, "order.payment");
    assert_eq!(delivery.properties, properties);
    assert_eq!(text(&delivery), "{\"order_id\": 1}");
    delivery.settle.acknowledge().await;
    client.close().await;
}

pub async fn a_message_rejected_beyond_the_delivery_limit_is_dead_lettered(fixture: Fixture) {
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Work, 1);
    let mut dead_letters = client.consume(Queue::DeadLetters, 1);
    let mut sent = work("poison");
    sent.properties.message_id = Some("m-2".to_owned());
    publish(&*client, sent).await;
    // The limit of definitions.json is 20: delivered once, and 20 times again.
    for round in 0..21 {
        let delivery = next(&mut consumer).await;
        assert_eq!(delivery.redelivered, round > 0, "round {round}");
        delivery.settle.reject().await;
    }
    let dead = next(&mut dead_letters).await;
    assert_eq!(text(&dead), "poison");
    assert_eq!(dead.routing_key, "payments.work");
    assert_eq!(dead.properties.message_id.as_deref(), Some("m-2"));
    dead.settle.acknowledge().await;
    depth_becomes(&*client, Queue::Work, 0).await;
    client.close().await;
}

pub async fn a_message_that_is_given_back_is_redelivered_and_never_dead_lettered(fixture: Fixture) {
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Work, 1);
    publish(&*client, work("later")).await;
    for _ in 0..10 {
        next(&mut consumer).await.settle.give_back().await;
    }
    let delivery = next(&mut consumer).await;
    assert_eq!(text(&delivery), "later");
    assert!(delivery.redelivered);
    delivery.settle.acknowledge().await;
    depth_becomes(&*client, Queue::DeadLetters, 0).await;
    client.close().await;
}

pub async fn a_mandatory_message_without_a_queue_is_unroutable_and_the_others_are_published(
    fixture: Fixture,
) {
    let client = fixture.client().await;
    let nowhere = message(Exchange::Work, "payment.nowhere", "lost", true);
    let mut messages: Vec<_> = (0..50).map(|number| work(&number.to_string())).collect();
    messages.insert(20, nowhere.clone());
    messages.insert(40, nowhere);
    let results = client.publish(&messages).await;
    let unroutable = Err(PublishError::Unroutable {
        exchange: "payments.work".to_owned(),
        routing_key: "payment.nowhere".to_owned(),
    });
    for (index, result) in results.iter().enumerate() {
        let expected = if index == 20 || index == 40 {
            &unroutable
        } else {
            &Ok(())
        };
        assert_eq!(result, expected, "message {index}");
    }
    depth_becomes(&*client, Queue::Work, 50).await;
    client.close().await;
}

pub async fn a_message_without_subscribers_is_no_error(fixture: Fixture) {
    let client = fixture.client().await;
    publish(
        &*client,
        message(Exchange::Results, "payment.succeeded.nobody", "{}", false),
    )
    .await;
    publish(
        &*client,
        message(Exchange::Default, "a.reply.queue.that.is.gone", "{}", false),
    )
    .await;
    client.close().await;
}

pub async fn the_default_exchange_routes_by_queue_name(fixture: Fixture) {
    let client = fixture.client().await;
    publish(
        &*client,
        message(Exchange::Default, "payments.dead-letters", "by name", true),
    )
    .await;
    depth_becomes(&*client, Queue::DeadLetters, 1).await;
    client.close().await;
}

/// With a work queue of three.
pub async fn a_full_queue_refuses_messages_until_there_is_room(fixture: Fixture) {
    let client = fixture.client().await;
    // A broker may accept a few more than the limit before it notices.
    let mut taken: u64 = 0;
    while client.publish(&[work("one more")]).await == [Ok(())] {
        taken += 1;
        assert!(taken < 1000, "never full");
    }
    assert!(taken >= 3, "took {taken}");
    assert_eq!(
        client.publish(&[work("one more")]).await,
        [Err(PublishError::Refused)]
    );

    let mut consumer = client.consume(Queue::Work, 10);
    for _ in 0..taken {
        next(&mut consumer).await.settle.acknowledge().await;
    }
    let client = &*client;
    super::fixture::eventually("room again", || async {
        client.publish(&[work("again")]).await == [Ok(())]
    })
    .await;
    next(&mut consumer).await.settle.acknowledge().await;
    client.close().await;
}

pub async fn results_reach_every_subscriber_whose_pattern_matches(fixture: Fixture) {
    let (client, other) = (fixture.client().await, fixture.client().await);
    let mut all = client.subscribe_results(&["payment.#"]);
    let mut shop = other.subscribe_results(&["payment.*.shop"]);
    let mut ended = other.subscribe_results(&["payment.succeeded.*", "payment.declined.*"]);
    for consumer in [&all, &shop, &ended] {
        is_registered(consumer).await;
    }
    for (key, body) in [
        ("payment.canceled.other", "1"),
        ("payment.succeeded.shop", "2"),
        ("payment.declined.a", "3"),
    ] {
        publish(&*client, message(Exchange::Results, key, body, false)).await;
    }
    for (consumer, expected) in [
        (&mut all, vec!["1", "2", "3"]),
        (&mut shop, vec!["2"]),
        (&mut ended, vec!["2", "3"]),
    ] {
        for body in expected {
            let delivery = next(consumer).await;
            assert_eq!(text(&delivery), body);
            // Settling is allowed even if it is not needed, so that one loop can read both kinds.
            delivery.settle.acknowledge().await;
        }
    }
    client.close().await;
    other.close().await;
    assert!(shop.deliveries.recv().await.is_none());
}

pub async fn a_consumer_holds_no_more_than_its_prefetch(fixture: Fixture) {
    let client = fixture.client().await;
    let messages: Vec<_> = (0..5).map(|number| work(&number.to_string())).collect();
    assert!(client.publish(&messages).await.iter().all(Result::is_ok));
    let mut consumer = client.consume(Queue::Work, 2);
    let first = next(&mut consumer).await;
    let second = next(&mut consumer).await;
    depth_becomes(&*client, Queue::Work, 3).await;
    assert!(consumer.deliveries.try_recv().is_err());
    first.settle.acknowledge().await;
    assert_eq!(text(&next(&mut consumer).await), "2");
    drop(second);
    client.close().await;
}

pub async fn two_consumers_share_the_work(fixture: Fixture) {
    let (client, other) = (fixture.client().await, fixture.client().await);
    let mut one = client.consume(Queue::Work, 1);
    let mut two = other.consume(Queue::Work, 1);
    is_registered(&one).await;
    is_registered(&two).await;
    assert_eq!(
        client.publish(&[work("a"), work("b")]).await,
        [Ok(()), Ok(())]
    );
    let (first, second) = (next(&mut one).await, next(&mut two).await);
    assert_ne!(text(&first), text(&second));
    first.settle.acknowledge().await;
    second.settle.acknowledge().await;
    client.close().await;
    other.close().await;
}

pub async fn unsettled_messages_are_redelivered_when_their_client_closes(fixture: Fixture) {
    let (client, other) = (fixture.client().await, fixture.client().await);
    let mut consumer = client.consume(Queue::Work, 10);
    assert_eq!(
        client
            .publish(&[work("settled"), work("in hand"), work("not looked at")])
            .await,
        [Ok(()), Ok(()), Ok(())]
    );
    next(&mut consumer).await.settle.acknowledge().await;
    let in_hand = next(&mut consumer).await;
    client.close().await;
    // Too late, but harmless.
    in_hand.settle.acknowledge().await;

    let mut again = other.consume(Queue::Work, 10);
    for body in ["in hand", "not looked at"] {
        let delivery = next(&mut again).await;
        assert_eq!(text(&delivery), body);
        assert!(delivery.redelivered);
        delivery.settle.acknowledge().await;
    }
    other.close().await;
}

pub async fn a_dropped_consumer_gives_back_the_messages_that_it_did_not_hand_out(fixture: Fixture) {
    let client = fixture.client().await;
    let consumer = client.consume(Queue::Work, 10);
    is_registered(&consumer).await;
    assert_eq!(
        client.publish(&[work("a"), work("b")]).await,
        [Ok(()), Ok(())]
    );
    depth_becomes(&*client, Queue::Work, 0).await;
    drop(consumer);
    let mut again = client.consume(Queue::Work, 10);
    for body in ["a", "b"] {
        let delivery = next(&mut again).await;
        assert_eq!(text(&delivery), body);
        delivery.settle.acknowledge().await;
    }
    client.close().await;
}

pub async fn a_queue_is_consumed_while_it_has_a_consumer(fixture: Fixture) {
    let client = fixture.client().await;
    let other = fixture.client().await;
    assert!(!other.is_consumed(Queue::WorkGroups).await);
    let consumer = client.consume(Queue::WorkGroups, 1);
    is_registered(&consumer).await;
    assert!(other.is_consumed(Queue::WorkGroups).await);
    assert!(!other.is_consumed(Queue::Work).await);
    drop(consumer);
    eventually("the consumer is gone", || async {
        !other.is_consumed(Queue::WorkGroups).await
    })
    .await;
    client.close().await;
    assert!(!client.is_consumed(Queue::WorkGroups).await);
    other.close().await;
}

pub async fn deliveries_can_be_settled_after_consuming_has_stopped(fixture: Fixture) {
    let client = fixture.client().await;
    let mut consumer = client.consume(Queue::Work, 2);
    assert_eq!(
        client.publish(&[work("a"), work("b"), work("c")]).await,
        [Ok(()), Ok(()), Ok(())]
    );
    let first = next(&mut consumer).await;
    depth_becomes(&*client, Queue::Work, 1).await;
    client.stop_consuming().await;
    let mut rest = Vec::new();
    while let Some(delivery) = consumer.deliveries.recv().await {
        rest.push(delivery);
    }
    assert!(!*consumer.registered.borrow());
    assert_eq!(
        rest.len(),
        1,
        "what had been received is still handed out, and no more"
    );
    first.settle.acknowledge().await;
    for delivery in rest {
        delivery.settle.acknowledge().await;
    }
    // Publishing still works.
    publish(&*client, work("d")).await;
    client.close().await;

    let other = fixture.client().await;
    depth_becomes(&*other, Queue::Work, 2).await;
    let mut again = other.consume(Queue::Work, 2);
    for body in ["c", "d"] {
        let delivery = next(&mut again).await;
        assert_eq!((text(&delivery), delivery.redelivered), (body, false));
        delivery.settle.acknowledge().await;
    }
    other.close().await;
}

pub async fn depth_counts_waiting_messages_and_not_unacknowledged_ones(fixture: Fixture) {
    let client = fixture.client().await;
    depth_becomes(&*client, Queue::Work, 0).await;
    assert_eq!(
        client.publish(&[work("a"), work("b"), work("c")]).await,
        [Ok(()), Ok(()), Ok(())]
    );
    depth_becomes(&*client, Queue::Work, 3).await;
    let mut consumer = client.consume(Queue::Work, 1);
    let delivery = next(&mut consumer).await;
    depth_becomes(&*client, Queue::Work, 2).await;
    delivery.settle.give_back().await;
    client.close().await;
}

pub async fn a_closed_broker_is_not_connected(fixture: Fixture) {
    let client = fixture.client().await;
    client.declare_topology().await.unwrap();
    let mut consumer = client.consume(Queue::Work, 1);
    client.close().await;
    assert!(consumer.deliveries.recv().await.is_none());
    assert_eq!(
        client.publish(&[work("a")]).await,
        [Err(PublishError::NotConnected)]
    );
    assert!(client.depth(Queue::Work).await.is_err());
}

pub async fn results_are_routed_to_a_queue_while_their_keys_are_bound(fixture: Fixture) {
    let client = fixture.client().await;
    let result = |key: &str| message(Exchange::Results, key, key, false);
    let (one, two) = ("payment.succeeded.one", "payment.succeeded.two");
    let keys = |keys: &[&str]| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
    let bind = async |wanted: &[&str], unwanted: &[&str]| {
        let (wanted, unwanted) = (keys(wanted), keys(unwanted));
        let bound = client.bind_results(Queue::Callbacks, &wanted, &unwanted);
        bound.await.unwrap();
    };
    publish(&*client, result(one)).await;
    // Binding twice changes nothing.
    for _ in 0..2 {
        bind(&[one], &[two]).await;
    }
    publish(&*client, result(one)).await;
    publish(&*client, result(two)).await;
    bind(&[two], &[one]).await;
    publish(&*client, result(one)).await;
    publish(&*client, result(two)).await;
    depth_becomes(&*client, Queue::Callbacks, 2).await;
    let mut consumer = client.consume(Queue::Callbacks, 10);
    for expected in [one, two] {
        let delivery = next(&mut consumer).await;
        assert_eq!(text(&delivery), expected);
        delivery.settle.acknowledge().await;
    }
    client.close().await;
}
