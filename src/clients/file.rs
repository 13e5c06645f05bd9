//! The content of a clients file. All faults are reported at once, so that an operator can fix them together.

use std::collections::HashSet;
use std::sync::Arc;
use std::time::Duration;

use serde_json::Value;

use super::{CAPTURE_WITHIN, Directory, Entry, callback};
use crate::domain::{ClientName, Funding, WebOrigin};
use crate::wire::fields::{Faults, FieldError, Object};
use crate::wire::json;
use crate::wire::json::Unreadable;
use crate::wire::methods::Methods;
use crate::wire::rules::{ClientRules, ReturnOrigins, UnknownFields};

/// Fields of a client.
const FIELDS: [&str; 11] = [
    "name",
    "api_key_sha256",
    "rabbitmq_user",
    "callback",
    "display_name",
    "return_origins",
    "unknown_fields",
    "payment_methods",
    "card_funding",
    "weight",
    "capture_within_seconds",
];

/// Longest name on the payment page, in characters.
const LONGEST_DISPLAY_NAME: usize = 64;

/// Reads the file's content.
pub fn parse(content: &[u8], methods: &Methods) -> Result<Directory, Vec<FieldError>> {
    let document = document(content)?;
    let mut faults = Faults::default();
    let entries = Object::root(&document, &mut faults)
        .and_then(|fields| clients(&fields, methods, &mut faults));
    faults.settle(entries.map(|entries| Directory {
        entries,
        everyone: None,
    }))
}

/// The JSON of a file.
pub fn document(content: &[u8]) -> Result<Value, Vec<FieldError>> {
    json::parse(content).map_err(|unreadable| match unreadable {
        Unreadable::Fields(faults) => faults,
        other => {
            let message = format!("The file {other}.");
            vec![FieldError {
                field: String::new(),
                code: "malformed_json",
                message,
            }]
        }
    })
}

fn clients(fields: &Object, methods: &Methods, faults: &mut Faults) -> Option<Vec<Entry>> {
    fields.refuse_unknown(&["clients"], &[], faults);
    let listed = fields.required("clients", "a list of clients", faults)?;
    let Some(listed) = listed.as_array().filter(|listed| !listed.is_empty()) else {
        let message = "must be a list of at least one client";
        faults.add("clients".to_owned(), "wrong_type", message);
        return None;
    };
    let mut taken = Taken::new(methods);
    let entries: Vec<Option<Entry>> = listed
        .iter()
        .enumerate()
        .map(|(place, value)| {
            let fields = Object::of(value, format!("clients[{place}]"), faults)?;
            client(&fields, &mut taken, faults)
        })
        .collect();
    entries.into_iter().collect()
}

/// The longest time that an authorization can be kept, in seconds.
const LONGEST_CAPTURE: u64 = 30 * 24 * 3600;

/// Values that must be unique in the file, and the payment methods that it may name.
struct Taken<'m> {
    methods: &'m Methods,
    names: HashSet<ClientName>,
    keys: HashSet<[u8; 32]>,
    users: HashSet<String>,
}

impl<'m> Taken<'m> {
    fn new(methods: &'m Methods) -> Self {
        Self {
            methods,
            names: HashSet::new(),
            keys: HashSet::new(),
            users: HashSet::new(),
        }
    }
}

fn client(fields: &Object, taken: &mut Taken<'_>, faults: &mut Faults) -> Option<Entry> {
    fields.refuse_unknown(&FIELDS, &[], faults);
    let name = name(fields, &mut taken.names, faults);
    let wanted = "a list with the SHA-256 of each API key";
    let keys = digests(fields, ("api_key_sha256", wanted), &mut taken.keys, faults);
    let rabbitmq_user = user(fields, taken, faults);
    let weight = weight(fields, faults);
    let capture_within = capture_within(fields, faults);
    let callback = fields
        .get("callback")
        .map(|value| callback::read(value, fields.path("callback"), faults));
    let display_name = display_name(fields, faults);
    let return_origins = return_origins(fields, faults);
    let unknown_fields = unknown_fields(fields, faults);
    let payment_methods = payment_methods(fields, taken.methods, faults);
    let card_funding = card_funding(fields, faults);
    Some(Entry {
        name: name?,
        keys: keys?,
        rabbitmq_user,
        weight: weight?,
        capture_within: capture_within?,
        callback: match callback {
            Some(callback) => Some(Arc::new(callback?)),
            None => None,
        },
        display_name: display_name.map(Into::into),
        rules: Arc::new(ClientRules {
            unknown_fields: unknown_fields?,
            return_origins: ReturnOrigins::Listed(return_origins?),
            methods: taken.methods.clone(),
            payment_methods,
            card_funding,
        }),
    })
}

fn display_name(fields: &Object, faults: &mut Faults) -> Option<String> {
    fields.get("display_name")?;
    let text = fields.text(
        "display_name",
        "the shop's name as shoppers know it",
        faults,
    )?;
    let length = text.chars().count();
    let shown = !text.trim().is_empty() && !text.chars().any(char::is_control);
    if !shown || length > LONGEST_DISPLAY_NAME {
        let message = "must be 1 to 64 characters that can be shown";
        faults.add(fields.path("display_name"), "invalid_display_name", message);
    }
    Some(text.trim().to_owned())
}

fn return_origins(fields: &Object, faults: &mut Faults) -> Option<Vec<WebOrigin>> {
    let Some(value) = fields.get("return_origins") else {
        return Some(Vec::new());
    };
    let path = fields.path("return_origins");
    let Some(listed) = value.as_array() else {
        let message = "must be a list of origins such as https://shop.example";
        faults.add(path, "wrong_type", message);
        return None;
    };
    let mut origins = Vec::with_capacity(listed.len());
    for (place, value) in listed.iter().enumerate() {
        let path = format!("{path}[{place}]");
        match value.as_str().map(WebOrigin::parse) {
            Some(Ok(origin)) => origins.push(origin),
            Some(Err(invalid)) => faults.add(path, "invalid_origin", invalid.to_string()),
            None => faults.add(path, "wrong_type", "must be a string"),
        }
    }
    Some(origins)
}

fn payment_methods(fields: &Object, methods: &Methods, faults: &mut Faults) -> Option<Vec<String>> {
    let known: Vec<&str> = methods.names().collect();
    let read = |name: &str| known.contains(&name).then(|| name.to_owned());
    choices(fields, "payment_methods", (&known, read), faults)
}

fn card_funding(fields: &Object, faults: &mut Faults) -> Option<Vec<Funding>> {
    let known = Funding::ALL.map(Funding::as_str);
    choices(fields, "card_funding", (&known, Funding::parse), faults)
}

/// A list of at least one of the known values; none if the field is absent, or has a fault.
fn choices<T>(
    fields: &Object,
    name: &str,
    (known, read): (&[&str], impl Fn(&str) -> Option<T>),
    faults: &mut Faults,
) -> Option<Vec<T>> {
    let path = fields.path(name);
    let known = known.join(", ");
    let listed = fields.get(name)?.as_array();
    let Some(listed) = listed.filter(|listed| !listed.is_empty()) else {
        let message =
            format!("must be a list of at least one of {known}; leave it out to allow all");
        faults.add(path, "wrong_type", message);
        return None;
    };
    let mut read_choices = Vec::with_capacity(listed.len());
    for (place, value) in listed.iter().enumerate() {
        match value.as_str().and_then(&read) {
            Some(choice) => read_choices.push(choice),
            None => {
                let message = format!("must be one of {known}");
                faults.add(format!("{path}[{place}]"), "unknown_choice", message);
            }
        }
    }
    Some(read_choices)
}

fn unknown_fields(fields: &Object, faults: &mut Faults) -> Option<UnknownFields> {
    let Some(value) = fields.get("unknown_fields") else {
        return Some(UnknownFields::Refuse);
    };
    let choice = match value.as_str() {
        Some("refuse") => Some(UnknownFields::Refuse),
        Some("ignore") => Some(UnknownFields::Ignore),
        _ => None,
    };
    if choice.is_none() {
        let message = "must be refuse or ignore";
        faults.add(fields.path("unknown_fields"), "unknown_choice", message);
    }
    choice
}

/// A name that no earlier entry has.
pub fn name(
    fields: &Object,
    taken: &mut HashSet<ClientName>,
    faults: &mut Faults,
) -> Option<ClientName> {
    let text = fields.text("name", "1 to 64 of a-z, 0-9, - and _", faults)?;
    let Ok(name) = ClientName::parse(text) else {
        let message = "must be 1 to 64 of a-z, 0-9, - and _";
        faults.add(fields.path("name"), "invalid_name", message);
        return None;
    };
    if !taken.insert(name.clone()) {
        faults.add(fields.path("name"), "repeated", "is already taken");
    }
    Some(name)
}

/// A list of SHA-256 digests that no earlier entry has.
pub fn digests(
    fields: &Object,
    (field, wanted): (&str, &str),
    taken: &mut HashSet<[u8; 32]>,
    faults: &mut Faults,
) -> Option<Vec<[u8; 32]>> {
    let path = fields.path(field);
    let Some(listed) = fields.required(field, wanted, faults)?.as_array() else {
        faults.add(path, "wrong_type", format!("must be {wanted}"));
        return None;
    };
    let mut keys = Vec::with_capacity(listed.len());
    for (place, value) in listed.iter().enumerate() {
        let path = format!("{path}[{place}]");
        let mut digest = [0; 32];
        let decoded = value
            .as_str()
            .and_then(|text| hex::decode_to_slice(text, &mut digest).ok());
        if decoded.is_none() {
            let message = "must be a SHA-256 as 64 hexadecimal digits";
            faults.add(path, "invalid_digest", message);
        } else if !taken.insert(digest) {
            faults.add(path, "repeated", "is listed twice");
        } else {
            keys.push(digest);
        }
    }
    Some(keys)
}

fn weight(fields: &Object, faults: &mut Faults) -> Option<u32> {
    let Some(value) = fields.get("weight") else {
        return Some(1);
    };
    let weight = value.as_u64().and_then(|weight| u32::try_from(weight).ok());
    let weight = weight.filter(|weight| (1..=100).contains(weight));
    if weight.is_none() {
        let message = "must be a whole number from 1 to 100";
        faults.add(fields.path("weight"), "invalid_weight", message);
    }
    weight
}

fn capture_within(fields: &Object, faults: &mut Faults) -> Option<Duration> {
    let Some(value) = fields.get("capture_within_seconds") else {
        return Some(CAPTURE_WITHIN);
    };
    let seconds = value.as_u64();
    let seconds = seconds.filter(|seconds| (1..=LONGEST_CAPTURE).contains(seconds));
    if seconds.is_none() {
        let message = "must be a whole number of seconds from 1 to 2592000 (30 days)";
        let field = fields.path("capture_within_seconds");
        faults.add(field, "invalid_capture_within", message);
    }
    seconds.map(Duration::from_secs)
}

fn user(fields: &Object, taken: &mut Taken<'_>, faults: &mut Faults) -> Option<String> {
    fields.get("rabbitmq_user")?;
    let user = fields.text("rabbitmq_user", "the name of a RabbitMQ user", faults)?;
    if user.is_empty() {
        let message = "must not be empty: leave it out for a client that sends no messages";
        faults.add(fields.path("rabbitmq_user"), "invalid_user", message);
    } else if !taken.users.insert(user.to_owned()) {
        let message = "already belongs to an earlier client";
        faults.add(fields.path("rabbitmq_user"), "repeated", message);
    }
    Some(user.to_owned())
}
