//! The issuer's ledger of charges and reversals. It is kept in the store because there is no other place, but belongs to
//! the issuer: no other code may base a decision on it. Tests and `check --payments` compare payments with it.

mod operations;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;

use crate::store::batch::{Batch, Batcher, Limits};
use crate::store::rows::{IssuerOperation, LedgerEntry, LedgerLine};
use crate::store::{Store, StoreError};
use crate::watchdog::vital::Vital;
use operations::{Change, decide};
pub use operations::{OperationStanding, Request};

/// Records charges, reversals and operations; those that wait at the same time share a transaction.
#[derive(Clone)]
pub struct Ledger {
    batcher: Batcher<Book>,
    operations: Batcher<Operations>,
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
            operations: Batcher::spawn(
                Operations {
                    records: Arc::clone(&records),
                },
                limits,
            ),
            batcher: Batcher::spawn(Book { records }, limits),
        }
    }

    /// The tasks that record.
    pub fn vitals(&self) -> [Vital; 2] {
        [self.batcher.vital(), self.operations.vital()]
    }

    /// Asks for an operation to be carried out, closed, looked at or returned; returns the state of its key afterwards,
    /// and the test card of its authorization if that decides what happens.
    pub async fn operate(
        &self,
        request: Request,
        operation: IssuerOperation,
    ) -> Result<(OperationStanding, Option<String>), StoreError> {
        self.operations.submit_patiently((request, operation)).await
    }

    /// Records a charge, unless the key is already charged or reversed; returns the state of the key afterwards.
    pub async fn charge(&self, line: LedgerLine) -> Result<Standing, StoreError> {
        self.standing_after(Entry::Charge(line)).await
    }

    /// Records a reversal, even of a key that was never charged.
    pub async fn reverse(&self, line: LedgerLine) -> Result<Standing, StoreError> {
        self.standing_after(Entry::Reverse(line)).await
    }

    /// Closes a key: unless it is charged, it never will be.
    pub async fn close(&self, line: LedgerLine) -> Result<Standing, StoreError> {
        self.standing_after(Entry::Close(line)).await
    }

    /// The state of a key.
    pub async fn standing(&self, key: String) -> Result<Standing, StoreError> {
        self.standing_after(Entry::Look(key)).await
    }

    /// Counts a call with a key; returns its number, from 1. After a lost commit a call may count twice.
    pub async fn count_call(&self, key: String) -> Result<u32, StoreError> {
        let told = self.batcher.submit_patiently(Entry::Call(key)).await?;
        Ok(told.call)
    }

    async fn standing_after(&self, entry: Entry) -> Result<Standing, StoreError> {
        let told = self.batcher.submit_patiently(entry).await?;
        Ok(told.standing)
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
    Close(LedgerLine),
    Look(String),
    Call(String),
}

/// The result of an entry.
#[derive(Debug, Clone, Copy)]
struct Told {
    standing: Standing,
    /// The number of the call, if it is one.
    call: u32,
}

impl Entry {
    fn key(&self) -> &String {
        match self {
            Self::Charge(line) | Self::Reverse(line) | Self::Close(line) => &line.key,
            Self::Look(key) | Self::Call(key) => key,
        }
    }
}

/// What is recorded in one transaction. Charges and reversals have one line for each key, calls one for each call.
struct Lines<'a> {
    charges: &'a [LedgerLine],
    closings: &'a [LedgerLine],
    reversals: &'a [LedgerLine],
    calls: &'a [String],
}

/// The number of calls by key.
type Calls = BTreeMap<String, u32>;

/// Where charges and reversals are recorded.
#[async_trait]
trait Records: Send + Sync {
    /// Records charges, then closings, then reversals, then calls, and reads the entries of the keys, in one transaction. Also returns how
    /// many calls each of the called keys has now.
    async fn note(
        &self,
        lines: Lines<'_>,
        keys: &[String],
    ) -> Result<(Vec<LedgerEntry>, Calls), StoreError>;

    /// Decides about requests one after the other and records the result, in one transaction.
    async fn operate(
        &self,
        requests: &[(Request, IssuerOperation)],
    ) -> Result<Vec<(OperationStanding, Option<String>)>, StoreError>;

    /// Whether anything can be recorded now.
    async fn are_usable(&self) -> bool;
}

/// What is recorded for some authorizations, and what is to be written.
struct Account {
    authorizations: BTreeMap<String, LedgerEntry>,
    operations: Vec<IssuerOperation>,
    added: Vec<IssuerOperation>,
    returned: Vec<String>,
}

impl Account {
    fn new(authorizations: Vec<LedgerEntry>, operations: Vec<IssuerOperation>) -> Self {
        let authorizations = authorizations.into_iter();
        Self {
            authorizations: authorizations
                .map(|entry| (entry.key.clone(), entry))
                .collect(),
            operations,
            added: Vec::new(),
            returned: Vec::new(),
        }
    }

    fn operate(
        &mut self,
        request: Request,
        wanted: &IssuerOperation,
    ) -> (OperationStanding, Option<String>) {
        let authorization = self.authorizations.get(&wanted.authorization);
        let on_it = self.operations.iter();
        let on_it = on_it.filter(|other| other.authorization == wanted.authorization);
        let (own, others): (Vec<_>, Vec<_>) = on_it.partition(|other| other.key == wanted.key);
        let own = own.first().copied();
        let (standing, change) = decide(authorization, &others, own, (request, wanted));
        let test_card = authorization.and_then(|entry| entry.test_card.clone());
        match change {
            None => {}
            Some(Change::Return) => {
                self.returned.push(wanted.key.clone());
                let own = self.operations.iter_mut().find(|it| it.key == wanted.key);
                own.into_iter().for_each(|own| own.returned = true);
            }
            Some(Change::Execute | Change::Close) => {
                let recorded = IssuerOperation {
                    executed: change == Some(Change::Execute),
                    returned: false,
                    ..wanted.clone()
                };
                self.added.push(recorded.clone());
                self.operations.push(recorded);
            }
        }
        (standing, test_card)
    }
}

#[async_trait]
impl Records for Store {
    async fn note(
        &self,
        lines: Lines<'_>,
        keys: &[String],
    ) -> Result<(Vec<LedgerEntry>, Calls), StoreError> {
        let mut transaction = self.begin().await?;
        let now = transaction.now();
        if !lines.charges.is_empty() {
            transaction.ledger_charge(lines.charges, now).await?;
        }
        if !lines.closings.is_empty() {
            transaction.ledger_close(lines.closings, now).await?;
        }
        if !lines.reversals.is_empty() {
            transaction.ledger_reverse(lines.reversals, now).await?;
        }
        let mut calls = Calls::new();
        if !lines.calls.is_empty() {
            calls = transaction.count_issuer_calls(lines.calls).await?;
        }
        let entries = transaction.ledger_entries(keys).await?;
        transaction.commit().await?;
        Ok((entries, calls))
    }

    async fn operate(
        &self,
        requests: &[(Request, IssuerOperation)],
    ) -> Result<Vec<(OperationStanding, Option<String>)>, StoreError> {
        let keys = requests
            .iter()
            .map(|(_, wanted)| wanted.authorization.clone());
        let mut keys: Vec<String> = keys.collect();
        keys.sort_unstable();
        keys.dedup();
        let mut transaction = self.begin().await?;
        let now = transaction.now();
        let operations = transaction.lock_issuer_operations(&keys).await?;
        let authorizations = transaction.ledger_entries(&keys).await?;
        let mut account = Account::new(authorizations, operations);
        let decided = requests.iter();
        let decided = decided.map(|(request, wanted)| account.operate(*request, wanted));
        let decided = decided.collect();
        if !account.added.is_empty() {
            let added = &account.added;
            transaction.insert_issuer_operations(added, now).await?;
        }
        if !account.returned.is_empty() {
            let returned = &account.returned;
            transaction.return_issuer_operations(returned, now).await?;
        }
        if !account.added.is_empty() || !account.returned.is_empty() {
            transaction.commit().await?;
        }
        Ok(decided)
    }

    async fn are_usable(&self) -> bool {
        self.is_usable().await
    }
}

struct Book {
    records: Arc<dyn Records>,
}

/// Captures, voids and refunds.
struct Operations {
    records: Arc<dyn Records>,
}

#[async_trait]
impl Batch for Operations {
    const NAME: &'static str = "ledger_operations";
    type Item = (Request, IssuerOperation);
    type Outcome = (OperationStanding, Option<String>);

    /// If it runs again after a lost commit, the operations are found under their keys.
    async fn run(&self, items: &[Self::Item]) -> Result<Vec<Self::Outcome>, StoreError> {
        self.records.operate(items).await
    }

    async fn succeeds_without_items(&self) -> bool {
        self.records.are_usable().await
    }
}

#[async_trait]
impl Batch for Book {
    const NAME: &'static str = "ledger";
    type Item = Entry;
    type Outcome = Told;

    /// Charges first, then reversals: a key with both in one transaction ends reversed. The state is read back, so that
    /// running the batch again after a lost commit gives the same result.
    async fn run(&self, items: &[Entry]) -> Result<Vec<Told>, StoreError> {
        let charges = lines(items, |item| match item {
            Entry::Charge(line) => Some(line),
            _ => None,
        });
        let closings = lines(items, |item| match item {
            Entry::Close(line) => Some(line),
            _ => None,
        });
        let reversals = lines(items, |item| match item {
            Entry::Reverse(line) => Some(line),
            _ => None,
        });
        let calls: Vec<String> = items
            .iter()
            .filter_map(|item| match item {
                Entry::Call(key) => Some(key.clone()),
                _ => None,
            })
            .collect();
        let mut keys: Vec<String> = items.iter().map(|item| item.key().clone()).collect();
        keys.sort_unstable();
        keys.dedup();

        let recorded = Lines {
            charges: &charges,
            closings: &closings,
            reversals: &reversals,
            calls: &calls,
        };
        let (entries, mut calls) = self.records.note(recorded, &keys).await?;

        let standings: BTreeMap<&str, Standing> = entries
            .iter()
            .map(|entry| (entry.key.as_str(), Standing::of(entry)))
            .collect();
        // Of several calls with one key, the last item made the last call.
        let told = items.iter().rev().map(|item| {
            let key = item.key();
            let mut call = 0;
            if matches!(item, Entry::Call(_))
                && let Some(count) = calls.get_mut(key)
            {
                call = *count;
                *count = count.saturating_sub(1);
            }
            let standing = standings.get(key.as_str()).copied();
            Told {
                standing: standing.unwrap_or(Standing::Blank),
                call,
            }
        });
        let mut told: Vec<Told> = told.collect();
        told.reverse();
        Ok(told)
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
