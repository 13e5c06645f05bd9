//! Replays a dead letter: the message that is published again, and the proof of which client sent it.
//!
//! The broker authenticates a client only while the client itself is logged in; for a replay the service proves it, by an
//! HMAC with the sealing keys that all processes share. The proof covers only that this client once sent this exact
//! message, so copying it gains nothing.

use crate::broker::{Delivery, Exchange, Properties, Publication};
use crate::clients::Clients;
use crate::domain::ClientName;
use crate::vault::SealKeys;
use crate::wire::dead_letter::DeadLetter;

/// Header with the client's name.
const CLIENT_HEADER: &str = "replayed-for";

/// Header with the HMAC, in hexadecimal digits.
const PROOF_HEADER: &str = "replayed-proof";

/// A header names a client, but its proof is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The header replayed-for is reserved for replays by this service.")]
pub struct NotProven;

/// Why a dead letter cannot be published again.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
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
    Nobodys(String),
    /// It did not come from a queue of this service.
    #[error("it came from `{0}`, which is not a queue of this service")]
    ForeignQueue(String),
}

/// The message to publish again, with its history in its headers.
pub fn replay(
    letter: &DeadLetter,
    keys: &SealKeys,
    clients: &Clients,
    default_client: Option<&ClientName>,
) -> Result<Publication, NotReplayable> {
    let exchange = letter
        .published_to()
        .ok_or_else(|| NotReplayable::ForeignQueue(letter.queue.clone()))?;
    if letter.masked {
        return Err(NotReplayable::Masked);
    }
    let body = letter.original.body.clone();
    let mut properties = Properties {
        user_id: None,
        ..letter.original.properties.clone()
    };
    properties.headers.retain(|name, _| !name.starts_with("x-"));
    forget(&mut properties);
    if exchange == Exchange::Requests {
        let client = owner(letter, clients, default_client)
            .ok_or_else(|| NotReplayable::Nobodys(letter.user_id.clone().unwrap_or_default()))?;
        vouch(keys, &client, &mut properties, body.as_bytes());
    }
    let history = letter.history();
    properties
        .headers
        .extend(history.map(|(name, value)| (name.to_owned(), value)));
    Ok(Publication {
        exchange,
        routing_key: letter.routing_key.clone(),
        properties,
        body,
        mandatory: true,
    })
}

/// The client of the user that the broker authenticated, or the client that the service knew when it refused the message.
fn owner(
    letter: &DeadLetter,
    clients: &Clients,
    default_client: Option<&ClientName>,
) -> Option<ClientName> {
    let known = letter
        .client
        .as_deref()
        .and_then(|name| ClientName::parse(name).ok());
    let user = letter.user_id.as_deref();
    known
        .or_else(|| clients.by_rabbitmq_user(user?))
        .or_else(|| default_client.filter(|_| user.is_none()).cloned())
}

/// Marks a message as sent for a client.
pub fn vouch(keys: &SealKeys, client: &ClientName, properties: &mut Properties, body: &[u8]) {
    let proof = keys.fingerprint(&statement(client, properties, body));
    let headers = [
        (CLIENT_HEADER, client.to_string()),
        (PROOF_HEADER, hex::encode(proof)),
    ];
    properties
        .headers
        .extend(headers.map(|(name, value)| (name.to_owned(), value)));
}

/// The client that a message was replayed for, if it was replayed.
pub fn client(keys: &SealKeys, delivery: &Delivery) -> Result<Option<ClientName>, NotProven> {
    let properties = &delivery.properties;
    let Some(name) = properties.headers.get(CLIENT_HEADER) else {
        return Ok(None);
    };
    let client = ClientName::parse(name).map_err(|_| NotProven)?;
    let mut proof = [0; 32];
    let given = properties.headers.get(PROOF_HEADER).ok_or(NotProven)?;
    hex::decode_to_slice(given, &mut proof).map_err(|_| NotProven)?;
    if keys.matches(&proof, &statement(&client, properties, &delivery.body)) {
        Ok(Some(client))
    } else {
        Err(NotProven)
    }
}

/// Removes the marks, so that a message does not carry two.
fn forget(properties: &mut Properties) {
    properties.headers.remove(CLIENT_HEADER);
    properties.headers.remove(PROOF_HEADER);
}

/// Begins differently from any fingerprint of a request. Neither a client name nor a message id can contain a NUL.
fn statement(client: &ClientName, properties: &Properties, body: &[u8]) -> Vec<u8> {
    let message_id = properties.message_id.as_deref().unwrap_or("");
    [
        b"replay of a dead letter\0",
        client.as_str().as_bytes(),
        b"\0",
        message_id.as_bytes(),
        b"\0",
        body,
    ]
    .concat()
}
