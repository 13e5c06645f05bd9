//! Claiming tries: a worker takes a payment for one lease, by the database's clock, before it calls the processor.
//!
//! A batch that runs again after a commit with an unknown result may find its own claims. It treats them as another
//! worker's and puts the tries back until the lease ends: that costs time, but never causes a second charge.

use std::collections::HashMap;

use crate::domain::{PaymentId, Phase, Timestamp};
use crate::payments::leases::Leases;
use crate::payments::outgoing;
use crate::store::batch::Batch;
use crate::store::quarantine::{Quarantined, SetAside, payment_of};
use crate::store::rows::{OutboxRow, StoredPayment};
use crate::store::{Store, StoreError};
use crate::wire::work::WorkMessage;
use async_trait::async_trait;

/// The result for a work message.
#[derive(Debug, Clone, PartialEq)]
pub enum Claim {
    /// The try belongs to this worker for one lease.
    Taken(Box<StoredPayment>),
    /// Another worker has claimed it: the message was put back into the outbox, due when that worker's lease ends.
    Held,
    /// This try is not the payment's current one (any more).
    Over,
    /// The payment is set aside. Its rescue dispatches it when it is released.
    Quarantined(Quarantined),
    /// The database has no such payment: the message may be about a payment in another database.
    UnknownPayment,
}

pub(super) struct ClaimPayments {
    pub database: Store,
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
        let now = tx.now();
        let until = now + self.leases.claim;
        // A claim that ends later was made before the clock was set back. It has ended, or nearly so.
        let too_far = now + self.leases.longest_claim();
        let mut rows: HashMap<PaymentId, StoredPayment> = tx
            .lock_payments(&ids)
            .await?
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let left_out = tx.left_out();
        let mut writes = Writes::default();
        let claims: Vec<Claim> = items
            .iter()
            .map(|item| match rows.get_mut(&item.payment_id) {
                Some(row) => {
                    if row
                        .claimed_until
                        .is_some_and(|held_until| held_until > too_far)
                    {
                        row.claimed_until = Some(now);
                    }
                    claim(row, *item, now, until, &mut writes)
                }
                None => payment_of(&left_out, item.payment_id)
                    .map_or(Claim::UnknownPayment, Claim::Quarantined),
            })
            .collect();
        if !writes.taken.is_empty() {
            tx.claim_payments(&writes.taken, until).await?;
        }
        if !writes.retaken.is_empty() {
            tx.update_payments(&writes.retaken).await?;
        }
        if !writes.put_back.is_empty() {
            tx.insert_outbox(&writes.put_back).await?;
        }
        tx.quarantine(&left_out).await?;
        if !writes.is_empty() || !left_out.is_empty() {
            tx.commit().await?;
        }
        left_out.iter().for_each(SetAside::report);
        Ok(claims)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}

/// The writes of a batch.
#[derive(Default)]
pub(super) struct Writes {
    /// Tries that were not claimed before.
    taken: Vec<PaymentId>,
    /// Tries whose worker never recorded a result.
    retaken: Vec<StoredPayment>,
    /// Tries that another worker has claimed.
    put_back: Vec<OutboxRow>,
}

impl Writes {
    fn is_empty(&self) -> bool {
        self.taken.is_empty() && self.retaken.is_empty() && self.put_back.is_empty()
    }
}

/// Claims the try in memory, and adds the writes. An expired claim of another worker is taken over: that worker's call has
/// not answered, so the attempt is uncertain from this transaction on.
pub(super) fn claim(
    row: &mut StoredPayment,
    item: WorkMessage,
    now: Timestamp,
    until: Timestamp,
    writes: &mut Writes,
) -> Claim {
    if !row.progress().awaits((item.attempt, item.try_number)) {
        return Claim::Over;
    }
    if let Some(held_until) = row.claimed_until.filter(|held_until| *held_until > now) {
        writes.put_back.push(outgoing::try_row(row, 0, held_until));
        return Claim::Held;
    }
    let retaken = row.claimed_until.replace(until).is_some();
    if retaken {
        // A question about an action charges nothing, however late it is answered.
        row.uncertain |= row.phase != Phase::Ask;
        // The row does not hold the check of a payment that is kept apart.
        row.check_at = row.check_at.max(Some(until));
        writes.retaken.push(row.clone());
    } else {
        writes.taken.push(row.payment.id);
    }
    Claim::Taken(Box::new(row.clone()))
}
