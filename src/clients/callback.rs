//! `callback` of a client:
//!
//! ```json
//! {"url": "https://shop.example/payments", "secrets": ["whsec_..."], "events": ["payment.succeeded"]}
//! ```
//!
//! `format` is `standard-webhooks` (the default) or `store-manager`. Two secrets at a time allow changing the secret
//! without a gap. Without `events` the client gets all outcomes. Private addresses, and `http`, need
//! `"allow_private_addresses": true`.

use axum::http::Uri;
use serde_json::Value;

use super::address;
use super::secret::Secret;
use crate::wire::fields::{Faults, Object};

/// The events that a client can subscribe to: the types of results.
pub const EVENTS: [&str; 12] = [
    "payment.succeeded",
    "payment.declined",
    "payment.failed",
    "payment.canceled",
    "payment.requires_payment_method",
    "payment.request_rejected",
    "payment.requires_capture",
    "payment.requires_action",
    "refund.succeeded",
    "refund.failed",
    "dispute.opened",
    "dispute.closed",
];

/// The final ones: what a client gets by default.
pub const OUTCOMES: [&str; 4] = [EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3]];

/// `callback` of a client in `CLIENTS_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// The receiver's URL: `https`, or `http` if private addresses are allowed.
    pub url: Uri,
    /// Each of them signs every callback.
    pub secrets: Vec<Secret>,
    /// The format of the request.
    pub format: Format,
    /// Loopback, private and link-local addresses are allowed, too.
    pub allow_private_addresses: bool,
    /// The events to send, out of [`EVENTS`].
    pub events: Vec<&'static str>,
}

/// The format of the request, and of the answer that confirms it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `POST` of the result as it is on the topic.
    StandardWebhooks,
    /// `PUT` of `{"order_id", "is_paid": true}`.
    StoreManager,
}

impl Format {
    /// The name as in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandardWebhooks => "standard-webhooks",
            Self::StoreManager => "store-manager",
        }
    }
}

/// The known fields.
const FIELDS: [&str; 5] = [
    "url",
    "secrets",
    "format",
    "allow_private_addresses",
    "events",
];

/// Reads the value and reports every fault.
pub fn read(value: &Value, path: String, faults: &mut Faults) -> Option<Callback> {
    let fields = Object::of(value, path, faults)?;
    fields.refuse_unknown(&FIELDS, &[], faults);
    let format = format(&fields, faults);
    let allow_private_addresses = switch(&fields, "allow_private_addresses", faults);
    let url = url(&fields, allow_private_addresses.unwrap_or(true), faults);
    let secrets = secrets(&fields, format, faults);
    let events = events(&fields, format, faults);
    Some(Callback {
        url: url?,
        secrets: secrets?,
        format: format?,
        allow_private_addresses: allow_private_addresses?,
        events: events?,
    })
}

fn format(fields: &Object, faults: &mut Faults) -> Option<Format> {
    let formats = [Format::StandardWebhooks, Format::StoreManager];
    let Some(value) = fields.get("format") else {
        return Some(Format::StandardWebhooks);
    };
    let known = value
        .as_str()
        .and_then(|name| formats.into_iter().find(|format| format.name() == name));
    if known.is_none() {
        let message = "must be standard-webhooks or store-manager";
        faults.add(fields.path("format"), "unknown_format", message);
    }
    known
}

fn switch(fields: &Object, name: &str, faults: &mut Faults) -> Option<bool> {
    let Some(value) = fields.get(name) else {
        return Some(false);
    };
    if !value.is_boolean() {
        faults.add(fields.path(name), "wrong_type", "must be true or false");
    }
    value.as_bool()
}

fn url(fields: &Object, allow_private: bool, faults: &mut Faults) -> Option<Uri> {
    let text = fields.text(
        "url",
        "an address such as https://shop.example/payments",
        faults,
    )?;
    let (code, message) = match check_url(text, allow_private) {
        Ok(url) => return Some(url),
        Err(fault) => fault,
    };
    faults.add(fields.path("url"), code, message);
    None
}

fn check_url(text: &str, allow_private: bool) -> Result<Uri, (&'static str, &'static str)> {
    const INVALID: (&str, &str) = (
        "invalid_url",
        "must be an absolute address such as https://shop.example/payments",
    );
    let url: Uri = text.parse().map_err(|_| INVALID)?;
    let (Some(scheme), Some(authority)) = (url.scheme_str(), url.authority()) else {
        return Err(INVALID);
    };
    if authority.as_str().contains('@') {
        return Err(("invalid_url", "must not contain a user or a password"));
    }
    match scheme {
        "https" => {}
        "http" if allow_private => {}
        "http" => {
            let message = "must be https, unless allow_private_addresses is true";
            return Err(("not_https", message));
        }
        _ => return Err(INVALID),
    }
    if !allow_private && address::check_literal(authority.host()).is_err() {
        let message = "is not a public address: allow_private_addresses must be true for it";
        return Err(("private_address", message));
    }
    Ok(url)
}

/// Store Manager does not check signatures, so it needs no secret.
fn secrets(fields: &Object, format: Option<Format>, faults: &mut Faults) -> Option<Vec<Secret>> {
    let path = fields.path("secrets");
    if fields.get("secrets").is_none() && format == Some(Format::StoreManager) {
        return Some(Vec::new());
    }
    let wanted = "a list of at least one secret; `payment-service keys` makes one";
    let listed = fields.required("secrets", wanted, faults)?;
    let Some(listed) = listed.as_array().filter(|listed| !listed.is_empty()) else {
        faults.add(path, "wrong_type", format!("must be {wanted}"));
        return None;
    };
    let mut secrets = Vec::with_capacity(listed.len());
    for (place, value) in listed.iter().enumerate() {
        match value.as_str().and_then(Secret::parse) {
            Some(secret) => secrets.push(secret),
            None => {
                let message = "must be whsec_ and 24 to 64 bytes in base64";
                faults.add(format!("{path}[{place}]"), "invalid_secret", message);
            }
        }
    }
    Some(secrets)
}

fn events(
    fields: &Object,
    format: Option<Format>,
    faults: &mut Faults,
) -> Option<Vec<&'static str>> {
    let (possible, default): (&[&'static str], &[&'static str]) = match format {
        Some(Format::StoreManager) => (&EVENTS[..1], &EVENTS[..1]),
        _ => (&EVENTS, &OUTCOMES),
    };
    let Some(value) = fields.get("events") else {
        return Some(default.to_vec());
    };
    let path = fields.path("events");
    let wanted = format!("some of {}", possible.join(", "));
    let Some(listed) = value.as_array().filter(|listed| !listed.is_empty()) else {
        faults.add(path, "wrong_type", format!("must be a list of {wanted}"));
        return None;
    };
    let mut events = Vec::with_capacity(listed.len());
    for (place, value) in listed.iter().enumerate() {
        let known = possible.iter().find(|event| value.as_str() == Some(event));
        match known {
            Some(event) => events.push(*event),
            None => {
                let message = format!("must be {wanted}");
                faults.add(format!("{path}[{place}]"), "unknown_event", message);
            }
        }
    }
    Some(events)
}
