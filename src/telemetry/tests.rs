use std::collections::BTreeSet;

use metrics_exporter_prometheus::PrometheusHandle;

use super::*;
use crate::metric::Metric;

const RUNBOOK: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/runbook.md");

/// One client with a callback and one without.
const CLIENTS: &str = r#"{"clients": [
    {"name": "shop", "api_key_sha256": [], "callback": {
        "url": "https://shop.example/payments",
        "secrets": ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"]
    }},
    {"name": "kiosk", "api_key_sha256": []}
]}"#;

/// These labels' values are known to other code, which creates their series.
const ELSEWHERE: [&str; 9] = [
    "batch",
    "method",
    "operation",
    "pool",
    "processor",
    "route",
    "stage",
    "state",
    "task",
];

fn clients(content: &str) -> Clients {
    Clients::parse(content.as_bytes()).expect("a clients file")
}

/// What a process with these clients shows before anything happens, and while `then` runs.
fn fresh(role: Role, clients: &Clients, then: impl FnOnce(&PrometheusHandle)) {
    let recorder = exporter().expect("limits").build_recorder();
    metrics::with_local_recorder(&recorder, || {
        describe();
        create_series(role, clients);
        then(&recorder.handle());
    });
}

fn lines(text: &str) -> impl Iterator<Item = &str> {
    text.lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
}

fn shows(text: &str, metric: &Metric) -> bool {
    lines(text).any(|line| {
        let name = line.split(['{', ' ']).next();
        name.is_some_and(|name| metric.is_line(name))
    })
}

#[test]
fn the_runbook_explains_every_metric() {
    let runbook = std::fs::read_to_string(RUNBOOK).expect("the runbook");
    let names = CATALOGUE.iter().map(|metric| metric.name);
    let names: Vec<&str> = names
        .filter(|name| !runbook.contains(&format!("`{name}`")))
        .collect();
    assert!(names.is_empty(), "docs/runbook.md lacks {names:?}");
}

#[test]
fn the_runbook_names_no_metric_that_does_not_exist() {
    let runbook = std::fs::read_to_string(RUNBOOK).expect("the runbook");
    let known: BTreeSet<&str> = CATALOGUE.iter().map(|metric| metric.name).collect();
    let renamed = runbook
        .find("### Names before this release")
        .expect("the old names");
    let after = runbook.find("## Log lines").expect("the log lines");
    let text = format!("{}{}", &runbook[..renamed], &runbook[after..]);
    for word in text.split('`').skip(1).step_by(2) {
        if word.starts_with("payment_service_") {
            assert!(known.contains(word), "{word}");
        }
    }
}

#[test]
fn names_follow_the_conventions() {
    let mut names = BTreeSet::new();
    for Metric {
        name,
        kind,
        help,
        labels,
        ..
    } in CATALOGUE
    {
        assert!(names.insert(name), "{name} is there twice");
        let rest = name.strip_prefix("payment_service_");
        let allowed = |c: char| c.is_ascii_lowercase() || c == '_';
        assert!(rest.is_some_and(|rest| rest.chars().all(allowed)), "{name}");
        assert_eq!(*kind == Kind::Counter, name.ends_with("_total"), "{name}");
        assert!(help.ends_with('.') && help.len() > 10, "{name}: {help}");
        let is_id = |label: &&str| label.ends_with("id");
        assert!(!labels.iter().any(is_id), "{name} has ids: {labels:?}");
        for end in [
            "_sum",
            "_count",
            "_bucket",
            "_seconds_total_seconds",
            "_ms",
            "_millis",
        ] {
            assert!(!name.ends_with(end), "{name}");
        }
        if let Kind::Histogram(limits) = kind {
            assert!(limits.is_sorted() && limits.len() > 5, "{name}: {limits:?}");
        }
    }
    assert!(names.len() > 40, "{names:?}");
}

#[test]
fn no_code_counts_under_a_name_of_its_own() {
    fn search(folder: &std::path::Path, found: &mut Vec<String>) {
        for entry in std::fs::read_dir(folder).expect("a folder") {
            let path = entry.expect("an entry").path();
            if path.is_dir() {
                search(&path, found);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let text = std::fs::read_to_string(&path).expect("a source file");
                for used in text.split("metrics::").skip(1) {
                    let macros = ["counter!(", "gauge!(", "histogram!("];
                    let arguments = macros.iter().find_map(|name| used.strip_prefix(name));
                    if arguments.is_some_and(|text| text.trim_start().starts_with('"')) {
                        found.push(path.display().to_string());
                    }
                }
            }
        }
    }
    let mut found = Vec::new();
    search(
        concat!(env!("CARGO_MANIFEST_DIR"), "/src").as_ref(),
        &mut found,
    );
    assert!(found.is_empty(), "src/metric.rs lacks names of {found:?}");
}

#[test]
fn a_new_process_shows_every_series_of_its_role() {
    for role in [Role::All, Role::Api, Role::Worker] {
        fresh(role, &clients(CLIENTS), |handle| {
            let text = handle.render();
            for metric in CATALOGUE {
                if metric.labels.iter().any(|label| ELSEWHERE.contains(label)) {
                    continue;
                }
                let is_missing = !shows(&text, metric);
                let has_role = series::is_of(role, metric.role);
                assert_eq!(is_missing, !has_role, "{role:?}: {}", metric.name);
            }
            for line in lines(&text) {
                let value = line.rsplit(' ').next().expect("a value");
                let expected = if line.contains("build_info") {
                    "1"
                } else {
                    "0"
                };
                assert_eq!(value, expected, "{line}");
            }
        });
    }
}

#[test]
fn callbacks_are_counted_only_for_clients_that_have_one() {
    fresh(Role::Worker, &clients(CLIENTS), |handle| {
        let text = handle.render();
        let delivered = |client: &str| {
            let line =
                format!("payment_service_callbacks_delivered_total{{client=\"{client}\"}} 0");
            text.contains(&line)
        };
        assert!(delivered("shop") && !delivered("kiosk"), "{text}");
    });
}

#[test]
fn creating_series_again_keeps_their_values() {
    let kiosk = clients(r#"{"clients": [{"name": "kiosk", "api_key_sha256": []}]}"#);
    fresh(Role::All, &kiosk, |handle| {
        metrics::counter!(crate::metric::HTTP_REQUESTS_REFUSED, "client" => "kiosk").increment(3);
        metrics::gauge!(crate::metric::OUTBOX_ROWS).set(7.0);
        create_series(Role::All, &clients(CLIENTS));
        let text = handle.render();
        for line in [
            "payment_service_http_requests_refused_total{client=\"kiosk\"} 3",
            "payment_service_http_requests_refused_total{client=\"shop\"} 0",
            "payment_service_outbox_rows 7",
        ] {
            assert!(text.lines().any(|it| it == line), "{line}");
        }
    });
}

#[test]
fn histograms_have_limits_that_can_be_added_up_over_processes() {
    fresh(Role::All, &clients(CLIENTS), |handle| {
        metrics::histogram!(crate::metric::PAYMENT_OUTCOME_SECONDS).record(0.2);
        let text = handle.render();
        let name = crate::metric::PAYMENT_OUTCOME_SECONDS;
        for line in [
            format!("# TYPE {name} histogram"),
            format!("{name}_bucket{{le=\"0.1\"}} 0"),
            format!("{name}_bucket{{le=\"0.25\"}} 1"),
            format!("{name}_bucket{{le=\"+Inf\"}} 1"),
        ] {
            assert!(text.lines().any(|it| it == line), "{line}");
        }
        assert!(!text.contains("quantile="));
    });
}
