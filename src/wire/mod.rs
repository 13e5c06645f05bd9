//! The JSON of requests, answers and messages, and how it maps to the domain. Pure: does no I/O.

pub mod card_fields;
pub mod dead_letter;
pub mod did_you_mean;
pub mod fields;
pub mod json;
pub mod methods;
pub mod operation;
pub mod order;
pub mod payment;
pub mod request;
pub mod result;
pub mod rules;
pub mod schema;
pub mod work;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::domain::card::holds_card_number;

/// The longest body of a request, by REST and by message, in bytes.
pub const LONGEST_REQUEST_BYTES: usize = 64 * 1024;

/// W3C Trace Context, as a message header.
pub const TRACEPARENT: &str = "traceparent";

/// Whether a text is a `traceparent` that can be passed on. An invalid one is ignored; the payment matters more.
pub fn is_traceparent(text: &str) -> bool {
    let mut parts = text.split('-');
    let mut hex = |length: usize| {
        let part = parts.next()?;
        let lower_hex = |byte: u8| matches!(byte, b'0'..=b'9' | b'a'..=b'f');
        (part.len() == length && part.bytes().all(lower_hex)).then_some(part)
    };
    let (Some(version), Some(trace), Some(parent), Some(_flags)) =
        (hex(2), hex(32), hex(16), hex(2))
    else {
        return false;
    };
    let all = |part: &str, byte: u8| part.bytes().all(|b| b == byte);
    let valid = !all(version, b'f') && !all(trace, b'0') && !all(parent, b'0');
    // Later versions may have more parts; version 00 has not.
    let only_visible = text.bytes().all(|byte| byte.is_ascii_graphic());
    let valid = valid && only_visible && (version != "00" || text.len() == 55);
    valid && text.len() <= 128 && !holds_card_number(text)
}

/// The trace id in a valid `traceparent`.
pub fn trace_id(traceparent: &str) -> Option<&str> {
    traceparent.split('-').nth(1)
}

/// The trace id in what a caller sent as `traceparent`; none if that is invalid.
pub fn callers_trace_id(text: &str) -> Option<&str> {
    is_traceparent(text).then(|| trace_id(text)).flatten()
}

/// A message as JSON. Cannot fail: messages consist of texts, numbers, and objects whose keys are texts.
fn json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

fn trace_headers(traceparent: Option<&str>) -> BTreeMap<String, String> {
    traceparent
        .map(|trace| (TRACEPARENT.to_owned(), trace.to_owned()))
        .into_iter()
        .collect()
}
