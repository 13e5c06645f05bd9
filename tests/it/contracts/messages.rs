//! Every result, reply and dead letter that the tests receive is checked against docs/asyncapi.yaml.

use std::sync::LazyLock;

use payment_service::broker::Properties;
use payment_service::http::openapi;
use serde_json::{Value, json};

use super::schemas::Schemas;
use super::{read, resolved};
use crate::app::Heard;

pub(super) struct Description {
    pub document: Value,
    pub schemas: Schemas,
}

pub(super) static DESCRIPTION: LazyLock<Description> = LazyLock::new(|| {
    let text = read("docs/asyncapi.yaml").replace("./openapi.json#", "#");
    let document: Value = serde_saphyr::from_str(&text).unwrap();
    Description {
        schemas: Schemas::with_those_of(&document, &openapi::document()),
        document,
    }
});

/// Checks a result or a reply against the description.
#[track_caller]
pub fn must_allow(heard: &Heard) {
    let mut headers = json!(heard.headers);
    headers["message-id"] = json!(heard.message_id);
    headers["content-type"] = json!(heard.content_type);
    headers["type"] = json!(heard.kind);
    if let Some(id) = &heard.correlation_id {
        headers["correlation-id"] = json!(id);
    }
    must_be("results", &heard.kind, &headers, &heard.body);
    let topic = format!("{}.", heard.kind);
    let is_topic = ["payment.", "refund."]
        .iter()
        .any(|subject| heard.routing_key.starts_with(subject));
    assert!(
        !is_topic || heard.routing_key.starts_with(&topic),
        "{} came as {}",
        heard.kind,
        heard.routing_key
    );
}

/// Checks one of the service's dead letters against the description.
#[track_caller]
pub fn must_allow_letter(properties: &Properties, body: &Value) {
    let mut headers = json!(properties.headers);
    for (name, value) in [
        ("message-id", &properties.message_id),
        ("content-type", &properties.content_type),
        ("type", &properties.kind),
        ("correlation-id", &properties.correlation_id),
    ] {
        if let Some(value) = value {
            headers[name] = json!(value);
        }
    }
    let kind = properties.kind.as_deref().unwrap_or_default();
    must_be("deadLetters", kind, &headers, body);
}

#[track_caller]
fn must_be(channel: &str, name: &str, headers: &Value, payload: &Value) {
    let faults = faults(channel, name, headers, payload);
    assert!(
        faults.is_empty(),
        "not as described in docs/asyncapi.yaml: {name} {headers} {payload}: {faults:#?}"
    );
}

pub(super) fn faults(channel: &str, name: &str, headers: &Value, payload: &Value) -> Vec<String> {
    let Description { document, schemas } = &*DESCRIPTION;
    let messages = document["channels"][channel]["messages"].as_object();
    let message = messages
        .unwrap()
        .values()
        .map(|message| resolved(document, message))
        .find(|message| message["name"] == name);
    let Some(message) = message else {
        return vec![format!("no message {name} in the channel {channel}")];
    };
    let of_headers = schemas.faults(&message["headers"], headers);
    let of_payload = schemas.faults(&message["payload"], payload);
    [of_headers, of_payload].concat()
}
