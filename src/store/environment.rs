//! Facts about a database for a check of the environment.

use super::bulk::Both;
use super::engine::Connection;
use super::records::{Tried, each};
use super::rows::{CardToken, StoredPayment};
use super::tables::card_tokens::TokenRecord;
use super::tables::payments::PaymentRecord;
use super::{Store, StoreError};
use crate::domain::Timestamp;

/// The database server.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Server {
    /// Its version string: `10.11.14-MariaDB-log`, `8.4.3`, `3.50.4`.
    pub version: String,
    /// The time by its clock.
    pub now: Timestamp,
    /// Its limits for all processes together; none if only one process can use it.
    pub room: Option<Room>,
}

/// Limits of a server for all its users together.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Room {
    /// `max_connections`
    pub connections: i64,
    /// `max_prepared_stmt_count`
    pub prepared_statements: i64,
}

/// Stored data that the configuration must fit.
#[derive(Debug, Clone, PartialEq)]
pub struct Stock {
    /// The first payment id that no process has reserved; none if no id was ever reserved.
    pub next_id: Option<i64>,
    /// A sample of the payments with a sealed card, the longest waiting first.
    pub payments: Vec<StoredPayment>,
    /// A sample of the card tokens with a sealed card, the earliest expiry first.
    pub tokens: Vec<CardToken>,
    /// Rows that are set aside.
    pub quarantined: QuarantinedRows,
}

/// How many rows are set aside.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct QuarantinedRows {
    /// Quarantined payments that are processing; `check --payments` finds the others, too.
    pub payments: i64,
    /// Quarantined outbox rows.
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

/// () → the server's version
static VERSION: Both<&str> = Both {
    mysql: "SELECT VERSION()",
    sqlite: "SELECT sqlite_version()",
};

/// () → maximum connections and prepared statements of the server
static ROOM: Both<Option<&str>> = Both {
    mysql: Some(
        "SELECT CAST(@@max_connections AS SIGNED), CAST(@@max_prepared_stmt_count AS SIGNED)",
    ),
    sqlite: None,
};

impl Store {
    /// The server's version and clock.
    pub async fn server(&self) -> Result<Server, StoreError> {
        server(&mut self.0.engine.reader().await?).await
    }

    /// The stored data that the configuration must fit, with at most `sample` rows of each kind.
    pub async fn stock(&self, sample: u32) -> Result<Stock, StoreError> {
        stock(&mut self.0.engine.reader().await?, sample).await
    }
}

async fn server(connection: &mut Connection) -> Result<Server, StoreError> {
    let version = *connection.choose(&VERSION);
    let versions: Vec<(String,)> = connection.fetch(version, &[]).await?;
    let rooms: Vec<(i64, i64)> = match *connection.choose(&ROOM) {
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

async fn stock(connection: &mut Connection, sample: u32) -> Result<Stock, StoreError> {
    let next_id: Vec<(i64,)> = connection.fetch(NEXT_ID, &[]).await?;
    let sample = [sample.into()];
    let payments: Vec<Tried<PaymentRecord>> = connection.fetch(SEALED_PAYMENTS, &sample).await?;
    let tokens: Vec<Tried<TokenRecord>> = connection.fetch(SEALED_TOKENS, &sample).await?;
    let quarantined: Vec<(i64, i64)> = connection.fetch(QUARANTINED, &[]).await?;
    let quarantined = quarantined
        .first()
        .map(|&(payments, outbox)| QuarantinedRows { payments, outbox });
    // The sample is used to test keys: a row that cannot be read says nothing about them.
    let mut left_out = Vec::new();
    Ok(Stock {
        next_id: next_id.first().map(|(id,)| *id),
        payments: each(payments, &mut left_out),
        tokens: each(tokens, &mut left_out),
        quarantined: quarantined.unwrap_or_default(),
    })
}
