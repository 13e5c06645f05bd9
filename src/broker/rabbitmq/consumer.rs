//! Consumers that survive their sessions: each waits for a session, registers on its own channel, forwards deliveries,
//! and when the session ends starts again with the same receiver.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::Channel;
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{FieldTable, ShortString};
use tokio::sync::{mpsc, watch};
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::connect::delay;
use super::connection_status::ConnectionStatus;
use super::properties::{from_amqp, short};
use super::session::Session;
use super::settlement::{InHand, LastSettled, Settled};
use crate::broker::{Delivery, Exchange, Queue, Settle};

/// What is consumed.
pub(super) enum Source {
    /// A durable queue, with acknowledgements, at most `prefetch` unsettled.
    Durable { queue: Queue, prefetch: u16 },
    /// A private queue bound to the results with these keys, without acknowledgements: results are hints, not work.
    Results(Vec<String>),
}

/// One consumer, through all its sessions.
pub(super) struct Subscription {
    pub(super) source: Source,
    pub(super) deliveries: mpsc::Sender<Delivery>,
    pub(super) registered: watch::Sender<bool>,
    pub(super) sessions: watch::Receiver<Option<Arc<Session>>>,
    pub(super) status: Arc<ConnectionStatus>,
    pub(super) settled: Arc<LastSettled>,
    pub(super) stopping: CancellationToken,
    /// The time-out of every request to the broker.
    pub(super) time: Duration,
    /// See [`super::RabbitMqOptions::idle`].
    pub(super) idle: Duration,
}

enum End {
    /// Nothing arrived for long, or confirms are missing; with the number of signs that the host does not answer.
    Idle(u32),
    /// It was told to stop, or the receiver is gone.
    Wanted,
    /// The broker did not answer the registration in time.
    Unanswered,
    Lost(String),
}

/// After this many consecutive signs that its host does not answer, the session is rebuilt at the next host. A node that
/// a network failure has cut off from the other nodes still accepts connections and answers what it can alone, but a
/// replicated queue answers only with a majority. A sign is a cancellation or registration without an answer in time, or
/// a confirm that another session to the same host has missed. A single sign may concern only one queue, and the session
/// has other consumers.
const SIGNS: u32 = 2;

/// How soon a consumer without unsettled deliveries is renewed once its host is in doubt.
const SOON: Duration = Duration::from_millis(200);

/// How long to wait before registering again after a consumer was lost on a live session: its queue may have been
/// deleted. The broker confirms a deletion before it is complete (seen on 3.10): a consumer that registers on the new
/// queue at once may be counted for the old one, and silently gets nothing.
const AFTER_LOSS: Duration = Duration::from_secs(1);

impl Subscription {
    pub(super) async fn run(mut self) {
        let (mut failures, mut signs) = (0, 0);
        loop {
            let session = tokio::select! {
                session = next_session(&mut self.sessions) => session,
                () = self.stopping.cancelled() => None,
                () = self.deliveries.closed() => None,
            };
            let Some(session) = session else { break };
            let end = self.serve(&session).await;
            signs = match end {
                End::Idle(found) => found,
                End::Unanswered => signs + 1,
                End::Lost(_) | End::Wanted => 0,
            };
            if matches!(end, End::Idle(_)) && signs < SIGNS {
                continue;
            }
            let was_registered = self.registered.send_replace(false);
            let reason = match end {
                End::Lost(reason) => reason,
                End::Idle(_) | End::Unanswered => "no answer in time".to_owned(),
                End::Wanted => break,
            };
            failures = if was_registered { 0 } else { failures + 1 };
            let pause = if was_registered {
                AFTER_LOSS
            } else {
                delay(failures)
            };
            tracing::warn!(broker.queue = self.source.name(), reason, "consumer lost");
            if signs >= SIGNS {
                signs = 0;
                session.fail(format!("{} does not answer", self.source.name()));
            }
            // On a live session the queue or the channel failed: make sure that the queue exists, then try again.
            session.report_missing();
            tokio::select! {
                () = sleep(pause), if session.is_alive() => {}
                () = session.broken() => {}
                () = self.stopping.cancelled() => break,
            }
        }
    }

    async fn serve(&self, session: &Session) -> End {
        let registering = self.register(session);
        let (channel, mut consumer) = match timeout(self.time, registering).await {
            Ok(Ok(registered)) => registered,
            Ok(Err(error)) => return End::Lost(error.to_string()),
            Err(_) => return End::Unanswered,
        };
        self.registered.send_replace(true);
        let tag = consumer.tag();
        let in_hand = Arc::new(InHand::new(channel));
        let (mut doubts, mut in_doubt) = (self.status.doubts(), false);
        loop {
            let next = tokio::select! {
                next = timeout(self.idle(in_doubt), consumer.next()) => match next {
                    Ok(next) => next,
                    // With unsettled deliveries it is busy: if renewed, it would get more than its prefetch.
                    Err(_) if !in_hand.is_empty() => continue,
                    Err(_) => {
                        let answered = self.cancel(&in_hand, consumer, tag).await;
                        return End::Idle(u32::from(in_doubt) + u32::from(!answered));
                    }
                },
                () = doubted(&mut doubts, &session.host), if !in_doubt => {
                    in_doubt = true;
                    continue;
                }
                () = session.broken() => return End::Lost("session lost".to_owned()),
                () = self.stopping.cancelled() => {
                    self.cancel(&in_hand, consumer, tag).await;
                    return End::Wanted;
                }
                () = self.deliveries.closed() => return End::Wanted,
            };
            match next {
                Some(Ok(delivery)) => {
                    let forwarded = tokio::select! {
                        forwarded = self.forward(&in_hand, delivery) => forwarded,
                        () = session.broken() => return End::Lost("session lost".to_owned()),
                    };
                    if forwarded.is_err() {
                        return End::Wanted;
                    }
                }
                Some(Err(error)) => return End::Lost(error.to_string()),
                None => return End::Lost("canceled by the broker".to_owned()),
            }
        }
    }

    /// Private queues are never renewed: the queue would be deleted with its consumer, and nobody else can delete it.
    fn idle(&self, in_doubt: bool) -> Duration {
        match self.source {
            Source::Durable { .. } if in_doubt => self.idle.min(SOON),
            Source::Durable { .. } => self.idle,
            Source::Results(_) => Duration::MAX,
        }
    }

    async fn register(&self, session: &Session) -> lapin::Result<(Channel, lapin::Consumer)> {
        let channel = session.connection.create_channel().await?;
        let (queue, no_ack) = match &self.source {
            Source::Durable { queue, prefetch } => {
                // Per consumer, never global: quorum queues do not have a global one.
                channel
                    .basic_qos(*prefetch, BasicQosOptions { global: false })
                    .await?;
                (ShortString::from(queue.name()), false)
            }
            Source::Results(keys) => (results_queue(&channel, keys).await?, true),
        };
        let options = BasicConsumeOptions {
            no_ack,
            ..Default::default()
        };
        let consumer = channel
            .basic_consume(
                queue,
                ShortString::default(),
                options,
                FieldTable::default(),
            )
            .await?;
        Ok((channel, consumer))
    }

    /// Received deliveries are forwarded; the channel stays open as long as one of its deliveries is unsettled. Returns
    /// false if the broker does not answer in time.
    async fn cancel(
        &self,
        in_hand: &Arc<InHand>,
        mut consumer: lapin::Consumer,
        tag: ShortString,
    ) -> bool {
        let canceled = timeout(
            self.time,
            in_hand
                .channel
                .basic_cancel(tag, BasicCancelOptions::default()),
        )
        .await;
        if matches!(canceled, Ok(Ok(()))) {
            let rest = async {
                while let Some(Ok(delivery)) = consumer.next().await {
                    if self.forward(in_hand, delivery).await.is_err() {
                        break;
                    }
                }
            };
            // The receiver has room for all of them, unless it still holds deliveries of an earlier session.
            let _ = timeout(self.time, rest).await;
        }
        canceled.is_ok()
    }

    async fn forward(
        &self,
        in_hand: &Arc<InHand>,
        delivery: lapin::message::Delivery,
    ) -> Result<(), ()> {
        let settle: Box<dyn Settle> = match self.source {
            Source::Durable { .. } => Box::new(in_hand.take(delivery.delivery_tag, &self.settled)),
            Source::Results(_) => Box::new(Settled),
        };
        let delivery = Delivery {
            routing_key: delivery.routing_key.to_string(),
            properties: from_amqp(&delivery.properties),
            body: delivery.data,
            redelivered: delivery.redelivered,
            settle,
        };
        match self.source {
            Source::Durable { .. } => self.deliveries.send(delivery).await.map_err(|_| ()),
            // The broker sends these without limit, so results that the receiver does not take are dropped.
            Source::Results(_) => match self.deliveries.try_send(delivery) {
                Ok(()) => Ok(()),
                Err(mpsc::error::TrySendError::Full(_)) => {
                    tracing::debug!("a result was dropped: the receiver is too slow");
                    Ok(())
                }
                Err(mpsc::error::TrySendError::Closed(_)) => Err(()),
            },
        }
    }
}

impl Source {
    fn name(&self) -> &'static str {
        match self {
            Self::Durable { queue, .. } => queue.name(),
            Self::Results(_) => Exchange::Results.name(),
        }
    }
}

/// Declares a queue. The broker chooses its name: after a lost connection the half-open old one may still hold the old
/// name. Exclusive and deleted with the session; not durable, since nobody could use it after a restart.
async fn results_queue(channel: &Channel, keys: &[String]) -> lapin::Result<ShortString> {
    let options = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..Default::default()
    };
    let queue = channel
        .queue_declare(ShortString::default(), options, FieldTable::default())
        .await?
        .name()
        .clone();
    for key in keys {
        let key =
            short("binding key", key).map_err(|error| std::io::Error::other(error.to_string()))?;
        let exchange = ShortString::from(Exchange::Results.name());
        channel
            .queue_bind(
                queue.clone(),
                exchange,
                key,
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
    }
    Ok(queue)
}

/// Ends when that host is in doubt.
async fn doubted(doubts: &mut watch::Receiver<Option<String>>, host: &str) {
    while doubts.changed().await.is_ok() {
        if doubts.borrow_and_update().as_deref() == Some(host) {
            return;
        }
    }
    std::future::pending().await
}

async fn next_session(
    sessions: &mut watch::Receiver<Option<Arc<Session>>>,
) -> Option<Arc<Session>> {
    let found = sessions
        .wait_for(|session| session.as_ref().is_some_and(|it| it.is_alive()))
        .await;
    found.ok().and_then(|session| session.clone())
}
