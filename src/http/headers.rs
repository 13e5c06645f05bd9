//! Other values from a request's path and headers: payment id, idempotency key, trace, known version.

use axum::extract::rejection::PathRejection;
use axum::extract::{FromRequestParts, Path};
use axum::http::HeaderMap;
use axum::http::header::IF_NONE_MATCH;
use axum::http::request::Parts;

use super::observed::Known;
use super::problem::{Kind, Problem};
use crate::domain::card::holds_card_number;
use crate::domain::{OperationId, PaymentId};
use crate::wire::is_traceparent;
use crate::wire::operation::parse_refund_id;

/// The payment id in the path.
pub struct PathId(pub PaymentId);

impl<S: Send + Sync> FromRequestParts<S> for PathId {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let number = id.ok().and_then(|Path(text)| text.parse::<i64>().ok());
        // The id is logged with the request: not if it is a card number sent by mistake.
        let possible = |number: &i64| *number > 0 && !holds_card_number(&number.to_string());
        let Some(number) = number.filter(possible) else {
            let sentence =
                "There is no such payment: payment ids are whole numbers, as in /payments/42.";
            return Err(Problem::new(Kind::NotFound, sentence));
        };
        Known::payment(parts, PaymentId(number));
        Ok(Self(PaymentId(number)))
    }
}

/// The refund id in the path.
pub struct PathRefund(pub OperationId);

impl<S: Send + Sync> FromRequestParts<S> for PathRefund {
    type Rejection = Problem;

    async fn from_request_parts(parts: &mut Parts, state: &S) -> Result<Self, Problem> {
        let id: Result<Path<String>, PathRejection> = Path::from_request_parts(parts, state).await;
        let id = id.ok().and_then(|Path(text)| parse_refund_id(&text));
        id.map(Self).ok_or_else(Problem::no_refund)
    }
}

/// `Idempotency-Key`, quoted (as a structured field, RFC 9651) or bare: 1 to 255 visible ASCII characters.
pub fn idempotency_key(headers: &HeaderMap) -> Result<Option<String>, Problem> {
    let mut values = headers.get_all("idempotency-key").iter();
    let Some(value) = values.next() else {
        return Ok(None);
    };
    let key = value.to_str().ok().and_then(unquoted);
    if key.as_deref().is_some_and(holds_card_number) {
        return Err(Problem::field(
            Kind::BadRequest,
            "Idempotency-Key",
            "invalid_idempotency_key",
            "Idempotency-Key must not hold a card number, since it is stored in clear: send a UUID.",
        ));
    }
    match key {
        Some(key) if values.next().is_none() && is_key(&key) => Ok(Some(key)),
        _ => Err(Problem::field(
            Kind::BadRequest,
            "Idempotency-Key",
            "invalid_idempotency_key",
            "Idempotency-Key must be sent once, as 1 to 255 visible ASCII characters, such as a UUID.",
        )),
    }
}

fn is_key(key: &str) -> bool {
    (1..=255).contains(&key.len()) && key.bytes().all(|byte| byte.is_ascii_graphic())
}

/// The content of a structured field's string without quotes and escapes; any other text unchanged.
fn unquoted(text: &str) -> Option<String> {
    let Some(rest) = text.strip_prefix('"') else {
        return Some(text.to_owned());
    };
    let mut key = String::with_capacity(rest.len());
    let mut characters = rest.chars();
    loop {
        match characters.next()? {
            '"' => break,
            '\\' => key.push(characters.next().filter(|c| matches!(c, '"' | '\\'))?),
            c => key.push(c),
        }
    }
    characters.next().is_none().then_some(key)
}

/// `traceparent` (W3C Trace Context), if it is well-formed; anything else starts a new trace.
pub fn traceparent(headers: &HeaderMap) -> Option<String> {
    let text = headers.get("traceparent")?.to_str().ok()?;
    is_traceparent(text).then(|| text.to_owned())
}

/// Whether the caller has this version already: `If-None-Match` compares weakly (RFC 9110, section 13.1.2).
pub fn has_version(headers: &HeaderMap, etag: &str) -> bool {
    headers
        .get_all(IF_NONE_MATCH)
        .iter()
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .map(str::trim)
        .any(|tag| tag == "*" || tag.strip_prefix("W/").unwrap_or(tag) == etag)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn headers(name: &'static str, values: &[&str]) -> HeaderMap {
        let mut headers = HeaderMap::new();
        for value in values {
            headers.append(name, value.parse().expect("a header"));
        }
        headers
    }

    #[test]
    fn an_idempotency_key_may_be_quoted_or_not() {
        let key = |values: &[&str]| {
            idempotency_key(&headers("idempotency-key", values)).map_err(|problem| problem.kind())
        };
        let some = |text: &str| Ok(Some(text.to_owned()));
        assert_eq!(key(&[]), Ok(None));
        assert_eq!(key(&["order-1"]), some("order-1"));
        assert_eq!(key(&["\"order-1\""]), some("order-1"));
        assert_eq!(key(&[r#""a\"b\\c""#]), some(r#"a"b\c"#));
        assert_eq!(key(&[&"k".repeat(255)]), some(&"k".repeat(255)));
        let too_long = "k".repeat(256);
        for wrong in [
            "4242424242424242",
            "order-4242.4242.4242.4242",
            "",
            "\"\"",
            "a b",
            "\"a",
            "\"a\"b",
            r#""a\x""#,
            "é",
            too_long.as_str(),
        ] {
            assert_eq!(key(&[wrong]), Err(Kind::BadRequest), "{wrong}");
        }
        assert_eq!(key(&["a", "a"]), Err(Kind::BadRequest));
    }

    #[test]
    fn only_a_well_formed_traceparent_is_passed_on() {
        let trace = |value: &str| traceparent(&headers("traceparent", &[value])).is_some();
        assert!(trace(
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"
        ));
        assert!(trace(
            "01-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x"
        ));
        for wrong in [
            "",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01-x",
            "ff-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
            "00-4BF92F3577B34DA6A3CE929D0E0E4736-00f067aa0ba902b7-01",
            "00-00000000000000000000000000000000-00f067aa0ba902b7-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-0000000000000000-01",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-4242424242424242-01",
        ] {
            assert!(!trace(wrong), "{wrong}");
        }
    }

    #[test]
    fn a_known_version_is_recognized_weak_or_strong_and_in_lists() {
        let known = |values: &[&str]| has_version(&headers("if-none-match", values), "\"7-3\"");
        assert!(known(&["\"7-3\""]));
        assert!(known(&["W/\"7-3\""]));
        assert!(known(&["\"7-1\", W/\"7-3\""]));
        assert!(known(&["\"7-1\"", "\"7-3\""]));
        assert!(known(&["*"]));
        assert!(!known(&[]));
        assert!(!known(&["\"7-2\"", "7-3", "\"17-3\""]));
    }
}
