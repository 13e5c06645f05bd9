//! Payments through PayPal, against a stand-in that keeps state.

mod agree;
mod answers;
mod sdk;
pub mod stand_in;
mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use payment_service::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, DeclineCode, OperationAnswer,
    OperationId, OperationKind, REDIRECT, ReversalAnswer,
};
use payment_service::processors::paypal::{PayPal, PayPalAccount};
use payment_service::processors::{
    AttemptKey, Authorization, MethodSource, MethodUnreadable, OpenedMethod, OperationCall,
    Processor,
};
use serde_json::{Value, json};
use stand_in::{CLIENT_ID, CLIENT_SECRET, Fault, Pays, StandIn, WEBHOOK_ID};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;
use uuid::Uuid;
use zeroize::Zeroizing;

use super::{attempt, money, refund, refunded};
use crate::app::{Api, Backend, Setup, TestApp, backends, becomes, eventually};

/// One stand-in for all applications of a test; the file lasts as long as they do.
struct Platform {
    paypal: StandIn,
    file: NamedTempFile,
}

impl Platform {
    async fn start() -> Self {
        let paypal = StandIn::start().await;
        let file = NamedTempFile::new().unwrap();
        let platform = Self { paypal, file };
        let api = format!("http://{}", platform.paypal.address);
        platform.is_at(&api);
        platform
    }

    fn is_at(&self, api: &str) {
        let processor = json!({
            "name": "paypal", "type": "paypal", "client_id": CLIENT_ID, "client_secret": CLIENT_SECRET, "api": api,
            "webhook_id": WEBHOOK_ID,
        });
        let listed = json!({ "processors": [processor] });
        std::fs::write(self.file.path(), listed.to_string()).unwrap();
    }

    fn setup(&self) -> Setup {
        let file = self.file.path().display().to_string();
        Setup::new()
            .with("PROCESSORS_FILE", &file)
            .with("PROCESSOR_TIMEOUT", "1s")
    }
}

fn order() -> Value {
    let method = json!({"type": "redirect", "processor": "paypal"});
    json!({"order_id": 1, "user_id": 1, "total_amount": 20, "payment_method": method})
}

/// A payment that waits for its shopper.
async fn asked(api: &Api, order: Value) -> i64 {
    let id = api.post("/payments", order).await.is(202).id();
    becomes(api, id, "requires_action").await;
    id
}

/// Each application has an account of its own, so that the payments of one are not those of the other.
async fn on_each<T: Future<Output = ()>>(
    setup: impl Fn(Setup) -> Setup,
    test: impl Fn(Arc<TestApp>, StandIn) -> T,
) {
    for backend in backends() {
        let platform = Platform::start().await;
        let app = Arc::new(setup(platform.setup()).start(backend).await);
        test(Arc::clone(&app), platform.paypal.clone()).await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shopper_pays_on_paypal_s_page() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let mut order = order();
            order["return_url"] = json!("http://localhost:9/orders/1");
            let id = app.api.post("/payments", order).await.is(202).id();
            let waiting = becomes(&app.api, id, "requires_action").await;
            let created = &paypal.orders(id)[0];
            let page = &created["links"][1]["href"];
            assert_eq!(waiting["next_action"]["url"], *page);
            let back = format!("http://localhost:9/orders/1?payment_id={id}");
            for way in ["return_url", "cancel_url"] {
                assert_eq!(created["context"][way], json!(back));
            }
            assert_eq!(
                paypal.moved(id),
                (0, 0),
                "charged before the shopper approved"
            );
            assert!(paypal.shopper(id, Pays::Well));
            let paid = becomes(&app.api, id, "succeeded").await;
            let charged = &paypal.orders(id)[0]["purchase_units"][0]["payments"];
            assert_eq!(paid["authorization_code"], charged["captures"][0]["id"]);
            let shown = json!({"type": "redirect", "processor": "paypal"});
            assert_eq!(paid["payment_method"], shown);
            assert_eq!(paypal.moved(id), (2000, 0));
            assert_eq!(app.standing_charges(id).await, 0, "the simulator was asked");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn after_a_declined_instrument_the_shopper_can_pay_in_another_way() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let id = asked(&app.api, order()).await;
            for round in 1..=2 {
                assert!(paypal.shopper(id, Pays::Declined));
                eventually("it is declined", || async {
                    paypal.orders(id)[0]["status"] == "PAYER_ACTION_REQUIRED"
                })
                .await;
                let payment = app.api.get(&format!("/payments/{id}")).await.is(200);
                assert_eq!(payment["status"], "requires_action", "round {round}");
                assert_eq!(paypal.moved(id), (0, 0));
            }
            assert!(paypal.shopper(id, Pays::Well));
            becomes(&app.api, id, "succeeded").await;
            assert_eq!(paypal.moved(id), (2000, 0));
            let mut ids = paypal.requests("/capture");
            ids.sort();
            ids.dedup();
            assert_eq!(ids.len(), 3, "a round has a request id of its own: {ids:?}");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_paypal_refuses_for_good_is_declined_and_what_is_pending_waits() {
    on_each(
        |setup| setup.with("ISSUER_ACTION_LIFE", "3s"),
        |app, paypal| async move {
            let api = &app.api;
            let id = asked(api, order()).await;
            paypal.shopper(id, Pays::Never);
            let declined = becomes(api, id, "declined").await;
            assert_eq!(declined["decline_code"], "payer_cannot_pay");

            for (decided, status) in [("COMPLETED", "succeeded"), ("DECLINED", "failed")] {
                let id = asked(api, order()).await;
                paypal.shopper(id, Pays::Later);
                // The shopper's time is over, and it is still not decided.
                becomes(api, id, "processing").await;
                assert_eq!(paypal.moved(id), (0, 0));
                paypal.decide_captures(decided);
                becomes(api, id, status).await;
                let captured = if status == "succeeded" { 2000 } else { 0 };
                assert_eq!(paypal.moved(id), (captured, 0));
            }

            let mut tiny = order();
            tiny["total_amount"] = json!("0.01");
            let id = api.post("/payments", tiny).await.is(202).id();
            let declined = becomes(api, id, "declined").await;
            assert_eq!(declined["decline_code"], "min_amount_required");
        },
    )
    .await;
}

/// A worker is stopped after it has closed the next round, and another asks again.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refusal_for_good_that_nobody_heard_of_is_told_again() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let key = attempt(9050);
            let order = authorization(key, CaptureMethod::Automatic);
            processor.authorize(&order).await;
            assert!(paypal.shopper(9050, Pays::Never));
            let code = DeclineCode::from_static("payer_cannot_pay");
            let declined = ActionAnswer::Declined { code };
            for _ in 0..2 {
                assert_eq!(processor.ask(key).await, declined);
            }
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Closed);
            assert_eq!(paypal.moved(9050), (0, 0));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_card_first_closes_the_attempt_at_paypal() {
    on_each(
        |setup| {
            setup
                .with("RETRY_INITIAL", "2s")
                .with("RETRY_MAX_INTERVAL", "2s")
        },
        |app, paypal| async move {
            let id = asked(&app.api, order()).await;
            let process = format!("/payments/{id}/process");
            let body = json!({"card_token": "tok_visa"});
            let prefer = [("Prefer", "respond-async")];
            app.api.post_with(&process, &prefer, body).await;
            let ended = becomes(&app.api, id, "succeeded").await;
            assert_eq!(ended["payment_method"]["type"], "card");
            assert_eq!(app.standing_charges(id).await, 1);
            // PayPal cannot cancel an order, so its shopper can still approve it.
            assert!(paypal.shopper(id, Pays::Well));
            let answer = processor(&app, &paypal).ask(attempt(id)).await;
            assert_eq!(answer, ActionAnswer::Unknown);
            assert!(paypal.requests("/capture").is_empty());
            assert_eq!(paypal.moved(id), (0, 0));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authorized_at_paypal_can_be_captured_released_and_refunded() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let api = &app.api;
            let mut held = order();
            held["capture_method"] = json!("manual");
            let id = asked(api, held.clone()).await;
            paypal.shopper(id, Pays::Well);
            let authorized = becomes(api, id, "requires_capture").await;
            let payments = &paypal.orders(id)[0]["purchase_units"][0]["payments"];
            let authorization = &payments["authorizations"][0]["id"];
            assert_eq!(authorized["authorization_code"], *authorization);
            assert_eq!(paypal.moved(id), (0, 0));
            let capture = format!("/payments/{id}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            becomes(api, id, "succeeded").await;
            assert_eq!(paypal.moved(id), (1500, 0));
            for amount in [4, 5] {
                refund(api, id, amount).await;
            }
            refunded(api, id, 9.0).await;
            assert_eq!(paypal.moved(id), (1500, 900));

            let id = asked(api, held).await;
            paypal.shopper(id, Pays::Well);
            becomes(api, id, "requires_capture").await;
            let cancel = format!("/payments/{id}/cancel");
            api.post(&cancel, json!({})).await.is(202);
            becomes(api, id, "canceled").await;
            let payments = &paypal.orders(id)[0]["purchase_units"][0]["payments"];
            assert_eq!(payments["authorizations"][0]["status"], "VOIDED");
        },
    )
    .await;
}

const ALL: [Fault; 9] = [
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::Silent,
    Fault::Busy,
    Fault::Html,
    Fault::Half,
    Fault::Endless,
    Fault::Redirect,
    Fault::OtherAmount,
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_of_paypal_s_that_is_missing_or_broken_charges_once() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            for fault in ALL {
                // Stored under the request id, so that the order's id never arrives: nothing can be charged.
                if fault != Fault::ErrorAfter {
                    paypal.fail("/checkout/orders", fault);
                }
                let id = asked(&app.api, order()).await;
                paypal.fail("/capture", fault);
                paypal.shopper(id, Pays::Well);
                becomes(&app.api, id, "succeeded").await;
                assert_eq!(paypal.moved(id), (2000, 0), "{fault:?}");
                assert_eq!(paypal.orders(id).len(), 1, "{fault:?}");
                paypal.fail("/refund", fault);
                refund(&app.api, id, 5).await;
                refunded(&app.api, id, 5.0).await;
                assert_eq!(paypal.moved(id), (2000, 500), "{fault:?}");
            }
            paypal.fail("/checkout/orders", Fault::ErrorAfter);
            let id = app.api.post("/payments", order()).await.is(202).id();
            let failed = app.api.outcome(id).await;
            assert_eq!(failed["decline_code"], "issuer_no_answer");
        },
    )
    .await;
}

#[tokio::test]
async fn what_paypal_cannot_take_is_refused_before_it_is_accepted() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let api = app.api.beyond_the_description();
            let token = json!({"type": "token", "processor": "paypal", "token": "pm_1"});
            let mut by_token = order();
            by_token["payment_method"] = token;
            let amounts = [
                ("KWD", "1.230"),
                ("ISK", "500"),
                ("HUF", "500.50"),
                ("TWD", "0.01"),
            ];
            let amounts = amounts.map(|(currency, amount)| {
                let mut order = order();
                order["currency"] = json!(currency);
                order["total_amount"] = json!(amount);
                order
            });
            for order in amounts.into_iter().chain([by_token]) {
                let refused = api.post("/payments", order).await.is(422);
                let expected = [("payment_method.processor", "processor_not_available")];
                assert_eq!(refused.faults(), expected);
            }
            assert!(paypal.requests("/checkout/orders").is_empty());
            for (currency, amount, moved) in [("HUF", "500", 500), ("JPY", "500", 500)] {
                let mut order = order();
                order["currency"] = json!(currency);
                order["total_amount"] = json!(amount);
                let id = asked(&app.api, order).await;
                paypal.shopper(id, Pays::Well);
                becomes(&app.api, id, "succeeded").await;
                assert_eq!(paypal.moved(id), (moved, 0), "whole {currency}");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_share_an_account_at_paypal() {
    let platform = Platform::start().await;
    let paypal = &platform.paypal;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let app = platform.setup().start(Backend::Embedded).await;
        let id = asked(&app.api, order()).await;
        assert!(paypal.shopper(id, Pays::Well), "it got the other's order");
        becomes(&app.api, id, "succeeded").await;
        ids.push(id);
        app.finish().await;
    }
    assert_eq!(ids[0], ids[1], "the request ids would differ anyway");
    assert_eq!(paypal.orders(ids[0]).len(), 2);
    assert_eq!(paypal.moved(ids[0]), (4000, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_to_paypal_another_card_can_pay() {
    let platform = Platform::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    platform.is_at(&format!("http://{}", gone.local_addr().unwrap()));
    drop(gone);
    let app = platform.setup().start(Backend::Embedded).await;
    let id = app.api.post("/payments", order()).await.is(202).id();
    let failed = app.api.outcome(id).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["decline_code"], "issuer_unavailable");
    let process = format!("/payments/{id}/process");
    let card = json!({"card_token": "tok_visa"});
    app.api.post(&process, card).await;
    becomes(&app.api, id, "succeeded").await;
    app.finish().await;
}

/// The processor itself, on an application's database.
fn processor(app: &TestApp, paypal: &StandIn) -> Arc<PayPal> {
    Arc::new(PayPal::new(&account(paypal), app.database.clone()).unwrap())
}

fn account(paypal: &StandIn) -> PayPalAccount {
    PayPalAccount {
        name: "paypal".to_owned(),
        client_id: CLIENT_ID.to_owned(),
        client_secret: CLIENT_SECRET.to_owned().into(),
        api: format!("http://{}", paypal.address),
        action_life: Duration::from_secs(60),
        webhook_id: None,
    }
}

/// The method in clear.
struct Redirect;

impl MethodSource for Redirect {
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable> {
        Ok(OpenedMethod::Other {
            name: REDIRECT.to_owned(),
            secret: Zeroizing::new(b"redirect".to_vec()),
        })
    }
}

fn authorization(key: AttemptKey, capture: CaptureMethod) -> Authorization<'static> {
    Authorization {
        key,
        amount: money(2000),
        capture,
        method: &Redirect,
        return_to: Some("https://shop.example/back"),
    }
}

/// An attempt whose shopper has approved, without a worker that asks about it.
async fn approved(paypal: &StandIn, processor: &PayPal, payment: i64) -> AttemptKey {
    let key = attempt(payment);
    let authorization = authorization(key, CaptureMethod::Automatic);
    let answer = processor.authorize(&authorization).await;
    assert!(
        matches!(answer, Answer::ActionRequired { .. }),
        "{answer:?}"
    );
    assert!(paypal.shopper(payment, Pays::Well));
    key
}

fn is_approved(answer: &ActionAnswer) -> bool {
    matches!(answer, ActionAnswer::Approved { .. })
}

fn is_charged(answer: &AttemptCloseAnswer) -> bool {
    matches!(answer, AttemptCloseAnswer::Charged { .. })
}

async fn close(processor: &PayPal, key: AttemptKey) -> AttemptCloseAnswer {
    processor.close_attempt(key, money(2000)).await
}

/// Asks, and returns when the capture has arrived.
async fn asks(
    paypal: &StandIn,
    processor: &Arc<PayPal>,
    key: AttemptKey,
) -> JoinHandle<ActionAnswer> {
    let before = paypal.requests("/capture").len();
    let processor = Arc::clone(processor);
    let asking = tokio::spawn(async move { processor.ask(key).await });
    eventually("a capture is on its way", || async {
        paypal.requests("/capture").len() > before
    })
    .await;
    asking
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_is_closed_while_its_capture_is_on_its_way() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            // PayPal has begun: it refuses the repeated call, so nobody knows yet.
            let key = approved(&paypal, &processor, 9001).await;
            paypal.fail("/capture", Fault::InProgress);
            let asking = asks(&paypal, &processor, key).await;
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Unknown);
            paypal.release();
            assert!(is_approved(&asking.await.unwrap()));
            assert!(is_charged(&close(&processor, key).await));
            assert_eq!(paypal.moved(9001), (2000, 0));

            // The call has not arrived: the repeated one is executed, and the late one changes nothing.
            let key = approved(&paypal, &processor, 9002).await;
            paypal.fail("/capture", Fault::Delayed);
            let asking = asks(&paypal, &processor, key).await;
            assert!(is_charged(&close(&processor, key).await));
            paypal.release();
            assert!(is_approved(&asking.await.unwrap()));
            assert_eq!(paypal.moved(9002), (2000, 0));

            // It is late, and was declined before: the next round is closed.
            let key = approved(&paypal, &processor, 9003).await;
            paypal.fail("/capture", Fault::Delayed);
            let asking = asks(&paypal, &processor, key).await;
            paypal.declines(9003);
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Closed);
            assert!(paypal.shopper(9003, Pays::Well));
            paypal.release();
            assert!(!is_approved(&asking.await.unwrap()));
            assert!(!is_approved(&processor.ask(key).await));
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Closed);
            assert_eq!(paypal.moved(9003), (0, 0));
        },
    )
    .await;
}

/// A worker is killed between two steps, and others go on.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn whoever_takes_over_an_attempt_charges_it_once() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            // After the order was created, before its id was stored.
            paypal.fail("/checkout/orders", Fault::Html);
            let of = |payment| authorization(attempt(payment), CaptureMethod::Automatic);
            assert_eq!(processor.authorize(&of(9101)).await, Answer::Unknown);
            let key = approved(&paypal, &processor, 9101).await;
            assert_eq!(paypal.orders(9101).len(), 1);
            // After a round was begun, before its call.
            begin(&app, key, 60).await;
            assert!(is_approved(&processor.ask(key).await));
            // After the call: asked again by many, and closed.
            let asking = (0..8).map(|_| processor.ask(key));
            assert!(join_all(asking).await.iter().all(is_approved));
            assert!(is_charged(&close(&processor, key).await));
            assert_eq!(paypal.moved(9101), (2000, 0));

            // Many at once, and one that closes.
            for payment in 9102..9110 {
                let key = approved(&paypal, &processor, payment).await;
                let asking = join_all((0..4).map(|_| processor.ask(key)));
                let (_, closed) = tokio::join!(asking, close(&processor, key));
                let again = close(&processor, key).await;
                let charged = is_charged(&again);
                assert_eq!(paypal.moved(payment).0, if charged { 2000 } else { 0 });
                assert!(is_charged(&again) || again == AttemptCloseAnswer::Closed);
                let before = closed == AttemptCloseAnswer::Unknown || closed == again;
                assert!(before, "{closed:?}, then {again:?}");
                assert_eq!(is_approved(&processor.ask(key).await), charged);
            }
            // Closed before a round was begun, and before there was an order.
            let key = approved(&paypal, &processor, 9120).await;
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Closed);
            assert!(!is_approved(&processor.ask(key).await));
            assert_eq!(
                close(&processor, attempt(9121)).await,
                AttemptCloseAnswer::Closed
            );
            let late = processor.authorize(&of(9121)).await;
            assert!(matches!(late, Answer::NotCharged { .. }), "{late:?}");
            assert_eq!(paypal.moved(9120), (0, 0));
        },
    )
    .await;
}

/// Somebody has begun the first round so many seconds ago.
async fn begin(app: &TestApp, key: AttemptKey, seconds: i64) {
    let begun = app.database.now().await.unwrap().unix_timestamp() - seconds;
    let (round, begun) = (format!("{key}-capture-1"), format!("begun {begun}"));
    let keeping = app
        .database
        .keep_processor_reference("paypal", &round, &begun);
    assert_eq!(keeping.await.unwrap(), begun);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_paypal_may_have_forgotten_is_not_repeated() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            // Half of the six hours that PayPal keeps a request id.
            let key = approved(&paypal, &processor, 9201).await;
            begin(&app, key, 3 * 60 * 60 + 1).await;
            assert_eq!(processor.ask(key).await, ActionAnswer::Unknown);
            assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Unknown);
            assert!(paypal.requests("/capture").is_empty());
            // A stored error says nothing, however often it is repeated.
            let key = approved(&paypal, &processor, 9202).await;
            paypal.fail("/capture", Fault::StoredError);
            for _ in 0..2 {
                assert_eq!(processor.ask(key).await, ActionAnswer::Unknown);
                assert_eq!(close(&processor, key).await, AttemptCloseAnswer::Unknown);
            }
            let ids = paypal.requests("/capture");
            assert!(ids.iter().all(|id| *id == ids[0]), "{ids:?}");
            // A refund whose request id is half of 45 days old is only looked up.
            let key = approved(&paypal, &processor, 9203).await;
            assert!(is_approved(&processor.ask(key).await));
            let old = app.database.now().await.unwrap().unix_timestamp() - 23 * 24 * 60 * 60;
            let old = uuid::Timestamp::from_unix(uuid::NoContext, old.unsigned_abs(), 0);
            let call = operation(9203, OperationKind::Refund, Uuid::new_v7(old));
            assert_eq!(processor.refund(&call).await, OperationAnswer::Unknown);
            assert_eq!(paypal.moved(9203), (2000, 0));
        },
    )
    .await;
}

fn operation(payment: i64, kind: OperationKind, id: Uuid) -> OperationCall {
    OperationCall {
        key: OperationId(id),
        kind,
        authorization: attempt(payment),
        authorized: money(2000),
        amount: money(500),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_refund_ends_as_paypal_decides_later() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let cases = [("COMPLETED", None), ("FAILED", Some("echeck"))];
            for (payment, (decided, refused)) in (9301..).zip(cases) {
                let key = approved(&paypal, &processor, payment).await;
                assert!(is_approved(&processor.ask(key).await));
                paypal.refunds_are("PENDING");
                let call = operation(payment, OperationKind::Refund, Uuid::now_v7());
                let accepted = processor.refund(&call).await;
                assert!(matches!(accepted, OperationAnswer::Accepted { .. }));
                paypal.refunds_are(decided);
                let answer = processor.query(&call).await;
                match refused {
                    None => assert!(matches!(answer, OperationAnswer::Done { .. })),
                    Some(code) => {
                        let code = DeclineCode::from_static(code);
                        let refused = OperationAnswer::Refused {
                            code,
                            authorization_gone: false,
                        };
                        assert_eq!(answer, refused);
                    }
                }
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reversal_returns_or_releases_what_was_charged_and_is_confirmed_then() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let processor = processor(&app, &paypal);
            let reverse = |key| processor.reverse(key, money(2000));
            let key = approved(&paypal, &processor, 9401).await;
            assert!(is_approved(&processor.ask(key).await));
            paypal.refunds_are("PENDING");
            assert_eq!(reverse(key).await, ReversalAnswer::Unknown);
            let key = approved(&paypal, &processor, 9402).await;
            assert!(is_approved(&processor.ask(key).await));
            paypal.refunds_are("COMPLETED");
            paypal.fail("/refund", Fault::ErrorAfter);
            assert_eq!(reverse(key).await, ReversalAnswer::Confirmed);
            assert_eq!(paypal.moved(9402), (2000, 2000));
            assert_eq!(reverse(key).await, ReversalAnswer::Confirmed);
            // Held.
            let key = attempt(9403);
            let held = authorization(key, CaptureMethod::Manual);
            processor.authorize(&held).await;
            paypal.shopper(9403, Pays::Well);
            assert!(is_approved(&processor.ask(key).await));
            assert_eq!(reverse(key).await, ReversalAnswer::Confirmed);
            let payments = &paypal.orders(9403)[0]["purchase_units"][0]["payments"];
            assert_eq!(payments["authorizations"][0]["status"], "VOIDED");
            // Approved only: nothing to return, and nothing is charged later.
            let key = approved(&paypal, &processor, 9404).await;
            assert_eq!(reverse(key).await, ReversalAnswer::Confirmed);
            assert!(!is_approved(&processor.ask(key).await));
            assert_eq!(paypal.moved(9404), (0, 0));
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_access_token_is_renewed_once_for_all_calls() {
    let platform = Platform::start().await;
    let paypal = &platform.paypal;
    let app = platform.setup().start(Backend::Embedded).await;
    let processor = processor(&app, paypal);
    let key = approved(paypal, &processor, 9501).await;
    assert!(is_approved(&processor.ask(key).await));
    assert_eq!(paypal.tokens_made(), 1);
    let asks = || join_all((0..24).map(|_| processor.ask(key)));
    // It ends before its time: 24 calls are refused, and one of them gets a new one.
    paypal.end_tokens();
    assert!(asks().await.iter().all(is_approved));
    assert_eq!(paypal.tokens_made(), 2);
    // No token, and no answer about one: the call was not executed. The next call gets one.
    paypal.end_tokens();
    paypal.fail("/oauth2/token", Fault::ErrorBefore);
    assert_eq!(processor.ask(key).await, ActionAnswer::Unknown);
    paypal.tokens_live(0);
    assert!(is_approved(&processor.ask(key).await));
    assert_eq!(paypal.tokens_made(), 3);
    // Its time is over: it is renewed before it is used.
    let refused = paypal.unauthorized();
    assert!(asks().await.iter().all(is_approved));
    assert_eq!(paypal.tokens_made(), 27);
    assert_eq!(paypal.unauthorized(), refused);
    app.finish().await;
}
