//! Workers with wrong clocks: the database's clock decides how old an event is and when it was signed.

use std::collections::BTreeSet;
use std::path::Path;

use super::callback;
use super::receiver::{Receiver, ready};
use crate::app::{Api, STORE, clients_file, eventually};
use crate::support::process::{Process, Settings};
use crate::tools::fixture::Fixture;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// The path in Debian's package `faketime`.
const LIBRARY: &str = "/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1";

const PAYMENTS: usize = 20;

#[tokio::test]
async fn a_worker_with_a_clock_a_day_ahead_drops_no_event_and_signs_with_the_right_time() {
    if !Path::new(LIBRARY).exists() {
        println!("NOT RUN: install the package faketime");
        return;
    }
    let receiver = Receiver::start().await;
    receiver.answers(|number, _| ready(if number % 3 == 0 { 500 } else { 204 }, ""));
    let folder = tempfile::tempdir().unwrap();
    let clients = clients_file(folder.path(), &[(STORE.0, callback(&receiver))]);
    let fixture = Fixture::servers().await;
    let settings = fixture
        .variables()
        .into_iter()
        .fold(Settings::default(), |it, (name, value)| {
            it.with(name, &value)
        })
        .with("CLIENTS_FILE", &clients)
        .with("CALLBACK_RETRY_INITIAL", "100ms")
        .with("CALLBACK_RETRY_MAX_INTERVAL", "200ms")
        .with("CALLBACK_GIVE_UP_AFTER", "1h")
        .with("SWEEP_EVERY", "50ms");
    fixture.run(&["setup"]).await.with(0);
    let log = folder.path().join("log");
    let ahead = settings
        .clone()
        .with("LD_PRELOAD", LIBRARY)
        .with("FAKETIME", "+1d")
        .with("FAKETIME_DONT_FAKE_MONOTONIC", "1")
        .with_log(&log);
    let service = Process::start(PROGRAM, "", &settings).await;
    let mut stray = Process::start(PROGRAM, "worker", &ahead).await;
    let store = Api::new(service.api).with_key(STORE.1);
    for order_id in 1..=PAYMENTS {
        store
            .pay(i64::try_from(order_id).unwrap(), "tok_visa")
            .await;
    }
    eventually("all are told", || async {
        let calls = receiver.calls();
        let ids: BTreeSet<_> = calls.iter().map(|it| it.header("webhook-id")).collect();
        ids.len() == PAYMENTS
    })
    .await;
    let now = time::OffsetDateTime::now_utc().unix_timestamp();
    for call in receiver.calls() {
        let signed: i64 = call.header("webhook-timestamp").parse().unwrap();
        assert!((now - signed).abs() < 60, "{} s off", signed - now);
    }
    let letters = fixture
        .run(&["dead-letters", "list", "--json"])
        .await
        .with(0);
    assert_eq!(letters.json(), serde_json::json!([]));
    assert!(stray.stop());
    let log = std::fs::read_to_string(&log).unwrap();
    assert!(log.contains("the database's clock differs"), "{log}");
}
