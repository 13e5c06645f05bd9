//! A request by message that has been read: a payment, or an operation on one. Accepting it is the same for a message that
//! arrives and for a dead letter that is replayed.

use serde_json::Value;

use super::order_reader::OrderReader;
use crate::domain::{ClientName, OperationKind, Origin, PaymentId};
use crate::payments::operations::Operated;
use crate::payments::{AcceptError, Accepted, Acceptor, Submission};
use crate::wire::order::Refusal;

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

/// Why a request was not accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// Its fields are invalid.
    Refused(Refusal),
    /// The use case failed.
    Failed(AcceptError),
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

impl From<AcceptError> for NotAccepted {
    fn from(error: AcceptError) -> Self {
        Self::Failed(error)
    }
}

/// Accepts a request; returns its payment, and whether it was accepted before.
pub async fn accept(
    acceptor: &Acceptor,
    reader: &OrderReader,
    request: Request,
) -> Result<Accepted, NotAccepted> {
    let order = match request {
        Request::Payment(submission) => return Ok(acceptor.accept(*submission).await?),
        Request::Operation(order) => order,
    };
    let (client, id) = (&order.client, order.payment);
    let currency = acceptor.currency(client, id).await?;
    let request = reader.read_fields(&order, currency);
    let request = request.map_err(NotAccepted::Refused)?;
    if order.kind == OperationKind::Void {
        let key = (request.idempotency_key, request.origin);
        let payment = acceptor.cancel(client, id, key).await?;
        return Ok(Accepted {
            payment,
            replayed: false,
        });
    }
    let Operated {
        payment, replayed, ..
    } = acceptor.operate(request).await?;
    Ok(Accepted { payment, replayed })
}
