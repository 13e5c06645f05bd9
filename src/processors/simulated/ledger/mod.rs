//! The issuer's ledger of charges and reversals. It is kept in the store because there is no other place, but belongs to
//! the issuer: no other code may base a decision on it. Tests and `check --payments` compare payments with it.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::store::batch::{Batch, Batcher, Limits};
use crate::store::rows::{LedgerEntry, LedgerLine};
use crate::store::{Store, StoreError};
use crate::watchdog::vital::Vital;

/// Records charges and reversals; those that wait at the same time share a transaction.
#[derive(Clone)]
pub struct Ledger {
    batcher: Batcher<Book>,
}

/// The state of a key in the ledger.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Nothing was ever recorded under it.
    Blank,
    /// Charged.
    Charged,
    /// Reversed: any charge has been returned, and nothing will be charged any more.
    Reversed,
}

impl Ledger {
    /// Keeps the ledger in a database.
    pub fn spawn(database: Store, limits: Limits) -> Self {
        Self::with(Arc::new(database), limits)
    }

    fn with(records: Arc<dyn Records>, limits: Limits) -> Self {
        Self {
            batcher: Batcher::spawn(Book { records }, limits),
        }
    }

    /// The task that records.
    pub fn vital(&self) -> Vital {
        self.batcher.vital()
    }

    /// Records a charge, unless the key is already charged or reversed; returns the state of the key afterwards.
    pub async fn charge(&self, line: LedgerLine) -> Result<Standing, StoreError> {
        self.batcher.submit_patiently(Entry::Charge(line)).await
    }

    /// Records a reversal, even of a key that was never charged.
    pub async fn reverse(&self, line: LedgerLine) -> Result<Standing, StoreError> {
        self.batcher.submit_patiently(Entry::Reverse(line)).await
    }

    /// The state of a key.
    pub async fn standing(&self, key: String) -> Result<Standing, StoreError> {
        self.batcher.submit_patiently(Entry::Look(key)).await
    }
}

impl fmt::Debug for Ledger {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ledger")
    }
}

#[derive(Debug, Clone)]
enum Entry {
    Charge(LedgerLine),
    Reverse(LedgerLine),
    Look(String),
}

impl Entry {
    fn key(&self) -> &String {
        match self {
            Self::Charge(line) | Self::Reverse(line) => &line.key,
            Self::Look(key) => key,
        }
    }
}

/// Where charges and reversals are recorded.
#[async_trait]
trait Records: Send + Sync {
    /// Records charges and then reversals, and reads the entries of the keys, in one transaction.
    async fn note(
        &self,
        charges: &[LedgerLine],
        reversals: &[LedgerLine],
        keys: &[String],
    ) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Whether anything can be recorded now.
    async fn are_usable(&self) -> bool;
}

#[async_trait]
impl Records for Store {
    async fn note(
        &self,
        charges: &[LedgerLine],
        reversals: &[LedgerLine],
        keys: &[String],
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let mut transaction = self.begin().await?;
        let now = transaction.now();
        if !charges.is_empty() {
            transaction.ledger_charge(charges, now).await?;
        }
        if !reversals.is_empty() {
            transaction.ledger_reverse(reversals, now).await?;
        }
        let entries = transaction.ledger_entries(keys).await?;
        transaction.commit().await?;
        Ok(entries)
    }

    async fn are_usable(&self) -> bool {
        self.is_usable().await
    }
}

struct Book {
    records: Arc<dyn Records>,
}

#[async_trait]
impl Batch for Book {
    const NAME: &'static str = "ledger";
    type Item = Entry;
    type Outcome = Standing;

    /// Charges first, then reversals: a key with both in one transaction ends reversed. The state is read back, so that
    /// running the batch again after a lost commit gives the same result.
    async fn run(&self, items: &[Entry]) -> Result<Vec<Standing>, StoreError> {
        let charges = lines(items, |item| match item {
            Entry::Charge(line) => Some(line),
            Entry::Reverse(_) | Entry::Look(_) => None,
        });
        let reversals = lines(items, |item| match item {
            Entry::Reverse(line) => Some(line),
            Entry::Charge(_) | Entry::Look(_) => None,
        });
        let mut keys: Vec<String> = items.iter().map(|item| item.key().clone()).collect();
        keys.sort_unstable();
        keys.dedup();

        let entries = self.records.note(&charges, &reversals, &keys).await?;

        let standings: BTreeMap<&str, Standing> = entries
            .iter()
            .map(|entry| (entry.key.as_str(), Standing::of(entry)))
            .collect();
        let standing = |item: &Entry| standings.get(item.key().as_str()).copied();
        Ok(items
            .iter()
            .map(|item| standing(item).unwrap_or(Standing::Blank))
            .collect())
    }

    async fn succeeds_without_items(&self) -> bool {
        self.records.are_usable().await
    }
}

/// One line for each key, in the order of the keys: rows that are always locked in the same order cause no deadlock.
fn lines<'a>(
    items: &'a [Entry],
    select: impl Fn(&'a Entry) -> Option<&'a LedgerLine>,
) -> Vec<LedgerLine> {
    let by_key: BTreeMap<&str, &LedgerLine> = items
        .iter()
        .filter_map(select)
        .map(|line| (line.key.as_str(), line))
        .collect();
    by_key.into_values().cloned().collect()
}

impl Standing {
    fn of(entry: &LedgerEntry) -> Self {
        match (entry.charged_at, entry.reversed_at) {
            (_, Some(_)) => Self::Reversed,
            (Some(_), None) => Self::Charged,
            (None, None) => Self::Blank,
        }
    }
}

#[cfg(test)]
mod memory;
#[cfg(test)]
mod tests;
