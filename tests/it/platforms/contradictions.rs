//! A platform reports something about a payment or refund that is decided here, and says otherwise when it is asked: a person
//! is told, for as long as the two differ.

use payment_service::domain::PaymentId;
use payment_service::payments::needs_person::{self, Why};
use payment_service::payments::reconcile::Kind;
use serde_json::json;

use super::needs_person::without_platforms;
use super::stand_in::StandIn;
use super::webhooks::{send, slow};
use super::{Platform, on_each, pay, refund, refunded, token};
use crate::app::{Api, TestApp, becomes, eventually};
use crate::end_to_end::processes::PROGRAM;
use crate::support::process::{Process, Settings};
use crate::tools::fixture::run_with;

/// Everything here was decided long ago.
pub async fn age(app: &TestApp) {
    for table in ["payments", "operations"] {
        let sql = format!("UPDATE {table} SET updated_at = '2026-01-01 00:00:00.000000'");
        app.execute(&sql).await;
    }
}

/// The next look at all events is now.
pub async fn look_again(app: &TestApp) {
    app.execute(
        "UPDATE platform_events SET due_at = '2026-01-01 00:00:00.000000' WHERE state = 'waiting'",
    )
    .await;
}

/// What differs, as operators see it.
pub async fn differences(app: &TestApp) -> Vec<(i64, Kind, String)> {
    let processors = without_platforms();
    let found = needs_person::find(&app.database, &processors)
        .await
        .unwrap();
    let differs = found.into_iter().filter(|case| case.why == Why::Differs);
    let named = differs.map(|case| {
        let difference = case.difference.unwrap();
        (case.about.payment.0, difference.kind, difference.theirs)
    });
    named.collect()
}

async fn events(app: &TestApp, condition: &str) -> u64 {
    let counted = format!("UPDATE platform_events SET tries = tries WHERE {condition}");
    app.execute(&counted).await
}

/// Waits until this differs, and nothing else.
pub async fn differ(app: &TestApp, expected: &[(i64, Kind, &str)]) {
    let expected: Vec<(i64, Kind, String)> = expected
        .iter()
        .map(|(id, kind, theirs)| (*id, *kind, (*theirs).to_owned()))
        .collect();
    let told = format!("they differ like this: {expected:?}");
    eventually(&told, || async {
        look_again(app).await;
        differences(app).await == expected
    })
    .await;
}

/// Sends Stripe's event about an intent of a payment.
async fn report(api: &Api, stripe: &StandIn, id: i64, number: usize) {
    let intent = &stripe.intents(id)[number];
    let event = stripe.event("payment_intent.succeeded", intent);
    assert_eq!(send(api, &event).await, 200);
}

fn charged(amount: i64) -> impl FnOnce(&mut serde_json::Value) {
    move |intent| {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = json!(amount);
        intent["latest_charge"] = json!("ch_1");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_charge_of_a_payment_that_was_declined_is_told_until_it_is_returned() {
    on_each(slow, |app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_chargeDeclinedInsufficientFunds").await;
        becomes(api, id, "declined").await;
        // The usual event agrees.
        report(api, &stripe, id, 0).await;
        eventually("it is over", || async {
            events(&app, "state = 'done'").await == 1
        })
        .await;
        stripe.change(id, charged(2000));
        report(api, &stripe, id, 0).await;
        report(api, &stripe, id, 0).await;
        eventually("both were looked at", || async {
            events(&app, "state = 'waiting' AND tries > 0").await == 2
        })
        .await;
        // The payment was decided a moment ago: the two records may only have been read at different times.
        look_again(&app).await;
        assert_eq!(differences(&app).await, []);
        age(&app).await;
        let expected = (id, Kind::ChargedOnlyThere, "20.00 CAD captured");
        differ(&app, &[expected]).await;
        // While the platform does not answer it stays listed, also after three days.
        app.execute("UPDATE platform_events SET received_at = '2026-01-01 00:00:00.000000'")
            .await;
        stripe.refuse_key(true);
        let tries = "state = 'waiting' AND tries > 9";
        app.execute("UPDATE platform_events SET tries = 9").await;
        eventually("they were looked at again", || async {
            look_again(&app).await;
            events(&app, tries).await == 2
        })
        .await;
        differ(&app, &[expected]).await;
        stripe.refuse_key(false);
        stripe.refund_in_dashboard(id, 2000);
        differ(&app, &[]).await;
        eventually("the events are over", || async {
            look_again(&app).await;
            events(&app, "state = 'done'").await == 3
        })
        .await;
        // Nothing has changed here.
        becomes(api, id, "declined").await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_attempt_before_the_last_one_is_compared_too() {
    on_each(slow, |app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_chargeDeclinedInsufficientFunds").await;
        becomes(api, id, "declined").await;
        let other = json!({"payment_method": token("pm_card_visa")});
        let process = format!("/payments/{id}/process");
        api.post(&process, other).await.is(200);
        becomes(api, id, "succeeded").await;
        for number in [0, 1] {
            report(api, &stripe, id, number).await;
        }
        eventually("both agree", || async {
            events(&app, "state = 'done'").await == 2
        })
        .await;
        stripe.change(id, charged(2000));
        report(api, &stripe, id, 0).await;
        age(&app).await;
        let expected = (id, Kind::ChargedOnlyThere, "20.00 CAD captured");
        differ(&app, &[expected]).await;
        needs_person::dismiss(&app.database, PaymentId(id))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_payment_that_is_not_charged_any_more_is_told() {
    on_each(slow, |app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_visa").await;
        becomes(api, id, "succeeded").await;
        // The usual event says nothing new, so Stripe is not asked.
        let intent = stripe.intents(id)[0]["id"].as_str().unwrap().to_owned();
        let asked = stripe.requests(&intent);
        report(api, &stripe, id, 0).await;
        eventually("it is over", || async {
            events(&app, "state = 'done'").await == 1
        })
        .await;
        assert_eq!(stripe.requests(&intent), asked);
        stripe.change(id, |intent| {
            intent["status"] = json!("canceled");
            intent["amount_received"] = json!(0);
        });
        age(&app).await;
        let event = stripe.event("payment_intent.canceled", &stripe.intents(id)[0]);
        assert_eq!(send(api, &event).await, 200);
        differ(&app, &[(id, Kind::PaidOnlyHere, "nothing")]).await;
        stripe.change(id, charged(2000));
        differ(&app, &[]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refund_that_failed_here_and_was_executed_there_is_told_until_it_is_dismissed() {
    on_each(slow, |app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_visa").await;
        becomes(api, id, "succeeded").await;
        refund(api, id, 5).await;
        refunded(api, id, 5.0).await;
        let made = stripe.refunds(id)[0].clone();
        let returned = stripe.return_refund(made["id"].as_str().unwrap());
        assert_eq!(
            send(api, &stripe.event("refund.failed", &returned)).await,
            200
        );
        refunded(api, id, 0.0).await;
        stripe.change_refunds(id, |refund| refund["status"] = json!("succeeded"));
        stripe.change(id, |intent| intent["refunded"] = json!(500));
        age(&app).await;
        assert_eq!(send(api, &stripe.event("refund.updated", &made)).await, 200);
        let expected = (id, Kind::RefundState, "refund of 5.00 CAD succeeded");
        differ(&app, &[expected]).await;
        let dismissed = needs_person::dismiss(&app.database, PaymentId(id)).await;
        assert_eq!(dismissed.unwrap().len(), 1);
        let dismissed = needs_person::dismiss(&app.database, PaymentId(id)).await;
        assert_eq!(dismissed.unwrap(), []);
        assert_eq!(differences(&app).await, []);
        assert_eq!(events(&app, "state = 'waiting'").await, 0);
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_dispute_shows_is_compared() {
    on_each(slow, |app, stripe| async move {
        let api = &app.api;
        let id = pay(api, "pm_card_chargeDeclinedInsufficientFunds").await;
        becomes(api, id, "declined").await;
        stripe.change(id, charged(2000));
        age(&app).await;
        let dispute = stripe.dispute(id);
        let event = stripe.event("charge.dispute.created", &dispute);
        assert_eq!(send(api, &event).await, 200);
        let expected = (id, Kind::ChargedOnlyThere, "20.00 CAD captured");
        differ(&app, &[expected]).await;
        stripe.refund_in_dashboard(id, 2000);
        differ(&app, &[]).await;
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn commands_list_and_dismiss_what_differs() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(folder.path()).with("LOG", "error");
    let file = platform.file.path().display().to_string();
    let settings = settings.with("PROCESSORS_FILE", &file);
    let process = Process::spawn(PROGRAM, "", &settings);
    eventually("it is ready", || async {
        process.readiness().await == "ready"
    })
    .await;
    let api = Api::new(process.api);
    let id = pay(&api, "pm_card_visa").await;
    becomes(&api, id, "succeeded").await;
    // A refund that is too large for what is left here, so that it does not become one.
    refund(&api, id, 15).await;
    refunded(&api, id, 15.0).await;
    platform.stripe.change(id, |intent| {
        intent["amount"] = json!(4000);
        intent["amount_received"] = json!(4000);
    });
    let made = platform.stripe.refund_in_the_dashboard(id, 2000);
    let event = platform.stripe.event("refund.created", &made);
    let variables = [
        ("DATA_DIR", folder.path().display().to_string()),
        ("PROCESSORS_FILE", file),
    ];
    let run = async |arguments: &[&str]| run_with(arguments, &variables).await;
    let number = id.to_string();
    let nothing = run(&["payments", "dismiss", &number]).await.with(1);
    assert!(
        nothing.err.contains("nothing to dismiss"),
        "{}",
        nothing.err
    );
    assert_eq!(send(&api, &event).await, 200);
    // It was decided a minute ago, then.
    let list = ["payments", "list", "--needs-person"];
    crate::app::eventually_within(
        std::time::Duration::from_secs(150),
        "it is listed",
        || async { run(&list).await.with(0).out.contains("(differs: ") },
    )
    .await;
    let words = run(&list).await.with(0).out;
    assert!(
        words.contains(": here 20.00 CAD captured, there 40.00 CAD captured)"),
        "{words}"
    );
    let json = [list.as_slice(), &["--json"]].concat();
    let listed = run(&json).await.with(0).json();
    let case = &listed[0]["needs_person"][0];
    assert_eq!(case["why"], "differs");
    assert_eq!(case["difference"]["kind"], "amount");
    let checked = run(&["check", "--payments"]).await.with(1).out;
    assert!(checked.contains("needs_person"), "{checked}");
    let dismissed = run(&["payments", "dismiss", &number]).await.with(0).out;
    assert!(dismissed.starts_with("dismissed: payment "), "{dismissed}");
    let words = run(&list).await.with(0).out;
    assert_eq!(words, "no payment needs a person\n");
}
