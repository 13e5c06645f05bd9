//! `deploy/monitoring`: the rules are valid, each fires when it should, and all names exist.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};

use payment_service::metric::CATALOGUE;
use serde::Deserialize;
use serde_json::Value;

use super::promtool::rules;

const ROOT: &str = env!("CARGO_MANIFEST_DIR");

#[derive(Deserialize)]
struct RuleFile {
    groups: Vec<Group>,
}

#[derive(Deserialize)]
struct Group {
    rules: Vec<Rule>,
}

#[derive(Deserialize)]
struct Rule {
    alert: String,
    expr: String,
    labels: Labels,
    annotations: Annotations,
}

#[derive(Deserialize)]
struct Labels {
    severity: String,
}

#[derive(Deserialize)]
struct Annotations {
    summary: String,
    description: String,
    runbook_url: String,
}

#[derive(Deserialize)]
struct TestFile {
    tests: Vec<RuleTest>,
}

#[derive(Deserialize)]
struct RuleTest {
    alert_rule_test: Vec<AlertTest>,
}

#[derive(Deserialize)]
struct AlertTest {
    alertname: String,
    exp_alerts: Vec<Value>,
}

fn folder() -> PathBuf {
    Path::new(ROOT).join("deploy/monitoring")
}

fn text(path: &str) -> String {
    let path = Path::new(ROOT).join(path);
    std::fs::read_to_string(&path).unwrap_or_else(|error| panic!("{path:?}: {error}"))
}

fn alerts() -> Vec<Rule> {
    let file: RuleFile = serde_saphyr::from_str(&text("deploy/monitoring/alerts.yaml")).unwrap();
    file.groups
        .into_iter()
        .flat_map(|group| group.rules)
        .collect()
}

/// The names in an expression that look like those of this service's metrics, or of a process' own.
fn metrics_in(expression: &str) -> BTreeSet<String> {
    let is_part = |c: char| c.is_ascii_alphanumeric() || c == '_';
    let words = expression.split(|c: char| !is_part(c));
    let words = words.filter(|word| word.starts_with("payment_service_"));
    words.map(str::to_owned).collect()
}

fn unknown(names: BTreeSet<String>) -> Vec<String> {
    let is_known = |name: &String| CATALOGUE.iter().any(|metric| metric.is_line(name));
    names.into_iter().filter(|name| !is_known(name)).collect()
}

#[test]
fn promtool_accepts_the_rules() {
    rules("check", &folder().join("alerts.yaml")).unwrap();
}

#[test]
fn every_alert_fires_and_stays_silent_when_it_should() {
    rules("test", &folder().join("alerts_test.yaml")).unwrap();
    let file: TestFile =
        serde_saphyr::from_str(&text("deploy/monitoring/alerts_test.yaml")).unwrap();
    let tests: Vec<&AlertTest> = file
        .tests
        .iter()
        .flat_map(|test| &test.alert_rule_test)
        .collect();
    for alert in alerts() {
        let count = |fires: bool| {
            let its = tests.iter().filter(|test| test.alertname == alert.alert);
            its.filter(|test| test.exp_alerts.is_empty() != fires)
                .count()
        };
        assert!(count(true) > 0, "no series fires {}", alert.alert);
        assert!(count(false) > 0, "no series leaves {} silent", alert.alert);
    }
}

#[test]
fn the_runbook_says_what_to_do_about_each_alert() {
    let runbook = text("docs/runbook.md");
    let section = runbook
        .split("\n## ")
        .find(|section| section.starts_with("Alerts\n"));
    let headings = section.expect("the section Alerts").lines();
    let explained: BTreeSet<String> = headings
        .filter_map(|line| Some(line.strip_prefix("### ")?.to_owned()))
        .collect();
    let alerts = alerts();
    let named: BTreeSet<String> = alerts.iter().map(|alert| alert.alert.clone()).collect();
    assert_eq!(named.len(), alerts.len(), "an alert is there twice");
    assert_eq!(explained, named, "docs/runbook.md and alerts.yaml");
    for Rule {
        alert,
        labels,
        annotations,
        ..
    } in alerts
    {
        assert!(
            ["critical", "warning"].contains(&labels.severity.as_str()),
            "{alert}"
        );
        assert!(
            !annotations.summary.is_empty() && annotations.description.ends_with('.'),
            "{alert}"
        );
        let anchor = format!("runbook.md#{}", alert.to_lowercase());
        assert!(
            annotations.runbook_url.ends_with(&anchor),
            "{alert}: {}",
            annotations.runbook_url
        );
    }
}

#[test]
fn alerts_use_metrics_that_exist() {
    for alert in alerts() {
        let names = metrics_in(&alert.expr);
        assert!(!names.is_empty(), "{}", alert.alert);
        assert_eq!(unknown(names), Vec::<String>::new(), "{}", alert.alert);
    }
    let tested = metrics_in(&text("deploy/monitoring/alerts_test.yaml"));
    assert_eq!(unknown(tested), Vec::<String>::new(), "alerts_test.yaml");
}

#[test]
fn the_dashboard_shows_every_metric_and_no_others() {
    let dashboard: Value = serde_json::from_str(&text("deploy/monitoring/dashboard.json")).unwrap();
    let panels = dashboard["panels"].as_array().unwrap();
    let mut shown = BTreeSet::new();
    for panel in panels.iter().filter(|panel| panel["type"] != "row") {
        assert_eq!(
            panel["datasource"]["uid"], "${datasource}",
            "{}",
            panel["title"]
        );
        for target in panel["targets"].as_array().unwrap() {
            assert_eq!(
                target["datasource"]["uid"], "${datasource}",
                "{}",
                panel["title"]
            );
            shown.extend(metrics_in(target["expr"].as_str().unwrap()));
        }
    }
    assert_eq!(unknown(shown.clone()), Vec::<String>::new());
    let is_shown = |name: &str| shown.iter().any(|line| line.starts_with(name));
    let missing: Vec<&str> = CATALOGUE
        .iter()
        .map(|metric| metric.name)
        .filter(|name| !is_shown(name))
        .collect();
    assert_eq!(missing, Vec::<&str>::new(), "the dashboard lacks them");
    let ids: BTreeSet<u64> = panels
        .iter()
        .filter_map(|panel| panel["id"].as_u64())
        .collect();
    assert_eq!(ids.len(), panels.len(), "two panels have the same id");
    assert!(dashboard["schemaVersion"].as_u64() >= Some(41));
}
