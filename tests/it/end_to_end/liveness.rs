//! `/health/live` fails only for problems that a restart solves.

use std::time::{Duration, Instant};

use payment_service::metric;
use serde_json::json;

use super::processes::PROGRAM;
use crate::app::{Api, card, eventually};
use crate::support::process::{Process, Settings};
use crate::support::servers::{Database, DatabaseOptions, fresh_vhost};

#[tokio::test]
async fn liveness_holds_during_a_database_outage_and_a_running_try() {
    let starting = tokio::task::spawn_blocking(|| Database::start(&DatabaseOptions::default()));
    let server = starting.await.unwrap().unwrap();
    let mut admin = <sqlx::MySqlConnection as sqlx::Connection>::connect(&server.admin_url())
        .await
        .unwrap();
    let create = sqlx::query("CREATE DATABASE payments").execute(&mut admin);
    create.await.unwrap();
    let amqp = fresh_vhost().await.unwrap();
    // Longer than waiting for a connection may take: 10 s, and one repetition.
    let stuck_after = Duration::from_secs(12);
    let settings = Settings::servers(&server.url("payments"), &amqp)
        .with("STUCK_AFTER", "12s")
        .with("PROCESSOR_TIMEOUT", "3s")
        .with("ISSUER_LATENCY", "2s")
        .with("ISSUER_LEDGER", "off")
        .with("LOG", "error");
    let service = Process::start(PROGRAM, "", &settings).await;
    let (api, health) = (Api::new(service.api), Api::new(service.admin));
    let order = json!({
        "order_id": 1, "user_id": 1, "total_amount": 1, "card": card("4242424242424242"),
    });
    let id = api.post("/payments", order).await.is(202).id();
    eventually("the worker has its message", || async {
        service.counter(metric::RELAY_PUBLISHED).await >= 1.0
    })
    .await;
    server.kill().unwrap();
    let begin = Instant::now();
    while begin.elapsed() < stuck_after + Duration::from_secs(3) {
        let live = health.get("/health/live").await;
        assert_eq!(
            live.status,
            200,
            "after {:?}: {}",
            begin.elapsed(),
            live.body
        );
        tokio::time::sleep(Duration::from_millis(250)).await;
    }
    assert_eq!(health.get("/health/ready").await.status, 503);
    server.start_again().unwrap();
    assert_eq!(api.outcome(id).await["is_paid"], true);
}
