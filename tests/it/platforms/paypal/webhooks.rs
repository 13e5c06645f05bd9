//! PayPal's webhooks: genuine if PayPal says so, and only a hint.

use std::collections::HashMap;

use axum::http::HeaderMap;
use payment_service::processors::Processor;
use payment_service::processors::notifications::{Notification, NotificationRefused};
use payment_service::processors::paypal::{PayPal, PayPalAccount};
use reqwest::Method;
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::stand_in::{Fault, GENUINE, Pays, WEBHOOK_ID};
use super::{account, approved, asked, is_approved, on_each, order};
use crate::app::{Answer, Api, Setup, becomes, eventually};
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
        // It was verified and stored before, whoever repeats it.
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
