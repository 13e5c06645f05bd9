//! `GET /payments/{payment_id}/events`: what happened to a payment, in order.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use schemars::JsonSchema;
use serde::Serialize;

use super::Api;
use super::auth::Caller;
use super::headers::PathId;
use super::problem::Problem;
use crate::domain::rfc3339;
use crate::domain::{Event, EventId, EventKind};

/// The whole history; a payment has few events, so there is no paging.
#[derive(Serialize, JsonSchema)]
pub struct History {
    data: Vec<EventObject>,
}

/// One event.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Event")]
struct EventObject {
    /// UUIDv7; the id of the published event.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: EventId,
    /// 1, 2, 3 … within the payment.
    sequence: u32,
    #[serde(rename = "type")]
    kind: EventKind,
    /// RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    /// The attempt (card) that it belongs to; 0 before the first attempt.
    attempt: u32,
    /// The try (call to the issuer) within the attempt; 0 if there was none.
    #[serde(rename = "try")]
    try_number: u32,
    /// Decline code or reason, if there is one.
    reason: Option<String>,
}

impl From<Event> for EventObject {
    fn from(event: Event) -> Self {
        Self {
            id: event.id,
            sequence: event.sequence,
            kind: event.kind,
            time: rfc3339(event.at),
            attempt: event.attempt,
            try_number: event.try_number,
            reason: event.reason,
        }
    }
}

/// A payment's history.
pub async fn list(
    State(api): State<Arc<Api>>,
    Caller(client, _turn): Caller,
    PathId(id): PathId,
) -> Result<Json<History>, Problem> {
    let events = api.queries.events(&client, id).await?;
    let events = events.ok_or_else(|| Problem::no_payment(id))?;
    Ok(Json(History {
        data: events.into_iter().map(EventObject::from).collect(),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;
    use time::macros::datetime;
    use uuid::Uuid;

    use super::*;
    use crate::domain::PaymentId;

    #[test]
    fn an_event_is_shown_with_all_fields() {
        let event = Event {
            id: EventId(Uuid::nil()),
            payment: PaymentId(7),
            sequence: 3,
            kind: EventKind::TryFailed,
            at: datetime!(2026-11-01 10:00:00.123456 UTC),
            attempt: 1,
            try_number: 1,
            reason: None,
        };
        assert_eq!(
            serde_json::to_value(EventObject::from(event)).expect("JSON"),
            json!({
                "id": "00000000-0000-0000-0000-000000000000", "sequence": 3, "type": "try_failed",
                "time": "2026-11-01T10:00:00.123456Z", "attempt": 1, "try": 1, "reason": null,
            })
        );
    }
}
