//! Takes out of a message whatever looks like card data.

use serde_json::{Number, Value};

use crate::accept::json;
use crate::domain::card::{MASK, holds_card_number};

/// The body as it was received, as JSON where it is, masked; and whether it differs from what was received. An object
/// with a key twice is kept as text: as JSON it would lose one of the two, and could then be replayed.
pub(super) fn received(body: &[u8]) -> (Value, bool) {
    match json::parse(body) {
        Ok(value) => {
            let shown = masked(value.clone());
            let differs = shown != value;
            (shown, differs)
        }
        Err(_) => {
            // No telling what it is: every digit goes.
            let text = String::from_utf8_lossy(body);
            let shown = Value::String(
                text.chars()
                    .take(4096)
                    .map(|c| if c.is_numeric() { '#' } else { c })
                    .collect(),
            );
            (shown, true)
        }
    }
}

/// Takes out whole values of fields that are named like card data, and every name, text or number that looks like one.
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
                let key = if holds_card_number(&key) {
                    MASK.to_owned()
                } else {
                    key
                };
                (key, value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) if holds_card_number(&text) => MASK.into(),
        Value::Number(number) if may_hold_card_number(&number) => MASK.into(),
        other => other,
    }
}

/// Longer integers than 64 bits come as floats, whose digits say no more what was sent.
fn may_hold_card_number(number: &Number) -> bool {
    let too_long = number.is_f64() && number.as_f64().is_some_and(|float| float.abs() >= 1e12);
    too_long || holds_card_number(&number.to_string())
}

fn masked_field(value: Value) -> Value {
    match value {
        Value::Object(_) | Value::Array(_) => masked(value),
        _ => MASK.into(),
    }
}

/// Names of card data as other systems have them: `cvv2`, `card_cvv`, `verification_value`, `Card Security Code`.
fn names_card_data(key: &str) -> bool {
    let key: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .collect::<String>()
        .to_lowercase();
    let whole = [
        "number", "pan", "code", "csc", "cvn", "cid", "cav", "pin", "ccnum", "account", "track",
    ];
    let part = [
        "cardnumber",
        "cardno",
        "cardnum",
        "creditcard",
        "debitcard",
        "primaryaccount",
        "cardcode",
        "cvc",
        "cvv",
        "cardcsc",
        "cardcid",
        "cardpin",
        "securitycode",
        "securityvalue",
        "securitynumber",
        "verificationvalue",
        "verificationcode",
        "verificationnumber",
        "validationcode",
        "cardtoken",
        "track1",
        "track2",
        "trackdata",
        "pinblock",
    ];
    let unnumbered = key.trim_end_matches(|c: char| c.is_ascii_digit());
    whole.contains(&unnumbered) || part.iter().any(|part| key.contains(part))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn card_data_is_told_by_its_name_however_it_is_spelled() {
        for name in [
            "cvv2",
            "CVV",
            "card_cvv",
            "cardCvc",
            "csc",
            "CSC2",
            "verification_value",
            "verificationCode",
            "Card Security Code",
            "card-number",
            "PAN",
            "credit_card",
            "cardCode",
            "cid",
            "pin",
            "x_card_code",
            "primary_account_number",
        ] {
            assert!(names_card_data(name), "{name}");
        }
        for name in [
            "order_id",
            "user_id",
            "total_amount",
            "currency",
            "metadata",
            "expirationDate",
            "card",
        ] {
            assert!(!names_card_data(name), "{name}");
        }
    }

    #[test]
    fn a_body_with_a_key_twice_is_kept_as_text_and_counts_as_masked() {
        let (shown, masked) = received(br#"{"order_id": 1, "order_id": 2}"#);
        let expected = json!(r##"{"order_id": #, "order_id": #}"##);
        assert_eq!((shown, masked), (expected, true));
    }

    #[test]
    fn a_card_number_goes_from_names_texts_and_numbers() {
        let body = json!({
            "x4242 4242-4242 4242y": {"note": "card 5555555555554444"},
            "list": [4_242_424_242_424_242_i64, 14_242_424_242_424_242_424_242.0, "12.00", 12.5],
        });
        let (shown, masked) = received(body.to_string().as_bytes());
        let expected = json!({
            "[masked]": {"note": "[masked]"},
            "list": ["[masked]", "[masked]", "12.00", 12.5],
        });
        assert_eq!((shown, masked), (expected, true));
    }
}
