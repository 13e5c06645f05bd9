//! What a check of the environment wants to know of a database.

use super::StoreError;
use super::decode::each;
use super::engine::{Connection, Statements};
use super::records::{PaymentRecord, TokenRecord, Tried};
use super::rows::{CardToken, StoredPayment};
use crate::domain::Timestamp;

/// The server itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// In its own words: `10.11.14-MariaDB-log`, `8.4.3`, `3.50.4`.
    pub version: String,
    /// By its clock.
    pub now: Timestamp,
    /// What it allows all processes together; none where there is one process.
    pub room: Option<Room>,
}

/// What a server allows all its users together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// `max_connections`
    pub connections: i64,
    /// `max_prepared_stmt_count`
    pub prepared_statements: i64,
}

/// What is in store that a configuration has to fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Stock {
    /// The first payment id that no process has reserved; none before the first one.
    pub next_id: Option<i64>,
    /// Some of the payments with a sealed card, those that wait longest first.
    pub payments: Vec<StoredPayment>,
    /// Some of the card tokens with a sealed card, those that expire soonest first.
    pub tokens: Vec<CardToken>,
    /// Rows that are set aside.
    pub quarantined: QuarantinedRows,
}

/// How many rows are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantinedRows {
    /// Of the payments that are processing; `check --payments` finds the others, too.
    pub payments: i64,
    /// Of the outbox.
    pub outbox: i64,
}

/// () → payments that are processing, outbox rows
const QUARANTINED: &str = "
SELECT (SELECT COUNT(*) FROM payments WHERE check_at IS NOT NULL AND quarantined IS NOT NULL),
    (SELECT COUNT(*) FROM outbox WHERE lane = 'aside')";

/// () → first id that is not reserved
const NEXT_ID: &str = "SELECT next_id FROM id_blocks WHERE id = 1";

/// (limit) → payments
const SEALED_PAYMENTS: &str = "
SELECT * FROM payments WHERE check_at IS NOT NULL AND sealed_card IS NOT NULL ORDER BY check_at LIMIT ?";

/// (limit) → tokens
const SEALED_TOKENS: &str = "
SELECT * FROM card_tokens WHERE erase_at IS NOT NULL AND sealed_card IS NOT NULL ORDER BY erase_at LIMIT ?";

pub(super) async fn server<C: Connection>(
    connection: &mut C,
    statements: &Statements,
) -> Result<Server, StoreError> {
    let versions: Vec<(String,)> = connection.fetch(statements.version, &[]).await?;
    let rooms: Vec<(i64, i64)> = match statements.room {
        Some(room) => connection.fetch(room, &[]).await?,
        None => Vec::new(),
    };
    let room = |&(connections, prepared_statements): &(i64, i64)| Room {
        connections,
        prepared_statements,
    };
    Ok(Server {
        version: versions.into_iter().next().unwrap_or_default().0,
        now: connection.now().await?,
        room: rooms.first().map(room),
    })
}

pub(super) async fn stock<C: Connection>(
    connection: &mut C,
    sample: u32,
) -> Result<Stock, StoreError> {
    let next_id: Vec<(i64,)> = connection.fetch(NEXT_ID, &[]).await?;
    let sample = [sample.into()];
    let payments: Vec<Tried<PaymentRecord>> = connection.fetch(SEALED_PAYMENTS, &sample).await?;
    let tokens: Vec<Tried<TokenRecord>> = connection.fetch(SEALED_TOKENS, &sample).await?;
    let quarantined: Vec<(i64, i64)> = connection.fetch(QUARANTINED, &[]).await?;
    let quarantined = quarantined
        .first()
        .map(|&(payments, outbox)| QuarantinedRows { payments, outbox });
    // The sample is there to try keys: a row that cannot be read tells nothing of them.
    let mut left_out = Vec::new();
    Ok(Stock {
        next_id: next_id.first().map(|(id,)| *id),
        payments: each(payments, &mut left_out),
        tokens: each(tokens, &mut left_out),
        quarantined: quarantined.unwrap_or_default(),
    })
}
