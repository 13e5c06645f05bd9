//! Payment ids, taken from blocks that each process reserves for itself.
//!
//! A multi-row insert knows its ids beforehand, and AUTO_INCREMENT's locks and gaps are no concern. What is left of
//! a block when a process ends is never used.

use std::sync::Arc;

use tokio::sync::Mutex;

use super::{Database, StoreError};
use crate::domain::PaymentId;

/// The space of ids that a configuration allows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdSpace {
    /// `FIRST_PAYMENT_ID`: the first id ever given.
    pub first: i64,
    /// `PAYMENT_ID_MAX`: the last id ever given.
    pub last: i64,
}

impl IdSpace {
    /// Part of the space at which warnings begin.
    const WARN_AT: f64 = 0.8;

    /// Whether so much is used up, with this id next, that somebody should act.
    pub fn is_nearly_used(self, next: i64) -> bool {
        self.used(next) >= Self::WARN_AT
    }

    fn used(self, id: i64) -> f64 {
        (id - self.first) as f64 / (self.last - self.first).max(1) as f64
    }
}

/// Gives out payment ids, each once.
pub struct PaymentIds {
    database: Arc<dyn Database>,
    space: IdSpace,
    block: Mutex<std::ops::Range<i64>>,
}

impl PaymentIds {
    /// Ids reserved at once: some seconds' worth under load, nothing in two thousand million.
    const BLOCK: i64 = 1000;

    /// Reserves nothing yet.
    pub fn new(database: Arc<dyn Database>, space: IdSpace) -> Self {
        Self {
            database,
            space,
            block: Mutex::new(0..0),
        }
    }

    /// The next id; [`StoreError::IdsExhausted`] at the end of the space, never a wrap.
    pub async fn next(&self) -> Result<PaymentId, StoreError> {
        let mut block = self.block.lock().await;
        if block.is_empty() {
            let first = self
                .database
                .reserve_ids(Self::BLOCK, self.space.first)
                .await?;
            *block = first..first.saturating_add(Self::BLOCK);
            if self.space.is_nearly_used(first) {
                tracing::warn!(
                    payment.id = first,
                    payment.id.max = self.space.last,
                    "more than 80 % of the payment ids are used up"
                );
            }
        }
        // Past the end the block is kept as it is, so that refusals cost nothing.
        if block.start > self.space.last {
            return Err(StoreError::IdsExhausted);
        }
        block.next().map(PaymentId).ok_or(StoreError::IdsExhausted)
    }
}
