//! Dead letters: refused messages with their reason, and nothing in them that looks like a card.
//!
//! There are two kinds. Ours are refused requests: the letter says why, and holds the message within. The broker's are
//! messages that came back too often, as they were. [`DeadLetter`] reads both.

mod letter;
mod mask;
pub mod replay;

use serde_json::json;
use time::OffsetDateTime;
use uuid::Uuid;

use super::order::Refusal;
use super::payment::rfc3339;
use crate::broker::{Delivery, Exchange, Properties, Publication, Queue};
pub use letter::{DeadLetter, NotReplayable};
use mask::received;

/// The `type` property of our own dead letters.
const KIND: &str = "payment.request_refused";

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
    let headers = [
        ("reason", refusal.reason.to_owned()),
        (ID_HEADER, Uuid::now_v7().to_string()),
        (AT_HEADER, rfc3339(OffsetDateTime::now_utc())),
    ];
    Publication {
        exchange: Exchange::DeadLetters,
        routing_key: Queue::Requests.name().to_owned(),
        properties: Properties {
            message_id: delivery.properties.message_id.clone(),
            correlation_id: delivery.properties.correlation_id.clone(),
            content_type: Some("application/json".to_owned()),
            kind: Some(KIND.to_owned()),
            headers: headers.map(|(name, value)| (name.to_owned(), value)).into(),
            ..Properties::default()
        },
        body: body.to_string(),
        mandatory: true,
    }
}
