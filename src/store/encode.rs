//! Which values make a row, in which order: the statements of both databases read them by place, so a change here
//! is a change to the texts in `mysql/statements.rs` and `sqlite/statements.rs`.

use super::StoreError;
use super::cells::{Cell, time_text, to_parameters};
use super::rows::{CardToken, LedgerLine, OutboxId, OutboxRow, StoredPayment, TokenId};
use crate::domain::{ClientName, Event, EventId, PaymentId, Phase, Timestamp};

impl Phase {
    /// As in rows: `authorize`.
    pub(super) fn as_str(self) -> &'static str {
        match self {
            Self::Authorize => "authorize",
            Self::Reverse => "reverse",
        }
    }
}

/// Rows as parameters of a statement, to be run once with each; one, unless there are very many rows.
pub type Rows = Result<Vec<String>, StoreError>;

/// Payments in the order of the columns of table `payments`.
pub fn payments(rows: &[StoredPayment]) -> Rows {
    let rows: Result<Vec<_>, StoreError> = rows.iter().map(payment).collect();
    to_parameters(rows?)
}

fn payment(row: &StoredPayment) -> Result<Vec<Cell<'_>>, StoreError> {
    let payment = &row.payment;
    let card = payment.card.as_ref();
    let key = row.idempotency.as_ref();
    Ok(vec![
        payment.id.0.into(),
        payment.client.as_str().into(),
        payment.order_id.0.into(),
        payment.user_id.0.into(),
        payment.amount.minor().into(),
        payment.amount.currency().code().into(),
        payment.status.as_str().into(),
        payment
            .decline_code
            .as_ref()
            .map(|code| code.as_str())
            .into(),
        payment.authorization_code.as_deref().into(),
        card.map(|card| card.brand.to_string()).into(),
        card.map(|card| card.last4.as_str()).into(),
        card.map(|card| card.expiration.to_string()).into(),
        payment.attempt.into(),
        Cell::json(&payment.metadata)?,
        payment.sequence.into(),
        payment.created_at.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        row.sealed_card
            .as_ref()
            .map(|card| Cell::bytes(&card.0))
            .into(),
        row.claimed_until.into(),
        row.check_at.into(),
        key.map(|key| Cell::bytes(key.key.as_bytes())).into(),
        key.map(|key| Cell::bytes(&key.fingerprint)).into(),
        Cell::json(&row.origin)?,
    ])
}

/// The id of each payment and what of it can change.
pub fn changes(rows: &[StoredPayment]) -> Rows {
    to_parameters(rows.iter().map(change))
}

fn change(row: &StoredPayment) -> Vec<Cell<'_>> {
    let payment = &row.payment;
    let card = payment.card.as_ref();
    vec![
        payment.id.0.into(),
        payment.status.as_str().into(),
        payment
            .decline_code
            .as_ref()
            .map(|code| code.as_str())
            .into(),
        payment.authorization_code.as_deref().into(),
        card.map(|card| card.brand.to_string()).into(),
        card.map(|card| card.last4.as_str()).into(),
        card.map(|card| card.expiration.to_string()).into(),
        payment.attempt.into(),
        payment.sequence.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        row.sealed_card
            .as_ref()
            .map(|card| Cell::bytes(&card.0))
            .into(),
        row.claimed_until.into(),
        row.check_at.into(),
    ]
}

/// Events in the order of the columns of table `payment_events`.
pub fn events(events: &[Event]) -> Rows {
    let row = |event: &'_ Event| -> Vec<Cell<'static>> {
        vec![
            Cell::bytes(event.id.0.as_bytes()),
            event.payment.0.into(),
            event.sequence.into(),
            event.kind.as_str().into(),
            event.at.into(),
            event.attempt.into(),
            event.try_number.into(),
            event.reason.clone().into(),
        ]
    };
    to_parameters(events.iter().map(row))
}

/// Outbox rows in the order of the columns of table `outbox`.
pub fn outbox(rows: &[OutboxRow]) -> Rows {
    let row = |row: &OutboxRow| -> Result<Vec<Cell<'static>>, StoreError> {
        Ok(vec![
            Cell::bytes(row.id.0.as_bytes()),
            row.payment.map(|id| id.0).into(),
            row.due_at.into(),
            Cell::json(&row.publication)?,
            row.publication.exchange.lane().as_str().into(),
        ])
    };
    let rows: Result<Vec<_>, StoreError> = rows.iter().map(row).collect();
    to_parameters(rows?)
}

/// Card tokens in the order of the columns of table `card_tokens`, without `erase_at`, which follows from them.
pub fn tokens(tokens: &[CardToken]) -> Rows {
    let row = |token: &CardToken| -> Vec<Cell<'static>> {
        vec![
            Cell::bytes(token.id.0.as_bytes()),
            token.client.as_str().to_owned().into(),
            token.card.brand.to_string().into(),
            token.card.last4.clone().into(),
            token.card.expiration.to_string().into(),
            token
                .sealed_card
                .as_ref()
                .map(|card| Cell::bytes(&card.0))
                .into(),
            token.expires_at.into(),
            token.used_by.map(|id| id.0).into(),
        ]
    };
    to_parameters(tokens.iter().map(row))
}

/// Ledger lines and the moment of the charge or reversal, by key, so that two writers lock them in the same order.
pub fn ledger(lines: &[LedgerLine], at: Timestamp) -> Rows {
    let at = time_text(at);
    let mut rows: Vec<_> = lines
        .iter()
        .map(|line| (line.key.as_str(), line.payment, line.amount_minor, &at))
        .collect();
    rows.sort_unstable();
    to_parameters(rows)
}

/// Texts as rows of one column, sorted, each once.
pub fn texts(texts: &[String]) -> Rows {
    let mut rows: Vec<_> = texts.iter().map(|text| [text.as_str()]).collect();
    rows.sort_unstable();
    rows.dedup();
    to_parameters(rows)
}

/// Payment ids as rows of one column, sorted, each once: the order in which rows are locked.
pub fn payment_ids(ids: &[PaymentId]) -> Rows {
    let mut rows: Vec<_> = ids.iter().map(|id| [id.0]).collect();
    rows.sort_unstable();
    rows.dedup();
    to_parameters(rows)
}

/// Binary ids as rows of one column, sorted, each once: the order in which rows are locked.
pub fn binary_ids<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Rows {
    let mut rows: Vec<_> = ids.map(|id| [hex::encode(id)]).collect();
    rows.sort_unstable();
    rows.dedup();
    to_parameters(rows)
}

/// Outbox ids, sorted.
pub fn outbox_ids(ids: &[OutboxId]) -> Rows {
    binary_ids(ids.iter().map(|id| id.0.as_bytes().as_slice()))
}

/// Event ids, sorted.
pub fn event_ids(ids: &[EventId]) -> Rows {
    binary_ids(ids.iter().map(|id| id.0.as_bytes().as_slice()))
}

/// Token ids, sorted.
pub fn token_ids(ids: &[TokenId]) -> Rows {
    binary_ids(ids.iter().map(|id| id.0.as_bytes()))
}

/// Tokens with the payments that they serve.
pub fn uses(uses: &[(TokenId, PaymentId)]) -> Rows {
    let mut rows: Vec<_> = uses
        .iter()
        .map(|(token, payment)| (hex::encode(&token.0), payment))
        .collect();
    rows.sort_unstable();
    to_parameters(rows)
}

/// Idempotency keys with their clients.
pub fn keys(keys: &[(ClientName, String)]) -> Rows {
    let mut rows: Vec<_> = keys
        .iter()
        .map(|(client, key)| (client.as_str(), hex::encode(key)))
        .collect();
    rows.sort_unstable();
    rows.dedup();
    to_parameters(rows)
}
