//! PayPal's webhooks: genuine if PayPal says so, and only a hint.

use std::collections::HashMap;

use axum::http::HeaderMap;
use payment_service::domain::PaymentId;
use payment_service::payments::needs_person;
use payment_service::payments::reconcile::Kind;
use payment_service::processors::Processor;
use payment_service::processors::notifications::{Notification, NotificationRefused};
use payment_service::processors::paypal::{PayPal, PayPalAccount};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::stand_in::{Fault, GENUINE, Pays, StandIn, WEBHOOK_ID};
use super::{account, approved, asked, is_approved, on_each, order};
use crate::app::{Answer, Api, Setup, TestApp, becomes, eventually};
use crate::platforms::contradictions::{age, differ};
use crate::platforms::webhooks::all_is_due;

/// Without webhooks nothing would be noticed during a test.
fn slow(setup: Setup) -> Setup {
    setup
        .with("RETRY_INITIAL", "60s")
        .with("RETRY_MAX_INTERVAL", "60s")
}

fn event(id: &str, kind: &str, resource: &Value) -> String {
    json!({"id": id, "event_type": kind, "resource": resource}).to_string()
}

async fn send(api: &Api, signature: &str, body: &str) -> Answer {
    let cert = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1";
    let headers = [("cert-url", cert), ("transmission-sig", signature)];
    send_with(api, &headers, body).await
}

/// These headers instead of the usual ones, without `paypal-`.
async fn send_with(api: &Api, other: &[(&str, &str)], body: &str) -> Answer {
    let now = OffsetDateTime::now_utc().format(&Rfc3339).unwrap();
    let mut headers = HashMap::from([
        ("auth-algo", "SHA256withRSA"),
        (
            "cert-url",
            "https://api.paypal.com/v1/notifications/certs/CERT-1",
        ),
        ("transmission-id", "1"),
        ("transmission-sig", GENUINE),
        ("transmission-time", now.as_str()),
    ]);
    headers.extend(other.iter().copied());
    let mut request = api.request(Method::POST, "/webhooks/paypal");
    request = request.header("content-type", "application/json");
    for (name, value) in headers {
        request = request.header(format!("paypal-{name}"), value);
    }
    api.send(request.body(body.to_owned())).await
}

const VERIFIES: &str = "/verify-webhook-signature";

/// Anybody can send something to the address, and PayPal counts our calls.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_cheap_to_refuse_costs_no_call_of_paypal() {
    on_each(slow, |app, paypal| async move {
        let api = &app.api;
        let id = asked(api, order()).await;
        let approved = event("WH-1", "CHECKOUT.ORDER.APPROVED", &paypal.orders(id)[0]);
        for forged in [
            ("auth-algo", "HS256"),
            ("cert-url", "https://elsewhere.example/cert"),
            ("cert-url", "https://api.paypal.com.elsewhere.example/cert"),
            ("transmission-time", "2020-11-27T03:00:00Z"),
            ("transmission-time", "2120-11-27T03:00:00Z"),
            ("transmission-time", ""),
        ] {
            send_with(api, &[forged], &approved).await.is(401);
        }
        for body in ["", "<html>", "{}", r#"{"id": 1}"#, r#"{"id": "../1"}"#] {
            send_with(api, &[], body).await.is(401);
        }
        assert!(paypal.requests(VERIFIES).is_empty());
        assert!(paypal.shopper(id, Pays::Well));
        send(api, GENUINE, &approved).await.is(200);
        assert_eq!(paypal.requests(VERIFIES).len(), 1);
        // It is stored already, so PayPal is not asked again, whatever the signature is.
        for signature in [GENUINE, "forged"] {
            send(api, signature, &approved).await.is(200);
        }
        assert_eq!(paypal.requests(VERIFIES).len(), 1);
        becomes(api, id, "succeeded").await;
        all_is_due(&app).await;
    })
    .await;
}

/// A flood of them makes PayPal answer 429, or nothing.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forged_webhooks_do_not_pause_payments() {
    on_each(slow, |app, paypal| async move {
        let account = PayPalAccount {
            webhook_id: Some(WEBHOOK_ID.to_owned()),
            ..account(&paypal)
        };
        let processor = PayPal::new(&account, app.database.clone()).unwrap();
        let key = approved(&paypal, &processor, 9951).await;
        let now = OffsetDateTime::now_utc();
        let sent = now.format(&Rfc3339).unwrap();
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("paypal-auth-algo", "SHA256withRSA"),
            ("paypal-cert-url", "https://api.paypal.com/v1/c"),
            ("paypal-transmission-id", "1"),
            ("paypal-transmission-sig", "forged"),
            ("paypal-transmission-time", &sent),
        ] {
            headers.insert(name, value.parse().unwrap());
        }
        let webhook = Notification {
            headers: &headers,
            body: br#"{"id": "WH-1", "event_type": "CHECKOUT.ORDER.APPROVED"}"#,
            now,
        };
        for fault in [Fault::Busy, Fault::ErrorBefore] {
            for _ in 0..6 {
                paypal.fail(VERIFIES, fault);
                let refused = processor.notified(&webhook).await;
                assert_eq!(refused, Err(NotificationRefused::Unavailable));
            }
        }
        let availability = processor.availability().unwrap();
        assert_eq!((availability.pause(), availability.fault()), (None, None));
        let charged = processor.ask(key).await;
        assert!(is_approved(&charged), "{charged:?}");
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_noticed_at_once_and_a_forged_webhook_changes_nothing() {
    on_each(slow, |app, paypal| async move {
        let id = asked(&app.api, order()).await;
        assert!(paypal.shopper(id, Pays::Well));
        let approved = event("WH-1", "CHECKOUT.ORDER.APPROVED", &paypal.orders(id)[0]);
        send(&app.api, "forged", &approved).await.is(401);
        let injected = format!("{approved},\"webhook_id\":\"other\"");
        send(&app.api, GENUINE, &injected).await.is(401);
        let payment = app.api.get(&format!("/payments/{id}")).await;
        assert_eq!(payment.body["status"], "requires_action");
        send(&app.api, GENUINE, &approved).await.is(200);
        becomes(&app.api, id, "succeeded").await;
        send(&app.api, GENUINE, &approved).await.is(200);
        assert_eq!(paypal.moved(id), (2000, 0));
        // The question that is not needed any more.
        all_is_due(&app).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_made_at_paypal_becomes_one_here() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let id = asked(&app.api, order()).await;
            assert!(paypal.shopper(id, Pays::Well));
            let approved = event("WH-1", "CHECKOUT.ORDER.APPROVED", &paypal.orders(id)[0]);
            send(&app.api, GENUINE, &approved).await.is(200);
            becomes(&app.api, id, "succeeded").await;
            let refund = paypal.refund_in_the_dashboard(id, "5.00");
            for number in ["WH-2", "WH-3"] {
                let refunded = event(number, "PAYMENT.CAPTURE.REFUNDED", &refund);
                send(&app.api, GENUINE, &refunded).await.is(200);
            }
            eventually("it is listed here", || async {
                let refunds = app.api.get(&format!("/payments/{id}/refunds")).await;
                let refunds = refunds.body["data"].as_array().unwrap().clone();
                refunds.len() == 1
                    && refunds[0]["status"] == "succeeded"
                    && refunds[0]["source"] == "processor"
            })
            .await;
            let payment = app.api.get(&format!("/payments/{id}")).await;
            assert_eq!(payment.body["amount_refunded"], 5.0);
            assert_eq!(paypal.moved(id), (2000, 500));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispute_at_paypal_is_shown_and_published_until_it_has_ended() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let api = &app.api;
            let mut results = app.results("dispute.*.default").await;
            let mut sent = 0;
            for (outcome, ended) in [
                ("RESOLVED_SELLER_FAVOUR", "won"),
                ("RESOLVED_BUYER_FAVOUR", "lost"),
            ] {
                let id = paid(api, &paypal).await;
                let payments = &paypal.orders(id)[0]["purchase_units"][0]["payments"];
                let capture = payments["captures"][0]["id"].as_str().unwrap();
                let dispute = paypal.disputes(capture);
                let mut report = async |kind: &str, dispute: &Value| {
                    sent += 1;
                    let kind = format!("CUSTOMER.DISPUTE.{kind}");
                    let body = event(&format!("WH-D-{sent}"), &kind, dispute);
                    send(api, GENUINE, &body).await.is(200);
                    eventually("the event is over", || async {
                        waiting_events(&app).await == 0
                    })
                    .await;
                };
                report("CREATED", &dispute).await;
                let path = format!("/payments/{id}");
                assert_eq!(api.get(&path).await.is(200)["disputed"], true);
                let now = paypal.change_dispute(&dispute, "UNDER_REVIEW", "NONE");
                report("UPDATED", &now).await;
                assert_eq!(api.get(&path).await.is(200)["disputed"], true);
                let now = paypal.change_dispute(&dispute, "RESOLVED", outcome);
                report("RESOLVED", &now).await;
                // Late: it is asked about, and that has ended.
                report("CREATED", &dispute).await;
                let payment = api.get(&path).await.is(200);
                assert_eq!(payment["disputed"], false);
                assert_eq!(payment["status"], "succeeded");
                let events = api.events(id).await;
                let of_dispute: Vec<_> = events
                    .iter()
                    .filter(|it| it["type"].as_str().unwrap().starts_with("dispute"))
                    .map(|it| {
                        (
                            it["type"].as_str().unwrap().to_owned(),
                            it["reason"].clone(),
                        )
                    })
                    .collect();
                let expected = [
                    ("dispute_opened", "unauthorised"),
                    ("dispute_closed", ended),
                ];
                let expected = expected.map(|(kind, reason)| (kind.to_owned(), json!(reason)));
                assert_eq!(of_dispute, expected);
                for kind in ["dispute.opened", "dispute.closed"] {
                    assert_eq!(results.of(id).await.kind, kind);
                }
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_that_is_taken_back_is_told() {
    on_each(slow, |app, paypal| async move {
        let api = &app.api;
        let id = asked(api, order()).await;
        assert!(paypal.shopper(id, Pays::Well));
        let approved = event("WH-1", "CHECKOUT.ORDER.APPROVED", &paypal.orders(id)[0]);
        send(api, GENUINE, &approved).await.is(200);
        becomes(api, id, "succeeded").await;
        let capture = paypal.orders(id)[0]["purchase_units"][0]["payments"]["captures"][0].clone();
        let completed = event("WH-2", "PAYMENT.CAPTURE.COMPLETED", &capture);
        send(api, GENUINE, &completed).await.is(200);
        eventually("the event agrees", || async {
            waiting_events(&app).await == 0
        })
        .await;
        age(&app).await;
        paypal.take_back(id);
        let reversed = event("WH-3", "PAYMENT.CAPTURE.REVERSED", &capture);
        send(api, GENUINE, &reversed).await.is(200);
        let expected = (id, Kind::RefundOnlyThere, "refund of 20.00 CAD succeeded");
        differ(&app, &[expected]).await;
        let dismissed = needs_person::dismiss(&app.database, PaymentId(id)).await;
        assert_eq!(dismissed.unwrap().len(), 1);
        all_is_due(&app).await;
    })
    .await;
}

/// A payment that PayPal has captured.
async fn paid(api: &Api, paypal: &StandIn) -> i64 {
    let id = asked(api, order()).await;
    assert!(paypal.shopper(id, Pays::Well));
    becomes(api, id, "succeeded").await;
    id
}

async fn waiting_events(app: &TestApp) -> u64 {
    let counted = "UPDATE platform_events SET tries = tries WHERE state = 'waiting'";
    app.execute(counted).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispute_about_something_else_at_paypal_is_dropped() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let api = &app.api;
            let id = paid(api, &paypal).await;
            let ours = app.database.installation().await.unwrap();
            let others = [
                paypal.charge_of("another-1-1"),
                paypal.charge_of("of a shop without this service"),
                // It names our payment, but is not its charge.
                paypal.charge_of(&format!("{ours}-{id}-1")),
                "0MISSING0".to_owned(),
            ];
            for (number, capture) in others.iter().enumerate() {
                let dispute = paypal.disputes(capture);
                let body = event(
                    &format!("WH-O-{number}"),
                    "CUSTOMER.DISPUTE.CREATED",
                    &dispute,
                );
                send(api, GENUINE, &body).await.is(200);
            }
            eventually("the events are over", || async {
                waiting_events(&app).await == 0
            })
            .await;
            let done = "UPDATE platform_events SET tries = tries WHERE state = 'done'";
            assert_eq!(app.execute(done).await, others.len() as u64);
            let payment = api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(payment["disputed"], false);
        },
    )
    .await;
}
