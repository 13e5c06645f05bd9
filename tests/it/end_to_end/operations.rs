//! What follows an authorization: capture, void, refund, expiry.

use std::sync::Arc;

use futures::future::join_all;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{
    Answer, Api, Backend, KIOSK, Order, STORE, Setup, TestApp, eventually, field, on_both, run_on,
};

/// Short delays between tries.
fn quick() -> Setup {
    Setup::new()
        .with("RETRY_INITIAL", "50ms")
        .with("PROCESSOR_TIMEOUT", "500ms")
}

/// A payment that is authorized with this test token, and captured later.
async fn authorized(api: &Api, token: &str) -> i64 {
    let order = json!({
        "order_id": 1, "user_id": 1, "total_amount": 100, "card_token": token, "capture_method": "manual",
    });
    let id = api.post("/payments", order).await.is(202).id();
    assert_eq!(api.outcome(id).await["status"], "requires_capture");
    id
}

/// A payment of 100.00 that has succeeded.
async fn paid(api: &Api, token: &str) -> i64 {
    let order = json!({"order_id": 1, "user_id": 1, "total_amount": 100, "card_token": token});
    let id = api.post("/payments", order).await.is(202).id();
    assert_eq!(api.outcome(id).await["status"], "succeeded");
    id
}

async fn capture(api: &Api, id: i64, body: Value) -> Answer {
    api.post(&format!("/payments/{id}/capture"), body).await
}

async fn cancel(api: &Api, id: i64) -> Answer {
    api.post(&format!("/payments/{id}/cancel"), json!({})).await
}

async fn refund(api: &Api, id: i64, key: &str, body: Value) -> Answer {
    let path = format!("/payments/{id}/refunds");
    api.post_with(&path, &[("Idempotency-Key", key)], body)
        .await
}

/// The refund once it is no longer pending.
async fn refunded(api: &Api, answer: &Answer) -> Value {
    let path = format!("/refunds/{}", field(&answer.body, "refund_id"));
    eventually("the refund ends", || async {
        api.get(&path).await.is(200)["status"] != "pending"
    })
    .await;
    api.get(&path).await.body
}

/// What the issuer has carried out for a payment: kind and amount of each operation.
pub(super) async fn carried_out(app: &TestApp, id: i64) -> Vec<(String, i64)> {
    let id = payment_service::domain::PaymentId(id);
    let operations = app.database.issuer_operations(id).await.unwrap();
    let executed = operations.iter().filter(|it| it.executed && !it.returned);
    let mut executed: Vec<_> = executed
        .map(|it| (it.kind.to_string(), it.amount))
        .collect();
    executed.sort();
    executed
}

#[tokio::test]
async fn an_amount_is_authorized_and_captured_later_in_part() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("payment.#").await;
        let id = authorized(&app.api, "tok_visa").await;
        let shown = app.api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(shown["capture_method"], "manual");
        assert_eq!(shown["is_paid"], false);
        assert_eq!(shown["amount_captured"], 0.0);
        assert!(!field(&shown, "authorization_code").is_empty());
        assert!(!field(&shown, "capture_before").is_empty());
        let heard = results.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.requires_capture.default");
        assert_eq!(heard.body["data"], shown);

        let started = capture(&app.api, id, json!({"amount": 60})).await.is(202);
        assert_eq!(started["status"], "processing");
        assert_eq!(started["operation"], "capture");
        let done = app.api.outcome(id).await;
        assert_eq!(done["status"], "succeeded");
        assert_eq!(done["is_paid"], true);
        assert_eq!(done["amount_captured"], 60.0);
        assert_eq!(done["total_amount"], 100.0);
        assert_eq!(done["operation"], Value::Null);
        let heard = results.next(|_| true).await;
        assert_eq!(heard.routing_key, "payment.succeeded.default");
        assert_eq!(heard.body["data"], done);
        assert_eq!(carried_out(&app, id).await, [("capture".to_owned(), 6000)]);
        let history = app.api.history(id).await;
        let expected = [
            "accepted",
            "attempt_started",
            "requires_capture",
            "capture_started",
            "succeeded",
        ];
        assert_eq!(history, expected);
        // Once.
        let again = capture(&app.api, id, json!({})).await.is(409);
        assert!(
            field(&again.body, "error").contains("refund it instead"),
            "{}",
            again.body
        );
    })
    .await;
}

/// Two tables hold the keys, so nothing but the order of reads and inserts makes one of the two wait for the other.
#[tokio::test]
async fn a_payment_and_a_refund_under_one_key_at_the_same_moment_do_not_both_happen() {
    on_both(Setup::new(), |app| async move {
        let id = paid(&app.api, "tok_visa").await;
        for round in 0..40 {
            let key = format!("at-once-{round}");
            let header = [("Idempotency-Key", key.as_str())];
            let order =
                json!({"order_id": 2, "user_id": 1, "total_amount": 7, "card_token": "tok_visa"});
            let (payment, refund) = tokio::join!(
                app.api.post_with("/payments", &header, order),
                refund(&app.api, id, &key, json!({"amount": 1})),
            );
            let mut statuses = [payment.status, refund.status];
            statuses.sort_unstable();
            assert_eq!(statuses, [202, 422], "{} {}", payment.body, refund.body);
        }
    })
    .await;
}

#[tokio::test]
async fn a_cancellation_is_repeated_under_its_key_and_refused_under_that_of_another_request() {
    on_both(Setup::new(), |app| async move {
        let open = json!({"order_id": 1, "user_id": 1, "total_amount": 5});
        let header = [("Idempotency-Key", "payment-1")];
        let waiting = app
            .api
            .post_with("/payments", &header, open)
            .await
            .is(202)
            .id();
        let path = format!("/payments/{waiting}/cancel");
        let refused = app.api.post_with(&path, &header, json!({})).await.is(422);
        assert_eq!(refused.faults(), [("Idempotency-Key", "key_reused")]);
        assert_eq!(
            app.api.get(&format!("/payments/{waiting}")).await["status"],
            "requires_payment_method"
        );

        let id = authorized(&app.api, "tok_visa").await;
        let void = format!("/payments/{id}/cancel");
        let header = [("Idempotency-Key", "void-1"), ("Prefer", "wait=20")];
        app.api.post_with(&void, &header, json!({})).await.is(200);
        let again = app.api.post_with(&void, &header, json!({})).await.is(200);
        assert_eq!(again.header("Idempotent-Replayed"), "true");
        app.api.post_with(&path, &header, json!({})).await.is(422);
        app.api.post(&path, json!({})).await.is(200);
    })
    .await;
}

/// It releases everything.
#[tokio::test]
async fn a_cancellation_with_an_amount_is_refused() {
    run_on(Setup::new(), Backend::Embedded, |app| async move {
        let id = authorized(&app.api, "tok_visa").await;
        let path = format!("/payments/{id}/cancel");
        let refused = app.api.post(&path, json!({"amount": 5})).await.is(422);
        assert_eq!(refused.faults(), [("amount", "unknown_field")]);
        assert!(field(&refused.body, "error").contains("leave the body out"));
        cancel(&app.api, id).await.is(202);
    })
    .await;
}

#[tokio::test]
async fn a_body_in_chunks_that_is_empty_counts_as_none() {
    run_on(Setup::new(), Backend::Embedded, |app| async move {
        let id = authorized(&app.api, "tok_visa").await;
        let request = format!(
            "POST /payments/{id}/capture HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\nConnection: close\r\n\r\n0\r\n\r\n"
        );
        let mut stream = TcpStream::connect(app.api.address()).await.unwrap();
        stream.write_all(request.as_bytes()).await.unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).await.unwrap();
        assert!(answer.starts_with("HTTP/1.1 202"), "{answer}");
    })
    .await;
}

#[tokio::test]
async fn a_capture_is_repeated_under_its_key_and_refused_with_another_request() {
    on_both(Setup::new(), |app| async move {
        let id = authorized(&app.api, "tok_visa").await;
        let path = format!("/payments/{id}/capture");
        let key = [("Idempotency-Key", "capture-1"), ("Prefer", "wait=20")];
        let first = app.api.post_with(&path, &key, json!({"amount": 60})).await;
        assert_eq!(first.is(200)["amount_captured"], 60.0);
        let again = app
            .api
            .post_with(&path, &key, json!({"amount": 60}))
            .await
            .is(200);
        assert_eq!(again.header("Idempotent-Replayed"), "true");
        let other = app
            .api
            .post_with(&path, &key, json!({"amount": 61}))
            .await
            .is(422);
        assert_eq!(other.faults(), [("Idempotency-Key", "key_reused")]);
        // One key space over all operations, and over payments.
        refund(&app.api, id, "capture-1", json!({})).await.is(422);
        let order = json!({"order_id": 1, "user_id": 1, "total_amount": 5});
        let header = [("Idempotency-Key", "capture-1")];
        app.api
            .post_with("/payments", &header, order.clone())
            .await
            .is(422);
        let header = [("Idempotency-Key", "payment-1")];
        app.api.post_with("/payments", &header, order).await.is(202);
        refund(&app.api, id, "payment-1", json!({})).await.is(422);
    })
    .await;
}

#[tokio::test]
async fn what_cancel_does_depends_on_the_state() {
    on_both(Setup::new(), |app| async move {
        let open = app.api.create(1).await;
        let canceled = cancel(&app.api, open).await.is(200);
        assert_eq!(canceled["cancellation_reason"], "requested_by_client");
        let held = authorized(&app.api, "tok_visa").await;
        let voiding = cancel(&app.api, held).await.is(202);
        assert_eq!(
            (&voiding["status"], &voiding["operation"]),
            (&json!("processing"), &json!("void"))
        );
        let canceled = app.api.outcome(held).await;
        assert_eq!(canceled["status"], "canceled");
        assert_eq!(canceled["cancellation_reason"], "requested_by_client");
        assert_eq!(canceled["amount_captured"], 0.0);
        assert_eq!(carried_out(&app, held).await, [("void".to_owned(), 10000)]);
        cancel(&app.api, held).await.is(200);
        capture(&app.api, held, json!({})).await.is(409);
        refund(&app.api, held, "r", json!({})).await.is(409);
        let paid = paid(&app.api, "tok_visa").await;
        let refused = cancel(&app.api, paid).await.is(409);
        assert!(
            field(&refused.body, "error").contains("refund it instead"),
            "{}",
            refused.body
        );
        capture(&app.api, paid, json!({})).await.is(409);
    })
    .await;
}

#[tokio::test]
async fn refunds_together_are_never_more_than_what_was_charged() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("refund.#").await;
        let id = paid(&app.api, "tok_visa").await;
        let body = json!({"amount": "30.00", "reason": "damaged", "client_reference": "R-1"});
        let first = refund(&app.api, id, "r-1", body.clone()).await.is(202);
        assert_eq!(
            first.header("Location"),
            format!("/refunds/{}", field(&first.body, "refund_id"))
        );
        assert_eq!(first["status"], "pending");
        assert_eq!(first["amount"], 30.0);
        let done = refunded(&app.api, &first).await;
        assert_eq!(done["status"], "succeeded");
        let heard = results.next(|_| true).await;
        assert_eq!(heard.routing_key, "refund.succeeded.default");
        assert_eq!(heard.body["data"], done);
        let again = refund(&app.api, id, "r-1", body).await.is(202);
        assert_eq!(again.header("Idempotent-Replayed"), "true");
        assert_eq!(again["refund_id"], first["refund_id"]);
        let shown = app.api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(shown["status"], "succeeded");
        assert_eq!(shown["is_paid"], true);
        assert_eq!(shown["amount_refunded"], 30.0);
        let too_much = refund(&app.api, id, "r-2", json!({"amount": 70.01}))
            .await
            .is(422);
        assert_eq!(too_much.faults(), [("amount", "amount_too_large")]);
        assert!(
            field(&too_much.body, "error").contains("70.00 CAD"),
            "{}",
            too_much.body
        );
        let rest = refund(&app.api, id, "r-3", json!({})).await.is(202);
        assert_eq!(rest["amount"], 70.0);
        refunded(&app.api, &rest).await;
        let nothing = refund(&app.api, id, "r-4", json!({})).await.is(409);
        assert!(
            field(&nothing.body, "error").contains("nothing is left"),
            "{}",
            nothing.body
        );
        let listed = app
            .api
            .get(&format!("/payments/{id}/refunds"))
            .await
            .is(200);
        assert_eq!(listed["data"].as_array().unwrap().len(), 2);
        let history = app.api.history(id).await;
        let expected = ["refund_started", "refund_succeeded"].repeat(2);
        assert_eq!(history[3..], expected);
    })
    .await;
}

#[tokio::test]
async fn racing_refunds_of_one_return_exactly_what_was_charged() {
    on_both(Setup::new(), |app| async move {
        let id = paid(&app.api, "tok_visa").await;
        let api = &app.api;
        let refunds = (0..200).map(|number| async move {
            let key = format!("race-{number}");
            refund(api, id, &key, json!({"amount": 1})).await
        });
        let answers = join_all(refunds).await;
        let accepted: Vec<&Answer> = answers.iter().filter(|it| it.status == 202).collect();
        assert_eq!(accepted.len(), 100);
        for answer in accepted {
            assert_eq!(refunded(api, answer).await["status"], "succeeded");
        }
        let shown = api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(shown["amount_refunded"], 100.0);
        let returned: i64 = carried_out(&app, id).await.iter().map(|it| it.1).sum();
        assert_eq!(returned, 10000);
    })
    .await;
}

#[tokio::test]
async fn whatever_goes_wrong_with_an_operation_it_is_carried_out_once_or_not_at_all() {
    on_both(quick(), |app| async move {
        let api = &app.api;
        let capture_with = async |token: &'static str| {
            let id = authorized(api, token).await;
            capture(api, id, json!({})).await.is(202);
            (id, api.outcome(id).await)
        };
        let void_with = async |token: &'static str| {
            let id = authorized(api, token).await;
            cancel(api, id).await.is(202);
            (id, api.outcome(id).await)
        };
        let refund_with = async |token: &'static str| {
            let id = paid(api, token).await;
            let answer = refund(api, id, "r", json!({"amount": 40})).await;
            // The same key for other payments is another request.
            let answer = if answer.status == 422 {
                refund(api, id, token, json!({"amount": 40})).await
            } else {
                answer
            };
            (id, refunded(api, &answer.is(202)).await)
        };
        for (token, status, executed) in [
            ("tok_capture_down_2", "succeeded", 1),
            ("tok_capture_answer_lost", "succeeded", 1),
            ("tok_capture_silent", "requires_capture", 0),
            ("tok_capture_refused", "requires_capture", 0),
            ("tok_authorization_gone", "canceled", 0),
        ] {
            let (id, payment) = capture_with(token).await;
            assert_eq!(payment["status"], status, "{token}");
            assert_eq!(carried_out(&app, id).await.len(), executed, "{token}");
        }
        for (token, status, executed) in [
            ("tok_void_down_2", "canceled", 1),
            ("tok_void_answer_lost", "canceled", 1),
            ("tok_void_silent", "requires_capture", 0),
            ("tok_void_refused", "requires_capture", 0),
        ] {
            let (id, payment) = void_with(token).await;
            assert_eq!(payment["status"], status, "{token}");
            assert_eq!(carried_out(&app, id).await.len(), executed, "{token}");
        }
        for (token, status, executed, code) in [
            ("tok_refund_down_2", "succeeded", 1, Value::Null),
            ("tok_refund_answer_lost", "succeeded", 1, Value::Null),
            ("tok_refund_pending", "succeeded", 1, Value::Null),
            ("tok_refund_silent", "failed", 0, json!("issuer_no_answer")),
            ("tok_refund_refused", "failed", 0, json!("refused")),
        ] {
            let (id, refund) = refund_with(token).await;
            assert_eq!(refund["status"], status, "{token}");
            assert_eq!(refund["failure_code"], code, "{token}");
            assert_eq!(carried_out(&app, id).await.len(), executed, "{token}");
            let shown = api.get(&format!("/payments/{id}")).await.body;
            let amount = if executed == 1 { 40.0 } else { 0.0 };
            assert_eq!(shown["amount_refunded"], amount, "{token}");
            assert_eq!(shown["status"], "succeeded", "{token}");
        }
    })
    .await;
}

#[tokio::test]
async fn a_refund_that_fails_after_it_succeeded_frees_its_amount() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("refund.#").await;
        let id = paid(&app.api, "tok_refund_fails").await;
        let answer = refund(&app.api, id, "r-1", json!({})).await.is(202);
        assert_eq!(refunded(&app.api, &answer).await["status"], "succeeded");
        assert_eq!(results.next(|_| true).await.kind, "refund.succeeded");
        let failed = results.next(|_| true).await;
        assert_eq!(failed.kind, "refund.failed");
        let path = format!("/refunds/{}", field(&answer.body, "refund_id"));
        let shown = app.api.get(&path).await.is(200).body;
        assert_eq!(shown["status"], "failed");
        assert_eq!(shown["failure_code"], "expired_or_canceled_card");
        assert_eq!(failed.body["data"], shown);
        let payment = app.api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(payment["amount_refunded"], 0.0);
        assert_eq!(carried_out(&app, id).await, []);
        // Asking again is a new operation.
        refund(&app.api, id, "r-2", json!({})).await.is(202);
    })
    .await;
}

/// The sweep that releases it may come a little later.
#[tokio::test]
async fn nothing_is_captured_after_the_authorization_has_expired() {
    on_both(Setup::new(), |app| async move {
        let id = authorized(&app.api, "tok_visa").await;
        let past = "UPDATE payments SET capture_before = '2020-01-01 00:00:00.000000'";
        assert_eq!(app.execute(past).await, 1);
        let late = capture(&app.api, id, json!({})).await.is(409);
        let error = field(&late.body, "error");
        assert!(error.contains("the authorization has expired"), "{error}");
        cancel(&app.api, id).await.is(202);
    })
    .await;
}

#[tokio::test]
async fn an_authorization_that_is_not_captured_in_time_is_voided() {
    let setup = Setup::new().with_client_setting(STORE, "capture_within_seconds", json!(1));
    on_both(setup, |app| async move {
        let api = app.api.with_key(STORE.1);
        let id = authorized(&api, "tok_visa").await;
        eventually("it is voided", || async {
            api.get(&format!("/payments/{id}")).await["status"] == "canceled"
        })
        .await;
        let shown = api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(shown["cancellation_reason"], "authorization_expired");
        assert_eq!(carried_out(&app, id).await, [("void".to_owned(), 10000)]);
        let events = api.events(id).await;
        assert_eq!(events.last().unwrap()["reason"], "authorization_expired");
    })
    .await;
}

#[tokio::test]
async fn bad_requests_name_the_field_and_the_way_out() {
    on_both(Setup::new().with_clients(), |app| async move {
        let (api, other) = (app.api.with_key(STORE.1), app.api.with_key(KIOSK.1));
        let id = authorized(&api, "tok_visa").await;
        let faulty = async |body: Value, fault: (&'static str, &'static str)| {
            let answer = capture(&api, id, body.clone()).await.is(422);
            assert_eq!(answer.faults(), [fault], "{body}");
        };
        faulty(json!({"amount": 100.01}), ("amount", "amount_too_large")).await;
        faulty(json!({"amount": 0}), ("amount", "not_positive")).await;
        faulty(json!({"amount": -1}), ("amount", "not_positive")).await;
        faulty(json!({"amount": 1.005}), ("amount", "too_precise")).await;
        faulty(json!({"amount": "ten"}), ("amount", "not_a_number")).await;
        faulty(json!({"currency": "USD"}), ("currency", "another_currency")).await;
        faulty(json!({"amout": 1}), ("amout", "unknown_field")).await;
        let early = refund(&api, id, "r", json!({})).await.is(409);
        assert!(
            field(&early.body, "error").contains("cancel the payment instead"),
            "{}",
            early.body
        );
        let no_key = api
            .post(&format!("/payments/{id}/refunds"), json!({}))
            .await
            .is(400);
        assert_eq!(no_key.faults(), [("Idempotency-Key", "missing")]);
        for answer in [
            capture(&other, id, json!({})).await,
            cancel(&other, id).await,
            refund(&other, id, "r", json!({})).await,
            other.get(&format!("/payments/{id}/refunds")).await,
            api.get("/refunds/019a3f00-0000-7000-8000-000000000009")
                .await,
            api.get("/refunds/7").await,
            capture(&api, 987_654, json!({})).await,
        ] {
            answer.is(404);
        }
        let path = format!("/payments/{id}/process");
        let process = api.post(&path, json!({"card_token": "tok_visa"}));
        process.await.is(409);
        let order = json!({
            "order_id": 1, "user_id": 1, "total_amount": 1, "capture_method": "later",
        });
        let answer = api.post("/payments", order).await.is(422);
        assert_eq!(
            answer.faults(),
            [("capture_method", "unknown_capture_method")]
        );
        // Nothing has changed.
        let shown = api.get(&format!("/payments/{id}")).await.body;
        assert_eq!(shown["status"], "requires_capture");
        let app: Arc<TestApp> = app;
        assert_eq!(carried_out(&app, id).await, []);
    })
    .await;
}

#[tokio::test]
async fn captures_cancellations_and_refunds_are_requested_by_message() {
    on_both(Setup::new(), |app| async move {
        let mut results = app.results("#").await;
        let id = authorized(&app.api, "tok_visa").await;
        let capture = json!({"payment_id": id, "amount": 60});
        // A message can arrive twice.
        for _ in 0..2 {
            let order = Order::operation("order.capture", "m-capture", &capture)
                .with(|properties| properties.correlation_id = Some("c-0".to_owned()));
            app.publish(order).await;
        }
        let captured = results
            .next(|heard| heard.kind == "payment.succeeded")
            .await;
        assert_eq!(captured.body["data"]["amount_captured"], 60.0);
        assert_eq!(captured.correlation_id.as_deref(), Some("c-0"));
        let refund = json!({"payment_id": id.to_string(), "amount": "20.00", "reason": "late"});
        for _ in 0..2 {
            let order = Order::operation("order.refund", "m-refund", &refund)
                .with(|properties| properties.correlation_id = Some("c-1".to_owned()));
            app.publish(order).await;
        }
        let refunded = results.next(|heard| heard.kind == "refund.succeeded").await;
        assert_eq!(refunded.body["data"]["amount"], 20.0);
        assert_eq!(refunded.correlation_id.as_deref(), Some("c-1"));
        let held = authorized(&app.api, "tok_visa").await;
        let cancel = json!({"payment_id": held});
        for _ in 0..2 {
            app.publish(Order::operation("order.cancel", "m-cancel", &cancel))
                .await;
        }
        let canceled = results.next(|heard| heard.kind == "payment.canceled").await;
        assert_eq!(canceled.body["data"]["payment_id"], held);

        for (number, (key, body, reason)) in [
            (
                "order.refund",
                json!({"payment_id": id, "amount": 1.005}),
                "invalid",
            ),
            (
                "order.refund",
                json!({"payment_id": id, "amount": 40.01}),
                "not_possible",
            ),
            ("order.capture", json!({"payment_id": id}), "not_possible"),
            (
                "order.capture",
                json!({"payment_id": 987_654}),
                "not_possible",
            ),
            ("order.cancel", json!({}), "invalid"),
            (
                "order.cancel",
                json!({"payment_id": held, "amount": 1}),
                "invalid",
            ),
        ]
        .into_iter()
        .enumerate()
        {
            app.publish(Order::operation(key, &format!("bad-{number}"), &body))
                .await;
            let rejected = results
                .next(|heard| heard.kind == "payment.request_rejected")
                .await;
            assert_eq!(rejected.body["data"]["reason"], reason, "{body}");
        }
        app.until_settled().await;
        let done = [("capture".to_owned(), 6000), ("refund".to_owned(), 2000)];
        assert_eq!(carried_out(&app, id).await, done);
        assert_eq!(carried_out(&app, held).await, [("void".to_owned(), 10000)]);
    })
    .await;
}
