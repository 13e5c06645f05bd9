//! Measures rates on this machine: `cargo test --release --test it rates -- --ignored --nocapture`.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use payment_service::broker::{Broker, Queue};

use super::fixture::{Fixture, work};

const MESSAGES: usize = 50_000;

#[tokio::test(flavor = "multi_thread")]
#[ignore = "measures; prove nothing by it on a busy machine"]
async fn rates_of_publishing_and_consuming() {
    for (name, fixture) in [
        ("memory", Fixture::memory()),
        ("RabbitMQ", Fixture::rabbitmq().await),
    ] {
        let client = fixture.client().await;
        for batch in [1, 16, 256] {
            let (tasks, count) = if batch == 1 {
                (32, MESSAGES / 5)
            } else {
                (4, MESSAGES)
            };
            let begin = Instant::now();
            publish_all(&client, tasks, count, batch).await;
            let rate = count as f64 / begin.elapsed().as_secs_f64();
            println!(
                "{name}: {rate:.0} confirmed publishes/s, batches of {batch} by {tasks} tasks"
            );
            let begin = Instant::now();
            consume_all(&*client, count).await;
            println!(
                "{name}: {:.0} deliveries/s, each acknowledged",
                count as f64 / begin.elapsed().as_secs_f64()
            );
        }
        client.close().await;
    }
}

async fn publish_all(client: &Arc<dyn Broker>, tasks: usize, count: usize, batch: usize) {
    let body = "x".repeat(200);
    let publishing = (0..tasks).map(|_| {
        let (client, body) = (Arc::clone(client), body.clone());
        tokio::spawn(async move {
            for _ in 0..count / tasks / batch {
                let messages = vec![work(&body); batch];
                assert!(client.publish(&messages).await.iter().all(Result::is_ok));
            }
            let rest = vec![work(&body); count / tasks % batch];
            assert!(client.publish(&rest).await.iter().all(Result::is_ok));
        })
    });
    for task in futures::future::join_all(publishing).await {
        task.unwrap();
    }
    let rest = vec![work(&body); count % tasks];
    assert!(client.publish(&rest).await.iter().all(Result::is_ok));
}

async fn consume_all(client: &dyn Broker, count: usize) {
    let mut consumer = client.consume(Queue::Work, 300);
    for _ in 0..count {
        let delivery = tokio::time::timeout(Duration::from_secs(30), consumer.deliveries.recv())
            .await
            .unwrap();
        delivery.unwrap().settle.acknowledge().await;
    }
}
