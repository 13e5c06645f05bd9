//! What only a person can find out at a platform is listed, counted and named.

use std::sync::Arc;
use std::time::Duration;

use payment_service::domain::PaymentId;
use payment_service::metric;
use payment_service::payments::needs_person::{self, Case, Why};
use payment_service::processors::Processor;
use payment_service::processors::named::{Listed, Processors};
use payment_service::processors::simulated::{Latency, Options, SimulatedIssuer};
use serde_json::{Value, json};

use super::stand_in::{Fault, StandIn};
use super::{Platform, on_each, order, pay, processor, refund, refunded};
use crate::app::{Api, TestApp, becomes, eventually};
use crate::end_to_end::processes::PROGRAM;
use crate::support::process::{Process, Settings};
use crate::tools::fixture::run_with;

/// The simulated issuer alone.
pub fn without_platforms() -> Processors {
    let options = Options {
        latency: Latency {
            mean: Duration::ZERO,
            seed: 0,
        },
        now: time::OffsetDateTime::now_utc,
    };
    Processors::new(Arc::new(SimulatedIssuer::new(options, None)))
}

async fn cases(app: &TestApp, processors: &Processors) -> Vec<(i64, &'static str, Why)> {
    let found = needs_person::find(&app.database, processors).await.unwrap();
    let named = |it: Case| (it.about.payment.0, it.what(), it.why);
    found.into_iter().map(named).collect()
}

/// Everything that is under way began long ago.
async fn age(app: &TestApp) {
    for sql in [
        "UPDATE operations SET created_at = '2026-01-01 00:00:00.000000'",
        "UPDATE payment_events SET happened_at = '2026-01-01 00:00:00.000000' WHERE kind = 'attempt_started'",
    ] {
        app.execute(sql).await;
    }
}

/// A payment whose attempt can neither be closed nor is it charged: Stripe goes on processing it.
async fn stuck(api: &Api, stripe: &StandIn) -> i64 {
    let id = pay(api, "pm_card_authenticationRequired").await;
    becomes(api, id, "requires_action").await;
    stripe.change(id, |intent| intent["status"] = json!("processing"));
    let cancel = format!("/payments/{id}/cancel");
    api.post(&cancel, json!({})).await.is(202);
    becomes(api, id, "processing").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_is_not_decided_for_half_a_key_s_life_needs_a_person() {
    on_each(
        |setup| setup,
        |app, stripe| async move {
            let api = &app.api;
            let processors = without_platforms();
            let stripe_here: Arc<dyn Processor> = Arc::new(processor(&app, &stripe));
            processors.list(Listed {
                processors: [("stripe".to_owned(), stripe_here)].into(),
                ..Listed::default()
            });
            // The stored 500 says for ever that nobody knows.
            let lost = pay(api, "pm_card_visa").await;
            becomes(api, lost, "succeeded").await;
            stripe.fail("/refunds", Fault::ErrorBefore);
            refund(api, lost, 5).await;
            eventually("the refund was tried", || async { stripe.requests("POST /v1/refunds") > 0 })
                .await;
            // Its bank takes days.
            let slow = pay(api, "pm_card_pendingRefund").await;
            becomes(api, slow, "succeeded").await;
            refund(api, slow, 5).await;
            eventually("Stripe has accepted the refund", || async {
                let refunds = app.database.operations_of(PaymentId(slow), None, 1).await;
                let id = refunds.unwrap()[0].operation.id.to_string();
                let reference = app.database.processor_reference("stripe", &id).await;
                reference.unwrap().is_some()
            })
            .await;
            let other = {
                let mut held = order("pm_card_visa");
                held["capture_method"] = json!("manual");
                api.post("/payments", held).await.is(202).id()
            };
            becomes(api, other, "requires_capture").await;
            let captured = |amount: i64| {
                move |intent: &mut Value| {
                    intent["status"] = json!("succeeded");
                    intent["amount_received"] = json!(amount);
                }
            };
            stripe.change(other, captured(2000));
            let capture = format!("/payments/{other}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            let closing = stuck(api, &stripe).await;

            assert_eq!(cases(&app, &processors).await, []);
            let missing = cases(&app, &without_platforms()).await;
            assert!(missing.iter().all(|it| it.2 == Why::ProcessorMissing), "{missing:?}");
            let named: Vec<i64> = missing.iter().map(|it| it.0).collect();
            assert_eq!(named, [lost, slow, other, closing]);
            age(&app).await;
            let expected = [(lost, "refund"), (other, "capture"), (closing, "payment")];
            let expected = expected.map(|(id, what)| (id, what, Why::NotFoundOut));
            assert_eq!(cases(&app, &processors).await, expected);

            // What the runbook says a person does.
            let refunds = api.get(&format!("/payments/{lost}/refunds")).await.is(200);
            let refund_id = refunds["data"][0]["refund_id"].as_str().unwrap().to_owned();
            stripe.refund_in_dashboard(lost, 500);
            stripe.change_refunds(lost, |refund| {
                refund["metadata"]["refund_id"] = json!(refund_id);
            });
            refunded(api, lost, 5.0).await;
            stripe.decide_refunds("succeeded");
            stripe.change(other, captured(1500));
            becomes(api, other, "succeeded").await;
            stripe.change(closing, |intent| intent["status"] = json!("requires_payment_method"));
            becomes(api, closing, "canceled").await;
            app.execute("UPDATE operations SET check_at = '2026-01-01 00:00:00.000000' WHERE check_at IS NOT NULL")
                .await;
            refunded(api, slow, 5.0).await;
            assert_eq!(cases(&app, &processors).await, []);
        },
    )
    .await;
}

/// A process that answers, though a processor may be away or missing.
async fn started(settings: &Settings) -> Process {
    let process = Process::spawn(PROGRAM, "", settings);
    eventually("it is ready or degraded", || async {
        let readiness = process.readiness().await;
        readiness == "ready" || readiness.starts_with("degraded")
    })
    .await;
    process
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn list_check_page_and_gauge_name_what_needs_a_person() {
    let platform = Platform::start().await;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(folder.path()).with("LOG", "error");
    let file = platform.file.path().display().to_string();
    // Cards go to a processor that is away.
    let listed = std::fs::read_to_string(&file).unwrap();
    let mut listed: Value = serde_json::from_str(&listed).unwrap();
    let away = json!({"name": "away", "type": "simulated", "down": true});
    listed["processors"].as_array_mut().unwrap().push(away);
    listed["routes"] = json!([{"method": "card", "processors": ["away"]}]);
    std::fs::write(&file, listed.to_string()).unwrap();
    let with_file = settings.clone().with("PROCESSORS_FILE", &file);
    let mut process = started(&with_file).await;
    let api = Api::new(process.api);
    let id = stuck(&api, &platform.stripe).await;
    let card = api.pay(2, "tok_visa").await;
    let mut manual =
        json!({"order_id": 3, "user_id": 1, "total_amount": 20, "card_token": "tok_visa"});
    manual["capture_method"] = json!("manual");
    let manual = api.post("/payments", manual).await.is(202).id();
    for id in [card, manual] {
        becomes(&api, id, "processing").await;
    }
    process.kill();

    // The next one does not know the platform.
    let process = started(&settings).await;
    eventually("it is counted", || async {
        process.counter(metric::NEEDS_PERSON).await == 3.0
    })
    .await;
    let variables = [("DATA_DIR", folder.path().display().to_string())];
    let run = async |arguments: &[&str]| run_with(arguments, &variables).await;
    let list = ["payments", "list", "--needs-person"];
    let words = run(&list).await.with(0).out;
    let start = format!("payment {id}: payment at stripe since ");
    assert!(
        words.starts_with(&start) && words.contains("(processor_missing)"),
        "{words}"
    );
    for id in [card, manual] {
        let line = format!("payment {id}: payment at away since ");
        assert!(words.contains(&line), "{words}");
    }
    let json = [list.as_slice(), &["--json"]].concat();
    let listed = run(&json).await.with(0).json();
    assert_eq!(listed[0]["payment_id"], id);
    assert_eq!(listed[0]["needs_person"][0]["why"], "processor_missing");
    let other = [json.as_slice(), &["--order", "99"]].concat();
    assert_eq!(run(&other).await.with(0).json(), json!([]));
    let checked = run(&["check", "--payments", "--json"]).await.with(1).json();
    let findings = checked["findings"].as_array().unwrap();
    let finding = findings
        .iter()
        .find(|it| it["rule"] == "needs_person")
        .unwrap();
    assert_eq!(finding["count"], 3);
    assert!(finding["examples"][0].as_str().unwrap().starts_with(&start));

    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let page = async |path: &str| {
        let url = format!("http://{}{path}", process.admin);
        let answer = http.get(url).send().await.unwrap();
        answer.error_for_status().unwrap().text().await.unwrap()
    };
    let listed: Value = serde_json::from_str(&page("/api/payments?needs=person").await).unwrap();
    let listed = listed["payments"].as_array().unwrap();
    let mut ids: Vec<i64> = listed
        .iter()
        .map(|it| it["payment_id"].as_i64().unwrap())
        .collect();
    ids.sort_unstable();
    assert_eq!(ids, [id, card, manual]);
    let html = page("/payments?needs=person").await;
    assert!(html.contains(&format!("id=\"payment-{id}\"")), "{html}");
    let none: Value =
        serde_json::from_str(&page("/api/payments?needs=person&order=99").await).unwrap();
    assert_eq!(none["payments"], json!([]));
}
