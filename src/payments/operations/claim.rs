//! Claiming and postponing tries of operations, as [`crate::payments::claim`] and [`crate::payments::postpone`] do for
//! authorizations.

use std::collections::HashMap;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::Locked;
use crate::domain::PaymentId;
use crate::payments::leases::Leases;
use crate::payments::outgoing;
use crate::store::batch::Batch;
use crate::store::quarantine::{Key, SetAside, payment_of};
use crate::store::rows::{OutboxId, StoredOperation, StoredPayment};
use crate::store::{Store, StoreError};
use crate::wire::work::OperationWork;

/// The result for a work message about an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationClaim {
    /// The try belongs to this worker for one lease.
    Taken(Box<(StoredPayment, StoredOperation)>),
    /// Another worker has claimed it: it was put back, due when that worker's lease ends.
    Held,
    /// This try is not the operation's current one (any more), or the operation is set aside.
    Over,
    /// The database has no such operation: the message may be about another database.
    Unknown,
}

pub(crate) struct ClaimOperations {
    pub database: Store,
    pub leases: Leases,
}

#[async_trait]
impl Batch for ClaimOperations {
    const NAME: &'static str = "claim_operation";
    type Item = OperationWork;
    type Outcome = OperationClaim;

    async fn run(&self, items: &[OperationWork]) -> Result<Vec<OperationClaim>, StoreError> {
        let mut tx = self.database.begin().await?;
        let payments = payments(items.iter().map(|item| item.payment_id));
        let payments = tx.read_payments(&payments).await?;
        let payments: HashMap<PaymentId, StoredPayment> = payments
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let mut left_out = tx.left_out();
        let ids: Vec<_> = items.iter().map(|item| item.operation_id).collect();
        let mut locked = Locked::lock(&mut tx, self.leases, std::iter::empty(), &ids).await?;
        left_out.append(&mut locked.left_out);
        locked.left_out = left_out;
        let claims = items
            .iter()
            .map(|item| locked.claim(*item, payments.get(&item.payment_id)))
            .collect();
        locked.write(tx, &[]).await?;
        Ok(claims)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}

fn payments(ids: impl Iterator<Item = PaymentId>) -> Vec<PaymentId> {
    let mut ids: Vec<PaymentId> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

fn is_set_aside(left_out: &[SetAside], work: OperationWork) -> bool {
    let operation = Key::Operation(work.operation_id);
    payment_of(left_out, work.payment_id).is_some() || left_out.iter().any(|it| it.key == operation)
}

impl Locked {
    fn claim(&mut self, work: OperationWork, payment: Option<&StoredPayment>) -> OperationClaim {
        let (Some(row), Some(payment)) = (self.operations.get_mut(&work.operation_id), payment)
        else {
            return match is_set_aside(&self.left_out, work) {
                true => OperationClaim::Over,
                false => OperationClaim::Unknown,
            };
        };
        let progress = row.progress();
        if !progress.awaits_answer() || progress.try_number != work.try_number {
            return OperationClaim::Over;
        }
        // A claim that ends later was made before the clock was set back. It has ended, or nearly so.
        let too_far = self.now + self.leases.longest_claim();
        if row
            .claimed_until
            .is_some_and(|held_until| held_until > too_far)
        {
            row.claimed_until = Some(self.now);
        }
        if let Some(held_until) = row
            .claimed_until
            .filter(|held_until| *held_until > self.now)
        {
            let id = OutboxId(Uuid::now_v7());
            let message = outgoing::operation_try(row, id, 0, held_until);
            self.publish_later(message);
            return OperationClaim::Held;
        }
        let until = self.now + self.leases.claim;
        if row.claimed_until.replace(until).is_some() {
            // Its worker's call has not answered.
            row.uncertain = progress.unanswered().uncertain;
        }
        let taken = (payment.clone(), row.clone());
        self.moved_operations.push(work.operation_id);
        OperationClaim::Taken(Box::new(taken))
    }

    fn postpone(&mut self, item: &PostponeOperation) {
        let Some(row) = self.operations.get_mut(&item.work.operation_id) else {
            return;
        };
        let progress = row.progress();
        if !progress.awaits_answer() || progress.try_number != item.work.try_number {
            return;
        }
        let due_at = self.now + item.delay;
        row.check_at = row.check_at.max(Some(due_at + self.leases.check));
        let message = outgoing::operation_try(row, item.id, item.times, due_at);
        self.publish_later(message);
        self.moved_operations.push(item.work.operation_id);
    }
}

/// A try of an operation that has to wait for its turn.
#[derive(Debug, Clone)]
pub struct PostponeOperation {
    work: OperationWork,
    /// How often it has been postponed, including this time.
    times: u32,
    delay: Duration,
    /// Drawn in advance, so that running a batch again writes the same row.
    id: OutboxId,
}

impl PostponeOperation {
    /// Postpones the try by `delay`.
    pub fn new(work: OperationWork, times: u32, delay: Duration) -> Self {
        Self {
            work,
            times,
            delay,
            id: OutboxId(Uuid::now_v7()),
        }
    }
}

pub(crate) struct PostponeOperations {
    pub database: Store,
    pub leases: Leases,
}

#[async_trait]
impl Batch for PostponeOperations {
    const NAME: &'static str = "postpone_operation";
    type Item = PostponeOperation;
    /// Whether the database has the operation.
    type Outcome = bool;

    async fn run(&self, items: &[PostponeOperation]) -> Result<Vec<bool>, StoreError> {
        let mut tx = self.database.begin().await?;
        let ids: Vec<_> = items.iter().map(|item| item.work.operation_id).collect();
        let mut locked = Locked::lock(&mut tx, self.leases, std::iter::empty(), &ids).await?;
        let is_known = |item: &PostponeOperation| {
            locked.operations.contains_key(&item.work.operation_id)
                || is_set_aside(&locked.left_out, item.work)
        };
        let known = items.iter().map(is_known).collect();
        items.iter().for_each(|item| locked.postpone(item));
        locked.write(tx, &[]).await?;
        Ok(known)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}
