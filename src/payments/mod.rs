//! The use cases: every decision about a payment, whether it came by REST or by message.
//!
//! This module decides about idempotency, card tokens, and which rows a move writes. [`crate::store`] knows rows, not
//! rules; [`crate::wire`] reads and writes JSON.

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
pub mod needs_person;
pub mod operate;
pub mod operations;
pub mod outbox;
pub mod outcomes;
pub mod outgoing;
pub mod platform_event;
pub mod postpone;
mod present_card;
pub mod presented_card;
pub mod reconcile;
pub mod row_ids;
pub mod story;
#[cfg(test)]
mod tests;
pub mod tokens;
mod writer;

pub use acceptor::Acceptor;
pub use backlog::Backlog;

use crate::domain::{
    CardSummary, ClientName, MethodForm, Origin, Payment, PaymentId, PaymentRequest, Refusal,
    Timestamp,
};
use crate::store::StoreError;
use crate::wire::fields::FieldError;
use crate::wire::rules::NotAllowed;
use operations::start::OperationRefusal;
use tokens::TokenFault;

/// A payment request with its context.
#[derive(Debug, Clone)]
pub struct Submission {
    /// The client that sends the request.
    pub client: ClientName,
    /// The payment request.
    pub request: PaymentRequest,
    /// `Idempotency-Key` or `message_id`.
    pub idempotency_key: Option<String>,
    /// Where results go in addition to the topic.
    pub origin: Origin,
    /// How it came in.
    pub way_in: WayIn,
}

/// How a request came in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WayIn {
    /// `POST /payments`
    Rest,
    /// `order.payment`: with an expired token the payment is created without a card, and that is published as an event.
    Message,
}

/// An accepted payment.
#[derive(Debug, Clone, PartialEq)]
pub struct Accepted {
    /// Its current state.
    pub payment: Payment,
    /// It was already accepted earlier, under the same key.
    pub replayed: bool,
}

/// The result of presenting a card.
#[derive(Debug, Clone, PartialEq)]
pub enum Presented {
    /// A new attempt has started.
    Started(Payment),
    /// Nothing changed: the payment is already being processed, or has succeeded.
    AsItStands(Payment),
}

/// A token for a card that was sent before its payment.
#[derive(Debug, Clone, PartialEq)]
pub struct IssuedToken {
    /// The token that the client presents later.
    pub card_token: String,
    /// Brand, last four, expiry.
    pub card: CardSummary,
    /// When it expires, by the database's clock.
    pub expires_at: Timestamp,
}

/// Why a request was not accepted. Nothing was written.
#[derive(Debug, thiserror::Error)]
pub enum AcceptError {
    /// The key was used for another request.
    #[error("the idempotency key was used for a different request")]
    KeyReused,
    /// Unknown, used, or another client's: the caller does not learn which.
    #[error("the card token is unknown or was already used")]
    TokenUnusable,
    /// The card token has expired, by the database's clock.
    #[error("the card token has expired: create a new one")]
    TokenExpired,
    /// The client may not use the payment method, or this card.
    #[error("the payment method {what}")]
    NotAllowed {
        /// What it may not use.
        what: NotAllowed,
        /// A token was presented.
        by_token: bool,
    },
    /// Too many payments wait for the broker; no more are accepted.
    #[error("too many payments are waiting to be dispatched; try again shortly")]
    BacklogFull,
    /// This client has no such payment.
    #[error("there is no payment {0}")]
    NotFound(PaymentId),
    /// The payment's state does not allow it.
    #[error(transparent)]
    Refused(#[from] Refusal),
    /// The payment does not allow the operation, or not with this amount.
    #[error(transparent)]
    Operation(#[from] OperationRefusal),
    /// The card could not be sealed.
    #[error("the card cannot be sealed: {0}")]
    Seal(String),
    /// The store could not write.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl AcceptError {
    /// Whether the card or its token cannot be used. A duplicate of a request that has just used it sees this, too.
    pub(super) fn is_about_the_card(&self) -> bool {
        matches!(
            self,
            Self::TokenUnusable | Self::TokenExpired | Self::NotAllowed { .. } | Self::Seal(_)
        )
    }

    /// The invalid field, if the error is about the payment method, which the request gave in this form.
    pub fn invalid_field(&self, form: MethodForm) -> Option<FieldError> {
        let (field, code, message) = match self {
            Self::TokenUnusable => (
                form.card(true),
                "token_unusable",
                "is unknown or was used already: create a new one with POST /card-tokens"
                    .to_owned(),
            ),
            Self::TokenExpired => (
                form.card(true),
                "token_expired",
                "has expired: create a new one with POST /card-tokens".to_owned(),
            ),
            Self::NotAllowed { what, by_token } => {
                let field = match what {
                    NotAllowed::Method { .. }
                    | NotAllowed::Unreachable { .. }
                    | NotAllowed::NoWayBack { .. } => form.method(*by_token),
                    // Only `payment_method` can name one.
                    NotAllowed::Platform { .. } | NotAllowed::NoRoute { .. } => {
                        "payment_method.processor"
                    }
                    NotAllowed::Routed { .. } => form.method(*by_token),
                    NotAllowed::Funding { .. } => form.card(*by_token),
                };
                (field, what.code(), what.to_string())
            }
            _ => return None,
        };
        Some(FieldError {
            field: field.to_owned(),
            code,
            message: format!("{field} {message}."),
        })
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
