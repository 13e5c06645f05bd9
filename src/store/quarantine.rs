//! Rows that are set aside, so that a bad row does not block others.
//!
//! If a payment or outbox row cannot be read or processed, the reason is written to its column `quarantined`. It is not
//! processed until an operator sets the column to null. The values of such a row are never logged: only its table, its
//! id, the column and a reason.

use super::StoreError;
use super::rows::OutboxId;
use crate::domain::{ClientName, OperationId, PaymentId, Timestamp};
use crate::metric;

/// Length of the column `quarantined`, in characters.
const LONGEST_REASON: usize = 255;

/// Identifies a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// A row of `payments`.
    Payment(PaymentId),
    /// A row of `outbox`.
    Outbox(OutboxId),
    /// A row of `operations`.
    Operation(OperationId),
    /// The table of a row that cannot be marked.
    Unmarked(&'static str),
}

/// A row that must be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// The row's key.
    pub key: Key,
    /// The client of a payment, if that can be read.
    pub client: Option<String>,
    /// When a payment was created, if that can be read.
    pub created_at: Option<Timestamp>,
    /// The column and what is wrong with it, or why the row cannot be processed.
    pub reason: String,
    /// The row is already marked.
    pub marked: bool,
}

/// A payment that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payment {payment} is quarantined: {reason}")]
pub struct Quarantined {
    /// The row's key.
    pub payment: PaymentId,
    /// Its client, if that can be read.
    pub client: Option<String>,
    /// Why.
    pub reason: String,
}

impl SetAside {
    /// A row that this process sets aside for a reason.
    pub fn new(key: Key, reason: impl Into<String>) -> Self {
        let reason: String = reason.into();
        Self {
            key,
            client: None,
            created_at: None,
            reason: reason.chars().take(LONGEST_REASON).collect(),
            marked: false,
        }
    }

    /// The payment, if the row is one.
    pub fn payment(&self) -> Option<Quarantined> {
        match self.key {
            Key::Payment(payment) => Some(Quarantined {
                payment,
                client: self.client.clone(),
                reason: self.reason.clone(),
            }),
            Key::Outbox(_) | Key::Operation(_) | Key::Unmarked(_) => None,
        }
    }

    /// The row's position in lists of payments.
    pub(super) fn place_in_lists(&self) -> Option<(Timestamp, PaymentId)> {
        match self.key {
            Key::Payment(id) => Some((self.created_at?, id)),
            Key::Outbox(_) | Key::Operation(_) | Key::Unmarked(_) => None,
        }
    }

    /// Logs and counts a row that was not marked before.
    pub fn report(&self) {
        if self.marked {
            return;
        }
        let (table, id) = match &self.key {
            Key::Payment(id) => ("payments", id.to_string()),
            Key::Outbox(id) => ("outbox", id.0.to_string()),
            Key::Operation(id) => ("operations", id.0.to_string()),
            Key::Unmarked(table) => (*table, String::new()),
        };
        metrics::counter!(metric::ROWS_QUARANTINED, "table" => table).increment(1);
        tracing::error!(
            table,
            row.id = id,
            reason = self.reason,
            "a row was set aside"
        );
    }
}

impl Quarantined {
    /// Whether this client must not see the payment, because it belongs to another client.
    pub fn is_hidden_from(&self, client: &ClientName) -> bool {
        self.client
            .as_ref()
            .is_some_and(|owner| owner != client.as_str())
    }
}

impl From<Quarantined> for StoreError {
    fn from(payment: Quarantined) -> Self {
        Self::Quarantined(Box::new(payment))
    }
}

/// The payment with this id, if it was left out.
pub fn payment_of(left_out: &[SetAside], id: PaymentId) -> Option<Quarantined> {
    left_out
        .iter()
        .find(|it| it.key == Key::Payment(id))
        .and_then(SetAside::payment)
}
