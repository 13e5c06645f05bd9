//! Processes that are killed, stopped, or started without their servers.

use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use serde_json::json;
use sqlx::Connection;
use tokio::net::{TcpListener, TcpStream};

use crate::app::{Api, card, eventually};
use crate::platforms::webhooks;
use crate::support::process::{Process, Settings};
use crate::support::servers::fresh_servers;

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// Embedded, with a slow issuer and a fast rescue.
fn settings(folder: &Path) -> Settings {
    let settings = Settings::embedded(folder).with_log(&folder.join("log"));
    [
        ("ISSUER_LATENCY", "400ms"),
        ("PROCESSOR_TIMEOUT", "1s"),
        ("OUTBOX_LEASE", "1s"),
        ("CHECK_AFTER", "500ms"),
        ("CHECK_EVERY", "200ms"),
    ]
    .into_iter()
    .fold(settings, |settings, (name, value)| {
        settings.with(name, value)
    })
}

async fn number(folder: &Path, sql: &'static str) -> i64 {
    let url = format!("sqlite://{}", folder.join("payments.db").display());
    let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query_scalar(sql)
        .fetch_one(&mut connection)
        .await
        .unwrap()
}

const PROCESSING: &str = "SELECT COUNT(*) FROM payments WHERE status = 'processing'";
const CHARGES: &str = "SELECT COUNT(*) FROM issuer_ledger WHERE reversed_at IS NULL";

async fn all_succeed(service: &Process, ids: &[i64]) {
    let api = Api::new(service.api);
    for id in ids {
        assert_eq!(api.outcome(*id).await["status"], "succeeded");
    }
}

#[tokio::test]
async fn payments_accepted_just_before_a_kill_get_their_outcome_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut first = Process::start(PROGRAM, "", &settings).await;
    let api = Api::new(first.api);
    let mut ids = Vec::new();
    for order_id in 1..=20 {
        ids.push(api.pay(order_id, "tok_visa").await);
    }
    first.kill();
    assert!(
        number(folder.path(), PROCESSING).await > 0,
        "killed too late to tell"
    );
    let mut second = Process::start(PROGRAM, "", &settings).await;
    all_succeed(&second, &ids).await;
    assert!(second.stop());
    assert_eq!(number(folder.path(), CHARGES).await, 20);
    assert_eq!(
        number(folder.path(), "SELECT COUNT(*) FROM issuer_ledger").await,
        20
    );
}

/// Kills the process at different moments after operations were accepted, and counts what the issuer has carried out.
#[tokio::test]
async fn operations_accepted_before_a_kill_are_carried_out_once_after_the_restart() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path());
    let mut process = Process::start(PROGRAM, "", &settings).await;
    let mut ids = Vec::new();
    for order_id in 1..=9 {
        let order = json!({
            "order_id": order_id, "user_id": 1, "total_amount": 100, "card_token": "tok_visa", "capture_method": "manual",
        });
        let api = Api::new(process.api);
        ids.push(api.post("/payments", order).await.is(202).id());
    }
    for id in &ids {
        let authorized = Api::new(process.api).outcome(*id).await;
        assert_eq!(authorized["status"], "requires_capture");
    }
    let (captured, voided) = ids.split_at(6);
    // Milliseconds: before the call to the issuer, during it, and about when its answer is recorded.
    for (round, pause) in [0, 150, 420].into_iter().enumerate() {
        let api = Api::new(process.api);
        for id in &captured[2 * round..2 * round + 2] {
            api.post(&format!("/payments/{id}/capture"), json!({}))
                .await
                .is(202);
        }
        api.post(&format!("/payments/{}/cancel", voided[round]), json!({}))
            .await
            .is(202);
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill();
        process = Process::start(PROGRAM, "", &settings).await;
    }
    let api = Api::new(process.api);
    for id in captured {
        assert_eq!(api.outcome(*id).await["status"], "succeeded");
    }
    for id in voided {
        assert_eq!(api.outcome(*id).await["status"], "canceled");
    }
    for (round, pause) in [0, 150, 420].into_iter().enumerate() {
        let api = Api::new(process.api);
        for id in &captured[2 * round..2 * round + 2] {
            let key = format!("refund-{id}");
            let (path, header) = (
                format!("/payments/{id}/refunds"),
                [("Idempotency-Key", key.as_str())],
            );
            api.post_with(&path, &header, json!({"amount": 40}))
                .await
                .is(202);
        }
        tokio::time::sleep(Duration::from_millis(pause)).await;
        process.kill();
        process = Process::start(PROGRAM, "", &settings).await;
    }
    let api = Api::new(process.api);
    for id in captured {
        eventually("it is refunded", || async {
            api.get(&format!("/payments/{id}")).await["amount_refunded"] == 40.0
        })
        .await;
    }
    assert!(process.stop());
    let carried_out =
        "SELECT COUNT(*) FROM issuer_operations WHERE executed_at IS NOT NULL AND kind = 'capture'";
    assert_eq!(number(folder.path(), carried_out).await, 6);
    let carried_out =
        "SELECT COUNT(*) FROM issuer_operations WHERE executed_at IS NOT NULL AND kind = 'void'";
    assert_eq!(number(folder.path(), carried_out).await, 3);
    let carried_out = "SELECT SUM(amount_minor) FROM issuer_operations WHERE executed_at IS NOT NULL AND kind = 'refund'";
    assert_eq!(number(folder.path(), carried_out).await, 6 * 4000);
}

#[tokio::test]
async fn a_call_of_a_killed_process_counts_as_possibly_charged() {
    let folder = tempfile::tempdir().unwrap();
    let settings = settings(folder.path()).with("PROCESSOR_TIMEOUT", "3s");
    let mut first = Process::start(PROGRAM, "", &settings).await;
    let id = Api::new(first.api).pay(1, "tok_later_calls_declined").await;
    let asked = "SELECT COUNT(*) FROM issuer_calls WHERE calls = 1";
    eventually("the call is under way", || async {
        number(folder.path(), asked).await == 1
    })
    .await;
    first.kill();
    assert_eq!(
        number(folder.path(), PROCESSING).await,
        1,
        "killed too late"
    );
    // Declined at the second call, which does not mean that the first call charged nothing.
    let mut second = Process::start(PROGRAM, "", &settings).await;
    let api = Api::new(second.api);
    let declined = api.outcome(id).await;
    assert_eq!(declined["decline_code"], "do_not_honor");
    let expected = [
        "accepted",
        "attempt_started",
        "reversal_started",
        "declined",
    ];
    assert_eq!(api.history(id).await, expected);
    assert!(second.stop());
}

#[tokio::test]
async fn a_process_that_is_asked_to_stop_finishes_its_work_and_exits_with_0() {
    let folder = tempfile::tempdir().unwrap();
    let mut service = Process::start(PROGRAM, "", &settings(folder.path())).await;
    let api = Api::new(service.api);
    let id = api.create(1).await;
    let process = format!("/payments/{id}/process");
    // A caller that waits for the outcome is answered, not cut off.
    let waiting = api.post(&process, card("4242424242424242"));
    let told = async {
        eventually("the card is presented", || async {
            number(folder.path(), PROCESSING).await == 1
        })
        .await;
        service.signal("TERM");
    };
    let (answer, ()) = tokio::join!(waiting, told);
    assert!(matches!(answer.status, 200 | 202), "{}", answer.body);
    assert!(service.wait(), "it exits with 0");
    assert_eq!(number(folder.path(), PROCESSING).await, 0);
    assert_eq!(
        number(folder.path(), "SELECT COUNT(*) FROM outbox").await,
        0
    );
}

/// A gate in front of a server: while it is shut, every connection breaks at once.
struct Gate {
    address: SocketAddr,
    open: Arc<AtomicBool>,
}

impl Gate {
    async fn shut(server: String) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let gate = Self {
            address: listener.local_addr().unwrap(),
            open: Arc::new(AtomicBool::new(false)),
        };
        let open = Arc::clone(&gate.open);
        tokio::spawn(async move {
            while let Ok((mut caller, _)) = listener.accept().await {
                if open.load(Ordering::Relaxed) {
                    let mut server = TcpStream::connect(&server).await.unwrap();
                    tokio::spawn(async move {
                        let _ = tokio::io::copy_bidirectional(&mut caller, &mut server).await;
                    });
                }
            }
        });
        gate
    }

    fn open(&self) {
        self.open.store(true, Ordering::Relaxed);
    }

    /// The same URL, through the gate.
    fn url(&self, url: &str) -> String {
        url.replace(&host_and_port(url), &self.address.to_string())
    }
}

fn host_and_port(url: &str) -> String {
    let rest = url.split_once('@').map_or(url, |(_, rest)| rest);
    rest.split('/').next().unwrap().to_owned()
}

const EVENT: &str = r#"{"id": "evt_1", "object": "event", "type": "refund.updated", "data": {"object": {"id": "re_1"}}}"#;

/// `PROCESSORS_FILE` with a platform that sends webhooks, and that cannot be asked.
fn a_platform(folder: &std::path::Path) -> String {
    let file = folder.join("processors.json");
    let processor = serde_json::json!({
        "name": "stripe", "type": "stripe", "secret_key": "sk_test_1", "api": "http://127.0.0.1:9",
        "webhook_secret": webhooks::SECRET,
    });
    let content = serde_json::json!({ "processors": [processor] });
    std::fs::write(&file, content.to_string()).unwrap();
    file.display().to_string()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_process_reports_missing_servers_and_starts_work_when_they_are_up() {
    let (database_url, amqp_url) = fresh_servers().await.unwrap();
    let database = Gate::shut(host_and_port(&database_url)).await;
    let broker = Gate::shut(host_and_port(&amqp_url)).await;
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::servers(&database.url(&database_url), &broker.url(&amqp_url))
        .with("PROCESSORS_FILE", &a_platform(folder.path()))
        .with_log(&folder.path().join("log"));
    let mut service = Process::spawn(PROGRAM, "", &settings);
    let (api, admin) = (Api::new(service.api), Api::new(service.admin));
    until_listening(service.admin).await;

    let state = || async { admin.get("/health/ready").await };
    let is = |wanted: &'static str, reason: &'static str| async move {
        let answer = state().await;
        let told = answer.body["reason"].as_str().unwrap_or("").to_owned();
        answer["status"] == *wanted && told.contains(reason)
    };
    eventually("it says that the database is away", || {
        is("not_ready", "the database")
    })
    .await;
    state().await.is(503);
    admin.get("/health/live").await.is(200);
    let order = serde_json::json!({
        "order_id": 1, "user_id": 1, "total_amount": 1, "card_token": "tok_visa",
    });
    let refused = api.post("/payments", order.clone()).await.is(503);
    assert_ne!(refused.header("Retry-After"), "");
    // The platform sends it again.
    assert_eq!(webhooks::send(&api, EVENT).await, 503);

    database.open();
    eventually("it says that the broker is away", || {
        is("degraded", "RabbitMQ")
    })
    .await;
    state().await.is(200);
    // Payments and webhooks are accepted meanwhile.
    assert_eq!(webhooks::send(&api, EVENT).await, 200);
    let id = api.post("/payments", order).await.is(202).id();
    broker.open();
    eventually("it is ready", || is("ready", "")).await;
    assert_eq!(api.outcome(id).await["status"], "succeeded");
    assert!(service.stop(), "it stops in order");
    let log = std::fs::read_to_string(folder.path().join("log")).unwrap();
    assert!(log.contains("the database cannot be used"), "{log}");
}

/// Waits until connections are accepted there.
pub async fn until_listening(address: SocketAddr) {
    eventually("it listens", || async {
        TcpStream::connect(address).await.is_ok()
    })
    .await;
}
