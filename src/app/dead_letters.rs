//! Stores dead letters of the embedded service in the database, since its in-memory broker loses everything when the
//! process ends; and reads those of either kind of service for the operators' page.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use tokio::sync::Mutex;
use tokio::time::{Instant, timeout_at};

use crate::broker::embedded::KeepDeadLetters;
use crate::broker::{Broker, Properties, Publication, PublishError, Queue};
use crate::http::admin::dead_letters::{ReadDeadLetters, SomeDeadLetters};
use crate::store::dead_letters::DeadLetterTable;
use crate::wire::dead_letter::DeadLetter;

/// Stores dead letters in the database.
#[derive(Debug)]
pub struct DeadLettersInDatabase(pub DeadLetterTable);

#[async_trait]
impl KeepDeadLetters for DeadLettersInDatabase {
    async fn keep(&self, letters: &[Publication]) -> Result<(), PublishError> {
        let with_ids: Vec<(String, &Publication)> =
            letters.iter().map(|letter| (id(letter), letter)).collect();
        self.0.keep_dead_letters(&with_ids).await.map_err(|error| {
            tracing::warn!(%error, letters = letters.len(), "dead letters could not be stored");
            PublishError::NotConfirmed
        })
    }
}

/// The id that the letter gets when it is read back: the user who published it is not stored.
fn id(letter: &Publication) -> String {
    let properties = Properties {
        user_id: None,
        ..letter.properties.clone()
    };
    DeadLetter::read(&letter.routing_key, &properties, letter.body.as_bytes()).id
}

/// How long reading may take: an operator gets an answer within two seconds.
const READ_WITHIN: Duration = Duration::from_millis(1500);

/// Reads them from the table.
pub struct FromTable(pub DeadLetterTable);

#[async_trait]
impl ReadDeadLetters for FromTable {
    async fn read(&self, at_most: u16) -> Result<SomeDeadLetters, String> {
        let reading = self.0.oldest_dead_letters(u32::from(at_most) + 1);
        let found = tokio::time::timeout(READ_WITHIN, reading).await;
        let found = found.map_err(|_| "the database does not answer".to_owned())?;
        let found = found.map_err(|error| error.to_string())?;
        let read = |letter: &Publication| {
            DeadLetter::read(
                &letter.routing_key,
                &letter.properties,
                letter.body.as_bytes(),
            )
        };
        let more = found.len() > usize::from(at_most);
        let letters = found.iter().take(usize::from(at_most)).map(read);
        Ok(SomeDeadLetters {
            letters: letters.collect(),
            more,
        })
    }
}

/// How long a reading of the queue is shown again: the broker needs a moment until letters that were given back can be read.
const SHOWN_AGAIN: Duration = Duration::from_secs(3);

/// Takes them from RabbitMQ's queue and gives them back: a queue cannot be read in another way. Its delivery limit allows
/// this (ADR 014). While they are taken, the command `dead-letters` does not see them, and the other way round.
pub struct FromQueue {
    broker: Arc<dyn Broker>,
    /// The last reading. Locked while the queue is read, so that there is one reading at a time.
    last: Mutex<Option<(Instant, Result<SomeDeadLetters, String>)>>,
}

#[async_trait]
impl ReadDeadLetters for FromQueue {
    async fn read(&self, at_most: u16) -> Result<SomeDeadLetters, String> {
        let mut last = self.last.lock().await;
        match &*last {
            Some((at, found)) if at.elapsed() < SHOWN_AGAIN => return found.clone(),
            _ => {}
        }
        // A failure counts, too: readers that waited for this one do not wait for another.
        let found = self.take_and_give_back(at_most).await;
        *last = Some((Instant::now(), found.clone()));
        found
    }
}

impl FromQueue {
    /// Reads with this broker's connection.
    pub fn new(broker: Arc<dyn Broker>) -> Self {
        Self {
            broker,
            last: Mutex::new(None),
        }
    }

    async fn take_and_give_back(&self, at_most: u16) -> Result<SomeDeadLetters, String> {
        let deadline = Instant::now() + READ_WITHIN;
        let unreachable = || "RabbitMQ does not answer".to_owned();
        let depth = timeout_at(deadline, self.broker.depth(Queue::DeadLetters)).await;
        let depth = depth.map_err(|_| unreachable())?;
        let depth = depth.map_err(|error| error.to_string())?;
        let wanted = u16::try_from(depth).unwrap_or(u16::MAX).min(at_most);
        let mut taken = Vec::new();
        if wanted > 0 {
            let mut consumer = self.broker.consume(Queue::DeadLetters, wanted);
            while taken.len() < usize::from(wanted) {
                match timeout_at(deadline, consumer.deliveries.recv()).await {
                    Ok(Some(delivery)) => taken.push(delivery),
                    Ok(None) | Err(_) => break,
                }
            }
            // First, so that none that is given back comes again.
            consumer.give_back_the_rest().await;
        }
        let mut letters = Vec::with_capacity(taken.len());
        for delivery in taken {
            letters.push(DeadLetter::read(
                &delivery.routing_key,
                &delivery.properties,
                &delivery.body,
            ));
            delivery.settle.give_back().await;
        }
        Ok(SomeDeadLetters {
            more: depth > letters.len() as u64,
            letters,
        })
    }
}
