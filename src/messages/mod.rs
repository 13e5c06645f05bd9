//! Wire formats: what goes over REST and AMQP, apart from the domain and from the rows.

pub mod dead_letter;
pub mod order;
pub mod orders;
pub mod payment;
pub mod result;
pub mod work;

use std::collections::BTreeMap;

use serde::Serialize;

/// W3C Trace Context, as a message header.
pub const TRACEPARENT: &str = "traceparent";

/// A message's text. Cannot fail: messages are made of texts, numbers, and objects whose keys are texts.
fn json(message: &impl Serialize) -> String {
    serde_json::to_string(message).unwrap_or_default()
}

fn trace_headers(traceparent: Option<&str>) -> BTreeMap<String, String> {
    traceparent
        .map(|trace| (TRACEPARENT.to_owned(), trace.to_owned()))
        .into_iter()
        .collect()
}
