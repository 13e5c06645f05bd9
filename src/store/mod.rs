//! Storage of payments, their history, the outbox and card tokens.
//!
//! [`Store`] is a database of either kind, [`mysql`] (MySQL and MariaDB) or [`sqlite`] (embedded), and [`Transaction`] one
//! of its transactions; both kinds pass one contract suite. [`batch`] groups writes into multi-row transactions;
//! [`queries`] read.

pub mod audit;
pub mod batch;
mod bulk;
mod clock_setback;
mod columns;
mod connections;
mod database;
pub mod dead_letters;
mod engine;
pub mod environment;
pub mod ids;
mod migrations;
pub mod mysql;
pub mod probe;
pub mod quarantine;
pub mod queries;
mod records;
pub mod rows;
mod sql_values;
pub mod sqlite;
mod tables;
mod transaction;

use std::sync::Arc;

use quarantine::Quarantined;

pub use connections::Connections;
pub use database::Store;
pub use tables::metric_minutes::MinuteCounts;
pub use tables::newest::PaymentEvent;
pub use tables::payment_search::{FoundPayments, MOST_READ, RowSetAside};
pub use tables::platform_events::{EventEnd, EventSubject, TakenEvents, WaitingEvent};
pub use tables::undecided::Undecided;
pub use transaction::Transaction;

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

    /// Whether an immediate retry on another connection may succeed, as after a restart of the server. Not after a
    /// time-out: the caller has waited long enough.
    fn is_broken_connection(&self) -> bool {
        match self {
            Self::Unavailable(cause) => match cause.as_ref() {
                sqlx::Error::Io(io) => io.kind() != std::io::ErrorKind::TimedOut,
                sqlx::Error::Database(_) | sqlx::Error::Protocol(_) => true,
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
