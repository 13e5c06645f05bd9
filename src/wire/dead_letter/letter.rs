//! A dead letter as it is read back: its reason, its origin, and the message to publish if it is replayed.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::mask::{masked_text, received};
use super::{AT_HEADER, ID_HEADER, KINDS, REPLIES};
use crate::broker::{Exchange, HEADERS_DROPPED, Properties, Queue};
use crate::domain::Timestamp;
use crate::domain::rfc3339;
use crate::wire::order::ORDER_PAYMENT;
use crate::wire::work::{WorkGroup, WorkMessage};

/// The header that the broker sets on a message that it dead-letters; no client can remove it.
const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";
const FIRST_DEATH_REASON: &str = "x-first-death-reason";
const DEATHS: &str = "x-death";

/// Headers that keep the history of a replayed message.
const COUNT_HEADER: &str = "dead-letter-count";
const FIRST_AT_HEADER: &str = "dead-letter-first-at";
const REASONS_HEADER: &str = "dead-letter-reasons";

/// A message that could not be processed.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Its id; for the broker's letters derived from their content, so that it stays the same.
    pub id: String,
    /// Why it was dead-lettered, for programs.
    pub reason: String,
    /// The reason as a sentence, for refused requests.
    pub error: Option<String>,
    /// Every invalid field of a refused request: `field`, `code`, `message`.
    pub errors: Value,
    /// When it was dead-lettered, RFC 3339, if that is known.
    pub at: Option<String>,
    /// The queue that it came from.
    pub queue: String,
    /// The exchange that it was published to.
    pub exchange: String,
    /// Its routing key there.
    pub routing_key: String,
    /// The sender's own id of the message.
    pub message_id: Option<String>,
    /// The client that it belongs to, if that is known.
    pub client: Option<String>,
    /// The RabbitMQ user who published it.
    pub user_id: Option<String>,
    /// How often it has been dead-lettered, including this time.
    pub count: u32,
    /// When it was dead-lettered for the first time.
    pub first_at: Option<String>,
    /// Every reason so far, the earliest first.
    pub reasons: String,
    /// Whether something was permanently removed from it: then it cannot be replayed.
    pub masked: bool,
    /// Whether only the first part of its body is left.
    pub cut: bool,
    /// The length of the body when it was sent, if that is known.
    pub body_bytes: Option<u64>,
    /// The body, without anything that looks like a card.
    pub body: Value,
    /// The message as it was originally published.
    #[serde(skip)]
    pub original: OriginalMessage,
}

/// The message as it was originally published.
#[derive(Debug, Clone, PartialEq)]
pub struct OriginalMessage {
    /// Its properties.
    pub properties: Properties,
    /// Its body; empty if it was not text.
    pub body: String,
}

impl DeadLetter {
    /// Reads a message of the dead-letter queue. Its routing key is the queue that it came from.
    pub fn read(routing_key: &str, properties: &Properties, body: &[u8]) -> Self {
        let ours = properties
            .kind
            .as_deref()
            .is_some_and(|kind| KINDS.contains(&kind))
            && properties.user_id.is_none()
            && !properties.headers.contains_key(FIRST_DEATH_QUEUE);
        let refused = ours.then(|| serde_json::from_slice(body).ok()).flatten();
        match refused {
            Some(letter) => Self::of_refusal(routing_key, properties, &letter),
            None => Self::of_broker(routing_key, properties, body),
        }
    }

    fn of_refusal(queue: &str, properties: &Properties, letter: &Value) -> Self {
        let text = |name: &str| letter[name].as_str().map(str::to_owned);
        let inner: Properties =
            serde_json::from_value(letter["properties"].clone()).unwrap_or_default();
        let original = OriginalMessage {
            properties: inner,
            body: letter["body"].to_string(),
        };
        let id = properties.headers.get(ID_HEADER).cloned();
        let id = id.unwrap_or_else(|| stable_id(queue, properties, letter.to_string().as_bytes()));
        Self {
            error: text("error"),
            errors: letter["errors"].clone(),
            routing_key: text("routing_key").unwrap_or_else(|| ORDER_PAYMENT.to_owned()),
            client: text("client"),
            user_id: text("user_id"),
            masked: letter["masked"].as_bool().unwrap_or(true),
            cut: letter["cut"].as_bool().unwrap_or(false),
            body_bytes: letter["body_bytes"].as_u64(),
            body: letter["body"].clone(),
            ..Self::new(
                id,
                queue,
                text("reason"),
                properties.headers.get(AT_HEADER).cloned(),
                original,
            )
        }
    }

    fn of_broker(queue: &str, properties: &Properties, body: &[u8]) -> Self {
        let headers = &properties.headers;
        let at = headers.get(DEATHS).and_then(|deaths| time_of(deaths));
        // A body that is not text cannot be a message for this service.
        let text = std::str::from_utf8(body);
        let size = properties.original_size();
        let received = received(body, size.is_some());
        let dropped = headers.contains_key(HEADERS_DROPPED);
        let original = OriginalMessage {
            properties: properties.clone(),
            body: text.unwrap_or_default().to_owned(),
        };
        Self {
            user_id: properties.user_id.clone(),
            masked: text.is_err() || size.is_some() || dropped,
            cut: received.cut,
            body_bytes: Some(size.unwrap_or(body.len() as u64)),
            body: received.body,
            ..Self::new(
                stable_id(queue, properties, body),
                queue,
                headers.get(FIRST_DEATH_REASON).cloned(),
                at.or_else(|| headers.get(AT_HEADER).cloned()),
                original,
            )
        }
    }

    /// Creates a letter with the fields that both kinds have.
    fn new(
        id: String,
        queue: &str,
        reason: Option<String>,
        at: Option<String>,
        original: OriginalMessage,
    ) -> Self {
        let reason = reason.unwrap_or_else(|| "unknown".to_owned());
        let headers = &original.properties.headers;
        let before = headers.get(COUNT_HEADER).and_then(|it| it.parse().ok());
        let reasons = headers.get(REASONS_HEADER);
        let place = place(queue);
        Self {
            id,
            error: None,
            errors: Value::Array(Vec::new()),
            queue: queue.to_owned(),
            exchange: place.map_or("", |(exchange, _)| exchange.name()).to_owned(),
            routing_key: place.map_or("", |(_, key)| key).to_owned(),
            message_id: original.properties.message_id.as_deref().map(masked_text),
            client: None,
            user_id: None,
            count: before.unwrap_or(0_u32).saturating_add(1),
            first_at: headers.get(FIRST_AT_HEADER).cloned().or_else(|| at.clone()),
            reasons: reasons.map_or_else(|| reason.clone(), |before| format!("{before}, {reason}")),
            masked: true,
            cut: false,
            body_bytes: None,
            body: Value::Null,
            reason,
            at,
            original,
        }
    }

    /// How long it has been a dead letter.
    pub fn age(&self, now: Timestamp) -> Option<time::Duration> {
        let at = OffsetDateTime::parse(self.at.as_deref()?, &Rfc3339).ok()?;
        Some(now - at)
    }

    /// The exchange that it was published to; none if the queue is not one of the service's.
    pub fn published_to(&self) -> Option<Exchange> {
        place(&self.queue).map(|(exchange, _)| exchange)
    }

    /// Headers for a message that is published again, so that it keeps its history.
    pub fn history(&self) -> impl Iterator<Item = (&'static str, String)> {
        [
            (COUNT_HEADER, Some(self.count.to_string())),
            (FIRST_AT_HEADER, self.first_at.clone()),
            (REASONS_HEADER, Some(self.reasons.clone())),
        ]
        .into_iter()
        .filter_map(|(name, value)| Some((name, value?)))
    }
}

/// The exchange and routing key by which messages reach a queue.
fn place(queue: &str) -> Option<(Exchange, &'static str)> {
    let callbacks = Queue::Callbacks.name();
    [
        (Queue::Requests.name(), Exchange::Requests, ORDER_PAYMENT),
        (Queue::Work.name(), Exchange::Work, WorkMessage::KEY),
        (Queue::WorkGroups.name(), Exchange::Work, WorkGroup::KEY),
        (callbacks, Exchange::Default, callbacks),
        (REPLIES, Exchange::Default, ""),
    ]
    .into_iter()
    .find_map(|(known, exchange, key)| (known == queue).then_some((exchange, key)))
}

/// Derived from the message's content: the same each time it is read. A message id is unique only for its sender.
fn stable_id(queue: &str, properties: &Properties, body: &[u8]) -> String {
    let text = |text: &Option<String>| text.clone().unwrap_or_default();
    let mut digest = Sha256::new();
    for part in [
        queue,
        &text(&properties.user_id),
        &text(&properties.message_id),
    ] {
        digest.update(part.as_bytes());
        digest.update([0]);
    }
    digest.update(body);
    hex::encode(&digest.finalize()[..16])
}

/// The newest time in the broker's `x-death`, which arrives as text: `time: SECONDS`.
fn time_of(deaths: &str) -> Option<String> {
    let seconds = deaths.split("time: ").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i64>().ok()
    });
    let moment = OffsetDateTime::from_unix_timestamp(seconds.max()?).ok()?;
    Some(rfc3339(moment))
}
