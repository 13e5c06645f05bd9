//! Claiming tries: a worker takes a payment for one lease, by the database's clock, before it calls the processor.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::Leases;
use crate::domain::{PaymentId, PaymentStatus, Timestamp};
use crate::messages::work::WorkMessage;
use crate::store::batch::Batch;
use crate::store::rows::{OutboxId, OutboxRow, StoredPayment};
use crate::store::{Database, StoreError};

/// What became of a work message.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// The try is this worker's for one lease.
    Taken(Box<StoredPayment>),
    /// Another worker has it: the message was put back into the outbox, due when that worker's lease ends.
    Held,
    /// This try is not the payment's current one (any more).
    Over,
}

pub(super) struct ClaimPayments {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

#[async_trait]
impl Batch for ClaimPayments {
    const NAME: &'static str = "claim";
    type Item = WorkMessage;
    type Outcome = Claim;

    async fn run(&self, items: &[WorkMessage]) -> Result<Vec<Claim>, StoreError> {
        let mut ids: Vec<PaymentId> = items.iter().map(|item| item.payment_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut tx = self.database.begin().await?;
        let now = tx.now().await?;
        let until = now + self.leases.claim;
        let mut rows: HashMap<PaymentId, StoredPayment> = tx
            .lock_payments(&ids)
            .await?
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let mut put_back = Vec::new();
        let claims: Vec<Claim> = items
            .iter()
            .map(|item| match rows.get_mut(&item.payment_id) {
                Some(row) => claim(row, *item, now, until, &mut put_back),
                None => Claim::Over,
            })
            .collect();
        let taken: Vec<PaymentId> = claims
            .iter()
            .filter_map(|claim| match claim {
                Claim::Taken(row) => Some(row.payment.id),
                _ => None,
            })
            .collect();
        if !taken.is_empty() {
            tx.claim_payments(&taken, until).await?;
        }
        if !put_back.is_empty() {
            tx.insert_outbox(&put_back).await?;
        }
        if !taken.is_empty() || !put_back.is_empty() {
            tx.commit().await?;
        }
        Ok(claims)
    }
}

fn claim(
    row: &mut StoredPayment,
    item: WorkMessage,
    now: Timestamp,
    until: Timestamp,
    put_back: &mut Vec<OutboxRow>,
) -> Claim {
    let current = (row.payment.attempt, row.try_number) == (item.attempt, item.try_number);
    if row.payment.status != PaymentStatus::Processing || !current {
        return Claim::Over;
    }
    if let Some(held_until) = row.claimed_until.filter(|held_until| *held_until > now) {
        put_back.push(OutboxRow {
            id: OutboxId(Uuid::now_v7()),
            payment: Some(item.payment_id),
            due_at: held_until,
            publication: item.publication(row.origin.traceparent.as_deref()),
        });
        return Claim::Held;
    }
    row.claimed_until = Some(until);
    Claim::Taken(Box::new(row.clone()))
}
