//! What a platform calls our attempts and refunds, so that the next worker knows what to ask about.

use crate::store::{Store, StoreError};

/// The references of one processor, by our idempotency keys.
#[derive(Debug, Clone)]
pub struct References {
    database: Store,
    processor: String,
}

/// What is known under a key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Known {
    /// Nothing was created yet.
    Nothing,
    /// The platform's reference.
    As(String),
    /// The key is closed: whatever is created under it is never used.
    Closed,
}

impl References {
    /// Of the processor with this name.
    pub fn new(database: Store, processor: &str) -> Self {
        let processor = processor.to_owned();
        Self {
            database,
            processor,
        }
    }

    /// What is known under a key.
    pub async fn known(&self, key: &str) -> Result<Known, StoreError> {
        let found = self.database.processor_reference(&self.processor, key);
        Ok(found.await?.map_or(Known::Nothing, Known::from_column))
    }

    /// Stores what the platform has created under a key, unless something is known already; returns what is known now.
    pub async fn keep(&self, key: &str, reference: &str) -> Result<Known, StoreError> {
        let keeping = self
            .database
            .keep_processor_reference(&self.processor, key, reference);
        Ok(Known::from_column(keeping.await?))
    }

    /// Closes a key, unless something was created under it; returns what is known now.
    pub async fn close(&self, key: &str) -> Result<Known, StoreError> {
        self.keep(key, CLOSED).await
    }
}

const CLOSED: &str = "";

impl Known {
    fn from_column(reference: String) -> Self {
        if reference == CLOSED {
            Self::Closed
        } else {
            Self::As(reference)
        }
    }
}
