//! Health reports are correct: within ten seconds of a real stop readiness fails or the log has a warning, and
//! neither happens otherwise.

use std::path::Path;
use std::time::{Duration, Instant};

use payment_service::config::Role;
use payment_service::metric;
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tempfile::TempDir;

use super::processes::PROGRAM;
use crate::app::{Api, Backend, Setup, card, eventually, on_both, run_on};
use crate::support::process::{Process, Settings};
use crate::support::servers::{Database, DatabaseOptions, fresh_vhost};
use crate::support::small_disk::SmallDisk;
use crate::tools::fixture::run_with;

/// How soon a stop must be reported.
const SOON: Duration = Duration::from_secs(10);

/// The log message of a stuck stage.
const STUCK: &str = "a stage has work but makes no progress";

/// A service as a process, and what it logs.
struct Watched {
    process: Process,
    api: Api,
    admin: Api,
    settings: Settings,
    folder: TempDir,
}

impl Watched {
    async fn start(settings: Settings) -> Self {
        let watched = Self::spawn(settings);
        watched.process.until_ready(Duration::from_secs(60)).await;
        watched
    }

    fn spawn(settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings
            .with_log(&folder.path().join("log"))
            .with("LOG", "info");
        let process = Process::spawn(PROGRAM, "", &settings);
        Self {
            api: Api::new(process.api),
            admin: Api::new(process.admin),
            process,
            settings,
            folder,
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    async fn ready(&self) -> (u16, Value) {
        let answer = self.admin.get("/health/ready").await;
        (answer.status, answer.body)
    }

    /// Waits until `ready` has this status; returns how long that took.
    async fn becomes(&self, status: u16) -> Duration {
        let begun = Instant::now();
        eventually(&format!("ready is {status}"), || async {
            self.ready().await.0 == status
        })
        .await;
        begun.elapsed()
    }

    /// Keeps submitting payments, as clients do, until `told` returns true.
    async fn offers_payments_until(&self, told: impl AsyncFn() -> bool) -> Duration {
        let begun = Instant::now();
        while !told().await {
            let order = json!({
                "order_id": 1, "user_id": 1, "total_amount": 1, "card": card("4242424242424242"),
            });
            let paying = self.api.post("/payments", order);
            let _ = tokio::time::timeout(Duration::from_secs(1), paying).await;
            assert!(begun.elapsed() < Duration::from_secs(60), "{}", self.log());
        }
        begun.elapsed()
    }

    /// The finding of `check` under a name.
    async fn check(&self, name: &str) -> (String, String) {
        let mut variables = self.settings.variables().clone();
        variables.insert("ADMIN_ADDR".to_owned(), self.process.admin.to_string());
        let variables: Vec<(&'static str, String)> = variables
            .into_iter()
            .map(|(name, value)| (&*name.leak(), value))
            .collect();
        let ended = run_with(&["check", "--json"], &variables).await;
        let findings = ended.json()["findings"].clone();
        let of_name = |finding: &&Value| finding["name"] == name;
        let finding = findings.as_array().unwrap().iter().find(of_name);
        let finding = finding.unwrap_or_else(|| panic!("{name}: {findings:#}"));
        let text = |field: &str| finding[field].as_str().unwrap().to_owned();
        (text("level"), text("message"))
    }
}

/// A server whose user is not an administrator.
struct Server {
    server: Database,
}

impl Server {
    async fn start() -> Self {
        let starting = tokio::task::spawn_blocking(|| Database::start(&DatabaseOptions::default()));
        let server = Self {
            server: starting.await.unwrap().unwrap(),
        };
        for sql in [
            "CREATE DATABASE pay",
            "CREATE USER pay IDENTIFIED BY 'pay'",
            "GRANT ALL ON pay.* TO pay",
        ] {
            server.execute(sql).await;
        }
        server
    }

    async fn execute(&self, sql: &str) {
        let mut connection = MySqlConnection::connect(&self.server.admin_url())
            .await
            .unwrap();
        connection
            .execute(AssertSqlSafe(sql.to_owned()))
            .await
            .unwrap();
    }

    async fn settings(&self) -> Settings {
        let url = format!("mysql://pay:pay@127.0.0.1:{}/pay", self.server.port());
        Settings::servers(&url, &fresh_vhost().await.unwrap())
    }
}

async fn pays(service: &Watched) {
    let id = service.api.pay(1, "tok_visa").await;
    assert_eq!(service.api.outcome(id).await["status"], "succeeded");
}

#[tokio::test]
async fn readiness_follows_a_database_that_is_read_only() {
    let server = Server::start().await;
    let service = Watched::start(server.settings().await).await;
    pays(&service).await;
    for (wrong, right) in [
        ("read_only = 1", "read_only = 0"),
        ("binlog_format = 'STATEMENT'", "binlog_format = 'ROW'"),
    ] {
        server.execute(&format!("SET GLOBAL {wrong}")).await;
        if wrong.starts_with("binlog") {
            // Sessions keep theirs; new ones, as after a restart, do not.
            let kill =
                "SELECT CONCAT('KILL ', id) FROM information_schema.processlist WHERE user = 'pay'";
            let mut connection = MySqlConnection::connect(&server.server.admin_url())
                .await
                .unwrap();
            let kills: Vec<(String,)> = sqlx::query_as(kill)
                .fetch_all(&mut connection)
                .await
                .unwrap();
            for (kill,) in kills {
                let _ = connection.execute(AssertSqlSafe(kill)).await;
            }
        }
        let took = service.becomes(503).await;
        assert!(took < SOON, "{wrong}: {took:?}");
        let (level, message) = service.check("database rights").await;
        assert_eq!(level, "fail", "{wrong}: {message}");
        assert!(
            service.log().contains("rows cannot be written"),
            "{}",
            service.log()
        );
        server.execute(&format!("SET GLOBAL {right}")).await;
        let took = service.becomes(200).await;
        assert!(took < SOON, "{right}: {took:?}");
        assert_eq!(service.check("database rights").await.0, "ok");
        pays(&service).await;
    }
}

#[tokio::test]
async fn a_locked_database_file_is_reported_while_clients_wait_and_so_is_its_end() {
    let folder = tempfile::tempdir().unwrap();
    let service = Watched::start(Settings::embedded(folder.path())).await;
    pays(&service).await;
    let url = format!("sqlite://{}", folder.path().join("payments.db").display());
    let mut other = sqlx::SqliteConnection::connect(&url).await.unwrap();
    other.execute("BEGIN IMMEDIATE").await.unwrap();
    let is_red = async || service.ready().await.0 == 503;
    let took = service.offers_payments_until(is_red).await;
    assert!(took < SOON, "{took:?}");
    let warned = async || service.log().contains(STUCK);
    let took = service.offers_payments_until(warned).await;
    assert!(took < SOON, "{took:?}");
    let (level, message) = service.check("stages").await;
    assert_eq!(level, "fail", "{message}");
    assert!(message.contains("accept: no progress for"), "{message}");
    other.execute("ROLLBACK").await.unwrap();
    service.becomes(200).await;
    pays(&service).await;
    eventually("the stage is told to go on", || async {
        service.log().contains("the stage makes progress again")
    })
    .await;
    assert_eq!(service.check("stages").await.0, "ok");
}

#[tokio::test]
async fn a_full_disk_is_reported_and_work_continues_when_there_is_space() {
    let Some(disk) = SmallDisk::mount(3) else {
        return;
    };
    let service = Watched::start(Settings::embedded(disk.path())).await;
    pays(&service).await;
    disk.fill().unwrap();
    let is_red = async || service.ready().await.0 == 503;
    let told = service.offers_payments_until(is_red).await;
    // The database's log file still has some space at first.
    assert!(told < SOON * 2, "{told:?}");
    let (level, message) = service.check("database rights").await;
    assert_eq!(level, "fail", "{message}");
    disk.free().unwrap();
    let took = service.becomes(200).await;
    assert!(took < SOON, "{took:?}");
    pays(&service).await;
}

#[tokio::test]
async fn a_silent_issuer_and_waiting_tries_raise_no_alarm() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(folder.path())
        .with("PROCESSOR_TIMEOUT", "300ms")
        .with("RETRY_INITIAL", "4s")
        .with("MAX_TRIES", "3");
    let service = Watched::start(settings).await;
    for order in 1..=5 {
        service.api.pay(order, "tok_issuer_silent").await;
    }
    let begun = Instant::now();
    while begun.elapsed() < Duration::from_secs(12) {
        let (status, body) = service.ready().await;
        assert_eq!(status, 200, "{body}");
        assert_eq!(body["status"], "ready", "{body}");
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let log = service.log();
    assert!(
        !log.contains(STUCK) && !log.contains("cannot be used"),
        "{log}"
    );
    let (_, body) = service.ready().await;
    let stages = body["stages"].as_object().unwrap();
    assert_eq!(stages.len(), 10, "{body}");
    assert!(stages["accept"]["last_success_ago"].is_f64(), "{body}");
    let seen = service.process.counter(metric::STAGE_LAST_SUCCESS).await;
    assert!(seen > 0.0);
}

#[tokio::test]
async fn a_wrong_clock_is_reported_once_and_check_fails() {
    let Some(library) = faketime() else {
        eprintln!("left out: libfaketime is not installed");
        return;
    };
    let server = Server::start().await;
    let settings = server.settings().await;
    let service = Watched::start(
        settings
            .with("LD_PRELOAD", &library)
            .with("FAKETIME", "-3600")
            .with("DONT_FAKE_MONOTONIC", "1"),
    )
    .await;
    eventually("the clock is told", || async {
        service
            .log()
            .contains("the clocks of this process and of the database differ")
    })
    .await;
    pays(&service).await;
    let told = service.log().matches("the clocks of this process").count();
    assert_eq!(told, 1, "{}", service.log());
    let (level, message) = service.check("clock").await;
    assert_eq!(level, "fail", "{message}");
}

fn faketime() -> Option<String> {
    let library = "/usr/lib/x86_64-linux-gnu/faketime/libfaketime.so.1";
    Path::new(library).exists().then(|| library.to_owned())
}

/// An hour, in the words of each database.
fn hour(backend: Backend) -> [&'static str; 3] {
    match backend {
        Backend::Embedded => [
            "UPDATE outbox SET due_at = strftime('%Y-%m-%d %H:%M:%f000', due_at, '+1 hour')",
            "UPDATE payments SET check_at = strftime('%Y-%m-%d %H:%M:%f000', check_at, '+1 hour')",
            "UPDATE payments SET claimed_until = strftime('%Y-%m-%d %H:%M:%f000', 'now', '+1 hour')
             WHERE check_at IS NOT NULL",
        ],
        Backend::Servers => [
            "UPDATE outbox SET due_at = due_at + INTERVAL 1 HOUR",
            "UPDATE payments SET check_at = check_at + INTERVAL 1 HOUR",
            "UPDATE payments SET claimed_until = UTC_TIMESTAMP(6) + INTERVAL 1 HOUR WHERE check_at IS NOT NULL",
        ],
    }
}

/// The waiting rows were written by a clock that was an hour ahead.
#[tokio::test]
async fn work_continues_when_the_databases_clock_is_set_back_an_hour() {
    let setup = || {
        Setup::new()
            .with("RETRY_INITIAL", "8s")
            .with("RETRY_MAX_INTERVAL", "8s")
    };
    on_both(setup(), |app| async move {
        let [outbox, check, claims] = hour(app.backend());
        // Its first try fails; the next one waits for some seconds.
        let id = app.api.pay(1, "tok_issuer_down_1").await;
        eventually("a try waits", || async {
            app.api.history(id).await.len() >= 3
        })
        .await;
        assert!(app.execute(outbox).await >= 1);
        assert_eq!(app.execute(check).await, 1);
        assert_eq!(app.execute(claims).await, 1);
        let paid = app.api.outcome(id).await;
        assert_ne!(paid["status"], "processing");
    })
    .await;
    // The message is lost as well.
    let setup = setup().with("CHECK_AFTER", "1s").without_worker();
    run_on(setup, Backend::Servers, |app| async move {
        let [_, check, _] = hour(app.backend());
        let id = app.api.pay(1, "tok_visa").await;
        eventually("the message is out", || async { app.execute("DELETE FROM outbox").await == 0 }).await;
        assert_eq!(app.execute(check).await, 1);
        eventually("the payment is looked at again", || async {
            app.execute("UPDATE payments SET check_at = check_at WHERE check_at < UTC_TIMESTAMP(6) + INTERVAL 30 MINUTE").await == 1
        })
        .await;
        app.another(Role::Worker).await;
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
    })
    .await;
}
