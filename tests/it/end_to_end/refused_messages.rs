//! Requests by message that cannot be accepted: each becomes a masked dead letter and, if its client is known,
//! an event. None is redelivered or stays in the queue.

use std::sync::Arc;

use payment_service::broker::{Consumer, Queue};
use serde_json::{Value, json};

use crate::app::{
    Backend, KIOSK, Order, Results, STORE, Setup, TestApp, eventually, field, on_both, run_on,
};

/// Everything that a refusal creates.
struct Watch {
    app: Arc<TestApp>,
    letters: Consumer,
    results: Results,
}

impl Watch {
    async fn over(app: Arc<TestApp>) -> Self {
        let letters = app.dead_letters();
        let results = app.results("payment.request_rejected.*").await;
        Self {
            app,
            letters,
            results,
        }
    }

    /// Sends an order that is refused for this reason; returns the dead letter.
    async fn refused(&mut self, order: Order, reason: &str) -> Value {
        let message_id = order.properties.message_id.clone();
        let letter = self.refused_silently(order, reason).await;
        assert_eq!(letter["client"], STORE.0);
        let event = self.results.next(|_| true).await;
        assert_eq!(event.routing_key, "payment.request_rejected.store-manager");
        let data = &event.body["data"];
        assert_eq!(data["reason"], reason);
        assert_eq!(data["message_id"], json!(message_id));
        assert_eq!(data["error"], letter["error"]);
        assert_eq!(data["errors"], letter["errors"]);
        assert_eq!(event.body["type"], "payment.request_rejected");
        letter
    }

    /// As [`Self::refused`], if the client is unknown and cannot be informed.
    async fn refused_silently(&mut self, order: Order, reason: &str) -> Value {
        self.app.publish(order).await;
        let (letter, header) = self.app.dead_letter(&mut self.letters).await;
        assert_eq!(letter["reason"], reason);
        assert_eq!(header, reason);
        assert!(field(&letter, "error").ends_with('.'));
        letter
    }

    /// Nothing else was created.
    async fn left_nothing_else(mut self, payments: usize) {
        self.app.until_settled().await;
        assert_eq!(self.app.broker.depth(Queue::Requests).await.unwrap(), 0);
        assert!(
            self.letters.deliveries.try_recv().is_err(),
            "one dead letter too many"
        );
        let store = self.app.api.with_key(STORE.1);
        let listed = store.get("/payments").await.is(200);
        assert_eq!(listed["data"].as_array().map(Vec::len), Some(payments));
    }
}

fn body() -> Value {
    json!({ "order_id": 1, "user_id": 1, "total_amount": 99.53 })
}

fn with(name: &str, value: Value) -> Value {
    let mut body = body();
    body[name] = value;
    body
}

#[tokio::test]
async fn unreadable_messages_are_refused() {
    on_both(Setup::new().with_clients(), |app| async move {
        let mut watch = Watch::over(app).await;
        let mut order = Order::new("m-1", &Value::Null);
        order.body = "order 1, card 4242 4242 4242 4242".to_owned();
        let letter = watch.refused(order, "not_json").await;
        assert_eq!(letter["body"], "order #, card #### #### #### ####");

        let order = Order::new("", &body()).with(|properties| properties.message_id = None);
        watch.refused(order, "message_id_missing").await;
        let order = Order::new("two words", &body());
        watch.refused(order, "message_id_invalid").await;
        let order = Order::new("m-2", &body()).with_header("schema-version", "2");
        watch.refused(order, "schema_version_unknown").await;
        let order = Order::new("m-3", &with("total_amount", json!(-1)));
        let letter = watch.refused(order, "invalid").await;
        assert_eq!(letter["errors"][0]["field"], "total_amount");
        let order = Order::new("m-4", &body())
            .with(|properties| properties.reply_to = Some("kiosk.replies".to_owned()));
        watch.refused(order, "reply_to_foreign").await;
        watch.left_nothing_else(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_with_a_duplicate_key_is_refused_and_cannot_be_replayed() {
    on_both(Setup::new().with_clients(), |app| async move {
        let mut watch = Watch::over(app).await;
        for (number, (text, field)) in [
            (r#"{"order_id": 1, "order_id": 2, "user_id": 1, "total_amount": 1}"#, "order_id"),
            (r#"{"order_id": 1, "user_id": 1, "total_amount": 1, "total\u005famount": 9}"#, "total_amount"),
            (
                r#"{"order_id": 1, "user_id": 1, "total_amount": 1, "metadata": {"a": "1", "a": "2"}}"#,
                "metadata.a",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            let mut order = Order::new(&format!("m-{number}"), &Value::Null);
            order.body = text.to_owned();
            let letter = watch.refused(order, "invalid").await;
            assert_eq!(letter["errors"][0]["field"], field);
            assert_eq!(letter["errors"][0]["code"], "duplicate_field");
            assert_eq!(letter["masked"], true);
            assert!(letter["body"].is_string(), "both are shown: {letter}");
        }
        // A byte order mark at the start is accepted.
        let mut order = Order::new("m-4", &body());
        order.body.insert(0, '\u{feff}');
        watch.app.publish(order).await;
        let store = watch.app.api.with_key(STORE.1);
        eventually("it is accepted", || async {
            let listed = store.get("/payments").await.is(200);
            listed["data"].as_array().map(Vec::len) == Some(1)
        })
        .await;
        watch.left_nothing_else(1).await;
    })
    .await;
}

#[tokio::test]
async fn card_data_in_a_message_is_refused_and_masked_wherever_it_is() {
    on_both(Setup::new().with_clients(), |app| async move {
        let mut watch = Watch::over(app).await;
        let (number, code) = ("5105105105105100", "7391");
        let card = json!({ "cardNumber": number, "cardCode": code, "expirationDate": "2035-01" });
        let mut flat = body();
        for (name, value) in card.as_object().unwrap() {
            flat[name] = value.clone();
        }
        let hidden = with("metadata", json!({ "note": format!("card {number}") }));
        let numeric = with(
            "card",
            json!({ "cardNumber": 5105105105105100_i64, "cardCode": 7391 }),
        );
        let cases = [with("card", card), flat, numeric, hidden];
        for (place, body) in cases.iter().enumerate() {
            let order = Order::new(&format!("m-{place}"), body);
            let letter = watch.refused(order, "invalid").await.to_string();
            assert!(
                !letter.contains(number) && !letter.contains(code),
                "{letter}"
            );
        }
        watch.left_nothing_else(0).await;
    })
    .await;
}

#[tokio::test]
async fn used_foreign_and_unknown_card_tokens_are_refused() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (store, kiosk) = (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1));
        let mut watch = Watch::over(Arc::clone(&app)).await;
        let used_up = store.card_token("4242424242424242").await;
        let paid = store.pay(1, &used_up).await;
        store.outcome(paid).await;
        let foreign = kiosk.card_token("4242424242424242").await;
        let tokens = [used_up.as_str(), &foreign, "tok_unheard_of"];
        for (place, token) in tokens.into_iter().enumerate() {
            let order = Order::paid_with(&format!("m-{place}"), 2, token);
            watch.refused(order, "card_token_unusable").await;
        }
        watch.left_nothing_else(1).await;
        // The attempt has not used it up.
        let id = kiosk.pay(1, &foreign).await;
        assert_eq!(kiosk.outcome(id).await["is_paid"], true);
    })
    .await;
}

#[tokio::test]
async fn a_message_id_that_was_used_for_another_order_is_refused() {
    on_both(Setup::new().with_clients(), |app| async move {
        let store = app.api.with_key(STORE.1);
        let mut watch = Watch::over(app).await;
        let key = [("Idempotency-Key", "m-1")];
        store.post_with("/payments", &key, body()).await.is(202);
        let order = Order::new("m-1", &with("order_id", json!(2)));
        watch.refused(order, "message_id_reused").await;
        watch.left_nothing_else(1).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_that_names_no_client_is_refused() {
    on_both(Setup::new().with_clients(), |app| async move {
        let mut watch = Watch::over(app).await;
        let order = Order::new("m-1", &body()).with(|properties| properties.user_id = None);
        watch.refused_silently(order, "user_id_missing").await;
        watch.left_nothing_else(0).await;
    })
    .await;
}

#[tokio::test]
async fn a_message_of_an_unknown_broker_user_is_refused() {
    // RabbitMQ itself refuses a user-id that is not the login.
    run_on(
        Setup::new().with_clients(),
        Backend::Embedded,
        |app| async move {
            let mut watch = Watch::over(app).await;
            let stranger = |properties: &mut payment_service::broker::Properties| {
                properties.user_id = Some("nobody".to_owned());
            };
            let order = Order::new("m-1", &body()).with(stranger);
            watch.refused_silently(order, "client_unknown").await;
            watch.left_nothing_else(0).await;
        },
    )
    .await;
}
