//! The request for a payment.

use super::{CaptureMethod, Card, Metadata, Money, OrderId, ReturnUrl, UserId};

/// A client's request for a payment.
#[derive(Debug, Clone)]
pub struct PaymentRequest {
    /// The client's order.
    pub order_id: OrderId,
    /// The client's shopper.
    pub user_id: UserId,
    /// The amount.
    pub amount: Money,
    /// How it is paid, if that is already known.
    pub method: Option<PaymentMethod>,
    /// When the amount is captured.
    pub capture_method: CaptureMethod,
    /// The client's metadata.
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
