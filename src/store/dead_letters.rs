//! The embedded service's dead letters: a table of the database file, since its broker keeps nothing over a restart. A
//! command may read and change it while the service runs.

use std::path::Path;

use super::rows::OutboxRow;
use super::{Store, StoreError};
use crate::broker::Publication;

/// (id, time, publication); the same letter again changes nothing
const KEEP: &str = "
INSERT INTO dead_letters (id, kept_at, publication) VALUES (?1, ?2, ?3)
ON CONFLICT DO NOTHING";

/// () → ids and publications, the oldest first; as bytes, because a damaged text may not be UTF-8
const ALL: &str = "SELECT id, CAST(publication AS BLOB) FROM dead_letters ORDER BY kept_at, id";

/// (limit) → the same
const OLDEST: &str =
    "SELECT id, CAST(publication AS BLOB) FROM dead_letters ORDER BY kept_at, id LIMIT ?1";

/// (id)
const DELETE: &str = "DELETE FROM dead_letters WHERE id = ?1";

/// The table of dead letters of an embedded database.
#[derive(Debug, Clone)]
pub struct DeadLetterTable(Store);

impl Store {
    /// As [`Self::sqlite`], with the table of dead letters that an embedded service keeps in its file.
    pub fn embedded(path: &Path) -> (Self, DeadLetterTable) {
        let store = Self::sqlite(path);
        (store.clone(), DeadLetterTable(store))
    }
}

impl DeadLetterTable {
    /// All dead letters, the oldest first. A letter that cannot be read is left out and logged.
    pub async fn dead_letters(&self) -> Result<Vec<Publication>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.0.read(ALL, &[]).await?;
        Ok(Self::readable(rows))
    }

    /// The oldest dead letters; those that cannot be read are left out.
    pub async fn oldest_dead_letters(&self, at_most: u32) -> Result<Vec<Publication>, StoreError> {
        let rows = self.0.read(OLDEST, &[at_most.into()]).await?;
        Ok(Self::readable(rows))
    }

    fn readable(rows: Vec<(String, Vec<u8>)>) -> Vec<Publication> {
        let read = |(id, text): (String, Vec<u8>)| {
            let letter = serde_json::from_slice(&text);
            if letter.is_err() {
                tracing::error!(
                    table = "dead_letters",
                    row.id = id,
                    "publication cannot be read: left out"
                );
            }
            letter.ok()
        };
        rows.into_iter().filter_map(read).collect()
    }

    /// Deletes a dead letter and, if it is replayed, puts the message into the outbox, in one transaction. Returns false if
    /// the letter does not exist (any more).
    pub async fn take_dead_letter(
        &self,
        id: &str,
        replayed: Option<&OutboxRow>,
    ) -> Result<bool, StoreError> {
        let mut tx = self.0.begin().await?;
        if tx.connection.execute(DELETE, &[id.into()]).await? == 0 {
            return Ok(false);
        }
        if let Some(row) = replayed {
            tx.insert_outbox(std::slice::from_ref(row)).await?;
        }
        tx.commit().await?;
        Ok(true)
    }

    /// Stores dead letters under their ids. Existing ones stay unchanged.
    pub async fn keep_dead_letters(
        &self,
        letters: &[(String, &Publication)],
    ) -> Result<(), StoreError> {
        let mut tx = self.0.begin().await?;
        let now = tx.now();
        for (id, letter) in letters {
            let text = serde_json::to_string(letter)
                .map_err(|error| StoreError::Corrupt(format!("a dead letter: {error}")))?;
            let parameters = [id.as_str().into(), now.into(), text.into()];
            tx.connection.execute(KEEP, &parameters).await?;
        }
        tx.commit().await
    }
}
