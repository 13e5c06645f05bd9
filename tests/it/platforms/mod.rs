//! Payments through platforms, against stand-ins that keep state: Stripe here, PayPal in its own folder.

mod agree;
mod answers;
mod availability;
pub mod contradictions;
mod described;
mod needs_person;
pub mod paypal;
mod reconcile;
mod routes;
mod sessions;
pub mod stand_in;
pub mod unreliable;
mod walk;
pub mod webhooks;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use payment_service::domain::{
    Answer, AttemptCloseAnswer, CaptureMethod, Currency, DeclineCode, Money, OperationAnswer,
    OperationId, OperationKind, PaymentId, ReversalAnswer, TOKEN,
};
use payment_service::processors::stripe::{Stripe, StripeAccount};
use payment_service::processors::{
    AttemptKey, Authorization, MethodSource, MethodUnreadable, OpenedMethod, OperationCall,
    Processor,
};
use serde_json::{Value, json};
use stand_in::{Fault, OLD_WEBHOOK_SECRET, SECRET_KEY, StandIn, WEBHOOK_SECRET};
use tempfile::NamedTempFile;
use tokio::net::TcpListener;
use uuid::Uuid;
use zeroize::Zeroizing;

use crate::app::{Api, Backend, Setup, TestApp, backends, becomes, eventually};

/// One stand-in for all applications of a test; the file lasts as long as they do.
struct Platform {
    stripe: StandIn,
    file: NamedTempFile,
}

impl Platform {
    async fn start() -> Self {
        let stripe = StandIn::start().await;
        let file = list_of_processors(stripe.address);
        Self { stripe, file }
    }

    fn setup(&self) -> Setup {
        setup_with(&self.file)
    }
}

/// A file that lists the account at this address.
fn list_of_processors(address: SocketAddr) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let api = format!("http://{address}");
    let processor = json!({
        "name": "stripe", "type": "stripe", "secret_key": SECRET_KEY, "api": api,
        "webhook_secret": [OLD_WEBHOOK_SECRET, WEBHOOK_SECRET],
    });
    let listed = json!({ "processors": [processor] });
    std::fs::write(file.path(), listed.to_string()).unwrap();
    file
}

fn setup_with(file: &NamedTempFile) -> Setup {
    let file = file.path().display().to_string();
    Setup::new()
        .with("PROCESSORS_FILE", &file)
        .with("PROCESSOR_TIMEOUT", "1s")
}

fn token(token: &str) -> Value {
    json!({"type": "token", "processor": "stripe", "token": token})
}

fn order(token_: &str) -> Value {
    json!({"order_id": 1, "user_id": 1, "total_amount": 20, "payment_method": token(token_)})
}

async fn pay(api: &Api, token: &str) -> i64 {
    api.post("/payments", order(token)).await.is(202).id()
}

/// Each application has an account of its own, so that the payments of one are not those of the other.
async fn on_each<T: Future<Output = ()>>(
    setup: impl Fn(Setup) -> Setup,
    test: impl Fn(Arc<TestApp>, StandIn) -> T,
) {
    for backend in backends() {
        let platform = Platform::start().await;
        let app = Arc::new(setup(platform.setup()).start(backend).await);
        test(Arc::clone(&app), platform.stripe.clone()).await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_token_ends_as_stripe_says() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            for (pm, status, code) in [
                ("pm_card_visa", "succeeded", None),
                (
                    "pm_card_chargeDeclinedInsufficientFunds",
                    "declined",
                    Some("insufficient_funds"),
                ),
                (
                    "pm_card_chargeDeclinedExpiredCard",
                    "declined",
                    Some("expired_card"),
                ),
                ("pm_unknown", "declined", Some("resource_missing")),
            ] {
                let id = pay(&app.api, pm).await;
                let ended = app.api.outcome(id).await;
                assert_eq!(ended["status"], status, "{pm}: {ended}");
                assert_eq!(ended["decline_code"], json!(code), "{pm}");
                let shown = json!({"type": "token", "processor": "stripe"});
                assert_eq!(ended["payment_method"], shown);
                let charged = if status == "succeeded" { 2000 } else { 0 };
                assert_eq!(stripe.moved(id), (charged, 0), "{pm}");
                if charged > 0 {
                    let charge = &stripe.intents(id)[0]["latest_charge"];
                    assert_eq!(ended["authorization_code"], *charge);
                }
                assert_eq!(app.standing_charges(id).await, 0, "the simulator was asked");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_shopper_approves_at_stripe_or_does_not() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let shopper = "pm_card_authenticationRequired";
            for approves in [true, false] {
                let id = pay(&app.api, shopper).await;
                let asked = becomes(&app.api, id, "requires_action").await;
                let page = "https://hooks.stripe.example/3d";
                assert_eq!(asked["next_action"]["url"], page);
                let page = &stripe.intents(id)[0]["next_action"]["redirect_to_url"];
                let back = page["return_url"].as_str().unwrap();
                assert!(back.ends_with(&format!("/payments/process/{id}")), "{back}");
                stripe.shopper(id, approves);
                let (status, code) = match approves {
                    true => ("succeeded", Value::Null),
                    false => ("declined", json!("authentication_failed")),
                };
                let ended = becomes(&app.api, id, status).await;
                assert_eq!(ended["decline_code"], code);
                assert_eq!(stripe.moved(id), (2000 * i64::from(approves), 0));
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_card_first_closes_the_attempt_at_stripe() {
    on_each(
        |setup| {
            setup
                .with("RETRY_INITIAL", "2s")
                .with("RETRY_MAX_INTERVAL", "2s")
        },
        |app, stripe| async move {
            for approved in [false, true] {
                let id = pay(&app.api, "pm_card_authenticationRequired").await;
                becomes(&app.api, id, "requires_action").await;
                if approved {
                    stripe.shopper(id, true);
                }
                let process = format!("/payments/{id}/process");
                let body = json!({"card_token": "tok_visa"});
                let prefer = [("Prefer", "respond-async")];
                app.api.post_with(&process, &prefer, body).await;
                let ended = becomes(&app.api, id, "succeeded").await;
                let used = &ended["payment_method"]["type"];
                assert_eq!(*used, if approved { "token" } else { "card" });
                let intent = &stripe.intents(id)[0];
                let status = if approved { "succeeded" } else { "canceled" };
                assert_eq!(intent["status"], status);
                let simulated = app.standing_charges(id).await;
                assert_eq!(simulated, usize::from(!approved), "charged once in all");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_authorized_can_be_captured_released_and_refunded() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            let mut held = order("pm_card_visa");
            held["capture_method"] = json!("manual");
            let id = api.post("/payments", held.clone()).await.is(202).id();
            becomes(api, id, "requires_capture").await;
            assert_eq!(stripe.moved(id), (0, 0));
            let capture = format!("/payments/{id}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            becomes(api, id, "succeeded").await;
            assert_eq!(stripe.moved(id), (1500, 0));
            for amount in [4, 5] {
                refund(api, id, amount).await;
            }
            refunded(api, id, 9.0).await;
            assert_eq!(stripe.moved(id), (1500, 900));

            let id = api.post("/payments", held).await.is(202).id();
            becomes(api, id, "requires_capture").await;
            api.post(&format!("/payments/{id}/cancel"), json!({}))
                .await
                .is(202);
            becomes(api, id, "canceled").await;
            assert_eq!(stripe.intents(id)[0]["status"], "canceled");
        },
    )
    .await;
}

async fn refund(api: &Api, id: i64, amount: i64) {
    let (path, key) = (
        format!("/payments/{id}/refunds"),
        format!("refund-{amount}-of-{id}"),
    );
    let key = [("Idempotency-Key", key.as_str())];
    api.post_with(&path, &key, json!({ "amount": amount }))
        .await
        .is(202);
}

async fn refunded(api: &Api, id: i64, amount: f64) {
    let path = format!("/payments/{id}");
    eventually("the refunds are done", || async {
        api.get(&path).await.is(200)["amount_refunded"] == amount
    })
    .await;
}

/// Which request fails, how, and how the payment ends: status and code.
type Case = (&'static str, Fault, &'static str, Option<&'static str>);

/// Whatever Stripe answers, or does not answer.
const FAULTS: [Case; 12] = [
    ("/confirm", Fault::ErrorBefore, "succeeded", None),
    ("/confirm", Fault::ErrorAfter, "succeeded", None),
    ("/confirm", Fault::Silent, "succeeded", None),
    ("/confirm", Fault::Html, "succeeded", None),
    ("/confirm", Fault::Busy, "succeeded", None),
    ("/payment_intents", Fault::Silent, "succeeded", None),
    ("/payment_intents", Fault::Html, "succeeded", None),
    ("/payment_intents", Fault::Busy, "succeeded", None),
    // Stored under the key, and repeated to every try.
    (
        "/payment_intents",
        Fault::ErrorBefore,
        "failed",
        Some("issuer_no_answer"),
    ),
    (
        "/payment_intents",
        Fault::ErrorAfter,
        "failed",
        Some("issuer_no_answer"),
    ),
    ("/payment_intents", Fault::OtherAmount, "succeeded", None),
    ("/confirm", Fault::OtherAmount, "succeeded", None),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_is_missing_or_broken_charges_once_or_not_at_all() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            for (path, fault, status, code) in FAULTS {
                stripe.fail(path, fault);
                let id = pay(&app.api, "pm_card_visa").await;
                let ended = app.api.outcome(id).await;
                assert_eq!(ended["status"], status, "{path} {fault:?}: {ended}");
                assert_eq!(ended["decline_code"], json!(code), "{path} {fault:?}");
                let charged = if status == "succeeded" { 2000 } else { 0 };
                assert_eq!(stripe.moved(id), (charged, 0), "{path} {fault:?}");
            }
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_is_made_once_whatever_stripe_answers() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            for fault in [Fault::ErrorAfter, Fault::Silent, Fault::Html, Fault::Busy] {
                let id = pay(api, "pm_card_visa").await;
                becomes(api, id, "succeeded").await;
                stripe.fail("/refunds", fault);
                refund(api, id, 5).await;
                refunded(api, id, 5.0).await;
                assert_eq!(stripe.moved(id), (2000, 500), "{fault:?}");
            }
        },
    )
    .await;
}

#[tokio::test]
async fn what_stripe_cannot_take_is_refused_before_it_is_accepted() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let with = |field: &str, value: Value| {
                let mut order = order("pm_card_visa");
                order[field] = value;
                order
            };
            let method = |changes: Value| {
                let mut method = token("pm_card_visa");
                for (name, value) in changes.as_object().unwrap() {
                    method[name] = value.clone();
                }
                with("payment_method", method)
            };
            let mut too_fine = with("currency", json!("KWD"));
            too_fine["total_amount"] = json!(1.234);
            for (order, field, code) in [
                (
                    too_fine,
                    "payment_method.processor",
                    "processor_not_available",
                ),
                (
                    method(json!({"processor": "adyen"})),
                    "payment_method.processor",
                    "processor_not_available",
                ),
                (
                    method(json!({"processor": "A"})),
                    "payment_method.processor",
                    "invalid_processor",
                ),
                (
                    method(json!({"token": "4242424242424242"})),
                    "payment_method.token",
                    "invalid_token",
                ),
                (
                    method(json!({"token": "a b"})),
                    "payment_method.token",
                    "invalid_token",
                ),
                (
                    with(
                        "payment_method",
                        json!({"type": "redirect", "processor": "adyen"}),
                    ),
                    "payment_method.processor",
                    "processor_not_available",
                ),
            ] {
                let api = app.api.beyond_the_description();
                let refused = api.post("/payments", order).await.is(422);
                assert_eq!(refused.faults(), [(field, code)]);
            }
            assert_eq!(stripe.requests("/payment_intents"), 0);
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_installations_share_an_account() {
    let platform = Platform::start().await;
    let mut ids = Vec::new();
    for _ in 0..2 {
        let app = platform.setup().start(Backend::Embedded).await;
        let id = pay(&app.api, "pm_card_visa").await;
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
        ids.push(id);
        app.finish().await;
    }
    assert_eq!(ids[0], ids[1], "the keys would differ anyway");
    let intents = platform.stripe.intents(ids[0]);
    assert_eq!(intents.len(), 2, "one had the intent of the other");
    let installation = |intent: &Value| intent["metadata"]["installation"].clone();
    assert_ne!(installation(&intents[0]), installation(&intents[1]));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_connection_nothing_is_charged_and_another_card_can_pay() {
    let platform = Platform::start().await;
    let gone = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let api = format!("http://{}", gone.local_addr().unwrap());
    drop(gone);
    let processor = json!({
        "name": "stripe", "type": "stripe", "secret_key": SECRET_KEY, "api": api,
        "webhook_secret": [OLD_WEBHOOK_SECRET, WEBHOOK_SECRET],
    });
    let listed = json!({ "processors": [processor] });
    std::fs::write(platform.file.path(), listed.to_string()).unwrap();
    let app = platform.setup().start(Backend::Embedded).await;
    let id = pay(&app.api, "pm_card_visa").await;
    let failed = app.api.outcome(id).await;
    assert_eq!(failed["status"], "failed");
    assert_eq!(failed["decline_code"], "issuer_unavailable");
    let process = format!("/payments/{id}/process");
    app.api
        .post(&process, json!({"card_token": "tok_visa"}))
        .await;
    becomes(&app.api, id, "succeeded").await;
    app.finish().await;
}

/// The processor itself, on an application's database.
fn processor(app: &TestApp, stripe: &StandIn) -> Stripe {
    connector(app, stripe.address)
}

fn connector(app: &TestApp, api: SocketAddr) -> Stripe {
    let account = StripeAccount {
        name: "stripe".to_owned(),
        secret_key: SECRET_KEY.to_owned().into(),
        api: format!("http://{api}"),
        action_life: Duration::from_secs(60),
        webhook_secrets: Vec::new(),
    };
    Stripe::new(&account, app.database.clone()).unwrap()
}

fn money(minor: i64) -> Money {
    Money::from_minor(minor, Currency::parse("CAD").unwrap()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_refund_ends_as_stripe_decides_later() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            for (decided, refused) in [("succeeded", false), ("failed", true)] {
                let id = pay(&app.api, "pm_card_pendingRefund").await;
                becomes(&app.api, id, "succeeded").await;
                let call = OperationCall {
                    key: OperationId(Uuid::now_v7()),
                    kind: OperationKind::Refund,
                    authorization: attempt(id),
                    authorized: money(2000),
                    amount: money(500),
                };
                let accepted = processor(&app, &stripe).refund(&call).await;
                assert!(matches!(accepted, OperationAnswer::Accepted { .. }));
                stripe.decide_refunds(decided);
                let answer = processor(&app, &stripe).query(&call).await;
                match refused {
                    false => assert!(matches!(answer, OperationAnswer::Done { .. })),
                    true => {
                        let code = DeclineCode::from_static("expired_or_canceled_card");
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
async fn a_reversal_is_confirmed_only_when_the_amount_has_been_returned() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let id = pay(&app.api, "pm_card_pendingRefund").await;
            becomes(&app.api, id, "succeeded").await;
            let processor = processor(&app, &stripe);
            for decided in ["failed", "succeeded"] {
                // Asked twice: the second refund is refused, because the first one has taken all of the amount.
                for _ in 0..2 {
                    let pending = processor.reverse(attempt(id), money(2000)).await;
                    assert_eq!(pending, ReversalAnswer::Unknown);
                }
                stripe.decide_refunds(decided);
            }
            let reversed = processor.reverse(attempt(id), money(2000)).await;
            assert_eq!(reversed, ReversalAnswer::Confirmed);
            assert_eq!(stripe.moved(id), (2000, 2000));
        },
    )
    .await;
}

fn attempt(payment: i64) -> AttemptKey {
    AttemptKey {
        payment: PaymentId(payment),
        attempt: 1,
    }
}

/// A token in clear.
struct Visa;

impl MethodSource for Visa {
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable> {
        Ok(OpenedMethod::Other {
            name: TOKEN.to_owned(),
            secret: Zeroizing::new(b"pm_card_visa".to_vec()),
        })
    }
}

/// Calls of a worker that was stopped in between arrive after the attempt was closed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_is_delayed_beyond_the_closing_charges_nothing() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let processor = processor(&app, &stripe);
            let late = |payment| Authorization {
                key: attempt(payment),
                amount: money(2000),
                capture: CaptureMethod::Automatic,
                method: &Visa,
                return_to: None,
            };
            // Nothing was created yet.
            let reversed = processor.reverse(attempt(9001), money(2000)).await;
            assert_eq!(reversed, ReversalAnswer::Confirmed);
            let answer = processor.authorize(&late(9001)).await;
            assert!(matches!(answer, Answer::NotCharged { .. }), "{answer:?}");
            assert_eq!(stripe.intents(9001).len(), 0);
            // An intent was created, but not confirmed.
            stripe.fail("/confirm", Fault::ErrorBefore);
            assert_eq!(processor.authorize(&late(9002)).await, Answer::Unknown);
            let closed = processor.close_attempt(attempt(9002), money(2000)).await;
            assert_eq!(closed, AttemptCloseAnswer::Closed);
            let answer = processor.authorize(&late(9002)).await;
            assert!(matches!(answer, Answer::Declined { .. }), "{answer:?}");
            // It was charged, and the answer was lost.
            stripe.fail("/confirm", Fault::ErrorAfter);
            assert_eq!(processor.authorize(&late(9003)).await, Answer::Unknown);
            let reversed = processor.reverse(attempt(9003), money(2000)).await;
            assert_eq!(reversed, ReversalAnswer::Confirmed);
            assert_eq!(stripe.moved(9001), (0, 0));
            assert_eq!(stripe.moved(9002), (0, 0));
            assert_eq!(stripe.moved(9003), (2000, 2000));
        },
    )
    .await;
}
