//! Thousands of payments at the same time: every capture method, every operation, and every card with which one goes wrong.
//! In the end the service, its audit and the issuer agree on every payment to the minor unit.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use payment_service::store::audit::{Audit, Bounds};
use reqwest::Method;
use serde_json::{Value, json};

use super::operations::carried_out;
use crate::app::{Answer, Api, Backend, Setup, TestApp, eventually, field, run_on};

/// Payments under way at the same time.
const CONCURRENT: usize = 128;

/// What is requested for one payment of 100.00, and what must come of it.
struct Case {
    token: &'static str,
    requests: &'static [Request],
    /// The payment's status in the end.
    status: &'static str,
    /// What the issuer has carried out: kind and amount in minor units, sorted.
    carried_out: &'static [(&'static str, i64)],
}

/// A request after the authorization. Amounts are in minor units; none is everything that is left.
#[derive(Debug, Clone, Copy)]
enum Request {
    Capture(Option<i64>),
    Cancel,
    Refund(Option<i64>),
}

use Request::{Cancel, Capture, Refund};

const fn case(
    token: &'static str,
    requests: &'static [Request],
    status: &'static str,
    carried_out: &'static [(&'static str, i64)],
) -> Case {
    Case {
        token,
        requests,
        status,
        carried_out,
    }
}

const ALL: i64 = 10_000;

#[rustfmt::skip] // one case, one line: this is a table
const CASES: &[Case] = &[
    case("tok_visa", &[], "succeeded", &[]),
    case("tok_insufficient_funds", &[], "declined", &[]),
    case("tok_issuer_down_2", &[], "succeeded", &[]),
    case("tok_answer_lost_once", &[Refund(None)], "succeeded", &[("refund", ALL)]),
    case("tok_visa", &[Refund(None)], "succeeded", &[("refund", ALL)]),
    case("tok_mastercard", &[Refund(Some(1)), Refund(Some(3_333)), Refund(Some(6_666))], "succeeded", &[("refund", 1), ("refund", 3_333), ("refund", 6_666)]),
    case("tok_refund_down_2", &[Refund(Some(4_001))], "succeeded", &[("refund", 4_001)]),
    case("tok_refund_answer_lost", &[Refund(Some(5_000)), Refund(Some(5_000))], "succeeded", &[("refund", 5_000), ("refund", 5_000)]),
    case("tok_refund_pending", &[Refund(Some(2_500)), Refund(Some(7_500))], "succeeded", &[("refund", 2_500), ("refund", 7_500)]),
    case("tok_refund_silent", &[Refund(Some(9_999))], "succeeded", &[]),
    case("tok_refund_refused", &[Refund(None)], "succeeded", &[]),
    case("tok_refund_fails", &[Refund(Some(1_234))], "succeeded", &[]),
    case("tok_visa", &[Capture(None)], "succeeded", &[("capture", ALL)]),
    case("tok_amex", &[Capture(Some(6_001))], "succeeded", &[("capture", 6_001)]),
    case("tok_visa", &[Capture(Some(6_000)), Refund(Some(2_000)), Refund(Some(4_000))], "succeeded", &[("capture", 6_000), ("refund", 2_000), ("refund", 4_000)]),
    case("tok_issuer_down_1", &[Capture(Some(1))], "succeeded", &[("capture", 1)]),
    case("tok_capture_down_2", &[Capture(None), Refund(Some(999))], "succeeded", &[("capture", ALL), ("refund", 999)]),
    case("tok_capture_answer_lost", &[Capture(Some(7_777)), Refund(None)], "succeeded", &[("capture", 7_777), ("refund", 7_777)]),
    case("tok_capture_silent", &[Capture(None)], "requires_capture", &[]),
    case("tok_capture_refused", &[Capture(None)], "requires_capture", &[]),
    case("tok_authorization_gone", &[Capture(None)], "canceled", &[]),
    case("tok_visa", &[Cancel], "canceled", &[("void", ALL)]),
    case("tok_void_down_2", &[Cancel], "canceled", &[("void", ALL)]),
    case("tok_void_answer_lost", &[Cancel], "canceled", &[("void", ALL)]),
    case("tok_void_silent", &[Cancel], "requires_capture", &[]),
    case("tok_void_refused", &[Cancel], "requires_capture", &[]),
    case("tok_3ds", &[Refund(Some(1_111)), Refund(Some(8_889))], "succeeded", &[("refund", 1_111), ("refund", 8_889)]),
    case("tok_3ds_insufficient_funds", &[], "declined", &[]),
    case("tok_3ds_tab_closed", &[Capture(Some(6_001))], "succeeded", &[("capture", 6_001)]),
    case("tok_3ds_told_twice", &[Cancel], "canceled", &[("void", ALL)]),
    case(WALLET, &[], "succeeded", &[]),
    case(WALLET, &[Capture(None), Refund(Some(7))], "succeeded", &[("capture", ALL), ("refund", 7)]),
];

/// In place of a token: pays with an electronic wallet.
const WALLET: &str = "wallet";

impl Case {
    fn is_manual(&self) -> bool {
        let mut requests = self.requests.iter();
        requests.any(|request| !matches!(request, Refund(_)))
    }

    /// Requests everything in its order, the refunds at the same time; the payment's id.
    async fn run(&self, api: &Api, order: usize) -> i64 {
        let mut body = json!({
            "order_id": order, "user_id": 1, "total_amount": 100,
        });
        match self.token {
            WALLET => body["payment_method"] = json!({"type": WALLET}),
            token => body["card_token"] = token.into(),
        }
        if self.is_manual() {
            body["capture_method"] = "manual".into();
        }
        let key = format!("payment-{order}");
        let id = accepted(api, "/payments", &key, body).await.id();
        ended(api, id).await;
        approved(api, id).await;
        let mut refunds = Vec::new();
        for (number, request) in self.requests.iter().enumerate() {
            let key = format!("operation-{order}-{number}");
            let (path, body) = match request {
                Capture(amount) => (format!("/payments/{id}/capture"), of(*amount)),
                Cancel => (format!("/payments/{id}/cancel"), json!({})),
                Refund(amount) => {
                    refunds.push((key, of(*amount)));
                    continue;
                }
            };
            accepted(api, &path, &key, body).await;
            ended(api, id).await;
        }
        let path = &format!("/payments/{id}/refunds");
        let refunds = refunds.into_iter();
        let refunds = refunds.map(|(key, body)| async move {
            accepted(api, path, &key, body).await;
        });
        futures::future::join_all(refunds).await;
        id
    }

    async fn must_have_come_true(&self, app: &TestApp, id: i64) {
        let path = format!("/payments/{id}/refunds");
        eventually("its refunds end", || async {
            let listed = app.api.get(&path).await;
            let refunds = listed["data"].as_array().cloned();
            refunds.is_some_and(|all| all.iter().all(|refund| refund["status"] != "pending"))
        })
        .await;
        let shown = app.api.get(&format!("/payments/{id}")).await.body;
        let token = self.token;
        assert_eq!(field(&shown, "status"), self.status, "{token}: {shown}");
        let done = carried_out(app, id).await;
        let done: Vec<_> = done.iter().map(|(kind, minor)| (&**kind, *minor)).collect();
        assert_eq!(done, self.carried_out, "{token}: {shown}");
        for (kind, name) in [
            ("capture", "amount_captured"),
            ("refund", "amount_refunded"),
        ] {
            let of_kind = self.carried_out.iter().filter(|(its, _)| *its == kind);
            let mut minor: i64 = of_kind.map(|(_, minor)| minor).sum();
            if kind == "capture" && !self.is_manual() && self.status == "succeeded" {
                minor = ALL;
            }
            let told = format!("{:.2}", shown[name].as_f64().unwrap_or(f64::NAN));
            assert_eq!(told, major(minor), "{token}: {shown}");
        }
    }
}

/// The answer to a request, which is repeated under its key as long as the service is busy.
async fn accepted(api: &Api, path: &str, key: &str, body: Value) -> Answer {
    loop {
        let header = [("Idempotency-Key", key)];
        let answer = api.post_with(path, &header, body.clone()).await;
        if answer.status != 503 {
            return answer.is(202);
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}

/// Waits until a payment is not processing.
async fn ended(api: &Api, id: i64) {
    let path = format!("/payments/{id}");
    eventually("the payment ends", || async {
        let request = api.request(Method::GET, &path);
        let answer = api.send(request.header("Prefer", "wait=20")).await;
        answer.status == 200 && answer["status"] != "processing"
    })
    .await;
}

/// If the shopper has to approve, does so, and waits until the service knows.
async fn approved(api: &Api, id: i64) {
    let path = format!("/payments/{id}");
    let shown = api.get(&path).await.is(200).body;
    if shown["status"] != "requires_action" {
        return;
    }
    let url = field(&shown["next_action"], "url");
    let page = url.rfind("/simulator/").map(|at| &url[at..]).unwrap();
    let form = api.request(Method::POST, page).body("choice=approve");
    let form = form.header("Content-Type", "application/x-www-form-urlencoded");
    api.send(form).await.is(200);
    eventually("the service knows", || async {
        api.get(&path).await["status"] != "requires_action"
    })
    .await;
}

/// The fields of a request.
fn of(amount: Option<i64>) -> Value {
    amount.map_or(json!({}), |minor| json!({"amount": major(minor)}))
}

fn major(minor: i64) -> String {
    format!("{}.{:02}", minor / 100, minor % 100)
}

async fn audit(app: &TestApp) -> Audit {
    let long = Duration::from_secs(600);
    let bounds = Bounds {
        first_try: long,
        processing: long,
        ahead: long,
        outbox: long,
        outbox_age: long,
        token: long,
        ledger: true,
    };
    app.database.audit(bounds).await.unwrap()
}

async fn payments_of_every_kind(backend: Backend, number: usize) {
    // Enough time and tries that a busy machine alone makes nothing fail.
    let setup = Setup::new()
        .with("PROCESSOR_TIMEOUT", "1s")
        .with("MAX_TRIES", "6")
        .with("DATABASE_CONNECTIONS", "16");
    run_on(setup, backend, |app| async move {
        // Each answer compared with the description would take most of the time.
        let api = &app.api.beyond_the_description();
        let began = Instant::now();
        let payments = CASES.iter().cycle().enumerate().take(number);
        let payments =
            payments.map(|(number, case)| async move { (case, case.run(api, number + 1).await) });
        let ids: Vec<_> = stream::iter(payments)
            .buffer_unordered(CONCURRENT)
            .collect()
            .await;
        // The refunds that succeed and fail afterwards.
        app.until_settled().await;
        let took = began.elapsed();
        let compared = ids
            .iter()
            .map(|(case, id)| case.must_have_come_true(&app, *id));
        stream::iter(compared).buffer_unordered(16).count().await;
        let audit = audit(&app).await;
        assert!(!audit.is_breached(), "{:?}", audit.findings);
        let operations = audit.figures.iter().find(|(name, _)| name == "operations");
        println!(
            "{} payments and {:?} operations on {backend:?} in {took:.1?}, compared in {:.1?}",
            ids.len(),
            operations.map(|(_, count)| count),
            began.elapsed() - took,
        );
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn payments_of_every_kind_agree_with_the_issuer_to_the_minor_unit() {
    for backend in [Backend::Embedded, Backend::Servers] {
        payments_of_every_kind(backend, 520).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
#[ignore = "minutes in a debug build on two cores: scripts/test --soak runs it"]
async fn ten_thousand_payments_of_every_kind_agree_with_the_issuer_to_the_minor_unit() {
    payments_of_every_kind(Backend::Servers, 10_000).await;
}
