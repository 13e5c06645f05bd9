//! A worker with another database on the same virtual host loses no message.

use std::time::Duration;

use serde_json::Value;

use crate::app::{Api, eventually_within};
use crate::end_to_end::processes::PROGRAM;
use crate::support::process::{Process, Settings};
use crate::support::servers::fresh_database;
use crate::tools::fixture::Fixture;

/// More than are held for a pause, so that some go back at once.
const PAYMENTS: i64 = 20;

fn settings(fixture: &Fixture) -> Settings {
    let variables = fixture.variables().into_iter();
    variables.fold(Settings::default(), |settings, (name, value)| {
        settings.with(name, &value)
    })
}

async fn letters(fixture: &Fixture) -> Vec<Value> {
    let listed = fixture
        .run(&["dead-letters", "list", "--json"])
        .await
        .with(0);
    listed.json().as_array().unwrap().clone()
}

#[tokio::test]
async fn work_at_the_wrong_database_is_dead_lettered_and_done_when_replayed() {
    let folder = tempfile::tempdir().unwrap();
    let log = folder.path().join("log");
    let fixture = Fixture::servers().await;
    fixture.run(&["setup"]).await.with(0);
    let settings = settings(&fixture);
    let other = fresh_database().await.unwrap();
    let wrong = settings.clone().with("DATABASE_URL", &other).with_log(&log);
    let api = Process::start(PROGRAM, "api", &settings).await;
    // In the role of all it makes its own schema.
    let mut stray = Process::start(PROGRAM, "", &wrong).await;
    let caller = Api::new(api.api);
    let mut ids = Vec::new();
    for order_id in 1..=PAYMENTS {
        ids.push(caller.pay(order_id, "tok_visa").await);
    }
    // Each goes back 20 times, after a second.
    let limit = Duration::from_secs(60);
    eventually_within(limit, "all are dead letters", || async {
        letters(&fixture).await.len() >= ids.len()
    })
    .await;
    assert_eq!(letters(&fixture).await.len(), ids.len());
    assert!(stray.stop(), "it stops in order");
    let errors = std::fs::read_to_string(&log).unwrap();
    assert!(
        errors.contains("ERROR") && errors.contains("not in this database"),
        "{errors}"
    );
    let first = letters(&fixture).await.remove(0);
    assert_eq!(first["queue"], "payments.work");

    let mut worker = Process::start(PROGRAM, "worker", &settings).await;
    fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    for id in ids {
        assert_eq!(caller.outcome(id).await["status"], "succeeded");
    }
    assert!(worker.stop());
}
