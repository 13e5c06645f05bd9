//! Workers that are delayed in a call to the processor beyond their lease, while others call again: whatever the
//! processor answers to the others, one charge stands in the end, and none for a payment that is not paid.

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use sqlx::{MySqlPool, query_scalar};

use super::fleet::{Fleet, PROGRAM};
use crate::app::{Api, card, field};
use crate::support::process::Process;

/// Twice this and two seconds: a claim's lease.
const PROCESSOR_TIMEOUT: (&str, &str) = ("PROCESSOR_TIMEOUT", "2500ms");

/// Card, and what becomes of its payment when the first call for it is held up: status, decline code, whether there is a
/// charge to take back.
const OUTCOMES: [(&str, &str, Option<&str>); 4] = [
    ("tok_issuer_slow", "succeeded", None),
    ("tok_later_calls_declined", "declined", Some("do_not_honor")),
    ("tok_later_calls_down", "failed", Some("issuer_unavailable")),
    ("tok_later_calls_silent", "failed", Some("issuer_no_answer")),
];

struct Scene {
    fleet: Fleet,
    api: Process,
    client: Api,
    books: MySqlPool,
}

impl Scene {
    /// An api and no worker.
    async fn new(variables: &[(&str, &str)]) -> Self {
        let common = [
            PROCESSOR_TIMEOUT,
            ("ISSUER_LATENCY", "0ms"),
            // A call that a busy machine makes too slow is repeated.
            ("MAX_TRIES", "4"),
            ("RETRY_INITIAL", "200ms"),
            ("OUTBOX_LEASE", "1s"),
            ("CHECK_AFTER", "1s"),
            ("CHECK_EVERY", "500ms"),
        ];
        let fleet = Fleet::new(&[&common, variables].concat()).await;
        let api = fleet.start("api").await;
        Self {
            client: Api::new(api.api),
            books: MySqlPool::connect(&fleet.database).await.unwrap(),
            fleet,
            api,
        }
    }

    async fn number(&self, sql: &'static str) -> i64 {
        query_scalar(sql).fetch_one(&self.books).await.unwrap()
    }

    /// Starts a worker, and stops it when all first calls are under way: those that the issuer notes, and others.
    async fn worker_held_up_in(&self, noted: i64, others: i64) -> Process {
        let worker = self.fleet.start("worker").await;
        let asked = "SELECT COUNT(*) FROM issuer_calls WHERE calls = 1";
        let claimed = "SELECT COUNT(*) FROM payments WHERE claimed_until > created_at";
        until("all calls are under way", async || {
            self.number(claimed).await == noted + others && self.number(asked).await == noted
        })
        .await;
        worker.signal("STOP");
        let charged = "SELECT COUNT(*) FROM issuer_ledger WHERE charged_at IS NOT NULL";
        assert_eq!(self.number(charged).await, 0, "stopped too late");
        worker
    }

    async fn payment(&self, id: i64) -> Value {
        self.client.get(&format!("/payments/{id}")).await.body
    }

    async fn outcome(&self, id: i64) -> Value {
        until("it has its outcome", async || {
            self.payment(id).await["status"] != "processing"
        })
        .await;
        self.payment(id).await
    }

    /// Another card pays.
    async fn paid_with_another_card(&self, id: i64) {
        let process = format!("/payments/{id}/process");
        self.client.post(&process, card("4242424242424242")).await;
        assert_eq!(self.outcome(id).await["status"], "succeeded");
    }

    /// A payment that only this worker can process: its earlier calls have been recorded by then.
    async fn does_its_work(&self) {
        let id = self.client.pay(99, "tok_visa").await;
        assert_eq!(self.outcome(id).await["status"], "succeeded");
    }

    /// Exactly the payments that succeeded have a charge that stands, and one.
    async fn balances(&self) {
        let wrong = "SELECT COUNT(*) FROM payments LEFT JOIN (
                SELECT payment_id, COUNT(*) AS charges FROM issuer_ledger
                WHERE charged_at IS NOT NULL AND reversed_at IS NULL GROUP BY payment_id
            ) AS charged ON charged.payment_id = payments.id
            WHERE COALESCE(charges, 0) <> IF(status = 'succeeded', 1, 0)";
        assert_eq!(self.number(wrong).await, 0, "payments charged wrongly");
    }

    async fn reversal_of(&self, id: i64) -> Option<String> {
        let events = self.client.events(id).await;
        let started = events
            .iter()
            .find(|event| event["type"] == "reversal_started")?;
        Some(field(started, "reason").to_owned())
    }
}

async fn until(what: &str, mut ask: impl AsyncFnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(90);
    while !ask().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_delayed_in_its_call_causes_no_second_charge() {
    let scene = Scene::new(&[]).await;
    let mut ids = Vec::new();
    for (order, (token, ..)) in (1..).zip(OUTCOMES) {
        ids.push(scene.client.pay(order, token).await);
    }
    let held_up = scene.worker_held_up_in(3, 1).await;
    let mut other = scene.fleet.start("worker").await;
    for (id, (token, status, code)) in ids.iter().zip(OUTCOMES) {
        let ended = scene.outcome(*id).await;
        assert_eq!(ended["status"], status, "{token}: {ended}");
        assert_eq!(ended["decline_code"], json!(code), "{token}");
        assert_eq!(scene.reversal_of(*id).await.as_deref(), code, "{token}");
        if status != "succeeded" {
            scene.paid_with_another_card(*id).await;
        }
    }
    // The calls of the first worker go on, under keys that are charged or reversed by now.
    other.kill();
    held_up.signal("CONT");
    scene.does_its_work().await;
    scene.balances().await;
    for id in ids {
        assert_eq!(scene.payment(id).await["status"], "succeeded");
    }
    drop(scene.api);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_late_charge_is_reversed_before_the_decline_is_published() {
    let scene = Scene::new(&[("RETRY_INITIAL", "4s")]).await;
    let results = super::outcomes::Outcomes::subscribe(&scene.fleet.amqp).await;
    let id = scene.client.pay(1, "tok_later_calls_declined").await;
    let held_up = scene.worker_held_up_in(1, 0).await;
    let _other = scene.fleet.start("worker").await;
    let reversing = "SELECT COUNT(*) FROM payments WHERE phase = 'reverse'";
    until("the decline waits for the reversal", async || {
        scene.number(reversing).await == 1
    })
    .await;
    let waiting = scene.payment(id).await;
    assert_eq!(waiting["status"], "processing");
    assert_eq!(waiting["decline_code"], Value::Null);
    assert_eq!(results.ended(), 0, "told too early");
    held_up.signal("CONT");
    let late = "SELECT COUNT(*) FROM issuer_ledger WHERE charged_at IS NOT NULL";
    until("the late call has charged", async || {
        scene.number(late).await == 1
    })
    .await;
    let declined = scene.outcome(id).await;
    assert_eq!(declined["status"], "declined");
    assert_eq!(declined["decline_code"], "do_not_honor");
    let expected = [
        "accepted",
        "attempt_started",
        "reversal_started",
        "declined",
    ];
    assert_eq!(scene.client.history(id).await, expected);
    scene.balances().await;
    scene.paid_with_another_card(id).await;
    scene.balances().await;
    results.until(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn two_workers_delayed_in_calls_for_one_try_charge_nothing_after_a_decline() {
    let scene = Scene::new(&[]).await;
    let id = scene.client.pay(1, "tok_later_calls_declined").await;
    let first = scene.worker_held_up_in(1, 0).await;
    // It takes at least half of this for its answer: long enough to be stopped before.
    let slow = scene
        .fleet
        .settings
        .clone()
        .with("ISSUER_LATENCY", "1500ms");
    let second = Process::start(PROGRAM, "worker", &slow).await;
    let uncertain =
        "SELECT COUNT(*) FROM payments WHERE uncertain AND claimed_until > UTC_TIMESTAMP(6)";
    until("the second worker has the try", async || {
        scene.number(uncertain).await == 1
    })
    .await;
    second.signal("STOP");
    let _third = scene.fleet.start("worker").await;
    let declined = scene.outcome(id).await;
    assert_eq!(declined["decline_code"], "do_not_honor");
    scene.paid_with_another_card(id).await;
    first.signal("CONT");
    second.signal("CONT");
    for _ in 0..6 {
        scene.does_its_work().await;
    }
    scene.balances().await;
    assert_eq!(scene.payment(id).await["status"], "succeeded");
}
