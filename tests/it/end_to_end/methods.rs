//! `payment_method` on every way in, and which methods and cards a client may use.

use serde_json::{Value, json};

use crate::app::{KIOSK, Order, STORE, Setup, card, on_both};

fn order(number: i64, method: Value) -> Value {
    json!({"order_id": number, "user_id": 1, "total_amount": 99.53, "payment_method": method})
}

fn method(number: &str) -> Value {
    let mut method = card(number);
    method["type"] = json!("card");
    method
}

#[tokio::test]
async fn a_payment_method_pays_by_every_way_in() {
    on_both(Setup::new(), |app| async move {
        let token = json!({"type": "card", "card_token": "tok_visa_debit"});
        let own =
            json!({"type": "card", "card_token": app.api.card_token("5200828282828210").await});
        for (number, method, last4) in [
            (1, method("4000056655665556"), "5556"),
            (2, token.clone(), "5556"),
            (3, own.clone(), "8210"),
        ] {
            let created = app
                .api
                .post("/payments", order(number, method))
                .await
                .is(202);
            let paid = app.api.outcome(created.id()).await;
            assert_eq!(paid["is_paid"], true);
            assert_eq!(paid["payment_method"]["type"], "card");
            assert_eq!(paid["payment_method"]["last4"], last4);
        }
        let id = app.api.create(4).await;
        let process = format!("/payments/{id}/process");
        let used = app
            .api
            .post(&process, json!({"payment_method": own}))
            .await
            .is(422);
        assert_eq!(
            used.faults(),
            [("payment_method.card_token", "token_unusable")]
        );
        let body = json!({"payment_method": method("5105105105105100")});
        let paid = app.api.post(&process, body).await.is(200);
        assert_eq!(paid["payment_method"]["funding"], "prepaid");
        let mut results = app.results("payment.#").await;
        app.publish(Order::new("m-1", &order(5, token))).await;
        let heard = results
            .next(|heard| heard.body["data"]["order_id"] == 5)
            .await;
        assert_eq!(heard.body["data"]["payment_method"]["funding"], "debit");
    })
    .await;
}

#[tokio::test]
async fn a_key_replays_the_same_method_in_its_other_form() {
    on_both(Setup::new(), |app| async move {
        let key = [("Idempotency-Key", "one")];
        let first = order(1, method("4242424242424242"));
        let id = app.api.post_with("/payments", &key, first).await.id();
        let mut old = json!({"order_id": 1, "user_id": 1, "total_amount": 99.53});
        old["card"] = card("4242424242424242");
        let again = app.api.post_with("/payments", &key, old.clone()).await;
        assert_eq!(again.id(), id);
        assert_eq!(again.header("Idempotent-Replayed"), "true");
        old["card"] = card("5555555555554444");
        app.api.post_with("/payments", &key, old).await.is(422);
    })
    .await;
}

#[tokio::test]
async fn a_card_that_its_client_may_not_use_is_refused_by_every_way_in() {
    let setup =
        Setup::new().with_client_setting(STORE, "card_funding", json!(["debit", "prepaid"]));
    on_both(setup, |app| async move {
        let (store, kiosk) = (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1));
        let mut old = json!({"order_id": 1, "user_id": 1, "total_amount": 1});
        let id = store.create(1).await;
        let process = format!("/payments/{id}/process");
        let code = "funding_not_allowed";
        old["card"] = card("4242424242424242");
        let token = json!({"type": "card", "card_token": "tok_all_nines"});
        for (path, body, field) in [
            ("/payments", old.clone(), "card.cardNumber"),
            (
                "/payments",
                order(1, method("4242424242424242")),
                "payment_method.cardNumber",
            ),
            (
                "/payments",
                order(1, token.clone()),
                "payment_method.card_token",
            ),
            (&process, card("4111111111111111"), "cardNumber"),
            (&process, json!({"card_token": "tok_visa"}), "card_token"),
            (
                &process,
                json!({"payment_method": token}),
                "payment_method.card_token",
            ),
            ("/card-tokens", card("4242424242424242"), "cardNumber"),
        ] {
            let refused = store.post(path, body).await.is(422);
            assert_eq!(refused.faults(), [(field, code)]);
            let sentence = refused["error"].as_str().unwrap().to_owned();
            assert!(
                sentence.ends_with("it may use debit, prepaid."),
                "{sentence}"
            );
        }
        let mut results = app.results("payment.#").await;
        let by_message = |number: i64, token: &str| {
            let method = json!({"type": "card", "card_token": token});
            Order::new(&format!("m-{number}"), &order(number, method))
        };
        app.publish(by_message(2, "tok_visa")).await;
        let rejected = results.next(|_| true).await;
        assert_eq!(rejected.body["type"], "payment.request_rejected");
        assert_eq!(rejected.body["data"]["reason"], code);
        let fault = &rejected.body["data"]["errors"][0];
        assert_eq!(fault["field"], "payment_method.card_token");
        app.publish(by_message(3, "tok_visa_debit")).await;
        let paid = results.next(|_| true).await;
        assert_eq!(paid.body["type"], "payment.succeeded");
        store.post(&process, card("5105105105105100")).await.is(200);
        // The other client has no such list.
        kiosk.post("/payments", old).await.is(202);
    })
    .await;
}
