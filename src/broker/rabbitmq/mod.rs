//! The RabbitMQ broker: supervised connections to publish in each lane, to consume, and to consume messages of clients.
//!
//! The broker may be down: publishing and depth then fail at once, and consuming waits for the next session.

mod bindings;
mod confirm_channels;
mod connect;
mod connection_status;
mod consumer;
mod declare;
mod hosts;
mod inbound;
mod options;
mod probe;
mod properties;
mod publisher;
mod session;
mod settlement;

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use async_trait::async_trait;
use futures::future::join_all;
use lapin::options::QueueDeclareOptions;
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, timeout};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

pub use hosts::{Hosts, InvalidAmqpUrl, InvalidCa, parse_urls};
pub use options::RabbitMqOptions;
pub use probe::Right;

use super::{
    Broker, BrokerError, ConnectionState, Consumer, Delivery, Lane, Publication, PublishError,
    Queue, RESULTS_BUFFER,
};
use crate::watchdog::vital::Vital;
use connection_status::{ConnectionStatus, Purpose};
use consumer::{Source, Subscription};
use session::{Session, Supervisor};
use settlement::LastSettled;

/// The current session of a connection, if there is one.
type Sessions = watch::Receiver<Option<Arc<Session>>>;

/// A RabbitMQ broker or cluster.
pub struct RabbitMq {
    options: Arc<RabbitMqOptions>,
    status: Arc<ConnectionStatus>,
    publishing: Sessions,
    publishing_results: Sessions,
    publishing_replies: Sessions,
    /// Connected by the first consumer: many processes never consume.
    consuming: OnceLock<Sessions>,
    consuming_requests: OnceLock<Sessions>,
    supervisors: TaskTracker,
    subscriptions: TaskTracker,
    settled: Arc<LastSettled>,
    vital: Vital,
    stopping: CancellationToken,
    closing: CancellationToken,
}

impl RabbitMq {
    /// Starts connecting in the background, within the current tokio runtime.
    pub fn new(options: RabbitMqOptions) -> Self {
        let options = Arc::new(options);
        let status = Arc::new(ConnectionStatus::new());
        let supervisors = TaskTracker::new();
        let closing = CancellationToken::new();
        let vital = Vital::new("broker");
        let publish = |purpose| {
            let supervisors = (&supervisors, &vital);
            supervise(&options, purpose, &status, supervisors, &closing)
        };
        let publishing = publish(Purpose::Publish);
        let publishing_results = publish(Purpose::Results);
        let publishing_replies = publish(Purpose::Replies);
        Self {
            options,
            status,
            publishing,
            publishing_results,
            publishing_replies,
            consuming: OnceLock::new(),
            consuming_requests: OnceLock::new(),
            supervisors,
            subscriptions: TaskTracker::new(),
            settled: Arc::default(),
            vital,
            stopping: closing.child_token(),
            closing,
        }
    }

    fn session(&self) -> Option<Arc<Session>> {
        alive(&self.publishing)
    }

    async fn publish_in(
        &self,
        lane: Lane,
        messages: &[&Publication],
        deadline: Instant,
    ) -> Vec<Result<(), PublishError>> {
        let session = match lane {
            Lane::Work => alive(&self.publishing),
            Lane::Results => alive(&self.publishing_results),
            Lane::Replies if messages.is_empty() => None,
            Lane::Replies => alive_soon(&self.publishing_replies).await,
        };
        match session {
            // A blocked broker reads nothing: written messages would only wait in memory.
            Some(session) if !session.is_blocked() => {
                publisher::publish(&session, messages, deadline).await
            }
            _ => vec![Err(PublishError::NotConnected); messages.len()],
        }
    }

    fn subscribe(&self, source: Source, buffer: usize) -> Consumer {
        let (connection, purpose) = match source {
            Source::Durable {
                queue: Queue::Requests,
                ..
            } => (&self.consuming_requests, Purpose::Requests),
            _ => (&self.consuming, Purpose::Consume),
        };
        let sessions = connection
            .get_or_init(|| {
                supervise(
                    &self.options,
                    purpose,
                    &self.status,
                    (&self.supervisors, &self.vital),
                    &self.closing,
                )
            })
            .clone();
        let (sender, deliveries) = mpsc::channel::<Delivery>(buffer.max(1));
        let registered = watch::Sender::new(false);
        let consumer = Consumer {
            deliveries,
            registered: registered.subscribe(),
        };
        let subscription = Subscription {
            source,
            deliveries: sender,
            registered,
            sessions,
            status: Arc::clone(&self.status),
            settled: Arc::clone(&self.settled),
            stopping: self.stopping.clone(),
            time: self.options.connect_timeout,
            idle: self.options.idle,
        };
        self.subscriptions
            .spawn(self.vital.clone().watch(subscription.run()));
        consumer
    }

    /// The messages and the consumers of a queue.
    async fn count(&self, queue: Queue) -> Result<(u64, u64), BrokerError> {
        let session = self
            .session()
            .filter(|session| !session.is_blocked())
            .ok_or(BrokerError::NotConnected)?;
        let counted = Self::declare_passively(&session, queue);
        match timeout(self.options.connect_timeout, counted).await {
            Ok(Ok(counted)) => Ok(counted),
            Ok(Err(error)) => Err(BrokerError::Refused(error.to_string())),
            Err(_) => Err(BrokerError::NotConnected),
        }
    }

    async fn declare_passively(session: &Session, queue: Queue) -> lapin::Result<(u64, u64)> {
        // A missing queue closes the channel, so this uses a separate one.
        let channel = session.connection.create_channel().await?;
        let options = QueueDeclareOptions {
            passive: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare(
                ShortString::from(queue.name()),
                options,
                FieldTable::default(),
            )
            .await?;
        let (messages, consumers) = (queue.message_count(), queue.consumer_count());
        Ok((messages.into(), consumers.into()))
    }
}

fn alive(sessions: &Sessions) -> Option<Arc<Session>> {
    let session = sessions.borrow().clone();
    session.filter(|session| session.is_alive())
}

/// If a reply's address made the broker close the connection, all other replies wait for the next session.
async fn alive_soon(sessions: &Sessions) -> Option<Arc<Session>> {
    const SOON: Duration = Duration::from_secs(3);
    let mut sessions = sessions.clone();
    let next = sessions.wait_for(|session| session.as_ref().is_some_and(|it| it.is_alive()));
    timeout(SOON, next).await.ok()?.ok()?.clone()
}

fn supervise(
    options: &Arc<RabbitMqOptions>,
    purpose: Purpose,
    status: &Arc<ConnectionStatus>,
    (tasks, vital): (&TaskTracker, &Vital),
    closing: &CancellationToken,
) -> Sessions {
    let sessions = watch::Sender::new(None);
    let receiver = sessions.subscribe();
    let (options, status, closing) = (Arc::clone(options), Arc::clone(status), closing.clone());
    let supervisor = Supervisor {
        options,
        purpose,
        status,
        sessions,
        closing,
    };
    tasks.spawn(vital.clone().watch(supervisor.run()));
    receiver
}

impl Drop for RabbitMq {
    fn drop(&mut self) {
        self.closing.cancel();
    }
}

#[async_trait]
impl Broker for RabbitMq {
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        let deadline = Instant::now() + self.options.confirm_timeout;
        let lanes = Lane::ALL.map(|lane| async move {
            let (places, messages): (Vec<usize>, Vec<&Publication>) = messages
                .iter()
                .enumerate()
                .filter(|(_, message)| message.lane() == lane)
                .unzip();
            let published = self.publish_in(lane, &messages, deadline).await;
            places.into_iter().zip(published)
        });
        let published = join_all(lanes).await.into_iter().flatten();
        let mut published: Vec<_> = published.collect();
        published.sort_unstable_by_key(|(place, _)| *place);
        published.into_iter().map(|(_, outcome)| outcome).collect()
    }

    async fn publish_alone(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        let messages: Vec<&Publication> = messages.iter().collect();
        let mut opened = None;
        for uri in self.options.hosts.uris() {
            opened = Session::open(uri, Purpose::Alone, &self.options).await.ok();
            if opened.is_some() {
                break;
            }
        }
        let Some(session) = opened else {
            return vec![Err(PublishError::NotConnected); messages.len()];
        };
        let deadline = Instant::now() + self.options.confirm_timeout;
        let published = publisher::publish(&session, &messages, deadline).await;
        if session.is_alive() {
            session.close(self.options.connect_timeout).await;
        }
        session.end("done");
        published
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        self.subscribe(Source::Durable { queue, prefetch }, usize::from(prefetch))
    }

    fn subscribe_results(&self, binding_keys: &[&str]) -> Consumer {
        let keys = binding_keys.iter().map(|key| (*key).to_owned()).collect();
        self.subscribe(Source::Results(keys), RESULTS_BUFFER)
    }

    async fn bind_results(
        &self,
        queue: Queue,
        wanted: &[String],
        unwanted: &[String],
    ) -> Result<(), BrokerError> {
        let session = self.session().ok_or(BrokerError::NotConnected)?;
        let changed = bindings::change(&session.connection, queue, wanted, unwanted);
        match timeout(self.options.connect_timeout, changed).await {
            Ok(changed) => changed.map_err(|error| BrokerError::Refused(error.to_string())),
            Err(_) => Err(BrokerError::NotConnected),
        }
    }

    async fn depth(&self, queue: Queue) -> Result<u64, BrokerError> {
        Ok(self.count(queue).await?.0)
    }

    async fn is_consumed(&self, queue: Queue) -> bool {
        let counted = self.count(queue).await;
        counted.is_ok_and(|(_, consumers)| consumers > 0)
    }

    async fn declare_topology(&self) -> Result<(), BrokerError> {
        let session = self.session().ok_or(BrokerError::NotConnected)?;
        match declare::declare(
            &session.connection,
            &self.options.topology,
            self.options.connect_timeout,
        )
        .await
        {
            Ok(findings) if findings.is_empty() => Ok(()),
            Ok(findings) => Err(BrokerError::Refused(findings.join("; "))),
            Err(error) => {
                session.fail(error.to_string());
                Err(BrokerError::NotConnected)
            }
        }
    }

    fn vital(&self) -> Vital {
        self.vital.clone()
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.status.watch()
    }

    async fn stop_consuming(&self) {
        self.stopping.cancel();
    }

    async fn close(&self) {
        self.stopping.cancel();
        self.subscriptions.close();
        self.supervisors.close();
        let ending = async {
            self.subscriptions.wait().await;
            self.settled.has_sunk_in().await;
            self.closing.cancel();
            self.supervisors.wait().await;
        };
        // Each step has its own time-out; this one is for unexpected cases.
        let _ = timeout(self.options.connect_timeout * 3, ending).await;
        self.closing.cancel();
    }
}
