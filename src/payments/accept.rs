//! Accepting payments: payment, history and outbox row in one transaction; an idempotency key creates only one payment.

use std::collections::{HashMap, HashSet};

use async_trait::async_trait;

use super::draft::{Draft, NewPayment};
use super::outgoing::NewMessage;
use super::tokens::{self, TokenFault};
use super::writer::Writer;
use crate::domain::{ClientName, Payment, PaymentId, Timestamp};
use crate::store::batch::Batch;
use crate::store::quarantine::SetAside;
use crate::store::rows::{CardToken, OutboxRow, StoredPayment, TokenId};
use crate::store::{StoreError, Transaction};

/// The result for one payment request.
#[derive(Debug, Clone, PartialEq)]
pub enum AcceptOutcome {
    /// The payment was written.
    Accepted(Box<Payment>),
    /// The key was used before; this is its payment.
    Existing(Box<StoredPayment>),
    /// The card token cannot be used; nothing was written.
    TokenRefused(TokenFault),
    /// The key was used for a capture, cancellation or refund; nothing was written.
    KeyOfOperation,
}

pub(super) struct AcceptPayments(pub Writer);

type Keys = HashMap<(ClientName, String), StoredPayment>;

#[async_trait]
impl Batch for AcceptPayments {
    const NAME: &'static str = "accept";
    type Item = NewPayment;
    type Outcome = AcceptOutcome;

    async fn run(&self, items: &[NewPayment]) -> Result<Vec<AcceptOutcome>, StoreError> {
        let mut of_operations = HashSet::new();
        loop {
            match self.write(items, &of_operations).await? {
                Attempted::Done(outcomes) => return Ok(outcomes),
                Attempted::KeysOfOperations(keys) => of_operations.extend(keys),
            }
        }
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

/// The result of writing a batch once.
enum Attempted {
    Done(Vec<AcceptOutcome>),
    /// Nothing was written, because these keys turned out to belong to captures, cancellations or refunds.
    KeysOfOperations(Vec<(ClientName, String)>),
}

impl AcceptPayments {
    /// Writes the items in one transaction, except those whose keys are known to belong to operations.
    async fn write(
        &self,
        items: &[NewPayment],
        of_operations: &HashSet<(ClientName, String)>,
    ) -> Result<Attempted, StoreError> {
        let Writer {
            database,
            leases,
            hand_over,
        } = &self.0;
        let mut tx = database.begin().await?;
        let now = tx.now();
        let draft = |item: &NewPayment| Draft::of(item, now, *leases);
        let known = read_keys(&mut tx, items.iter()).await?;
        let tokens = lock_tokens(&mut tx, items, &known).await?;
        let mut entries = Entries::new(&known, &tokens, of_operations, now);
        let candidates: Vec<Draft> = items
            .iter()
            .filter(|item| entries.admit(item))
            .map(draft)
            .collect();
        let refused = entries.refused;
        let mut written = Written::default();
        if !candidates.is_empty() {
            written = insert(&mut tx, candidates).await?;
        }
        let undecided = items.iter().filter_map(key);
        let undecided =
            undecided.filter(|key| !known.contains_key(key) && !of_operations.contains(key));
        let found = keys_of_operations(&mut tx, undecided.collect()).await?;
        if !found.is_empty() {
            return Ok(Attempted::KeysOfOperations(found));
        }
        // After the inserts every key has its payment, written by this batch or by another process. If an item was not
        // inserted, its key is looked up first, whatever the reason was.
        let losers = items
            .iter()
            .filter(|item| !written.payments.contains_key(&item.id));
        let winners = read_keys(&mut tx, losers).await?;
        if !written.payments.is_empty() {
            tx.commit().await?;
        }
        // Rows of an earlier run of this batch that was committed after all have not been handed over yet.
        let earlier = items.iter().filter(|item| is_own(item, &winners));
        let earlier = earlier.flat_map(|item| draft(item).messages);
        let messages = earlier.chain(written.messages);
        hand_over.messages(messages.map(NewMessage::outgoing));
        let outcomes = items
            .iter()
            .map(|item| match written.payments.remove(&item.id) {
                Some(payment) => AcceptOutcome::Accepted(Box::new(payment)),
                None if key(item).is_some_and(|key| of_operations.contains(&key)) => {
                    AcceptOutcome::KeyOfOperation
                }
                None => not_written(item, &winners, &refused),
            })
            .collect();
        Ok(Attempted::Done(outcomes))
    }
}

fn key(item: &NewPayment) -> Option<(ClientName, String)> {
    item.idempotency
        .as_ref()
        .map(|idempotency| (item.client.clone(), idempotency.key.clone()))
}

/// Whether the item itself owns its key: then an earlier run of its batch was committed after all.
fn is_own(item: &NewPayment, winners: &Keys) -> bool {
    let winner = key(item).and_then(|key| winners.get(&key));
    winner.is_some_and(|winner| winner.payment.id == item.id)
}

fn not_written(
    item: &NewPayment,
    winners: &Keys,
    refused: &HashMap<PaymentId, TokenFault>,
) -> AcceptOutcome {
    match key(item).and_then(|key| winners.get(&key)) {
        Some(winner) if winner.payment.id == item.id => {
            AcceptOutcome::Accepted(Box::new(winner.payment.clone()))
        }
        Some(winner) => AcceptOutcome::Existing(Box::new(winner.clone())),
        None => {
            let fault = refused.get(&item.id).copied();
            AcceptOutcome::TokenRefused(fault.unwrap_or(TokenFault::Unusable))
        }
    }
}

async fn read_keys(
    tx: &mut Transaction,
    items: impl Iterator<Item = &NewPayment>,
) -> Result<Keys, StoreError> {
    let keys: Vec<_> = items.filter_map(key).collect();
    if keys.is_empty() {
        return Ok(Keys::new());
    }
    let found = tx.payments_by_key(&keys).await?;
    // The batch finds the item that causes this by running in halves.
    if let Some(payment) = tx.left_out().iter().find_map(SetAside::payment) {
        return Err(payment.into());
    }
    let by_key = found.into_iter().filter_map(|stored| {
        let key = stored.idempotency.as_ref()?.key.clone();
        Some(((stored.payment.client.clone(), key), stored))
    });
    Ok(by_key.collect())
}

/// Those of the keys that belong to captures, cancellations and refunds: one key is good for one request.
///
/// Both sides insert their own row first and then read the other table, waiting for whoever is inserting under the same key
/// there. So of a payment and an operation at the same moment, at most one is committed.
async fn keys_of_operations(
    tx: &mut Transaction,
    keys: Vec<(ClientName, String)>,
) -> Result<Vec<(ClientName, String)>, StoreError> {
    if keys.is_empty() {
        return Ok(Vec::new());
    }
    tx.operation_keys(&keys).await
}

/// Locks the tokens of the payments whose key is not known yet.
async fn lock_tokens(
    tx: &mut Transaction,
    items: &[NewPayment],
    known: &Keys,
) -> Result<Vec<CardToken>, StoreError> {
    let wanted: Vec<TokenId> = items
        .iter()
        .filter(|item| key(item).is_none_or(|key| !known.contains_key(&key)))
        .filter_map(|item| item.token.clone())
        .collect();
    if wanted.is_empty() {
        return Ok(Vec::new());
    }
    let locked = tx.lock_tokens(&wanted).await?;
    // A token that cannot be read counts as unknown: its client can create another.
    tx.left_out().iter().for_each(SetAside::report);
    Ok(locked)
}

/// Which items of a batch are inserted. Of items that share a key or a token, the first possible one is.
struct Entries<'b> {
    known: &'b Keys,
    tokens: &'b [CardToken],
    now: Timestamp,
    keys: HashSet<(ClientName, String)>,
    taken: HashSet<TokenId>,
    /// Keys that belong to captures, cancellations and refunds.
    of_operations: &'b HashSet<(ClientName, String)>,
    /// The payments whose card token cannot be used, and why.
    refused: HashMap<PaymentId, TokenFault>,
}

impl<'b> Entries<'b> {
    fn new(
        known: &'b Keys,
        tokens: &'b [CardToken],
        of_operations: &'b HashSet<(ClientName, String)>,
        now: Timestamp,
    ) -> Self {
        Self {
            known,
            tokens,
            now,
            keys: HashSet::new(),
            taken: HashSet::new(),
            of_operations,
            refused: HashMap::new(),
        }
    }

    /// A duplicate uses no token: its key has a payment, or an earlier item of the batch creates it.
    fn admit(&mut self, item: &NewPayment) -> bool {
        let key = key(item);
        if key.as_ref().is_some_and(|key| {
            self.known.contains_key(key)
                || self.keys.contains(key)
                || self.of_operations.contains(key)
        }) {
            return false;
        }
        if let Some(fault) = self.fault(item) {
            self.refused.insert(item.id, fault);
            return false;
        }
        self.keys.extend(key);
        self.taken.extend(item.token.clone());
        true
    }

    fn fault(&self, item: &NewPayment) -> Option<TokenFault> {
        let token = item.token.as_ref()?;
        if self.taken.contains(token) {
            return Some(TokenFault::Unusable);
        }
        match self.tokens.iter().find(|row| row.id == *token) {
            // An earlier run of this batch was committed after all.
            Some(row) if row.used_by == Some(item.id) => None,
            row => tokens::fault(row, &item.client, self.now),
        }
    }
}

/// What a batch has inserted.
#[derive(Default)]
struct Written {
    payments: HashMap<PaymentId, Payment>,
    messages: Vec<NewMessage>,
}

/// Inserts the payments and, for those that now own their key, their history, outbox rows and tokens.
async fn insert(tx: &mut Transaction, drafts: Vec<Draft>) -> Result<Written, StoreError> {
    let (rows, others): (Vec<StoredPayment>, Vec<_>) = drafts
        .into_iter()
        .map(|draft| (draft.row, (draft.events, draft.messages, draft.token)))
        .unzip();
    tx.insert_payments(&rows).await?;
    let owners = owners_of_keys(tx, &rows).await?;
    let won = |row: &StoredPayment| row.idempotency.is_none() || owners.contains(&row.payment.id);
    let mut written = Written::default();
    let (mut events, mut uses) = (Vec::new(), Vec::new());
    for (row, (its_events, its_messages, token)) in rows.into_iter().zip(others) {
        if won(&row) {
            let id = row.payment.id;
            events.extend(its_events);
            written.messages.extend(its_messages);
            uses.extend(token.map(|token| (token, id)));
            written.payments.insert(id, row.payment);
        }
    }
    tx.insert_events(&events).await?;
    if !written.messages.is_empty() {
        let outbox = written.messages.iter().map(|message| message.row.clone());
        let outbox: Vec<OutboxRow> = outbox.collect();
        tx.insert_outbox(&outbox).await?;
    }
    if !uses.is_empty() {
        tx.use_tokens(&uses).await?;
    }
    Ok(written)
}

/// Which payments own the keys of these rows, now that all of them are written.
async fn owners_of_keys(
    tx: &mut Transaction,
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
