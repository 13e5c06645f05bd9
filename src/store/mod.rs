//! Storage of payments, their history, the outbox and card tokens.
//!
//! [`Database`] is the interface between this service and a database, with two implementations that pass one contract
//! suite: [`mysql`] (MySQL and MariaDB) and [`sqlite`] (embedded). It knows rows and transactions, but not the rules of
//! payments. [`batch`] groups writes into multi-row transactions; [`queries`] read.

pub mod audit;
pub mod batch;
mod cells;
mod clock_setback;
mod columns;
mod database;
mod decode;
mod encode;
mod engine;
pub mod environment;
pub mod ids;
mod many;
mod migrations;
pub mod mysql;
pub mod probe;
pub mod quarantine;
pub mod queries;
mod records;
pub mod rows;
pub mod sqlite;
mod statements;
mod transaction;

use std::sync::Arc;

use async_trait::async_trait;

use crate::broker::Lane;
use crate::domain::{ClientName, Event, EventId, PaymentId, Timestamp};
use audit::{Audit, Bounds};
use environment::{Server, Stock};
use quarantine::{Quarantined, SetAside};
use rows::{
    CardToken, Horizons, LedgerEntry, LedgerLine, OutboxId, OutboxRow, PaymentFilter,
    StoredPayment, TokenId,
};

/// Why an operation of the store failed.
#[derive(Debug, Clone, thiserror::Error)]
pub enum StoreError {
    /// No connection, too many of them, or a server that is read-only or shutting down. Nothing was written.
    #[error("the database cannot be used now: {0}")]
    Unavailable(#[source] Arc<sqlx::Error>),
    /// Deadlock, or a cluster's certification conflict. Rolled back; run it again.
    #[error("the transaction collided with another: {0}")]
    Conflict(#[source] Arc<sqlx::Error>),
    /// Another transaction has locked one of the rows for longer than a statement waits. Rolled back; run it again.
    #[error("rows are locked by another transaction: {0}")]
    Locked(#[source] Arc<sqlx::Error>),
    /// The connection broke while committing: to find out whether it was written, write the same rows again.
    #[error("the commit's result is unknown: {0}")]
    CommitUnknown(#[source] Arc<sqlx::Error>),
    /// The database refused the rows themselves (too long, out of range). Running it again does not help.
    #[error("the database refused the data: {0}")]
    Rejected(#[source] Arc<sqlx::Error>),
    /// A row that this version of the service cannot read.
    #[error("a row cannot be read: {0}")]
    Corrupt(String),
    /// A payment that is set aside until an operator has repaired and released it.
    #[error(transparent)]
    Quarantined(Box<Quarantined>),
    /// The program panicked over these rows. Rolled back.
    #[error("a panic: {0}")]
    Panicked(String),
    /// The schema is missing, or older or newer than this program.
    #[error("the schema does not fit this program: {0}")]
    Migration(#[source] Arc<sqlx::migrate::MigrateError>),
    /// The write queue is full.
    #[error("the write queue is full; try again shortly")]
    Busy,
    /// `PAYMENT_ID_MAX` is reached.
    #[error("all payment ids up to PAYMENT_ID_MAX are used up")]
    IdsExhausted,
}

impl StoreError {
    /// Whether running the same command again may succeed.
    pub fn is_transient(&self) -> bool {
        matches!(
            self,
            Self::Unavailable(_) | Self::Conflict(_) | Self::Locked(_) | Self::CommitUnknown(_)
        )
    }

    /// Whether the rows themselves are the cause, so that others may succeed where these failed.
    pub fn is_of_the_rows(&self) -> bool {
        match self {
            Self::Rejected(_) | Self::Corrupt(_) | Self::Quarantined(_) | Self::Panicked(_) => true,
            Self::Unavailable(_)
            | Self::Conflict(_)
            | Self::Locked(_)
            | Self::CommitUnknown(_)
            | Self::Migration(_)
            | Self::Busy
            | Self::IdsExhausted => false,
        }
    }

    /// Whether the connection broke, which a row can cause: a server closes it on a command that is too long.
    pub fn is_broken_off(&self) -> bool {
        match self {
            Self::Unavailable(cause) | Self::CommitUnknown(cause) => match cause.as_ref() {
                sqlx::Error::Io(io) => io.kind() != std::io::ErrorKind::TimedOut,
                sqlx::Error::Protocol(_) => true,
                _ => false,
            },
            _ => false,
        }
    }

    /// The reason to set a payment aside for this error, without any stored value; none if the payment is not the cause. A
    /// statement that the server does not understand is not a reason: every payment would be set aside.
    pub fn reason_to_set_aside(&self) -> Option<String> {
        match self {
            Self::Rejected(cause) => match cause.as_database_error().map(|it| it.code()) {
                Some(Some(code)) if code.starts_with("42") || code == "1" => None,
                Some(code) => Some(format!(
                    "the database refused its rows (code {})",
                    code.unwrap_or_default()
                )),
                None => Some("the database closes the connection on its rows".to_owned()),
            },
            Self::Panicked(_) => Some("the program panicked over it".to_owned()),
            Self::Corrupt(_) => Some("a row of it cannot be read".to_owned()),
            _ => None,
        }
    }
}

/// A database, with the functions that this service needs.
#[async_trait]
pub trait Database: Send + Sync + 'static {
    /// Brings the schema up to date. Safe to repeat and to run from several processes.
    async fn migrate(&self) -> Result<(), StoreError>;

    /// Whether the database answers and has this program's schema, or a later one.
    async fn check(&self) -> Result<Checked, StoreError>;

    /// Starts a transaction (READ COMMITTED or stricter). Dropping it rolls it back.
    async fn begin(&self) -> Result<Box<dyn Transaction>, StoreError>;

    /// How many transactions of one kind are useful at the same time.
    fn lanes(&self) -> usize {
        1
    }

    /// Reserves `count` consecutive payment ids, durably, and returns the first; the very first is `first_ever`.
    async fn reserve_ids(&self, count: i64, first_ever: i64) -> Result<i64, StoreError>;

    /// One payment of any client; [`StoreError::Quarantined`] if it is set aside or cannot be read.
    async fn payment(&self, id: PaymentId) -> Result<Option<StoredPayment>, StoreError>;

    /// The payment that was accepted under an idempotency key.
    async fn payment_by_key(
        &self,
        client: &ClientName,
        key: &str,
    ) -> Result<Option<StoredPayment>, StoreError>;

    /// A page of one client's payments, newest first (`created_at`, then id), at most `filter.limit`. Payments that are set
    /// aside or cannot be read are left out; later ones fill the page.
    async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<StoredPayment>, StoreError>;

    /// The outbox rows of a payment: tries, results, replies and callbacks, by due time, at most 100. Reads the whole
    /// outbox, so it is for operators, not for processing payments.
    async fn outbox_about(&self, id: PaymentId) -> Result<Vec<OutboxRow>, StoreError>;

    /// The clients that have payments, by name.
    async fn clients(&self) -> Result<Vec<ClientName>, StoreError>;

    /// A payment's history, by sequence.
    async fn events(&self, id: PaymentId) -> Result<Vec<Event>, StoreError>;

    /// A card token, even if it is used or expired.
    async fn card_token(&self, token: &TokenId) -> Result<Option<CardToken>, StoreError>;

    /// Counts the rows in the outbox, and how many of them are due.
    async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError>;

    /// Every line of the simulated issuer's ledger for one payment, by key.
    async fn ledger(&self, payment: PaymentId) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Ends every claim now and makes every payment that is processing due for a check. Only for a process that knows that
    /// it is the only one.
    async fn end_all_claims(&self) -> Result<(), StoreError>;

    /// Makes rows due now that are due further in the future than any delay allows; returns the number of rows.
    async fn bring_back(&self, horizons: Horizons) -> Result<u64, StoreError>;

    /// Whether the store contains payments of other clients.
    async fn holds_others_than(&self, client: &ClientName) -> Result<bool, StoreError>;

    /// Checks whether the stored data keeps the service's promises.
    async fn audit(&self, bounds: Bounds) -> Result<Audit, StoreError>;

    /// The server's version and clock.
    async fn server(&self) -> Result<Server, StoreError>;

    /// The stored data that the configuration must fit, with at most `sample` rows of each kind.
    async fn stock(&self, sample: u32) -> Result<Stock, StoreError>;

    /// Closes all connections; the database cannot be used afterwards.
    async fn close(&self);
}

/// Whether the database accepts a transaction that writes nothing.
pub async fn is_usable(database: &dyn Database) -> bool {
    match database.begin().await {
        Ok(transaction) => transaction.commit().await.is_ok(),
        Err(_) => false,
    }
}

/// The result of checking a usable database.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Checked {
    /// The latest migration, if it belongs to a later release.
    pub later_migration: Option<i64>,
    /// How far its clock is ahead of this process's; negative if it is behind. Accurate to the network latency.
    pub clock_ahead: time::Duration,
}

/// Rows in the outbox.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub struct OutboxDepth {
    /// All rows, including delayed tries.
    pub total: u64,
    /// Rows that are due.
    pub due: u64,
    /// Rows that belong to a payment. The others are callbacks and dead letters.
    pub of_payments: u64,
    /// Rows that are set aside. Not included in the other numbers.
    pub quarantined: u64,
}

/// One transaction. Every method takes many rows. Inserts leave existing rows (same primary key) unchanged, so that
/// running a batch again is harmless. Reads leave out payments, outbox rows and card tokens that are set aside or cannot
/// be read: [`Self::left_out`] returns those.
#[async_trait]
pub trait Transaction: Send {
    /// When it began by the database's clock, UTC, to the microsecond. Rows are only written and compared with this clock.
    fn now(&self) -> Timestamp;

    /// The rows that reads have left out since the last call of this.
    fn left_out(&mut self) -> Vec<SetAside>;

    /// Marks payments and outbox rows that have no mark yet; unknown ones are ignored.
    async fn quarantine(&mut self, rows: &[SetAside]) -> Result<(), StoreError>;

    /// Makes outbox rows due that an operator has released by removing their mark; returns how many.
    async fn release_outbox(&mut self, now: Timestamp) -> Result<u64, StoreError>;

    /// Those of the given (client, idempotency key) pairs that exist.
    async fn payments_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<StoredPayment>, StoreError>;

    /// The ids of those payments.
    async fn payment_ids_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<PaymentId>, StoreError>;

    /// Locks payments for update in the order of their ids; unknown ids are ignored.
    async fn lock_payments(&mut self, ids: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError>;

    /// Payments, without a lock; unknown ids are ignored.
    async fn read_payments(&mut self, ids: &[PaymentId]) -> Result<Vec<StoredPayment>, StoreError>;

    /// Inserts payments. A row whose (client, idempotency key) exists is skipped: read the keys back.
    async fn insert_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError>;

    /// Updates locked payments: all columns except client, order, user, amount, metadata, origin, idempotency and
    /// `created_at`.
    async fn update_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError>;

    /// Updates locked payments that end: writes their progress, decline code and authorization code, and erases the sealed
    /// card, the claim and the next check. These must already be empty in the rows, and their card must be unchanged.
    async fn end_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError>;

    /// Marks locked payments as claimed by a worker until the given time.
    async fn claim_payments(
        &mut self,
        ids: &[PaymentId],
        until: Timestamp,
    ) -> Result<(), StoreError>;

    /// Locks up to `limit` payments whose `check_at` has passed and that have no outbox row, skipping locked ones.
    async fn lock_forgotten_payments(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredPayment>, StoreError>;

    /// Appends to histories.
    async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError>;

    /// Those of the given events that are in their payment's history.
    async fn existing_events(
        &mut self,
        events: &[(PaymentId, EventId)],
    ) -> Result<Vec<EventId>, StoreError>;

    /// Those of the given events, by payment and sequence, that exist and can be read.
    async fn read_events(&mut self, events: &[(PaymentId, u32)]) -> Result<Vec<Event>, StoreError>;

    /// Adds to the outbox.
    async fn insert_outbox(&mut self, rows: &[OutboxRow]) -> Result<(), StoreError>;

    /// Deletes published rows, in the order of their ids; missing ones are ignored.
    async fn delete_outbox(&mut self, ids: &[OutboxId]) -> Result<(), StoreError>;

    /// Locks up to `limit` messages and as many facts of a lane with `due_at <= now`, each oldest first, skipping rows that
    /// another sweeper has locked.
    async fn lock_due_outbox(
        &mut self,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError>;

    /// Locks up to `limit` rows that hold facts, due or not, by id.
    async fn lock_facts(&mut self, limit: u32) -> Result<Vec<OutboxRow>, StoreError>;

    /// Moves locked outbox rows to a later due time.
    async fn postpone_outbox(
        &mut self,
        ids: &[OutboxId],
        due_at: Timestamp,
    ) -> Result<(), StoreError>;

    /// Adds card tokens.
    async fn insert_tokens(&mut self, tokens: &[CardToken]) -> Result<(), StoreError>;

    /// Locks card tokens in the order of their ids; unknown ones are ignored.
    async fn lock_tokens(&mut self, tokens: &[TokenId]) -> Result<Vec<CardToken>, StoreError>;

    /// Marks locked tokens as used by a payment and erases their sealed cards.
    async fn use_tokens(&mut self, uses: &[(TokenId, PaymentId)]) -> Result<(), StoreError>;

    /// Erases the sealed cards of up to `limit` tokens that expired before `now`; returns how many.
    async fn erase_expired_tokens(&mut self, now: Timestamp, limit: u32)
    -> Result<u64, StoreError>;

    /// Records charges in the simulated issuer's ledger; a key that is already charged or reversed stays unchanged.
    async fn ledger_charge(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// Records reversals; a key that was never charged gets a line, too, which blocks any later charge.
    async fn ledger_reverse(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError>;

    /// The ledger entries of the given keys.
    async fn ledger_entries(&mut self, keys: &[String]) -> Result<Vec<LedgerEntry>, StoreError>;

    /// Commits. If the connection fails here, the error is [`StoreError::CommitUnknown`].
    async fn commit(self: Box<Self>) -> Result<(), StoreError>;
}
