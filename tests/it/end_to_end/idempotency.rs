//! One key, one payment, for any number of requests, to any process, by REST or by message.

use std::sync::Arc;

use futures::future::join_all;
use payment_service::config::Role;
use serde_json::{Value, json};

use crate::app::{
    Answer, Api, Backend, Order, Setup, TestApp, card, eventually, field, on_both, run_on,
};

fn order(order_id: i64) -> Value {
    json!({
        "order_id": order_id, "user_id": 1, "total_amount": 99.53,
        "card": card("4242424242424242"),
    })
}

async fn race(apis: [&Api; 2], key: &str) {
    let requests = (0..50).map(|number| {
        let api = apis[number % 2];
        async move {
            api.post_with("/payments", &[("Idempotency-Key", key)], order(1))
                .await
        }
    });
    let answers: Vec<Answer> = join_all(requests).await;
    let first = answers[0].id();
    let replayed = |answer: &Answer| answer.header("Idempotent-Replayed") == "true";
    for answer in &answers {
        // 202 while it is processing, 200 once it has its outcome: the same payment in its current state.
        assert!(matches!(answer.status, 200 | 202), "{}", answer.body);
        assert_eq!(answer.id(), first);
        for unchanging in [
            "order_id",
            "user_id",
            "total_amount",
            "payment_method",
            "created_at",
        ] {
            assert_eq!(answer[unchanging], answers[0][unchanging]);
        }
    }
    assert_eq!(answers.iter().filter(|answer| !replayed(answer)).count(), 1);
    assert_eq!(apis[0].outcome(first).await["status"], "succeeded");
    let all = apis[0].get("/payments").await.is(200);
    assert_eq!(all["data"].as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn fifty_concurrent_requests_with_one_key_create_one_payment_and_get_equal_answers() {
    on_both(Setup::new(), |app| async move {
        race([&app.api, &app.api], "race").await;
        let id = app.api.get("/payments").await["data"][0]["id"]
            .as_i64()
            .unwrap();
        assert_eq!(app.ledger(id).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn fifty_concurrent_requests_to_two_api_instances_create_one_payment() {
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let second = app.another(Role::Api).await;
        race([&app.api, &second], "race").await;
    })
    .await;
}

#[tokio::test]
async fn a_key_that_was_used_for_another_request_is_refused() {
    on_both(Setup::new(), |app| async move {
        let key = [("Idempotency-Key", "\"once\"")];
        let first = app.api.post_with("/payments", &key, order(1)).await.is(202);
        assert_eq!(first.header("Idempotent-Replayed"), "");
        // A key is the same with and without quotes.
        let bare = [("Idempotency-Key", "once")];
        let again = app.api.post_with("/payments", &bare, order(1)).await;
        assert_eq!(again.header("Idempotent-Replayed"), "true");
        assert_eq!(again.id(), first.id());
        let other_card = json!({
            "order_id": 1, "user_id": 1, "total_amount": 99.53,
            "card": card("5555555555554444"),
        });
        for other in [order(2), other_card] {
            let refused = app.api.post_with("/payments", &key, other).await.is(422);
            assert_eq!(refused.faults(), [("Idempotency-Key", "key_reused")]);
        }
        app.api.outcome(first.id()).await;
    })
    .await;
}

#[tokio::test]
async fn two_requests_without_a_key_create_two_payments_even_for_one_order() {
    on_both(Setup::new(), |app| async move {
        assert_ne!(app.api.create(1).await, app.api.create(1).await);
    })
    .await;
}

#[tokio::test]
async fn the_same_key_by_rest_and_by_message_creates_one_payment() {
    on_both(Setup::new(), both_ways).await;
}

async fn both_ways(app: Arc<TestApp>) {
    let body = json!({
        "order_id": 1, "user_id": 1, "total_amount": 99.53, "card_token": "tok_visa",
    });
    // First by REST, then by message.
    let key = [("Idempotency-Key", "rest-first")];
    let first = app
        .api
        .post_with("/payments", &key, body.clone())
        .await
        .is(202)
        .id();
    app.publish(Order::new("rest-first", &body)).await;
    // First by message, then by REST.
    app.publish(Order::new("message-first", &body)).await;
    let listed = || async { app.api.get("/payments?order_id=1").await["data"].clone() };
    eventually("the message is taken", || async {
        listed()
            .await
            .as_array()
            .is_some_and(|data| data.len() == 2)
    })
    .await;
    let key = [("Idempotency-Key", "message-first")];
    let again = app.api.post_with("/payments", &key, body).await;
    assert_eq!(again.header("Idempotent-Replayed"), "true");
    assert_ne!(again.id(), first);
    for id in [first, again.id()] {
        assert_eq!(field(&app.api.outcome(id).await, "status"), "succeeded");
        assert_eq!(app.ledger(id).await.len(), 1);
    }
    app.until_settled().await;
    assert_eq!(listed().await.as_array().map(Vec::len), Some(2));
}
