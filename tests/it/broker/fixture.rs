//! The broker of a contract test: in memory, or a separate virtual host of RabbitMQ; and clients of it.

use std::{sync::Arc, time::Duration};

use payment_service::broker::{
    Broker, ConnectionState, Consumer, Delivery, Exchange, Properties, Publication, Queue,
    Topology,
    embedded::Embedded,
    rabbitmq::{RabbitMq, RabbitMqOptions, parse_urls},
};

use crate::support::servers::fresh_vhost;

/// Much longer than any step takes.
const LIMIT: Duration = Duration::from_secs(60);

/// One broker, with the topology that its clients declare.
pub enum Fixture {
    Memory(Embedded),
    RabbitMq { url: String, topology: Topology },
}

impl Fixture {
    pub fn memory() -> Self {
        Self::Memory(Embedded::new().unwrap())
    }

    pub fn memory_with_work_length(longest: u64) -> Self {
        Self::Memory(Embedded::with_topology(topology_with_work_length(longest)))
    }

    pub async fn rabbitmq() -> Self {
        let url = fresh_vhost().await.unwrap().to_string();
        Self::RabbitMq {
            url,
            topology: Topology::of_definitions().unwrap(),
        }
    }

    pub async fn rabbitmq_with_work_length(longest: u64) -> Self {
        let url = fresh_vhost().await.unwrap().to_string();
        Self::RabbitMq {
            url,
            topology: topology_with_work_length(longest),
        }
    }

    /// A second client, like another process.
    pub async fn client(&self) -> Arc<dyn Broker> {
        match self {
            Self::Memory(embedded) => Arc::new(embedded.another()),
            Self::RabbitMq { url, topology } => {
                let mut options = options(url);
                options.topology = topology.clone();
                let client = RabbitMq::new(options);
                is_up(&client).await;
                Arc::new(client)
            }
        }
    }
}

fn topology_with_work_length(longest: u64) -> Topology {
    Topology::of_definitions()
        .unwrap()
        .with_max_length(Queue::Work, longest)
}

pub fn options(url: &str) -> RabbitMqOptions {
    RabbitMqOptions::new(parse_urls(url).unwrap(), "contract").unwrap()
}

pub async fn is_up(client: &dyn Broker) {
    let mut connection = client.connection();
    let up = connection.wait_for(|state| *state == ConnectionState::Up);
    tokio::time::timeout(LIMIT, up)
        .await
        .expect("up in time")
        .expect("not closed");
}

pub async fn is_registered(consumer: &Consumer) {
    let mut registered = consumer.registered.clone();
    tokio::time::timeout(LIMIT, registered.wait_for(|it| *it))
        .await
        .expect("registered in time")
        .expect("not closed");
}

/// Repeats a check until it succeeds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, mut ask: impl FnMut() -> F) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    };
    tokio::time::timeout(LIMIT, asking)
        .await
        .unwrap_or_else(|_| panic!("{what}: not in time"));
}

/// For work that blocks its thread, such as starting and stopping servers.
pub async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    tokio::task::spawn_blocking(work).await.unwrap()
}

pub async fn depth_becomes(client: &dyn Broker, queue: Queue, expected: u64) {
    eventually(&format!("{queue:?} holds {expected}"), || async {
        client
            .depth(queue)
            .await
            .is_ok_and(|depth| depth == expected)
    })
    .await;
}

pub async fn next(consumer: &mut Consumer) -> Delivery {
    tokio::time::timeout(LIMIT, consumer.deliveries.recv())
        .await
        .expect("a delivery in time")
        .expect("not closed")
}

pub fn text(delivery: &Delivery) -> &str {
    std::str::from_utf8(&delivery.body).unwrap()
}

pub fn work(body: &str) -> Publication {
    message(Exchange::Work, "payment.authorize", body, true)
}

pub fn message(exchange: Exchange, routing_key: &str, body: &str, mandatory: bool) -> Publication {
    Publication {
        exchange,
        routing_key: routing_key.to_owned(),
        properties: Properties::default(),
        body: body.to_owned(),
        mandatory,
    }
}

pub async fn publish(client: &dyn Broker, message: Publication) {
    assert_eq!(client.publish(&[message]).await, [Ok(())]);
}
