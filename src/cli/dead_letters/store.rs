//! Where dead letters lie: RabbitMQ's queue, or the table of the embedded service.
//!
//! A queue can only be looked at by taking its messages. They are held, unacknowledged, until the command ends: then
//! the broker has them again, also if the command dies. Another command at the same time sees what is left.

use std::time::Duration;

use time::OffsetDateTime;
use tokio::time::{sleep, timeout};
use uuid::Uuid;

use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{
    Broker, BrokerError, Connection, Consumer, Publication, PublishError, Queue, Settle,
};
use crate::cli::open;
use crate::cli::open::OpenError;
use crate::config::{Backend, Config};
use crate::store::rows::{OutboxId, OutboxRow};
use crate::store::sqlite::Sqlite;
use crate::store::{Database, StoreError};
use crate::wire::dead_letter::DeadLetter;

/// How long the broker may take to let us in.
const PATIENCE: Duration = Duration::from_secs(15);

/// When nothing has come for so long, the others are in someone else's hands.
const SILENCE: Duration = Duration::from_secs(2);

/// Dead letters, held for the time of a command.
pub struct DeadLetterStore {
    place: Place,
    /// Those that are held, the oldest first.
    pub letters: Vec<Held>,
    /// How many more there are than could be held.
    pub beyond_reach: u64,
}

enum Place {
    Queue(RabbitMq),
    Table(Sqlite),
}

/// A dead letter that was taken from the queue.
pub struct Held {
    /// What it is.
    pub letter: DeadLetter,
    settle: Option<Box<dyn Settle>>,
}

/// Why a dead letter cannot be had, or not be dealt with. It is still where it was.
#[derive(Debug, thiserror::Error)]
pub enum DeadLetterStoreError {
    /// No data.
    #[error(transparent)]
    Place(#[from] OpenError),
    /// The table cannot be used.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The broker cannot be used.
    #[error(transparent)]
    Broker(#[from] BrokerError),
    /// It did not let us in.
    #[error("no session to the broker: {0}")]
    NotConnected(String),
    /// It did not take the message.
    #[error(transparent)]
    Publish(#[from] PublishError),
    /// Somebody else has dealt with it meanwhile.
    #[error("it is gone: somebody else was faster")]
    Gone,
}

impl DeadLetterStore {
    /// Takes all dead letters from the queue.
    pub async fn open(config: &Config) -> Result<Self, DeadLetterStoreError> {
        match &config.backend {
            Backend::Embedded { data_dir } => {
                let file = open::file(data_dir)?;
                file.check().await?;
                let letters = file.dead_letters().await?.into_iter().map(|letter| Held {
                    letter: DeadLetter::read(
                        &letter.routing_key,
                        &letter.properties,
                        letter.body.as_bytes(),
                    ),
                    settle: None,
                });
                Ok(Self {
                    letters: letters.collect(),
                    place: Place::Table(file),
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
                    place: Place::Queue(broker),
                    letters,
                    beyond_reach,
                })
            }
        }
    }

    /// Publishes the message and, once that is certain, takes the letter away. If this process dies between the two,
    /// the letter is there still: a message that is replayed twice meets its own message id, and changes nothing.
    pub async fn replay(
        &self,
        held: &mut Held,
        message: Publication,
    ) -> Result<(), DeadLetterStoreError> {
        match &self.place {
            Place::Queue(broker) => {
                for published in broker.publish(&[message]).await {
                    published?;
                }
                acknowledge(held).await;
                Ok(())
            }
            Place::Table(file) => {
                let row = OutboxRow {
                    id: OutboxId(Uuid::now_v7()),
                    payment: None,
                    due_at: OffsetDateTime::now_utc(),
                    publication: message,
                };
                taken(file.take_dead_letter(&held.letter.id, Some(&row)).await?)
            }
        }
    }

    /// Takes the letter away for good.
    pub async fn discard(&self, held: &mut Held) -> Result<(), DeadLetterStoreError> {
        match &self.place {
            Place::Queue(_) => {
                acknowledge(held).await;
                Ok(())
            }
            Place::Table(file) => taken(file.take_dead_letter(&held.letter.id, None).await?),
        }
    }

    /// Gives back whatever is left.
    pub async fn close(self) {
        match self.place {
            Place::Queue(broker) => broker.close().await,
            Place::Table(file) => file.close().await,
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
    // What is held is unacknowledged, and the prefetch, which limits that, has 16 bits.
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
    // What is replayed and fails again comes back into the queue, and must not be met again by this very command.
    broker.stop_consuming().await;
    let beyond_reach = waiting.saturating_sub(letters.len() as u64);
    Ok((letters, beyond_reach))
}

async fn connected(broker: &RabbitMq) -> Result<(), DeadLetterStoreError> {
    let mut connection = broker.connection();
    let up = connection.wait_for(|state| matches!(state, Connection::Up | Connection::Mismatch(_)));
    let up = matches!(timeout(PATIENCE, up).await, Ok(Ok(_)));
    if up {
        return Ok(());
    }
    let state = broker.connection().borrow().clone();
    Err(DeadLetterStoreError::NotConnected(match state {
        Connection::Down(reason) => reason,
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
