//! Ids of the rows that a command may write.

use uuid::Uuid;

use crate::broker::Publication;
use crate::domain::{EventId, PaymentId, Timestamp};
use crate::store::rows::{OutboxId, OutboxRow};

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

    pub(super) fn outbox_rows(
        &self,
        payment: Option<PaymentId>,
        due_at: Timestamp,
        publications: Vec<Publication>,
    ) -> Vec<OutboxRow> {
        self.outbox
            .iter()
            .zip(publications)
            .map(|(id, publication)| OutboxRow {
                id: *id,
                payment,
                due_at,
                publication,
            })
            .collect()
    }
}
