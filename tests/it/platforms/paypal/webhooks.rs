//! PayPal's webhooks: genuine if PayPal says so, and only a hint.

use reqwest::Method;
use serde_json::{Value, json};

use super::stand_in::{GENUINE, Pays};
use super::{asked, on_each, order};
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
    let request = api.request(Method::POST, "/webhooks/paypal");
    let request = request
        .header("content-type", "application/json")
        .header("paypal-auth-algo", "SHA256withRSA")
        .header("paypal-cert-url", "https://elsewhere.example/cert")
        .header("paypal-transmission-id", "1")
        .header("paypal-transmission-sig", signature)
        .header("paypal-transmission-time", "2026-11-27T03:00:00Z");
    api.send(request.body(body.to_owned())).await
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
