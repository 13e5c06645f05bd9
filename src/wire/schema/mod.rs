//! The JSON Schemas of requests, for the descriptions of both interfaces.
//!
//! The parsers of [`super::request`] decide; tests compare these schemas with them. Rules that a schema cannot express
//! (a currency has no third decimal, a month is not too far ahead) are in the descriptions.

use serde_json::{Value, json};

use super::card_fields::LONGEST_TOKEN;
use super::fields::Object;
use super::operation::{LONGEST_REASON, LONGEST_REFERENCE};
use super::request::LONGEST_AMOUNT;
use crate::domain::{CardNumber, Expiration, Metadata, Money, ReturnUrl};

/// The body of `POST /payments`.
pub fn payment_request() -> Value {
    let mut schema = order_payment();
    schema["description"] = json!(
        "A payment. Without a payment method it waits for one. `payment_method`, `card` and `card_token` exclude each \
         other; the last two mean a card. A field that is null counts as absent."
    );
    schema["properties"]["card"] = json!({
        "description": "The card to pay with.",
        "anyOf": [{"$ref": "#/components/schemas/Card"}, {"type": "null"}],
    });
    schema["properties"]["payment_method"] = json!({
        "description": "The payment method to pay with.",
        "anyOf": [{"$ref": "#/components/schemas/GivenMethod"}, {"type": "null"}],
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
        "description": "A payment request by message: the same as over REST, but without card data, because a broker writes \
                        messages to disk. `payment_method` and `card_token` exclude each other. A field that is null counts as \
                        absent.",
        "properties": {
            "order_id": id("The client's number of the order that is paid."),
            "user_id": id("The client's number of the shopper."),
            "total_amount": amount(),
            "currency": {
                "type": ["string", "null"],
                "description": "ISO 4217, upper case. By default that of the service, CAD unless configured otherwise.",
                "pattern": "^[A-Z]{3}$",
                "examples": ["CAD", "EUR", "JPY"],
            },
            "payment_method": {
                "description": "The payment method to pay with.",
                "anyOf": [token_method(), wallet_method(), platform_method(), redirect_method(), {"type": "null"}],
            },
            "card_token": card_token(json!(["string", "null"])),
            "capture_method": {
                "description": "`automatic` (the default): the amount is captured together with the authorization. `manual`: it is \
                                only authorized, and captured or released when the client asks for it.",
                "enum": ["automatic", "manual", null],
            },
            "metadata": metadata(),
            "return_url": return_url(),
        },
        "required": ["order_id", "user_id", "total_amount"],
        "additionalProperties": false,
        "if": {"required": ["payment_method"], "properties": {"payment_method": {"type": "object"}}},
        "then": {"properties": {"card": {"type": "null"}, "card_token": {"type": "null"}}},
    })
}

/// A `payment_method` in a request.
pub fn given_method() -> Value {
    json!({
        "description": "How the payment is paid; `type` names the method and decides which other fields there are.",
        "anyOf": [
            {"$ref": "#/components/schemas/CardMethod"},
            {"$ref": "#/components/schemas/TokenMethod"},
            {"$ref": "#/components/schemas/WalletMethod"},
            {"$ref": "#/components/schemas/PlatformMethod"},
            {"$ref": "#/components/schemas/RedirectMethod"},
        ],
    })
}

/// A `payment_method` that is an electronic wallet.
pub fn wallet_method() -> Value {
    json!({
        "type": "object",
        "description": "Pay with an electronic wallet: the shopper approves on its page, see `next_action` of the answer.",
        "properties": {"type": {"const": "wallet"}},
        "required": ["type"],
        "additionalProperties": false,
    })
}

/// A `payment_method` that a payment platform keeps.
pub fn platform_method() -> Value {
    json!({
        "type": "object",
        "description": "Pay with what a payment platform keeps, by its token: the platform has to be listed in PROCESSORS_FILE.",
        "properties": {
            "type": {"const": "token"},
            "processor": processor("stripe"),
            "token": {"type": "string", "description": "The platform's token: `pm_card_visa`.", "pattern": "^[!-~]{1,255}$", "not": {"pattern": "^[0-9]+$"}},
        },
        "required": ["type", "processor", "token"],
        "additionalProperties": false,
    })
}

/// A `payment_method` that is the own page of a payment platform.
pub fn redirect_method() -> Value {
    json!({
        "type": "object",
        "description": "Pay on the own page of a payment platform, see `next_action` of the answer. Without `processor` a route of the operator's chooses the platform.",
        "properties": {
            "type": {"const": "redirect"},
            "processor": {"anyOf": [processor("paypal"), {"type": "null"}]},
        },
        "required": ["type"],
        "additionalProperties": false,
    })
}

fn processor(example: &str) -> Value {
    json!({
        "type": "string",
        "description": format!("The name of the platform: `{example}`."),
        "pattern": "^[a-z][a-z0-9_-]{0,31}$",
    })
}

/// A `payment_method` that is a card in clear.
pub fn card_method() -> Value {
    let mut schema = card();
    schema["description"] = json!("Pay with a card.");
    schema["properties"]["type"] = json!({"const": "card"});
    schema["required"] = json!(["type", "cardNumber", "cardCode", "expirationDate"]);
    schema
}

/// A `payment_method` that is a card behind a token.
pub fn token_method() -> Value {
    let mut schema = token();
    schema["description"] = json!("Pay with the card behind a token.");
    schema["properties"]["type"] = json!({"const": "card"});
    schema["required"] = json!(["type", "card_token"]);
    schema
}

/// The body of `process` with a payment method.
pub fn presented_method() -> Value {
    presented(json!({
        "type": "object",
        "description": "A payment method. A field that is null counts as absent.",
        "properties": {"payment_method": {"$ref": "#/components/schemas/GivenMethod"}},
        "required": ["payment_method"],
        "additionalProperties": false,
    }))
}

/// The body of `process` with the fields of a card.
pub fn presented_card() -> Value {
    presented(card())
}

/// A body of `process`: the fields of the other ways to pay may be there, as null.
fn presented(mut schema: Value) -> Value {
    if let Some(properties) = schema["properties"].as_object_mut() {
        for field in [
            "cardNumber",
            "cardCode",
            "expirationDate",
            "card_token",
            "payment_method",
        ] {
            properties
                .entry(field)
                .or_insert_with(|| json!({"type": "null"}));
        }
    }
    schema
}

/// The body of `POST /payments/{payment_id}/capture`.
pub fn capture_request() -> Value {
    operation(
        "A capture. Without an amount it takes all that is authorized; what it does not take is released.",
        json!({"amount": operation_amount(), "currency": operation_currency()}),
    )
}

/// The body of `POST /payments/{payment_id}/refunds`.
pub fn refund_request() -> Value {
    let text = |description: &str, longest: usize| {
        json!({
            "type": ["string", "null"],
            "description": format!("{description} Stored and published in clear, so a text that looks like a card number is refused."),
            "minLength": 1,
            "maxLength": longest,
        })
    };
    operation(
        "A refund. Without an amount it returns all that is left.",
        json!({
            "amount": operation_amount(),
            "currency": operation_currency(),
            "reason": text("Why the client refunds.", LONGEST_REASON),
            "client_reference": text("The client's own reference.", LONGEST_REFERENCE),
        }),
    )
}

/// The bodies of `order.capture`, `order.cancel` and `order.refund` messages: the same, with the payment.
pub fn order_operation(request: Value) -> Value {
    let mut schema = request;
    schema["properties"]["payment_id"] = id("The payment.");
    schema["required"] = json!(["payment_id"]);
    schema
}

/// The body of an `order.cancel` message, without the payment.
pub fn cancel_request() -> Value {
    operation("A cancellation.", json!({}))
}

fn operation(description: &str, properties: Value) -> Value {
    json!({
        "type": "object",
        "description": format!("{description} A field that is null counts as absent."),
        "properties": properties,
        "additionalProperties": false,
    })
}

fn operation_amount() -> Value {
    let mut amount = amount();
    if let Some(forms) = amount["anyOf"].as_array_mut() {
        forms.push(json!({"type": "null"}));
    }
    amount
}

fn operation_currency() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "Only the currency of the payment is accepted.",
        "pattern": "^[A-Z]{3}$",
    })
}

/// The body of `POST /card-tokens`, and a payment's `card`.
pub fn card() -> Value {
    json!({
        "type": "object",
        "description": "A card, in the fields of the service that this one succeeds. A field that is null counts as absent.",
        "properties": card_fields(),
        "required": ["cardNumber", "cardCode", "expirationDate"],
        "additionalProperties": false,
    })
}

/// The body of `process`: the fields of a card, a token, or a payment method.
pub fn card_or_token() -> Value {
    json!({
        "description": "A card, a card token, or a payment method.",
        "anyOf": [
            {"$ref": "#/components/schemas/PresentedCard"},
            {"$ref": "#/components/schemas/PresentedToken"},
            {"$ref": "#/components/schemas/PresentedMethod"},
        ],
    })
}

/// The body of `process` with a token.
pub fn presented_token() -> Value {
    presented(token())
}

fn token() -> Value {
    json!({
        "type": "object",
        "description": "A card token. A field that is null counts as absent.",
        "properties": {"card_token": card_token(json!("string"))},
        "required": ["card_token"],
        "additionalProperties": false,
    })
}

/// An id that the client gives, in a body: as a number, or as its digits.
fn id(description: &str) -> Value {
    json!({
        "description": format!("{description} A number, or its digits as a string without sign and leading zeros."),
        "anyOf": [
            {"type": "integer", "minimum": 1, "maximum": Object::MAX_INTEGER},
            {"type": "string", "pattern": "^[1-9][0-9]{0,15}$"},
        ],
        "examples": [1, "1"],
    })
}

/// An id that the client gives, in a query.
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
        "description": "The client's metadata, returned unchanged. It is stored and published in clear, so a text that \
                        looks like a card number is refused.",
        "maxProperties": Metadata::MAX_ENTRIES,
        "propertyNames": {"minLength": 1, "maxLength": Metadata::MAX_KEY},
        "additionalProperties": {"type": "string", "maxLength": Metadata::MAX_VALUE},
        "examples": [{"channel": "web"}],
    })
}

fn return_url() -> Value {
    json!({
        "type": ["string", "null"],
        "description": "Where the payment page sends the shopper back to: https, or http on the shopper's own machine; without \
                        user, password and fragment; at one of the client's `return_origins` (CLIENTS_FILE).",
        "pattern": "^[Hh][Tt][Tt][Pp][Ss]?://[!-~]+$",
        "maxLength": ReturnUrl::MAX_LENGTH,
        "examples": ["https://shop.example/orders/1"],
    })
}

/// The hyphens and spaces of [`crate::domain::card::HYPHENS`] and [`crate::domain::card::SPACES`], for a character class
/// of a regular expression.
const BETWEEN_DIGITS: &str = "-\u{2010}-\u{2013}\\s";

/// The forms that [`Expiration::parse`] reads, and some more: an exact pattern would be unreadable.
fn month_pattern() -> String {
    let separator = format!("[{BETWEEN_DIGITS}/.]+");
    let month = "(0?[1-9]|1[0-2])";
    let forms = [
        format!("[0-9]{{4}}{separator}{month}({separator}[0-9]{{1,2}})?"),
        format!("{month}{separator}([0-9]{{2}}|[0-9]{{4}})"),
        "[0-9]{4}|[0-9]{6}".to_owned(),
    ];
    format!("^\\s*({})\\s*$", forms.join("|"))
}

fn card_fields() -> Value {
    let (fewest, most) = (CardNumber::MIN_DIGITS, CardNumber::MAX_DIGITS);
    json!({
        "cardNumber": {
            "description": format!("{fewest} to {most} digits, as a string (spaces and hyphens are left out, also unbreakable ones) or as a number."),
            "anyOf": [
                {"type": "string", "pattern": format!("^[{BETWEEN_DIGITS}]*([0-9][{BETWEEN_DIGITS}]*){{{fewest},{most}}}$")},
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
                "A month and a year, at most {} years ahead: preferably as 2030-01, 2030-01-05 or 01/30; also as people and browsers \
                 write it: 1/30, 01/2030, 01-30, 01.30, 0130, 203001, with spaces. A card is valid until its month has ended \
                 everywhere on earth, 12 hours after its end in UTC; then it is declined, not refused.",
                Expiration::MAX_YEARS_AHEAD
            ),
            "pattern": month_pattern(),
            "examples": ["2030-01-05", "2030-01", "01/30"],
        },
    })
}

#[cfg(test)]
mod tests;
