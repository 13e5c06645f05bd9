//! One transaction: its connection, and what its reads have left out. The tables add what they read and write.

use super::StoreError;
use super::bulk::ManyRows;
use super::engine::Connection;
use super::quarantine::SetAside;
use super::records::Record;
use super::sql_values::{Row, SqlValue};
use crate::domain::Timestamp;

/// One transaction. Every method takes many rows. Inserts leave existing rows (same primary key) unchanged, so that
/// running a batch again is harmless. Reads leave out payments, outbox rows and card tokens that are set aside or cannot
/// be read: [`Self::left_out`] returns those.
#[derive(Debug)]
pub struct Transaction {
    pub(super) connection: Connection,
    began: Timestamp,
    pub(super) left_out: Vec<SetAside>,
}

impl Transaction {
    /// Takes a connection with a transaction that has begun.
    pub(super) fn new(connection: Connection, began: Timestamp) -> Self {
        Self {
            connection,
            began,
            left_out: Vec::new(),
        }
    }

    /// When it began by the database's clock, UTC, to the microsecond. Rows are only written and compared with this clock.
    pub fn now(&self) -> Timestamp {
        self.began
    }

    /// The rows that reads have left out since the last call of this.
    pub fn left_out(&mut self) -> Vec<SetAside> {
        std::mem::take(&mut self.left_out)
    }

    /// Runs a statement over rows, with its other parameters.
    pub(super) async fn write(
        &mut self,
        statement: &'static ManyRows,
        rows: Vec<Row<'_>>,
        others: &[SqlValue<'_>],
    ) -> Result<(), StoreError> {
        let longest = self.connection.longest();
        for (sql, parameters) in statement.commands(rows, others, longest)? {
            self.connection.execute(sql, &parameters).await?;
        }
        Ok(())
    }

    /// Looks rows up by rows of keys.
    pub(super) async fn look_up<R: Record>(
        &mut self,
        statement: &'static ManyRows,
        keys: Vec<Row<'_>>,
        others: &[SqlValue<'_>],
    ) -> Result<Vec<R>, StoreError> {
        let mut found = Vec::new();
        let longest = self.connection.longest();
        for (sql, parameters) in statement.commands(keys, others, longest)? {
            found.extend(self.connection.fetch::<R>(sql, &parameters).await?);
        }
        Ok(found)
    }

    /// Commits. If the connection fails here, the error is [`StoreError::CommitUnknown`].
    pub async fn commit(self) -> Result<(), StoreError> {
        self.connection.commit().await
    }
}
