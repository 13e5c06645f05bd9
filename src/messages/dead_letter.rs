//! Dead letters: refused messages with their reason, and nothing in them that looks like a card.

use serde_json::{Value, json};

use super::order::Refusal;
use crate::broker::{Delivery, Exchange, Properties, Publication, Queue};
use crate::domain::card::holds_card_number;

/// Stands where something was taken out.
const MASK: &str = "[masked]";

/// A dead letter for a refused request.
pub fn publication(delivery: &Delivery, refusal: &Refusal) -> Publication {
    let received = received(&delivery.body);
    let body = json!({
        "reason": refusal.reason,
        "error": refusal.error,
        "errors": refusal.errors,
        "client": refusal.client,
        "routing_key": delivery.routing_key,
        "properties": delivery.properties,
        "body": received,
    });
    Publication {
        exchange: Exchange::DeadLetters,
        routing_key: Queue::Requests.name().to_owned(),
        properties: Properties {
            message_id: delivery.properties.message_id.clone(),
            correlation_id: delivery.properties.correlation_id.clone(),
            content_type: Some("application/json".to_owned()),
            kind: Some("payment.request_refused".to_owned()),
            headers: [("reason".to_owned(), refusal.reason.to_owned())].into(),
            ..Properties::default()
        },
        body: body.to_string(),
        mandatory: true,
    }
}

/// The body as it was received, as JSON where it is, masked.
fn received(body: &[u8]) -> Value {
    match serde_json::from_slice::<Value>(body) {
        Ok(value) => masked(value),
        Err(_) => {
            // No telling what it is: every digit goes.
            let text = String::from_utf8_lossy(body);
            Value::String(
                text.chars()
                    .take(4096)
                    .map(|c| if c.is_numeric() { '#' } else { c })
                    .collect(),
            )
        }
    }
}

/// Takes out whole values of fields that are named like card data, and every text or number that looks like one.
fn masked(value: Value) -> Value {
    match value {
        Value::Object(entries) => entries
            .into_iter()
            .map(|(key, value)| {
                let value = if names_card_data(&key) {
                    masked_field(value)
                } else {
                    masked(value)
                };
                (key, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) if holds_card_number(&text) => MASK.into(),
        Value::Number(number) if holds_card_number(&number.to_string()) => MASK.into(),
        other => other,
    }
}

fn masked_field(value: Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => masked(value),
        _ => MASK.into(),
    }
}

fn names_card_data(key: &str) -> bool {
    let key: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase();
    let names = [
        "cardnumber",
        "number",
        "pan",
        "cardcode",
        "code",
        "cvc",
        "cvv",
        "securitycode",
        "cardtoken",
    ];
    names.contains(&key.as_str())
}
