//! Two processes that find the same rows in the outbox.

use payment_service::metric;

use super::books::Books;
use super::fleet::Fleet;
use super::outcomes::Outcomes;

#[tokio::test(flavor = "multi_thread")]
async fn two_processes_share_the_due_rows_and_lose_none() {
    const PAYMENTS: usize = 3_000;
    let fleet = Fleet::new(&[("ISSUER_LATENCY", "10ms"), ("SWEEP_EVERY", "20ms")]).await;
    let api = fleet.start_api_without_broker().await;
    fleet.post(&api, PAYMENTS).await;
    drop(api);
    let books = Books::open(&fleet.database).await;
    assert_eq!(books.outbox().await, 3_000);

    let (first, second) = tokio::join!(fleet.start("worker"), fleet.start("worker"));
    let outcomes = Outcomes::subscribe(&fleet.amqp).await;
    assert_eq!(books.make_outbox_due().await, 3_000);
    outcomes.until(PAYMENTS).await;

    let swept = [
        first.counter(metric::RELAY_SWEPT).await,
        second.counter(metric::RELAY_SWEPT).await,
    ];
    println!("rows published by the two sweepers: {swept:?}");
    assert!(swept.iter().all(|rows| *rows > 0.0), "{swept:?}");
    books.must_balance(PAYMENTS, &outcomes).await;
}
