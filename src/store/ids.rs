//! Payment ids, taken from blocks that each process reserves for itself.
//!
//! So a multi-row insert knows its ids in advance, and AUTO_INCREMENT's locks and gaps are avoided. The rest of a block is
//! never used after its process ends.

use std::ops::Range;

use tokio::sync::Mutex;
use tokio::task::JoinHandle;

use super::{Store, StoreError};
use crate::domain::PaymentId;

/// The configured range of ids.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct IdSpace {
    /// `FIRST_PAYMENT_ID`: the first id that is used.
    pub first: i64,
    /// `PAYMENT_ID_MAX`: the last id that is used.
    pub last: i64,
}

impl IdSpace {
    /// Used fraction of the range at which warnings begin.
    const WARN_AT: f64 = 0.8;

    /// Whether so much of the range is used, given the next id, that an operator should act.
    pub fn is_nearly_used(self, next: i64) -> bool {
        self.used(next) >= Self::WARN_AT
    }

    fn used(self, id: i64) -> f64 {
        (id - self.first) as f64 / (self.last - self.first).max(1) as f64
    }
}

/// Gives out payment ids, each exactly once.
pub struct PaymentIds {
    database: Store,
    space: IdSpace,
    blocks: Mutex<Blocks>,
}

/// Ids that are reserved.
#[derive(Default)]
struct Blocks {
    current: Range<i64>,
    /// The first id of the next block, once half of the current one is used.
    next: Option<JoinHandle<Result<i64, StoreError>>>,
}

impl PaymentIds {
    /// Ids reserved at once: enough for a part of a second at full load, and very few out of two thousand million.
    const BLOCK: i64 = 1000;

    /// Reserves nothing yet.
    pub fn new(database: Store, space: IdSpace) -> Self {
        Self {
            database,
            space,
            blocks: Mutex::default(),
        }
    }

    /// The next id; [`StoreError::IdsExhausted`] at the end of the range. Ids never wrap around.
    pub async fn next(&self) -> Result<PaymentId, StoreError> {
        let mut blocks = self.blocks.lock().await;
        if blocks.current.is_empty() {
            // A caller may disconnect here: the reservation continues, and the next caller gets it.
            let reserved = blocks.next.get_or_insert_with(|| self.reserve()).await;
            blocks.next = None;
            let first = reserved.map_err(|error| StoreError::Panicked(error.to_string()))??;
            blocks.current = first..first.saturating_add(Self::BLOCK);
        }
        // Past the end the block stays unchanged, so that refusals cost nothing.
        if blocks.current.start > self.space.last {
            return Err(StoreError::IdsExhausted);
        }
        let left = blocks.current.end - blocks.current.start;
        if left <= Self::BLOCK / 2 && blocks.next.is_none() {
            // No caller has to wait for the database while the other half is used.
            blocks.next = Some(self.reserve());
        }
        let id = blocks.current.next();
        id.map(PaymentId).ok_or(StoreError::IdsExhausted)
    }

    fn reserve(&self) -> JoinHandle<Result<i64, StoreError>> {
        let (database, space) = (self.database.clone(), self.space);
        tokio::spawn(async move {
            let first = database.reserve_ids(Self::BLOCK, space.first).await?;
            if space.is_nearly_used(first) {
                tracing::warn!(
                    payment.id = first,
                    payment.id.max = space.last,
                    "more than 80 % of the payment ids are used up"
                );
            }
            Ok(first)
        })
    }
}

#[cfg(test)]
mod tests {
    use futures::FutureExt;

    use super::*;

    /// An id, if none has to be waited for.
    fn at_once(ids: &PaymentIds) -> Option<i64> {
        // Without tokio's budget, which would make a task wait that asks very often.
        let next = tokio::task::unconstrained(ids.next()).now_or_never();
        next.map(|id| id.unwrap().0)
    }

    #[tokio::test]
    async fn the_next_block_is_reserved_while_half_of_the_current_one_is_left() {
        let folder = tempfile::tempdir().unwrap();
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.unwrap();
        let space = IdSpace {
            first: 1,
            last: i64::from(i32::MAX),
        };
        let ids = PaymentIds::new(database, space);
        assert_eq!(ids.next().await.unwrap(), PaymentId(1));
        let mut given = vec![1];
        for _ in 0..500 {
            given.push(at_once(&ids).unwrap());
        }
        // Half is left; the reservation that has begun runs to its end meanwhile.
        let reserving = async {
            while !ids.blocks.lock().await.next.as_ref().unwrap().is_finished() {
                tokio::task::yield_now().await;
            }
        };
        tokio::time::timeout(std::time::Duration::from_secs(30), reserving)
            .await
            .unwrap();
        given.extend(std::iter::from_fn(|| at_once(&ids)));
        assert!(given.len() > 1000, "only {} without waiting", given.len());
        let in_order: Vec<i64> = (1..).take(given.len()).collect();
        assert_eq!(given, in_order);
    }
}
