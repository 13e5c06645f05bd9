//! What differs between the databases: how a connection is had, how a statement runs, and the statements' texts.
//! Everything else ([`super::database`], [`super::transaction`]) is written once.

use std::future::Future;

use sqlx::{Arguments, Encode, Type};

use super::StoreError;
use super::cells::time_text;
use super::records::Record;
use crate::domain::Timestamp;

/// A database's connections.
pub trait Engine: Send + Sync + 'static {
    /// A connection, borrowed from a pool.
    type Connection: Connection;

    /// The statements, in this database's words.
    const STATEMENTS: Statements;

    /// A connection to read with, each statement on its own.
    fn reader(&self) -> impl Future<Output = Result<Self::Connection, StoreError>> + Send;

    /// A connection with a transaction begun.
    fn begin(&self) -> impl Future<Output = Result<Self::Connection, StoreError>> + Send;

    /// Applies the migrations that are missing.
    fn migrate(&self) -> impl Future<Output = Result<(), StoreError>> + Send;

    /// The migrations that this program carries.
    fn migrations(&self) -> &'static sqlx::migrate::Migrator;

    /// Closes every connection.
    fn close(&self) -> impl Future<Output = ()> + Send;
}

/// A connection. Dropped within a transaction, it rolls back.
pub trait Connection: Send + 'static {
    /// Runs a statement that returns no rows; the number of rows it met.
    fn execute(
        &mut self,
        sql: &'static str,
        parameters: &[Parameter],
    ) -> impl Future<Output = Result<u64, StoreError>> + Send;

    /// Runs a statement that returns rows.
    fn fetch<R: Record>(
        &mut self,
        sql: &'static str,
        parameters: &[Parameter],
    ) -> impl Future<Output = Result<Vec<R>, StoreError>> + Send;

    /// The database's clock.
    fn now(&mut self) -> impl Future<Output = Result<Timestamp, StoreError>> + Send;

    /// Commits the transaction that was begun with it.
    fn commit(self) -> impl Future<Output = Result<(), StoreError>> + Send;
}

/// A value that is bound to a statement.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Parameter {
    /// A text, also for moments and for JSON.
    Text(String),
    /// A whole number.
    Number(i64),
    /// SQL's null.
    Null,
}

impl<T: Into<Self>> From<Option<T>> for Parameter {
    fn from(value: Option<T>) -> Self {
        value.map_or(Self::Null, Into::into)
    }
}

impl From<String> for Parameter {
    fn from(text: String) -> Self {
        Self::Text(text)
    }
}

impl From<&str> for Parameter {
    fn from(text: &str) -> Self {
        Self::Text(text.to_owned())
    }
}

impl From<i64> for Parameter {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<u32> for Parameter {
    fn from(number: u32) -> Self {
        Self::Number(number.into())
    }
}

impl From<Timestamp> for Parameter {
    fn from(moment: Timestamp) -> Self {
        Self::Text(time_text(moment))
    }
}

/// The statements that the databases word differently. "Rows" stands for one parameter with a JSON array of arrays
/// ([`super::encode`]). Those that both understand stand in [`super::statements`].
#[derive(Debug)]
pub struct Statements {
    /// (rows of client, hexadecimal key) → payments
    pub payments_by_keys: &'static str,
    /// (rows of id) → payments, locked
    pub lock_payments: &'static str,
    /// (rows)
    pub insert_payments: &'static str,
    /// (rows of changes)
    pub update_payments: &'static str,
    /// (rows of id, until)
    pub claim_payments: &'static str,
    /// (rows of id, now) → payments that are still forgotten, locked; those that another has locked are skipped
    pub lock_forgotten_payments: &'static str,
    /// (rows)
    pub insert_events: &'static str,
    /// (rows of id) → ids
    pub existing_events: &'static str,
    /// (rows)
    pub insert_outbox: &'static str,
    /// (rows of id)
    pub delete_outbox: &'static str,
    /// (lane, now, limit) → outbox rows, locked; those that another has locked are skipped
    pub lock_due_outbox: &'static str,
    /// (rows of id, due time)
    pub postpone_outbox: &'static str,
    /// (rows)
    pub insert_tokens: &'static str,
    /// (rows of id) → tokens, locked
    pub lock_tokens: &'static str,
    /// (rows of id, payment id)
    pub use_tokens: &'static str,
    /// (now, limit) → ids, locked; those that another has locked are skipped
    pub lock_expired_tokens: &'static str,
    /// (rows of id)
    pub erase_tokens: &'static str,
    /// (rows with the moment of the charge)
    pub ledger_charge: &'static str,
    /// (rows with the moment of the reversal)
    pub ledger_reverse: &'static str,
    /// (rows of key) → ledger entries
    pub ledger_entries: &'static str,
    /// () → the first id that is not reserved, locked
    pub lock_next_id: &'static str,
    /// (first id that is not reserved); a row that is there stays as it is
    pub insert_next_id: &'static str,
    /// () → the server's version
    pub version: &'static str,
}

/// Binds parameters for either driver.
pub fn arguments<A: Arguments>(parameters: &[Parameter]) -> Result<A, sqlx::Error>
where
    for<'q> &'q str: Encode<'q, A::Database> + Type<A::Database>,
    for<'q> Option<i64>: Encode<'q, A::Database> + Type<A::Database>,
{
    let mut arguments = A::default();
    for parameter in parameters {
        match parameter {
            Parameter::Text(text) => arguments.add(text.as_str()),
            Parameter::Number(number) => arguments.add(Some(*number)),
            Parameter::Null => arguments.add(None::<i64>),
        }
        .map_err(sqlx::Error::Encode)?;
    }
    Ok(arguments)
}
