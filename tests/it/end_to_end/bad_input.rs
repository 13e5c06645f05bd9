//! Bad input: every invalid field is named, as problem details; bad but possible cards are declines.

use serde_json::{Value, json};

use crate::app::{Answer, Api, Setup, card, field, on_both};

fn order() -> Value {
    json!({ "order_id": 1, "user_id": 1, "total_amount": 99.53 })
}

fn with(mut order: Value, name: &str, value: Value) -> Value {
    order[name] = value;
    order
}

/// The members of RFC 9457 and those of this service.
#[track_caller]
fn is_problem(answer: &Answer) {
    assert_eq!(answer.header("Content-Type"), "application/problem+json");
    let body = &answer.body;
    assert!(field(body, "type").starts_with("urn:problem-type:payment-service:"));
    assert!(!field(body, "title").is_empty());
    assert_eq!(body["status"], answer.status);
    assert_eq!(body["detail"], body["error"]);
    assert!(body["errors"].is_array());
}

async fn refused(api: &Api, path: &str, body: Value, expected: &[(&str, &str)]) {
    let shown = body.to_string();
    let answer = api.post(path, body).await.is(422);
    is_problem(&answer);
    assert_eq!(answer.faults(), expected, "{shown}");
}

#[tokio::test]
async fn each_invalid_amount_is_refused_with_its_reason() {
    on_both(Setup::new(), |app| async move {
        for (amount, code) in [
            (Value::Null, "missing"),
            (json!(true), "wrong_type"),
            (json!([1]), "wrong_type"),
            (json!("ten"), "not_a_number"),
            (json!(""), "not_a_number"),
            (json!("NaN"), "not_a_number"),
            (json!(-1), "not_positive"),
            (json!(0), "not_positive"),
            (json!("-0.00"), "not_positive"),
            (json!(1e30), "too_large"),
            (json!("99999999999999999999"), "too_large"),
            (json!(99.535), "too_precise"),
            (json!("99.5300001"), "too_precise"),
        ] {
            let body = with(order(), "total_amount", amount);
            refused(&app.api, "/payments", body, &[("total_amount", code)]).await;
        }
        let yen = with(order(), "currency", json!("JPY"));
        refused(
            &app.api,
            "/payments",
            yen,
            &[("total_amount", "too_precise")],
        )
        .await;
        for currency in [json!("XXX1"), json!("cad"), json!("")] {
            let body = with(order(), "currency", currency);
            refused(
                &app.api,
                "/payments",
                body,
                &[("currency", "unknown_currency")],
            )
            .await;
        }
    })
    .await;
}

#[tokio::test]
async fn impossible_cards_are_refused_wherever_a_card_is_accepted() {
    on_both(Setup::new(), |app| async move {
        let number = "invalid_card_number";
        let cases = [
            ("cardNumber", json!("4242abcd42424242"), number),
            ("cardNumber", json!("42424242424"), number),
            ("cardNumber", json!("42424242424242424242"), number),
            ("cardNumber", json!(4242.5), "wrong_type"),
            ("cardCode", json!("12"), "invalid_card_code"),
            ("cardCode", json!("12345"), "invalid_card_code"),
            (
                "expirationDate",
                json!("2035-13"),
                "invalid_expiration_date",
            ),
            (
                "expirationDate",
                json!("2035-02-30"),
                "invalid_expiration_date",
            ),
            ("expirationDate", json!("soon"), "invalid_expiration_date"),
            ("expirationDate", json!("2099-01"), "too_far_ahead"),
            ("expirationDate", json!(2035), "wrong_type"),
            ("cardNumber", Value::Null, "missing"),
        ];
        let id = app.api.create(1).await;
        for (name, value, code) in cases {
            let impossible = with(card("4242424242424242"), name, value);
            for path in ["/card-tokens", &format!("/payments/{id}/process")] {
                refused(&app.api, path, impossible.clone(), &[(name, code)]).await;
            }
            let inside = format!("card.{name}");
            let body = with(order(), "card", impossible);
            refused(&app.api, "/payments", body, &[(&inside, code)]).await;
        }
        let shown = app.api.get(&format!("/payments/{id}")).await;
        assert_eq!(shown["status"], "requires_payment_method");
    })
    .await;
}

#[tokio::test]
async fn all_errors_of_a_request_are_listed_together() {
    on_both(Setup::new(), |app| async move {
        let body = json!({
            "order_id": "one", "user_id": 0, "total_amount": -5, "currency": "ABC", "colour": "red",
            "card": { "cardNumber": "1", "expirationDate": "2035-01" }, "card_token": "tok_visa",
            "metadata": { "note": 1 },
        });
        let expected = [
            ("card.cardCode", "missing"),
            ("card.cardNumber", "invalid_card_number"),
            ("card_token", "conflicting_fields"),
            ("colour", "unknown_field"),
            ("currency", "unknown_currency"),
            ("metadata.note", "wrong_type"),
            ("order_id", "wrong_type"),
            ("total_amount", "not_positive"),
            ("user_id", "not_positive"),
        ];
        refused(&app.api, "/payments", body, &expected).await;
        let missing = [
            ("order_id", "missing"),
            ("total_amount", "missing"),
            ("user_id", "missing"),
        ];
        refused(&app.api, "/payments", json!({}), &missing).await;
        refused(&app.api, "/payments", json!([]), &[("", "wrong_type")]).await;
        assert_eq!(app.api.get("/payments").await["data"], json!([]));
    })
    .await;
}

#[tokio::test]
async fn valid_test_cards_for_declines_are_declined_with_their_reason() {
    on_both(Setup::new(), |app| async move {
        for (order_id, (number, expiration, code)) in (1..).zip([
            ("4111111111111112", "2035-01", "incorrect_number"),
            ("4242424242424242", "2020-01", "expired_card"),
            ("4000000000000127", "2035-01", "incorrect_cvc"),
            ("4100000000000019", "2035-01", "fraudulent"),
        ]) {
            let mut body = order();
            body["order_id"] = json!(order_id);
            body["card"] = with(card(number), "expirationDate", json!(expiration));
            let wait = [("Prefer", "wait=10")];
            let declined = app.api.post_with("/payments", &wait, body).await.is(200);
            assert_eq!(declined["status"], "declined");
            assert_eq!(declined["decline_code"], code);
            assert_eq!(app.ledger(declined.id()).await, []);
        }
    })
    .await;
}

#[tokio::test]
async fn bodies_that_cannot_be_read_are_refused_before_their_fields() {
    on_both(Setup::new(), |app| async move {
        let send = |media_type: &'static str, body: String| {
            let request = app.api.request(reqwest::Method::POST, "/payments");
            app.api
                .send(request.header("Content-Type", media_type).body(body))
        };
        let whole = order().to_string();
        let filled = with(order(), "metadata", json!({ "note": "x".repeat(70_000) })).to_string();
        for (media_type, body, status) in [
            ("application/json", "{\"order_id\": 1,".to_owned(), 400),
            ("application/json", String::new(), 400),
            ("application/json", "\u{0}".to_owned(), 400),
            ("text/plain", whole.clone(), 415),
            (
                "application/x-www-form-urlencoded",
                "order_id=1".to_owned(),
                415,
            ),
            ("application/json", filled, 413),
        ] {
            is_problem(&send(media_type, body).await.is(status));
        }
        send("application/json; charset=utf-8", whole).await.is(202);
        let request = app.api.request(reqwest::Method::DELETE, "/payments");
        let answer = app.api.send(request).await.is(405);
        is_problem(&answer);
        let mut allowed: Vec<&str> = answer.header("Allow").split(',').collect();
        allowed.sort_unstable();
        assert_eq!(allowed, ["GET", "HEAD", "POST"]);
        let wrong_key = [("Idempotency-Key", "two words")];
        let answer = app
            .api
            .post_with("/payments", &wrong_key, order())
            .await
            .is(400);
        assert_eq!(
            answer.faults(),
            [("Idempotency-Key", "invalid_idempotency_key")]
        );
    })
    .await;
}
