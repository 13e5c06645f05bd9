//! A process that is asked to stop: not ready at once, its work finished and published, nothing redelivered.

use std::time::Duration;

use futures::future::join_all;
use serde_json::json;

use super::fixture::{Fixture, Needs};
use super::pressure::{Books, depth, ends_within, eventually};
use crate::app::Api;
use crate::support::process::{Process, Settings};

/// An api and a worker with a slow issuer.
async fn pair(
    fixture: &Fixture,
    variables: &[(&str, &str)],
) -> (Process, Process, tempfile::TempDir) {
    let folder = tempfile::tempdir().unwrap();
    let [database, amqp] = &fixture.service_urls;
    let mut settings = Settings::servers(database, amqp).with_log(&folder.path().join("log"));
    for (name, value) in variables {
        settings = settings.with(name, value);
    }
    let program = super::fleet::program();
    assert!(Process::spawn(&program, "setup", &settings).wait());
    let (api, worker) = tokio::join!(
        Process::start(&program, "api", &settings),
        Process::start(&program, "worker", &settings)
    );
    (api, worker, folder)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_worker_stopped_during_slow_tries_finishes_them_and_nothing_is_redelivered() {
    const PAYMENTS: i64 = 40;
    let fixture = Fixture::start(Needs::default()).await;
    // Long enough that on a busy machine the first of them has no answer before the last has begun.
    let slow = [("ISSUER_LATENCY", "10s"), ("PROCESSOR_TIMEOUT", "60s")];
    let (api, mut worker, _folder) = pair(&fixture, &slow).await;
    let books = Books::open(&fixture).await;
    let client = Api::new(api.api);
    join_all((1..=PAYMENTS).map(|order| client.pay(order, "tok_visa"))).await;
    let claimed = "SELECT COUNT(*) FROM payments WHERE claimed_until > created_at";
    eventually("all are in hand", async || {
        books.count(claimed).await == PAYMENTS
    })
    .await;
    let ended = "SELECT COUNT(*) FROM payments WHERE status = 'succeeded'";
    assert!(books.count(ended).await < PAYMENTS, "stopped too late");

    worker.signal("TERM");
    eventually("its readiness is red", async || {
        worker.readiness().await == "not_ready: the service is stopping"
    })
    .await;
    let status = ends_within(&mut worker, Duration::from_secs(30)).await;
    assert_eq!(status.code(), Some(0));

    assert_eq!(books.count(ended).await, PAYMENTS, "finished");
    assert_eq!(books.count("SELECT COUNT(*) FROM outbox").await, 0, "told");
    assert_eq!(depth(&fixture, "payments.work").await, 0, "acknowledged");
    // A second delivery would have claimed again, and so made a try uncertain or written one more.
    let events = "SELECT COUNT(*) FROM payment_events";
    assert_eq!(books.count(events).await, 3 * PAYMENTS);
    let uncertain = "SELECT COUNT(*) FROM payments WHERE uncertain";
    assert_eq!(books.count(uncertain).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_ends_a_process_at_once_with_1_and_another_does_its_work() {
    let fixture = Fixture::start(Needs::default()).await;
    let slow = [("ISSUER_LATENCY", "6s"), ("PROCESSOR_TIMEOUT", "30s")];
    let (api, mut worker, _folder) = pair(&fixture, &slow).await;
    let books = Books::open(&fixture).await;
    let body = json!({
        "order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
    });
    Api::new(api.api).post("/payments", body).await.is(202);
    let claimed = "SELECT COUNT(*) FROM payments WHERE claimed_until > created_at";
    eventually("it is in hand", async || books.count(claimed).await == 1).await;
    worker.signal("TERM");
    eventually("it is stopping", async || {
        worker.readiness().await.contains("stopping")
    })
    .await;
    worker.signal("TERM");
    let status = ends_within(&mut worker, Duration::from_secs(3)).await;
    assert_eq!(status.code(), Some(1));
    // Redelivered when the connection ends.
    eventually("it is delivered again", async || {
        depth(&fixture, "payments.work").await == 1
    })
    .await;
}
