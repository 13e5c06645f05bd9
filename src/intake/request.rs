//! A request by message that has been read: a payment, or an operation on one.

use serde_json::Value;

use crate::domain::{ClientName, MethodForm, OperationKind, Origin, PaymentId};
use crate::payments::Submission;

/// What a message asks for.
#[derive(Debug, Clone)]
pub enum Request {
    /// `order.payment`
    Payment(Box<Submission>),
    /// `order.capture`, `order.cancel` or `order.refund`.
    Operation(OperationOrder),
}

/// A request for an operation on a payment whose currency is not known yet.
#[derive(Debug, Clone)]
pub struct OperationOrder {
    /// The client that sent it.
    pub client: ClientName,
    /// What it asks for.
    pub kind: OperationKind,
    /// The payment.
    pub payment: PaymentId,
    /// The message id.
    pub idempotency_key: String,
    /// Where answers go.
    pub origin: Origin,
    /// Its other fields are read in the payment's currency.
    pub(super) body: Value,
}

impl Request {
    /// The client that sent it.
    pub fn client(&self) -> &ClientName {
        match self {
            Self::Payment(submission) => &submission.client,
            Self::Operation(order) => &order.client,
        }
    }
}

impl Request {
    /// How it gives its payment method, for errors about it.
    pub fn method_form(&self) -> MethodForm {
        match self {
            Self::Payment(submission) => submission.request.method_form,
            Self::Operation(_) => MethodForm::InPayment,
        }
    }
}
