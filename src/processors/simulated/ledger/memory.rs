//! For tests: a store in memory that holds only the ledger and fails on demand.

use std::collections::{BTreeMap, VecDeque};
use std::sync::{Arc, Mutex};

use async_trait::async_trait;
use time::macros::datetime;

use crate::broker::Lane;
use crate::domain::{ClientName, Event, EventId, PaymentId, Timestamp};
use crate::store::audit::{Audit, Bounds};
use crate::store::environment::{Server, Stock};
use crate::store::quarantine::SetAside;
use crate::store::rows::{
    CardToken, Horizons, LedgerEntry, LedgerLine, OutboxId, OutboxRow, PaymentFilter,
    StoredPayment, TokenId,
};
use crate::store::{Checked, Database, OutboxDepth, StoreError, Transaction};

/// The ledger's table.
#[derive(Default, Clone)]
pub struct Memory {
    /// By key.
    pub entries: Arc<Mutex<BTreeMap<String, LedgerEntry>>>,
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

struct Open {
    memory: Memory,
    entries: BTreeMap<String, LedgerEntry>,
    answer_is_lost: bool,
}

const NOW: Timestamp = datetime!(2026-11-22 12:00 UTC);

fn not_asked<T>() -> T {
    unreachable!("the ledger uses nothing else")
}

fn blank(line: &LedgerLine) -> LedgerEntry {
    LedgerEntry {
        key: line.key.clone(),
        payment: line.payment,
        charged_at: None,
        reversed_at: None,
    }
}

#[async_trait]
impl Database for Memory {
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError> {
        *self.begun.lock().unwrap() += 1;
        let failure = self.failures.lock().unwrap().pop_front();
        if let Some(Failure::AtBegin(error)) = failure {
            return Err(error);
        }
        Ok(Box::new(Open {
            memory: self.clone(),
            entries: self.entries.lock().unwrap().clone(),
            answer_is_lost: failure.is_some(),
        }))
    }

    async fn migrate(&self) -> Result<(), StoreError> {
        not_asked()
    }
    async fn check(&self) -> Result<Checked, StoreError> {
        not_asked()
    }
    async fn reserve_ids(&self, _: i64, _: i64) -> Result<i64, StoreError> {
        not_asked()
    }
    async fn payment(&self, _: PaymentId) -> Result<Option<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn payment_by_key(
        &self,
        _: &ClientName,
        _: &str,
    ) -> Result<Option<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn payments(&self, _: &PaymentFilter) -> Result<Vec<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn outbox_about(&self, _: PaymentId) -> Result<Vec<OutboxRow>, StoreError> {
        not_asked()
    }

    async fn clients(&self) -> Result<Vec<ClientName>, StoreError> {
        not_asked()
    }

    async fn events(&self, _: PaymentId) -> Result<Vec<Event>, StoreError> {
        not_asked()
    }
    async fn card_token(&self, _: &TokenId) -> Result<Option<CardToken>, StoreError> {
        not_asked()
    }
    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        not_asked()
    }
    async fn ledger(&self, _: PaymentId) -> Result<Vec<LedgerEntry>, StoreError> {
        not_asked()
    }
    async fn bring_back(&self, _: Horizons) -> Result<u64, StoreError> {
        not_asked()
    }
    async fn end_all_claims(&self) -> Result<(), StoreError> {
        Ok(())
    }

    async fn holds_others_than(&self, _: &ClientName) -> Result<bool, StoreError> {
        not_asked()
    }
    async fn audit(&self, _bounds: Bounds) -> Result<Audit, StoreError> {
        not_asked()
    }
    async fn server(&self) -> Result<Server, StoreError> {
        not_asked()
    }
    async fn stock(&self, _sample: u32) -> Result<Stock, StoreError> {
        not_asked()
    }
    async fn close(&self) {
        not_asked()
    }
}

#[async_trait]
impl Transaction for Open {
    fn now(&self) -> Timestamp {
        NOW
    }

    async fn ledger_charge(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for line in lines {
            let entry = LedgerEntry {
                charged_at: Some(now),
                ..blank(line)
            };
            self.entries.entry(line.key.clone()).or_insert(entry);
        }
        Ok(())
    }

    async fn ledger_reverse(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        for line in lines {
            let entry = self
                .entries
                .entry(line.key.clone())
                .or_insert_with(|| blank(line));
            entry.reversed_at.get_or_insert(now);
        }
        Ok(())
    }

    async fn ledger_entries(&mut self, keys: &[String]) -> Result<Vec<LedgerEntry>, StoreError> {
        Ok(keys
            .iter()
            .filter_map(|key| self.entries.get(key))
            .cloned()
            .collect())
    }

    async fn commit(self: Box<Self>) -> Result<(), StoreError> {
        *self.memory.entries.lock().unwrap() = self.entries;
        if self.answer_is_lost {
            return Err(StoreError::CommitUnknown(Arc::new(
                sqlx::Error::PoolTimedOut,
            )));
        }
        Ok(())
    }

    fn left_out(&mut self) -> Vec<SetAside> {
        Vec::new()
    }

    async fn quarantine(&mut self, _: &[SetAside]) -> Result<(), StoreError> {
        not_asked()
    }

    async fn release_outbox(&mut self, _: Timestamp) -> Result<u64, StoreError> {
        not_asked()
    }

    async fn payments_by_key(
        &mut self,
        _: &[(ClientName, String)],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn payment_ids_by_key(
        &mut self,
        _: &[(ClientName, String)],
    ) -> Result<Vec<PaymentId>, StoreError> {
        not_asked()
    }
    async fn lock_payments(&mut self, _: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn insert_payments(&mut self, _: &[StoredPayment]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn update_payments(&mut self, _: &[StoredPayment]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn end_payments(&mut self, _: &[StoredPayment]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn claim_payments(&mut self, _: &[PaymentId], _: Timestamp) -> Result<(), StoreError> {
        not_asked()
    }
    async fn lock_forgotten_payments(
        &mut self,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn insert_events(&mut self, _: &[Event]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn existing_events(
        &mut self,
        _: &[(PaymentId, EventId)],
    ) -> Result<Vec<EventId>, StoreError> {
        not_asked()
    }
    async fn read_payments(&mut self, _: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError> {
        not_asked()
    }
    async fn read_events(&mut self, _: &[(PaymentId, u32)]) -> Result<Vec<Event>, StoreError> {
        not_asked()
    }
    async fn lock_facts(&mut self, _: u32) -> Result<Vec<OutboxRow>, StoreError> {
        not_asked()
    }
    async fn insert_outbox(&mut self, _: &[OutboxRow]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn delete_outbox(&mut self, _: &[OutboxId]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn lock_due_outbox(
        &mut self,
        _: Lane,
        _: Timestamp,
        _: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        not_asked()
    }
    async fn postpone_outbox(&mut self, _: &[OutboxId], _: Timestamp) -> Result<(), StoreError> {
        not_asked()
    }
    async fn insert_tokens(&mut self, _: &[CardToken]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn lock_tokens(&mut self, _: &[TokenId]) -> Result<Vec<CardToken>, StoreError> {
        not_asked()
    }
    async fn use_tokens(&mut self, _: &[(TokenId, PaymentId)]) -> Result<(), StoreError> {
        not_asked()
    }
    async fn erase_expired_tokens(&mut self, _: Timestamp, _: u32) -> Result<u64, StoreError> {
        not_asked()
    }
}
