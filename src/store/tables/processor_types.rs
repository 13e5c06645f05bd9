//! Table `processor_types`: which type each name of `PROCESSORS_FILE` has.

use crate::store::bulk::Both;
use crate::store::{Store, StoreError};

/// (processor) → type
const READ: &str = "SELECT kind FROM processor_types WHERE processor = ?";

/// (processor, type): unless it has one. Of several at the same time the first is kept, and none fails.
static INSERT: Both<&str> = Both {
    mysql: "
INSERT INTO processor_types (processor, kind) VALUES (?, ?)
ON DUPLICATE KEY UPDATE processor = processor_types.processor",
    sqlite: "
INSERT INTO processor_types (processor, kind) VALUES (?, ?)
ON CONFLICT DO NOTHING",
};

/// (type, processor)
const UPDATE: &str = "UPDATE processor_types SET kind = ? WHERE processor = ?";

impl Store {
    /// The type of a processor, as it was used last; none if it never was.
    pub async fn processor_type(&self, processor: &str) -> Result<Option<String>, StoreError> {
        let found = self.read::<(String,)>(READ, &[processor.into()]).await?;
        Ok(found.into_iter().next().map(|(kind,)| kind))
    }

    /// Notes the type of a processor that had none.
    pub async fn note_processor_type(&self, processor: &str, kind: &str) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let insert = *tx.connection.choose(&INSERT);
        let parameters = [processor.into(), kind.into()];
        tx.connection.execute(insert, &parameters).await?;
        tx.commit().await
    }

    /// Gives a processor another type.
    pub async fn change_processor_type(
        &self,
        processor: &str,
        kind: &str,
    ) -> Result<(), StoreError> {
        let mut tx = self.begin().await?;
        let parameters = [kind.into(), processor.into()];
        tx.connection.execute(UPDATE, &parameters).await?;
        tx.commit().await
    }
}
