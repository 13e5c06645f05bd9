//! Callbacks when a process ends, and the command `dead-letters` with abandoned ones.

use std::collections::BTreeSet;

use super::callback;
use super::receiver::{Receiver, ready};
use crate::app::{Api, STORE, clients_file, eventually};
use crate::support::process::{Process, Settings};
use crate::tools::fixture::Fixture;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

async fn fixture(receiver: &Receiver, folder: &std::path::Path) -> (Fixture, Settings) {
    let mut fixture = Fixture::servers().await;
    for (name, value) in [
        (
            "CLIENTS_FILE",
            clients_file(folder, &[(STORE.0, callback(receiver))]).as_str(),
        ),
        ("CALLBACK_TIMEOUT", "5s"),
        ("CALLBACK_RETRY_INITIAL", "50ms"),
        ("CALLBACK_RETRY_MAX_INTERVAL", "200ms"),
        ("CALLBACK_GIVE_UP_AFTER", "300ms"),
        ("SWEEP_EVERY", "50ms"),
    ] {
        fixture.also(name, value.to_owned());
    }
    let settings = fixture
        .variables()
        .into_iter()
        .fold(Settings::default(), |settings, (name, value)| {
            settings.with(name, &value)
        });
    (fixture, settings)
}

#[tokio::test]
async fn a_call_interrupted_by_a_killed_worker_is_repeated_with_the_same_id() {
    let receiver = Receiver::start().await;
    receiver.hangs();
    let folder = tempfile::tempdir().unwrap();
    let (fixture, settings) = fixture(&receiver, folder.path()).await;
    fixture.run(&["setup"]).await.with(0);
    let api = Process::start(PROGRAM, "api", &settings).await;
    let mut worker = Process::start(PROGRAM, "worker", &settings).await;
    let store = Api::new(api.api).with_key(STORE.1);
    for order_id in 1..=3 {
        store.pay(order_id, "tok_visa").await;
    }
    receiver.called(3).await;
    worker.kill();
    let before = receiver.calls();
    receiver.answers_with(204, "");
    let mut next = Process::start(PROGRAM, "worker", &settings).await;
    let id = |call: &super::receiver::Call| call.header("webhook-id").to_owned();
    eventually("what was under way is told", || async {
        let after: Vec<String> = receiver.calls()[before.len()..].iter().map(id).collect();
        before.iter().all(|call| after.contains(&id(call)))
    })
    .await;
    assert!(next.stop(), "it stops in order");
}

/// In the embedded service the queue is lost with its process.
#[tokio::test]
async fn the_embedded_service_delivers_pending_callbacks_after_a_restart() {
    let receiver = Receiver::start().await;
    receiver.hangs();
    let folder = tempfile::tempdir().unwrap();
    let clients = clients_file(folder.path(), &[(STORE.0, callback(&receiver))]);
    let settings = Settings::embedded(&folder.path().join("data"))
        .with("CLIENTS_FILE", &clients)
        .with("CALLBACK_TIMEOUT", "4s")
        .with("CALLBACK_RETRY_INITIAL", "100ms")
        .with("CALLBACK_CONCURRENCY", "1");
    let mut first = Process::start(PROGRAM, "", &settings).await;
    let store = Api::new(first.api).with_key(STORE.1);
    for order_id in 1..=5 {
        let id = store.pay(order_id, "tok_visa").await;
        store.outcome(id).await;
    }
    assert!(first.stop(), "it stops in order");
    let calls = receiver.calls().len();
    assert!(calls < 5, "stopped too late to tell: {calls} calls");
    receiver.answers_with(204, "");
    let mut second = Process::start(PROGRAM, "", &settings).await;
    eventually("all five are told", || async {
        let told = receiver.calls().split_off(calls);
        let ids: BTreeSet<_> = told
            .iter()
            .map(|call| call.header("webhook-id").to_owned())
            .collect();
        ids.len() == 5
    })
    .await;
    assert!(second.stop());
}

#[tokio::test]
async fn an_abandoned_event_is_listed_with_its_reason_and_delivered_when_replayed() {
    let receiver = Receiver::start().await;
    receiver.answers(|_, _| ready(500, ""));
    let folder = tempfile::tempdir().unwrap();
    let (fixture, settings) = fixture(&receiver, folder.path()).await;
    let service = Process::start(PROGRAM, "", &settings).await;
    let store = Api::new(service.api).with_key(STORE.1);
    store.pay(1, "tok_visa").await;
    let list = || async {
        let listed = fixture
            .run(&["dead-letters", "list", "--json"])
            .await
            .with(0);
        listed.json().as_array().unwrap().clone()
    };
    eventually("it is given up", || async { list().await.len() == 1 }).await;
    let letter = list().await.remove(0);
    assert_eq!(letter["reason"], "server_error");
    assert_eq!(letter["queue"], "payments.callbacks");
    assert_eq!(letter["client"], STORE.0);
    assert_eq!(letter["masked"], false);
    assert!(
        letter["error"].as_str().unwrap().contains("answered 500"),
        "{letter}"
    );

    receiver.answers_with(204, "");
    let before = receiver.calls().len();
    let id = letter["id"].as_str().unwrap();
    fixture.run(&["dead-letters", "replay", id]).await.with(0);
    eventually("it is told", || async { receiver.calls().len() > before }).await;
    let told = receiver.calls().remove(before);
    assert_eq!(
        told.header("webhook-id"),
        letter["message_id"].as_str().unwrap()
    );
    assert_eq!(told.body(), letter["body"]);
}
