//! Payments on Stripe's own page: Checkout Sessions.

use payment_service::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, REDIRECT, ReversalAnswer,
};
use payment_service::processors::{
    Authorization, MethodSource, MethodUnreadable, OpenedMethod, Processor,
};
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use zeroize::Zeroizing;

use super::reconcile::reconciled;
use super::stand_in::Fault;
use super::{attempt, money, on_each, processor, refund, refunded};
use crate::app::{Api, STORE, becomes};

/// A payment on Stripe's page.
pub fn order() -> Value {
    json!({"order_id": 1, "user_id": 1, "total_amount": 20,
        "payment_method": {"type": "redirect", "processor": "stripe"}})
}

/// Its shopper is on the page.
async fn on_page(api: &Api, order: Value) -> i64 {
    let id = api.post("/payments", order).await.is(202).id();
    becomes(api, id, "requires_action").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shopper_pays_on_stripe_s_page() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            let id = on_page(api, order()).await;
            let session = &stripe.sessions(id)[0];
            let asked = api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(asked["next_action"]["url"], session["url"]);
            for back in ["success_url", "cancel_url"] {
                let back = session[back].as_str().unwrap();
                assert!(back.ends_with(&format!("/payments/process/{id}")), "{back}");
            }
            // Another card can be tried on the page.
            stripe.pay_on_page(id, "pm_card_chargeDeclinedInsufficientFunds");
            assert_eq!(stripe.moved(id), (0, 0));
            stripe.pay_on_page(id, "pm_card_visa");
            let paid = becomes(api, id, "succeeded").await;
            assert_eq!(
                paid["authorization_code"],
                stripe.intents(id)[0]["latest_charge"]
            );
            assert_eq!(stripe.moved(id), (2000, 0));
            refund(api, id, 5).await;
            refunded(api, id, 5.0).await;
            assert_eq!(stripe.moved(id), (2000, 500));

            let mut held = order();
            held["capture_method"] = json!("manual");
            let id = on_page(api, held.clone()).await;
            stripe.pay_on_page(id, "pm_card_visa");
            becomes(api, id, "requires_capture").await;
            let capture = format!("/payments/{id}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            becomes(api, id, "succeeded").await;
            assert_eq!(stripe.moved(id), (1500, 0));

            let id = on_page(api, held).await;
            stripe.pay_on_page(id, "pm_card_visa");
            becomes(api, id, "requires_capture").await;
            api.post(&format!("/payments/{id}/cancel"), json!({}))
                .await
                .is(202);
            becomes(api, id, "canceled").await;
            assert_eq!(stripe.intents(id)[0]["status"], "canceled");
            let (counts, found) = reconciled(&app, &processor(&app, &stripe)).await;
            assert_eq!((found, counts.compared), (vec![], 3));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_is_closed_takes_no_money_unless_the_shopper_was_faster() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            for (declined_before, hurries) in
                [(false, false), (true, false), (false, true), (true, true)]
            {
                let id = on_page(api, order()).await;
                if declined_before {
                    stripe.pay_on_page(id, "pm_card_chargeDeclinedExpiredCard");
                }
                if hurries {
                    stripe.pay_in_a_hurry(id);
                }
                api.post(&format!("/payments/{id}/cancel"), json!({}))
                    .await
                    .is(202);
                let (status, session, moved) = match hurries {
                    false => ("canceled", "expired", 0),
                    true => ("succeeded", "complete", 2000),
                };
                becomes(api, id, status).await;
                assert_eq!(stripe.sessions(id)[0]["status"], session);
                assert_eq!(stripe.moved(id), (moved, 0));
                // Too late.
                stripe.pay_on_page(id, "pm_card_visa");
                assert_eq!(stripe.moved(id), (moved, 0));
            }
            // Another card closes the page, too.
            let id = on_page(api, order()).await;
            let process = format!("/payments/{id}/process");
            api.post(&process, json!({"card_token": "tok_visa"})).await;
            becomes(api, id, "succeeded").await;
            assert_eq!(stripe.sessions(id)[0]["status"], "expired");
            assert_eq!(
                (stripe.moved(id), app.standing_charges(id).await),
                ((0, 0), 1)
            );
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shopper_s_time_ends_with_an_expired_session() {
    on_each(
        |setup| setup.with("ISSUER_ACTION_LIFE", "2s"),
        |app, stripe| async move {
            let id = on_page(&app.api, order()).await;
            let failed = becomes(&app.api, id, "failed").await;
            assert_eq!(failed["decline_code"], "action_expired");
            assert_eq!(stripe.sessions(id)[0]["status"], "expired");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_about_a_session_that_is_missing_or_broken_charges_once_or_not_at_all() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            for fault in [Fault::Silent, Fault::Html, Fault::Busy, Fault::OtherAmount] {
                stripe.fail("/sessions", fault);
                let id = on_page(api, order()).await;
                assert_eq!(stripe.sessions(id).len(), 1, "{fault:?}");
                stripe.pay_on_page(id, "pm_card_visa");
                becomes(api, id, "succeeded").await;
                assert_eq!(stripe.moved(id), (2000, 0), "{fault:?}");
            }
            // Stored under the key, and repeated to every try: nobody has seen the page.
            for fault in [Fault::ErrorBefore, Fault::ErrorAfter] {
                stripe.fail("/sessions", fault);
                let id = api.post("/payments", order()).await.is(202).id();
                let failed = becomes(api, id, "failed").await;
                assert_eq!(failed["decline_code"], "issuer_no_answer");
                assert_eq!(stripe.moved(id), (0, 0));
            }
            for fault in [
                Fault::Silent,
                Fault::Html,
                Fault::Busy,
                Fault::ErrorBefore,
                Fault::ErrorAfter,
            ] {
                let id = on_page(api, order()).await;
                stripe.fail("/expire", fault);
                api.post(&format!("/payments/{id}/cancel"), json!({}))
                    .await
                    .is(202);
                becomes(api, id, "canceled").await;
                assert_eq!(stripe.sessions(id)[0]["status"], "expired", "{fault:?}");
            }
        },
    )
    .await;
}

/// What a payment on a page has in clear.
struct OnPage;

impl MethodSource for OnPage {
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable> {
        Ok(OpenedMethod::Other {
            name: REDIRECT.to_owned(),
            secret: Zeroizing::new(b"redirect".to_vec()),
        })
    }
}

/// The call that opens a page; in whole minor units.
pub fn page(payment: i64, return_to: Option<&str>) -> Authorization<'_> {
    Authorization {
        key: attempt(payment),
        amount: money(2000),
        capture: CaptureMethod::Automatic,
        method: &OnPage,
        return_to,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_of_another_amount_or_of_a_closed_attempt_is_shown_to_nobody() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let processor = processor(&app, &stripe);
            let back = Some("https://shop.example/back");
            let url = async |payment| match processor.authorize(&page(payment, back)).await {
                Answer::ActionRequired { url, .. } => url,
                other => panic!("{other:?}"),
            };
            assert_eq!(url(9001).await, url(9001).await);
            assert_eq!(stripe.sessions(9001).len(), 1);
            stripe.change_session(9001, |session| session["amount_total"] = json!(2001));
            assert_eq!(
                processor.authorize(&page(9001, back)).await,
                Answer::Unknown
            );
            // A shopper who has paid another amount than the session's is not taken for one who has paid.
            stripe.pay_on_page(9001, "pm_card_visa");
            stripe.change_session(9001, |session| session["amount_total"] = json!(2000));
            assert_eq!(processor.ask(attempt(9001)).await, ActionAnswer::Unknown);
            let closed = processor.close_attempt(attempt(9001), money(2000)).await;
            assert_eq!(closed, AttemptCloseAnswer::Unknown);

            // A call that was delayed beyond the closing.
            let closed = processor.close_attempt(attempt(9002), money(2000)).await;
            assert_eq!(closed, AttemptCloseAnswer::Closed);
            let late = processor.authorize(&page(9002, back)).await;
            assert!(matches!(late, Answer::NotCharged { .. }), "{late:?}");
            // A charge is returned by a reversal.
            url(9003).await;
            stripe.pay_on_page(9003, "pm_card_visa");
            let reversed = processor.reverse(attempt(9003), money(2000)).await;
            assert_eq!(reversed, ReversalAnswer::Confirmed);
            assert_eq!(stripe.moved(9003), (2000, 2000));
            let nowhere = processor.authorize(&page(9004, None)).await;
            assert!(matches!(nowhere, Answer::Declined { .. }), "{nowhere:?}");
        },
    )
    .await;
}

/// Where the client's `payment_methods` has no card, the service's own page asks for none.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_payment_page_sends_the_shopper_to_stripe_s_page() {
    for (methods, has_card) in [
        (json!(["redirect"]), false),
        (json!(["card", "redirect"]), true),
    ] {
        on_each(
            |setup| setup.with_client_setting(STORE, "payment_methods", methods.clone()),
            |app, stripe| async move {
                let api = app.api.with_key(STORE.1);
                let order = json!({"order_id": 1, "user_id": 1, "total_amount": 20});
                let id = api.post("/payments", order).await.is(202).id();
                let path = format!("/payments/process/{id}");
                let html = page_of(&api, api.request(Method::GET, &path)).await;
                assert_eq!(html.contains("cardNumber"), has_card, "{html}");
                assert_eq!(html.contains("4242 4242 4242 4242"), has_card);
                let button = "name=\"method\" value=\"redirect:stripe\"";
                assert!(html.contains(button), "{html}");
                let token = html.split("name=\"form\" value=\"").nth(1).unwrap();
                let token = token.split('"').next().unwrap();
                let posted = api
                    .request(Method::POST, &path)
                    .header("content-type", "application/x-www-form-urlencoded")
                    .body(format!("form={token}&method=redirect%3Astripe"));
                let html = page_of(&api, posted).await;
                let session = &stripe.sessions(id)[0];
                let url = session["url"].as_str().unwrap();
                assert!(html.contains(&format!("0; url={url}")), "{html}");
                stripe.pay_on_page(id, "pm_card_visa");
                becomes(&api, id, "succeeded").await;
                assert_eq!(stripe.moved(id), (2000, 0));
                // A card that is posted all the same is refused where none is wanted.
                if !has_card {
                    let order = json!({"order_id": 2, "user_id": 1, "total_amount": 20});
                    let id = api.post("/payments", order).await.is(202).id();
                    let process = format!("/payments/{id}/process");
                    let refused = api.post(&process, json!({"card_token": "tok_visa"})).await;
                    refused.is(422);
                }
            },
        )
        .await;
    }
}

async fn page_of(api: &Api, request: RequestBuilder) -> String {
    let request = request.header("accept", "text/html");
    let answer = request.send().await.unwrap();
    assert_eq!(answer.status(), 200, "{}", api.address());
    answer.text().await.unwrap()
}
