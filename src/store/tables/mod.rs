//! The tables: one file for each, with its columns, its statements in the SQL of both databases, and the methods of
//! [`Store`](super::Store) and [`Transaction`] that use them.
//!
//! Columns are read by name, so `*` is safe when a later version adds one; they are written by position. Of the SQL that
//! MySQL 8.4 and MariaDB 10.6 share:
//! - Statements that every payment needs list their rows; the others take one JSON parameter through `JSON_TABLE`, read by
//!   position (cheaper than by name).
//! - `IN` with `FORCE INDEX` looks up each key, whatever the table's size, in SELECT and UPDATE. In DELETE, MariaDB
//!   scans a small table in spite of the hint, also in the form for several tables, and waits for the locks of others: hence a
//!   join there.
//! - `ERROR ON ERROR`: by default, values that cannot be converted become null. Even so, MariaDB silently shortens a text
//!   to the width given here; hence each is one wider than its column (numbers are BIGINT, points in time are texts), and
//!   the insert itself refuses values that do not fit, in strict mode.
//! - `CONCAT` of one long text: MariaDB silently copies a longer text column into a shorter one by its length modulo 65536;
//!   the result of a function is checked.
//! - `STRAIGHT_JOIN` and `FORCE INDEX`: otherwise both optimizers may scan a small table for a join, which would lock all
//!   of it; the rows are read first, in their order, and each looks up its one row by key.
//! - Existing, locked rows are changed by UPDATE if they change alike. One value may differ for each row:
//!   `ELT(FIELD(id, …), …)` finds it by the position of the row's id among the ids.
//! - Rows that change differently are inserted again: `ON DUPLICATE KEY UPDATE` takes lists of rows, which UPDATE does not.
//!   This costs the database a third more, since it tries the insert first. `VALUES()` is the only syntax for this that
//!   both servers have, although MySQL calls it deprecated. Columns that never change are constants, since INSERT requires
//!   them; they are not written.
//! - `ON DUPLICATE KEY UPDATE id = id` instead of `INSERT IGNORE`, which turns every error into a warning.
//! - The derived table in locking reads: MySQL refuses a lock over `JSON_TABLE` itself (error 3569).

mod action_column;
pub(super) mod capture_schedule;
mod card_columns;
pub(super) mod card_tokens;
mod events;
mod id_blocks;
mod installation;
mod issuer_actions;
mod issuer_calls;
mod issuer_ledger;
mod issuer_operations;
mod method_column;
pub(super) mod metric_minutes;
pub(super) mod newest;
pub(super) mod operations;
pub(super) mod outbox;
pub mod payment_search;
pub(super) mod payments;
pub(super) mod platform_events;
mod processor_references;
mod processor_types;
mod processor_use;
pub mod undecided;

use super::quarantine::{Key, SetAside};
use super::sql_values::{Row, SqlValue};
use super::{StoreError, Transaction};

impl Transaction {
    /// Marks payments and outbox rows that have no mark yet; unknown ones are ignored.
    pub async fn quarantine(&mut self, rows: &[SetAside]) -> Result<(), StoreError> {
        for row in rows {
            let reason = row.reason.as_str().into();
            let (sql, id): (_, SqlValue<'_>) = match row.key {
                Key::Payment(id) if !row.marked => (payments::QUARANTINE_PAYMENT, id.0.into()),
                // A row that an operator has marked must still leave its lane.
                Key::Outbox(id) => (
                    outbox::QUARANTINE_OUTBOX,
                    hex::encode(id.0.as_bytes()).into(),
                ),
                Key::Operation(id) if !row.marked => (
                    operations::QUARANTINE_OPERATION,
                    hex::encode(id.0.as_bytes()).into(),
                ),
                Key::Payment(_) | Key::Operation(_) | Key::Unmarked(_) => continue,
            };
            self.connection.execute(sql, &[reason, id]).await?;
        }
        Ok(())
    }
}

/// Rows of keys, sorted, each once: the order in which rows are locked.
fn sorted<'a>(keys: impl Iterator<Item = Row<'a>>) -> Vec<Row<'a>> {
    let mut rows: Vec<_> = keys.collect();
    rows.sort_unstable();
    rows.dedup();
    rows
}

/// Binary ids as rows of one column, sorted.
fn binary_ids<'a>(ids: impl Iterator<Item = &'a [u8]>) -> Vec<Row<'a>> {
    sorted(ids.map(|id| vec![SqlValue::bytes(id)]))
}
