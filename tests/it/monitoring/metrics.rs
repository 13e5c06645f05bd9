//! `/metrics` of running processes.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use payment_service::metric::{self, CATALOGUE};
use serde_json::json;

use super::promtool::check_metrics;
use crate::app::{Api, card, eventually};
use crate::end_to_end::processes::PROGRAM;
use crate::support::process::{Process, Settings};

const CLIENTS: &str = r#"{"clients": [
    {"name": "shop", "api_key_sha256": [], "callback": {
        "url": "https://shop.example/payments",
        "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    }}
]}"#;

async fn metrics(process: &Process) -> String {
    let http = reqwest::Client::builder().no_proxy().build().unwrap();
    let url = format!("http://{}/metrics", process.admin);
    http.get(url).send().await.unwrap().text().await.unwrap()
}

/// The value of each series.
fn series(text: &str) -> BTreeMap<&str, f64> {
    let lines = text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty());
    lines
        .map(|line| {
            let (series, value) = line.rsplit_once(' ').unwrap();
            (series, value.parse().unwrap())
        })
        .collect()
}

/// Its name is the part before the labels.
fn name(series: &str) -> &str {
    series.split('{').next().unwrap()
}

fn embedded(folder: &Path) -> Settings {
    let settings = Settings::embedded(folder).with("LOG", "error");
    settings.with("ISSUER_LATENCY", "0ms")
}

#[tokio::test]
async fn a_new_process_shows_every_metric_with_type_and_help_and_promtool_accepts_them() {
    let folder = tempfile::tempdir().unwrap();
    let clients = folder.path().join("clients.json");
    std::fs::write(&clients, CLIENTS).unwrap();
    let settings = embedded(folder.path()).with("CLIENTS_FILE", &clients.display().to_string());
    let process = Process::start(PROGRAM, "", &settings).await;
    let text = metrics(&process).await;

    let series = series(&text);
    for metric in CATALOGUE {
        let lines = series.keys().filter(|it| metric.is_line(name(it)));
        assert!(lines.count() > 0, "{} is missing", metric.name);
        let help = format!("# HELP {} {}\n", metric.name, metric.help);
        assert!(text.contains(&help), "{help}");
        assert!(
            text.contains(&format!("# TYPE {} ", metric.name)),
            "{}",
            metric.name
        );
    }
    let is_known = |it: &&str| {
        it.starts_with("process_") || CATALOGUE.iter().any(|metric| metric.is_line(name(it)))
    };
    let unknown: Vec<&&str> = series.keys().filter(|it| !is_known(it)).collect();
    assert!(unknown.is_empty(), "not in the catalogue: {unknown:?}");
    check_metrics(&text).unwrap();
}

#[test]
fn promtool_refuses_metrics_without_help_and_counters_without_total() {
    let refused = check_metrics("# TYPE payments counter\npayments 1\n").unwrap_err();
    assert!(refused.contains("no help text"), "{refused}");
    assert!(refused.contains("_total"), "{refused}");
}

#[tokio::test]
async fn payments_change_only_values_and_no_series_appears() {
    let folder = tempfile::tempdir().unwrap();
    let process = Process::start(PROGRAM, "", &embedded(folder.path())).await;
    let before = metrics(&process).await;
    let api = Api::new(process.api);
    let pay = async |number: &str| {
        let order = json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card": card(number)});
        let id = api.post("/payments", order).await.is(202).id();
        api.outcome(id).await
    };
    assert_eq!(pay("4242424242424242").await["status"], "succeeded");
    assert_eq!(pay("4000000000009995").await["status"], "declined");
    // Its first try fails, so that the history knows when the card was presented.
    assert_eq!(pay("4000009900000012").await["status"], "succeeded");
    let order = json!({"order_id": 1, "user_id": 1, "total_amount": 1});
    let id = api.post("/payments", order).await.is(202).id();
    let canceled = api.post(&format!("/payments/{id}/cancel"), json!({})).await;
    canceled.is(200);
    api.get("/no/such/address").await;
    eventually("every outcome is counted", || async {
        process.counter(metric::PAYMENT_OUTCOMES).await >= 4.0
    })
    .await;
    // Updated once a second.
    for gauge in [metric::READY, metric::DATABASE_UP, metric::BROKER_UP] {
        eventually("the gauges are up to date", || async {
            process.counter(gauge).await == 1.0
        })
        .await;
    }

    let after = metrics(&process).await;
    let (before, after) = (series(&before), series(&after));
    let new: BTreeSet<&&str> = after
        .keys()
        .filter(|it| !before.contains_key(*it))
        .collect();
    assert!(new.is_empty(), "series that appeared: {new:?}");
    let value = |metric: &str, labels: &[(&str, &str)]| {
        let labels: Vec<String> = labels
            .iter()
            .map(|(key, it)| format!("{key}=\"{it}\""))
            .collect();
        let wanted = |it: &&(&&str, &f64)| {
            name(it.0) == metric && labels.iter().all(|label| it.0.contains(label))
        };
        after
            .iter()
            .filter(|it| wanted(&it))
            .map(|(_, value)| value)
            .sum::<f64>()
    };
    let outcomes = |status, code| {
        let labels = [
            ("status", status),
            ("decline_code", code),
            ("client", "default"),
        ];
        value(metric::PAYMENT_OUTCOMES, &labels)
    };
    assert_eq!(outcomes("succeeded", "none"), 2.0);
    assert_eq!(outcomes("declined", "insufficient_funds"), 1.0);
    assert_eq!(outcomes("canceled", "none"), 1.0);
    let attempts = [("client", "default")];
    assert_eq!(value(metric::PAYMENT_ATTEMPTS, &attempts), 3.0);
    let calls = |result| {
        value(
            metric::PROCESSOR_CALLS,
            &[("operation", "authorize"), ("result", result)],
        )
    };
    assert_eq!(
        [calls("done"), calls("refused"), calls("not_executed")],
        [2.0, 1.0, 1.0]
    );
    let timed = format!("{}_count", metric::PAYMENT_OUTCOME_SECONDS);
    assert_eq!(value(&timed, &[]), 3.0);
    let requests = |route, method, status| {
        let labels = [("route", route), ("method", method), ("status", status)];
        value(metric::HTTP_REQUESTS, &labels)
    };
    assert_eq!(requests("/payments", "POST", "2xx"), 4.0);
    assert_eq!(
        requests("/payments/{payment_id}/cancel", "POST", "2xx"),
        1.0
    );
    assert_eq!(requests("other", "other", "4xx"), 1.0);
    assert_eq!(value(metric::READY, &[]), 1.0);
    assert_eq!(value(metric::DATABASE_UP, &[]), 1.0);
    assert_eq!(value(metric::BROKER_UP, &[]), 1.0);
}
