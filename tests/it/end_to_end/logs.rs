//! What a process logs at `info`: one line for each outcome and for each refusal, with the ids to find them by.

use std::path::Path;

use reqwest::Method;
use serde_json::{Value, json};

use super::processes::PROGRAM;
use crate::app::{Api, card, eventually, field};
use crate::support::process::{Process, Settings};

const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// The lines of a log in JSON; one that is still being written is left out.
fn lines(log: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(log).unwrap_or_default();
    let whole = text.rfind('\n').map_or("", |end| &text[..end]);
    let read = whole.lines().map(serde_json::from_str);
    read.collect::<Result<_, _>>()
        .unwrap_or_else(|error| panic!("{error}: {text}"))
}

fn with_body(log: &Path, body: &str) -> Vec<Value> {
    let mut lines = lines(log);
    lines.retain(|line| line["body"] == body);
    lines
}

fn outcomes(log: &Path) -> Vec<Value> {
    with_body(log, "a payment has an outcome")
}

#[tokio::test]
async fn each_outcome_of_a_payment_and_of_a_refund_is_one_line() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let settings = Settings::embedded(folder.path())
        .with("LOG", "info")
        .with("LOG_FORMAT", "json")
        .with("RETRY_INITIAL", "20ms")
        .with_log(&log);
    let mut service = Process::start(PROGRAM, "", &settings).await;
    let api = Api::new(service.api);
    let traceparent = format!("00-{TRACE}-00f067aa0ba902b7-01");
    let order = json!({"order_id": 1, "user_id": 1, "total_amount": 5, "card_token": "tok_visa"});
    let headers = [("traceparent", traceparent.as_str()), ("Prefer", "wait=20")];
    let paid = api
        .post_with("/payments", &headers, order)
        .await
        .is(200)
        .id();
    let tried_again = api.pay(2, "tok_issuer_down_2").await;
    let declined = api.pay(3, "tok_insufficient_funds").await;
    for id in [tried_again, declined] {
        api.outcome(id).await;
    }
    // Another card, then a card number instead of an order's number, then a cancellation.
    api.post(
        &format!("/payments/{declined}/process"),
        card("4242424242424242"),
    )
    .await
    .is(200);
    let strange = api.pay(4_242_424_242_424_242, "tok_generic_decline").await;
    api.outcome(strange).await;
    api.post(&format!("/payments/{strange}/cancel"), json!({}))
        .await
        .is(200);
    let key = [
        ("Idempotency-Key", "refund"),
        ("traceparent", traceparent.as_str()),
    ];
    api.post_with(&format!("/payments/{paid}/refunds"), &key, json!({}))
        .await
        .is(202);
    eventually("the lines are written", || async {
        outcomes(&log).len() >= 6 && !with_body(&log, "a refund has an outcome").is_empty()
    })
    .await;
    assert!(service.stop());

    let of = |id: i64| {
        let mut of: Vec<Value> = outcomes(&log);
        of.retain(|line| line["payment.id"] == id);
        of
    };
    let [line] = &of(paid)[..] else {
        panic!("{:?}", of(paid))
    };
    assert_eq!(
        (
            &line["severity"],
            &line["payment.status"],
            &line["trace_id"]
        ),
        (&json!("INFO"), &json!("succeeded"), &json!(TRACE))
    );
    assert_eq!(
        (
            &line["payment.order_id"],
            &line["payment.client"],
            &line["payment.attempt"]
        ),
        (&json!(1), &json!("default"), &json!(1))
    );
    assert!(line["duration_ms"].as_u64().unwrap() < 60_000, "{line}");
    assert_eq!(line.get("payment.reason"), None);
    assert_eq!(of(tried_again).len(), 1, "tries are no outcomes");
    let statuses = |id| {
        let lines = of(id);
        let texts = lines
            .iter()
            .map(|line| field(line, "payment.status").to_owned());
        texts.collect::<Vec<_>>()
    };
    assert_eq!(statuses(declined), ["declined", "succeeded"]);
    assert_eq!(of(declined)[0]["payment.reason"], "insufficient_funds");
    assert_eq!(of(declined)[1]["payment.attempt"], 2);
    assert_eq!(statuses(strange), ["declined", "canceled"]);
    assert_eq!(of(strange)[0].get("payment.order_id"), None);
    let refunds = with_body(&log, "a refund has an outcome");
    let [refund] = &refunds[..] else {
        panic!("{refunds:?}")
    };
    assert_eq!(
        (
            &refund["payment.id"],
            &refund["refund.status"],
            &refund["trace_id"]
        ),
        (&json!(paid), &json!("succeeded"), &json!(TRACE))
    );
    let text = std::fs::read_to_string(&log).unwrap();
    assert!(!text.contains("4242424242424242"));
}

#[tokio::test]
async fn a_refusal_is_one_line_with_the_request_id_that_its_answer_has() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let settings = Settings::embedded(folder.path())
        .with("LOG", "info")
        .with("LOG_FORMAT", "json")
        .with_log(&log);
    let mut service = Process::start(PROGRAM, "", &settings).await;
    let api = Api::new(service.api);
    let given = [("X-Request-Id", "checkout-7"), ("Prefer", "wait=20")];
    let order = json!({"order_id": 1, "user_id": 1, "total_amount": 5, "card_token": "tok_visa"});
    let answer = api.post_with("/payments", &given, order).await.is(200);
    assert_eq!(answer.header("x-request-id"), "checkout-7");
    let id = answer.id();

    let wrong = json!({"order_id": "one", "user_id": 1, "total_amount": 0});
    let refused = api.post_with("/payments", &given, wrong).await.is(422);
    assert_eq!(refused.header("x-request-id"), "checkout-7");
    let path = format!("/payments/{id}/cancel");
    let refused = api.post(&path, json!({})).await.is(409);
    let made = refused.header("x-request-id").to_owned();
    assert!(uuid::Uuid::parse_str(&made).is_ok(), "{made}");
    let number = [("X-Request-Id", "order-4242424242424242")];
    let request = api.request(Method::GET, "/payments/999");
    let masked = api
        .send(request.header(number[0].0, number[0].1))
        .await
        .is(404);
    assert_eq!(masked.header("x-request-id"), "[masked]");
    // Nobody's request: not at `info`.
    let unknown = api.get("/nothing").await.is(404);
    assert!(!unknown.header("x-request-id").is_empty());
    assert!(service.stop());

    let refusals = with_body(&log, "a request was refused");
    let [invalid, conflict, missing] = &refusals[..] else {
        panic!("{refusals:#?}")
    };
    assert_eq!(invalid["http.request.id"], "checkout-7");
    assert_eq!(invalid["error.type"], "invalid-fields");
    assert_eq!(invalid["error.fields"], "order_id, total_amount");
    assert_eq!(invalid["payment.client"], "default");
    assert_eq!(invalid["http.route"], "/payments");
    assert_eq!(invalid["http.request.method"], "POST");
    assert_eq!(invalid["http.response.status_code"], 422);
    assert_eq!(conflict["http.request.id"], made);
    assert_eq!(conflict["payment.id"], id);
    assert_eq!(missing["http.request.id"], "[masked]");
    assert_eq!(missing["error.type"], "not-found");
    assert!(
        !std::fs::read_to_string(&log)
            .unwrap()
            .contains("4242424242424242")
    );
}
