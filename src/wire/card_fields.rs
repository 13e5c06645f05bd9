//! The fields of a card and of a card token, with the names from the service that this one succeeds.
//!
//! Refuses impossible cards. Whether a possible card is charged is the issuer's decision.

use serde_json::Value;
use zeroize::Zeroizing;

use super::fields::{Faults, Object};
use crate::domain::card::InvalidCard;
use crate::domain::{Card, CardCode, CardNumber, Expiration, Timestamp};

/// The fields of a card.
pub const CARD_FIELDS: [&str; 3] = ["cardNumber", "cardCode", "expirationDate"];

/// Longest card token.
pub const LONGEST_TOKEN: usize = 64;

/// Reads `cardNumber` (12 to 19 digits), `cardCode` (3 or 4 digits) and `expirationDate`. The first two may be strings
/// or whole numbers; a number that is shorter than a code has lost its leading zeros, so they are added again.
pub fn card(fields: &Object, now: Timestamp, faults: &mut Faults) -> Option<Card> {
    let number = digits(fields, "cardNumber", 0, faults)
        .and_then(|text| checked(CardNumber::parse(&text), fields, "cardNumber", faults));
    let code = digits(fields, "cardCode", 3, faults)
        .and_then(|text| checked(CardCode::parse(&text), fields, "cardCode", faults));
    let wanted = "a month and a year such as 01/30, 2030-01 or 2030-01-05";
    let expiration = fields
        .text("expirationDate", wanted, faults)
        .and_then(|text| {
            let month = Expiration::parse(text).and_then(|month| month.not_too_far_ahead(now));
            checked(month, fields, "expirationDate", faults)
        });
    Some(Card {
        number: number?,
        code: code?,
        expiration: expiration?,
    })
}

/// Refuses a card beside its `card_token`.
pub fn refuse_both(fields: &Object, faults: &mut Faults) {
    if CARD_FIELDS.iter().any(|name| fields.get(name).is_some()) {
        faults.add(
            fields.path("card_token"),
            "conflicting_fields",
            "must not come together with a card: send one of them",
        );
    }
}

/// Reads the required `card_token`.
pub fn token(fields: &Object, faults: &mut Faults) -> Option<String> {
    let wanted = "a token of POST /card-tokens";
    let text = fields.text("card_token", wanted, faults)?;
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let possible =
        text.len() <= LONGEST_TOKEN && text.starts_with("tok_") && text.bytes().all(allowed);
    if !possible {
        let message = "is not a card token: those of POST /card-tokens begin with tok_";
        faults.add(fields.path("card_token"), "invalid_card_token", message);
    }
    possible.then(|| text.to_owned())
}

/// The digits of a field that may be a string or a whole number, filled up with zeros to `width`.
fn digits(
    fields: &Object,
    name: &str,
    width: usize,
    faults: &mut Faults,
) -> Option<Zeroizing<String>> {
    match fields.required(name, "its digits as a string", faults)? {
        Value::String(text) => Some(Zeroizing::new(text.clone())),
        Value::Number(number) if number.is_u64() => {
            Some(Zeroizing::new(format!("{:0>width$}", number.to_string())))
        }
        _ => {
            let message = "must be digits, as a string or as a whole number";
            faults.add(fields.path(name), "wrong_type", message);
            None
        }
    }
}

fn checked<T>(
    read: Result<T, InvalidCard>,
    fields: &Object,
    name: &str,
    faults: &mut Faults,
) -> Option<T> {
    read.map_err(|invalid| {
        let code = match invalid {
            InvalidCard::Number => "invalid_card_number",
            InvalidCard::Code => "invalid_card_code",
            InvalidCard::Expiration => "invalid_expiration_date",
            InvalidCard::TooFarAhead => "too_far_ahead",
        };
        faults.add(fields.path(name), code, invalid.to_string());
    })
    .ok()
}
