//! An event that a receiver does not accept does not stop others.

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use serde_json::json;

use super::receiver::{Call, Receiver, ready};
use super::{callback, quick, with_receiver};
use crate::app::{STORE, Setup, TestApp, eventually};

/// The receiver accepts orders below this number.
const UNKNOWN: i64 = 1_000;

/// Long intervals, so that an event that waits for one is noticed.
fn patient(callback: serde_json::Value) -> Setup {
    quick()
        .with("CALLBACK_RETRY_INITIAL", "1s")
        .with("CALLBACK_RETRY_MAX_INTERVAL", "30s")
        .with("CALLBACK_CONCURRENCY", "2")
        .with_callback(STORE, callback)
}

fn in_the_store_s_language(receiver: &Receiver) -> Setup {
    patient(json!({
        "url": receiver.url("/orders"), "format": "store-manager", "allow_private_addresses": true,
    }))
}

fn by_webhook(receiver: &Receiver) -> Setup {
    patient(callback(receiver))
}

fn order_of(call: &Call) -> i64 {
    let body = call.body();
    let order = if body["order_id"].is_null() {
        &body["data"]["order_id"]
    } else {
        &body["order_id"]
    };
    order.as_i64().unwrap()
}

fn told(receiver: &Receiver) -> BTreeSet<i64> {
    receiver.calls().iter().map(order_of).collect()
}

/// Many payments for orders that the receiver does not accept, each with at least one call; then some for accepted
/// orders: their calls are not delayed.
async fn others_are_told_at_once(app: &TestApp, receiver: &Receiver) {
    let store = app.api.with_key(STORE.1);
    for order_id in UNKNOWN + 1..=UNKNOWN + 20 {
        store.pay(order_id, "tok_visa").await;
    }
    eventually("all of them were called for", || async {
        told(receiver).len() == 20
    })
    .await;
    for order_id in 1..=10 {
        let begin = Instant::now();
        store.pay(order_id, "tok_visa").await;
        eventually("it is told", || async {
            told(receiver).contains(&order_id)
        })
        .await;
        let took = begin.elapsed();
        assert!(took < Duration::from_secs(5), "order {order_id}: {took:?}");
    }
}

async fn when_all_are_taken(receiver: &Receiver, status: u16, body: &'static str) {
    receiver.answers_with(status, body);
}

#[tokio::test]
async fn orders_that_the_store_does_not_know_delay_no_other() {
    with_receiver(in_the_store_s_language, |app, receiver| async move {
        receiver.answers(|_, call| {
            let known = order_of(&call) < UNKNOWN;
            ready(
                200,
                if known {
                    r#"{"updated": true}"#
                } else {
                    r#"{"updated": false}"#
                },
            )
        });
        others_are_told_at_once(&app, &receiver).await;
        when_all_are_taken(&receiver, 200, r#"{"updated": true}"#).await;
    })
    .await;
}

#[tokio::test]
async fn events_that_a_receiver_refuses_delay_no_other() {
    with_receiver(by_webhook, |app, receiver| async move {
        receiver.answers(|_, call| ready(if order_of(&call) < UNKNOWN { 204 } else { 422 }, ""));
        others_are_told_at_once(&app, &receiver).await;
        when_all_are_taken(&receiver, 204, "").await;
    })
    .await;
}

/// Events that fail as if the receiver were down: the circuit opens briefly, and a new event closes it again.
#[tokio::test]
async fn events_that_break_the_receiver_delay_others_only_briefly() {
    with_receiver(by_webhook, |app, receiver| async move {
        receiver.answers(|_, call| ready(if order_of(&call) < UNKNOWN { 204 } else { 500 }, ""));
        let store = app.api.with_key(STORE.1);
        for order_id in UNKNOWN + 1..=UNKNOWN + 6 {
            store.pay(order_id, "tok_visa").await;
        }
        eventually("some were called for", || async {
            told(&receiver).len() >= 5
        })
        .await;
        for order_id in 1..=10 {
            store.pay(order_id, "tok_visa").await;
        }
        eventually("all that it takes are told", || async {
            (1..=10).all(|order_id| told(&receiver).contains(&order_id))
        })
        .await;
        when_all_are_taken(&receiver, 204, "").await;
    })
    .await;
}

/// It answers that it has the event, and then keeps sending.
#[tokio::test]
async fn an_endless_answer_counts_as_an_answer() {
    with_receiver(by_webhook, |app, receiver| async move {
        receiver.answers(|_, _| {
            let endless = futures::stream::pending::<Result<axum::body::Bytes, std::io::Error>>();
            let body = axum::body::Body::from_stream(endless);
            let answer = axum::http::Response::builder().status(200).body(body);
            Box::pin(std::future::ready(answer.unwrap()))
        });
        app.api.with_key(STORE.1).pay(1, "tok_visa").await;
        receiver.called(1).await;
        app.until_settled().await;
        receiver.called(1).await;
    })
    .await;
}
