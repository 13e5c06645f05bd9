//! Table `installation`: the random id of this installation.

use rand::distr::{Alphanumeric, SampleString};

use crate::store::bulk::Both;
use crate::store::{Store, StoreError};

/// Its only row.
const ROW: i64 = 1;

/// (row) → id
const READ: &str = "SELECT id FROM installation WHERE only_row = ?";

/// (row, id): unless there is one. Of several at the same time the first is kept, and none fails.
static INSERT: Both<&str> = Both {
    mysql: "
INSERT INTO installation (only_row, id) VALUES (?, ?)
ON DUPLICATE KEY UPDATE only_row = installation.only_row",
    sqlite: "
INSERT INTO installation (only_row, id) VALUES (?, ?)
ON CONFLICT DO NOTHING",
};

impl Store {
    /// The id of this installation, 16 letters and digits, made by the first call.
    pub async fn installation(&self) -> Result<String, StoreError> {
        if let Some(id) = self.installation_made().await? {
            return Ok(id);
        }
        let id = Alphanumeric.sample_string(&mut rand::rng(), 16);
        let mut tx = self.begin().await?;
        let insert = *tx.connection.choose(&INSERT);
        let parameters = [ROW.into(), id.as_str().into()];
        tx.connection.execute(insert, &parameters).await?;
        tx.commit().await?;
        // Another process may have been first.
        Ok(self.installation_made().await?.unwrap_or(id))
    }

    async fn installation_made(&self) -> Result<Option<String>, StoreError> {
        let found = self.read::<(String,)>(READ, &[ROW.into()]).await?;
        Ok(found.into_iter().next().map(|(id,)| id))
    }
}
