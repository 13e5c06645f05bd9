//! What replaying a dead letter means: a request is read as if it had just arrived, for the client that the broker
//! verified when it did arrive; any other message is published again. Pure: the command `dead-letters` acts.

use super::order_reader::{Order, OrderReader};
use super::request::Request;
use crate::broker::{Exchange, Properties, Publication};
use crate::domain::{ClientName, Timestamp};
use crate::wire::dead_letter::{DeadLetter, masked_text};
use crate::wire::order::Refusal;

/// What a replay does.
#[derive(Debug, Clone)]
pub enum Replay {
    /// A request, to be accepted by the same use case as an arriving message. It is not published again, because the broker
    /// would then name this service as its sender.
    Accept(Request),
    /// Any other message, to be published again with its history in its headers.
    Publish(Publication),
}

/// Why a dead letter cannot be replayed.
#[derive(Debug, Clone, PartialEq, thiserror::Error)]
pub enum NotReplayable {
    /// Card data was removed from it.
    #[error(
        "it was masked or cut, and the missing part was not stored; its sender has to send it again"
    )]
    Masked,
    /// It belongs to no known client, so it would not be accepted.
    #[error(
        "its client is not known: name the RabbitMQ user `{0}` in CLIENTS_FILE, or set DEFAULT_CLIENT"
    )]
    ClientUnknown(String),
    /// It did not come from a queue of this service.
    #[error("it came from `{0}`, which is not a queue of this service")]
    ForeignQueue(String),
    /// It is a request that would be refused again.
    #[error("{}", sentence(.0))]
    Refused(Refusal),
}

/// Decides what replaying a letter does.
pub fn replay(
    letter: &DeadLetter,
    reader: &OrderReader,
    now: Timestamp,
) -> Result<Replay, NotReplayable> {
    let exchange = letter
        .published_to()
        .ok_or_else(|| NotReplayable::ForeignQueue(letter.queue.clone()))?;
    if letter.masked {
        return Err(NotReplayable::Masked);
    }
    match exchange {
        Exchange::Requests => {
            let client = client(letter, reader).ok_or_else(|| {
                NotReplayable::ClientUnknown(letter.user_id.clone().unwrap_or_default())
            })?;
            let properties = properties(letter);
            let order = Order {
                routing_key: &letter.routing_key,
                properties: &properties,
                body: letter.original.body.as_bytes(),
            };
            let request = reader.read_order(order, &client, now);
            let request = request.map_err(NotReplayable::Refused)?;
            Ok(Replay::Accept(request))
        }
        exchange => Ok(Replay::Publish(publication(letter, exchange))),
    }
}

/// The client of the user that the broker authenticated, or the client that the service knew when it refused the message.
fn client(letter: &DeadLetter, reader: &OrderReader) -> Option<ClientName> {
    let known = letter
        .client
        .as_deref()
        .and_then(|name| ClientName::parse(name).ok());
    let user = letter.user_id.as_deref();
    known
        .or_else(|| reader.clients.by_rabbitmq_user(user?))
        .or_else(|| reader.default_client.clone().filter(|_| user.is_none()))
}

/// The properties that the sender gave the message, without the broker's headers about the delivery that failed.
fn properties(letter: &DeadLetter) -> Properties {
    let mut properties = Properties {
        user_id: None,
        ..letter.original.properties.clone()
    };
    properties.headers.retain(|name, _| !name.starts_with("x-"));
    properties
}

fn publication(letter: &DeadLetter, exchange: Exchange) -> Publication {
    let mut properties = properties(letter);
    let history = letter.history();
    properties
        .headers
        .extend(history.map(|(name, value)| (name.to_owned(), value)));
    Publication {
        exchange,
        routing_key: letter.routing_key.clone(),
        properties,
        body: letter.original.body.clone(),
        mandatory: true,
    }
}

/// The reason, and every invalid field; a client may have put anything into the name of a field.
fn sentence(refusal: &Refusal) -> String {
    let fields = refusal.errors.iter();
    let fields = fields.map(|error| masked_text(&format!(" {}: {}", error.field, error.message)));
    let fields: String = fields.collect();
    format!(
        "{}: {}{fields}",
        refusal.reason,
        masked_text(&refusal.error)
    )
}
