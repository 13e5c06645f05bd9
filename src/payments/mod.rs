//! The use cases: everything that is decided about a payment, whichever way it came in.
//!
//! Idempotency, card tokens, and which rows a move writes are decided here. [`crate::store`] knows rows, not rules; JSON
//! is read and written by [`crate::wire`].

pub mod accept;
mod acceptor;
pub mod advance;
pub mod apply;
pub mod backlog;
mod cancel;
mod canonical;
pub mod claim;
pub mod commands;
mod create;
pub mod draft;
pub mod hand_over;
pub mod leases;
mod methods;
#[cfg(test)]
mod model;
pub mod outbox;
pub mod postpone;
mod present_card;
pub mod presented_card;
pub mod row_ids;
#[cfg(test)]
mod tests;
pub mod tokens;
mod writer;

pub use acceptor::Acceptor;
pub use backlog::Backlog;

use crate::domain::{
    CardSummary, ClientName, Origin, Payment, PaymentId, PaymentRequest, Refusal, Timestamp,
};
use crate::store::StoreError;
use tokens::TokenFault;

/// A payment request with everything that came along with it.
#[derive(Debug, Clone)]
pub struct Submission {
    /// Who asks.
    pub client: ClientName,
    /// What for.
    pub request: PaymentRequest,
    /// `Idempotency-Key` or `message_id`.
    pub idempotency_key: Option<String>,
    /// Where results go besides the topic.
    pub origin: Origin,
    /// Which way it came.
    pub way_in: WayIn,
}

/// Which way a request came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayIn {
    /// `POST /payments`
    Rest,
    /// `order.payment`: an expired token makes a payment without a card, and accepting one is announced.
    Message,
}

/// An accepted payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// As it stands now.
    pub payment: Payment,
    /// It had been accepted before, under the same key.
    pub replayed: bool,
}

/// What presenting a card came to.
#[derive(Debug, Clone, PartialEq)]
pub enum Presented {
    /// A new attempt has started.
    Started(Payment),
    /// Nothing was changed: it is being processed, or has succeeded, already.
    AsItStands(Payment),
}

/// A card that was handed in ahead of its payment.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuedToken {
    /// What the client presents later.
    pub card_token: String,
    /// Brand, last four, expiry.
    pub card: CardSummary,
    /// By the database's clock.
    pub expires_at: Timestamp,
}

/// Why a request was not accepted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The key was used for another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// Unknown, used up, expired, or another client's: the caller is not told which, but for expiry.
    #[error("the card token is unknown or was used already")]
    TokenUnusable,
    /// Too old, by the database's clock.
    #[error("the card token has expired: make a new one")]
    TokenExpired,
    /// So many payments wait for the broker that no more are taken.
    #[error("too many payments are waiting to be dispatched; try again shortly")]
    BacklogFull,
    /// No such payment of this client.
    #[error("there is no payment {0}")]
    NotFound(PaymentId),
    /// The payment's state forbids it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The card could not be sealed.
    #[error("the card cannot be sealed: {0}")]
    Seal(String),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AcceptError {
    /// Whether the card or its token cannot be used: so it seems to a duplicate of a request that has just used it.
    pub(super) fn is_about_the_card(&self) -> bool {
        matches!(
            self,
            Self::TokenUnusable | Self::TokenExpired | Self::Seal(_)
        )
    }
}

impl From<TokenFault> for AcceptError {
    fn from(fault: TokenFault) -> Self {
        match fault {
            TokenFault::Unusable => Self::TokenUnusable,
            TokenFault::Expired => Self::TokenExpired,
        }
    }
}
