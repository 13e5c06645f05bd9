//! API keys, and that no client sees or changes payments of another.

use std::sync::Arc;

use serde_json::{Value, json};

use crate::app::{Api, KIOSK, STORE, Setup, TestApp, card, field, on_both};

#[tokio::test]
async fn without_a_known_api_key_only_the_start_page_and_health_are_served() {
    on_both(Setup::new().with_clients(), |app| async move {
        app.api.get("/").await.is(200);
        app.api.get("/health/live").await.is(200);
        for stranger in [app.api.clone(), app.api.with_key("key-of-nobody")] {
            let answers = [
                stranger.get("/payments").await,
                stranger.get("/payments/1").await,
                stranger.get("/payments/1/events").await,
                stranger.post("/payments", json!({})).await,
                stranger.post("/payments/1/process", json!({})).await,
                stranger.post("/payments/process/1", json!({})).await,
                stranger.post("/payments/1/cancel", json!({})).await,
                stranger.post("/card-tokens", json!({})).await,
            ];
            for answer in answers {
                let answer = answer.is(401);
                assert_eq!(
                    answer.header("WWW-Authenticate"),
                    "Bearer realm=\"payment-service\""
                );
                assert!(field(&answer.body, "error").contains("API key"));
            }
        }
    })
    .await;
}

#[tokio::test]
async fn a_client_can_neither_see_nor_change_payments_of_another_client() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (store, kiosk) = both(&app);
        let id = store.create(1).await;
        let path = format!("/payments/{id}");
        // The same answer as for a payment that does not exist.
        let unknown = kiosk.get("/payments/2000000000").await.is(404);
        let hidden = kiosk.get(&path).await.is(404);
        let sentence = field(&unknown.body, "error").replace("2000000000", &id.to_string());
        assert_eq!(field(&hidden.body, "error"), sentence);
        kiosk.get(&format!("{path}/events")).await.is(404);
        kiosk
            .post(&format!("{path}/cancel"), json!({}))
            .await
            .is(404);
        kiosk
            .post(&format!("{path}/process"), card("4242424242424242"))
            .await
            .is(404);
        assert_eq!(
            kiosk.get("/payments?order_id=1").await.is(200)["data"],
            json!([])
        );
        let shown = store.get(&path).await.is(200);
        assert_eq!(shown["status"], "requires_payment_method");
        assert_eq!(store.get("/payments").await["data"], json!([shown.body]));
    })
    .await;
}

#[tokio::test]
async fn idempotency_keys_belong_to_a_client() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (store, kiosk) = both(&app);
        let key = [("Idempotency-Key", "same")];
        let order = json!({ "order_id": 1, "user_id": 1, "total_amount": 1 });
        let first = store
            .post_with("/payments", &key, order.clone())
            .await
            .is(202);
        let second = kiosk.post_with("/payments", &key, order).await.is(202);
        assert_ne!(first.id(), second.id());
        assert_eq!(second.header("Idempotent-Replayed"), "");
    })
    .await;
}

#[tokio::test]
async fn only_the_client_that_created_a_card_token_can_use_it() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (store, kiosk) = both(&app);
        let token = store.card_token("4242424242424242").await;
        let order = json!({
            "order_id": 1, "user_id": 1, "total_amount": 1, "card_token": token,
        });
        let refused = kiosk.post("/payments", order).await.is(422);
        assert_eq!(refused.faults(), [("card_token", "token_unusable")]);
        // The attempt has not used it up.
        let id = store.pay(1, &token).await;
        assert_eq!(store.outcome(id).await["is_paid"], true);
    })
    .await;
}

#[tokio::test]
async fn results_go_to_the_topic_of_their_client() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (store, kiosk) = both(&app);
        let mut all = app.results("payment.#").await;
        let mut of_kiosk = app.results("payment.*.kiosk").await;
        let first = store.pay(1, "tok_visa").await;
        let heard = all.of(first).await;
        assert_eq!(heard.routing_key, "payment.succeeded.store-manager");
        let second = kiosk.pay(1, "tok_visa").await;
        let heard = of_kiosk.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.succeeded.kiosk");
        assert_eq!(
            heard.body["subject"],
            Value::from(format!("payments/{second}"))
        );
    })
    .await;
}

fn both(app: &Arc<TestApp>) -> (Api, Api) {
    (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1))
}
