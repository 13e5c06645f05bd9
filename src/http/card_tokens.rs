//! `POST /card-tokens`: takes a card before its payment, so that the payment can be requested by message.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::auth::Caller;
use super::body::JsonBody;
use super::problem::Problem;
use crate::domain::{Brand, Funding, MethodForm, rfc3339};
use crate::wire::request::parse_card;

/// A token for a card, valid for one payment within 15 minutes.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "CardToken")]
pub struct CardTokenObject<'t> {
    /// Send it as `card_token`.
    card_token: &'t str,
    brand: Brand,
    /// The last four digits.
    #[schemars(regex(pattern = "^[0-9]{4}$"))]
    last4: &'t str,
    /// What stands behind the card, by its number range; `unknown` for most.
    funding: Funding,
    /// RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    expires_at: String,
}

/// 201 with a token for one payment of the same client.
pub async fn create(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    JsonBody(body): JsonBody,
) -> Result<Response, Problem> {
    let rules = api.clients.rules(&client);
    let card = parse_card(&body, &api.rules(&rules))?;
    drop(body);
    let token = api.acceptor.issue_token(&client, card).await;
    let token = token.map_err(|error| Problem::about(error, MethodForm::Whole))?;
    let object = CardTokenObject {
        card_token: &token.card_token,
        brand: token.card.brand,
        last4: &token.card.last4,
        funding: token.card.funding,
        expires_at: rfc3339(token.expires_at),
    };
    Ok((StatusCode::CREATED, Json(object)).into_response())
}
