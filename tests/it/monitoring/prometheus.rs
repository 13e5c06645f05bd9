//! A real Prometheus that scrapes a real process, with the rules of `deploy/monitoring`.

use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use serde_json::{Value, json};
use sqlx::Connection;

use super::promtool::program;
use crate::app::{Api, card, eventually_within};
use crate::end_to_end::processes::PROGRAM;
use crate::support::process::{Process, Settings};

const PATIENCE: Duration = Duration::from_secs(60);

/// Killed when dropped.
struct Prometheus {
    child: Child,
    address: SocketAddr,
    http: reqwest::Client,
}

impl Prometheus {
    /// Scrapes a process every second. Alerts wait no longer than that, so that the test need not wait for minutes.
    fn start(folder: &Path, scraped: SocketAddr) -> Self {
        let rules = Path::new(env!("CARGO_MANIFEST_DIR")).join("deploy/monitoring/alerts.yaml");
        let rules = std::fs::read_to_string(rules).unwrap();
        let impatient = rules.replace("for: 1m", "for: 1s");
        std::fs::write(folder.join("alerts.yaml"), impatient).unwrap();
        let settings = json!({
            "global": {"scrape_interval": "1s", "evaluation_interval": "1s"},
            "rule_files": ["alerts.yaml"],
            "scrape_configs": [{
                "job_name": "payment-service",
                "static_configs": [{"targets": [scraped.to_string()]}],
            }],
        });
        // JSON is YAML.
        std::fs::write(folder.join("prometheus.yml"), settings.to_string()).unwrap();
        let free = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = free.local_addr().unwrap();
        drop(free);
        let child = Command::new(program("prometheus"))
            .arg(format!(
                "--config.file={}",
                folder.join("prometheus.yml").display()
            ))
            .arg(format!(
                "--storage.tsdb.path={}",
                folder.join("series").display()
            ))
            .arg(format!("--web.listen-address={address}"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        Self {
            child,
            address,
            http,
        }
    }

    /// The alerts that fire, by name and stage.
    async fn firing(&self) -> Vec<(String, String)> {
        let url = format!("http://{}/api/v1/alerts", self.address);
        let Ok(answer) = self.http.get(url).send().await else {
            return Vec::new();
        };
        let answer: Value = answer.json().await.unwrap_or_default();
        let alerts = answer["data"]["alerts"]
            .as_array()
            .cloned()
            .unwrap_or_default();
        let firing = alerts.iter().filter(|alert| alert["state"] == "firing");
        let label = |alert: &Value, name| {
            alert["labels"][name]
                .as_str()
                .unwrap_or_default()
                .to_owned()
        };
        firing
            .map(|alert| (label(alert, "alertname"), label(alert, "stage")))
            .collect()
    }

    async fn has_scraped(&self) -> bool {
        let url = format!(
            "http://{}/api/v1/query?query=payment_service_ready",
            self.address
        );
        let Ok(answer) = self.http.get(url).send().await else {
            return false;
        };
        let answer: Value = answer.json().await.unwrap_or_default();
        answer["data"]["result"]
            .as_array()
            .is_some_and(|found| !found.is_empty())
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Another program holds the lock of the database: nothing can be written.
#[tokio::test]
async fn an_alert_fires_while_a_stage_is_stuck_and_ends_with_it() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(folder.path()).with("LOG", "error");
    let process = Process::start(PROGRAM, "", &settings).await;
    let prometheus = Prometheus::start(folder.path(), process.admin);
    eventually_within(PATIENCE, "Prometheus has scraped the process", || {
        prometheus.has_scraped()
    })
    .await;
    // Rules that were evaluated before the first scrape saw no process.
    eventually_within(PATIENCE, "no alert fires", || async {
        prometheus.firing().await.is_empty()
    })
    .await;

    let url = format!("sqlite://{}", folder.path().join("payments.db").display());
    let mut lock = sqlx::SqliteConnection::connect(&url).await.unwrap();
    sqlx::query("BEGIN IMMEDIATE")
        .execute(&mut lock)
        .await
        .unwrap();
    let address = process.api;
    let caller = tokio::spawn(async move {
        let order = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card": card("4242424242424242")});
        Api::new(address).post("/payments", order).await.status
    });
    let stuck = ("PaymentServiceStageStuck".to_owned(), "accept".to_owned());
    eventually_within(PATIENCE, "the alert fires", || async {
        prometheus.firing().await.contains(&stuck)
    })
    .await;

    sqlx::query("ROLLBACK").execute(&mut lock).await.unwrap();
    lock.close().await.unwrap();
    let _answered = caller.await.unwrap();
    eventually_within(PATIENCE, "no alert fires", || async {
        prometheus.firing().await.is_empty()
    })
    .await;
}
