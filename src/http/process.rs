//! `POST /payments/{payment_id}/process`: presents a card, or another card, to a payment.
//!
//! Its callers are synchronous: it waits without being asked to.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::HeaderMap;
use axum::response::Response;

use super::auth::Caller;
use super::body::JsonBody;
use super::headers::PathId;
use super::prefer::Prefer;
use super::problem::Problem;
use super::{Api, answer, payments};
use crate::domain::MethodForm;
use crate::payments::Presented;
use crate::wire::request::{method_form, parse_method};

/// 200 with the outcome; 202 if it comes later, the caller prefers 202, or another card is being processed.
pub async fn present(
    State(api): State<Arc<Api>>,
    Caller(client, turn): Caller,
    PathId(id): PathId,
    headers: HeaderMap,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let rules = api.clients.rules(&client);
    let method = parse_method(&body, &api.rules(&rules))?;
    let form = method_form(&body, MethodForm::Whole);
    drop(body);
    let presented = api.acceptor.present_card(&client, id, method).await;
    let presented = presented.map_err(|error| Problem::about(error, form))?;
    let prefer = Prefer::parse(&headers, api.max_wait);
    let (payment, by_itself) = match presented {
        Presented::Started(payment) if prefer.respond_async => (payment, Duration::ZERO),
        Presented::Started(payment) => (payment, api.process_wait),
        // The card in this request is not the one being processed.
        Presented::AsItStands(payment) => (payment, Duration::ZERO),
    };
    let longest = prefer.wait.unwrap_or(by_itself);
    let payment = payments::outcome(&api, (client, turn), payment, longest).await;
    Ok(answer::accepted(&payment, prefer))
}
