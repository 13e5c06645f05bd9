//! The payment itself.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{
    Action, CardSummary, ClientName, DeclineCode, Dispute, Funds, Metadata, MethodSummary, Money,
    ReturnUrl, Timestamp,
};

/// Fits a signed 32-bit integer by default, because older callers store it in an INT column.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(transparent)]
#[schemars(inline)]
pub struct PaymentId(pub i64);

/// The client's number of the order that is paid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OrderId(pub i64);

/// The client's number of the shopper.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct UserId(pub i64);

/// The state of a payment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum PaymentStatus {
    /// Accepted without a card.
    RequiresPaymentMethod,
    /// A card was presented, or a capture or void is running; the processor has not decided yet.
    Processing,
    /// The shopper has to approve on a page of the processor.
    RequiresAction,
    /// Authorized: the client has to capture the amount, or cancel.
    RequiresCapture,
    /// Charged exactly once.
    Succeeded,
    /// The issuer refused the card; another may be presented.
    Declined,
    /// No issuer decided, nothing is charged; another card may be presented.
    Failed,
    /// Canceled by the client.
    Canceled,
}

/// A payment as its client may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Payment {
    /// Its id.
    pub id: PaymentId,
    /// The client it belongs to.
    pub client: ClientName,
    /// The client's order.
    pub order_id: OrderId,
    /// The client's shopper.
    pub user_id: UserId,
    /// The amount.
    pub amount: Money,
    /// Its current state.
    pub status: PaymentStatus,
    /// Why it was declined or failed.
    pub decline_code: Option<DeclineCode>,
    /// The issuer's proof of the charge.
    pub authorization_code: Option<String>,
    /// The payment method of the current attempt.
    pub method: Option<MethodSummary>,
    /// Cards presented so far.
    pub attempt: u32,
    /// The client's metadata.
    pub metadata: Metadata,
    /// The last attempt that needed its shopper, if there was one.
    pub action: Option<Action>,
    /// Where the payment page sends the shopper back to.
    pub return_url: Option<ReturnUrl>,
    /// What was captured and refunded.
    pub funds: Funds,
    /// The disputes about it at its platform.
    pub disputes: Vec<Dispute>,
    /// Sequence of its last event: grows with every change.
    pub sequence: u32,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

impl Payment {
    /// The card of the current attempt, if it pays by card.
    pub fn card(&self) -> Option<&CardSummary> {
        self.method.as_ref().and_then(MethodSummary::card)
    }

    /// What its shopper has to do now.
    pub fn next_action(&self) -> Option<&Action> {
        let action = self.action.as_ref();
        action.filter(|_| self.status == PaymentStatus::RequiresAction)
    }

    /// Whether its shopper disputes it, and the bank has not decided yet.
    pub fn is_disputed(&self) -> bool {
        self.disputes.iter().any(|it| it.ended.is_none())
    }

    /// Whether its status is `succeeded`.
    pub fn is_paid(&self) -> bool {
        self.status == PaymentStatus::Succeeded
    }
}

impl PaymentStatus {
    /// All statuses, in the order of a payment's life.
    pub const ALL: [Self; 8] = [
        Self::RequiresPaymentMethod,
        Self::Processing,
        Self::RequiresAction,
        Self::RequiresCapture,
        Self::Succeeded,
        Self::Declined,
        Self::Failed,
        Self::Canceled,
    ];

    /// Whether a try of the current attempt is under way or due, unless a capture or void runs.
    pub fn has_a_try(self) -> bool {
        matches!(self, Self::Processing | Self::RequiresAction)
    }

    /// The name in rows, answers and routing keys: `requires_payment_method`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequiresPaymentMethod => "requires_payment_method",
            Self::Processing => "processing",
            Self::RequiresAction => "requires_action",
            Self::RequiresCapture => "requires_capture",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl fmt::Display for PaymentStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for PaymentId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}
