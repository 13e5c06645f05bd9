//! For tests: records in memory that fail on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use time::macros::datetime;

use super::{Account, Calls, Lines, OperationStanding, Records, Request};
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::rows::{IssuerOperation, LedgerEntry, LedgerLine};

/// The ledger's table.
#[derive(Default, Clone)]
pub struct Memory {
    /// By key.
    pub entries: Arc<Mutex<BTreeMap<String, LedgerEntry>>>,
    /// Captures, voids and refunds.
    pub operations: Arc<Mutex<Vec<IssuerOperation>>>,
    /// Calls by key.
    pub calls: Arc<Mutex<Calls>>,
    /// How the next transactions fail.
    pub failures: Arc<Mutex<VecDeque<Failure>>>,
    /// Transactions begun so far.
    pub begun: Arc<Mutex<u32>>,
}

/// How a transaction fails.
#[derive(Clone)]
pub enum Failure {
    /// It never begins.
    AtBegin(StoreError),
    /// Its commit succeeds, but the answer is lost.
    AfterCommit,
}

const NOW: Timestamp = datetime!(2026-11-22 12:00 UTC);

fn blank(line: &LedgerLine) -> LedgerEntry {
    LedgerEntry {
        key: line.key.clone(),
        payment: line.payment,
        amount: line.amount.minor(),
        held: line.held,
        test_card: line.test_card.map(str::to_owned),
        charged_at: None,
        reversed_at: None,
    }
}

#[async_trait]
impl Records for Memory {
    async fn note(
        &self,
        lines: Lines<'_>,
        keys: &[String],
    ) -> Result<(Vec<LedgerEntry>, Calls), StoreError> {
        *self.begun.lock().unwrap() += 1;
        let failure = self.failures.lock().unwrap().pop_front();
        if let Some(Failure::AtBegin(error)) = failure {
            return Err(error);
        }
        let mut entries = self.entries.lock().unwrap();
        for line in lines.charges {
            let charged = LedgerEntry {
                charged_at: Some(NOW),
                ..blank(line)
            };
            entries.entry(line.key.clone()).or_insert(charged);
        }
        for line in lines.closings {
            let closed = LedgerEntry {
                reversed_at: Some(NOW),
                ..blank(line)
            };
            entries.entry(line.key.clone()).or_insert(closed);
        }
        for line in lines.reversals {
            let entry = entries.entry(line.key.clone());
            let entry = entry.or_insert_with(|| blank(line));
            entry.reversed_at.get_or_insert(NOW);
        }
        let mut calls = self.calls.lock().unwrap();
        for key in lines.calls {
            *calls.entry(key.clone()).or_default() += 1;
        }
        if failure.is_some() {
            let lost = Arc::new(sqlx::Error::PoolTimedOut);
            return Err(StoreError::CommitUnknown(lost));
        }
        let found = keys.iter().filter_map(|key| entries.get(key));
        Ok((found.cloned().collect(), calls.clone()))
    }

    async fn operate(
        &self,
        requests: &[(Request, IssuerOperation)],
    ) -> Result<Vec<(OperationStanding, Option<String>)>, StoreError> {
        let entries = self.entries.lock().unwrap().values().cloned().collect();
        let mut operations = self.operations.lock().unwrap();
        let mut account = Account::new(entries, operations.clone());
        let decided = requests.iter();
        let decided = decided.map(|(request, wanted)| account.operate(*request, wanted));
        let decided = decided.collect();
        *operations = account.operations;
        Ok(decided)
    }

    async fn are_usable(&self) -> bool {
        true
    }
}
