//! The database: its connections, its schema, and transactions. The tables add what they read.

use std::collections::HashSet;
use std::path::Path;
use std::sync::{Arc, Mutex};

use sqlx::migrate::{MigrateError, Migrator};
use time::OffsetDateTime;

use super::bulk::{Both, ManyRows};
use super::engine::Engine;
use super::mysql::{Hosts, Server};
use super::records::Record;
use super::sql_values::{Row, SqlValue};
use super::sqlite;
use super::{Checked, Connections, StoreError, Transaction};
use crate::domain::{PaymentId, Timestamp};

/// () → version, checksum, success
const APPLIED_MIGRATIONS: &str =
    "SELECT version, checksum, success FROM _sqlx_migrations ORDER BY version";

/// A database with the service's tables: MySQL, MariaDB or SQLite. It knows rows and transactions, but not the rules of
/// payments.
#[derive(Debug, Clone)]
pub struct Store(pub(super) Arc<Inner>);

#[derive(Debug)]
pub(super) struct Inner {
    /// Its connections.
    pub(super) engine: Engine,
    /// Payments that could not be read and have been reported.
    pub(super) reported: Mutex<HashSet<PaymentId>>,
}

impl Store {
    /// MySQL or MariaDB. Connects at the first use, so the servers may still be starting. Must be called within a runtime.
    pub fn mysql(hosts: Hosts, max_connections: u32) -> Self {
        Self::new(Engine::MySql(Server::new(hosts, max_connections)))
    }

    /// A file, created if there is none, readable only by its owner. It is not read or written before the first use.
    pub fn sqlite(path: &Path) -> Self {
        Self::new(Engine::Sqlite(sqlite::open(path)))
    }

    pub(super) fn new(engine: Engine) -> Self {
        Self(Arc::new(Inner {
            engine,
            reported: Mutex::default(),
        }))
    }

    pub(super) async fn read<R: Record>(
        &self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let mut connection = self.0.engine.reader().await?;
        match connection.fetch(sql, parameters).await {
            Err(error) if error.is_broken_connection() => {
                drop(connection);
                self.0.engine.reader().await?.fetch(sql, parameters).await
            }
            result => result,
        }
    }

    /// Looks rows up by rows of keys, without a transaction.
    pub(super) async fn read_many<R: Record>(
        &self,
        statement: &'static Both<ManyRows>,
        keys: Vec<Row<'_>>,
    ) -> Result<Vec<R>, StoreError> {
        let mut connection = self.0.engine.reader().await?;
        let commands = connection
            .choose(statement)
            .commands(keys, &[], connection.longest())?;
        let mut found = Vec::new();
        for (sql, parameters) in commands {
            found.extend(connection.fetch::<R>(sql, &parameters).await?);
        }
        Ok(found)
    }

    /// The time by the database's clock.
    pub async fn now(&self) -> Result<Timestamp, StoreError> {
        self.0.engine.reader().await?.now().await
    }

    /// Brings the schema up to date. Safe to repeat and to run from several processes.
    pub async fn migrate(&self) -> Result<(), StoreError> {
        self.0.engine.migrate().await
    }

    /// How many transactions of one kind are useful at the same time.
    pub fn lanes(&self) -> usize {
        self.0.engine.lanes()
    }

    /// Whether the database answers and has this program's schema, or a later one.
    pub async fn check(&self) -> Result<Checked, StoreError> {
        let mut connection = self.0.engine.reader().await?;
        let now = match connection.now().await {
            Err(error) if error.is_broken_connection() => {
                drop(connection);
                connection = self.0.engine.reader().await?;
                connection.now().await?
            }
            result => result?,
        };
        let here = OffsetDateTime::now_utc();
        let applied = connection.fetch(APPLIED_MIGRATIONS, &[]).await?;
        let later_migration = same_schema(self.0.engine.migrations(), &applied)
            .map_err(|error| StoreError::Migration(error.into()))?;
        Ok(Checked {
            later_migration,
            clock_ahead: now - here,
        })
    }

    /// Starts a transaction (READ COMMITTED or stricter). Dropping it rolls it back.
    pub async fn begin(&self) -> Result<Transaction, StoreError> {
        let (connection, began) = self.0.engine.begin().await?;
        Ok(Transaction::new(connection, began))
    }

    /// Whether the database accepts a transaction that writes nothing.
    pub async fn is_usable(&self) -> bool {
        match self.begin().await {
            Ok(transaction) => transaction.commit().await.is_ok(),
            Err(_) => false,
        }
    }

    /// How the connections are used at present, by pool.
    pub fn connections(&self) -> Vec<Connections> {
        self.0.engine.connections()
    }

    /// Closes all connections; the database cannot be used afterwards.
    pub async fn close(&self) {
        self.0.engine.close().await;
    }
}

/// Checks that the migrations of this program are applied, with the same checksums. A later release may have added some,
/// or be adding them now: this program can still use the tables. Returns the latest of those, if there are any.
fn same_schema(
    migrations: &Migrator,
    applied: &[(i64, Vec<u8>, bool)],
) -> Result<Option<i64>, MigrateError> {
    let mut later = None;
    for (version, checksum, success) in applied {
        let Some(ours) = migrations.iter().find(|ours| ours.version == *version) else {
            later = Some(*version);
            continue;
        };
        if !success {
            let words = format!(
                "migration {version} is under way or was interrupted; `payment-service setup` completes it"
            );
            return Err(MigrateError::Source(words.into()));
        }
        if ours.checksum != checksum.as_slice() {
            return Err(MigrateError::VersionMismatch(*version));
        }
    }
    let is_applied = |version| applied.iter().any(|(applied, ..)| *applied == version);
    let latest = applied.last().map_or(0, |(version, ..)| *version);
    match migrations.iter().find(|ours| !is_applied(ours.version)) {
        Some(missing) => Err(MigrateError::VersionTooNew(missing.version, latest)),
        None => Ok(later),
    }
}
