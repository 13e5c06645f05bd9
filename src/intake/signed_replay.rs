//! Replayed requests that the previous release has published: its command published a request again instead of
//! accepting it, and signed it for the client. Needed until no process of that release runs and its replays have left the
//! requests queue; then this file and the reason `replay_not_proven` can go.
//!
//! The signature is an HMAC with the sealing keys over client, message id and body, so copying it only repeats a request
//! that the client has sent.

use crate::broker::{Delivery, Properties};
use crate::domain::ClientName;
use crate::vault::SealKeys;

/// Header with the client's name.
const CLIENT_HEADER: &str = "replayed-for";

/// Header with the HMAC, in hexadecimal digits.
const PROOF_HEADER: &str = "replayed-proof";

/// A header names a client, but its proof is not valid.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("The header replayed-for is reserved for replays by this service.")]
pub(super) struct NotProven;

/// The client that a message was replayed for, if it was replayed.
pub(super) fn client(
    keys: &SealKeys,
    delivery: &Delivery,
) -> Result<Option<ClientName>, NotProven> {
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
