//! Card tokens: for one payment, for one client, for a quarter of an hour.

use serde_json::json;

use crate::app::{Setup, card, field, on_both};

#[tokio::test]
async fn a_card_token_reveals_only_the_card_summary() {
    on_both(Setup::new(), |app| async move {
        let made = app
            .api
            .post("/card-tokens", card("5555555555554444"))
            .await
            .is(201);
        let token = field(&made.body, "card_token");
        assert!(token.starts_with("tok_") && token.len() == 36, "{token}");
        assert_eq!(made["brand"], "mastercard");
        assert_eq!(made["last4"], "4444");
        assert_eq!(made["funding"], "credit");
        assert!(field(&made.body, "expires_at").ends_with('Z'));
        assert_eq!(made.body.as_object().unwrap().len(), 5);
    })
    .await;
}

#[tokio::test]
async fn a_payment_shows_what_stands_behind_its_card() {
    on_both(Setup::new(), |app| async move {
        for (order, token, funding) in [
            (1, "tok_visa", "credit"),
            (2, "tok_visa_debit", "debit"),
            (3, "tok_mastercard_debit", "debit"),
            (4, "tok_mastercard_prepaid", "prepaid"),
            (5, "tok_all_nines", "unknown"),
        ] {
            let id = app.api.pay(order, token).await;
            let paid = app.api.outcome(id).await;
            assert_eq!(paid["payment_method"]["funding"], funding, "{token}");
            assert_eq!(paid["is_paid"], true, "{token}");
        }
        let prepaid = app.api.card_token("5105105105105100").await;
        let id = app.api.pay(6, &prepaid).await;
        let paid = app.api.outcome(id).await;
        assert_eq!(paid["payment_method"]["funding"], "prepaid");
    })
    .await;
}

#[tokio::test]
async fn a_card_token_pays_once() {
    on_both(Setup::new(), |app| async move {
        let token = app.api.card_token("5555555555554444").await;
        let first = app.api.pay(1, &token).await;
        assert_eq!(
            app.api.outcome(first).await["payment_method"]["last4"],
            "4444"
        );
        let order = json!({
            "order_id": 2, "user_id": 1, "total_amount": 99.53, "card_token": token,
        });
        let refused = app.api.post("/payments", order).await.is(422);
        assert_eq!(refused.faults(), [("card_token", "token_unusable")]);
        // Not by message either, and the payment still waits for a card.
        let second = app.api.create(3).await;
        let process = format!("/payments/{second}/process");
        let body = json!({ "card_token": token });
        let refused = app.api.post(&process, body).await.is(422);
        assert_eq!(refused.faults(), [("card_token", "token_unusable")]);
        let shown = app.api.get(&format!("/payments/{second}")).await;
        assert_eq!(shown["status"], "requires_payment_method");
        // A fresh one pays it.
        let body = json!({ "card_token": app.api.card_token("4242424242424242").await });
        assert_eq!(app.api.post(&process, body).await.is(200)["is_paid"], true);
    })
    .await;
}

#[tokio::test]
async fn one_of_several_concurrent_requests_gets_the_card_token() {
    on_both(Setup::new(), |app| async move {
        let token = app.api.card_token("4242424242424242").await;
        let requests = (1..=10).map(|order_id| {
            let order = json!({
                "order_id": order_id, "user_id": 1, "total_amount": 99.53, "card_token": token,
            });
            app.api.post("/payments", order)
        });
        let answers = futures::future::join_all(requests).await;
        let mut statuses: Vec<u16> = answers.iter().map(|answer| answer.status).collect();
        statuses.sort_unstable();
        assert_eq!(statuses, [202, 422, 422, 422, 422, 422, 422, 422, 422, 422]);
    })
    .await;
}

#[tokio::test]
async fn an_expired_card_token_is_refused_and_says_so() {
    on_both(Setup::new(), |app| async move {
        let token = app.api.card_token("4242424242424242").await;
        app.expire_tokens().await;
        let order = json!({
            "order_id": 1, "user_id": 1, "total_amount": 99.53, "card_token": token,
        });
        let refused = app.api.post("/payments", order).await.is(422);
        assert_eq!(refused.faults(), [("card_token", "token_expired")]);
        assert!(field(&refused.body, "error").contains("expired"));
    })
    .await;
}
