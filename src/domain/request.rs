//! The request for a payment.

use super::{CaptureMethod, Card, Metadata, Money, OrderId, OtherMethod, ReturnUrl, UserId};

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
    /// In which of its forms the request gives it; it does not change what is meant.
    pub method_form: MethodForm,
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
    /// Another method.
    Other(OtherMethod),
}

/// The form in which a body gives its payment method, which decides how errors name its fields.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MethodForm {
    /// `card` or `card_token` of a payment request.
    InPayment,
    /// The fields of a card, or `card_token`, as the whole body.
    Whole,
    /// `payment_method`.
    Nested,
}

impl MethodForm {
    /// The field that chooses a card, or a token of one, as the method.
    pub fn method(self, by_token: bool) -> &'static str {
        match self {
            Self::InPayment if by_token => "card_token",
            Self::InPayment => "card",
            Self::Whole => self.card(by_token),
            Self::Nested => "payment_method.type",
        }
    }

    /// The field that says which card it is.
    pub fn card(self, by_token: bool) -> &'static str {
        match (self, by_token) {
            (Self::InPayment | Self::Whole, true) => "card_token",
            (Self::Nested, true) => "payment_method.card_token",
            (Self::InPayment, false) => "card.cardNumber",
            (Self::Whole, false) => "cardNumber",
            (Self::Nested, false) => "payment_method.cardNumber",
        }
    }
}
