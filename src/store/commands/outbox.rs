//! The outbox: rows that are due, rows that were published, and what is published without a payment.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use uuid::Uuid;

use super::{Leases, RowIds};
use crate::broker::{Lane, Publication};
use crate::domain::Timestamp;
use crate::messages::work::WorkMessage;
use crate::store::batch::Batch;
use crate::store::rows::{OutboxId, OutboxRow, StoredPayment};
use crate::store::{Database, StoreError};

/// A request by message that was refused: a dead letter and, where its client is known, an event.
#[derive(Debug, Clone)]
pub struct Refused {
    /// What is published, at most two messages besides a reply.
    pub publications: Vec<Publication>,
    /// Ids of the rows to write.
    pub ids: [RowIds; 2],
}

pub(super) struct RefuseRequests {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

#[async_trait]
impl Batch for RefuseRequests {
    const NAME: &'static str = "refuse";
    type Item = Refused;
    type Outcome = Vec<OutboxRow>;

    async fn run(&self, items: &[Refused]) -> Result<Vec<Vec<OutboxRow>>, StoreError> {
        let mut tx = self.database.begin().await?;
        let due_at = tx.now() + self.leases.outbox;
        let rows: Vec<Vec<OutboxRow>> = items.iter().map(|item| item.rows(due_at)).collect();
        tx.insert_outbox(&rows.concat()).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

impl Refused {
    fn rows(&self, due_at: Timestamp) -> Vec<OutboxRow> {
        let ids = self.ids.iter().flat_map(|ids| ids.outbox);
        ids.zip(&self.publications)
            .map(|(id, publication)| OutboxRow {
                id,
                payment: None,
                due_at,
                publication: publication.clone(),
            })
            .collect()
    }
}

/// A message of its own, about no try of a payment: a callback that comes again, or its dead letter.
#[derive(Debug, Clone)]
pub struct Message {
    /// Of its row.
    pub id: OutboxId,
    /// What is published.
    pub publication: Publication,
    /// When. Not delayed, it belongs to its process for one lease, as every new row does.
    pub delay: Option<Duration>,
}

pub(super) struct EnqueueMessages {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

#[async_trait]
impl Batch for EnqueueMessages {
    const NAME: &'static str = "enqueue";
    type Item = Message;
    type Outcome = OutboxRow;

    async fn run(&self, items: &[Message]) -> Result<Vec<OutboxRow>, StoreError> {
        let mut tx = self.database.begin().await?;
        let now = tx.now();
        let row = |item: &Message| OutboxRow {
            id: item.id,
            payment: None,
            due_at: now + item.delay.unwrap_or(self.leases.outbox),
            publication: item.publication.clone(),
        };
        let rows: Vec<OutboxRow> = items.iter().map(row).collect();
        tx.insert_outbox(&rows).await?;
        tx.commit().await?;
        Ok(rows)
    }
}

/// A row that cannot be published, and the dead letter that takes its place.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pub row: OutboxId,
    pub letter: OutboxId,
    pub publication: Publication,
}

pub(super) struct SetAside {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

#[async_trait]
impl Batch for SetAside {
    const NAME: &'static str = "set aside";
    type Item = Replacement;
    type Outcome = OutboxRow;

    async fn run(&self, items: &[Replacement]) -> Result<Vec<OutboxRow>, StoreError> {
        let mut tx = self.database.begin().await?;
        let due_at = tx.now() + self.leases.outbox;
        let row = |item: &Replacement| OutboxRow {
            id: item.letter,
            payment: None,
            due_at,
            publication: item.publication.clone(),
        };
        let letters: Vec<OutboxRow> = items.iter().map(row).collect();
        // Sorted, because concurrent deletes in different orders deadlock.
        let mut ids: Vec<OutboxId> = items.iter().map(|item| item.row).collect();
        ids.sort_unstable();
        tx.insert_outbox(&letters).await?;
        tx.delete_outbox(&ids).await?;
        tx.commit().await?;
        Ok(letters)
    }
}

pub(super) struct DeletePublished {
    pub database: Arc<dyn Database>,
}

#[async_trait]
impl Batch for DeletePublished {
    const NAME: &'static str = "published";
    type Item = OutboxId;
    type Outcome = ();

    async fn run(&self, items: &[OutboxId]) -> Result<Vec<()>, StoreError> {
        // Sorted, because concurrent deletes in different orders deadlock.
        let mut ids = items.to_vec();
        ids.sort_unstable();
        let mut tx = self.database.begin().await?;
        tx.delete_outbox(&ids).await?;
        tx.commit().await?;
        Ok(vec![(); items.len()])
    }
}

/// Moves due rows of a lane one lease ahead, commits, and returns them: they are this process's to publish.
pub(super) async fn sweep(
    database: &dyn Database,
    leases: Leases,
    lane: Lane,
    limit: u32,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let rows = tx.lock_due_outbox(lane, now, limit).await?;
    if !rows.is_empty() {
        let ids: Vec<OutboxId> = rows.iter().map(|row| row.id).collect();
        tx.postpone_outbox(&ids, now + leases.outbox).await?;
        tx.commit().await?;
    }
    Ok(rows)
}

/// Writes outbox rows for payments that are processing for long without one, and moves their next check ahead by
/// the time they have been waiting already.
pub(super) async fn dispatch_forgotten(
    database: &dyn Database,
    leases: Leases,
    limit: u32,
) -> Result<Vec<OutboxRow>, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let mut payments = tx.lock_forgotten_payments(now, limit).await?;
    if payments.is_empty() {
        return Ok(Vec::new());
    }
    let due_at = now + leases.outbox;
    for row in &mut payments {
        row.check_at = Some(
            now + (now - row.payment.updated_at).max(leases.check.try_into().unwrap_or_default()),
        );
    }
    let rows: Vec<OutboxRow> = payments.iter().map(|row| dispatch(row, due_at)).collect();
    tx.update_payments(&payments).await?;
    tx.insert_outbox(&rows).await?;
    tx.commit().await?;
    Ok(rows)
}

fn dispatch(row: &StoredPayment, due_at: Timestamp) -> OutboxRow {
    let work = WorkMessage {
        payment_id: row.payment.id,
        attempt: row.payment.attempt,
        try_number: row.try_number,
    };
    OutboxRow {
        id: OutboxId(Uuid::now_v7()),
        payment: Some(row.payment.id),
        due_at,
        publication: work.publication(row.origin.traceparent.as_deref()),
    }
}
