//! Removes everything that looks like card data from a message, and keeps a bounded part of the rest.

use serde_json::{Number, Value};

use crate::broker::Properties;
use crate::domain::card::{MASK, holds_card_number, without_card_number};
use crate::wire::json;

/// Maximum kept of a body, in bytes.
const KEPT: usize = 16 * 1024;

/// The longest body that is read as JSON, in bytes: longer ones are not requests.
const READ: usize = crate::wire::LONGEST_REQUEST_BYTES;

/// Maximum kept of a header, in bytes, and maximum number of headers.
const HEADER_KEPT: usize = 1024;
const HEADERS_KEPT: usize = 32;

/// A body as a dead letter stores it.
#[derive(Debug, PartialEq)]
pub(super) struct Received {
    /// JSON if the body is short JSON; otherwise text.
    pub(super) body: Value,
    /// Something was removed from it, or cut off.
    pub(super) differs: bool,
    /// Only the first part of it is kept.
    pub(super) cut: bool,
}

/// The kept part of a body. `is_part`: the body was already shortened.
pub(super) fn received(body: &[u8], is_part: bool) -> Received {
    // An object with a duplicate key is kept as text: as JSON it would lose one of the two, and could then be replayed.
    let value = || json::parse(body).ok();
    let whole = !is_part && body.len() <= READ;
    match whole.then(value).flatten() {
        Some(value) => {
            let shown = masked(value.clone());
            let differs = shown != value;
            let text = shown.to_string();
            let cut = text.len() > KEPT;
            Received {
                body: if cut { head(&text).into() } else { shown },
                differs: differs || cut,
                cut,
            }
        }
        None => {
            // The format is unknown: every digit is masked.
            let hidden = |c: char| match c {
                c if c.is_numeric() => '#',
                c if c.is_control() && c != '\n' => ' ',
                c => c,
            };
            let start = &body[..body.len().min(KEPT)];
            let text: String = String::from_utf8_lossy(start).chars().map(hidden).collect();
            Received {
                body: head(&text).into(),
                differs: true,
                cut: is_part || body.len() > KEPT,
            }
        }
    }
}

fn head(text: &str) -> &str {
    &text[..text.floor_char_boundary(KEPT)]
}

/// The text, unless it looks like a card number.
pub fn masked_text(text: &str) -> String {
    without_card_number(text).to_owned()
}

/// The properties of an event: all of them come from the service, except those that are returned to the client.
pub(super) fn event_properties(event: &Properties) -> (Properties, bool) {
    let kept = Properties {
        correlation_id: event.correlation_id.as_deref().map(masked_text),
        ..event.clone()
    };
    let differs = kept != *event;
    (kept, differs)
}

/// The kept properties and headers, and whether they differ from what was received.
pub(super) fn kept_properties(received: &Properties) -> (Properties, bool) {
    let text = |text: &Option<String>| text.as_deref().map(masked_text);
    let kept = Properties {
        message_id: text(&received.message_id),
        correlation_id: text(&received.correlation_id),
        reply_to: text(&received.reply_to),
        content_type: text(&received.content_type),
        kind: text(&received.kind),
        user_id: text(&received.user_id),
        headers: received
            .headers
            .iter()
            .take(HEADERS_KEPT)
            .map(|(name, value)| (masked_text(name), masked_text(value)))
            .map(|(name, value)| {
                let end = value.floor_char_boundary(HEADER_KEPT);
                (name, value[..end].to_owned())
            })
            .collect(),
    };
    let differs = kept != *received;
    (kept, differs)
}

/// Masks the whole value of every field named like card data, and every name, text or number that looks like a card
/// number.
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
                (masked_text(&key), value)
            })
            .collect(),
        Value::Array(items) => items.into_iter().map(masked).collect(),
        Value::String(text) => masked_text(&text).into(),
        Value::Number(number) if may_hold_card_number(&number) => MASK.into(),
        other => other,
    }
}

/// Integers longer than 64 bits arrive as floats, whose digits no longer show what was sent.
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

/// Names of card data in other systems: `cvv2`, `card_cvv`, `verification_value`, `Card Security Code`.
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
    fn card_data_is_recognized_by_field_names_in_any_spelling() {
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
    fn a_body_with_a_duplicate_key_is_kept_as_text_and_counts_as_masked() {
        let shown = received(br#"{"order_id": 1, "order_id": 2}"#, false);
        let expected = json!(r##"{"order_id": #, "order_id": #}"##);
        assert_eq!((shown.body, shown.differs), (expected, true));
    }

    #[test]
    fn card_numbers_are_masked_in_names_texts_and_numbers() {
        let body = json!({
            "x4242 4242-4242 4242y": {"note": "card 5555555555554444"},
            "list": [4_242_424_242_424_242_i64, 14_242_424_242_424_242_424_242.0, "12.00", 12.5],
        });
        let body = body.to_string();
        let shown = received(body.as_bytes(), false);
        let expected = json!({
            "[masked]": {"note": "[masked]"},
            "list": ["[masked]", "[masked]", "12.00", 12.5],
        });
        assert_eq!(
            (shown.body, shown.differs, shown.cut),
            (expected, true, false)
        );
    }

    #[test]
    fn the_first_16_kib_of_a_long_body_are_kept_and_masked() {
        let note = "card 4242424242424242 \"quoted\" é\u{1} ".repeat(100_000);
        let long = json!({ "note": note }).to_string();
        let short = json!({ "notes": vec!["\"é\u{1}"; 4000], "card": "4242 4242 4242 4242" });
        for (body, is_part) in [
            (long.as_bytes(), false),
            (&long.as_bytes()[..20_000], true),
            (short.to_string().as_bytes(), false),
            (&[0xff; 1_000_000], false),
        ] {
            let shown = received(body, is_part);
            assert!(shown.cut && shown.differs);
            let text = shown.body.as_str().unwrap();
            assert!((16_000..=16_384).contains(&text.len()), "{}", text.len());
            assert!(!text.contains("4242"));
            // Written into a letter, and the letter into a row, it stays of that size.
            let row = json!(json!(text).to_string()).to_string();
            assert!(row.len() <= 4 * 16_384 + 100, "{}", row.len());
        }
    }

    #[test]
    fn properties_are_masked_and_limited_in_size() {
        let card = || "4242 4242 4242 4242".to_owned();
        let mut received = Properties {
            message_id: Some(card()),
            correlation_id: Some(card()),
            reply_to: Some("shop.replies".to_owned()),
            headers: [(card(), "a".to_owned()), ("b".to_owned(), card())].into(),
            ..Properties::default()
        };
        let (kept, differs) = kept_properties(&received);
        assert!(differs && !json!(kept).to_string().contains("4242"));
        assert_eq!(kept.reply_to.as_deref(), Some("shop.replies"));
        received.headers = (0..1000)
            .map(|n| (n.to_string(), "é".repeat(5000)))
            .collect();
        let (kept, _) = kept_properties(&received);
        assert!(json!(kept).to_string().len() < 40_000);
        let plain = Properties {
            message_id: Some("m-1".to_owned()),
            ..Properties::default()
        };
        assert_eq!(kept_properties(&plain), (plain, false));
    }
}
