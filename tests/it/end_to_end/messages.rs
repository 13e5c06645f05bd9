//! Requests by message, and results: events on the topic and replies.

use std::sync::Arc;

use payment_service::broker::Queue;
use serde_json::{Value, json};

use crate::app::{Backend, Heard, Order, Setup, TestApp, card, field, on_both, run_on};

const TRACE: &str = "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01";

/// The one payment of this order.
async fn payment_of(app: &TestApp, order_id: i64) -> Value {
    let listed = app
        .api
        .get(&format!("/payments?order_id={order_id}"))
        .await
        .is(200);
    let data = listed["data"].as_array().unwrap();
    assert_eq!(data.len(), 1, "{data:?}");
    data[0].clone()
}

/// A CloudEvent 1.0 that agrees with what REST says of its payment.
async fn agrees(app: &TestApp, heard: &Heard) {
    let (event, payment) = (&heard.body, &heard.body["data"]);
    let id = payment["payment_id"].as_i64().unwrap();
    assert_eq!(event["specversion"], "1.0");
    assert_eq!(event["source"], "/payment-service");
    assert_eq!(event["datacontenttype"], "application/json");
    assert_eq!(event["subject"], format!("payments/{id}"));
    assert_eq!(
        event["type"],
        format!("payment.{}", field(payment, "status"))
    );
    assert_eq!(event["time"], payment["updated_at"]);
    assert_eq!(heard.content_type, "application/cloudevents+json");
    assert_eq!(heard.message_id, field(event, "id"));
    assert_eq!(
        *payment,
        app.api.get(&format!("/payments/{id}")).await.is(200).body
    );
    // The history has it under the same id and sequence.
    let history = app.api.events(id).await;
    let told = history.iter().find(|told| told["id"] == event["id"]);
    let told = told.expect("the event is in the history");
    let sequence: u64 = field(event, "sequence").parse().unwrap();
    assert_eq!(told["sequence"], sequence);
}

#[tokio::test]
async fn an_order_by_message_is_paid_and_its_result_is_a_cloudevent() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        let order = Order::paid_with("m-1", 1, "tok_visa")
            .with(|properties| properties.correlation_id = Some("c-1".to_owned()))
            .with_header("traceparent", TRACE);
        app.publish(order).await;
        let heard = results.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.succeeded.default");
        assert_eq!(heard.body["type"], "payment.succeeded");
        assert_eq!(heard.body["data"]["order_id"], 1);
        assert_eq!(heard.body["data"]["is_paid"], true);
        assert_eq!(heard.body["sequence"], "0000000003");
        assert_eq!(heard.correlation_id.as_deref(), Some("c-1"));
        assert_eq!(heard.body["correlationid"], "c-1");
        assert_eq!(heard.body["traceparent"], TRACE);
        assert_eq!(
            heard.headers.get("traceparent").map(String::as_str),
            Some(TRACE)
        );
        agrees(&app, &heard).await;
    })
    .await;
}

#[tokio::test]
async fn every_outcome_of_a_payment_by_rest_is_announced() {
    on_both(
        Setup::new().with("PROCESSOR_TIMEOUT", "100ms"),
        |app| async move {
            let mut results = app.results("payment.#").await;
            for (order_id, (token, status)) in (1..).zip([
                ("tok_visa", "succeeded"),
                ("tok_lost_card", "declined"),
                ("tok_issuer_down", "failed"),
            ]) {
                let id = app.api.pay(order_id, token).await;
                let heard = results.of(id).await;
                assert_eq!(heard.routing_key, format!("payment.{status}.default"));
                agrees(&app, &heard).await;
            }
            let id = app.api.create(9).await;
            app.api
                .post(&format!("/payments/{id}/cancel"), json!({}))
                .await
                .is(200);
            let heard = results.next(|_| true).await;
            assert_eq!(heard.routing_key, "payment.canceled.default");
            agrees(&app, &heard).await;
        },
    )
    .await;
}

#[tokio::test]
async fn the_trace_of_a_rest_request_reaches_its_result() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        let order = json!({
            "order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
        });
        app.api
            .post_with("/payments", &[("traceparent", TRACE)], order)
            .await
            .is(202);
        let heard = results.next(|_| true).await;
        assert_eq!(heard.body["traceparent"], TRACE);
        assert!(heard.body.get("correlationid").is_none());
    })
    .await;
}

#[tokio::test]
async fn a_request_with_direct_reply_to_gets_the_outcome() {
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let mut results = app.results("payment.#").await;
        let order = Order::paid_with("m-1", 1, "tok_insufficient_funds")
            .with(|properties| properties.correlation_id = Some("c-1".to_owned()));
        let mut replies = app.ask(order).await;
        let reply = replies.next(|_| true).await;
        assert_eq!(reply.body["type"], "payment.declined");
        assert_eq!(reply.body["data"]["decline_code"], "insufficient_funds");
        assert_eq!(reply.correlation_id.as_deref(), Some("c-1"));
        agrees(&app, &reply).await;
        assert_eq!(results.next(|_| true).await.body, reply.body);
        // A refusal is a reply, too.
        let mut replies = app.ask(Order::paid_with("m-2", 0, "tok_visa")).await;
        let reply = replies.next(|_| true).await;
        assert_eq!(reply.body["type"], "payment.request_rejected");
    })
    .await;
}

#[tokio::test]
async fn an_order_without_a_card_is_published_and_can_be_paid_later() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        let body = json!({ "order_id": 1, "user_id": 1, "total_amount": "99.53" });
        let order = Order::new("m-1", &body)
            .with(|properties| properties.correlation_id = Some("c-1".to_owned()));
        app.publish(order).await;
        let heard = results.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.requires_payment_method.default");
        assert_eq!(heard.body["correlationid"], "c-1");
        agrees(&app, &heard).await;
        let id = heard.body["data"]["payment_id"].as_i64().unwrap();
        let process = format!("/payments/{id}/process");
        app.api
            .post(&process, card("4242424242424242"))
            .await
            .is(200);
        let heard = results.of(id).await;
        assert_eq!(heard.body["type"], "payment.succeeded");
        // It is still the answer to the message that created the payment.
        assert_eq!(heard.body["correlationid"], "c-1");
    })
    .await;
}

#[tokio::test]
async fn a_card_token_from_rest_pays_an_order_by_message_even_if_that_arrives_twice() {
    on_both(Setup::new(), redelivered).await;
}

async fn redelivered(app: Arc<TestApp>) {
    let mut results = app.results("payment.#").await;
    let token = app.api.card_token("5555555555554444").await;
    let order = Order::paid_with("m-1", 1, &token);
    app.publish(order.clone()).await;
    let heard = results.next(|_| true).await;
    assert_eq!(heard.body["type"], "payment.succeeded");
    assert_eq!(heard.body["data"]["payment_method"]["last4"], "4444");
    // The token is used by now: the key is checked first.
    app.publish(order).await;
    app.publish(Order::paid_with("m-2", 2, "tok_visa")).await;
    let heard = results.next(|_| true).await;
    assert_eq!(heard.body["data"]["order_id"], 2);
    app.until_settled().await;
    assert_eq!(app.broker.depth(Queue::DeadLetters).await.unwrap(), 0);
    let paid = payment_of(&app, 1).await;
    assert_eq!(app.standing_charges(paid["id"].as_i64().unwrap()).await, 1);
}

#[tokio::test]
async fn an_order_whose_card_token_has_expired_requires_a_payment_method() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        let token = app.api.card_token("4242424242424242").await;
        app.expire_tokens().await;
        app.publish(Order::paid_with("m-1", 1, &token)).await;
        let heard = results.next(|_| true).await;
        assert_eq!(heard.body["type"], "payment.requires_payment_method");
        agrees(&app, &heard).await;
        assert_eq!(app.broker.depth(Queue::DeadLetters).await.unwrap(), 0);
    })
    .await;
}
