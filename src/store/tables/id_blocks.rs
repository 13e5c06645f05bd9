//! Table `id_blocks`: which payment ids are reserved.

use crate::store::bulk::Both;
use crate::store::ids::IdSpace;
use crate::store::{Store, StoreError};

/// () → the largest payment id
const LARGEST_ID: &str = "SELECT COALESCE(MAX(id), 0) FROM payments";

/// (first id that is not reserved)
const UPDATE_NEXT_ID: &str = "UPDATE id_blocks SET next_id = ? WHERE id = 1";

/// () → the first id that is not reserved, locked
static LOCK_NEXT_ID: Both<&str> = Both {
    mysql: "SELECT next_id FROM id_blocks WHERE id = 1 FOR UPDATE",
    sqlite: "SELECT next_id FROM id_blocks WHERE id = 1",
};

/// (first id that is not reserved); an existing row stays unchanged
static INSERT_NEXT_ID: Both<&str> = Both {
    mysql: "INSERT INTO id_blocks (id, next_id) VALUES (1, ?) ON DUPLICATE KEY UPDATE id = id_blocks.id",
    sqlite: "INSERT INTO id_blocks (id, next_id) VALUES (1, ?1) ON CONFLICT DO NOTHING",
};

impl Store {
    /// Reserves `count` consecutive payment ids, durably, and returns the first; the very first is `first_ever`.
    pub async fn reserve_ids(&self, count: i64, first_ever: i64) -> Result<i64, StoreError> {
        // A block that is lost in a commit without an answer only leaves a harmless gap.
        const TRIES: usize = 5;
        for _ in 1..TRIES {
            match self.try_reserve_ids(count, first_ever).await {
                Err(
                    StoreError::Conflict(_) | StoreError::Locked(_) | StoreError::CommitUnknown(_),
                ) => {}
                result => return result,
            }
        }
        self.try_reserve_ids(count, first_ever).await
    }

    /// Leaves so many payment ids out, and returns the one that is next; [`StoreError::IdsExhausted`] if too few are left.
    pub async fn skip_ids(&self, count: i64, space: IdSpace) -> Result<i64, StoreError> {
        // A block that is never used.
        let next = self
            .reserve_ids(0, space.first)
            .await?
            .saturating_add(count);
        if next > space.last {
            return Err(StoreError::IdsExhausted);
        }
        let first = self.reserve_ids(count, space.first).await?;
        Ok(first.saturating_add(count))
    }

    async fn try_reserve_ids(&self, count: i64, first_ever: i64) -> Result<i64, StoreError> {
        let (mut connection, _) = self.0.engine.begin().await?;
        let lock = *connection.choose(&LOCK_NEXT_ID);
        let mut found: Vec<(i64,)> = connection.fetch(lock, &[]).await?;
        if found.is_empty() {
            // Another process may do the same at this time; the second one finds the row of the first.
            let insert = *connection.choose(&INSERT_NEXT_ID);
            connection.execute(insert, &[first_ever.into()]).await?;
            found = connection.fetch(lock, &[]).await?;
        }
        let Some((unreserved,)) = found.pop() else {
            return Err(StoreError::Corrupt("table id_blocks has no row".to_owned()));
        };
        // The next id can be too low after a restore of only some tables, or a fail-over to a lagging replica.
        let largest: Vec<(i64,)> = connection.fetch(LARGEST_ID, &[]).await?;
        let free = largest.first().map_or(0, |(id,)| id.saturating_add(1));
        let first = unreserved.max(free);
        let next = first.checked_add(count).ok_or(StoreError::IdsExhausted)?;
        connection.execute(UPDATE_NEXT_ID, &[next.into()]).await?;
        connection.commit().await?;
        Ok(first)
    }
}
