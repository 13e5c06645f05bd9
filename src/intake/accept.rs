//! Accepting a request by message: the same for a message that arrives and for a dead letter that is replayed.

use super::order_reader::OrderReader;
use super::request::Request;
use crate::domain::OperationKind;
use crate::payments::operate::{Canceled, Operated};
use crate::payments::{AcceptError, Accepted, Acceptor};
use crate::wire::order::Refusal;

/// Why a request was not accepted.
#[derive(Debug)]
pub enum NotAccepted {
    /// Its fields are invalid.
    Refused(Refusal),
    /// The use case failed.
    Failed(AcceptError),
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
        let Canceled { payment, replayed } = acceptor.cancel(client, id, key).await?;
        return Ok(Accepted { payment, replayed });
    }
    let Operated {
        payment, replayed, ..
    } = acceptor.operate(request).await?;
    Ok(Accepted { payment, replayed })
}
