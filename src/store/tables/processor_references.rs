//! Table `processor_references`: what payment platforms call our attempts and refunds.

use crate::store::{Store, StoreError};

/// (processor, key) → reference
const READ: &str =
    "SELECT reference FROM processor_references WHERE processor = ? AND idempotency_key = ?";

/// (processor, key, reference, processor, key): unless the key has one. Written so that both databases understand it.
const INSERT: &str = "
INSERT INTO processor_references (processor, idempotency_key, reference)
SELECT given.* FROM (SELECT ? AS a, ? AS b, ? AS c) AS given
WHERE NOT EXISTS (
    SELECT 1 FROM processor_references WHERE processor = ? AND idempotency_key = ?
)";

impl Store {
    /// A processor's reference under a key.
    pub async fn processor_reference(
        &self,
        processor: &str,
        key: &str,
    ) -> Result<Option<String>, StoreError> {
        let parameters = [processor.into(), key.into()];
        let found = self.read::<(String,)>(READ, &parameters).await?;
        Ok(found.into_iter().next().map(|(reference,)| reference))
    }

    /// Stores a reference, unless the key has one already; returns the one that it has. Of two calls at the same time, one
    /// may fail.
    pub async fn keep_processor_reference(
        &self,
        processor: &str,
        key: &str,
        reference: &str,
    ) -> Result<String, StoreError> {
        let mut tx = self.begin().await?;
        let parameters = [
            processor.into(),
            key.into(),
            reference.into(),
            processor.into(),
            key.into(),
        ];
        tx.connection.execute(INSERT, &parameters).await?;
        tx.commit().await?;
        let kept = self.processor_reference(processor, key).await?;
        Ok(kept.unwrap_or_else(|| reference.to_owned()))
    }
}
