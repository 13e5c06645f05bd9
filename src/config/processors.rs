//! `PROCESSORS_FILE`: the payment platforms beside the simulated issuer, and `ALLOW_LIVE_PAYMENTS`.

use std::collections::HashSet;
use std::time::Duration;

use axum::http::Uri;
use secrecy::SecretString;
use serde_json::Value;

use super::reader::Reader;
use crate::processors::simulated::SimulatedIssuer;
use crate::processors::stripe::StripeAccount;
use crate::wire::fields::{Faults, FieldError, Object};
use crate::wire::json;
use crate::wire::methods::is_processor_name;

const FIELDS: [&str; 5] = ["name", "type", "secret_key", "api", "webhook_secret"];

/// The name of the simulated issuer.
const SIMULATED: &str = SimulatedIssuer::NAME;

/// Stripe's own servers.
const STRIPE: &str = "https://api.stripe.com";

pub(super) fn read(reader: &mut Reader<'_>, action_life: Duration) -> Option<Vec<StripeAccount>> {
    let live = reader.optional("ALLOW_LIVE_PAYMENTS", "true or false", |text| {
        text.parse::<bool>().ok()
    });
    let live = live.unwrap_or(false);
    let Some(file) = reader.text("PROCESSORS_FILE") else {
        return Some(Vec::new());
    };
    let content = std::fs::read(&file).map_err(|error| format!("{file} cannot be read: {error}"));
    let content = reader.checked("PROCESSORS_FILE", content)?;
    let parsed = parse(&content, live, action_life).map_err(|faults| {
        let sentences: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        format!("{file} is invalid: {}", sentences.join(" "))
    });
    reader.checked("PROCESSORS_FILE", parsed)
}

/// Reads the file's content, and reports every fault.
fn parse(
    content: &[u8],
    live: bool,
    action_life: Duration,
) -> Result<Vec<StripeAccount>, Vec<FieldError>> {
    let document = json::parse(content).map_err(|unreadable| {
        vec![FieldError {
            field: String::new(),
            code: "malformed_json",
            message: format!("The file {unreadable}."),
        }]
    })?;
    let mut faults = Faults::default();
    let read = Object::root(&document, &mut faults)
        .and_then(|fields| accounts(&fields, (live, action_life), &mut faults));
    faults.settle(read)
}

fn accounts(
    fields: &Object<'_>,
    settings: (bool, Duration),
    faults: &mut Faults,
) -> Option<Vec<StripeAccount>> {
    fields.refuse_unknown(&["processors"], &[], faults);
    let listed = fields.required("processors", "a list of processors", faults)?;
    let Some(listed) = listed.as_array() else {
        let message = "must be a list of processors";
        faults.add("processors".to_owned(), "wrong_type", message);
        return None;
    };
    let mut names = HashSet::new();
    let read = |(place, value): (usize, &Value)| {
        let fields = Object::of(value, format!("processors[{place}]"), faults)?;
        let account = account(&fields, settings, faults)?;
        if !names.insert(account.name.clone()) {
            let message = "is the name of another processor in this file";
            faults.add(fields.path("name"), "duplicate_name", message);
            return None;
        }
        Some(account)
    };
    let read: Vec<Option<StripeAccount>> = listed.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

fn account(
    fields: &Object<'_>,
    (live, action_life): (bool, Duration),
    faults: &mut Faults,
) -> Option<StripeAccount> {
    fields.refuse_unknown(&FIELDS, &[], faults);
    let name = fields.text("name", "its name, such as stripe", faults);
    let kind = fields.text("type", "stripe", faults);
    let secret_key = fields.text("secret_key", "the account's secret key", faults);
    let api = match fields.get("api") {
        Some(_) => fields.text("api", "an address such as https://api.stripe.com", faults),
        None => Some(STRIPE),
    };
    let webhook_secrets = webhook_secrets(fields, faults);
    let mut refuse = |field: &str, code, message: &str| {
        faults.add(fields.path(field), code, message);
    };
    if name.is_some_and(|name| !is_processor_name(name) || name == SIMULATED) {
        let message =
            "must be a lower-case letter, then up to 31 of a-z, 0-9, - and _, and not simulated";
        refuse("name", "invalid_name", message);
    }
    if kind.is_some_and(|kind| kind != "stripe") {
        refuse("type", "unknown_type", "must be stripe");
    }
    let is_live = |key: &str| key.starts_with("sk_live_") || key.starts_with("rk_live_");
    let is_key = |key: &str| {
        let known = ["sk_test_", "rk_test_"];
        is_live(key) || known.iter().any(|start| key.starts_with(start))
    };
    match secret_key {
        Some(key) if !is_key(key) || key.bytes().any(|byte| !byte.is_ascii_graphic()) => {
            let message = "must be a secret or restricted key of Stripe's: sk_test_… or rk_test_…";
            refuse("secret_key", "invalid_key", message);
        }
        Some(key) if is_live(key) && !live => {
            let message =
                "moves real money: use a test key (sk_test_…), or set ALLOW_LIVE_PAYMENTS=true";
            refuse("secret_key", "live_key", message);
        }
        _ => {}
    }
    if api.is_some_and(|api| !is_address(api)) {
        let message = "must be an https address without a path, or http on this machine";
        refuse("api", "invalid_address", message);
    }
    Some(StripeAccount {
        name: name?.to_owned(),
        secret_key: SecretString::from(secret_key?),
        api: api?.to_owned(),
        action_life,
        webhook_secrets: webhook_secrets?,
    })
}

/// A secret, or a list of two while one is being replaced.
fn webhook_secrets(fields: &Object<'_>, faults: &mut Faults) -> Option<Vec<SecretString>> {
    let listed = match fields.get("webhook_secret") {
        None => return Some(Vec::new()),
        Some(Value::Array(listed)) => listed.iter().map(Value::as_str).collect(),
        Some(one) => vec![one.as_str()],
    };
    let secrets: Vec<&str> = listed.iter().copied().flatten().collect();
    let is_secret = |text: &&str| {
        let rest = text.strip_prefix("whsec_").unwrap_or_default();
        rest.len() >= 8 && rest.bytes().all(|byte| byte.is_ascii_graphic())
    };
    if secrets.len() != listed.len()
        || !(1..=2).contains(&secrets.len())
        || !secrets.iter().all(is_secret)
    {
        let message = "must be the signing secret of the webhook, whsec_…, or a list of two while it is being replaced";
        faults.add(fields.path("webhook_secret"), "invalid_secret", message);
        return None;
    }
    Some(secrets.into_iter().map(SecretString::from).collect())
}

/// The secret key goes there.
fn is_address(text: &str) -> bool {
    let Ok(address) = text.parse::<Uri>() else {
        return false;
    };
    let host = address.host().unwrap_or_default();
    let is_here = matches!(host, "127.0.0.1" | "[::1]" | "localhost");
    let secure = match address.scheme_str() {
        Some("https") => true,
        Some("http") => is_here,
        _ => false,
    };
    let bare = matches!(address.path(), "" | "/") && address.query().is_none();
    secure && bare && !host.is_empty() && !text.contains('@')
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    const LIFE: Duration = Duration::from_secs(900);

    fn faults(processors: &Value, live: bool) -> Vec<(String, &'static str)> {
        let content = json!({ "processors": processors }).to_string();
        let parsed = parse(content.as_bytes(), live, LIFE);
        let faults = parsed.err().unwrap_or_default();
        faults.into_iter().map(|it| (it.field, it.code)).collect()
    }

    fn account(changes: &Value) -> Value {
        let mut account = json!({"name": "stripe", "type": "stripe", "secret_key": "sk_test_1"});
        for (name, value) in changes.as_object().unwrap() {
            account[name] = value.clone();
        }
        account
    }

    #[test]
    fn an_account_is_read_and_its_key_is_not_shown() {
        let content = json!({ "processors": [account(&json!({}))] }).to_string();
        let read = parse(content.as_bytes(), false, LIFE).unwrap();
        assert_eq!(
            (read[0].name.as_str(), read[0].api.as_str()),
            ("stripe", STRIPE)
        );
        assert!(!format!("{read:?}").contains("sk_test_1"));
    }

    #[test]
    fn a_webhook_secret_can_be_replaced_without_a_gap() {
        for (given, number) in [
            (json!("whsec_12345678"), 1),
            (json!(["whsec_12345678", "whsec_87654321"]), 2),
        ] {
            let account = account(&json!({ "webhook_secret": given }));
            let content = json!({ "processors": [account] }).to_string();
            let read = parse(content.as_bytes(), false, LIFE).unwrap();
            assert_eq!(read[0].webhook_secrets.len(), number);
            assert!(!format!("{read:?}").contains("12345678"));
        }
    }

    #[test]
    fn every_fault_names_its_field() {
        for (changes, field, code) in [
            (json!({"name": "Stripe"}), "name", "invalid_name"),
            (json!({"name": "simulated"}), "name", "invalid_name"),
            (json!({"type": "adyen"}), "type", "unknown_type"),
            (
                json!({"secret_key": "pk_test_1"}),
                "secret_key",
                "invalid_key",
            ),
            (
                json!({"secret_key": "sk_test_\n"}),
                "secret_key",
                "invalid_key",
            ),
            (json!({"secret_key": "sk_live_1"}), "secret_key", "live_key"),
            (json!({"secret_key": "rk_live_1"}), "secret_key", "live_key"),
            (json!({"secret_key": 1}), "secret_key", "wrong_type"),
            (
                json!({"api": "http://api.stripe.com"}),
                "api",
                "invalid_address",
            ),
            (
                json!({"api": "https://user@api.stripe.com"}),
                "api",
                "invalid_address",
            ),
            (
                json!({"api": "https://api.stripe.com/v1"}),
                "api",
                "invalid_address",
            ),
            (json!({"secret": "x"}), "secret", "unknown_field"),
            (
                json!({"webhook_secret": "sk_test_123456"}),
                "webhook_secret",
                "invalid_secret",
            ),
            (
                json!({"webhook_secret": []}),
                "webhook_secret",
                "invalid_secret",
            ),
            (
                json!({"webhook_secret": ["whsec_12345678", 1]}),
                "webhook_secret",
                "invalid_secret",
            ),
        ] {
            let found = faults(&json!([account(&changes)]), false);
            let field = format!("processors[0].{field}");
            assert_eq!(found, [(field, code)], "{changes}");
        }
        let live = account(&json!({"secret_key": "sk_live_1"}));
        assert_eq!(faults(&json!([live]), true), []);
        let here = account(&json!({"api": "http://127.0.0.1:12111"}));
        assert_eq!(faults(&json!([here]), false), []);
        let twice = json!([account(&json!({})), account(&json!({}))]);
        let expected = [("processors[1].name".to_owned(), "duplicate_name")];
        assert_eq!(faults(&twice, false), expected);
    }
}
