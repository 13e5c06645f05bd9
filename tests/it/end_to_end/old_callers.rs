//! What callers of the service that this one replaces rely on: numbers for card data, no key, no header, and the
//! outcome in the same call.

use std::sync::Arc;

use payment_service::config::Role;
use serde_json::{Value, json};

use crate::app::{
    Backend, KIOSK, Order, STORE, Setup, TestApp, card, eventually, field, on_both, run_on,
};

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
async fn an_order_is_created_paid_in_one_call_and_shown_as_paid_at_both_addresses() {
    on_both(Setup::new(), |app| async move {
        for (order_id, old_address) in [(1, true), (2, false)] {
            let created = app.api.post("/payments", old_order(order_id)).await;
            // Existing callers read only "2xx" and payment_id, and store it in a signed 32-bit column.
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
async fn a_sum_of_binary_floats_gives_the_intended_amount() {
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
async fn another_api_instance_knows_a_payment_at_once_and_is_notified_of_its_outcome() {
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

/// Store Manager keeps its orders in Redis, where everything is text.
#[tokio::test]
async fn an_order_with_numbers_as_text_is_the_same_by_rest_and_by_message() {
    on_both(Setup::new(), |app| async move {
        let texts = json!({ "user_id": "1", "order_id": "7", "total_amount": "71.0", "card_token": "tok_visa" });
        let numbers = json!({ "user_id": 1, "order_id": 7, "total_amount": 71, "card_token": "tok_visa" });
        let key = [("Idempotency-Key", "order-7")];
        let made = app.api.post_with("/payments", &key, texts.clone()).await.is(202);
        let again = app.api.post_with("/payments", &key, numbers.clone()).await;
        assert_eq!(again.id(), made.id());
        assert_eq!(again.header("idempotent-replayed"), "true");
        app.publish(Order::new("order-7", &texts)).await;
        app.publish(Order::new("order-8", &texts)).await;
        app.publish(Order::new("order-8", &numbers)).await;
        let paid_twice = || async {
            let listed = app.api.get("/payments?order_id=7&status=succeeded").await.is(200);
            listed["data"].as_array().unwrap().len() == 2
        };
        eventually("both payments are paid", paid_twice).await;
        app.until_settled().await;
        let listed = app.api.get("/payments?order_id=7").await.is(200);
        assert_eq!(listed["data"].as_array().unwrap().len(), 2, "{}", listed.body);
        for payment in listed["data"].as_array().unwrap() {
            assert_eq!(payment["order_id"], 7);
            assert_eq!(payment["user_id"], 1);
            assert_eq!(payment["total_amount"], 71.0);
        }
        for wrong in ["01", "+1", " 1", "1 ", "1.0", "", "\u{ff11}"] {
            let order = json!({ "user_id": wrong, "order_id": 7, "total_amount": 71 });
            let refused = app.api.post("/payments", order).await.is(422);
            assert_eq!(refused.faults(), [("user_id", "wrong_type")], "{wrong}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_create_without_a_card_can_be_answered_with_201_for_gateways_without_202() {
    run_on(
        Setup::new().with("CREATED_STATUS", "201"),
        Backend::Embedded,
        |app| async move {
            let id = app.api.post("/payments", old_order(1)).await.is(201).id();
            let paid = app
                .api
                .post(&format!("/payments/process/{id}"), old_card())
                .await
                .is(200);
            assert_eq!(paid["is_paid"], true);
            app.api.pay(2, "tok_visa").await;
        },
    )
    .await;
}

#[tokio::test]
async fn unknown_fields_of_a_lenient_client_are_accepted_and_not_stored() {
    let setup = Setup::new().with_client_setting(STORE, "unknown_fields", json!("ignore"));
    on_both(setup, |app| async move {
        let mut order = old_order(9);
        order["items"] = json!([{ "sku": "x", "payment": { "pan": "4242424242424242" } }]);
        order["cart"] = json!("4242 4242 4242 4242");
        // By REST: not through the check against the description, which forbids what this client may send.
        let send = |key: &'static str| {
            let api = app.api.with_key(key);
            api.request(reqwest::Method::POST, "/payments")
                .json(&order)
                .send()
        };
        assert_eq!(send(STORE.1).await.unwrap().status(), 202);
        assert_eq!(send(KIOSK.1).await.unwrap().status(), 422);
        app.publish(Order::new("m-9", &order)).await;
        let store = app.api.with_key(STORE.1);
        eventually("the order by message is accepted", || async {
            let listed = store.get("/payments?order_id=9").await;
            listed["data"].as_array().unwrap().len() == 2
        })
        .await;
        let listed = store.get("/payments?order_id=9").await.is(200);
        assert!(!listed.body.to_string().contains("4242"), "{}", listed.body);
        // Fields that it relies on are not dropped.
        let mut letters = app.dead_letters();
        order["currancy"] = json!("USD");
        app.publish(Order::new("m-10", &order)).await;
        let (letter, _) = app.dead_letter(&mut letters).await;
        assert_eq!(letter["errors"][0]["field"], "currancy", "{letter}");
        assert!(!letter.to_string().contains("4242"), "{letter}");
    })
    .await;
}

/// The notations of a month by people and browsers, wherever a card is accepted.
#[tokio::test]
async fn an_expiry_month_may_be_written_in_common_notations() {
    run_on(Setup::new(), Backend::Embedded, |app| async move {
        for (order_id, month) in
            (1..).zip(["1/35", "0135", "01-35", "1/2035", "203501", " 01 / 35 "])
        {
            let mut written = card("4242\u{a0}4242\u{a0}4242\u{a0}4242");
            written["expirationDate"] = json!(month);
            let id = app.api.create(order_id).await;
            let paid = app
                .api
                .post(&format!("/payments/{id}/process"), written.clone())
                .await
                .is(200);
            assert_eq!(paid["payment_method"]["expiration"], "2035-01", "{month}");
            app.api.post("/card-tokens", written).await.is(201);
        }
    })
    .await;
}
