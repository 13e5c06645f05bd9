//! A dead letter as it is read again: what it is, where it came from, and the message to publish if it is replayed.

use serde::Serialize;
use serde_json::Value;
use sha2::{Digest, Sha256};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::mask::{masked_text, received};
use super::{AT_HEADER, ID_HEADER, KINDS, REPLIES, replay};
use crate::broker::{Exchange, HEADERS_DROPPED, Properties, Publication, Queue};
use crate::card_seal::SealKeys;
use crate::clients::Clients;
use crate::domain::{ClientName, Timestamp};
use crate::messages::order::ORDER_PAYMENT;
use crate::messages::payment::rfc3339;
use crate::messages::work::WorkMessage;

/// What the broker says of a message that it buried; no client can take it off again.
const FIRST_DEATH_QUEUE: &str = "x-first-death-queue";
const FIRST_DEATH_REASON: &str = "x-first-death-reason";
const DEATHS: &str = "x-death";

/// Headers by which a message that was replayed keeps its history.
const COUNT_HEADER: &str = "dead-letter-count";
const FIRST_AT_HEADER: &str = "dead-letter-first-at";
const REASONS_HEADER: &str = "dead-letter-reasons";

/// A message that could not be used.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct DeadLetter {
    /// Its own id; of the broker's letters made from what is in them, so that it stays the same.
    pub id: String,
    /// Why it is here.
    pub reason: String,
    /// The same in a sentence, for refused requests.
    pub error: Option<String>,
    /// Every invalid field of a refused request: `field`, `code`, `message`.
    pub errors: Value,
    /// Since when, RFC 3339, where that is known.
    pub at: Option<String>,
    /// The queue that it was taken from.
    pub queue: String,
    /// Where it was published.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// The sender's own id of the message.
    pub message_id: Option<String>,
    /// Whose it is, where that is known.
    pub client: Option<String>,
    /// The RabbitMQ user who published it.
    pub user_id: Option<String>,
    /// How often it has been a dead letter, this time included.
    pub count: u32,
    /// When it was one for the first time.
    pub first_at: Option<String>,
    /// Every reason so far, the first one first.
    pub reasons: String,
    /// Whether something was cut out of it for good: then it cannot be replayed.
    pub masked: bool,
    /// Whether only the first part of its body is left.
    pub cut: bool,
    /// How long the body was when it was sent, where that is known.
    pub body_bytes: Option<u64>,
    /// Without anything that looks like a card.
    pub body: Value,
    #[serde(skip)]
    original: Message,
}

/// What was published in the first place.
#[derive(Debug, Clone, PartialEq)]
struct Message {
    properties: Properties,
    body: String,
}

/// Why a dead letter cannot be published again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotReplayable {
    /// Card data was cut out of it.
    #[error("it is masked or cut: what is missing is gone; its sender has to send it again")]
    Masked,
    /// Nobody could accept it.
    #[error(
        "nobody knows whose it is: name the RabbitMQ user `{0}` in CLIENTS_FILE, or set DEFAULT_CLIENT"
    )]
    Nobodys(String),
    /// It did not come from a queue of ours.
    #[error("it came from `{0}`, which is no queue of this service")]
    ForeignQueue(String),
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
        let original = Message {
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
        // What was no text cannot have been a message that anyone of us reads.
        let text = std::str::from_utf8(body);
        let size = properties.original_size();
        let received = received(body, size.is_some());
        let dropped = headers.contains_key(HEADERS_DROPPED);
        let original = Message {
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

    /// With what both kinds have.
    fn new(
        id: String,
        queue: &str,
        reason: Option<String>,
        at: Option<String>,
        original: Message,
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

    /// How long it has been here.
    pub fn age(&self, now: Timestamp) -> Option<time::Duration> {
        let at = OffsetDateTime::parse(self.at.as_deref()?, &Rfc3339).ok()?;
        Some(now - at)
    }

    /// The message that is published again, with its history in its headers.
    pub fn replay(
        &self,
        keys: &SealKeys,
        clients: &Clients,
        default_client: Option<&ClientName>,
    ) -> Result<Publication, NotReplayable> {
        let (exchange, _) =
            place(&self.queue).ok_or_else(|| NotReplayable::ForeignQueue(self.queue.clone()))?;
        if self.masked {
            return Err(NotReplayable::Masked);
        }
        let Message { properties, body } = self.original.clone();
        let mut properties = Properties {
            user_id: None,
            ..properties
        };
        properties.headers.retain(|name, _| !name.starts_with("x-"));
        replay::forget(&mut properties);
        if exchange == Exchange::Requests {
            let client = self
                .owner(clients, default_client)
                .ok_or_else(|| NotReplayable::Nobodys(self.user_id.clone().unwrap_or_default()))?;
            replay::vouch(keys, &client, &mut properties, body.as_bytes());
        }
        let history = [
            (COUNT_HEADER, Some(self.count.to_string())),
            (FIRST_AT_HEADER, self.first_at.clone()),
            (REASONS_HEADER, Some(self.reasons.clone())),
        ];
        for (name, value) in history {
            if let Some(value) = value {
                properties.headers.insert(name.to_owned(), value);
            }
        }
        Ok(Publication {
            exchange,
            routing_key: self.routing_key.clone(),
            properties,
            body,
            mandatory: true,
        })
    }

    /// The broker vouched for the user, or the service knew the client when it refused the message.
    fn owner(&self, clients: &Clients, default_client: Option<&ClientName>) -> Option<ClientName> {
        let known = self
            .client
            .as_deref()
            .and_then(|name| ClientName::parse(name).ok());
        let user = self.user_id.as_deref();
        known
            .or_else(|| clients.by_rabbitmq_user(user?))
            .or_else(|| default_client.filter(|_| user.is_none()).cloned())
    }
}

/// Where what lies in a queue was published.
fn place(queue: &str) -> Option<(Exchange, &'static str)> {
    let callbacks = Queue::Callbacks.name();
    [
        (Queue::Requests.name(), Exchange::Requests, ORDER_PAYMENT),
        (Queue::Work.name(), Exchange::Work, WorkMessage::KEY),
        (callbacks, Exchange::Default, callbacks),
        (REPLIES, Exchange::Default, ""),
    ]
    .into_iter()
    .find_map(|(known, exchange, key)| (known == queue).then_some((exchange, key)))
}

/// From what is in the message: the same whenever it is read. A message id is unique for its sender alone.
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

/// The newest moment in the broker's `x-death`, which reaches us as text: `time: SECONDS`.
fn time_of(deaths: &str) -> Option<String> {
    let seconds = deaths.split("time: ").skip(1).filter_map(|rest| {
        let digits: String = rest.chars().take_while(char::is_ascii_digit).collect();
        digits.parse::<i64>().ok()
    });
    let moment = OffsetDateTime::from_unix_timestamp(seconds.max()?).ok()?;
    Some(rfc3339(moment))
}
