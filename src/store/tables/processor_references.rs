//! Table `processor_references`: what payment platforms call our attempts and refunds.

use crate::store::bulk::Both;
use crate::store::{Store, StoreError};

/// (processor, key) → reference
const READ: &str =
    "SELECT reference FROM processor_references WHERE processor = ? AND idempotency_key = ?";

/// (processor, key, reference): unless the key has one. Of several at the same time the first is kept, and none fails.
static INSERT: Both<&str> = Both {
    mysql: "
INSERT INTO processor_references (processor, idempotency_key, reference) VALUES (?, ?, ?)
ON DUPLICATE KEY UPDATE idempotency_key = processor_references.idempotency_key",
    sqlite: "
INSERT INTO processor_references (processor, idempotency_key, reference) VALUES (?, ?, ?)
ON CONFLICT DO NOTHING",
};

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

    /// Stores a reference, unless the key has one already; returns the one that it has.
    pub async fn keep_processor_reference(
        &self,
        processor: &str,
        key: &str,
        reference: &str,
    ) -> Result<String, StoreError> {
        let mut tx = self.begin().await?;
        let parameters = [processor.into(), key.into(), reference.into()];
        let insert = *tx.connection.choose(&INSERT);
        tx.connection.execute(insert, &parameters).await?;
        tx.commit().await?;
        let kept = self.processor_reference(processor, key).await?;
        Ok(kept.unwrap_or_else(|| reference.to_owned()))
    }
}
