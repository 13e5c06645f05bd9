//! Messages that are too long, unreadable, or have an impossible reply address: each is refused or set aside with its
//! reason, its sender is informed if possible, and others do not wait.

use std::sync::Arc;
use std::time::Duration;

use payment_service::broker::Queue;
use payment_service::wire::order::ORDER_PAYMENT;
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::app::{Backend, Order, STORE, Setup, TestApp, eventually, on_both, run_on};
use crate::broker::rabbitmq_replies::foreign_address;
use crate::raw_amqp::{
    CORRELATION_ID, HEADERS, MESSAGE_ID, RawPublisher, deep_header, long, short,
};

const ORDERS: (&str, &str) = ("payments.requests", ORDER_PAYMENT);

/// How soon ordinary requests must be answered meanwhile. A broken session alone would take longer.
const PROMPT: Duration = Duration::from_secs(1);

/// Ordinary requests by REST and by message, one after the other: 99 of 100 are answered promptly.
async fn innocents_are_served(app: &TestApp, first_order: i64) {
    let mut took = Vec::new();
    for order in first_order..first_order + 50 {
        let begin = Instant::now();
        app.api.create(order).await;
        took.push(begin.elapsed());
        let begin = Instant::now();
        let id = format!("innocent-{order}");
        let mut replies = app.ask(Order::paid_with(&id, order, "tok_visa")).await;
        let reply = replies.next(|_| true).await;
        assert_eq!(reply.body["type"], "payment.succeeded");
        took.push(begin.elapsed());
    }
    took.sort_unstable();
    let p99 = took[took.len() * 99 / 100 - 1];
    eprintln!("innocents: p50 {:?}, p99 {p99:?}", took[took.len() / 2]);
    assert!(p99 < PROMPT, "{p99:?}");
}

#[tokio::test]
async fn a_message_above_the_limits_is_refused_and_its_dead_letter_is_masked_and_cut() {
    on_both(Setup::new().with_clients(), |app| async move {
        let mut letters = app.dead_letters();
        let mut results = app.results("payment.request_rejected.*").await;
        let card = "5105105105105100";
        let mut order = Order::new("m-1", &Value::Null)
            .with(|properties| properties.correlation_id = Some(card.to_owned()))
            .with_header("note", card);
        order.body = json!({ "order_id": 1, "note": format!("{card} ").repeat(4000) }).to_string();
        let size = order.body.len();
        assert!(size > 64 * 1024);
        app.publish(order).await;
        let event = results.next(|_| true).await;
        let data = &event.body["data"];
        assert_eq!(data["reason"], "body_too_large");
        let error = format!("The body has {size} bytes: a message may have 65536 (64 KiB).");
        assert_eq!(data["error"], error);
        let (letter, _) = app.dead_letter(&mut letters).await;
        assert_eq!(letter["client"], STORE.0);
        assert_eq!(
            (&letter["masked"], &letter["cut"]),
            (&json!(true), &json!(true))
        );
        assert_eq!(letter["body_bytes"], size);
        assert!(letter["body"].as_str().unwrap().len() <= 16 * 1024);
        assert!(!letter.to_string().contains("5105"), "{letter}");

        let mut order = Order::paid_with("m-2", 1, "tok_visa");
        for number in 0..200 {
            order = order.with_header(&format!("h-{number}"), &"x".repeat(400));
        }
        app.publish(order).await;
        let event = results.next(|_| true).await;
        assert_eq!(event.body["data"]["reason"], "headers_too_large");
        app.dead_letter(&mut letters).await;

        let order = Order::paid_with("m-3", 1, "tok_visa")
            .with(|properties| properties.correlation_id = Some("a\u{1}b".to_owned()));
        app.publish(order).await;
        let event = results.next(|_| true).await;
        assert_eq!(event.body["data"]["reason"], "property_invalid");
        assert_eq!(event.body["data"]["errors"][0]["field"], "correlation_id");
        assert_eq!(event.correlation_id, None);
        app.dead_letter(&mut letters).await;
    })
    .await;
}

#[tokio::test]
async fn an_invalid_traceparent_of_any_length_is_ignored() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        for (order, trace) in [(1, "x".repeat(66_000)), (2, "00-nonsense".to_owned())] {
            let id = format!("m-{order}");
            let message =
                Order::paid_with(&id, order, "tok_visa").with_header("traceparent", &trace);
            app.publish(message).await;
            let heard = results.next(|_| true).await;
            assert_eq!(heard.body["type"], "payment.succeeded");
            assert_eq!(heard.body["data"]["order_id"], order);
            assert!(heard.body.get("traceparent").is_none());
        }
    })
    .await;
}

#[tokio::test]
async fn messages_of_15_mb_and_unreadable_ones_do_not_delay_others() {
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let mut results = app.results("payment.request_rejected.*").await;
        let sending = Arc::clone(&app);
        let bad = tokio::spawn(async move {
            let mut sender = RawPublisher::connect(sending.amqp_url()).await;
            let body = vec![b'"'; 15_000_000];
            let id = |id: &str| short(id.as_bytes());
            for number in 0..8 {
                let properties = id(&format!("large-{number}"));
                sender.publish(ORDERS, MESSAGE_ID, &properties, &body).await;
                for _ in 0..40 {
                    let unreadable = short(&[0xff, 0xfe]);
                    sender.publish(ORDERS, MESSAGE_ID, &unreadable, b"{}").await;
                }
                let flags = CORRELATION_ID | MESSAGE_ID;
                let properties = [short(&[0xff]), id(&format!("no-text-{number}"))].concat();
                sender.publish(ORDERS, flags, &properties, b"{}").await;
                let properties = [long(&deep_header()), id(&format!("deep-{number}"))].concat();
                sender
                    .publish(ORDERS, HEADERS | MESSAGE_ID, &properties, b"{}")
                    .await;
            }
            sender.close().await;
        });
        innocents_are_served(&app, 1).await;
        bad.await.unwrap();
        let mut reasons = std::collections::BTreeMap::new();
        for _ in 0..8 * 43 {
            let heard = results.next(|_| true).await;
            let reason = heard.body["data"]["reason"].as_str().unwrap().to_owned();
            *reasons.entry(reason).or_insert(0) += 1;
        }
        let expected = [
            ("body_too_large", 8),
            ("headers_too_large", 8),
            ("message_id_invalid", 320),
            ("property_invalid", 8),
        ];
        let expected = expected.map(|(reason, count)| (reason.to_owned(), count));
        assert_eq!(reasons, expected.into());
        app.until_settled().await;
        assert_eq!(app.broker.depth(Queue::DeadLetters).await.unwrap(), 8 * 43);
    })
    .await;
}

#[tokio::test]
async fn replies_to_an_address_of_another_broker_become_dead_letters_and_others_arrive() {
    let foreign = foreign_address().await;
    let foreign = foreign.as_str();
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let mut results = app.results("payment.succeeded.*").await;
        let bad = async {
            for number in 0..20 {
                let order = Order::paid_with(&format!("foreign-{number}"), 1, "tok_visa")
                    .with(|properties| properties.reply_to = Some(foreign.to_owned()));
                app.publish(order).await;
            }
        };
        tokio::join!(bad, innocents_are_served(&app, 100));
        let mut foreign = 0;
        while foreign < 20 {
            let heard = results.next(|_| true).await;
            foreign += usize::from(heard.body["data"]["order_id"] == 1);
        }
        app.until_settled().await;
        let letters = app.broker.depth(Queue::DeadLetters).await.unwrap();
        eprintln!("replies set aside: {letters}");
        if letters > 0 {
            let mut consumer = app.dead_letters();
            for _ in 0..letters {
                let (letter, reason) = app.dead_letter(&mut consumer).await;
                assert_eq!(reason, "reply_undeliverable");
                assert_eq!(letter["body"]["type"], "payment.succeeded");
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_full_reply_queue_delays_no_other_reply() {
    use lapin::options::QueueDeclareOptions;
    use lapin::types::{AMQPValue, FieldTable};
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let channel = app.lapin().await.create_channel().await.unwrap();
        let mut arguments = FieldTable::default();
        arguments.insert("x-max-length".into(), AMQPValue::LongInt(0));
        let refuse = AMQPValue::LongString("reject-publish".into());
        arguments.insert("x-overflow".into(), refuse);
        let queue = "default.full";
        channel
            .queue_declare(queue.into(), QueueDeclareOptions::default(), arguments)
            .await
            .unwrap();
        for number in 0..20 {
            let order = Order::paid_with(&format!("full-{number}"), 1, "tok_visa")
                .with(|properties| properties.reply_to = Some(queue.to_owned()));
            app.publish(order).await;
        }
        innocents_are_served(&app, 100).await;
        eventually("they alone are left, to be offered again", || async {
            app.database.outbox_depth().await.unwrap().total == 20
        })
        .await;
        // As if they had been published for long: a row's id contains its age.
        let old = "UPDATE outbox SET id = UNHEX(CONCAT('0190000000007', LPAD(HEX(RAND() * 1000000), 19, '0')))";
        app.execute(old).await;
        eventually("they are set aside", || async {
            app.broker.depth(Queue::DeadLetters).await.unwrap() == 20
        })
        .await;
        channel
            .queue_delete(queue.into(), Default::default())
            .await
            .unwrap();
    })
    .await;
}
