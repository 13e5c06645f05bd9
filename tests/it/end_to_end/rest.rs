//! The operations on a payment over HTTP.

use serde_json::{Value, json};

use crate::app::{Setup, card, field, on_both};

fn order(order_id: i64, card: Value) -> Value {
    json!({ "order_id": order_id, "user_id": 7, "total_amount": 99.53, "card": card })
}

/// The fields of a payment, which are always present.
const FIELDS: [&str; 24] = [
    "amount_captured",
    "amount_refunded",
    "attempt",
    "authorization_code",
    "cancellation_reason",
    "capture_before",
    "capture_method",
    "created_at",
    "currency",
    "decline_code",
    "disputed",
    "id",
    "is_paid",
    "metadata",
    "next_action",
    "operation",
    "order_id",
    "payment_id",
    "payment_method",
    "return_url",
    "status",
    "total_amount",
    "updated_at",
    "user_id",
];

#[tokio::test]
async fn a_payment_with_a_card_is_answered_with_202_and_a_location() {
    on_both(Setup::new(), |app| async move {
        let created = app
            .api
            .post("/payments", order(1, card("4242424242424242")))
            .await
            .is(202);
        let id = created.id();
        assert_eq!(created.header("Location"), format!("/payments/{id}"));
        assert_eq!(created.header("Retry-After"), "1");
        assert_eq!(created.header("Cache-Control"), "no-store");
        assert_eq!(created["status"], "processing");
        let mut fields: Vec<&str> = created
            .body
            .as_object()
            .unwrap()
            .keys()
            .map(|k| &**k)
            .collect();
        fields.sort_unstable();
        assert_eq!(fields, FIELDS);

        let shown = app.api.outcome(id).await;
        assert_eq!(shown["status"], "succeeded");
        assert_eq!(shown["is_paid"], true);
        assert_eq!(shown["decline_code"], Value::Null);
        assert!(!field(&shown, "authorization_code").is_empty());
        assert_eq!(shown["currency"], "CAD");
        assert_eq!(shown["attempt"], 1);
        let method = json!({
            "type": "card", "brand": "visa", "last4": "4242", "expiration": "2035-01", "funding": "credit",
        });
        assert_eq!(shown["payment_method"], method);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_prefers_to_wait_gets_the_outcome_with_200() {
    on_both(Setup::new(), |app| async move {
        let wait = [("Prefer", "wait=10")];
        let body = order(1, card("4242424242424242"));
        let paid = app.api.post_with("/payments", &wait, body).await.is(200);
        assert_eq!(paid["is_paid"], true);
        assert_eq!(paid.header("Preference-Applied"), "wait=10");
        assert_eq!(paid.header("Retry-After"), "");
        // A decline is an outcome, not an error.
        let body = order(2, card("4000000000009995"));
        let declined = app.api.post_with("/payments", &wait, body).await.is(200);
        assert_eq!(declined["status"], "declined");
        assert_eq!(declined["is_paid"], false);
        assert_eq!(declined["decline_code"], "insufficient_funds");
        // Without a card there is no outcome to wait for.
        let body = order(3, Value::Null);
        let open = app.api.post_with("/payments", &wait, body).await.is(202);
        assert_eq!(open["status"], "requires_payment_method");
    })
    .await;
}

#[tokio::test]
async fn process_answers_at_once_if_the_caller_prefers_that() {
    // An issuer that is slow enough to see the state in between.
    let setup = Setup::new().with("PROCESSOR_TIMEOUT", "5s");
    on_both(setup, |app| async move {
        let id = app.api.create(1).await;
        let process = format!("/payments/{id}/process");
        let slow = card("4000009900000509");
        let prefer = [("Prefer", "respond-async")];
        let started = app.api.post_with(&process, &prefer, slow).await.is(202);
        assert_eq!(started["status"], "processing");
        assert_eq!(started.header("Preference-Applied"), "respond-async");
        assert_eq!(started.header("Location"), format!("/payments/{id}"));

        // Another card changes nothing while the first one is being authorized.
        let other = app
            .api
            .post(&process, card("5555555555554444"))
            .await
            .is(202);
        assert_eq!(other["payment_method"]["brand"], "visa");
        let cancel = app
            .api
            .post(&format!("/payments/{id}/cancel"), json!({}))
            .await;
        assert!(field(&cancel.is(409).body, "error").contains("being processed"));
        // The wait of a GET ends with the outcome.
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
        assert_eq!(app.ledger(id).await.len(), 1);
    })
    .await;
}

#[tokio::test]
async fn a_succeeded_payment_does_not_change() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.pay(1, "tok_visa").await;
        let paid = app.api.outcome(id).await;
        let process = format!("/payments/{id}/process");
        let again = app
            .api
            .post(&process, card("4000000000000002"))
            .await
            .is(200);
        assert_eq!(again.body, paid);
        let cancel = app
            .api
            .post(&format!("/payments/{id}/cancel"), json!({}))
            .await;
        assert!(field(&cancel.is(409).body, "error").contains("succeeded"));
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_declined_payment_succeeds_with_another_card() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.create(1).await;
        let process = format!("/payments/{id}/process");
        let declined = app
            .api
            .post(&process, card("4000000000009987"))
            .await
            .is(200);
        assert_eq!(declined["decline_code"], "lost_card");
        assert_eq!(declined["attempt"], 1);
        let paid = app
            .api
            .post(&process, card("5555555555554444"))
            .await
            .is(200);
        assert_eq!(paid["is_paid"], true);
        assert_eq!(paid["attempt"], 2);
        assert_eq!(paid["decline_code"], Value::Null);
        assert_eq!(paid["payment_method"]["brand"], "mastercard");
        let history = app.api.history(id).await;
        let expected = [
            "accepted",
            "attempt_started",
            "declined",
            "attempt_started",
            "succeeded",
        ];
        assert_eq!(history, expected);
        assert_eq!(app.standing_charges(id).await, 1);
    })
    .await;
}

#[tokio::test]
async fn a_canceled_payment_stays_canceled_and_accepts_no_card() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.create(1).await;
        let cancel = format!("/payments/{id}/cancel");
        let canceled = app.api.post(&cancel, json!({})).await.is(200);
        assert_eq!(canceled["status"], "canceled");
        let again = app.api.post(&cancel, json!({})).await.is(200);
        assert_eq!(again.body, canceled.body);
        let process = format!("/payments/{id}/process");
        let refused = app
            .api
            .post(&process, card("4242424242424242"))
            .await
            .is(409);
        assert!(field(&refused.body, "error").contains("canceled"));
        assert_eq!(app.api.history(id).await, ["accepted", "canceled"]);
        app.api
            .post("/payments/2000000000/cancel", json!({}))
            .await
            .is(404);
    })
    .await;
}
