//! The contract of the callers of the service that this one succeeds: numbers for card data, no key, no header, and an
//! outcome in the same call.

use std::sync::Arc;

use payment_service::config::Role;
use serde_json::{Value, json};

use crate::app::{Backend, Setup, TestApp, field, on_both, run_on};

/// What an old caller sends when the shopper pays: numbers, and a card number whose check digit is wrong.
fn old_card() -> Value {
    json!({ "cardNumber": 9999999999999_i64, "cardCode": 123, "expirationDate": "2030-01-05" })
}

fn old_order(order_id: i64) -> Value {
    json!({ "user_id": 1, "order_id": order_id, "total_amount": 99.53 })
}

#[tokio::test]
async fn the_start_page_says_that_the_service_is_running() {
    on_both(Setup::new(), |app| async move {
        let answer = app.api.get("/").await.is(200);
        assert!(!field(&answer.body, "service").is_empty());
        assert_eq!(answer["status"], "running");
    })
    .await;
}

#[tokio::test]
async fn an_order_is_delegated_paid_in_one_call_and_shown_as_paid_at_both_addresses() {
    on_both(Setup::new(), |app| async move {
        for (order_id, old_address) in [(1, true), (2, false)] {
            let created = app.api.post("/payments", old_order(order_id)).await;
            // Old callers look at "2xx" and payment_id alone, and keep it in a signed 32-bit column.
            assert!((200..300).contains(&created.status), "{}", created.body);
            let id = i32::try_from(created.id()).expect("fits an INT column");

            let before = app.api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(before["id"], id);
            assert_eq!(before["order_id"], order_id);
            assert_eq!(before["user_id"], 1);
            assert_eq!(before["total_amount"], 99.53);
            assert_eq!(before["is_paid"], false);

            let address = if old_address {
                format!("/payments/process/{id}")
            } else {
                format!("/payments/{id}/process")
            };
            let paid = app.api.post(&address, old_card()).await.is(200);
            assert_eq!(paid["order_id"], order_id);
            assert_eq!(paid["payment_id"], id);
            assert_eq!(paid["is_paid"], true);

            let after = app.api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(after["is_paid"], true);
            assert_eq!(after["total_amount"], 99.53);
        }
    })
    .await;
}

#[tokio::test]
async fn a_sum_of_binary_floats_is_the_amount_that_was_meant() {
    on_both(Setup::new(), |app| async move {
        let mut order = old_order(1);
        order["total_amount"] = json!(13999.930000000002_f64);
        let id = app.api.post("/payments", order).await.is(202).id();
        let shown = app.api.get(&format!("/payments/{id}")).await.is(200);
        assert_eq!(shown["total_amount"], 13999.93);
    })
    .await;
}

#[tokio::test]
async fn every_refusal_has_one_plain_sentence_under_error() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.create(1).await;
        let refusals = [
            app.api.get("/payments/2000000000").await.is(404),
            app.api.get("/payments/abc").await.is(404),
            app.api.get("/nowhere").await.is(404),
            app.api
                .post("/payments/process/2000000000", old_card())
                .await
                .is(404),
            app.api
                .post("/payments", json!({ "order_id": 1 }))
                .await
                .is(422),
            app.api
                .post(&format!("/payments/process/{id}"), json!({}))
                .await
                .is(422),
        ];
        for refusal in refusals {
            assert!(
                field(&refusal.body, "error").ends_with('.'),
                "{}",
                refusal.body
            );
        }
    })
    .await;
}

#[tokio::test]
async fn a_status_read_right_after_the_202_is_never_404() {
    on_both(Setup::new(), read_at_once).await;
}

async fn read_at_once(app: Arc<TestApp>) {
    for order_id in 1..=20 {
        let id = app
            .api
            .post("/payments", old_order(order_id))
            .await
            .is(202)
            .id();
        app.api.get(&format!("/payments/{id}")).await.is(200);
    }
}

#[tokio::test]
async fn another_api_instance_knows_a_payment_at_once_and_is_woken_by_its_outcome() {
    run_on(Setup::new(), Backend::Servers, |app| async move {
        let second = app.another(Role::Api).await;
        for order_id in 1..=20 {
            let id = app
                .api
                .post("/payments", old_order(order_id))
                .await
                .is(202)
                .id();
            let path = format!("/payments/{id}");
            second.get(&path).await.is(200);
            let paid = second
                .post(&format!("/payments/process/{id}"), old_card())
                .await;
            assert_eq!(paid.is(200)["is_paid"], true);
            assert_eq!(app.api.get(&path).await.is(200)["is_paid"], true);
        }
    })
    .await;
}
