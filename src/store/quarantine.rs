//! Rows that are set aside, so that one bad row stops no other.
//!
//! A payment or an outbox row that cannot be read, or that nothing can be done with, gets its reason into the column
//! `quarantined`. Nothing works on it until an operator sets the column to null. What is stored in such a row is never
//! logged: only its table, its id, the column and a reason.

use super::StoreError;
use super::rows::OutboxId;
use crate::domain::{ClientName, PaymentId, Timestamp};

/// Characters that the column `quarantined` has room for.
const LONGEST_REASON: usize = 255;

/// Which row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Key {
    /// Of `payments`.
    Payment(PaymentId),
    /// Of `outbox`.
    Outbox(OutboxId),
    /// A row that has no mark: its table.
    Unmarked(&'static str),
}

/// A row that has to be left out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SetAside {
    /// Which one.
    pub key: Key,
    /// The client of a payment, if that can be read.
    pub client: Option<String>,
    /// When a payment was created, if that can be read.
    pub created_at: Option<Timestamp>,
    /// The column and what is wrong with it, or why nothing can be done with the row.
    pub reason: String,
    /// The row has its mark already.
    pub marked: bool,
}

/// A payment that is set aside.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("payment {payment} is quarantined: {reason}")]
pub struct Quarantined {
    /// Which one.
    pub payment: PaymentId,
    /// Its client, if that can be read.
    pub client: Option<String>,
    /// Why.
    pub reason: String,
}

impl SetAside {
    /// A row that this process has a reason to set aside.
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
            Key::Outbox(_) | Key::Unmarked(_) => None,
        }
    }

    /// After which row a list of payments goes on.
    pub(super) fn place_in_lists(&self) -> Option<(Timestamp, PaymentId)> {
        match self.key {
            Key::Payment(id) => Some((self.created_at?, id)),
            Key::Outbox(_) | Key::Unmarked(_) => None,
        }
    }

    /// One line and one count for a row that had no mark so far.
    pub fn report(&self) {
        if self.marked {
            return;
        }
        let (table, id) = match &self.key {
            Key::Payment(id) => ("payments", id.to_string()),
            Key::Outbox(id) => ("outbox", id.0.to_string()),
            Key::Unmarked(table) => (*table, String::new()),
        };
        metrics::counter!("rows_quarantined", "table" => table).increment(1);
        tracing::error!(
            table,
            row.id = id,
            reason = self.reason,
            "a row was set aside"
        );
    }
}

impl Quarantined {
    /// Whether another client asks: to it, there is no such payment.
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
