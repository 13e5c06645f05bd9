//! Where both ways in meet: one validation, one idempotency space, one table.

mod acceptor;
mod canonical;
pub mod card_fields;
pub mod did_you_mean;
pub mod fields;
pub mod json;
mod methods;
pub mod request;
pub mod rules;
pub mod schema;

pub use acceptor::Acceptor;

use crate::domain::{
    Card, CardSummary, ClientName, Metadata, Money, OrderId, Payment, PaymentId, Refusal,
    ReturnUrl, Timestamp, UserId,
};
use crate::store::StoreError;
use crate::store::commands::TokenFault;
use crate::store::rows::Origin;

/// The longest body of a request, by REST and by message.
pub const LONGEST_REQUEST_BYTES: usize = 64 * 1024;

/// What a client asks for when it delegates a payment.
#[derive(Debug, Clone)]
pub struct PaymentRequest {
    /// The client's order.
    pub order_id: OrderId,
    /// The client's shopper.
    pub user_id: UserId,
    /// How much.
    pub amount: Money,
    /// How it is paid, if that is known already.
    pub method: Option<PaymentMethod>,
    /// The client's own texts.
    pub metadata: Metadata,
    /// Where the payment page sends the shopper back to.
    pub return_url: Option<ReturnUrl>,
}

/// How a payment is paid.
#[derive(Debug, Clone)]
pub enum PaymentMethod {
    /// A card in clear.
    Card(Card),
    /// A token of `POST /card-tokens`, or a reusable test token.
    Token(String),
}

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
