//! The values of each row, and their order: the statements of both databases read them by position, so a change here
//! also needs a change of `mysql/statements.rs` and `sqlite/statements.rs`.

use std::collections::BTreeMap;

use super::StoreError;
use super::cells::{Cell, Row};
use super::rows::{CardToken, LedgerLine, OutboxId, OutboxRow, StoredPayment, TokenId};
use crate::domain::{
    ClientName, DeclineCode, Event, EventId, Payment, PaymentId, PaymentStatus, PendingOutcome,
    Phase, ReturnUrl, Timestamp,
};

impl Phase {
    /// As in rows: `authorize`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Reverse => "reverse",
        }
    }
}

impl PendingOutcome {
    /// As in rows: `{attempt} declined {code}`. The attempt distinguishes the current outcome from one of an earlier attempt
    /// that an older release, which does not know the column, has left there.
    fn of_attempt(&self, attempt: u32) -> String {
        let status = match self {
            Self::Declined { .. } => PaymentStatus::Declined,
            Self::Failed { .. } => PaymentStatus::Failed,
        };
        format!("{attempt} {status} {}", self.code())
    }
}

/// Payments in the order of the columns of table `payments`; `pending_code` of a new one is null.
pub fn payments(rows: &[StoredPayment]) -> Result<Vec<Row<'_>>, StoreError> {
    rows.iter().map(payment).collect()
}

fn payment(row: &StoredPayment) -> Result<Row<'_>, StoreError> {
    let payment = &row.payment;
    let [brand, last4, expiration] = card(payment);
    let key = row.idempotency.as_ref();
    Ok(vec![
        payment.id.0.into(),
        payment.client.as_str().into(),
        payment.order_id.0.into(),
        payment.user_id.0.into(),
        payment.amount.minor().into(),
        payment.amount.currency().code().into(),
        payment.status.as_str().into(),
        decline_code(payment),
        payment.authorization_code.as_deref().into(),
        brand,
        last4,
        expiration,
        payment.attempt.into(),
        Cell::json(&payment.metadata)?,
        payment.sequence.into(),
        payment.created_at.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        sealed_card(row),
        row.claimed_until.into(),
        row.check_at.into(),
        key.map(|key| Cell::bytes(key.key.as_bytes())).into(),
        key.map(|key| Cell::bytes(&key.fingerprint)).into(),
        Cell::json(&row.origin)?,
        payment.return_url.as_ref().map(ReturnUrl::as_str).into(),
    ])
}

/// The columns of payments that can change, after their ids.
pub fn moved_payments<'a>(rows: impl IntoIterator<Item = &'a StoredPayment>) -> Vec<Row<'a>> {
    rows.into_iter().map(moved_payment).collect()
}

/// Payments that ended, grouped by the values that are the same for all that ended alike.
pub fn ended_alike(rows: &[StoredPayment]) -> BTreeMap<Row<'_>, Vec<&StoredPayment>> {
    let mut alike: BTreeMap<Row<'_>, Vec<&StoredPayment>> = BTreeMap::new();
    for row in rows {
        alike.entry(end(row)).or_default().push(row);
    }
    alike
}

/// The columns that change when a payment ends, without its authorization code and without the erased columns.
fn end(row: &StoredPayment) -> Row<'_> {
    let payment = &row.payment;
    vec![
        payment.status.as_str().into(),
        decline_code(payment),
        payment.attempt.into(),
        payment.sequence.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        pending_code(row),
    ]
}

/// Payment ids with authorization codes.
pub fn authorization_codes<'a>(rows: &[&'a StoredPayment]) -> Vec<Row<'a>> {
    let row = |row: &&'a StoredPayment| {
        let payment = &row.payment;
        vec![
            payment.id.0.into(),
            payment.authorization_code.as_deref().into(),
        ]
    };
    rows.iter().map(row).collect()
}

fn moved_payment(row: &StoredPayment) -> Row<'_> {
    let payment = &row.payment;
    let [brand, last4, expiration] = card(payment);
    vec![
        payment.id.0.into(),
        payment.status.as_str().into(),
        decline_code(payment),
        payment.authorization_code.as_deref().into(),
        brand,
        last4,
        expiration,
        payment.attempt.into(),
        payment.sequence.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        sealed_card(row),
        row.claimed_until.into(),
        row.check_at.into(),
        pending_code(row),
    ]
}

fn pending_code(row: &StoredPayment) -> Cell<'_> {
    let pending = row.pending.as_ref();
    pending
        .map(|pending| pending.of_attempt(row.payment.attempt))
        .into()
}

fn decline_code(payment: &Payment) -> Cell<'_> {
    let code = payment.decline_code.as_ref();
    code.map(DeclineCode::as_str).into()
}

fn card(payment: &Payment) -> [Cell<'_>; 3] {
    let card = payment.card.as_ref();
    [
        card.map(|card| card.brand.to_string()).into(),
        card.map(|card| card.last4.as_str()).into(),
        card.map(|card| card.expiration.to_string()).into(),
    ]
}

fn sealed_card(row: &StoredPayment) -> Cell<'_> {
    let sealed = row.sealed_card.as_ref();
    sealed.map(|card| Cell::bytes(&card.0)).into()
}

/// Events in the order of the columns of table `payment_events`.
pub fn events(events: &[Event]) -> Vec<Row<'_>> {
    events.iter().map(event).collect()
}

fn event(event: &Event) -> Row<'_> {
    vec![
        Cell::bytes(event.id.0.as_bytes()),
        event.payment.0.into(),
        event.sequence.into(),
        event.kind.as_str().into(),
        event.at.into(),
        event.attempt.into(),
        event.try_number.into(),
        event.reason.as_deref().into(),
    ]
}

/// Outbox rows in the order of the columns of table `outbox`.
pub fn outbox(rows: &[OutboxRow]) -> Result<Vec<Row<'_>>, StoreError> {
    rows.iter().map(outbox_row).collect()
}

fn outbox_row(row: &OutboxRow) -> Result<Row<'_>, StoreError> {
    Ok(vec![
        Cell::bytes(row.id.0.as_bytes()),
        row.payment.map(|id| id.0).into(),
        row.due_at.into(),
        Cell::json(&row.content)?,
        row.content.lane().into(),
    ])
}

/// Card tokens in the order of the columns of table `card_tokens`, without `erase_at`, which follows from them.
pub fn tokens(tokens: &[CardToken]) -> Vec<Row<'_>> {
    tokens.iter().map(token).collect()
}

fn token(token: &CardToken) -> Row<'_> {
    vec![
        Cell::bytes(token.id.0.as_bytes()),
        token.client.as_str().into(),
        token.card.brand.to_string().into(),
        token.card.last4.as_str().into(),
        token.card.expiration.to_string().into(),
        token
            .sealed_card
            .as_ref()
            .map(|card| Cell::bytes(&card.0))
            .into(),
        token.expires_at.into(),
        token.used_by.map(|id| id.0).into(),
    ]
}

/// Ledger lines and the time of the charge or reversal, by key, so that two writers lock them in the same order.
pub fn ledger(lines: &[LedgerLine], at: Timestamp) -> Vec<Row<'_>> {
    let row = |line| ledger_line(line, at);
    let mut rows: Vec<_> = lines.iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn ledger_line(line: &LedgerLine, at: Timestamp) -> Row<'_> {
    vec![
        line.key.as_str().into(),
        line.payment.0.into(),
        line.amount.minor().into(),
        at.into(),
        line.amount.currency().code().into(),
    ]
}

/// Rows of keys, sorted, each once: the order in which rows are locked.
fn sorted<'a>(keys: impl Iterator<Item = Row<'a>>) -> Vec<Row<'a>> {
    let mut rows: Vec<_> = keys.collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Texts as rows of one column, sorted.
pub fn texts(texts: &[String]) -> Vec<Row<'_>> {
    sorted(texts.iter().map(|text| vec![text.as_str().into()]))
}

/// Payment ids as rows of one column, sorted.
pub fn payment_ids(ids: &[PaymentId]) -> Vec<Row<'static>> {
    sorted(ids.iter().map(|id| vec![id.0.into()]))
}

/// Binary ids as rows of one column, sorted.
pub fn binary_ids<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Vec<Row<'a>> {
    sorted(ids.map(|id| vec![Cell::bytes(id)]))
}

/// Outbox ids, sorted.
pub fn outbox_ids(ids: &[OutboxId]) -> Vec<Row<'_>> {
    binary_ids(ids.iter().map(|id| id.0.as_bytes().as_slice()))
}

/// Event ids with the payments that they are about, sorted.
pub fn event_ids(events: &[(PaymentId, EventId)]) -> Vec<Row<'_>> {
    let rows = events.iter();
    sorted(rows.map(|(payment, id)| vec![payment.0.into(), Cell::bytes(id.0.as_bytes())]))
}

/// Numbers of events in the histories of payments, sorted.
pub fn event_numbers(events: &[(PaymentId, u32)]) -> Vec<Row<'static>> {
    let rows = events.iter();
    sorted(rows.map(|(payment, sequence)| vec![payment.0.into(), (*sequence).into()]))
}

/// Token ids, sorted.
pub fn token_ids(ids: &[TokenId]) -> Vec<Row<'_>> {
    binary_ids(ids.iter().map(|id| id.0.as_bytes()))
}

/// Tokens with the payments that they serve, sorted.
pub fn uses(uses: &[(TokenId, PaymentId)]) -> Vec<Row<'_>> {
    let rows = uses.iter();
    sorted(rows.map(|(token, payment)| vec![Cell::bytes(token.0.as_bytes()), payment.0.into()]))
}

/// Idempotency keys with their clients, sorted.
pub fn keys(keys: &[(ClientName, String)]) -> Vec<Row<'_>> {
    let rows = keys.iter();
    sorted(rows.map(|(client, key)| vec![client.as_str().into(), Cell::bytes(key.as_bytes())]))
}
