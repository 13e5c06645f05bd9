//! Captures, voids and refunds: each is an operation with its own row, whose tries travel through the broker like those of
//! an authorization. The payment's row is locked for every change, so that the database decides what is left to capture or
//! to refund, however many requests arrive at once.

pub mod claim;
pub(super) mod disputes;
pub mod hinted;
pub mod record;
pub mod rescue;
pub mod start;

use std::collections::HashMap;

use crate::domain::{Event, OperationId, PaymentId, Timestamp};
use crate::payments::leases::Leases;
use crate::payments::outgoing::{NewMessage, Outgoing};
use crate::store::quarantine::SetAside;
use crate::store::rows::{OutboxRow, StoredOperation, StoredPayment};
use crate::store::{StoreError, Transaction};

/// How much longer an authorization is kept if it expired but could not be voided.
const AFTER_FAILED_VOID: std::time::Duration = std::time::Duration::from_secs(3600);

/// The locked rows of a batch, and what it writes.
struct Locked {
    now: Timestamp,
    leases: Leases,
    payments: HashMap<PaymentId, StoredPayment>,
    operations: HashMap<OperationId, StoredOperation>,
    left_out: Vec<SetAside>,
    moved_payments: Vec<PaymentId>,
    moved_operations: Vec<OperationId>,
    events: Vec<Event>,
    outbox: Vec<OutboxRow>,
    /// The messages that are due now, to be handed over.
    due: Vec<Outgoing>,
}

impl Locked {
    /// Locks payments first, then operations, each in the order of their ids.
    async fn lock(
        tx: &mut Transaction,
        leases: Leases,
        payments: impl Iterator<Item = PaymentId>,
        operations: &[OperationId],
    ) -> Result<Self, StoreError> {
        let mut ids: Vec<PaymentId> = payments.collect();
        ids.sort_unstable();
        ids.dedup();
        let payments = tx.lock_payments(&ids).await?;
        let operations = match operations {
            [] => Vec::new(),
            ids => tx.lock_operations(ids).await?,
        };
        Ok(Self {
            now: tx.now(),
            leases,
            payments: payments
                .into_iter()
                .map(|row| (row.payment.id, row))
                .collect(),
            operations: operations
                .into_iter()
                .map(|row| (row.operation.id, row))
                .collect(),
            left_out: tx.left_out(),
            moved_payments: Vec::new(),
            moved_operations: Vec::new(),
            events: Vec::new(),
            outbox: Vec::new(),
            due: Vec::new(),
        })
    }

    /// Adds messages, to be published as soon as they are committed.
    fn publish(&mut self, messages: Vec<NewMessage>) {
        let rows = messages.iter().map(|message| message.row.clone());
        self.outbox.extend(rows);
        let due = messages.into_iter().map(NewMessage::outgoing);
        self.due.extend(due);
    }

    /// Adds a message that the sweep publishes when it is due.
    fn publish_later(&mut self, message: NewMessage) {
        self.outbox.push(message.row);
    }

    /// Writes everything and commits, if there is anything to write; returns the messages to hand over.
    async fn write(
        mut self,
        mut tx: Transaction,
        new: &[StoredOperation],
    ) -> Result<Vec<Outgoing>, StoreError> {
        let moved = !self.moved_payments.is_empty() || !self.moved_operations.is_empty();
        if !moved && new.is_empty() && self.outbox.is_empty() && self.left_out.is_empty() {
            return Ok(Vec::new());
        }
        self.moved_payments.sort_unstable();
        self.moved_payments.dedup();
        self.moved_operations.sort_unstable();
        self.moved_operations.dedup();
        let payments = self.moved_payments.iter();
        let payments: Vec<StoredPayment> =
            payments.filter_map(|id| self.payments.remove(id)).collect();
        let operations = self.moved_operations.iter();
        let operations: Vec<StoredOperation> = operations
            .filter_map(|id| self.operations.remove(id))
            .collect();
        if !new.is_empty() {
            tx.insert_operations(new).await?;
        }
        if !payments.is_empty() {
            tx.update_payments(&payments).await?;
            tx.set_funds(&payments).await?;
        }
        if !operations.is_empty() {
            tx.update_operations(&operations).await?;
        }
        if !self.events.is_empty() {
            tx.insert_events(&self.events).await?;
        }
        if !self.outbox.is_empty() {
            tx.insert_outbox(&self.outbox).await?;
        }
        tx.quarantine(&self.left_out).await?;
        tx.commit().await?;
        self.left_out.iter().for_each(SetAside::report);
        Ok(self.due)
    }
}
