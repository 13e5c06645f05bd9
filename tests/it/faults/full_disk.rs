//! A full disk under the embedded service: it refuses payments, says so, and loses none.

use std::time::{Duration, Instant};

use reqwest::Method;
use serde_json::{Value, json};

use super::pressure::eventually;
use crate::app::{Answer, Api};
use crate::support::process::{Process, Settings};
use crate::support::small_disk::SmallDisk;
use crate::tools::fixture::run_with;

/// How soon after the first refusal `ready` has to be red and the log has to have a warning.
const SOON: Duration = Duration::from_secs(10);

/// The log of the database's file has some room left at first.
const ROOM: Duration = Duration::from_secs(30);

/// Requests a payment under its own key, so that a refused one can be requested again.
async fn pay(client: &Api, order: i64) -> Answer {
    let body = json!({
        "order_id": order, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
    });
    let request = client.request(Method::POST, "/payments");
    let request = request.header("Idempotency-Key", format!("order-{order}"));
    client.send(request.json(&body)).await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_a_full_disk_payments_are_refused_with_the_reason_and_none_is_lost() {
    let Some(disk) = SmallDisk::mount(8) else {
        return;
    };
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    // Payments are on their way when the disk is full.
    let settings = Settings::embedded(disk.path())
        .with("LOG", "info")
        .with("ISSUER_LATENCY", "2s")
        .with_log(&log);
    let mut service = Process::start(&super::fleet::program(), "", &settings).await;
    let client = Api::new(service.api);
    let mut orders = 1..;
    let mut taken = Vec::new();
    for order in orders.by_ref().take(20) {
        taken.push(pay(&client, order).await.is(202).id());
    }

    disk.fill().unwrap();
    let filled = Instant::now();
    let mut refused = Vec::new();
    while refused.is_empty() {
        let order = orders.next().unwrap();
        match pay(&client, order).await {
            answer if answer.status == 503 => refused.push(order),
            answer => taken.push(answer.is(202).id()),
        }
        assert!(filled.elapsed() < ROOM, "nothing is refused");
    }
    let stopped = Instant::now();
    let is_told = async || {
        let warned = std::fs::read_to_string(&log).unwrap();
        let warned = warned.contains(" WARN ") && warned.contains("rows cannot be written");
        warned && service.readiness().await.starts_with("not_ready")
    };
    while !is_told().await {
        let order = orders.next().unwrap();
        pay(&client, order).await.is(503);
        refused.push(order);
        assert!(stopped.elapsed() < SOON, "{}", service.readiness().await);
    }

    disk.free().unwrap();
    eventually("ready again", async || service.readiness().await == "ready").await;
    for order in refused {
        let answer = pay(&client, order).await;
        assert!(matches!(answer.status, 200 | 202), "{}", answer.body);
        taken.push(answer.id());
    }
    for payment in &taken {
        let paid = client.outcome(*payment).await;
        assert_eq!(paid["status"], "succeeded", "{payment}");
    }
    assert!(service.stop(), "it does not end with 0");
    must_be_whole(&settings, taken.len()).await;
}

/// The oracle finds nothing, and no payment but those that were taken.
async fn must_be_whole(settings: &Settings, payments: usize) {
    let variables = settings.variables().clone();
    let variables: Vec<(&'static str, String)> = variables
        .into_iter()
        .map(|(name, value)| (&*name.leak(), value))
        .collect();
    let ended = run_with(&["check", "--payments", "--json"], &variables).await;
    let audit = ended.json();
    assert_eq!(audit["breached"], Value::Bool(false), "{audit:#}");
    assert_eq!(audit["figures"]["succeeded"], payments, "{audit:#}");
}
