//! Moving payments: a presented card, an answer, a reversal, a cancellation. The domain decides; the payment's row, its
//! history and its messages are written in one transaction.

use std::borrow::Cow;
use std::collections::{BTreeSet, HashMap, HashSet};

use async_trait::async_trait;

use super::apply::{self, Advance};
use super::leases::Leases;
use super::outgoing::{NewMessage, Outgoing};
use super::tokens::{self, TokenFault};
use super::writer::Writer;
use crate::domain::{Event, EventId, Next, Payment, PaymentId, Refusal, Timestamp, Trigger, next};
use crate::store::batch::Batch;
use crate::store::quarantine::{Quarantined, SetAside, payment_of};
use crate::store::rows::{CardToken, OutboxRow, StoredPayment, TokenId};
use crate::store::{StoreError, Transaction};

/// The result of moving a payment.
#[derive(Debug, Clone, PartialEq)]
pub enum Advanced {
    /// It moved.
    Moved(Payment),
    /// The domain refused; the payment is unchanged.
    Refused(Refusal, Payment),
    /// The card was sealed for an attempt that is not the next one.
    AnotherAttempt(Payment),
    /// This client has no such payment.
    NotFound,
    /// The card token cannot be used.
    TokenRefused(TokenFault),
    /// The payment is set aside; it did not move.
    Quarantined(Quarantined),
}

pub(super) struct AdvancePayments(pub Writer);

/// One running batch: the data for its decisions, and its writes.
pub(super) struct Moving<'t> {
    pub tokens: &'t [CardToken],
    pub now: Timestamp,
    pub leases: Leases,
    pub writes: Writes,
}

/// The writes of a batch.
#[derive(Default)]
pub(super) struct Writes {
    /// In the order in which rows are locked.
    moved: BTreeSet<PaymentId>,
    events: Vec<Event>,
    outbox: Vec<OutboxRow>,
    /// The messages that are due now, to be handed over.
    due: Vec<Outgoing>,
    token_uses: Vec<(TokenId, PaymentId)>,
}

#[async_trait]
impl Batch for AdvancePayments {
    const NAME: &'static str = "advance";
    type Item = Advance;
    type Outcome = Advanced;

    async fn run(&self, items: &[Advance]) -> Result<Vec<Advanced>, StoreError> {
        let Writer {
            database,
            leases,
            hand_over,
        } = &self.0;
        let mut tx = database.begin().await?;
        let now = tx.now();
        let ids: Vec<PaymentId> = sorted(items.iter().map(|item| item.payment));
        let mut rows: HashMap<PaymentId, StoredPayment> = tx
            .lock_payments(&ids)
            .await?
            .into_iter()
            .map(|row| (row.payment.id, row))
            .collect();
        let left_out = tx.left_out();
        let tokens = locked_tokens(&mut tx, items).await?;
        // A token that cannot be read counts as unknown: its client can create another.
        tx.left_out().iter().for_each(SetAside::report);
        let done = events_of_refused(&mut tx, items, &rows).await?;
        let mut moving = Moving {
            tokens: &tokens,
            now,
            leases: *leases,
            writes: Writes::default(),
        };
        let outcomes = items
            .iter()
            .map(|item| match rows.get_mut(&item.payment) {
                Some(row) if done.contains(&item.ids.events[0]) => {
                    // An earlier run of this batch was committed after all.
                    Advanced::Moved(row.payment.clone())
                }
                Some(row) => moving.advance(row, item),
                None => payment_of(&left_out, item.payment)
                    .map_or(Advanced::NotFound, Advanced::Quarantined),
            })
            .collect();
        let mut writes = moving.writes;
        if !writes.moved.is_empty() || !left_out.is_empty() {
            let moved = writes.moved.iter();
            let moved = moved.filter_map(|id| rows.remove(id)).collect();
            let due = std::mem::take(&mut writes.due);
            tx.quarantine(&left_out).await?;
            write(tx, moved, writes).await?;
            hand_over.messages(due);
        }
        left_out.iter().for_each(SetAside::report);
        Ok(outcomes)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

fn sorted<T: Ord>(ids: impl Iterator<Item = T>) -> Vec<T> {
    let mut ids: Vec<T> = ids.collect();
    ids.sort_unstable();
    ids.dedup();
    ids
}

/// The items' events that are already in a history; queried only if an item would be refused.
async fn events_of_refused(
    tx: &mut Transaction,
    items: &[Advance],
    rows: &HashMap<PaymentId, StoredPayment>,
) -> Result<HashSet<EventId>, StoreError> {
    let refused: Vec<(PaymentId, EventId)> = items
        .iter()
        .filter(|item| {
            rows.get(&item.payment)
                .is_some_and(|row| next(row.progress(), &item.trigger).is_err())
        })
        .map(|item| (item.payment, item.ids.events[0]))
        .collect();
    if refused.is_empty() {
        return Ok(HashSet::new());
    }
    Ok(tx.existing_events(&refused).await?.into_iter().collect())
}

async fn locked_tokens(
    tx: &mut Transaction,
    items: &[Advance],
) -> Result<Vec<CardToken>, StoreError> {
    let wanted = sorted(items.iter().filter_map(|item| item.token.clone()));
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    tx.lock_tokens(&wanted).await
}

impl Moving<'_> {
    /// Moves a payment in memory, and adds the writes.
    pub(super) fn advance(&mut self, row: &mut StoredPayment, item: &Advance) -> Advanced {
        let writes = &mut self.writes;
        if item
            .client
            .as_ref()
            .is_some_and(|client| *client != row.payment.client)
        {
            return Advanced::NotFound;
        }
        let trigger = by_the_time(row, &item.trigger, self.now);
        let moved = match next(row.progress(), &trigger) {
            Err(refusal) => return Advanced::Refused(refusal, row.payment.clone()),
            Ok(moved) => moved,
        };
        let of_the_card = match &moved {
            Next::Attempt(progress) | Next::FellBack { progress, .. } => Some(progress.attempt),
            Next::Closing(progress) => Some(progress.attempt + 1),
            _ => None,
        };
        if let (Some(expected), Some((_, attempt))) = (of_the_card, &item.card)
            && expected != *attempt
        {
            return Advanced::AnotherAttempt(row.payment.clone());
        }
        if let Some(token) = &item.token {
            let taken = writes.token_uses.iter().any(|(used, _)| used == token);
            let taken = taken.then_some(TokenFault::Unusable);
            let found = self.tokens.iter().find(|row| row.id == *token);
            let fault = tokens::fault(found, &row.payment.client, self.now);
            if let Some(fault) = fault.or(taken) {
                return Advanced::TokenRefused(fault);
            }
            writes.token_uses.push((token.clone(), row.payment.id));
        }
        let applied = apply::apply(row, item, moved, self.now, self.leases);
        writes.moved.insert(row.payment.id);
        writes.events.extend(applied.event);
        let all = applied.messages.iter().chain(&applied.later);
        writes.outbox.extend(all.map(|message| message.row.clone()));
        let due = applied.messages.into_iter().map(NewMessage::outgoing);
        writes.due.extend(due);
        Advanced::Moved(row.payment.clone())
    }
}

/// The trigger, with what the database's clock says about it.
fn by_the_time<'t>(row: &StoredPayment, trigger: &'t Trigger, now: Timestamp) -> Cow<'t, Trigger> {
    let Trigger::ActionAnswered { asked, answer, .. } = trigger else {
        return Cow::Borrowed(trigger);
    };
    let action = row.payment.action.as_ref();
    Cow::Owned(Trigger::ActionAnswered {
        asked: *asked,
        answer: answer.clone(),
        expired: action.is_none_or(|action| action.expires_at <= now),
    })
}

async fn write(
    mut tx: Transaction,
    moved: Vec<StoredPayment>,
    writes: Writes,
) -> Result<(), StoreError> {
    if !moved.is_empty() {
        // An action may end with another payment method than the one that was presented last.
        let is_ordinary_end =
            |row: &StoredPayment| !row.payment.status.has_a_try() && row.payment.action.is_none();
        let (ended, others): (Vec<_>, Vec<_>) = moved.into_iter().partition(is_ordinary_end);
        tx.update_payments(&others).await?;
        tx.end_payments(&ended).await?;
        if !writes.events.is_empty() {
            tx.insert_events(&writes.events).await?;
        }
    }
    if !writes.outbox.is_empty() {
        tx.insert_outbox(&writes.outbox).await?;
    }
    if !writes.token_uses.is_empty() {
        tx.use_tokens(&writes.token_uses).await?;
    }
    tx.commit().await
}
