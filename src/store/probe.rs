//! Tests whether rows can be written: inserts, changes and deletes a row in one transaction like those of payments, so
//! that it fails for the same reasons. No data remains.

use std::time::Duration;

use uuid::Uuid;

use super::rows::{Content, OutboxId, OutboxRow};
use super::{Store, StoreError};
use crate::broker::{Exchange, Properties, Publication};

/// Due time of the row, long after the end of the transaction.
const LATER: Duration = Duration::from_secs(3600);

/// How the transaction ends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum End {
    /// Like every transaction of a payment. Proves that the log and the disk accept it; costs as much as a payment.
    Commit,
    /// Proves that the server accepts changes; leaves nothing in its binary log.
    RollBack,
}

/// Writes, changes and deletes a row.
pub async fn try_write(database: &Store, end: End) -> Result<(), StoreError> {
    let mut transaction = database.begin().await?;
    let later = transaction.now() + LATER;
    let row = OutboxRow {
        id: OutboxId(Uuid::now_v7()),
        payment: None,
        due_at: later,
        content: Content::Message(Publication {
            exchange: Exchange::Default,
            routing_key: String::new(),
            properties: Properties::default(),
            body: String::new(),
            mandatory: false,
        }),
    };
    let id = row.id;
    transaction.insert_outbox(&[row]).await?;
    transaction.postpone_outbox(&[id], later).await?;
    transaction.delete_outbox(&[id]).await?;
    match end {
        End::Commit => transaction.commit().await,
        End::RollBack => Ok(()),
    }
}
