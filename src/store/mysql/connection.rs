//! A connection to the server, with or without a transaction. Every operation has a time-out: if a server disappears
//! without closing it, a connection would otherwise hang until TCP times out, 15 minutes later.

use std::sync::Arc;
use std::time::Duration;

use sqlx::error::BoxDynError;
use sqlx::mysql::MySqlArguments;
use sqlx::pool::PoolConnection;
use sqlx::{Arguments, Executor, MySql, Row, query_as_with, query_with};
use time::{PrimitiveDateTime, UtcOffset};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::errors::{
    classify, classify_commit, has_no_room_for_statements, is_of_the_connection, refuses_changes,
};
use super::server::Pool;
use crate::domain::Timestamp;
use crate::store::StoreError;
use crate::store::records::Record;
use crate::store::sql_values::{SqlValue, arguments};

/// Time-out of a statement. Much longer than a statement may wait for a lock (5 s).
const STATEMENT: Duration = Duration::from_secs(20);

/// Both in one round trip, since every transaction needs both.
const BEGIN: &str = "START TRANSACTION; SELECT UTC_TIMESTAMP(6)";

/// Time-out of a rollback, which does not wait for anything. It also tests a connection after a time-out.
const ROLLBACK: Duration = Duration::from_secs(2);

/// A connection borrowed from the pool; if it is dropped within a transaction, it rolls back.
#[derive(Debug)]
pub struct MySqlSession {
    connection: Option<PoolConnection<MySql>>,
    in_transaction: bool,
    pool: Arc<Pool>,
}

impl MySqlSession {
    /// For reads, without a transaction.
    pub fn reader(pool: Arc<Pool>, connection: PoolConnection<MySql>) -> Self {
        Self {
            connection: Some(connection),
            in_transaction: false,
            pool,
        }
    }

    /// Begins a transaction, READ COMMITTED by the session's settings; also returns its start by the server's clock.
    pub async fn begin(
        pool: Arc<Pool>,
        connection: PoolConnection<MySql>,
    ) -> Result<(Self, Timestamp), StoreError> {
        let mut session = Self::reader(pool, connection);
        session.in_transaction = true;
        let began = session
            .run(classify, async |connection| {
                let row = connection.fetch_one(BEGIN).await?;
                row.try_get::<PrimitiveDateTime, _>(0)
            })
            .await?;
        Ok((session, began.assume_utc()))
    }

    /// Runs an operation on the connection with the time-out of a statement. A connection that did not answer is closed and
    /// never used again.
    async fn run<T>(
        &mut self,
        sort: fn(sqlx::Error) -> StoreError,
        work: impl AsyncFnOnce(&mut PoolConnection<MySql>) -> Result<T, sqlx::Error>,
    ) -> Result<T, StoreError> {
        let Some(connection) = self.connection.as_mut() else {
            return Err(classify(sqlx::Error::PoolClosed));
        };
        let result = match timeout(STATEMENT, work(connection)).await {
            Ok(result) => result,
            Err(_) => {
                connection.close_on_drop();
                self.in_transaction = false;
                self.pool.connection_fell_silent();
                Err(sqlx::Error::Io(std::io::ErrorKind::TimedOut.into()))
            }
        };
        result.map_err(sort).inspect_err(|error| {
            if refuses_changes(error) {
                self.give_up_connection();
                self.pool.changes_are_refused();
            }
            if has_no_room_for_statements(error) {
                self.give_up_connection();
                self.pool.statements_are_full();
            }
            if is_of_the_connection(error) {
                self.pool.connection_failed();
            }
        })
    }

    /// Closes the connection, which also rolls back.
    fn give_up_connection(&mut self) {
        if let Some(connection) = self.connection.as_mut() {
            connection.close_on_drop();
        }
        self.in_transaction = false;
    }
}

impl MySqlSession {
    /// Maximum size of the rows in one statement, in bytes. Each statement costs a round trip, so a batch should fit into
    /// few; but it must stay far below the smallest default `max_allowed_packet` of servers (4 MiB).
    pub const LONGEST: usize = 256_000;

    pub async fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<u64, StoreError> {
        let query = query_with(sql, arguments(parameters, moment).map_err(classify)?);
        let done = self
            .run(classify, async |connection| {
                query.execute(&mut **connection).await
            })
            .await?;
        Ok(done.rows_affected())
    }

    pub async fn fetch<R: Record>(
        &mut self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let query = query_as_with(sql, arguments(parameters, moment).map_err(classify)?);
        self.run(classify, async |connection| {
            query.fetch_all(&mut **connection).await
        })
        .await
    }

    pub async fn now(&mut self) -> Result<Timestamp, StoreError> {
        let rows: Vec<(PrimitiveDateTime,)> = self.fetch("SELECT UTC_TIMESTAMP(6)", &[]).await?;
        match rows.first() {
            Some((now,)) => Ok(now.assume_utc()),
            None => Err(classify(sqlx::Error::RowNotFound)),
        }
    }

    pub async fn commit(mut self) -> Result<(), StoreError> {
        self.run(classify_commit, async |connection| {
            connection.execute("COMMIT").await
        })
        .await?;
        self.in_transaction = false;
        Ok(())
    }
}

fn moment(arguments: &mut MySqlArguments, moment: Timestamp) -> Result<(), BoxDynError> {
    let utc = moment.to_offset(UtcOffset::UTC);
    arguments.add(PrimitiveDateTime::new(utc.date(), utc.time()))
}

impl Drop for MySqlSession {
    fn drop(&mut self) {
        if !self.in_transaction {
            return;
        }
        // Outside of a runtime the connection is closed with the pool, which also rolls back.
        if let (Some(mut connection), Ok(runtime)) = (self.connection.take(), Handle::try_current())
        {
            let pool = Arc::clone(&self.pool);
            runtime.spawn(async move {
                match timeout(ROLLBACK, connection.execute("ROLLBACK")).await {
                    Ok(Ok(_)) => return,
                    Ok(Err(_)) => {}
                    Err(_) => pool.connection_fell_silent(),
                }
                connection.close_on_drop();
            });
        }
    }
}
