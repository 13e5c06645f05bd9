//! `POST /payments`, `GET /payments/{payment_id}`.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::admission::Turn;
use super::auth::Caller;
use super::body::JsonBody;
use super::headers::{PathId, idempotency_key, traceparent};
use super::prefer::Prefer;
use super::problem::Problem;
use super::{Api, answer, wait};
use crate::domain::Origin;
use crate::domain::{ClientName, Payment};
use crate::payments::{Submission, WayIn};
use crate::wire::request::parse_payment;

/// Accepts a payment: 202, or 200 if it has an outcome within the time that the caller waits.
pub async fn create(
    State(api): State<Arc<Api>>,
    Caller(client, turn): Caller,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let idempotency_key = idempotency_key(&headers)?;
    let rules = api.clients.rules(&client);
    let request = parse_payment(&body, &api.rules(&rules))?;
    drop(body);
    let form = request.method_form;
    let submission = Submission {
        client: client.clone(),
        request,
        idempotency_key,
        origin: Origin {
            traceparent: traceparent(&headers),
            ..Origin::default()
        },
        way_in: WayIn::Rest,
    };
    let accepted = api.acceptor.accept(submission).await;
    let accepted = accepted.map_err(|error| Problem::about(error, form))?;
    tracing::Span::current().record("payment.id", accepted.payment.id.0);
    let prefer = Prefer::parse(&headers, api.max_wait);
    let longest = prefer.wait.unwrap_or_default();
    let payment = outcome(&api, (client, turn), accepted.payment, longest).await;
    let response = answer::created(&payment, prefer, api.created_status);
    Ok(if accepted.replayed {
        answer::replayed(response)
    } else {
        response
    })
}

/// A payment in its current state; with `Prefer: wait` answers when its outcome is there, or when the time is over.
pub async fn show(
    State(api): State<Arc<Api>>,
    Caller(client, turn): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
) -> Result<Response, Problem> {
    let payment = api.queries.payment(&client, id).await?;
    let payment = payment.ok_or_else(|| Problem::no_payment(id))?;
    let prefer = Prefer::parse(&headers, api.max_wait);
    let longest = prefer.wait.unwrap_or_default();
    let payment = outcome(&api, (client, turn), payment, longest).await;
    Ok(answer::version(&payment, prefer, &headers))
}

/// Waits for a payment's outcome, up to a limit. While it waits, the client's turn is free for another request.
pub(super) async fn outcome(
    api: &Api,
    (client, mut turn): (ClientName, Turn),
    payment: Payment,
    longest: Duration,
) -> Payment {
    turn.only_waits();
    let id = payment.id;
    let read = || api.queries.payment(&client, id);
    wait::for_outcome(&api.waiters, payment, longest, read).await
}
