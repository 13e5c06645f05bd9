//! Dead letters: refused messages with their reason, without anything that looks like a card.
//!
//! There are two kinds. The service's own are refused requests and abandoned callbacks: the letter contains the reason
//! and the message. The broker's are unchanged messages that were rejected too often. [`DeadLetter`] reads both.

mod letter;
mod mask;

use serde_json::{Value, json};
use time::OffsetDateTime;
use uuid::Uuid;

use super::order::Refusal;
use crate::broker::{Delivery, Exchange, Properties, Publication, Queue};
use crate::domain::ClientName;
use crate::domain::rfc3339;
use crate::wire::fields::FieldError;
pub use letter::DeadLetter;
pub use mask::masked_text;
use mask::{event_properties, kept_properties, received};

/// The `type` property of a refused request.
const REFUSED: &str = "payment.request_refused";

/// The `type` property of a callback that was abandoned.
const UNDELIVERED: &str = "payment.callback_undelivered";

/// The `type` property of a reply that could not be delivered.
/// The reason of a dead letter that was a reply.
pub const UNDELIVERABLE: &str = "reply_undeliverable";

const UNANSWERABLE: &str = "payment.reply_undeliverable";

/// The types of all of the service's own dead letters.
const KINDS: [&str; 3] = [REFUSED, UNDELIVERED, UNANSWERABLE];

/// The queue name in letters of replies. Not a real queue, since clients own the reply queues.
const REPLIES: &str = "payments.replies";

/// Header with the letter's id, a UUIDv7; the broker's letters have none.
const ID_HEADER: &str = "dead-letter-id";

/// Header with the time at which it was refused, RFC 3339.
const AT_HEADER: &str = "dead-lettered-at";

/// A dead letter for a refused request: masked, with a bounded part of the original.
pub fn publication(delivery: &Delivery, refusal: &Refusal) -> Publication {
    let size = delivery.size();
    let received = received(&delivery.body, size != delivery.body.len() as u64);
    let (properties, differs) = kept_properties(&delivery.properties);
    // Errors name fields of the request, and a client may have put anything into a field name.
    let errors = refusal.errors.iter().map(|error| FieldError {
        field: masked_text(&error.field),
        message: masked_text(&error.message),
        ..error.clone()
    });
    let errors: Vec<FieldError> = errors.collect();
    let body = json!({
        "reason": refusal.reason,
        "error": masked_text(&refusal.error),
        "errors": errors,
        "client": refusal.client,
        "user_id": properties.user_id,
        "masked": received.differs || differs,
        "cut": received.cut,
        "body_bytes": size,
        "routing_key": masked_text(&delivery.routing_key),
        "properties": properties,
        "body": received.body,
    });
    let queue = Queue::Requests.name();
    letter(REFUSED, queue, refusal.reason, &properties, &body)
}

/// A dead letter for an event that could not be delivered. The event comes from this service, so only values that a
/// client may have put into the properties are masked.
pub fn undelivered(
    reason: &str,
    error: &str,
    client: &ClientName,
    properties: &Properties,
    event: &Value,
) -> Publication {
    let (properties, masked) = event_properties(properties);
    let body = json!({
        "reason": reason,
        "error": error,
        "client": client,
        "masked": masked,
        "routing_key": Queue::Callbacks.name(),
        "properties": properties,
        "body": event,
    });
    let queue = Queue::Callbacks.name();
    letter(UNDELIVERED, queue, reason, &properties, &body)
}

/// A dead letter for a reply that its queue does not accept, or for which the broker closes the connection.
/// It has the outbox row's id: two processes may set it aside at the same time, and copies must share one id.
pub fn unanswerable(error: &str, reply: &Publication, id: Uuid) -> Publication {
    let (properties, masked) = event_properties(&reply.properties);
    let event: Value = serde_json::from_str(&reply.body).unwrap_or_default();
    let reason = UNDELIVERABLE;
    let body = json!({
        "reason": reason,
        "error": error,
        "client": properties.headers.get(super::result::CLIENT_HEADER),
        "masked": masked,
        "routing_key": reply.routing_key,
        "properties": properties,
        "body": event,
    });
    let mut letter = letter(UNANSWERABLE, REPLIES, reason, &properties, &body);
    let headers = &mut letter.properties.headers;
    headers.insert(ID_HEADER.to_owned(), id.to_string());
    letter
}

fn letter(
    kind: &str,
    queue: &str,
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
        routing_key: queue.to_owned(),
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
