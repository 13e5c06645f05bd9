//! The outbox: rows that are due, rows that were published, and messages without a payment.

use std::time::Duration;

use async_trait::async_trait;

use crate::broker::{Lane, Publication};
use crate::domain::Timestamp;
use crate::payments::leases::Leases;
use crate::payments::outgoing::{self, Outgoing};
use crate::payments::row_ids::RowIds;
use crate::payments::writer::Writer;
use crate::store::batch::Batch;
use crate::store::quarantine::SetAside;
use crate::store::rows::{OutboxId, OutboxRow};
use crate::store::{Store, StoreError};

/// A refused request by message: a dead letter and, if its client is known, an event.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The messages to publish: at most two, plus a reply.
    pub publications: Vec<Publication>,
    /// Ids of the rows to write.
    pub ids: [RowIds; 2],
}

/// Writes messages without a payment and deletes the rows that they replace, in one transaction. Returns them, to be
/// handed over.
async fn write(
    writer: &Writer,
    replaced: &mut [OutboxId],
    messages: impl FnOnce(Timestamp) -> Vec<Outgoing> + Send,
) -> Result<Vec<Outgoing>, StoreError> {
    let mut tx = writer.database.begin().await?;
    let messages = messages(tx.now());
    let rows: Vec<OutboxRow> = messages.iter().map(Outgoing::row).collect();
    tx.insert_outbox(&rows).await?;
    if !replaced.is_empty() {
        // Sorted, because concurrent deletes in different orders deadlock.
        replaced.sort_unstable();
        tx.delete_outbox(replaced).await?;
    }
    tx.commit().await?;
    Ok(messages)
}

pub(super) struct RefuseRequests(pub Writer);

#[async_trait]
impl Batch for RefuseRequests {
    const NAME: &'static str = "refuse";
    type Item = Refused;
    type Outcome = ();

    async fn run(&self, items: &[Refused]) -> Result<Vec<()>, StoreError> {
        let lease = self.0.leases.outbox;
        let messages = |now| {
            let all = items.iter().flat_map(|item| item.messages(now + lease));
            all.collect()
        };
        let messages = write(&self.0, &mut [], messages).await?;
        self.0.hand_over.messages(messages);
        Ok(vec![(); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

impl Refused {
    fn messages(&self, due_at: Timestamp) -> Vec<Outgoing> {
        let ids = self.ids.iter().flat_map(|ids| ids.outbox);
        ids.zip(&self.publications)
            .map(|(id, publication)| Outgoing {
                id,
                payment: None,
                due_at,
                publication: publication.clone(),
            })
            .collect()
    }
}

/// A message without a payment: a callback to be repeated, or its dead letter.
#[derive(Debug, Clone)]
pub struct Message {
    /// The id of its row.
    pub id: OutboxId,
    /// What is published.
    pub publication: Publication,
    /// The delay before it is due. Without one, it belongs to its process for one lease, like every new row.
    pub delay: Option<Duration>,
}

pub(super) struct EnqueueMessages(pub Writer);

#[async_trait]
impl Batch for EnqueueMessages {
    const NAME: &'static str = "enqueue";
    type Item = Message;
    type Outcome = ();

    async fn run(&self, items: &[Message]) -> Result<Vec<()>, StoreError> {
        let lease = self.0.leases.outbox;
        let message = |item: &Message, now: Timestamp| Outgoing {
            id: item.id,
            payment: None,
            due_at: now + item.delay.unwrap_or(lease),
            publication: item.publication.clone(),
        };
        let messages = |now| items.iter().map(|item| message(item, now)).collect();
        let messages = write(&self.0, &mut [], messages).await?;
        // The sweep finds delayed messages when they are due.
        let now_due = messages.into_iter().zip(items);
        let now_due = now_due.filter(|(_, item)| item.delay.is_none());
        let now_due = now_due.map(|(message, _)| message);
        self.0.hand_over.messages(now_due);
        Ok(vec![(); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

/// A row that cannot be published, and the dead letter that takes its place.
#[derive(Debug, Clone)]
pub(super) struct Replacement {
    pub row: OutboxId,
    pub letter: OutboxId,
    pub publication: Publication,
}

pub(super) struct ReplaceRows(pub Writer);

#[async_trait]
impl Batch for ReplaceRows {
    const NAME: &'static str = "replace";
    type Item = Replacement;
    type Outcome = ();

    async fn run(&self, items: &[Replacement]) -> Result<Vec<()>, StoreError> {
        let lease = self.0.leases.outbox;
        let letter = |item: &Replacement, now: Timestamp| Outgoing {
            id: item.letter,
            payment: None,
            due_at: now + lease,
            publication: item.publication.clone(),
        };
        let letters = |now| items.iter().map(|item| letter(item, now)).collect();
        let mut replaced: Vec<OutboxId> = items.iter().map(|item| item.row).collect();
        let letters = write(&self.0, &mut replaced, letters).await?;
        self.0.hand_over.messages(letters);
        Ok(vec![(); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

pub(super) struct DeletePublished {
    pub database: Store,
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

    async fn succeeds_without_items(&self) -> bool {
        self.database.is_usable().await
    }
}

/// The rows that one sweep took.
#[derive(Debug, Clone, Default)]
pub struct Taken {
    /// What is to be published.
    pub messages: Vec<Outgoing>,
    /// How many rows were found, including those set aside. If it equals the limit, there may be more.
    pub found: usize,
    /// How long the oldest of the rows has been due.
    pub oldest: Option<Duration>,
}

/// Moves the due time of a lane's due rows one lease ahead, commits, and returns them for this process to publish. Rows
/// that cannot be read are set aside.
pub(super) async fn sweep(
    database: &Store,
    leases: Leases,
    lane: Lane,
    limit: u32,
) -> Result<Taken, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let rows = tx.lock_due_outbox(lane, now, limit).await?;
    let mut left_out = tx.left_out();
    let oldest = rows.iter().map(|row| row.due_at).min();
    let oldest = oldest.map(|due_at| Duration::try_from(now - due_at).unwrap_or_default());
    let found = rows.len() + left_out.len();
    let mut messages = Vec::new();
    if found > 0 {
        let ids: Vec<OutboxId> = rows.iter().map(|row| row.id).collect();
        tx.postpone_outbox(&ids, now + leases.outbox).await?;
        let (rendered, unreadable) = outgoing::render(&mut tx, rows).await?;
        messages = rendered;
        left_out.extend(unreadable);
        tx.quarantine(&left_out).await?;
        tx.commit().await?;
        left_out.iter().for_each(SetAside::report);
    }
    Ok(Taken {
        messages,
        found,
        oldest,
    })
}

/// Writes outbox rows for payments that have been processing for long without one, and moves their next check ahead by
/// the time they have already waited, within bounds. Payments that cannot be read are set aside.
pub(super) async fn dispatch_forgotten(
    database: &Store,
    leases: Leases,
    overdue: Duration,
    limit: u32,
) -> Result<Taken, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let mut payments = tx.lock_forgotten_payments(now - overdue, limit).await?;
    let left_out = tx.left_out();
    let found = payments.len() + left_out.len();
    if found == 0 {
        return Ok(Taken::default());
    }
    let due_at = now + leases.outbox;
    for row in &mut payments {
        let waiting = Duration::try_from(now - row.payment.updated_at).unwrap_or_default();
        row.check_at = Some(now + waiting.clamp(leases.check, leases.longest_check()));
    }
    let rows = payments.iter().map(|row| outgoing::try_row(row, 0, due_at));
    let rows: Vec<OutboxRow> = rows.collect();
    let dispatch = |(row, payment): (&OutboxRow, _)| Outgoing {
        id: row.id,
        payment: row.payment,
        due_at,
        publication: outgoing::work_of(payment),
    };
    let messages = rows.iter().zip(&payments).map(dispatch).collect();
    if !payments.is_empty() {
        tx.update_payments(&payments).await?;
        tx.insert_outbox(&rows).await?;
    }
    tx.quarantine(&left_out).await?;
    tx.commit().await?;
    left_out.iter().for_each(SetAside::report);
    Ok(Taken {
        messages,
        found,
        oldest: None,
    })
}

/// Sets rows aside.
pub(super) async fn quarantine(database: &Store, rows: &[SetAside]) -> Result<(), StoreError> {
    let mut tx = database.begin().await?;
    tx.quarantine(rows).await?;
    tx.commit().await?;
    rows.iter().for_each(SetAside::report);
    Ok(())
}

/// Makes rows due that an operator has released by removing their mark.
pub(super) async fn release(database: &Store) -> Result<u64, StoreError> {
    let mut tx = database.begin().await?;
    let now = tx.now();
    let released = tx.release_outbox(now).await?;
    if released > 0 {
        tx.commit().await?;
    }
    Ok(released)
}

/// What became of some facts.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct Replaced {
    /// Replaced by their messages.
    pub messages: usize,
    /// Set aside, because there is no message for them.
    pub set_aside: usize,
}

/// Replaces up to `limit` facts by their messages, which releases without facts can publish.
pub async fn replace_facts(database: &Store, limit: u32) -> Result<Replaced, StoreError> {
    let mut tx = database.begin().await?;
    let rows = tx.lock_facts(limit).await?;
    let mut left_out = tx.left_out();
    if rows.is_empty() && left_out.is_empty() {
        return Ok(Replaced::default());
    }
    let (messages, unreadable) = outgoing::render(&mut tx, rows).await?;
    left_out.extend(unreadable);
    let mut ids: Vec<OutboxId> = messages.iter().map(|message| message.id).collect();
    ids.sort_unstable();
    let rows: Vec<OutboxRow> = messages.iter().map(Outgoing::row).collect();
    if !ids.is_empty() {
        tx.delete_outbox(&ids).await?;
        tx.insert_outbox(&rows).await?;
    }
    tx.quarantine(&left_out).await?;
    tx.commit().await?;
    left_out.iter().for_each(SetAside::report);
    Ok(Replaced {
        messages: messages.len(),
        set_aside: left_out.len(),
    })
}
