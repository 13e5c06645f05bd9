//! A connection to the file, with or without a transaction.

use sqlx::error::BoxDynError;
use sqlx::pool::PoolConnection;
use sqlx::sqlite::SqliteArguments;
use sqlx::{Arguments, Executor, Sqlite, query_as_with, query_with};
use time::OffsetDateTime;
use tokio::runtime::Handle;

use super::errors::{classify, classify_commit, is_of_the_connection};
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::records::Record;
use crate::store::sql_values::{SqlValue, arguments, time_text};

/// A connection borrowed from a pool; if it is dropped within a transaction, it rolls back.
#[derive(Debug)]
pub struct SqliteSession {
    connection: Option<PoolConnection<Sqlite>>,
    in_transaction: bool,
}

impl SqliteSession {
    /// For reads, without a transaction.
    pub fn reader(connection: PoolConnection<Sqlite>) -> Self {
        Self {
            connection: Some(connection),
            in_transaction: false,
        }
    }

    /// Begins a transaction as the only writer: after a plain `BEGIN`, becoming the writer later can fail half-way.
    pub async fn begin(
        connection: PoolConnection<Sqlite>,
    ) -> Result<(Self, Timestamp), StoreError> {
        let mut session = Self {
            connection: Some(connection),
            in_transaction: true,
        };
        let connection = session.connection()?;
        let begun = connection.execute("BEGIN IMMEDIATE").await;
        let begun = begun.map(drop).map_err(classify);
        session.noted(begun)?;
        let began = session.now().await?;
        Ok((session, began))
    }

    /// An unusable connection is closed when it is returned.
    fn noted<T>(&mut self, result: Result<T, StoreError>) -> Result<T, StoreError> {
        if let (Err(error), Some(connection)) = (&result, self.connection.as_mut())
            && is_of_the_connection(error)
        {
            connection.close_on_drop();
        }
        result
    }

    fn connection(&mut self) -> Result<&mut PoolConnection<Sqlite>, StoreError> {
        self.connection
            .as_mut()
            .ok_or_else(|| classify(sqlx::Error::PoolClosed))
    }
}

impl SqliteSession {
    /// Maximum size of the rows in one statement, in bytes. There is no network; this only limits memory.
    pub const LONGEST: usize = 1_000_000;

    pub async fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<u64, StoreError> {
        let query = query_with(sql, arguments(parameters, moment).map_err(classify)?);
        let connection = self.connection()?;
        let done = query.execute(&mut **connection).await.map_err(classify);
        Ok(self.noted(done)?.rows_affected())
    }

    pub async fn fetch<R: Record>(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let query = query_as_with(sql, arguments(parameters, moment).map_err(classify)?);
        let connection = self.connection()?;
        let found = query.fetch_all(&mut **connection).await.map_err(classify);
        self.noted(found)
    }

    /// This process is the only one that uses the file, so its clock is the database's.
    pub async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let now = OffsetDateTime::now_utc();
        let whole = now.replace_nanosecond(now.microsecond() * 1000);
        Ok(whole.unwrap_or(now))
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        let connection = self.connection()?;
        let committed = connection.execute("COMMIT").await;
        let committed = committed.map(drop).map_err(classify_commit);
        self.noted(committed)?;
        self.in_transaction = false;
        Ok(())
    }
}

fn moment(arguments: &mut SqliteArguments, moment: Timestamp) -> Result<(), BoxDynError> {
    arguments.add(time_text(moment))
}

impl Drop for SqliteSession {
    fn drop(&mut self) {
        if !self.in_transaction {
            return;
        }
        // Outside of a runtime the connection is closed with the pool, which also rolls back.
        if let (Some(mut connection), Ok(runtime)) = (self.connection.take(), Handle::try_current())
        {
            runtime.spawn(async move {
                if connection.execute("ROLLBACK").await.is_err() {
                    connection.close_on_drop();
                }
            });
        }
    }
}
