//! Tries that have to wait: a worker puts one back into the outbox, due later, if it cannot start it soon, or if it no
//! longer wants to hold the delivery of one that is running.
//!
//! The payment's row is read first, so that a message from another installation is not lost.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use crate::domain::{PaymentId, Timestamp};
use crate::payments::leases::Leases;
use crate::payments::outgoing;
use crate::store::batch::Batch;
use crate::store::quarantine::{SetAside, payment_of};
use crate::store::rows::{OutboxId, OutboxRow, StoredPayment};
use crate::store::{Store, StoreError};
use crate::wire::work::WorkMessage;

/// A try that has to wait.
#[derive(Debug, Clone)]
pub struct Postpone {
    work: WorkMessage,
    /// How often it has been postponed, including this time.
    times: u32,
    due: Due,
    /// Generated in advance, so that running a batch again writes the same row.
    id: OutboxId,
}

/// When a try is due again.
#[derive(Debug, Clone, Copy)]
enum Due {
    After(Duration),
    /// When its present claim ends.
    ClaimEnds,
}

impl Postpone {
    /// Postpones the try by `delay`.
    pub fn new(work: WorkMessage, times: u32, delay: Duration) -> Self {
        Self {
            work,
            times,
            due: Due::After(delay),
            id: OutboxId(Uuid::now_v7()),
        }
    }

    /// Writes a row for a running try, due when its claim ends: the try comes back if its worker dies. Otherwise the worker
    /// deletes the row once it has recorded the answer.
    pub fn until_its_claim_ends(work: WorkMessage) -> Self {
        Self {
            due: Due::ClaimEnds,
            ..Self::new(work, 0, Duration::ZERO)
        }
    }

    /// The id of the row.
    pub fn id(&self) -> OutboxId {
        self.id
    }
}

/// The result of postponing.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Postponed {
    /// The try waits in the outbox, or is not the payment's current one any more.
    Done,
    /// The database has no such payment.
    UnknownPayment,
}

pub(super) struct PostponeTries {
    pub database: Store,
    pub leases: Leases,
}

#[async_trait]
impl Batch for PostponeTries {
    const NAME: &'static str = "postpone";
    type Item = Postpone;
    type Outcome = Postponed;

    async fn run(&self, items: &[Postpone]) -> Result<Vec<Postponed>, StoreError> {
        let mut ids: Vec<PaymentId> = items.iter().map(|item| item.work.payment_id).collect();
        ids.sort_unstable();
        ids.dedup();
        let mut tx = self.database.begin().await?;
        let now = tx.now();
        let mut rows: HashMap<PaymentId, StoredPayment> = tx
            .lock_payments(&ids)
            .await?
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let left_out = tx.left_out();
        let mut outbox = Vec::with_capacity(items.len());
        let mut checked_later = BTreeMap::new();
        let outcome = |item: &Postpone| {
            let Some(row) = rows.get_mut(&item.work.payment_id) else {
                // A quarantined payment is dispatched when it is released.
                return match payment_of(&left_out, item.work.payment_id) {
                    Some(_) => Postponed::Done,
                    None => Postponed::UnknownPayment,
                };
            };
            if is_current(row, item.work) {
                let due_at = item.due.at(row, now, self.leases.claim);
                // Until then, plus the time that a new message may take, it does not count as lost.
                row.check_at = row.check_at.max(Some(due_at + self.leases.check));
                checked_later.insert(row.payment.id, row.clone());
                outbox.push(waiting(row, item, due_at));
            }
            Postponed::Done
        };
        let outcomes = items.iter().map(outcome).collect();
        if !outbox.is_empty() || !left_out.is_empty() {
            tx.quarantine(&left_out).await?;
            let checked_later: Vec<StoredPayment> = checked_later.into_values().collect();
            tx.update_payments(&checked_later).await?;
            tx.insert_outbox(&outbox).await?;
            tx.commit().await?;
        }
        left_out.iter().for_each(SetAside::report);
        Ok(outcomes)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}

impl Due {
    fn at(self, row: &StoredPayment, now: Timestamp, longest_claim: Duration) -> Timestamp {
        match self {
            Self::After(delay) => now + delay,
            // Not later, even if the clock has been set back since the claim.
            Self::ClaimEnds => {
                let until = row.claimed_until.unwrap_or(now);
                until.clamp(now, now + longest_claim)
            }
        }
    }
}

fn is_current(row: &StoredPayment, work: WorkMessage) -> bool {
    row.progress().awaits((work.attempt, work.try_number))
}

fn waiting(row: &StoredPayment, item: &Postpone, due_at: Timestamp) -> OutboxRow {
    OutboxRow {
        id: item.id,
        ..outgoing::try_row(row, item.times, due_at)
    }
}
