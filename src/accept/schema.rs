//! What requests may look like, as JSON Schema: for the descriptions of both interfaces.
//!
//! The parsers of [`super::request`] decide; tests hold this to them. What no schema can say (that a currency has no
//! third decimal, that a month is not too far ahead) stands in the descriptions.

use serde_json::{Value, json};

use super::card_fields::LONGEST_TOKEN;
use super::fields::Object;
use super::request::LONGEST_AMOUNT;
use crate::domain::{CardNumber, Expiration, Metadata, Money};

/// The body of `POST /payments`.
pub fn payment_request() -> Value {
    let mut schema = order_payment();
    schema["description"] = json!(
        "A payment. Without a card it waits for one. `card` and `card_token` exclude each other. A field that is null \
         counts as absent."
    );
    schema["properties"]["card"] = json!({
        "description": "The card to pay with.",
        "anyOf": [{"$ref": "#/components/schemas/Card"}, {"type": "null"}],
    });
    schema["not"] = json!({
        "required": ["card", "card_token"],
        "properties": {"card": {"type": "object"}, "card_token": {"type": "string"}},
    });
    schema
}

/// The body of an `order.payment` message: no card in clear.
pub fn order_payment() -> Value {
    json!({
        "type": "object",
        "description": "A payment, by message: as over REST, but never with a card in clear. A field that is null counts \
                        as absent.",
        "properties": {
            "order_id": positive_integer("The client's number of the order that is paid."),
            "user_id": positive_integer("The client's number of the shopper."),
            "total_amount": amount(),
            "currency": {
                "type": ["string", "null"],
                "description": "ISO 4217, upper case. By default that of the service, CAD unless configured otherwise.",
                "pattern": "^[A-Z]{3}$",
                "examples": ["CAD", "EUR", "JPY"],
            },
            "card": {
                "type": "null",
                "description": "Not in a message: a broker writes what it carries to disk.",
            },
            "card_token": card_token(json!(["string", "null"])),
            "metadata": metadata(),
        },
        "required": ["order_id", "user_id", "total_amount"],
        "additionalProperties": false,
    })
}

/// The body of `POST /card-tokens`, and a payment's `card`.
pub fn card() -> Value {
    json!({
        "type": "object",
        "description": "A card, in the fields of the service that this one succeeds.",
        "properties": card_fields(),
        "required": ["cardNumber", "cardCode", "expirationDate"],
        "additionalProperties": false,
    })
}

/// The body of `process`: the fields of a card, or a token.
pub fn card_or_token() -> Value {
    let nothing = json!({"type": "null"});
    let mut with_card = card();
    with_card["title"] = json!("Card");
    with_card["properties"]["card_token"] = nothing.clone();
    json!({
        "description": "A card, or the token of one.",
        "anyOf": [with_card, {
            "title": "Token",
            "type": "object",
            "properties": {
                "card_token": card_token(json!("string")),
                "cardNumber": nothing,
                "cardCode": nothing,
                "expirationDate": nothing,
            },
            "required": ["card_token"],
            "additionalProperties": false,
        }],
    })
}

/// Ids of the client's own.
pub fn positive_integer(description: &str) -> Value {
    json!({
        "type": "integer",
        "description": description,
        "minimum": 1,
        "maximum": Object::MAX_INTEGER,
    })
}

fn amount() -> Value {
    json!({
        "description": "In major units. A number within a millionth of a minor unit is rounded to it (from about \
                        100,000,000 minor units: within 64 steps of a 64-bit float), so binary floats may be sent as \
                        they are (13999.930000000002 is 13999.93); a string is exact. More decimals than \
                        the currency has are refused.",
        "anyOf": [
            {"type": "number", "exclusiveMinimum": 0, "maximum": Money::MAX_MINOR},
            {"type": "string", "pattern": "^[0-9]+(\\.[0-9]+)?$", "maxLength": LONGEST_AMOUNT},
        ],
        "examples": [99.53, "99.53"],
    })
}

fn card_token(kind: Value) -> Value {
    json!({
        "type": kind,
        "description": "A token of `POST /card-tokens`, good for one payment within 15 minutes; or a test token.",
        "pattern": "^tok_[A-Za-z0-9_]*$",
        "maxLength": LONGEST_TOKEN,
        "examples": ["tok_visa"],
    })
}

fn metadata() -> Value {
    json!({
        "type": ["object", "null"],
        "description": "Texts of the client's own, given back unchanged. They are stored and published in clear, so what \
                        looks like a card number is refused.",
        "maxProperties": Metadata::MAX_ENTRIES,
        "propertyNames": {"minLength": 1, "maxLength": Metadata::MAX_KEY},
        "additionalProperties": {"type": "string", "maxLength": Metadata::MAX_VALUE},
        "examples": [{"channel": "web"}],
    })
}

fn card_fields() -> Value {
    let (fewest, most) = (CardNumber::MIN_DIGITS, CardNumber::MAX_DIGITS);
    json!({
        "cardNumber": {
            "description": format!("{fewest} to {most} digits, as a string (spaces and hyphens are left out) or as a number."),
            "anyOf": [
                {"type": "string", "pattern": format!("^[ -]*([0-9][ -]*){{{fewest},{most}}}$")},
                {"type": "integer", "minimum": 100_000_000_000_u64, "maximum": 9_999_999_999_999_999_999_u64},
            ],
            "examples": ["4242424242424242", 9_999_999_999_999_u64],
        },
        "cardCode": {
            "description": "3 or 4 digits, as a string or as a number (which has lost its leading zeros).",
            "anyOf": [
                {"type": "string", "pattern": "^[0-9]{3,4}$"},
                {"type": "integer", "minimum": 0, "maximum": 9999},
            ],
            "examples": ["123", 123],
        },
        "expirationDate": {
            "type": "string",
            "description": format!(
                "A month as YYYY-MM-DD, YYYY-MM or MM/YY, at most {} years ahead. A past month is declined, not refused.",
                Expiration::MAX_YEARS_AHEAD
            ),
            "pattern": "^([0-9]{4}-(0[1-9]|1[0-2])(-(0[1-9]|[12][0-9]|3[01]))?|(0[1-9]|1[0-2])/[0-9]{2})$",
            "examples": ["2030-01-05", "2030-01", "01/30"],
        },
    })
}

#[cfg(test)]
mod tests;
