//! SQLite: the embedded database, a file used by one process.

mod connection;
mod errors;
mod private;

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use sqlx::sqlite::{
    SqliteConnectOptions, SqliteJournalMode, SqlitePool, SqlitePoolOptions, SqliteSynchronous,
};

use self::errors::classify;
use super::migrations::{self, migration_error};
use super::{Connections, StoreError};
use crate::domain::Timestamp;

pub(super) use self::connection::SqliteSession;

/// How long a writer waits for its turn. Writers are quick; a longer wait counts as overload.
const TURN: Duration = Duration::from_secs(10);

/// Number of connections for reads: reads are short, and share two or three processor cores with all other work.
const READERS: u32 = 4;

/// The connections to the file.
#[derive(Debug)]
pub struct File {
    /// A single connection, because SQLite allows one writer at a time: the others wait here, in order, instead of polling
    /// the file's lock.
    writer: SqlitePool,
    readers: SqlitePool,
}

/// Opens the file, or creates it, readable only by its owner. It is not read or written before the first use.
pub(super) fn open(path: &Path) -> Arc<File> {
    private::keep(path);
    let options = SqliteConnectOptions::new()
        .filename(path)
        .create_if_missing(true)
        // Readers continue while a transaction is being written.
        .journal_mode(SqliteJournalMode::Wal)
        // In WAL mode NORMAL could lose the last commits in a power cut, but a request answered with 202 must be kept.
        .synchronous(SqliteSynchronous::Full)
        // Only another tool can hold the lock (a backup, a shell).
        .busy_timeout(Duration::from_secs(5))
        // The tables have no foreign keys: rows are written in an order that makes them unnecessary.
        .foreign_keys(false)
        .statement_cache_capacity(256);
    let pool = |most| {
        SqlitePoolOptions::new()
            .max_connections(most)
            .acquire_timeout(TURN)
            // A file cannot disconnect.
            .test_before_acquire(false)
            .idle_timeout(None)
            .max_lifetime(None)
            .connect_lazy_with(options.clone())
    };
    Arc::new(File {
        writer: pool(1),
        readers: pool(READERS),
    })
}

impl File {
    /// SQLite has one writer.
    pub(super) const LANES: usize = 1;

    pub(super) async fn reader(&self) -> Result<SqliteSession, StoreError> {
        let connection = self.readers.acquire().await.map_err(classify)?;
        Ok(SqliteSession::reader(connection))
    }

    pub(super) async fn begin(&self) -> Result<(SqliteSession, Timestamp), StoreError> {
        let connection = self.writer.acquire().await.map_err(classify)?;
        SqliteSession::begin(connection).await
    }

    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let result = migrations::SQLITE.run(&self.writer).await;
        result.map_err(|error| migration_error(error, classify))
    }

    pub(super) fn connections(&self) -> Vec<Connections> {
        vec![
            Connections::of("writer", &self.writer),
            Connections::of("reader", &self.readers),
        ]
    }

    pub(super) async fn close(&self) {
        self.readers.close().await;
        self.writer.close().await;
    }
}
