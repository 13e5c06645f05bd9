//! The one `Payment` object: in answers, lists, event data and replies.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use crate::domain::{
    Action, Brand, CancellationReason, CaptureMethod, Expiration, Funding, Metadata, MethodSummary,
    Money, OperationKind, Payment, PaymentId, PaymentStatus, rfc3339,
};

/// A payment as JSON. Absent values are null; no field is ever left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Payment")]
pub struct PaymentObject {
    /// The payment's id; fits a signed 32-bit integer by default.
    pub payment_id: PaymentId,
    /// The same id, for callers of the service that this one succeeds.
    pub id: PaymentId,
    /// The client's order.
    pub order_id: i64,
    /// The client's shopper.
    pub user_id: i64,
    /// In major units of the currency, exact to its minor unit.
    pub total_amount: f64,
    /// ISO 4217.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// Its current state.
    pub status: PaymentStatus,
    /// True exactly when `status` is `succeeded`.
    pub is_paid: bool,
    /// Why it was declined or failed, in snake case: `insufficient_funds`. An open set.
    pub decline_code: Option<String>,
    /// The issuer's proof of the charge.
    pub authorization_code: Option<String>,
    /// The payment method of the current attempt. `type` names it: `card`, `wallet`, `token`, `redirect`, or one that the operator has added;
    /// others than cards have fields of their own.
    #[schemars(with = "Option<ShownMethod>")]
    pub payment_method: Option<PaymentMethodObject>,
    /// What the shopper has to do now: only while `status` is `requires_action`. Null also in an event that is published when
    /// another attempt has begun.
    pub next_action: Option<NextActionObject>,
    /// Cards presented so far.
    pub attempt: u32,
    /// When the amount is captured.
    pub capture_method: CaptureMethod,
    /// The captured amount in major units: 0 before the payment succeeds, less than `total_amount` after a partial capture.
    pub amount_captured: f64,
    /// The refunded amount in major units, without refunds that are pending or failed.
    pub amount_refunded: f64,
    /// When the authorization expires unless it is captured: RFC 3339, UTC. Null unless it was authorized for a later capture.
    #[schemars(extend("format" = "date-time"))]
    pub capture_before: Option<String>,
    /// The capture or void that is running: then `status` is `processing`.
    pub operation: Option<OperationKind>,
    /// Why the payment was canceled.
    pub cancellation_reason: Option<CancellationReason>,
    /// The client's metadata.
    pub metadata: Metadata,
    /// Where the shopper is sent back to from the payment page, and from the page of `next_action` with `payment_id` appended.
    pub return_url: Option<String>,
    /// When it was accepted: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// When it last changed: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: String,
}

/// What a shopper has to do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "NextAction")]
pub struct NextActionObject {
    /// `redirect`: send the shopper to `url`.
    #[serde(rename = "type")]
    #[schemars(extend("const" = "redirect"))]
    pub kind: String,
    /// The page on which the shopper approves. Afterwards it sends the shopper to the payment's `return_url`, with
    /// `payment_id` appended.
    pub url: String,
    /// Until when the shopper can approve: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub expires_at: String,
}

/// The parts of a payment method that are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum PaymentMethodObject {
    /// A card.
    Card(CardObject),
    /// Another method: its `type` and its own fields.
    Other {
        /// Its name.
        #[serde(rename = "type")]
        kind: String,
        /// Its fields.
        #[serde(flatten)]
        shown: BTreeMap<String, String>,
    },
}

/// The parts of a card that are shown.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct CardObject {
    /// `card`
    #[serde(rename = "type")]
    pub kind: String,
    /// The scheme.
    pub brand: Brand,
    /// The last four digits.
    pub last4: String,
    /// `YYYY-MM`
    pub expiration: Expiration,
    /// What stands behind the card, by its number range; `unknown` for most.
    pub funding: Funding,
    /// The processor that a route has chosen; absent for the simulated issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
}

/// The parts of a payment method that are shown; all but `type` only of a card.
// For the description: one object, which every client generator can read.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "PaymentMethod")]
struct ShownMethod {
    /// `card`, `wallet`, `token`, `redirect`, or a method that the operator has added.
    #[serde(rename = "type")]
    kind: String,
    /// The processor, if it is not the one for cards and wallets: of a `token`, a `redirect`, and what the operator's routes give
    /// to another one.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String")]
    processor: Option<String>,
    /// The scheme.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Brand")]
    brand: Option<Brand>,
    /// The last four digits.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[0-9]{4}$"))]
    last4: Option<String>,
    /// `YYYY-MM`
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "String", regex(pattern = "^[0-9]{4}-[0-9]{2}$"))]
    expiration: Option<Expiration>,
    /// What stands behind the card, by its number range; `unknown` for most.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Funding")]
    funding: Option<Funding>,
}

impl From<&Payment> for PaymentObject {
    fn from(payment: &Payment) -> Self {
        Self {
            payment_id: payment.id,
            id: payment.id,
            order_id: payment.order_id.0,
            user_id: payment.user_id.0,
            total_amount: payment.amount.major_number(),
            currency: payment.amount.currency().code().to_owned(),
            status: payment.status,
            is_paid: payment.is_paid(),
            decline_code: payment.decline_code.as_ref().map(ToString::to_string),
            authorization_code: payment.authorization_code.clone(),
            payment_method: payment.method.as_ref().map(PaymentMethodObject::from),
            next_action: payment.next_action().map(NextActionObject::from),
            attempt: payment.attempt,
            capture_method: payment.funds.capture_method,
            amount_captured: major(payment, payment.funds.captured),
            amount_refunded: major(payment, payment.funds.refunded),
            capture_before: payment.funds.capture_before.map(rfc3339),
            operation: payment.funds.operation,
            cancellation_reason: payment.funds.cancellation_reason,
            metadata: payment.metadata.clone(),
            return_url: payment
                .return_url
                .as_ref()
                .map(|url| url.as_str().to_owned()),
            created_at: rfc3339(payment.created_at),
            updated_at: rfc3339(payment.updated_at),
        }
    }
}

impl From<&Action> for NextActionObject {
    fn from(action: &Action) -> Self {
        Self {
            kind: "redirect".to_owned(),
            url: action.url.clone(),
            expires_at: rfc3339(action.expires_at),
        }
    }
}

impl From<&MethodSummary> for PaymentMethodObject {
    fn from(method: &MethodSummary) -> Self {
        match method {
            MethodSummary::Card(card) => Self::Card(CardObject {
                kind: "card".to_owned(),
                brand: card.brand,
                last4: card.last4.clone(),
                expiration: card.expiration,
                funding: card.funding,
                processor: card.processor.clone(),
            }),
            MethodSummary::Other(other) => Self::Other {
                kind: other.name.clone(),
                shown: other.shown.clone(),
            },
        }
    }
}

/// Minor units of the payment's currency in major units; 0 is no amount of its own.
fn major(payment: &Payment, minor: i64) -> f64 {
    let amount = Money::from_minor(minor, payment.amount.currency());
    amount.map_or(0.0, Money::major_number)
}
