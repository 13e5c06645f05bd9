//! Whose a replayed request is. The broker vouches for a client only while the client itself is logged in; for a
//! replay the service vouches, by an HMAC with the sealing keys that every process shares. It says no more than that
//! this client once sent this very message, so whoever copies it gains nothing.

use crate::broker::{Delivery, Properties};
use crate::card_seal::SealKeys;
use crate::domain::ClientName;

/// Header with the client's name.
const CLIENT_HEADER: &str = "replayed-for";

/// Header with the HMAC, in hexadecimal digits.
const PROOF_HEADER: &str = "replayed-proof";

/// A header claims a client, and its proof is not ours.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The header replayed-for is reserved for replays by this service.")]
pub struct NotProven;

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

/// For whom a message was replayed, if it was.
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

/// Takes the marks away, so that a message is not vouched for twice.
pub(super) fn forget(properties: &mut Properties) {
    properties.headers.remove(CLIENT_HEADER);
    properties.headers.remove(PROOF_HEADER);
}

/// Begins with what no fingerprint of a request begins with. Neither a name nor a message id has a NUL in it.
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
