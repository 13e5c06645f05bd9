//! Where dead letters are stored: RabbitMQ's queue, or the table of the embedded service.
//!
//! A queue can be read only by taking its messages. They are held, unacknowledged, until the command ends: then the
//! broker has them again, even if the command crashes. Another command at the same time sees the rest.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{
    Broker, BrokerError, ConnectionState, Consumer, Publication, PublishError, Queue, Settle,
};
use crate::cli::open;
use crate::cli::open::OpenError;
use crate::config::{Backend, Config};
use crate::store::dead_letters::DeadLetterTable;
use crate::store::rows::{Content, OutboxId, OutboxRow};
use crate::store::{Store, StoreError};
use crate::wire::dead_letter::DeadLetter;

/// How long connecting and logging in may take.
const PATIENCE: Duration = Duration::from_secs(15);

/// If nothing arrives for this long, another consumer holds the rest.
const SILENCE: Duration = Duration::from_secs(2);

/// Dead letters, held while a command runs.
pub struct DeadLetterStore {
    location: Location,
    /// The letters held, the oldest first.
    pub letters: Vec<Held>,
    /// How many more there are than could be held.
    pub beyond_reach: u64,
}

enum Location {
    Queue(RabbitMq),
    Table(Store, DeadLetterTable),
}

/// A dead letter that was taken from the queue.
pub struct Held {
    /// Its content.
    pub letter: DeadLetter,
    settle: Option<Box<dyn Settle>>,
}

/// Why a dead letter cannot be read or handled. It is still stored.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterStoreError {
    /// There is no data.
    #[error(transparent)]
    Open(#[from] OpenError),
    /// The table cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// It refused the connection or the login.
    #[error("cannot connect to the broker: {0}")]
    NotConnected(String),
    /// It did not accept the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Another process has handled it meanwhile.
    #[error("already handled by another process")]
    Gone,
}

impl DeadLetterStore {
    /// Takes all dead letters from the queue.
    pub async fn open(config: &Config) -> Result<Self, DeadLetterStoreError> {
        match &config.backend {
            Backend::Embedded { data_dir } => {
                let (store, table) = open::file(data_dir)?;
                store.check().await?;
                let letters = table.dead_letters().await?.into_iter().map(|letter| Held {
                    letter: DeadLetter::read(
                        &letter.routing_key,
                        &letter.properties,
                        letter.body.as_bytes(),
                    ),
                    settle: None,
                });
                Ok(Self {
                    letters: letters.collect(),
                    location: Location::Table(store, table),
                    beyond_reach: 0,
                })
            }
            Backend::Servers { amqp, .. } => {
                let options = RabbitMqOptions::new(amqp.clone(), "payment-service dead-letters")?;
                let broker = RabbitMq::new(options);
                let taken = take_all(&broker).await;
                let (letters, beyond_reach) = match taken {
                    Ok(taken) => taken,
                    Err(error) => {
                        broker.close().await;
                        return Err(error);
                    }
                };
                Ok(Self {
                    location: Location::Queue(broker),
                    letters,
                    beyond_reach,
                })
            }
        }
    }

    /// Publishes a letter's message and, once that is confirmed, removes the letter. If this process dies between the two,
    /// the letter is still there: a second replay has the same message id, and changes nothing.
    pub async fn publish(
        &self,
        held: &mut Held,
        message: Publication,
    ) -> Result<(), DeadLetterStoreError> {
        match &self.location {
            Location::Queue(broker) => {
                for published in broker.publish(&[message]).await {
                    published?;
                }
                acknowledge(held).await;
                Ok(())
            }
            Location::Table(_, table) => {
                let row = OutboxRow {
                    id: OutboxId(Uuid::now_v7()),
                    payment: None,
                    due_at: OffsetDateTime::now_utc(),
                    content: Content::Message(message),
                };
                taken(table.take_dead_letter(&held.letter.id, Some(&row)).await?)
            }
        }
    }

    /// Removes the letter for good.
    pub async fn discard(&self, held: &mut Held) -> Result<(), DeadLetterStoreError> {
        match &self.location {
            Location::Queue(_) => {
                acknowledge(held).await;
                Ok(())
            }
            Location::Table(_, table) => {
                taken(table.take_dead_letter(&held.letter.id, None).await?)
            }
        }
    }

    /// Gives the remaining letters back.
    pub async fn close(self) {
        match self.location {
            Location::Queue(broker) => broker.close().await,
            Location::Table(store, _) => store.close().await,
        }
    }
}

async fn acknowledge(held: &mut Held) {
    if let Some(settle) = held.settle.take() {
        settle.acknowledge().await;
    }
}

fn taken(found: bool) -> Result<(), DeadLetterStoreError> {
    if found {
        Ok(())
    } else {
        Err(DeadLetterStoreError::Gone)
    }
}

async fn take_all(broker: &RabbitMq) -> Result<(Vec<Held>, u64), DeadLetterStoreError> {
    connected(broker).await?;
    let waiting = broker.depth(Queue::DeadLetters).await?;
    if waiting == 0 {
        return Ok((Vec::new(), 0));
    }
    // Held letters are unacknowledged, and the prefetch that limits them has 16 bits.
    let reach = u16::try_from(waiting).unwrap_or(u16::MAX);
    let mut consumer = broker.consume(Queue::DeadLetters, reach);
    registered(&mut consumer).await?;
    let mut letters = Vec::new();
    while letters.len() < usize::from(reach) {
        match timeout(SILENCE, consumer.deliveries.recv()).await {
            Ok(Some(delivery)) => letters.push(Held {
                letter: DeadLetter::read(
                    &delivery.routing_key,
                    &delivery.properties,
                    &delivery.body,
                ),
                settle: Some(delivery.settle),
            }),
            Ok(None) | Err(_) => break,
        }
    }
    // A replayed message that fails again returns to the queue; this command must not receive it again.
    broker.stop_consuming().await;
    let beyond_reach = waiting.saturating_sub(letters.len() as u64);
    Ok((letters, beyond_reach))
}

async fn connected(broker: &RabbitMq) -> Result<(), DeadLetterStoreError> {
    let mut connection = broker.connection();
    let up = connection
        .wait_for(|state| matches!(state, ConnectionState::Up | ConnectionState::Mismatch(_)));
    let up = matches!(timeout(PATIENCE, up).await, Ok(Ok(_)));
    if up {
        return Ok(());
    }
    let state = broker.connection().borrow().clone();
    Err(DeadLetterStoreError::NotConnected(match state {
        ConnectionState::Down(reason) => reason,
        other => format!("{other:?}"),
    }))
}

async fn registered(consumer: &mut Consumer) -> Result<(), DeadLetterStoreError> {
    let registered = consumer.registered.wait_for(|registered| *registered);
    let registered = tokio::select! {
        registered = registered => registered.is_ok(),
        () = sleep(PATIENCE) => false,
    };
    if registered {
        Ok(())
    } else {
        let reason = format!("{} cannot be consumed", Queue::DeadLetters.name());
        Err(DeadLetterStoreError::NotConnected(reason))
    }
}
