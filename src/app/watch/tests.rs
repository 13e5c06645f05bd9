use super::*;
use crate::broker::embedded::Embedded;
use crate::broker::{Exchange, Properties, Publication};
use crate::http::wait::Woken;

const ID: PaymentId = PaymentId(7);

/// An empty one.
fn database() -> Store {
    let folder = tempfile::tempdir().unwrap().keep();
    Store::sqlite(&folder.join("payments.db"))
}

/// Whether results are delivered.
async fn results_are_wanted(broker: &dyn Broker) -> bool {
    let result = Publication {
        exchange: Exchange::Results,
        routing_key: "payment.succeeded.default".to_owned(),
        properties: Properties {
            headers: [(PAYMENT_ID_HEADER.to_owned(), ID.to_string())].into(),
            ..Properties::default()
        },
        body: "{}".to_owned(),
        mandatory: true,
    };
    broker.publish(&[result]).await == [Ok(())]
}

#[tokio::test(start_paused = true)]
async fn results_are_polled_only_while_a_request_waits() {
    let broker: Arc<dyn Broker> = Arc::new(Embedded::new().unwrap());
    let waiters = Waiters::new(10);
    let stop = CancellationToken::new();
    let around = (Pulse::new("results"), stop.clone());
    let waking = tokio::spawn(wake_waiters(
        (Arc::clone(&broker), database()),
        Arc::clone(&waiters),
        around,
    ));

    for _ in 0..3 {
        let mut waiter = waiters.register(ID).unwrap();
        let wanted = async {
            while !results_are_wanted(&*broker).await {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let soon = tokio::time::timeout(Duration::from_secs(1), wanted).await;
        assert!(soon.is_ok(), "somebody waits");
        assert_eq!(waiter.woken().await, Woken::Hint);
        tokio::time::sleep(NOBODY_WAITS * 3).await;
        assert!(results_are_wanted(&*broker).await, "it waits still");

        drop(waiter);
        tokio::time::sleep(NOBODY_WAITS * 3).await;
        assert!(!results_are_wanted(&*broker).await, "nobody waits");
    }
    stop.cancel();
    waking.await.unwrap();
}
