//! The differences between the databases: how a connection is opened, how a statement runs, and the statements' texts.
//! All other code ([`super::database`], [`super::transaction`]) is shared.

use std::future::Future;

use sqlx::error::BoxDynError;
use sqlx::{Arguments, Encode, Type};

use super::StoreError;
use super::cells::Cell;
use super::many::ManyRows;
use super::records::Record;
use crate::domain::Timestamp;

/// A database's connections.
pub trait Engine: Send + Sync + 'static {
    /// A connection, borrowed from a pool.
    type Connection: Connection;

    /// See [`super::Database::lanes`].
    const LANES: usize;

    /// The statements in this database's SQL.
    fn statements() -> &'static Statements;

    /// A connection for reads, without a transaction.
    fn reader(&self) -> impl Future<Output = Result<Self::Connection, StoreError>> + Send;

    /// A connection with a new transaction, and its start time by the database's clock.
    fn begin(
        &self,
    ) -> impl Future<Output = Result<(Self::Connection, Timestamp), StoreError>> + Send;

    /// Applies missing migrations.
    fn migrate(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The migrations of this program.
    fn migrations(&self) -> &'static sqlx::migrate::Migrator;

    /// Closes every connection.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A connection. If it is dropped within a transaction, it rolls back.
pub trait Connection: Send + 'static {
    /// Runs a statement that returns no rows; returns the number of affected rows.
    fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[Cell<'_>],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs a statement that returns rows.
    fn fetch<R: Record>(
        &mut self,
        sql: &'static str,
        parameters: &[Cell<'_>],
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    /// Maximum size of the rows in one statement, in bytes.
    fn longest(&self) -> usize;

    /// The time by the database's clock.
    fn now(&mut self) -> impl Future<Output = Result<Timestamp, StoreError>> + Send;

    /// Commits the transaction of this connection.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// The statements that differ between the databases. "Rows" are those of [`super::encode`]. Statements that both
/// understand are in [`super::statements`].
#[derive(Debug)]
pub struct Statements {
    /// (rows of client, key) → payments
    pub payments_by_keys: ManyRows,
    /// (rows of client, key) → ids of payments; reads only an index
    pub payment_ids_by_keys: ManyRows,
    /// (rows of id) → payments, locked
    pub lock_payments: ManyRows,
    /// (rows of id) → payments
    pub read_payments: ManyRows,
    /// (rows)
    pub insert_payments: ManyRows,
    /// (rows of id and the columns that can change): payments that exist
    pub update_payments: ManyRows,
    /// (rows of id and authorization code; the other columns that an end changes): payments that end alike
    pub end_payments: ManyRows,
    /// (rows of id, until)
    pub claim_payments: ManyRows,
    /// (rows of id, now) → payments that are still forgotten, locked; those locked by others are skipped
    pub lock_forgotten_payments: ManyRows,
    /// (rows)
    pub insert_events: ManyRows,
    /// (rows of payment id, id) → ids
    pub existing_events: ManyRows,
    /// (rows of payment id, sequence) → events
    pub read_events: ManyRows,
    /// (rows)
    pub insert_outbox: ManyRows,
    /// (rows of id)
    pub delete_outbox: ManyRows,
    /// (lane, now, limit) → outbox rows, locked; those locked by others are skipped
    pub lock_due_outbox: &'static str,
    /// (limit) → outbox rows with facts, locked
    pub lock_facts: &'static str,
    /// (rows of id, due time)
    pub postpone_outbox: ManyRows,
    /// (rows)
    pub insert_tokens: ManyRows,
    /// (rows of id) → tokens, locked
    pub lock_tokens: ManyRows,
    /// (rows of id, payment id)
    pub use_tokens: ManyRows,
    /// (now, limit) → ids, locked; those locked by others are skipped
    pub lock_expired_tokens: &'static str,
    /// (rows of id)
    pub erase_tokens: ManyRows,
    /// (rows with the time of the charge)
    pub ledger_charge: ManyRows,
    /// (rows with the time of the reversal)
    pub ledger_reverse: ManyRows,
    /// (rows of key) → ledger entries
    pub ledger_entries: ManyRows,
    /// () → the first id that is not reserved, locked
    pub lock_next_id: &'static str,
    /// (first id that is not reserved); an existing row stays unchanged
    pub insert_next_id: &'static str,
    /// () → the server's version
    pub version: &'static str,
    /// () → maximum connections and prepared statements of the server
    pub room: Option<&'static str>,
}

/// Binds parameters for either driver; each driver binds points in time differently.
pub fn arguments<A: Arguments>(
    parameters: &[Cell<'_>],
    moment: fn(&mut A, Timestamp) -> Result<(), BoxDynError>,
) -> Result<A, sqlx::Error>
where
    for<'q> &'q str: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> &'q [u8]: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    let bytes = parameters.iter().map(Cell::len).sum::<usize>();
    // In addition, a text is preceded by its length.
    arguments.reserve(parameters.len(), bytes + 3 * parameters.len());
    for parameter in parameters {
        match parameter {
            Cell::Null => arguments.add(None::<i64>),
            Cell::Number(number) => arguments.add(Some(*number)),
            Cell::Moment(at) => moment(&mut arguments, *at),
            Cell::Text(text) => arguments.add(text.as_ref()),
            Cell::Bytes(bytes) => arguments.add(bytes.as_ref()),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
