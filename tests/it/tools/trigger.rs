//! `trigger`: each scenario ends as it promises, embedded and over servers.

use futures::StreamExt;
use payment_service::processors::simulated::TEST_CARDS;
use serde_json::{Value, json};

use super::fixture::run_with;
use crate::app::{Api, field};
use crate::support::process::{Process, SEAL_KEYS, Settings};
use crate::support::servers::fresh_servers;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// Faults and recovery happen within seconds.
fn short(settings: Settings) -> Settings {
    settings
        // Two seconds is the slowest answer.
        .with("PROCESSOR_TIMEOUT", "4s")
        .with("RETRY_INITIAL", "50ms")
        .with("RETRY_MAX_INTERVAL", "100ms")
        .with("SWEEP_EVERY", "50ms")
        .with("ISSUER_LATENCY", "1ms")
}

fn address(service: &Process) -> [(&'static str, String); 1] {
    [("LISTEN_ADDR", service.api.to_string())]
}

/// The scenarios that need no time-out of the processor.
const QUICK: [&str; 9] = [
    "visa",
    "insufficient-funds",
    "issuer-down-2",
    "answer-lost-once",
    "capture",
    "capture-answer-lost",
    "void",
    "refund",
    "refund-fails",
];

async fn ends_as_promised(service: &Process, scenario: &str) -> Value {
    let ended = run_with(&["trigger", scenario, "--json"], &address(service)).await;
    let ended = ended.with(0).json();
    assert_eq!(ended["as_promised"], true, "{ended}");
    ended
}

#[tokio::test]
async fn every_scenario_of_the_embedded_service_ends_as_promised() {
    let folder = tempfile::tempdir().unwrap();
    let settings = short(Settings::embedded(folder.path())).with("ISSUER_ACTION_LIFE", "15s");
    let service = Process::start(PROGRAM, "", &settings).await;
    let listed = run_with(&["trigger", "--list", "--json"], &[])
        .await
        .with(0)
        .json();
    let listed = listed.as_array().unwrap();
    assert_eq!(listed.len(), TEST_CARDS.len() + 4);
    let names = listed.iter().map(|it| field(it, "scenario"));
    let ended: Vec<Value> = futures::stream::iter(names)
        .map(|name| ends_as_promised(&service, name))
        .buffer_unordered(12)
        .collect()
        .await;
    let by_name = |name: &str| ended.iter().find(|it| it["scenario"] == name).unwrap();
    assert_eq!(by_name("refund-fails")["refund"]["status"], "failed");
    assert_eq!(by_name("capture")["payment"]["amount_captured"], 20.0);
    assert_eq!(by_name("void")["payment"]["status"], "canceled");
    let wallet = &by_name("wallet")["payment"];
    assert_eq!(wallet["status"], "succeeded");
    assert_eq!(wallet["payment_method"]["type"], "wallet");
    let late = &by_name("3ds-too-late")["payment"];
    assert_eq!(late["status"], "failed");
    assert_eq!(late["decline_code"], "action_expired");
    assert_eq!(
        by_name("capture-refused")["payment"]["status"],
        "requires_capture"
    );
}

#[tokio::test]
async fn a_scenario_that_takes_too_long_ends_with_1_when_the_patience_ends() {
    let folder = tempfile::tempdir().unwrap();
    let settings = short(Settings::embedded(folder.path())).with("PROCESSOR_TIMEOUT", "30s");
    let service = Process::start(PROGRAM, "", &settings).await;
    for (patience, told) in [("1s", "within 1 s"), ("100ms", "did not end")] {
        let began = std::time::Instant::now();
        let arguments = ["trigger", "issuer-silent", "--patience", patience];
        let ended = run_with(&arguments, &address(&service)).await.with(1);
        assert!(began.elapsed().as_secs() < 10, "{:?}", began.elapsed());
        assert!(ended.err.contains(told), "{}", ended.err);
    }
}

#[tokio::test]
async fn a_shoppers_time_that_is_longer_than_the_patience_is_not_waited_for() {
    let folder = tempfile::tempdir().unwrap();
    let service = Process::start(PROGRAM, "", &short(Settings::embedded(folder.path()))).await;
    let arguments = ["trigger", "3ds-too-late", "--patience", "30s"];
    let ended = run_with(&arguments, &address(&service)).await.with(0);
    for part in [
        "is requires_action",
        "fails when its shopper's time is over, at 20",
        "As promised.",
    ] {
        assert!(ended.out.contains(part), "{}", ended.out);
    }
}

#[tokio::test]
async fn scenarios_end_as_promised_over_servers_and_need_the_clients_key() {
    let (database, broker) = fresh_servers().await.unwrap();
    let folder = tempfile::tempdir().unwrap();
    let keys = run_with(&["keys", "--json"], &[]).await.with(0).json();
    let clients = folder.path().join("clients.json");
    std::fs::write(&clients, keys["clients_file"].to_string()).unwrap();
    let settings = short(Settings::servers(&database, &broker))
        .with("SEAL_KEYS", SEAL_KEYS)
        .with("CLIENTS_FILE", &clients.display().to_string());
    let service = Process::start(PROGRAM, "", &settings).await;
    let refused = run_with(&["trigger", "visa"], &address(&service))
        .await
        .with(1);
    assert!(refused.err.contains("Send your API key"), "{}", refused.err);
    let key = field(&keys, "api_key").to_owned();
    let url = format!("http://{}", service.api);
    for scenario in QUICK {
        let arguments = ["trigger", scenario, "--url", &url, "--json"];
        let ended = run_with(&arguments, &[("API_KEY", key.clone())]).await;
        assert_eq!(ended.with(0).json()["as_promised"], true);
    }
}

#[tokio::test]
async fn the_output_names_the_payment_and_how_to_look_at_it() {
    let folder = tempfile::tempdir().unwrap();
    let service = Process::start(PROGRAM, "", &short(Settings::embedded(folder.path()))).await;
    let ended = run_with(&["trigger", "insufficient-funds"], &address(&service))
        .await
        .with(0);
    let id = 1;
    for part in [
        format!("Payment {id} is declined (insufficient_funds) after "),
        "As promised.".to_owned(),
        format!("payment-service payments show {id}"),
        format!("curl -s http://{}/payments/{id}/events", service.api),
    ] {
        assert!(ended.out.contains(&part), "{part}: {}", ended.out);
    }
    assert_eq!(ended.err, "");
    let shown = Api::new(service.api).get("/payments/1").await.is(200);
    assert_eq!(shown["decline_code"], "insufficient_funds");

    let unknown = run_with(&["trigger", "refund-fails-later"], &address(&service))
        .await
        .with(64);
    assert!(
        unknown.err.contains("did you mean `refund-fails`?"),
        "{}",
        unknown.err
    );
    assert!(unknown.err.contains("trigger --list"), "{}", unknown.err);
}

/// With too few tries, the issuer's trouble outlasts them: the scenario does not end as it promises.
#[tokio::test]
async fn a_scenario_that_ends_otherwise_exits_with_1() {
    let folder = tempfile::tempdir().unwrap();
    let settings = short(Settings::embedded(folder.path())).with("MAX_TRIES", "1");
    let service = Process::start(PROGRAM, "", &settings).await;
    let ended = run_with(&["trigger", "capture-down-2"], &address(&service))
        .await
        .with(1);
    assert!(
        ended.out.contains("Not as promised: expected succeeded."),
        "{}",
        ended.out
    );
}

#[tokio::test]
async fn another_processor_or_another_service_is_refused() {
    let away = run_with(&["trigger", "visa", "--url", "http://127.0.0.1:1"], &[])
        .await
        .with(1);
    assert!(away.err.contains("is the service running?"), "{}", away.err);
    for (about, refusal) in [
        (
            json!({"service": "payment-service", "processor": "acquirer"}),
            "is `acquirer`, not the simulated issuer",
        ),
        (
            json!({"service": "payment-service"}),
            "does not name its processor",
        ),
        (json!({}), "is not this service"),
    ] {
        let router = axum::Router::new().route(
            "/",
            axum::routing::get(move || {
                let about = about.clone();
                async move { axum::Json(about) }
            }),
        );
        let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
        let url = format!("http://{}", listener.local_addr().unwrap());
        let stand_in = tokio::spawn(axum::serve(listener, router).into_future());
        let refused = run_with(&["trigger", "visa", "--url", &url], &[])
            .await
            .with(1);
        assert!(refused.err.contains(refusal), "{}", refused.err);
        stand_in.abort();
    }
}
