//! Captures, cancellations and refunds: `POST /payments/{payment_id}/capture`, `/cancel` and `/refunds`, and the addresses
//! that show refunds.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::LOCATION;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::auth::Caller;
use super::body::OptionalJsonBody;
use super::headers::{PathId, PathRefund, idempotency_key, traceparent};
use super::prefer::Prefer;
use super::problem::{Kind, Problem};
use super::{Api, answer, payments};
use crate::domain::{ClientName, Currency, OperationKind, Origin, PaymentId};
use crate::payments::operate::{Operated, OperationRequest};
use crate::wire::operation::{OperationFields, RefundObject, parse_operation};

/// The refunds of a payment; a list is never longer than this.
const MOST_REFUNDS: u32 = 1000;

/// The refunds of a payment, the oldest first.
#[derive(Serialize, JsonSchema)]
pub struct Refunds {
    data: Vec<RefundObject>,
}

/// Captures an authorized amount: 202, or 200 if the outcome comes within the time that the caller waits.
pub async fn capture(
    State(api): State<Arc<Api>>,
    Caller(client, turn): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let currency = currency(&api, &client, id).await?;
    let rules = api.clients.rules(&client);
    let kind = OperationKind::Capture;
    let fields = parse_operation(&body, kind, (currency, false), rules.unknown_fields)?;
    let request = request(&client, (id, kind), (key, &headers), fields);
    let operated = api.acceptor.operate(request).await?;
    let prefer = Prefer::parse(&headers, api.max_wait);
    let longest = prefer.wait.unwrap_or_default();
    let payment = payments::outcome(&api, (client, turn), operated.payment, longest).await;
    let response = answer::accepted(&payment, prefer);
    Ok(if operated.replayed {
        answer::replayed(response)
    } else {
        response
    })
}

/// Cancels a payment: 200 if it waits for a card, 202 while its authorization is being voided.
pub async fn cancel(
    State(api): State<Arc<Api>>,
    Caller(client, turn): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?;
    let currency = currency(&api, &client, id).await?;
    let rules = api.clients.rules(&client);
    // There is nothing to say; but a client that sends an amount does not mean to release everything.
    // Some callers send `null` where they have nothing to send.
    let kind = OperationKind::Void;
    if !body.is_null() {
        parse_operation(&body, kind, (currency, false), rules.unknown_fields)?;
    }
    let origin = origin(&headers);
    let canceled = api.acceptor.cancel(&client, id, (key, origin)).await?;
    let prefer = Prefer::parse(&headers, api.max_wait);
    let longest = prefer.wait.unwrap_or_default();
    let payment = payments::outcome(&api, (client, turn), canceled.payment, longest).await;
    let response = answer::accepted(&payment, prefer);
    Ok(if canceled.replayed {
        answer::replayed(response)
    } else {
        response
    })
}

/// Refunds a captured amount, or a part of it: 202 with the refund.
pub async fn refund(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
    OptionalJsonBody(body): OptionalJsonBody,
) -> Result<Response, Problem> {
    let key = idempotency_key(&headers)?.ok_or_else(key_missing)?;
    let currency = currency(&api, &client, id).await?;
    let rules = api.clients.rules(&client);
    let kind = OperationKind::Refund;
    let fields = parse_operation(&body, kind, (currency, false), rules.unknown_fields)?;
    let request = request(&client, (id, kind), (Some(key), &headers), fields);
    let Operated {
        operation,
        replayed,
        ..
    } = api.acceptor.operate(request).await?;
    let location = HeaderValue::try_from(format!("/refunds/{}", operation.id));
    let refund = Json(RefundObject::from(&operation));
    let mut response = (StatusCode::ACCEPTED, refund).into_response();
    if let Ok(location) = location {
        response.headers_mut().insert(LOCATION, location);
    }
    Ok(if replayed {
        answer::replayed(response)
    } else {
        response
    })
}

/// The refunds of a payment.
pub async fn list(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    PathId(id): PathId,
) -> Result<Json<Refunds>, Problem> {
    let refunds = api.queries.refunds(&client, id, MOST_REFUNDS).await?;
    let refunds = refunds.ok_or_else(|| Problem::no_payment(id))?;
    Ok(Json(Refunds {
        data: refunds.iter().map(RefundObject::from).collect(),
    }))
}

/// One refund.
pub async fn show(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    PathRefund(id): PathRefund,
) -> Result<Json<RefundObject>, Problem> {
    let refund = api.queries.refund(&client, id).await?;
    let refund = refund.ok_or_else(Problem::no_refund)?;
    Ok(Json(RefundObject::from(&refund)))
}

/// The answer to a refund without a key.
pub(super) fn key_missing() -> Problem {
    Problem::field(
        Kind::BadRequest,
        "Idempotency-Key",
        "missing",
        "Idempotency-Key is missing: a refund that is sent twice, for example by a gateway, must not be made twice. Send a \
         UUID, and the same one when you repeat the request.",
    )
}

/// The payment's currency: amounts are read in it.
async fn currency(api: &Api, client: &ClientName, id: PaymentId) -> Result<Currency, Problem> {
    let payment = api.queries.payment(client, id).await?;
    let payment = payment.ok_or_else(|| Problem::no_payment(id))?;
    Ok(payment.amount.currency())
}

fn origin(headers: &HeaderMap) -> Origin {
    Origin {
        traceparent: traceparent(headers),
        ..Origin::default()
    }
}

fn request(
    client: &ClientName,
    (payment, kind): (PaymentId, OperationKind),
    (idempotency_key, headers): (Option<String>, &HeaderMap),
    fields: OperationFields,
) -> OperationRequest {
    OperationRequest {
        amount: fields.amount,
        reason: fields.reason,
        client_reference: fields.client_reference,
        idempotency_key,
        origin: origin(headers),
        ..OperationRequest::new(client, payment, kind)
    }
}
