//! Webhooks of Stripe's: who may send them, and what follows from them, whenever and however often they come.

use std::process::Command;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use futures::future::join_all;
use hmac::{Hmac, KeyInit, Mac};
use payment_service::domain::PaymentId;
use payment_service::store::EventSubject;
use payment_service::store::audit::{Bounds, Finding, Severity};
use reqwest::header::CONTENT_TYPE;
use serde_json::{Value, json};
use sha2::Sha256;
use time::OffsetDateTime;
use time::macros::format_description;

use super::stand_in::{Fault, OLD_WEBHOOK_SECRET, StandIn, WEBHOOK_SECRET};
use super::{Platform, on_each, pay, refund, refunded};
use crate::app::{Api, Backend, TestApp, becomes, eventually, eventually_within, field};
use crate::support::python;

/// Asking takes so long by itself that only a webhook can be faster.
pub fn slow(setup: crate::app::Setup) -> crate::app::Setup {
    setup
        .with("RETRY_INITIAL", "60s")
        .with("RETRY_MAX_INTERVAL", "60s")
}

/// Runs a test with such intervals. What would be asked after a minute becomes due at its end.
async fn on_each_slowly<T: Future<Output = ()>>(test: impl Fn(Arc<TestApp>, StandIn) -> T) {
    on_each(slow, |app, stripe| {
        let running = test(Arc::clone(&app), stripe);
        async move {
            running.await;
            all_is_due(&app).await;
            app.until_settled().await;
            assert_eq!(findings(&app).await, Vec::<String>::new());
        }
    })
    .await;
}

const LONG: Duration = Duration::from_secs(600);

const PATIENT: Bounds = Bounds {
    first_try: LONG,
    processing: LONG,
    ahead: LONG,
    outbox: LONG,
    outbox_age: LONG,
    token: LONG,
    ledger: true,
};

/// What the audit finds, but for what is late on a slow machine.
async fn findings(app: &TestApp) -> Vec<String> {
    let audit = app.database.audit(PATIENT).await.unwrap();
    let findings = audit.findings.iter().filter(|finding| finding.count > 0);
    findings.map(|finding| format!("{finding:?}")).collect()
}

pub async fn all_is_due(app: &TestApp) {
    app.execute("UPDATE outbox SET due_at = '2020-01-01 00:00:00.000000'")
        .await;
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap()
        .as_secs()
}

fn signature(secret: &str, time: u64, body: &str) -> String {
    let mut mac = Hmac::<Sha256>::new_from_slice(secret.as_bytes()).unwrap();
    mac.update(format!("{time}.{body}").as_bytes());
    hex::encode(mac.finalize().into_bytes())
}

/// The `Stripe-Signature` of a body that is sent now.
pub fn signed_now(body: &str) -> String {
    signed_at(now(), body)
}

fn signed_at(time: u64, body: &str) -> String {
    format!("t={time},v1={}", signature(WEBHOOK_SECRET, time, body))
}

/// Sends a body with this `Stripe-Signature`; returns the status.
async fn send_as(api: &Api, path: &str, header: Option<&str>, body: &str) -> u16 {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let mut request = http
        .post(format!("http://{}{path}", api.address()))
        .header(CONTENT_TYPE, "application/json; charset=utf-8")
        .body(body.to_owned());
    if let Some(header) = header {
        request = request.header("Stripe-Signature", header);
    }
    request.send().await.unwrap().status().as_u16()
}

/// The signing secret of [`send`].
pub const SECRET: &str = WEBHOOK_SECRET;

/// Sends a body with a good signature; returns the status.
pub async fn send(api: &Api, body: &str) -> u16 {
    let header = signed_at(now(), body);
    send_as(api, "/webhooks/stripe", Some(&header), body).await
}

/// The shopper of a payment approves, and Stripe's event about it.
fn approved(stripe: &StandIn, id: i64) -> String {
    stripe.shopper(id, true);
    stripe.event("payment_intent.succeeded", &stripe.intents(id)[0])
}

async fn waiting(api: &Api) -> i64 {
    let id = pay(api, "pm_card_authenticationRequired").await;
    becomes(api, id, "requires_action").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_approval_is_noticed_when_its_webhook_comes() {
    on_each_slowly(|app, stripe| async move {
        let id = waiting(&app.api).await;
        let event = approved(&stripe, id);
        assert_eq!(send(&app.api, &event).await, 200);
        becomes(&app.api, id, "succeeded").await;
        // Again, and about what is long over.
        assert_eq!(send(&app.api, &event).await, 200);
        assert_eq!(stripe.moved(id), (2000, 0));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_webhook_claims_is_not_believed() {
    on_each_slowly(|app, stripe| async move {
        let id = waiting(&app.api).await;
        let mut claim = stripe.intents(id)[0].clone();
        claim["status"] = json!("succeeded");
        let event = stripe.event("payment_intent.succeeded", &claim);
        let asked = stripe.requests(claim["id"].as_str().unwrap());
        assert_eq!(send(&app.api, &event).await, 200);
        eventually("Stripe is asked", || async {
            stripe.requests(claim["id"].as_str().unwrap()) > asked
        })
        .await;
        let path = format!("/payments/{id}");
        let payment = app.api.get(&path).await.is(200);
        assert_eq!(payment["status"], "requires_action");
        // The next one is true.
        let event = approved(&stripe, id);
        assert_eq!(send(&app.api, &event).await, 200);
        becomes(&app.api, id, "succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_webhook_that_is_not_genuine_changes_nothing() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let id = waiting(api).await;
        let event = approved(&stripe, id);
        let right = signature(WEBHOOK_SECRET, now(), &event);
        let wrong = signature("whsec_guessed", now(), &event);
        let of_other_body = signature(WEBHOOK_SECRET, now(), "{}");
        let late = now() - 301;
        let early = now() + 320;
        for header in [
            None,
            Some(String::new()),
            Some(format!("t={},v1={wrong}", now())),
            Some(format!("t={},v1={of_other_body}", now())),
            Some(format!("t={},v0={right}", now())),
            Some(format!("v1={right}")),
            Some(signed_at(late, &event)),
            Some(signed_at(early, &event)),
            Some("<html>".repeat(100)),
        ] {
            let path = "/webhooks/stripe";
            let status = send_as(api, path, header.as_deref(), &event).await;
            assert_eq!(status, 401, "{header:?}");
        }
        for (path, status) in [
            ("/webhooks/other", 404),
            ("/webhooks/simulated", 404),
            ("/webhooks/", 404),
            ("/webhooks/stripe/x", 404),
            ("/webhooks/%FF", 404),
        ] {
            let header = signed_at(now(), &event);
            assert_eq!(
                send_as(api, path, Some(&header), &event).await,
                status,
                "{path}"
            );
        }
        for (body, status) in [
            ("<html>".to_owned(), 400),
            (event[..event.len() / 2].to_owned(), 400),
            ("{}".to_owned(), 400),
            (" ".repeat(300 * 1024), 413),
            (" ".repeat(10 * 1024 * 1024), 413),
        ] {
            assert_eq!(send(api, &body).await, status, "{} bytes", body.len());
        }
        let known = app
            .database
            .take_platform_events("stripe", Duration::ZERO, 9);
        assert_eq!(known.await.unwrap().events, [], "something was stored");
        // Both secrets are good while one is being replaced.
        let old = format!(
            "t={},v1={}",
            now(),
            signature(OLD_WEBHOOK_SECRET, now(), &event)
        );
        assert_eq!(
            send_as(api, "/webhooks/stripe", Some(&old), &event).await,
            200
        );
        becomes(api, id, "succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_of_other_installations_and_of_unused_kinds_are_dropped() {
    on_each_slowly(|app, stripe| async move {
        let id = waiting(&app.api).await;
        let event = approved(&stripe, id);
        let intent = &stripe.intents(id)[0];
        let ours = intent["metadata"]["installation"].as_str().unwrap();
        let dropped = [
            event.replace(ours, "another"),
            stripe.event("payment_intent.created", intent),
            stripe.event("charge.succeeded", &json!({"id": "ch_1"})),
            stripe.event("a.kind.that.is.not.known", &Value::Null),
        ];
        for body in dropped {
            assert_eq!(send(&app.api, &body).await, 200);
        }
        assert_eq!(rows(&app, "1 = 1").await, 0, "nothing is stored");
        assert_eq!(send(&app.api, &event).await, 200, "its id is not used up");
        becomes(&app.api, id, "succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_comes_before_its_payment_waits_is_kept() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let next = waiting(api).await + 1;
        let mut intent = stripe.intents(next - 1)[0].clone();
        intent["metadata"]["payment_id"] = json!(next.to_string());
        let early = stripe.event("payment_intent.succeeded", &intent);
        assert_eq!(send(api, &early).await, 200);
        eventually("it is looked at", || async {
            rows(&app, "tries > 0").await == 1
        })
        .await;
        assert_eq!(waiting_events(&app).await, 1, "it is kept");
        assert_eq!(waiting(api).await, next);
        let intent = stripe.intents(next)[0]["id"].as_str().unwrap().to_owned();
        eventually("Stripe is asked", || async { stripe.requests(&intent) > 0 }).await;
        eventually("the event is over", || async {
            waiting_events(&app).await == 0
        })
        .await;
        for id in [next - 1, next] {
            assert_eq!(send(api, &approved(&stripe, id)).await, 200);
            becomes(api, id, "succeeded").await;
        }
    })
    .await;
}

/// Events that are not over.
async fn waiting_events(app: &TestApp) -> u64 {
    rows(app, "state = 'waiting'").await
}

/// How many events fit.
async fn rows(app: &TestApp, condition: &str) -> u64 {
    let counted = format!("UPDATE platform_events SET tries = tries WHERE {condition}");
    app.execute(&counted).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_a_bank_returns_weeks_later_fails_and_its_amount_can_be_refunded_again() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_visa").await;
        becomes(api, id, "succeeded").await;
        refund(api, id, 5).await;
        refunded(api, id, 5.0).await;
        let made = &stripe.refunds(id)[0];
        let of_success = stripe.event("refund.updated", made);
        let returned = stripe.return_refund(made["id"].as_str().unwrap());
        let event = stripe.event("refund.failed", &returned);
        // Out of order, and twice.
        for body in [&event, &of_success, &event] {
            assert_eq!(send(api, body).await, 200);
        }
        refunded(api, id, 0.0).await;
        let listed = api.get(&format!("/payments/{id}/refunds")).await.is(200);
        let failed = &listed["data"][0];
        assert_eq!(failed["status"], "failed");
        assert_eq!(failed["failure_code"], "expired_or_canceled_card");
        assert_eq!(failed["source"], "client");
        let history = api.history(id).await;
        let of_refunds: Vec<_> = history
            .iter()
            .filter(|it| it.starts_with("refund"))
            .collect();
        assert_eq!(
            of_refunds,
            ["refund_started", "refund_succeeded", "refund_failed"]
        );
        refund(api, id, 20).await;
        refunded(api, id, 20.0).await;
        assert_eq!(stripe.moved(id), (2000, 2000));
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_made_in_the_dashboard_becomes_one_here_once() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_visa").await;
        becomes(api, id, "succeeded").await;
        let made = stripe.refund_in_the_dashboard(id, 700);
        // All at once, so that they are looked at together.
        let kinds = ["refund.created", "charge.refund.updated", "refund.updated"];
        let events = kinds.iter().cycle().take(12);
        let events: Vec<String> = events.map(|kind| stripe.event(kind, &made)).collect();
        let sent = events.iter().map(|event| send(api, event));
        assert_eq!(join_all(sent).await, [200; 12]);
        refunded(api, id, 7.0).await;
        let path = format!("/payments/{id}/refunds");
        let listed = api.get(&path).await.is(200);
        let refunds = listed["data"].as_array().unwrap();
        assert_eq!(refunds.len(), 1, "{refunds:?}");
        assert_eq!(refunds[0]["source"], "processor");
        assert_eq!(refunds[0]["status"], "succeeded");
        // What is left is bounded.
        let key = [("Idempotency-Key", "too-much")];
        let too_much = api.post_with(&path, &key, json!({"amount": 13.01})).await;
        too_much.is(422);
        refund(api, id, 13).await;
        refunded(api, id, 20.0).await;
        // It can fail later, like any other.
        let returned = stripe.return_refund(made["id"].as_str().unwrap());
        let event = stripe.event("refund.failed", &returned);
        assert_eq!(send(api, &event).await, 200);
        refunded(api, id, 13.0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_pending_refund_of_the_dashboard_is_followed_to_its_end() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        for (end, amount) in [("succeeded", 7.0), ("failed", 0.0)] {
            let id = pay(api, "pm_card_pendingRefund").await;
            becomes(api, id, "succeeded").await;
            let made = stripe.refund_in_the_dashboard(id, 700);
            let event = stripe.event("refund.created", &made);
            assert_eq!(send(api, &event).await, 200);
            let path = format!("/payments/{id}/refunds");
            eventually("the refund is listed", || async {
                let listed = api.get(&path).await.is(200);
                listed["data"][0]["status"] == "pending"
            })
            .await;
            stripe.decide_refunds(end);
            let event = stripe.event("refund.updated", &made);
            assert_eq!(send(api, &event).await, 200);
            eventually_within(Duration::from_secs(30), "it ends", || async {
                let listed = api.get(&path).await.is(200);
                listed["data"][0]["status"] == end
            })
            .await;
            let payment = api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(payment["amount_refunded"], amount, "{end}");
        }
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_platform_that_does_not_answer_is_asked_again() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_visa").await;
        becomes(api, id, "succeeded").await;
        let made = stripe.refund_in_the_dashboard(id, 700);
        for fault in [Fault::ErrorAfter, Fault::Html] {
            stripe.fail("/re_1", fault);
        }
        let event = stripe.event("refund.created", &made);
        assert_eq!(send(api, &event).await, 200);
        refunded(api, id, 7.0).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_cannot_be_read_is_set_aside_and_delays_no_other() {
    on_each_slowly(|app, stripe| async move {
        let nonsense = EventSubject {
            kind: "card".to_owned(),
            reference: "7".to_owned(),
        };
        for number in 0..20 {
            let id = format!("evt_broken_{number}");
            let adding = app
                .database
                .add_platform_event(("stripe", &id), "?", &nonsense);
            assert!(adding.await.unwrap());
        }
        let id = waiting(&app.api).await;
        let event = approved(&stripe, id);
        assert_eq!(send(&app.api, &event).await, 200);
        becomes(&app.api, id, "succeeded").await;
        eventually("they are set aside", || async {
            waiting_events(&app).await == 0
        })
        .await;
        let aside = audited(&app, "platform_events_applied").await;
        assert_eq!((aside.severity, aside.count), (Severity::Breach, 20));
        let example = "stripe evt_broken_0 (?) about card 7: a row of it cannot be read";
        assert!(aside.examples[0].contains(example), "{aside:?}");
        let aside = "DELETE FROM platform_events WHERE state = 'aside' AND quarantined IS NOT NULL";
        assert_eq!(app.execute(aside).await, 20);
    })
    .await;
}

async fn audited(app: &TestApp, rule: &str) -> Finding {
    let audit = app.database.audit(PATIENT).await.unwrap();
    audit.finding(rule).unwrap().clone()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_event_that_nothing_fits_is_told_by_the_audit() {
    on_each_slowly(|app, stripe| async move {
        // Its payment is never there.
        let id = waiting(&app.api).await;
        let mut intent = stripe.intents(id)[0].clone();
        intent["metadata"]["payment_id"] = json!("999999999");
        let event = stripe.event("payment_intent.succeeded", &intent);
        assert_eq!(send(&app.api, &event).await, 200);
        eventually("it is looked at", || async {
            rows(&app, "tries > 0").await == 1
        })
        .await;
        let in_time = "platform_events_in_time";
        assert_eq!(audited(&app, in_time).await.count, 0);
        let column = |at: OffsetDateTime| {
            let shown = format_description!("[year]-[month]-[day] [hour]:[minute]:[second].000000");
            at.format(shown).unwrap()
        };
        let received = |ago: Duration| {
            let now = OffsetDateTime::now_utc();
            let (received, due) = (column(now - ago), column(now - LONG));
            format!("UPDATE platform_events SET received_at = '{received}', due_at = '{due}'")
        };
        app.execute(&received(Duration::from_secs(2 * 60 * 60)))
            .await;
        let late = audited(&app, in_time).await;
        assert_eq!((late.severity, late.count), (Severity::Notice, 1));
        assert!(
            late.examples[0].contains("about attempt 999999999-1"),
            "{late:?}"
        );
        app.execute(&received(Duration::from_secs(4 * 24 * 60 * 60)))
            .await;
        eventually("it is set aside", || async {
            rows(&app, "state = 'aside'").await == 1
        })
        .await;
        let aside = audited(&app, "platform_events_applied").await;
        assert_eq!((aside.severity, aside.count), (Severity::Breach, 1));
        assert!(
            aside.examples[0].ends_with("nothing here has fitted it"),
            "{aside:?}"
        );
        app.execute("DELETE FROM platform_events").await;
        assert_eq!(send(&app.api, &approved(&stripe, id)).await, 200);
        becomes(&app.api, id, "succeeded").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_secret_there_is_no_such_address() {
    let platform = Platform::start().await;
    let content = std::fs::read_to_string(platform.file.path()).unwrap();
    let mut content: Value = serde_json::from_str(&content).unwrap();
    let account = content["processors"][0].as_object_mut().unwrap();
    account.remove("webhook_secret").unwrap();
    std::fs::write(platform.file.path(), content.to_string()).unwrap();
    let app = platform.setup().start(Backend::Embedded).await;
    assert_eq!(send(&app.api, "{}").await, 404);
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_dispute_is_shown_and_published_until_it_has_ended() {
    on_each_slowly(|app, stripe| async move {
        let api = &app.api;
        let mut results = app.results("dispute.*.default").await;
        for (reports, closed) in [
            (vec![None, None, Some("won")], true),
            (vec![Some("lost")], true),
            (vec![None], false),
        ] {
            let id = pay(api, "pm_card_visa").await;
            becomes(api, id, "succeeded").await;
            let dispute = stripe.dispute(id);
            for ended in &reports {
                let (kind, now) = match ended {
                    None => ("charge.dispute.created", dispute.clone()),
                    Some(how) => {
                        let id = dispute["id"].as_str().unwrap();
                        ("charge.dispute.closed", stripe.end_dispute(id, how))
                    }
                };
                let event = stripe.event(kind, &now);
                assert_eq!(send(api, &event).await, 200);
                eventually("the event is over", || async {
                    waiting_events(&app).await == 0
                })
                .await;
            }
            let history = api.history(id).await;
            let of_dispute: Vec<_> = history
                .iter()
                .filter(|it| it.starts_with("dispute"))
                .collect();
            let both = ["dispute_opened", "dispute_closed"];
            assert_eq!(of_dispute, both[..=usize::from(closed)], "{reports:?}");
            let payment = api.get(&format!("/payments/{id}")).await.is(200);
            assert_eq!(payment["disputed"], !closed);
            assert_eq!(payment["status"], "succeeded");
            assert_eq!(payment["amount_refunded"], 0.0);
            let opened = results.of(id).await;
            assert_eq!(opened.kind, "dispute.opened");
            if closed {
                assert_eq!(results.of(id).await.kind, "dispute.closed");
            }
            // It can still be refunded.
            refund(api, id, 5).await;
            refunded(api, id, 5.0).await;
        }
    })
    .await;
}

/// Runs a program with Stripe's own Python library.
fn stripe_python(program: &str, arguments: &[&str]) -> String {
    let mut command = Command::new(python::interpreter());
    let output = command
        .arg("-c")
        .arg(program)
        .args(arguments)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().to_owned()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripes_own_library_makes_and_accepts_the_same_signatures() {
    const SIGN: &str = "
import sys, stripe
body, secret, time = sys.argv[1:]
signature = stripe.WebhookSignature._compute_signature(f'{time}.{body}', secret)
print(f't={time},v1={signature}')";
    const VERIFY: &str = "
import sys, stripe
body, secret, header = sys.argv[1:]
print(stripe.Webhook.construct_event(body, header, secret).id)";
    let platform = Platform::start().await;
    let app = slow(platform.setup()).start(Backend::Embedded).await;
    let id = waiting(&app.api).await;
    let event = approved(&platform.stripe, id);
    let time = now().to_string();
    let theirs = stripe_python(SIGN, &[&event, WEBHOOK_SECRET, &time]);
    assert_eq!(theirs, signed_at(now().min(time.parse().unwrap()), &event));
    let status = send_as(&app.api, "/webhooks/stripe", Some(&theirs), &event).await;
    assert_eq!(status, 200);
    becomes(&app.api, id, "succeeded").await;
    let ours = signed_at(now(), &event);
    let read = stripe_python(VERIFY, &[&event, WEBHOOK_SECRET, &ours]);
    let sent: Value = serde_json::from_str(&event).unwrap();
    assert_eq!(read, field(&sent, "id"));
    all_is_due(&app).await;
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn events_are_forgotten_after_a_while_and_too_many_are_dropped() {
    for backend in crate::app::backends() {
        let app = crate::app::Setup::new().start(backend).await;
        let database = &app.database;
        let about = EventSubject {
            kind: "attempt".to_owned(),
            reference: "1-1".to_owned(),
        };
        for number in 0..8 {
            let id = format!("evt_{number}");
            let adding = database.add_platform_event(("gone", &id), "kind", &about);
            assert!(adding.await.unwrap());
        }
        assert_eq!(database.forget_platform_events(5).await.unwrap(), 3);
        assert_eq!(waiting_events(&app).await, 5);
        let long_ago = "UPDATE platform_events SET due_at = '2020-01-01 00:00:00.000000'";
        assert_eq!(app.execute(long_ago).await, 5);
        assert_eq!(database.forget_platform_events(5).await.unwrap(), 0);
        assert_eq!(waiting_events(&app).await, 0);
        assert_eq!(database.payment(PaymentId(1)).await.unwrap(), None);
        let again = database.add_platform_event(("gone", "evt_7"), "kind", &about);
        assert!(again.await.unwrap(), "it was forgotten");
        app.execute("DELETE FROM platform_events").await;
        app.finish().await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reference_that_many_keep_at_once_is_kept_for_all_of_them() {
    for backend in crate::app::backends() {
        let app = crate::app::Setup::new().start(backend).await;
        for round in 0..20 {
            let key = format!("{round}-1");
            let references: Vec<String> = (0..12).map(|number| format!("re_{number}")).collect();
            let keeping = references.iter().map(|reference| {
                let database = &app.database;
                database.keep_processor_reference("stripe", &key, reference)
            });
            let kept = join_all(keeping).await;
            let kept: Vec<String> = kept.into_iter().map(Result::unwrap).collect();
            assert!(kept.iter().all(|it| *it == kept[0]), "{kept:?}");
        }
        app.finish().await;
    }
}

/// Many shoppers approve; their events come late, twice, out of order or never.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_payment_ends_once_however_its_events_come() {
    on_each(
        |setup| {
            setup
                .with("RETRY_INITIAL", "1s")
                .with("RETRY_MAX_INTERVAL", "3s")
        },
        |app, stripe| async move {
            let api = &app.api;
            let mut ids = Vec::new();
            for _ in 0..12 {
                ids.push(waiting(api).await);
            }
            let mut events: Vec<String> = ids.iter().map(|id| approved(&stripe, *id)).collect();
            events.reverse();
            for (number, event) in events.iter().enumerate() {
                match number % 4 {
                    0 => continue,
                    1 => {
                        for _ in 0..2 {
                            assert_eq!(send(api, event).await, 200);
                        }
                    }
                    _ => assert_eq!(send(api, event).await, 200),
                }
            }
            for id in ids {
                becomes(api, id, "succeeded").await;
                assert_eq!(stripe.moved(id), (2000, 0));
                let history = api.history(id).await;
                let ended = history.iter().filter(|it| *it == "succeeded").count();
                assert_eq!(ended, 1, "{history:?}");
            }
        },
    )
    .await;
}
