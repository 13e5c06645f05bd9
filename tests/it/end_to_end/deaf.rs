//! A subscription to results that exists but delivers nothing: waiting requests are answered nevertheless.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use lapin::options::ExchangeDeleteOptions;
use payment_service::broker::Exchange;

use crate::app::{Api, Backend, Setup, eventually, run_on};

/// How long a payment takes whose caller waits for the outcome.
async fn waited(api: &Api, order_id: i64) -> Duration {
    let begin = Instant::now();
    let id = api.pay(order_id, "tok_visa").await;
    assert_eq!(api.outcome(id).await["status"], "succeeded");
    begin.elapsed()
}

/// Some request always waits, so that the subscription is always in use.
fn keep_busy(api: &Api) -> (Arc<AtomicBool>, tokio::task::JoinHandle<()>) {
    let busy = Arc::new(AtomicBool::new(true));
    let (api, still) = (api.clone(), Arc::clone(&busy));
    let waiting = tokio::spawn(async move {
        let mut order_id = 1_000;
        while still.load(Ordering::Relaxed) {
            order_id += 1;
            let id = api.pay(order_id, "tok_issuer_slow").await;
            assert_eq!(api.outcome(id).await["status"], "succeeded");
        }
    });
    (busy, waiting)
}

#[tokio::test]
async fn deleting_the_results_exchange_delays_answers_by_seconds_and_only_briefly() {
    let setup = Setup::new().with("PROCESSOR_TIMEOUT", "10s");
    run_on(setup, Backend::Servers, |app| async move {
        let (busy, waiting) = keep_busy(&app.api);
        waited(&app.api, 1).await;
        let channel = app.lapin().await.create_channel().await.unwrap();
        let deleted = channel.exchange_delete(
            Exchange::Results.name().into(),
            ExchangeDeleteOptions::default(),
        );
        deleted.await.unwrap();
        // A request that waits now gets its outcome by polling the database.
        for order_id in 2..=4 {
            let took = waited(&app.api, order_id).await;
            assert!(took < Duration::from_secs(8), "{took:?}");
        }
        // Soon results notify waiting requests again.
        let order_id = std::cell::Cell::new(4);
        eventually("results wake those who wait", || async {
            order_id.set(order_id.get() + 1);
            waited(&app.api, order_id.get()).await < Duration::from_millis(900)
        })
        .await;
        for order_id in 101..=103 {
            let took = waited(&app.api, order_id).await;
            assert!(took < Duration::from_millis(900), "{took:?}");
        }
        busy.store(false, Ordering::Relaxed);
        waiting.await.unwrap();
    })
    .await;
}
