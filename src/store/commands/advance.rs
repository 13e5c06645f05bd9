//! Moving payments: a card presented, an answer, a reversal, a cancellation. The domain decides; the payment's row,
//! its history and what is to be published are written in one transaction.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;

use super::{Leases, PresentedCard, RowIds};
use crate::domain::{
    ClientName, DeclineCode, Event, EventId, EventKind, Next, Outcome, Payment, PaymentId,
    PaymentStatus, Phase, Progress, Refusal, Timestamp, Trigger, next,
};
use crate::messages::{result, work::WorkMessage};
use crate::store::batch::Batch;
use crate::store::rows::{OutboxRow, StoredPayment, TokenId};
use crate::store::{Database, StoreError, Transaction};

/// Something that happened to a payment.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Which payment.
    pub payment: PaymentId,
    /// Who may do this; none for the service itself.
    pub client: Option<ClientName>,
    /// What happened.
    pub trigger: Trigger,
    /// The card of a new attempt, with the attempt that it was sealed for.
    pub card: Option<(PresentedCard, u32)>,
    /// The card token that the card came from, to be used up.
    pub token: Option<TokenId>,
    /// How long to wait if it is to be tried again.
    pub delay: Duration,
    /// Ids of the rows to write.
    pub ids: RowIds,
}

/// What came of it.
#[derive(Debug, Clone, PartialEq)]
pub enum Advanced {
    /// It moved; with the outbox rows to publish now.
    Moved(Payment, Vec<OutboxRow>),
    /// The domain refused; this is how the payment stands.
    Refused(Refusal, Payment),
    /// The card was sealed for another attempt than is due now.
    AnotherAttempt(Payment),
    /// No such payment of this client.
    NotFound,
    /// The card token is gone, expired or was used by another payment.
    TokenUnusable,
}

pub(super) struct AdvancePayments {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

/// What a batch writes.
#[derive(Default)]
struct Writes {
    moved: HashSet<PaymentId>,
    events: Vec<Event>,
    outbox: Vec<OutboxRow>,
    token_uses: Vec<(TokenId, PaymentId)>,
}

#[async_trait]
impl Batch for AdvancePayments {
    const NAME: &'static str = "advance";
    type Item = Advance;
    type Outcome = Advanced;

    async fn run(&self, items: &[Advance]) -> Result<Vec<Advanced>, StoreError> {
        let mut tx = self.database.begin().await?;
        let now = tx.now().await?;
        let ids: Vec<PaymentId> = sorted(items.iter().map(|item| item.payment));
        let mut rows: HashMap<PaymentId, StoredPayment> = tx
            .lock_payments(&ids)
            .await?
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let tokens = self.usable_tokens(tx.as_mut(), items, now).await?;
        let done = events_of_refused(tx.as_mut(), items, &rows).await?;
        let mut writes = Writes::default();
        let outcomes = items
            .iter()
            .map(|item| match rows.get_mut(&item.payment) {
                Some(row) if done.contains(&item.ids.events[0]) => {
                    // An earlier run of this very batch was committed after all.
                    Advanced::Moved(row.payment.clone(), Vec::new())
                }
                Some(row) => self.advance(row, item, &tokens, now, &mut writes),
                None => Advanced::NotFound,
            })
            .collect();
        if !writes.moved.is_empty() {
            self.write(tx, &rows, writes).await?;
        }
        Ok(outcomes)
    }
}

fn sorted<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// Those of the items' events that are in a history already, asked only if something would be refused.
async fn events_of_refused(
    tx: &mut dyn Transaction,
    items: &[Advance],
    rows: &HashMap<PaymentId, StoredPayment>,
) -> Result<HashSet<EventId>, StoreError> {
    let refused: Vec<EventId> = items
        .iter()
        .filter(|item| {
            rows.get(&item.payment)
                .is_some_and(|row| next(row.progress(), &item.trigger).is_err())
        })
        .map(|item| item.ids.events[0])
        .collect();
    if refused.is_empty() {
        return Ok(HashSet::new());
    }
    Ok(tx.existing_events(&refused).await?.into_iter().collect())
}

impl AdvancePayments {
    async fn usable_tokens(
        &self,
        tx: &mut dyn Transaction,
        items: &[Advance],
        now: Timestamp,
    ) -> Result<HashSet<TokenId>, StoreError> {
        let wanted = sorted(items.iter().filter_map(|item| item.token.clone()));
        if wanted.is_empty() {
            return Ok(HashSet::new());
        }
        let locked = tx.lock_tokens(&wanted).await?;
        let usable = |token: &crate::store::rows::CardToken| {
            token.used_by.is_none() && token.expires_at > now
        };
        Ok(locked
            .into_iter()
            .filter(usable)
            .map(|token| token.id)
            .collect())
    }

    fn advance(
        &self,
        row: &mut StoredPayment,
        item: &Advance,
        tokens: &HashSet<TokenId>,
        now: Timestamp,
        writes: &mut Writes,
    ) -> Advanced {
        if item
            .client
            .as_ref()
            .is_some_and(|client| *client != row.payment.client)
        {
            return Advanced::NotFound;
        }
        let moved = match next(row.progress(), &item.trigger) {
            Err(refusal) => return Advanced::Refused(refusal, row.payment.clone()),
            Ok(moved) => moved,
        };
        if let (Next::Attempt(progress), Some((_, attempt))) = (&moved, &item.card)
            && progress.attempt != *attempt
        {
            return Advanced::AnotherAttempt(row.payment.clone());
        }
        if let Some(token) = &item.token {
            let taken = writes.token_uses.iter().any(|(used, _)| used == token);
            if taken || !tokens.contains(token) {
                return Advanced::TokenUnusable;
            }
            writes.token_uses.push((token.clone(), row.payment.id));
        }
        let outbox = self.apply(row, item, moved, now, writes);
        writes.moved.insert(row.payment.id);
        writes.outbox.extend(outbox.iter().cloned());
        // A further try is due later: the sweep will find it.
        let later = row.payment.status == PaymentStatus::Processing && row.try_number > 1;
        Advanced::Moved(row.payment.clone(), if later { Vec::new() } else { outbox })
    }

    /// Changes the row and returns what is to be published.
    fn apply(
        &self,
        row: &mut StoredPayment,
        item: &Advance,
        moved: Next,
        now: Timestamp,
        writes: &mut Writes,
    ) -> Vec<OutboxRow> {
        let tried = row.try_number;
        let previous_phase = row.phase;
        row.claimed_until = None;
        row.payment.updated_at = now;
        let (kind, reason, delay) = match moved {
            Next::Attempt(progress) => {
                let card = item.card.as_ref().map(|(card, _)| card);
                row.payment.card = card.map(|card| card.summary.clone());
                row.sealed_card = card.map(|card| card.sealed.clone());
                row.payment.decline_code = None;
                place(row, progress);
                (EventKind::AttemptStarted, None, None)
            }
            Next::TryAgain { progress, reason } => {
                place(row, progress);
                let reversing =
                    previous_phase == Phase::Authorize && progress.phase == Phase::Reverse;
                let kind = if reversing {
                    EventKind::ReversalStarted
                } else {
                    EventKind::TryFailed
                };
                (kind, Some(reason), Some(item.delay))
            }
            Next::Ended(progress, outcome) => {
                place(row, progress);
                let (kind, reason) = conclude(&mut row.payment, outcome);
                row.sealed_card = None;
                (kind, reason, None)
            }
            Next::Canceled(progress) => {
                place(row, progress);
                row.sealed_card = None;
                (EventKind::Canceled, None, None)
            }
        };
        row.payment.sequence += 1;
        writes.events.push(Event {
            id: item.ids.events[0],
            payment: row.payment.id,
            sequence: row.payment.sequence,
            kind,
            at: now,
            attempt: row.payment.attempt,
            try_number: if kind == EventKind::AttemptStarted {
                0
            } else {
                tried
            },
            reason: reason.as_ref().map(ToString::to_string),
        });
        self.publications(row, item, now, delay)
    }

    fn publications(
        &self,
        row: &mut StoredPayment,
        item: &Advance,
        now: Timestamp,
        delay: Option<Duration>,
    ) -> Vec<OutboxRow> {
        let processing = row.payment.status == PaymentStatus::Processing;
        let due_at = now + delay.unwrap_or(self.leases.outbox);
        row.check_at = processing.then(|| due_at + self.leases.check);
        let publications = if processing {
            let work = WorkMessage {
                payment_id: row.payment.id,
                attempt: row.payment.attempt,
                try_number: row.try_number,
            };
            vec![work.publication(row.origin.traceparent.as_deref())]
        } else {
            result::publications(&row.payment, item.ids.events[0], &row.origin)
        };
        item.ids
            .outbox_rows(Some(row.payment.id), due_at, publications)
    }

    async fn write(
        &self,
        mut tx: Box<dyn Transaction>,
        rows: &HashMap<PaymentId, StoredPayment>,
        writes: Writes,
    ) -> Result<(), StoreError> {
        let moved = sorted(writes.moved.into_iter());
        let moved: Vec<StoredPayment> = moved
            .iter()
            .filter_map(|id| rows.get(id))
            .cloned()
            .collect();
        tx.update_payments(&moved).await?;
        tx.insert_events(&writes.events).await?;
        if !writes.outbox.is_empty() {
            tx.insert_outbox(&writes.outbox).await?;
        }
        if !writes.token_uses.is_empty() {
            tx.use_tokens(&writes.token_uses).await?;
        }
        tx.commit().await
    }
}

fn place(row: &mut StoredPayment, progress: Progress) {
    row.payment.status = progress.status;
    row.payment.attempt = progress.attempt;
    row.try_number = progress.try_number;
    row.phase = progress.phase;
    row.uncertain = progress.uncertain;
}

fn conclude(payment: &mut Payment, outcome: Outcome) -> (EventKind, Option<DeclineCode>) {
    match outcome {
        Outcome::Succeeded { authorization_code } => {
            payment.authorization_code = Some(authorization_code);
            (EventKind::Succeeded, None)
        }
        Outcome::Declined { code } => {
            payment.decline_code = Some(code.clone());
            (EventKind::Declined, Some(code))
        }
        Outcome::Failed { reason } => {
            payment.decline_code = Some(reason.clone());
            (EventKind::Failed, Some(reason))
        }
    }
}
