//! One client floods the workers; another must not wait for it.

use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures::StreamExt;
use futures::stream;
use payment_service::domain::PaymentId;

use crate::app::{Api, Backend, KIOSK, STORE, Setup, TestApp, eventually, on_both, run_on};

/// Generous for busy machines: the flood takes a hundred times as long.
const TIMEOUT: Duration = Duration::from_secs(4);

fn setup(concurrency: &str) -> Setup {
    Setup::new()
        .with_clients()
        .with("WORKER_CONCURRENCY", concurrency)
        .with("PROCESSOR_TIMEOUT", "4s")
        .with("MAX_TRIES", "5")
}

async fn flood(api: &Api, payments: i64, token: &'static str) -> Vec<i64> {
    stream::iter(1..=payments)
        .map(|order_id| api.pay(order_id, token))
        .buffer_unordered(50)
        .collect()
        .await
}

/// Pays for another client; returns how long it took to the outcome.
async fn innocent(app: &TestApp, order_id: i64) -> Duration {
    let kiosk = app.api.with_key(KIOSK.1);
    let begin = Instant::now();
    let id = kiosk.pay(order_id, "tok_visa").await;
    assert_eq!(kiosk.outcome(id).await["status"], "succeeded");
    begin.elapsed()
}

/// Runs a test whose flood would last for hours: it is not finished, on servers that only this test uses.
async fn with_a_flood<T: Future<Output = ()>>(setup: Setup, test: impl Fn(Arc<TestApp>) -> T) {
    for backend in [Backend::Embedded, Backend::Servers] {
        test(Arc::new(setup.clone().start(backend).await)).await;
    }
}

/// Tries that wait for their turn in the outbox.
async fn postponed(app: &TestApp) -> u64 {
    let count = "UPDATE outbox SET lane = lane WHERE publication LIKE '%\"postponed\"%'";
    app.execute(count).await
}

async fn nobody_waits_for_the_flood(app: Arc<TestApp>) {
    let store = app.api.with_key(STORE.1);
    let ids = flood(&store, 600, "tok_issuer_silent").await;
    for order_id in 1..=3 {
        let took = innocent(&app, order_id).await;
        assert!(took < TIMEOUT * 2, "{took:?}");
    }
    // Postponed tries are not lost, and the rescue does not treat them as lost.
    let processing = app
        .execute("UPDATE payments SET phase = phase WHERE status = 'processing' AND check_at IS NOT NULL")
        .await;
    assert!(processing >= 590, "{processing} of {}", ids.len());
}

#[tokio::test]
async fn a_flood_of_one_client_at_a_silent_processor_delays_another_by_at_most_two_time_outs() {
    with_a_flood(setup("4"), nobody_waits_for_the_flood).await;
}

#[tokio::test]
async fn a_flood_delays_another_client_little_even_with_one_permit() {
    with_a_flood(setup("1"), nobody_waits_for_the_flood).await;
}

/// Forty calls of two seconds, eight at a time: some have to wait in the outbox, and each gets its turn.
#[tokio::test]
async fn postponed_tries_are_made_exactly_once() {
    let setup = setup("8")
        .with("PROCESSOR_TIMEOUT", "6s")
        .with("CHECK_AFTER", "3s");
    on_both(setup, |app| async move {
        let mut letters = app.dead_letters();
        let store = app.api.with_key(STORE.1);
        let ids = flood(&store, 40, "tok_issuer_slow").await;
        eventually("some wait in the outbox", || async {
            postponed(&app).await > 0
        })
        .await;
        let took = innocent(&app, 1).await;
        assert!(took < Duration::from_secs(12), "{took:?}");
        for id in ids {
            // On a busy machine it may take longer than one request waits.
            let path = format!("/payments/{id}");
            let waiting = || {
                let request = store.request(reqwest::Method::GET, &path);
                store.send(request.header("Prefer", "wait=5"))
            };
            let ended = async { while waiting().await["status"] == "processing" {} };
            let in_time = tokio::time::timeout(Duration::from_secs(120), ended).await;
            assert!(in_time.is_ok(), "{id} has no outcome");
            assert_eq!(store.get(&path).await["status"], "succeeded");
            assert_eq!(app.standing_charges(id).await, 1);
        }
        assert!(letters.deliveries.try_recv().is_err());
    })
    .await;
}

/// Messages of a release that did not name the client.
#[tokio::test]
async fn work_without_the_client_header_counts_for_its_client() {
    with_a_flood(setup("2"), |app| async move {
        let store = app.api.with_key(STORE.1);
        let ids = flood(&store, 100, "tok_issuer_silent").await;
        let old: Vec<_> = ids.iter().map(|id| without_client(*id)).collect();
        assert!(app.broker.publish(&old).await.iter().all(Result::is_ok));
        let took = innocent(&app, 1).await;
        assert!(took < TIMEOUT * 2, "{took:?}");
    })
    .await;
}

fn without_client(id: i64) -> payment_service::broker::Publication {
    use payment_service::domain::ClientName;
    let work = payment_service::wire::work::WorkMessage {
        payment_id: PaymentId(id),
        attempt: 1,
        try_number: 1,
    };
    let mut publication = work.publication(&ClientName::parse("x").unwrap(), None);
    publication.properties.headers.clear();
    publication
}

/// If the database is far away, recording takes longer than some calls.
#[tokio::test]
async fn a_permit_is_released_before_the_answer_is_recorded() {
    let setup = setup("1").with("ISSUER_LATENCY", "500ms");
    run_on(setup, Backend::Servers, |app| async move {
        let store = app.api.with_key(STORE.1);
        let first = store.pay(1, "tok_visa").await;
        let claimed = format!(
            "UPDATE payments SET claimed_until = claimed_until WHERE id = {first} AND claimed_until > created_at"
        );
        eventually("a claim", || async { app.execute(&claimed).await == 1 }).await;
        let mut transaction = app.database.begin().await.unwrap();
        let locked = transaction.lock_payments(&[PaymentId(first)]).await;
        assert!(locked.unwrap()[0].claimed_until.is_some());

        let second = store.pay(2, "tok_visa").await;
        eventually("a second call", || async {
            app.standing_charges(second).await == 1
        })
        .await;
        assert_eq!(store.get(&format!("/payments/{first}")).await["status"], "processing");
        drop(transaction);
        for payment in [first, second] {
            assert_eq!(store.outcome(payment).await["status"], "succeeded");
        }
    })
    .await;
}
