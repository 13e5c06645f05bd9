//! Our payments at a platform against the platform's own record.

use std::collections::BTreeSet;
use std::time::Duration;

use payment_service::payments::reconcile::{Counts, Difference, Kind, Reconciliation};
use payment_service::processors::books::Books;
use payment_service::processors::stripe::Stripe;
use serde_json::{Value, json};
use tempfile::NamedTempFile;

use super::stand_in::{Endless, Fault, SECRET_KEY, StandIn};
use super::{Platform, on_each, order, pay, processor, refund, refunded};
use crate::app::{Api, Backend, TestApp, becomes};
use crate::tools::fixture::Fixture;

/// Compares everything, however young it is: in one part and in small ones, with the same result.
pub async fn reconciled(app: &TestApp, stripe: &Stripe) -> (Counts, Vec<Difference>) {
    let whole = reconciled_in(app, stripe, 1000).await;
    let (counts, found) = reconciled_in(app, stripe, 3).await;
    let sorted = |found: &[Difference]| {
        let mut lines: Vec<String> = found.iter().map(|it| format!("{it:?}")).collect();
        lines.sort();
        lines
    };
    assert_eq!((counts, sorted(&found)), (whole.0, sorted(&whole.1)));
    whole
}

async fn reconciled_in(app: &TestApp, stripe: &Stripe, part: u32) -> (Counts, Vec<Difference>) {
    let mut found = Vec::new();
    let since = app.database.now().await.unwrap() - Duration::from_secs(24 * 60 * 60);
    let report = |difference: &Difference| found.push(difference.clone());
    let since = (since, Duration::ZERO);
    let comparison = Reconciliation::new(&app.database, ("stripe", stripe), since, report);
    let mut comparison = comparison.in_parts_of(part);
    comparison.run().await.unwrap();
    let counts = comparison.counts;
    assert_eq!(counts.differences, found.len() as u64);
    (counts, found)
}

async fn held(api: &Api) -> i64 {
    let mut held = order("pm_card_visa");
    held["capture_method"] = json!("manual");
    let id = api.post("/payments", held).await.is(202).id();
    becomes(api, id, "requires_capture").await;
    id
}

async fn paid(api: &Api) -> i64 {
    let id = pay(api, "pm_card_visa").await;
    becomes(api, id, "succeeded").await;
    id
}

async fn paid_and_refunded(api: &Api) -> i64 {
    let id = paid(api).await;
    refund(api, id, 5).await;
    refunded(api, id, 5.0).await;
    id
}

async fn declined(api: &Api) -> i64 {
    let id = pay(api, "pm_card_chargeDeclinedInsufficientFunds").await;
    becomes(api, id, "declined").await;
    id
}

async fn canceled(api: &Api) -> i64 {
    let id = held(api).await;
    api.post(&format!("/payments/{id}/cancel"), json!({}))
        .await
        .is(202);
    becomes(api, id, "canceled").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_agree_have_no_differences() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            held(api).await;
            paid_and_refunded(api).await;
            declined(api).await;
            canceled(api).await;
            let captured = held(api).await;
            let capture = format!("/payments/{captured}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            becomes(api, captured, "succeeded").await;
            // Another method after a decline: the first attempt is compared as well.
            let again = declined(api).await;
            let process = format!("/payments/{again}/process");
            api.post(&process, json!({"card_token": "tok_visa"})).await;
            becomes(api, again, "succeeded").await;
            let waiting = pay(api, "pm_card_authenticationRequired").await;
            becomes(api, waiting, "requires_action").await;
            let somebody_else = |intent: &mut Value| {
                intent["metadata"]["installation"] = json!("another");
            };
            stripe.copy(captured, "pi_another", somebody_else);
            // A card at the simulated issuer is none of Stripe's business.
            let simulated = api.pay(1, "tok_visa").await;
            becomes(api, simulated, "succeeded").await;

            let (counts, found) = reconciled(&app, &processor(&app, &stripe)).await;
            assert_eq!(found, []);
            let expected = Counts {
                compared: 7,
                under_way: 1,
                others: 1,
                ..Counts::default()
            };
            assert_eq!(counts, expected);
            stripe.shopper(waiting, false);
            becomes(api, waiting, "declined").await;
        },
    )
    .await;
}

/// A payment for each kind of difference.
async fn differing(app: &TestApp, stripe: &StandIn) -> BTreeSet<(Kind, i64)> {
    let api = &app.api;
    let mut expected = BTreeSet::new();
    let mut differs = |kind, id| assert!(expected.insert((kind, id)));

    let id = declined(api).await;
    stripe.change(id, |intent| {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = json!(2000);
    });
    differs(Kind::ChargedOnlyThere, id);
    let id = paid(api).await;
    stripe.copy(id, "pi_unknown", |intent| {
        intent["metadata"]["payment_id"] = json!("999999999");
    });
    differs(Kind::ChargedOnlyThere, 999_999_999);
    // An attempt that we do not know.
    stripe.copy(id, "pi_later", |intent| {
        intent["metadata"]["attempt"] = json!("2")
    });
    differs(Kind::ChargedOnlyThere, id);
    // Once more under the same attempt: before the charge that is known here in the list, and after it.
    for (again, id) in [("pi_zzz", paid(api).await), ("pi_000", paid(api).await)] {
        stripe.copy(id, again, |_| {});
        differs(Kind::ChargedTwice, id);
    }
    let id = canceled(api).await;
    stripe.change(id, |intent| {
        intent["status"] = json!("requires_capture");
        intent["amount_capturable"] = json!(2000);
    });
    differs(Kind::HeldOnlyThere, id);
    for id in [paid(api).await, held(api).await] {
        stripe.forget(id);
        differs(Kind::PaidOnlyHere, id);
    }
    let id = held(api).await;
    stripe.change(id, |intent| {
        intent["status"] = json!("canceled");
        intent["amount_capturable"] = json!(0);
    });
    differs(Kind::PaidOnlyHere, id);
    let id = paid(api).await;
    stripe.change(id, |intent| intent["amount_received"] = json!(1999));
    differs(Kind::Amount, id);
    let id = held(api).await;
    stripe.change(id, |intent| intent["amount_capturable"] = json!(1999));
    differs(Kind::Amount, id);
    let id = paid(api).await;
    stripe.change(id, |intent| intent["currency"] = json!("usd"));
    differs(Kind::Currency, id);
    let id = paid(api).await;
    stripe.change(id, |intent| intent["currency"] = json!("xyz"));
    differs(Kind::Unreadable, id);
    let id = paid(api).await;
    stripe.refund_in_dashboard(id, 1);
    differs(Kind::RefundOnlyThere, id);
    let id = paid_and_refunded(api).await;
    stripe.forget_refunds(id);
    differs(Kind::RefundOnlyHere, id);
    let id = paid_and_refunded(api).await;
    stripe.change_refunds(id, |refund| refund["amount"] = json!(499));
    differs(Kind::RefundAmount, id);
    let id = paid_and_refunded(api).await;
    stripe.change_refunds(id, |refund| refund["status"] = json!("failed"));
    differs(Kind::RefundState, id);
    let id = paid_and_refunded(api).await;
    stripe.repeat_refunds(id);
    differs(Kind::RefundedTwice, id);
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_difference_is_found() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let expected = differing(&app, &stripe).await;
            let (_, found) = reconciled(&app, &processor(&app, &stripe)).await;
            let kinds = |found: &[Difference]| -> Vec<(Kind, i64)> {
                let found = found.iter().map(|it| (it.kind, it.payment.unwrap().0));
                found.collect()
            };
            let listed = kinds(&found);
            assert_eq!(listed.len(), expected.len(), "{found:#?}");
            assert_eq!(BTreeSet::from_iter(listed), expected, "{found:#?}");
            let said = |it: &&Difference| it.ours == "20.00 CAD captured";
            let mut amount = found.iter().filter(|it| it.kind == Kind::Amount);
            assert_eq!(amount.find(said).unwrap().theirs, "19.99 CAD captured");
        },
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_capture_of_another_amount_is_a_difference_once_nobody_finds_it_out() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let id = held(&app.api).await;
            let capture = format!("/payments/{id}/capture");
            // Somebody captures in the dashboard before our request arrives.
            stripe.change(id, |intent| {
                intent["status"] = json!("succeeded");
                intent["amount_capturable"] = json!(0);
                intent["amount_received"] = json!(2000);
            });
            app.api.post(&capture, json!({"amount": 15})).await.is(202);
            let connector = processor(&app, &stripe);
            let (counts, found) = reconciled(&app, &connector).await;
            assert_eq!((found, counts.under_way), (vec![], 1));
            app.execute("UPDATE operations SET created_at = '2026-01-01 00:00:00.000000'")
                .await;
            let (_, found) = reconciled(&app, &connector).await;
            assert_eq!(found[0].kind, Kind::Unresolved, "{found:?}");
            assert_eq!(found[0].theirs, "20.00 CAD captured");
            assert_eq!(found.len(), 1);
            stripe.change(id, |intent| intent["amount_received"] = json!(1500));
            becomes(&app.api, id, "succeeded").await;
        },
    )
    .await;
}

/// Why a comparison stops, and how many lists were read.
async fn stopped(app: &TestApp, stripe: &StandIn, list: &str) -> (String, usize) {
    let connector = processor(app, stripe);
    let since = app.database.now().await.unwrap() - Duration::from_secs(24 * 60 * 60);
    let since = (since, Duration::ZERO);
    let report = |_: &Difference| {};
    let comparison = Reconciliation::new(&app.database, ("stripe", &connector), since, report);
    let mut comparison = comparison.with_most_pages(50);
    let before = stripe.requests(list);
    let stopped = comparison.run().await.unwrap_err();
    (stopped.to_string(), stripe.requests(list) - before)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_without_an_end_ends_the_comparison() {
    const CASES: [(Endless, &str, usize); 4] = [
        (Endless::SamePage, "it repeats the page after x_0", 2),
        (Endless::InTurn, "it repeats the page after x_", 4),
        (Endless::Growing, "it has more than 50 pages", 50),
        // Repeated twice: it may be a passing fault.
        (Endless::Empty, "has more, and does not say after what", 3),
    ];
    let platform = Platform::start().await;
    let app = platform.setup().start(Backend::Embedded).await;
    for (how, why, most) in CASES {
        platform.stripe.never_end(how);
        let (said, read) = stopped(&app, &platform.stripe, "GET /v1/payment_intents").await;
        assert!(said.contains(why), "{how:?}: {said}");
        assert!(read <= most, "{how:?}: {read} pages");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refunds_without_an_end_end_the_comparison() {
    const CASES: [(Endless, &str, usize); 3] = [
        (Endless::SamePage, "it repeats the page after x_0", 2),
        (Endless::Growing, "it has more than 100 pages", 100),
        (Endless::Empty, "has more, and does not say after what", 3),
    ];
    let platform = Platform::start().await;
    let app = platform.setup().start(Backend::Embedded).await;
    let stripe = processor(&app, &platform.stripe);
    let id = paid(&app.api).await;
    let reference = platform.stripe.intents(id)[0]["id"].clone();
    let key = super::attempt(id);
    let charge = stripe.charge(key, reference.as_str().unwrap()).await;
    let charge = charge.unwrap().unwrap();
    for (how, why, most) in CASES {
        platform.stripe.never_end(how);
        let before = platform.stripe.requests("GET /v1/refunds");
        let said = stripe.refunds(&charge).await.unwrap_err().to_string();
        assert!(said.contains(why), "{how:?}: {said}");
        let read = platform.stripe.requests("GET /v1/refunds") - before;
        assert!(read <= most, "{how:?}: {read} pages");
    }
    app.finish().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_changed_a_moment_ago_is_under_way() {
    let platform = Platform::start().await;
    let app = platform.setup().start(Backend::Embedded).await;
    let id = paid(&app.api).await;
    platform.stripe.forget(id);
    let stripe = processor(&app, &platform.stripe);
    let since = (
        app.database
            .now()
            .await
            .unwrap()
            .replace_time(time::Time::MIDNIGHT),
        Duration::from_secs(300),
    );
    let mut comparison = Reconciliation::new(
        &app.database,
        ("stripe", &stripe),
        since,
        |it: &Difference| panic!("{it:?}"),
    );
    comparison.run().await.unwrap();
    assert_eq!(
        (comparison.counts.compared, comparison.counts.under_way),
        (1, 1)
    );
    app.finish().await;
}

/// A file that lists Stripe at this address.
fn processors_file(api: &str) -> NamedTempFile {
    let file = NamedTempFile::new().unwrap();
    let processor =
        json!({"name": "stripe", "type": "stripe", "secret_key": SECRET_KEY, "api": api});
    std::fs::write(
        file.path(),
        json!({ "processors": [processor] }).to_string(),
    )
    .unwrap();
    file
}

const COMMAND: [&str; 6] = [
    "payments",
    "reconcile",
    "--processor",
    "stripe",
    "--since",
    "2026-01-01",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_s_exit_code_says_whether_there_are_differences() {
    for mut fixture in Fixture::both().await {
        let stripe = StandIn::start().await;
        let file = processors_file(&format!("http://{}", stripe.address));
        fixture.also("PROCESSORS_FILE", file.path().display().to_string());
        let json = [COMMAND.as_slice(), &["--json"]].concat();
        // The platform has too many requests at first.
        stripe.fail("/payment_intents", Fault::Busy);
        let equal = fixture.run(&json).await.with(0).json();
        assert_eq!(
            (&equal["complete"], &equal["compared"]),
            (&json!(true), &json!(0))
        );
        assert_eq!(equal["differences"], json!([]));
        assert_eq!(stripe.requests("GET /v1/payment_intents"), 2);

        let installation = fixture.database().installation().await.unwrap();
        stripe.charge_of(&installation, 77);
        stripe.charge_of("somebody else", 78);
        let different = fixture.run(&json).await.with(1).json();
        assert_eq!(
            (&different["found"], &different["of_others"]),
            (&json!(1), &json!(1))
        );
        let difference = &different["differences"][0];
        assert_eq!(difference["payment_id"], 77);
        assert_eq!(difference["kind"], "charged_only_there");
        let words = fixture.run(&COMMAND).await.with(1).out;
        assert!(words.contains("payment 77, pi_77: charged_only_there: here no such payment, there 20.00 CAD captured."), "{words}");
        assert!(
            words.contains("1 compared, 0 under way, 1 different; 1 there are of others"),
            "{words}"
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_ends_at_a_list_without_an_end() {
    let mut fixture = Fixture::embedded().await;
    let stripe = StandIn::start().await;
    let file = processors_file(&format!("http://{}", stripe.address));
    fixture.also("PROCESSORS_FILE", file.path().display().to_string());
    stripe.never_end(Endless::SamePage);
    let stopped = fixture.run(&COMMAND).await.with(69).err;
    let why = "its list does not end: it repeats the page after x_0";
    assert!(stopped.contains(why), "{stopped}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_cannot_be_compared_is_no_result() {
    let mut fixture = Fixture::embedded().await;
    let without_file = fixture.run(&COMMAND).await.with(64).err;
    assert!(
        without_file.contains("PROCESSORS_FILE lists none"),
        "{without_file}"
    );
    let file = processors_file("http://127.0.0.1:1");
    fixture.also("PROCESSORS_FILE", file.path().display().to_string());
    let named = |name: &'static str| {
        let mut command = COMMAND;
        command[3] = name;
        command
    };
    let unknown = fixture.run(&named("adyen")).await.with(64).err;
    assert!(
        unknown.contains("there is no processor `adyen`; PROCESSORS_FILE lists: stripe"),
        "{unknown}"
    );
    let simulated = fixture.run(&named("simulated")).await.with(64).err;
    assert!(simulated.contains("check --payments"), "{simulated}");
    let away = fixture.run(&COMMAND).await.with(69);
    assert!(
        away.err.contains("processor_unreachable")
            && away.err.contains("created before 2026-01-01T00:00:00Z"),
        "{away:?}"
    );
    let json = [COMMAND.as_slice(), &["--json"]].concat();
    let away = fixture.run(&json).await.with(69).json();
    assert_eq!(
        (&away["complete"], &away["reached"]),
        (&json!(false), &json!("2026-01-01T00:00:00Z"))
    );
    for day in ["yesterday", "2026-13-01", "2999-01-01"] {
        let mut command = COMMAND;
        command[5] = day;
        fixture.run(&command).await.with(2);
    }
}
