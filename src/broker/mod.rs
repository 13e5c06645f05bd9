//! Messages between processes: transport only, no meaning.
//!
//! [`Broker`] is the seam, with two implementations that pass one contract suite: [`rabbitmq`] and [`embedded`]
//! (in this process). Names of exchanges and queues, and every argument, come from `rabbitmq/definitions.json`
//! by way of [`topology`].

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

/// The longest body that comes whole. More than any message of this service has, its dead letters included.
pub const LONGEST_BODY_BYTES: usize = 128 * 1024;

/// So much comes of a longer one, and [`ORIGINAL_SIZE`] with it: what is waiting for its turn must not fill the memory.
pub const KEPT_BODY_BYTES: usize = 16 * 1024;

/// The longest header that comes whole: longer texts end there, other long values are dropped.
pub const LONGEST_HEADER_BYTES: usize = 8 * 1024;

/// The most that comes of all headers of a message. More are dropped, and [`HEADERS_DROPPED`] says so.
pub const LONGEST_HEADERS_BYTES: usize = 64 * 1024;

/// Stands for each byte of a name or property that is no text (U+001A, SUBSTITUTE).
pub const SUBSTITUTE: u8 = 0x1a;

/// Header that says how many bytes a body had of which only the first part came.
pub const ORIGINAL_SIZE: &str = "x-original-size";

/// Header that says that others were dropped: too long, too many, or not readable.
pub const HEADERS_DROPPED: &str = "x-headers-dropped";

/// Results that a subscription holds for a slow receiver; more are dropped, because they are hints.
const RESULTS_BUFFER: usize = 10_000;

/// A message to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Publication {
    /// One of ours, or the default exchange for replies.
    pub exchange: Exchange,
    /// Routing key; for replies the name of the queue.
    pub routing_key: String,
    /// AMQP properties and headers.
    pub properties: Properties,
    /// JSON.
    pub body: String,
    /// Whether it must reach a queue: unroutable is then an error.
    pub mandatory: bool,
}

impl Publication {
    /// With what it travels. Through the default exchange go replies, to queues that clients name, and callbacks that
    /// come again, to a queue of this service.
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
    /// The caller's own number for the exchange of messages.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub correlation_id: Option<String>,
    /// Queue for replies.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub reply_to: Option<String>,
    /// `application/json`, `application/cloudevents+json`
    #[serde(skip_serializing_if = "Option::is_none")]
    pub content_type: Option<String>,
    /// What kind of message it is: `order.payment`, `payment.succeeded`.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub kind: Option<String>,
    /// The broker's own word on who published (RabbitMQ checks it against the login). Read, never written.
    #[serde(skip)]
    pub user_id: Option<String>,
    /// Text headers, `traceparent` among them; headers of other types are read as text.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub headers: BTreeMap<String, String>,
}

/// Why a message is not known to be at the broker. It may be there all the same: publish it again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PublishError {
    /// No session to the broker.
    #[error("not connected to the broker")]
    NotConnected,
    /// No confirm came within the time-out, or the session broke before it.
    #[error("the broker did not confirm in time")]
    NotConfirmed,
    /// The broker closed the connection or the channel before it confirmed: this message, or one beside it, may be why.
    #[error("the broker closed the connection: {0}")]
    Closed(String),
    /// The broker refused it (a full queue with `reject-publish`).
    #[error("the broker refused the message")]
    Refused,
    /// The protocol cannot carry it, now or later; with what is wrong.
    #[error("the message cannot be written: {0}")]
    Unwritable(String),
    /// Mandatory, and no queue is bound for it.
    #[error("no queue takes the message: {exchange} {routing_key}")]
    Unroutable {
        /// Exchange it was published to.
        exchange: String,
        /// Its routing key.
        routing_key: String,
    },
}

/// Why a question to the broker has no answer.
#[derive(Debug, thiserror::Error)]
pub enum BrokerError {
    /// No session now.
    #[error("not connected to the broker")]
    NotConnected,
    /// The broker said no.
    #[error("the broker refused: {0}")]
    Refused(String),
    /// The URL, or what it points to, cannot be used.
    #[error("{0}")]
    Configuration(String),
}

/// Whether the broker can be used now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Connection {
    /// Never connected so far, or lost and being rebuilt; with the last reason.
    Down(String),
    /// Connected, topology in place.
    Up,
    /// Connected, but the broker has stopped taking messages (resource alarm).
    Blocked,
    /// Connected, but an exchange or queue differs from definitions.json; with its name and the broker's words.
    Mismatch(String),
}

/// A message that came in. It must be settled exactly once; dropped unsettled, it comes again when its session ends.
#[derive(Debug)]
pub struct Delivery {
    /// Routing key.
    pub routing_key: String,
    /// Properties and headers.
    pub properties: Properties,
    /// Whatever was sent.
    pub body: Vec<u8>,
    /// The broker has delivered it before.
    pub redelivered: bool,
    /// Settles it.
    pub settle: Box<dyn Settle>,
}

impl Delivery {
    /// How many bytes its body had when it was sent: more than it has now if it was too long.
    pub fn size(&self) -> u64 {
        let here = self.body.len() as u64;
        self.properties.original_size().unwrap_or(here).max(here)
    }
}

impl Properties {
    /// How long the body was, if only its first part came.
    pub fn original_size(&self) -> Option<u64> {
        self.headers.get(ORIGINAL_SIZE)?.parse().ok()
    }
}

/// How a delivery ends. Errors are not reported: a session that has ended delivers again.
#[async_trait]
pub trait Settle: Send + Sync + std::fmt::Debug {
    /// Done: forget it.
    async fn acknowledge(self: Box<Self>);
    /// "This attempt failed": counts towards the delivery limit, then dead-lettered.
    async fn reject(self: Box<Self>);
    /// "I give it back": to be delivered again, to anyone.
    async fn give_back(self: Box<Self>);
}

/// A stream of deliveries that outlives its sessions: after a loss it goes on with the next one.
#[derive(Debug)]
pub struct Consumer {
    /// Closed when the broker is closed or the consumer dropped.
    pub deliveries: mpsc::Receiver<Delivery>,
    /// True while the broker knows this consumer.
    pub registered: watch::Receiver<bool>,
}

impl Consumer {
    /// Has up to `at_most` deliveries worked on at a time, each by a task of `tasks`, until `stop`. What has no task by then
    /// is left where it is. A delivery whose work panics is rejected, so that it ends among the dead letters.
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

    /// Takes no more, and gives back what was received but not taken up.
    pub async fn give_back_the_rest(mut self) {
        self.deliveries.close();
        while let Some(delivery) = self.deliveries.recv().await {
            delivery.settle.give_back().await;
        }
    }
}

/// A delivery that can still be settled when whatever works on it is gone.
#[derive(Debug, Clone, Default)]
pub struct Unsettled(Arc<Mutex<Option<Box<dyn Settle>>>>);

impl Delivery {
    /// A second way to settle it; what comes first counts.
    pub fn keep_settlement(&mut self) -> Unsettled {
        let settle = std::mem::replace(&mut self.settle, Box::new(Unsettled::default()));
        let unsettled = Unsettled(Arc::new(Mutex::new(Some(settle))));
        self.settle = Box::new(unsettled.clone());
        unsettled
    }
}

impl Unsettled {
    /// Runs the work on the delivery. If it panics, the delivery is rejected: otherwise it would stay unacknowledged until
    /// the session ends.
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

/// A message broker, as far as this service needs one.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Publishes persistent messages, pipelined, and waits for the confirms; one result each, in their order.
    /// Ends within the confirm time-out whatever the broker does. Confirms that are missing in one [`Lane`] hold up
    /// no other call in another.
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>>;

    /// The same on a connection made for this call alone, so that what the broker does to it concerns nothing else.
    async fn publish_alone(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        self.publish(messages).await
    }

    /// Consumes one of the durable queues, holding at most `prefetch` unsettled deliveries.
    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer;

    /// Consumes a private, temporary queue bound to the results exchange with the given keys. What is published
    /// while the session is down is missed.
    fn subscribe_results(&self, binding_keys: &[&str]) -> Consumer;

    /// Leads results with the wanted keys to one of the durable queues, from now on and for as long as the broker
    /// keeps its bindings, and those with the unwanted keys no more. Safe to repeat.
    async fn bind_results(
        &self,
        queue: Queue,
        wanted: &[String],
        unwanted: &[String],
    ) -> Result<(), BrokerError>;

    /// Number of messages that wait in a queue (those being worked on not counted).
    async fn depth(&self, queue: Queue) -> Result<u64, BrokerError>;

    /// Declares everything of definitions.json; a difference to what exists is an error that names it.
    async fn declare_topology(&self) -> Result<(), BrokerError>;

    /// Of the tasks behind it: they must run until it is closed.
    fn vital(&self) -> Vital;

    /// Whether the broker can be used, now and on every change.
    fn connection(&self) -> watch::Receiver<Connection>;

    /// Stops consuming (what was delivered can still be settled).
    async fn stop_consuming(&self);

    /// Closes the sessions.
    async fn close(&self);
}

#[cfg(test)]
mod tests;
