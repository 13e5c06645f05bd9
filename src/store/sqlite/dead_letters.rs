//! The embedded service's dead letters: a table of the database file, since its broker keeps nothing over a restart. A
//! command may read and change it while the service runs.

use super::Sqlite;
use crate::broker::Publication;
use crate::store::engine::{Connection, Engine};
use crate::store::rows::OutboxRow;
use crate::store::{StoreError, encode};

/// (id, time, publication); the same letter again changes nothing
const KEEP: &str = "
INSERT INTO dead_letters (id, kept_at, publication) VALUES (?1, ?2, ?3)
ON CONFLICT DO NOTHING";

/// () → ids and publications, the oldest first; as bytes, because a damaged text may not be UTF-8
const ALL: &str = "SELECT id, CAST(publication AS BLOB) FROM dead_letters ORDER BY kept_at, id";

/// (id)
const DELETE: &str = "DELETE FROM dead_letters WHERE id = ?1";

impl Sqlite {
    /// All dead letters, the oldest first. A letter that cannot be read is left out and logged.
    pub async fn dead_letters(&self) -> Result<Vec<Publication>, StoreError> {
        let rows: Vec<(String, Vec<u8>)> = self.engine.reader().await?.fetch(ALL, &[]).await?;
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
        Ok(rows.into_iter().filter_map(read).collect())
    }

    /// Deletes a dead letter and, if it is replayed, puts the message into the outbox, in one transaction. Returns false if
    /// the letter does not exist (any more).
    pub async fn take_dead_letter(
        &self,
        id: &str,
        replayed: Option<&OutboxRow>,
    ) -> Result<bool, StoreError> {
        let (mut connection, _) = self.engine.begin().await?;
        if connection.execute(DELETE, &[id.into()]).await? == 0 {
            return Ok(false);
        }
        if let Some(row) = replayed {
            let rows = encode::outbox(std::slice::from_ref(row))?;
            let insert = &super::File::statements().insert_outbox;
            for (sql, parameters) in insert.commands(rows, &[], connection.longest())? {
                connection.execute(sql, &parameters).await?;
            }
        }
        connection.commit().await?;
        Ok(true)
    }

    /// Stores dead letters under their ids. Existing ones stay unchanged.
    pub async fn keep_dead_letters(
        &self,
        letters: &[(String, &Publication)],
    ) -> Result<(), StoreError> {
        let (mut connection, now) = self.engine.begin().await?;
        for (id, letter) in letters {
            let text = serde_json::to_string(letter)
                .map_err(|error| StoreError::Corrupt(format!("a dead letter: {error}")))?;
            let parameters = [id.as_str().into(), now.into(), text.into()];
            connection.execute(KEEP, &parameters).await?;
        }
        connection.commit().await
    }
}
