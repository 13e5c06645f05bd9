//! Messages between processes: transport only, independent of their content.
//!
//! [`Broker`] is the interface, with two implementations that pass one contract suite: [`rabbitmq`] and [`embedded`]
//! (in this process). Names of exchanges and queues, and all arguments, come from `rabbitmq/definitions.json` through
//! [`topology`].

pub mod embedded;
pub mod rabbitmq;
pub mod topology;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};

use async_trait::async_trait;
use serde::{Deserialize, Serialize};
use tokio::sync::{Semaphore, mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::watchdog::vital::{Vital, caught};
pub use topology::{Exchange, Lane, Queue, Topology};

/// The longest body that is received completely, in bytes. No message of this service is longer, dead letters included.
pub const LONGEST_BODY_BYTES: usize = 128 * 1024;

/// The part of a longer body that is received, in bytes, together with [`ORIGINAL_SIZE`]: waiting messages must not fill
/// the memory.
pub const KEPT_BODY_BYTES: usize = 16 * 1024;

/// The longest header that is received completely, in bytes: longer texts are cut, other long values are dropped.
pub const LONGEST_HEADER_BYTES: usize = 8 * 1024;

/// Maximum size of all headers of a message, in bytes. Others are dropped, and [`HEADERS_DROPPED`] is set.
pub const LONGEST_HEADERS_BYTES: usize = 64 * 1024;

/// Replaces each byte of a name or property that is not text (U+001A, SUBSTITUTE).
pub const SUBSTITUTE: u8 = 0x1a;

/// Header with the original size in bytes of a body of which only the first part was received.
pub const ORIGINAL_SIZE: &str = "x-original-size";

/// Header that is set if others were dropped: too long, too many, or unreadable.
pub const HEADERS_DROPPED: &str = "x-headers-dropped";

/// Maximum number of results buffered for a slow subscriber; others are dropped, because they are only hints.
const RESULTS_BUFFER: usize = 10_000;

/// A message to publish.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// One of this service's exchanges, or the default exchange for replies.
    pub exchange: Exchange,
    /// Routing key; for replies, the name of the queue.
    pub routing_key: String,
    /// AMQP properties and headers.
    pub properties: Properties,
    /// JSON.
    pub body: String,
    /// Whether it must reach a queue: if so, an unroutable message is an error.
    pub mandatory: bool,
}

impl Publication {
    /// The message's lane. The default exchange carries replies, to queues that clients name, and repeated callbacks, to a
    /// queue of this service.
    pub fn lane(&self) -> Lane {
        match self.exchange {
            Exchange::Requests | Exchange::Work | Exchange::DeadLetters => Lane::Work,
            Exchange::Results => Lane::Results,
            Exchange::Default if self.routing_key == Queue::Callbacks.name() => Lane::Results,
            Exchange::Default => Lane::Replies,
        }
    }
}

/// The AMQP 0-9-1 properties that this service reads and writes.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct Properties {
    /// Unique per message; the idempotency key of a request.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub message_id: Option<String>,
    /// The caller's correlation id for this exchange of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Queue for replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// `application/json`, `application/cloudevents+json`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// The type of the message: `order.payment`, `payment.succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The user who published it, confirmed by the broker (RabbitMQ compares it with the login). Read, never written.
    #[serde(skip)]
    pub user_id: Option<String>,
    /// Text headers, including `traceparent`; headers of other types are read as text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Why it is not certain that a message reached the broker. It may have: publish it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No session to the broker.
    #[error("not connected to the broker")]
    NotConnected,
    /// No confirm arrived within the time-out, or the session broke first.
    #[error("the broker did not confirm in time")]
    NotConfirmed,
    /// The broker closed the connection or the channel before it confirmed: this message, or one published with it, may be
    /// the cause.
    #[error("the broker closed the connection: {0}")]
    Closed(String),
    /// The broker refused it (a full queue with `reject-publish`).
    #[error("the broker refused the message")]
    Refused,
    /// The protocol can never carry it; with the reason.
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
    /// It is mandatory, and no queue is bound for it.
    #[error("no queue takes the message: {exchange} {routing_key}")]
    Unroutable {
        /// The exchange that it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
    },
}

/// Why a request to the broker failed.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// There is no session now.
    #[error("not connected to the broker")]
    NotConnected,
    /// The broker refused the request.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// The URL, or a file of the configuration, cannot be used.
    #[error("{0}")]
    Configuration(String),
}

/// Whether the broker can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ConnectionState {
    /// Not connected yet, or connection lost and being rebuilt; with the last reason.
    Down(String),
    /// Connected, topology in place.
    Up,
    /// Connected, but the broker has stopped accepting messages (resource alarm).
    Blocked,
    /// Connected, but an exchange or queue differs from definitions.json; with its name and the broker's message.
    Mismatch(String),
}

/// A received message. It must be settled exactly once; if it is dropped unsettled, it is redelivered when its session
/// ends.
#[derive(Debug)]
pub struct Delivery {
    /// Routing key.
    pub routing_key: String,
    /// Properties and headers.
    pub properties: Properties,
    /// The body as received.
    pub body: Vec<u8>,
    /// The broker has delivered it before.
    pub redelivered: bool,
    /// Settles it.
    pub settle: Box<dyn Settle>,
}

impl Delivery {
    /// The size of its body in bytes when it was sent: more than now if it was cut.
    pub fn size(&self) -> u64 {
        self.properties.size_of(&self.body)
    }
}

impl Properties {
    /// The size of the message's body in bytes when it was sent: more than now if it was cut.
    pub fn size_of(&self, body: &[u8]) -> u64 {
        let here = body.len() as u64;
        self.original_size().unwrap_or(here).max(here)
    }

    /// The original size of the body in bytes, if only its first part was received.
    pub fn original_size(&self) -> Option<u64> {
        self.headers.get(ORIGINAL_SIZE)?.parse().ok()
    }
}

/// How a delivery ends. Errors are not reported: if the session has ended, the message is redelivered.
#[async_trait]
pub trait Settle: Send + Sync + std::fmt::Debug {
    /// Processed: the broker deletes it.
    async fn acknowledge(self: Box<Self>);
    /// Processing failed: counts towards the delivery limit, after which the message is dead-lettered.
    async fn reject(self: Box<Self>);
    /// Returned unprocessed: to be delivered again to any consumer.
    async fn give_back(self: Box<Self>);
}

/// A stream of deliveries that survives its sessions: after a loss it continues with the next session.
#[derive(Debug)]
pub struct Consumer {
    /// Closed when the broker is closed or the consumer is dropped.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// True while the broker knows this consumer.
    pub registered: watch::Receiver<bool>,
}

impl Consumer {
    /// Processes up to `at_most` deliveries at a time, each in a task of `tasks`, until `stop`. Deliveries without a task by
    /// then stay unprocessed. If processing panics, the delivery is rejected, so that it ends as a dead letter.
    pub async fn hand_out<W: Future<Output = ()> + Send + 'static>(
        &mut self,
        at_most: usize,
        tasks: &TaskTracker,
        stop: &CancellationToken,
        work: impl Fn(Delivery) -> W,
    ) {
        let permits = Arc::new(Semaphore::new(at_most));
        loop {
            let next = async {
                let permit = Arc::clone(&permits).acquire_owned().await.ok()?;
                Some((permit, self.deliveries.recv().await?))
            };
            let next = tokio::select! {
                biased;
                () = stop.cancelled() => None,
                next = next => next,
            };
            let Some((permit, mut delivery)) = next else {
                return;
            };
            let unsettled = delivery.keep_settlement();
            let work = work(delivery);
            tasks.spawn(async move {
                unsettled.reject_if_it_panics(work).await;
                drop(permit);
            });
        }
    }

    /// Takes no more deliveries, and returns those that were received but not started.
    pub async fn give_back_the_rest(mut self) {
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            delivery.settle.give_back().await;
        }
    }
}

/// A delivery that can still be settled when the code that processes it is gone.
#[derive(Debug, Clone, Default)]
pub struct Unsettled(Arc<Mutex<Option<Box<dyn Settle>>>>);

impl Delivery {
    /// A second handle to settle it; the first settlement counts.
    pub fn keep_settlement(&mut self) -> Unsettled {
        let settle = std::mem::replace(&mut self.settle, Box::new(Unsettled::default()));
        let unsettled = Unsettled(Arc::new(Mutex::new(Some(settle))));
        self.settle = Box::new(unsettled.clone());
        unsettled
    }
}

impl Unsettled {
    /// Processes the delivery. If that panics, the delivery is rejected: otherwise it would stay unacknowledged until the
    /// session ends.
    pub async fn reject_if_it_panics(self, work: impl Future<Output = ()> + Send) {
        if caught("delivery", work).await.is_none() {
            Box::new(self).reject().await;
        }
    }

    fn take(&self) -> Option<Box<dyn Settle>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).take()
    }
}

#[async_trait]
impl Settle for Unsettled {
    async fn acknowledge(self: Box<Self>) {
        if let Some(settle) = self.take() {
            settle.acknowledge().await;
        }
    }

    async fn reject(self: Box<Self>) {
        if let Some(settle) = self.take() {
            settle.reject().await;
        }
    }

    async fn give_back(self: Box<Self>) {
        if let Some(settle) = self.take() {
            settle.give_back().await;
        }
    }
}

/// A message broker, with the functions that this service needs.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes persistent messages, pipelined, and waits for the confirms; one result for each, in the same order.
    /// Ends within the confirm time-out whatever the broker does. Missing confirms in one [`Lane`] do not delay calls in
    /// another.
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>>;

    /// The same on a separate connection for this call, so that if the broker closes it, nothing else is affected.
    async fn publish_alone(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        self.publish(messages).await
    }

    /// Consumes one of the durable queues, holding at most `prefetch` unsettled deliveries.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Consumes a private, temporary queue bound to the results exchange with the given keys. Messages published while the
    /// session is down are missed.
    fn subscribe_results(&self, binding_keys: &[&str]) -> Consumer;

    /// Binds one of the durable queues to results with the wanted keys, for as long as the broker keeps its bindings, and
    /// unbinds it from the unwanted keys. Safe to repeat.
    async fn bind_results(
        &self,
        queue: Queue,
        wanted: &[String],
        unwanted: &[String],
    ) -> Result<(), BrokerError>;

    /// Number of messages waiting in a queue (not counting those being processed).
    async fn depth(&self, queue: Queue) -> Result<u64, BrokerError>;

    /// Whether anybody consumes a queue now; false if that cannot be found out.
    async fn is_consumed(&self, queue: Queue) -> bool;

    /// Declares everything in definitions.json; returns an error that names anything that exists with other arguments.
    async fn declare_topology(&self) -> Result<(), BrokerError>;

    /// The broker's tasks: they must run until it is closed.
    fn vital(&self) -> Vital;

    /// The connection status, now and on every change.
    fn connection(&self) -> watch::Receiver<ConnectionState>;

    /// Stops consuming (deliveries can still be settled).
    async fn stop_consuming(&self);

    /// Closes the sessions.
    async fn close(&self);
}

#[cfg(test)]
mod tests;
