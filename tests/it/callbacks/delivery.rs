//! Which client gets which events, and how they are signed.

use std::collections::BTreeSet;
use std::io::Write;
use std::process::{Command, Stdio};

use serde_json::json;

use super::receiver::{Call, Receiver};
use super::{SECRET, callback, quick, told_to_the_store, with_receiver};
use crate::app::{KIOSK, STORE, Setup, clients_file, eventually, field};

/// Verifies a call with the Python code in docs/callbacks.md, an independent implementation.
fn verified_by_python(call: &Call, secret: &str) -> bool {
    let guide = include_str!("../../../docs/callbacks.md");
    let (_, rest) = guide.split_once("<!-- verify -->\n```python\n").unwrap();
    let (verify, _) = rest.split_once("```").unwrap();
    let program = format!(
        "{verify}\nimport json, sys\ncall = json.load(sys.stdin)\n\
         print(verify(call['headers'], call['body'].encode(), call['secret']))"
    );
    let headers: serde_json::Map<_, _> = call
        .headers
        .iter()
        .map(|(name, value)| (name.to_string(), value.to_str().unwrap().into()))
        .collect();
    let input = json!({ "headers": headers, "body": call.text, "secret": secret });
    let mut python = Command::new("python3")
        .args(["-c", &program])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("python3 runs: install it");
    let mut stdin = python.stdin.take().unwrap();
    stdin.write_all(input.to_string().as_bytes()).unwrap();
    drop(stdin);
    let output = python.wait_with_output().unwrap();
    assert!(output.status.success(), "python3 failed, see above");
    output.stdout == b"True\n"
}

#[tokio::test]
async fn a_client_gets_its_event_with_a_signature_that_a_standard_library_verifies() {
    with_receiver(told_to_the_store, |app, receiver| async move {
        let store = app.api.with_key(STORE.1);
        let id = store.pay(1, "tok_visa").await;
        let call = receiver.called(1).await.remove(0);
        assert_eq!(call.line, "POST /hook");
        assert_eq!(call.header("content-type"), "application/json");
        let event = call.body();
        assert_eq!(event["type"], "payment.succeeded");
        assert_eq!(event["data"], store.outcome(id).await);
        assert_eq!(event["sequence"], "0000000003");
        // The id of the event in the payment's history.
        let history = store.events(id).await;
        assert_eq!(call.header("webhook-id"), field(&history[2], "id"));
        assert_eq!(event["id"], history[2]["id"]);

        assert!(verified_by_python(&call, SECRET));
        let other = "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA";
        assert!(!verified_by_python(&call, other));
        let mut forged = call.clone();
        forged.text = forged.text.replace("succeeded", "declined");
        assert!(!verified_by_python(&forged, SECRET));
    })
    .await;
}

#[tokio::test]
async fn each_client_gets_every_outcome_of_its_own_payments_and_nothing_else() {
    with_receiver(told_to_the_store, |app, receiver| async move {
        let (store, kiosk) = (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1));
        kiosk.pay(1, "tok_visa").await;
        store.pay(2, "tok_visa").await;
        let declined = store.pay(3, "tok_generic_decline").await;
        store.outcome(declined).await;
        let cancel = format!("/payments/{declined}/cancel");
        store.post(&cancel, json!({})).await.is(200);
        let failed = store.pay(4, "tok_issuer_down").await;
        store.outcome(failed).await;
        let told: Vec<String> = receiver.called(4).await.iter().map(Call::kind).collect();
        let told: BTreeSet<&str> = told.iter().map(String::as_str).collect();
        let outcomes = ["canceled", "declined", "failed", "succeeded"];
        assert_eq!(
            told,
            outcomes
                .map(|it| format!("payment.{it}"))
                .iter()
                .map(String::as_str)
                .collect()
        );
    })
    .await;
}

/// The store asked for the events of captures and refunds as well.
fn told_of_refunds_to_the_store(receiver: &Receiver) -> Setup {
    let mut callback = callback(receiver);
    callback["events"] = json!([
        "payment.requires_capture",
        "payment.succeeded",
        "refund.succeeded",
        "refund.failed"
    ]);
    quick().with_callback(STORE, callback)
}

#[tokio::test]
async fn a_client_that_asked_for_them_gets_the_events_of_captures_and_refunds() {
    with_receiver(told_of_refunds_to_the_store, |app, receiver| async move {
        let store = app.api.with_key(STORE.1);
        let order = json!({
            "order_id": 1, "user_id": 1, "total_amount": 100, "card_token": "tok_refund_fails", "capture_method": "manual",
        });
        let id = store.post("/payments", order).await.is(202).id();
        let authorized = store.outcome(id).await;
        let call = receiver.called(1).await.remove(0);
        assert_eq!(call.kind(), "payment.requires_capture");
        assert_eq!(call.body()["data"], authorized);

        let capture = format!("/payments/{id}/capture");
        store.post(&capture, json!({"amount": 60})).await.is(202);
        let captured = store.outcome(id).await;
        let call = receiver.called(2).await.remove(1);
        assert_eq!(call.kind(), "payment.succeeded");
        assert_eq!(call.body()["data"], captured);

        // The card's bank returns the money of this refund after it has succeeded.
        let body = json!({"amount": "25.00", "reason": "damaged", "client_reference": "R-1"});
        let refunds = format!("/payments/{id}/refunds");
        let key = [("Idempotency-Key", "refund-1")];
        let refund = store.post_with(&refunds, &key, body).await.is(202);
        let mut calls = receiver.called(4).await.split_off(2);
        calls.sort_by_key(Call::sequence);
        let kinds: Vec<String> = calls.iter().map(Call::kind).collect();
        assert_eq!(kinds, ["refund.succeeded", "refund.failed"]);
        let history = store.events(id).await;
        let of_refunds = ["refund_succeeded", "refund_failed"];
        for (call, kind) in calls.iter().zip(of_refunds) {
            assert_eq!(call.line, "POST /hook");
            assert!(verified_by_python(call, SECRET));
            let event = call.body();
            let data = &event["data"];
            assert_eq!(data["refund_id"], refund["refund_id"]);
            assert_eq!(data["payment_id"], id);
            assert_eq!((&data["amount"], &data["currency"]), (&json!(25.0), &json!("CAD")));
            assert_eq!(data["reason"], "damaged");
            assert_eq!(data["client_reference"], "R-1");
            let recorded = history.iter().find(|it| it["type"] == kind).unwrap();
            assert_eq!(call.header("webhook-id"), field(recorded, "id"));
        }
        let path = format!("/refunds/{}", field(&refund.body, "refund_id"));
        assert_eq!(calls[1].body()["data"], store.get(&path).await.is(200).body);
    })
    .await;
}

#[tokio::test]
async fn callbacks_follow_changes_of_the_clients_file_while_the_service_runs() {
    with_receiver(
        |_| quick().with_clients(),
        |app, receiver| async move {
            let store = app.api.with_key(STORE.1);
            let mut wanted = callback(&receiver);
            wanted["events"] = json!(["payment.declined"]);
            wanted["secrets"] = json!([SECRET, "whsec_AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA"]);
            clients_file(app.folder(), &[(STORE.0, wanted)]);
            eventually("somebody is told", || async {
                let id = store.pay(1, "tok_generic_decline").await;
                store.outcome(id).await;
                !receiver.calls().is_empty()
            })
            .await;
            let call = receiver.calls().remove(0);
            assert_eq!(call.kind(), "payment.declined");
            // During a rotation of secrets each of the two verifies.
            assert_eq!(call.header("webhook-signature").split(' ').count(), 2);
            assert!(verified_by_python(&call, SECRET));

            clients_file(app.folder(), &[]);
            eventually("nobody is told", || async {
                app.until_settled().await;
                let before = receiver.calls().len();
                let id = store.pay(1, "tok_generic_decline").await;
                store.outcome(id).await;
                app.until_settled().await;
                receiver.calls().len() == before
            })
            .await;
        },
    )
    .await;
}
