//! Ids of the rows that a command may write.

use uuid::Uuid;

use crate::domain::EventId;
use crate::store::rows::OutboxId;

/// Ids for the rows that a command may write, generated before it runs, so that running it again writes the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowIds {
    /// History events.
    pub events: [EventId; 2],
    /// Outbox rows.
    pub outbox: [OutboxId; 2],
}

impl RowIds {
    /// Fresh UUIDv7s.
    pub fn draw() -> Self {
        let event = || EventId(Uuid::now_v7());
        let outbox = || OutboxId(Uuid::now_v7());
        Self {
            events: [event(), event()],
            outbox: [outbox(), outbox()],
        }
    }
}
