//! Dead letters: refused messages with their reason, and nothing in them that looks like a card.
//!
//! There are two sorts. Ours are refused requests and callbacks that were given up: the letter says why, and holds the
//! message within. The broker's are messages that came back too often, as they were. [`DeadLetter`] reads both.

mod letter;
mod mask;
pub mod replay;

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::order::Refusal;
use super::payment::rfc3339;
use crate::broker::{Delivery, Exchange, Properties, Publication, Queue};
use crate::domain::ClientName;
pub use letter::{DeadLetter, NotReplayable};
use mask::received;

/// The `type` property of a refused request.
const REFUSED: &str = "payment.request_refused";

/// The `type` property of a callback that was given up.
const UNDELIVERED: &str = "payment.callback_undelivered";

/// Those of all our own dead letters.
const KINDS: [&str; 2] = [REFUSED, UNDELIVERED];

/// Header with the letter's own id, a UUIDv7; the broker's letters have none.
const ID_HEADER: &str = "dead-letter-id";

/// Header with the moment at which it was refused, RFC 3339.
const AT_HEADER: &str = "dead-lettered-at";

/// A dead letter for a refused request.
pub fn publication(delivery: &Delivery, refusal: &Refusal) -> Publication {
    let (received, masked) = received(&delivery.body);
    let body = json!({
        "reason": refusal.reason,
        "error": refusal.error,
        "errors": refusal.errors,
        "client": refusal.client,
        "user_id": delivery.properties.user_id,
        "masked": masked,
        "routing_key": delivery.routing_key,
        "properties": delivery.properties,
        "body": received,
    });
    let properties = &delivery.properties;
    letter(REFUSED, Queue::Requests, refusal.reason, properties, &body)
}

/// A dead letter for an event that could not be delivered. What is within is our own, so nothing is cut out of it.
pub fn undelivered(
    reason: &str,
    error: &str,
    client: &ClientName,
    properties: &Properties,
    event: &Value,
) -> Publication {
    let body = json!({
        "reason": reason,
        "error": error,
        "client": client,
        "masked": false,
        "routing_key": Queue::Callbacks.name(),
        "properties": properties,
        "body": event,
    });
    letter(UNDELIVERED, Queue::Callbacks, reason, properties, &body)
}

fn letter(
    kind: &str,
    queue: Queue,
    reason: &str,
    original: &Properties,
    body: &Value,
) -> Publication {
    let headers = [
        ("reason", reason.to_owned()),
        (ID_HEADER, Uuid::now_v7().to_string()),
        (AT_HEADER, rfc3339(OffsetDateTime::now_utc())),
    ];
    Publication {
        exchange: Exchange::DeadLetters,
        routing_key: queue.name().to_owned(),
        properties: Properties {
            message_id: original.message_id.clone(),
            correlation_id: original.correlation_id.clone(),
            content_type: Some("application/json".to_owned()),
            kind: Some(kind.to_owned()),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Properties::default()
        },
        body: body.to_string(),
        mandatory: true,
    }
}
