//! Accepting payments: payment, history and outbox row in one transaction; an idempotency key makes one payment.

use std::collections::{HashMap, HashSet};
use std::sync::Arc;

use async_trait::async_trait;

use super::draft::Draft;
use super::tokens::{self, TokenFault};
use super::{Leases, PresentedCard, RowIds};
use crate::domain::{
    ClientName, Metadata, Money, OrderId, Payment, PaymentId, ReturnUrl, Timestamp, UserId,
};
use crate::store::batch::Batch;
use crate::store::rows::{Idempotency, Origin, OutboxRow, StoredPayment, TokenId};
use crate::store::{Database, StoreError, Transaction};

/// A payment that is about to be accepted.
#[derive(Debug, Clone)]
pub struct NewPayment {
    /// From [`super::Commands::next_payment_id`].
    pub id: PaymentId,
    /// Whose.
    pub client: ClientName,
    /// The client's order.
    pub order_id: OrderId,
    /// The client's shopper.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// The client's own texts.
    pub metadata: Metadata,
    /// Where the payment page sends the shopper back to.
    pub return_url: Option<ReturnUrl>,
    /// The first attempt's card, sealed for this payment and attempt 1.
    pub card: Option<PresentedCard>,
    /// The card token that the card came from, to be used up.
    pub token: Option<TokenId>,
    /// Under which key it is asked for.
    pub idempotency: Option<Idempotency>,
    /// Where its results go besides the topic.
    pub origin: Origin,
    /// Whether accepting it without a card is published (`requires_payment_method`).
    pub announce: bool,
    /// Ids of the rows to write.
    pub ids: RowIds,
}

/// What became of it.
#[derive(Debug, Clone, PartialEq)]
pub enum AcceptOutcome {
    /// Written, with the outbox rows to publish now.
    Accepted(Box<Payment>, Vec<OutboxRow>),
    /// The key was used before; this is the payment that it made.
    Existing(Box<StoredPayment>),
    /// Its card token cannot be used; nothing was written.
    TokenRefused(TokenFault),
}

pub(super) struct AcceptPayments {
    pub database: Arc<dyn Database>,
    pub leases: Leases,
}

type Keys = HashMap<(ClientName, String), StoredPayment>;

#[async_trait]
impl Batch for AcceptPayments {
    const NAME: &'static str = "accept";
    type Item = NewPayment;
    type Outcome = AcceptOutcome;

    async fn run(&self, items: &[NewPayment]) -> Result<Vec<AcceptOutcome>, StoreError> {
        let mut tx = self.database.begin().await?;
        let now = tx.now();
        let known = read_keys(tx.as_mut(), items.iter()).await?;
        let refused = refused_tokens(tx.as_mut(), items, &known, now).await?;
        let first_of_key = first_items_by_key(items, &refused);
        let candidates: Vec<Draft> = items
            .iter()
            .filter(|item| !refused.contains_key(&item.id))
            .filter(|item| key(item).is_none_or(|key| !known.contains_key(&key)))
            .filter(|item| key(item).is_none_or(|key| first_of_key.get(&key) == Some(&item.id)))
            .map(|item| Draft::of(item, now, self.leases))
            .collect();
        let mut written = HashMap::new();
        if !candidates.is_empty() {
            written = insert(tx.as_mut(), candidates).await?;
        }
        // After the inserts every key has its payment: a winner here, in this batch or in another process.
        let winners = read_keys(
            tx.as_mut(),
            items.iter().filter(|i| !written.contains_key(&i.id)),
        )
        .await?;
        if !written.is_empty() {
            tx.commit().await?;
        }
        Ok(items
            .iter()
            .map(|item| {
                let fault = refused.get(&item.id);
                outcome(item, fault, &mut written, &winners)
            })
            .collect())
    }
}

fn key(item: &NewPayment) -> Option<(ClientName, String)> {
    item.idempotency
        .as_ref()
        .map(|idempotency| (item.client.clone(), idempotency.key.clone()))
}

fn outcome(
    item: &NewPayment,
    fault: Option<&TokenFault>,
    written: &mut HashMap<PaymentId, (Payment, Vec<OutboxRow>)>,
    winners: &Keys,
) -> AcceptOutcome {
    if let Some((payment, outbox)) = written.remove(&item.id) {
        return AcceptOutcome::Accepted(Box::new(payment), outbox);
    }
    match key(item).and_then(|key| winners.get(&key)) {
        // An earlier run of this very batch was committed after all.
        Some(winner) if winner.payment.id == item.id => {
            AcceptOutcome::Accepted(Box::new(winner.payment.clone()), Vec::new())
        }
        Some(winner) => AcceptOutcome::Existing(Box::new(winner.clone())),
        None => AcceptOutcome::TokenRefused(*fault.unwrap_or(&TokenFault::Unusable)),
    }
}

async fn read_keys(
    tx: &mut dyn Transaction,
    items: impl Iterator<Item = &NewPayment>,
) -> Result<Keys, StoreError> {
    let keys: Vec<_> = items.filter_map(key).collect();
    if keys.is_empty() {
        return Ok(Keys::new());
    }
    let found = tx.payments_by_key(&keys).await?;
    let by_key = found.into_iter().filter_map(|stored| {
        let key = stored.idempotency.as_ref()?.key.clone();
        Some(((stored.payment.client.clone(), key), stored))
    });
    Ok(by_key.collect())
}

/// Payments whose card token cannot be used, and why. Locks the tokens.
async fn refused_tokens(
    tx: &mut dyn Transaction,
    items: &[NewPayment],
    known: &Keys,
    now: Timestamp,
) -> Result<HashMap<PaymentId, TokenFault>, StoreError> {
    let wanted: Vec<(&NewPayment, &TokenId)> = items
        .iter()
        .filter(|item| key(item).is_none_or(|key| !known.contains_key(&key)))
        .filter_map(|item| Some((item, item.token.as_ref()?)))
        .collect();
    if wanted.is_empty() {
        return Ok(HashMap::new());
    }
    let ids: Vec<TokenId> = wanted.iter().map(|(_, token)| (*token).clone()).collect();
    let locked = tx.lock_tokens(&ids).await?;
    let mut taken: HashMap<&TokenId, PaymentId> = HashMap::new();
    let mut refused = HashMap::new();
    for (item, token) in wanted {
        let row = locked.iter().find(|row| row.id == *token);
        let fault = match row {
            // An earlier run of this very batch was committed after all.
            Some(row) if row.used_by == Some(item.id) => None,
            row => tokens::fault(row, &item.client, now),
        };
        let holder = *taken.entry(token).or_insert(item.id);
        let taken = (holder != item.id).then_some(TokenFault::Unusable);
        if let Some(fault) = fault.or(taken) {
            refused.insert(item.id, fault);
        }
    }
    Ok(refused)
}

fn first_items_by_key(
    items: &[NewPayment],
    refused: &HashMap<PaymentId, TokenFault>,
) -> HashMap<(ClientName, String), PaymentId> {
    let mut first = HashMap::new();
    for item in items.iter().filter(|item| !refused.contains_key(&item.id)) {
        if let Some(key) = key(item) {
            first.entry(key).or_insert(item.id);
        }
    }
    first
}

/// Inserts the payments and, for those that won their key, everything that goes with them.
async fn insert(
    tx: &mut dyn Transaction,
    drafts: Vec<Draft>,
) -> Result<HashMap<PaymentId, (Payment, Vec<OutboxRow>)>, StoreError> {
    let (rows, others): (Vec<StoredPayment>, Vec<_>) = drafts
        .into_iter()
        .map(|draft| (draft.row, (draft.events, draft.outbox, draft.token)))
        .unzip();
    tx.insert_payments(&rows).await?;
    let owners = owners_of_keys(tx, &rows).await?;
    let won = |row: &StoredPayment| row.idempotency.is_none() || owners.contains(&row.payment.id);
    let mut written = HashMap::new();
    let (mut events, mut outbox, mut uses) = (Vec::new(), Vec::new(), Vec::new());
    for (row, (its_events, its_outbox, token)) in rows.into_iter().zip(others) {
        if won(&row) {
            let id = row.payment.id;
            events.extend(its_events);
            outbox.extend(its_outbox);
            uses.extend(token.map(|token| (token, id)));
            written.insert(id, (row.payment, Vec::new()));
        }
    }
    tx.insert_events(&events).await?;
    if !outbox.is_empty() {
        tx.insert_outbox(&outbox).await?;
    }
    if !uses.is_empty() {
        tx.use_tokens(&uses).await?;
    }
    for row in outbox {
        if let Some((_, its_outbox)) = row.payment.and_then(|id| written.get_mut(&id)) {
            its_outbox.push(row);
        }
    }
    Ok(written)
}

/// Which payments the keys of these rows belong to, now that all of them are written.
async fn owners_of_keys(
    tx: &mut dyn Transaction,
    rows: &[StoredPayment],
) -> Result<HashSet<PaymentId>, StoreError> {
    let key = |row: &StoredPayment| {
        let key = row.idempotency.as_ref()?.key.clone();
        Some((row.payment.client.clone(), key))
    };
    let keys: Vec<_> = rows.iter().filter_map(key).collect();
    if keys.is_empty() {
        return Ok(HashSet::new());
    }
    Ok(tx.payment_ids_by_key(&keys).await?.into_iter().collect())
}
