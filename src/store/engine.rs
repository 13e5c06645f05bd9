//! The differences between the databases: how a connection is opened, and how a statement runs.
//! All other code is shared.
//!
//! The futures of the drivers are large, and a future contains those that it awaits, down to the tasks of every request and
//! every try. So they are boxed here.

use std::sync::Arc;

use sqlx::migrate::Migrator;

use super::bulk::Both;
use super::mysql::{self, Server};
use super::records::Record;
use super::sql_values::SqlValue;
use super::sqlite::{self, File};
use super::{Connections, StoreError, migrations};
use crate::domain::Timestamp;

/// The connections to a database of either kind.
#[derive(Debug)]
pub(super) enum Engine {
    MySql(Server),
    Sqlite(Arc<File>),
}

/// A connection, borrowed from a pool. If it is dropped within a transaction, it rolls back.
#[derive(Debug)]
pub(super) enum Connection {
    MySql(mysql::MySqlSession),
    Sqlite(sqlite::SqliteSession),
}

impl Engine {
    /// How many transactions of one kind are useful at the same time.
    pub(super) fn lanes(&self) -> usize {
        match self {
            Self::MySql(_) => Server::LANES,
            Self::Sqlite(_) => File::LANES,
        }
    }

    /// A connection for reads, without a transaction.
    pub(super) async fn reader(&self) -> Result<Connection, StoreError> {
        Ok(match self {
            Self::MySql(server) => Connection::MySql(Box::pin(server.reader()).await?),
            Self::Sqlite(file) => Connection::Sqlite(Box::pin(file.reader()).await?),
        })
    }

    /// A connection with a new transaction, and its start time by the database's clock.
    pub(super) async fn begin(&self) -> Result<(Connection, Timestamp), StoreError> {
        Ok(match self {
            Self::MySql(server) => {
                let (session, began) = Box::pin(server.begin()).await?;
                (Connection::MySql(session), began)
            }
            Self::Sqlite(file) => {
                let (session, began) = Box::pin(file.begin()).await?;
                (Connection::Sqlite(session), began)
            }
        })
    }

    /// Applies missing migrations.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        match self {
            Self::MySql(server) => server.migrate().await,
            Self::Sqlite(file) => file.migrate().await,
        }
    }

    /// The migrations of this program.
    pub(super) fn migrations(&self) -> &'static Migrator {
        match self {
            Self::MySql(_) => &migrations::MYSQL,
            Self::Sqlite(_) => &migrations::SQLITE,
        }
    }

    /// How the connections are used at present, by pool.
    pub(super) fn connections(&self) -> Vec<Connections> {
        match self {
            Self::MySql(server) => vec![server.connections()],
            Self::Sqlite(file) => file.connections(),
        }
    }

    /// Closes every connection.
    pub(super) async fn close(&self) {
        match self {
            Self::MySql(server) => server.close().await,
            Self::Sqlite(file) => file.close().await,
        }
    }
}

impl Connection {
    /// A statement in this database's SQL.
    pub(super) fn choose<T>(&self, both: &'static Both<T>) -> &'static T {
        match self {
            Self::MySql(_) => &both.mysql,
            Self::Sqlite(_) => &both.sqlite,
        }
    }

    /// Runs a statement that returns no rows; returns the number of affected rows.
    pub(super) async fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<u64, StoreError> {
        match self {
            Self::MySql(session) => Box::pin(session.execute(sql, parameters)).await,
            Self::Sqlite(session) => Box::pin(session.execute(sql, parameters)).await,
        }
    }

    /// Runs a statement that returns rows.
    pub(super) async fn fetch<R: Record>(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Vec<R>, StoreError> {
        match self {
            Self::MySql(session) => Box::pin(session.fetch(sql, parameters)).await,
            Self::Sqlite(session) => Box::pin(session.fetch(sql, parameters)).await,
        }
    }

    /// Maximum size of the rows in one statement, in bytes.
    pub(super) fn longest(&self) -> usize {
        match self {
            Self::MySql(_) => mysql::MySqlSession::LONGEST,
            Self::Sqlite(_) => sqlite::SqliteSession::LONGEST,
        }
    }

    /// The time by the database's clock.
    pub(super) async fn now(&mut self) -> Result<Timestamp, StoreError> {
        match self {
            Self::MySql(session) => session.now().await,
            Self::Sqlite(session) => session.now().await,
        }
    }

    /// Commits the transaction of this connection.
    pub(super) async fn commit(self) -> Result<(), StoreError> {
        match self {
            Self::MySql(session) => Box::pin(session.commit()).await,
            Self::Sqlite(session) => Box::pin(session.commit()).await,
        }
    }
}
