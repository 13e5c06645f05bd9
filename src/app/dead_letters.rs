//! Stores dead letters of the embedded service in the database: its in-memory broker loses everything when the
//! process ends.

use async_trait::async_trait;

use crate::broker::embedded::KeepDeadLetters;
use crate::broker::{Properties, Publication, PublishError};
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
