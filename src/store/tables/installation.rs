//! Table `installation`: the random id of this installation.

use rand::distr::{Alphanumeric, SampleString};

use crate::store::{Store, StoreError};

/// Its only row.
const ROW: i64 = 1;

/// (row) → id
const READ: &str = "SELECT id FROM installation WHERE only_row = ?";

/// (row, id, row): unless there is one. Written so that both databases understand it.
const INSERT: &str = "
INSERT INTO installation (only_row, id)
SELECT given.* FROM (SELECT ? AS a, ? AS b) AS given
WHERE NOT EXISTS (SELECT 1 FROM installation WHERE only_row = ?)";

impl Store {
    /// The id of this installation, 16 letters and digits, made by the first call.
    pub async fn installation(&self) -> Result<String, StoreError> {
        if let Some(id) = self.installation_made().await? {
            return Ok(id);
        }
        let id = Alphanumeric.sample_string(&mut rand::rng(), 16);
        let mut tx = self.begin().await?;
        let parameters = [ROW.into(), id.as_str().into(), ROW.into()];
        tx.connection.execute(INSERT, &parameters).await?;
        tx.commit().await?;
        // Another process may have been first.
        Ok(self.installation_made().await?.unwrap_or(id))
    }

    async fn installation_made(&self) -> Result<Option<String>, StoreError> {
        let found = self.read::<(String,)>(READ, &[ROW.into()]).await?;
        Ok(found.into_iter().next().map(|(id,)| id))
    }
}
