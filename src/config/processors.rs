//! `PROCESSORS_FILE`: the processors beside the simulated issuer and the routes to them, and `ALLOW_LIVE_PAYMENTS`.

use std::collections::HashSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use axum::http::Uri;
use secrecy::SecretString;
use serde_json::Value;

use super::reader::Reader;
use super::routes;
use crate::processors::paypal::PayPalAccount;
use crate::processors::routes::Routes;
use crate::processors::simulated::SimulatedIssuer;
use crate::processors::stripe::StripeAccount;
use crate::wire::fields::{Faults, FieldError, Object};
use crate::wire::json;
use crate::wire::methods::is_processor_name;

/// The name of the simulated issuer.
const SIMULATED: &str = SimulatedIssuer::NAME;

/// Stripe's own servers.
const STRIPE: &str = "https://api.stripe.com";

/// What a listed processor can be.
const KINDS: &str = "stripe, paypal or simulated";

/// PayPal's servers for tests, and those that move real money.
const PAYPAL: &str = "https://api-m.sandbox.paypal.com";
const PAYPAL_LIVE: [&str; 2] = ["api-m.paypal.com", "api.paypal.com"];

/// What the file lists.
#[derive(Debug, Clone, Default)]
pub struct ProcessorsFile {
    /// The processors.
    pub processors: Vec<ListedProcessor>,
    /// Which payments that name no processor use which.
    pub routes: Routes,
}

impl ProcessorsFile {
    /// Whether it lists this processor, too: by its name and type.
    pub fn keeps(&self, other: &ListedProcessor) -> bool {
        let is_same = |listed: &ListedProcessor| {
            listed.name() == other.name() && listed.kind() == other.kind()
        };
        self.processors.iter().any(is_same)
    }
}

/// Where the file is, and what it lists.
#[derive(Debug, Clone)]
pub struct ProcessorSettings {
    /// None without a file.
    path: Option<PathBuf>,
    settings: Settings,
    /// As it was read at the start.
    pub file: ProcessorsFile,
}

impl ProcessorSettings {
    /// Where the file is, if there is one.
    pub fn path(&self) -> Option<&Path> {
        self.path.as_deref()
    }

    /// Reads the file; an error says everything that is wrong with it.
    pub fn read_again(&self) -> Result<ProcessorsFile, String> {
        match self.path() {
            Some(path) => load(path, self.settings),
            None => Ok(ProcessorsFile::default()),
        }
    }
}

/// A processor that the file lists.
#[derive(Debug, Clone, PartialEq)]
pub enum ListedProcessor {
    /// At Stripe.
    Stripe(StripeAccount),
    /// At PayPal.
    PayPal(PayPalAccount),
    /// A further simulated issuer.
    Simulated {
        /// Its name.
        name: String,
        /// It is not called: for trying out what stands in for it.
        down: bool,
    },
}

impl ListedProcessor {
    /// The processor's name here.
    pub fn name(&self) -> &str {
        match self {
            Self::Stripe(account) => &account.name,
            Self::PayPal(account) => &account.name,
            Self::Simulated { name, .. } => name,
        }
    }

    /// Its type, as the file writes it.
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Stripe(_) => "stripe",
            Self::PayPal(_) => "paypal",
            Self::Simulated { .. } => SIMULATED,
        }
    }
}

/// What holds for every account.
#[derive(Debug, Clone, Copy)]
struct Settings {
    /// `ALLOW_LIVE_PAYMENTS`.
    live: bool,
    /// `ISSUER_ACTION_LIFE`.
    action_life: Duration,
}

pub(super) fn read(reader: &mut Reader<'_>, action_life: Duration) -> Option<ProcessorSettings> {
    let live = reader.optional("ALLOW_LIVE_PAYMENTS", "true or false", |text| {
        text.parse::<bool>().ok()
    });
    let live = live.unwrap_or(false);
    let read = ProcessorSettings {
        path: reader.text("PROCESSORS_FILE").map(PathBuf::from),
        settings: Settings { live, action_life },
        file: ProcessorsFile::default(),
    };
    let file = reader.checked("PROCESSORS_FILE", read.read_again())?;
    Some(ProcessorSettings { file, ..read })
}

fn load(path: &Path, settings: Settings) -> Result<ProcessorsFile, String> {
    let shown = path.display();
    let content =
        std::fs::read(path).map_err(|error| format!("{shown} cannot be read: {error}"))?;
    parse(&content, settings).map_err(|faults| {
        let sentences: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
        format!("{shown} is invalid: {}", sentences.join(" "))
    })
}

/// Reads the file's content, and reports every fault.
fn parse(content: &[u8], settings: Settings) -> Result<ProcessorsFile, Vec<FieldError>> {
    let document = json::parse(content).map_err(|unreadable| {
        vec![FieldError {
            field: String::new(),
            code: "malformed_json",
            message: format!("The file {unreadable}."),
        }]
    })?;
    let mut faults = Faults::default();
    let read = Object::root(&document, &mut faults).and_then(|fields| {
        fields.refuse_unknown(&["processors", "routes"], &[], &mut faults);
        let processors = processors(&fields, settings, &mut faults);
        let mut names = vec![SIMULATED];
        names.extend(processors.iter().flatten().map(ListedProcessor::name));
        let routes = routes::read(&fields, &names, &mut faults);
        Some(ProcessorsFile {
            routes: routes?,
            processors: processors?,
        })
    });
    faults.settle(read)
}

fn processors(
    fields: &Object<'_>,
    settings: Settings,
    faults: &mut Faults,
) -> Option<Vec<ListedProcessor>> {
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
        if !names.insert(account.name().to_owned()) {
            let message = "is the name of another processor in this file";
            faults.add(fields.path("name"), "duplicate_name", message);
            return None;
        }
        Some(account)
    };
    let read: Vec<Option<ListedProcessor>> = listed.iter().enumerate().map(read).collect();
    read.into_iter().collect()
}

fn account(
    fields: &Object<'_>,
    settings: Settings,
    faults: &mut Faults,
) -> Option<ListedProcessor> {
    let name = fields.text("name", "its name, such as stripe", faults);
    if name.is_some_and(|name| !is_processor_name(name) || name == SIMULATED) {
        let message =
            "must be a lower-case letter, then up to 31 of a-z, 0-9, - and _, and not simulated";
        faults.add(fields.path("name"), "invalid_name", message);
    }
    match fields.text("type", KINDS, faults)? {
        "simulated" => simulated(name, fields, faults),
        "stripe" => stripe(name, fields, settings, faults).map(ListedProcessor::Stripe),
        "paypal" => paypal(name, fields, settings, faults).map(ListedProcessor::PayPal),
        _ => {
            let message = format!("must be {KINDS}");
            faults.add(fields.path("type"), "unknown_type", message);
            None
        }
    }
}

fn simulated(
    name: Option<&str>,
    fields: &Object<'_>,
    faults: &mut Faults,
) -> Option<ListedProcessor> {
    fields.refuse_unknown(&["name", "type", "down"], &[], faults);
    let down = match fields.get("down") {
        None => false,
        Some(value) => value.as_bool().or_else(|| {
            faults.add(fields.path("down"), "wrong_type", "must be true or false");
            None
        })?,
    };
    let name = name?.to_owned();
    Some(ListedProcessor::Simulated { name, down })
}

fn stripe(
    name: Option<&str>,
    fields: &Object<'_>,
    settings: Settings,
    faults: &mut Faults,
) -> Option<StripeAccount> {
    let known = ["name", "type", "secret_key", "api", "webhook_secret"];
    fields.refuse_unknown(&known, &[], faults);
    let secret_key = fields.text("secret_key", "the account's secret key", faults);
    let is_live = |key: &str| key.starts_with("sk_live_") || key.starts_with("rk_live_");
    let is_key = |key: &str| {
        let known = ["sk_test_", "rk_test_"];
        is_live(key) || known.iter().any(|start| key.starts_with(start))
    };
    match secret_key {
        Some(key) if !is_key(key) || !is_graphic(key) => {
            let message = "must be a secret or restricted key of Stripe's: sk_test_… or rk_test_…";
            faults.add(fields.path("secret_key"), "invalid_key", message);
        }
        Some(key) if is_live(key) && !settings.live => {
            let message =
                "moves real money: use a test key (sk_test_…), or set ALLOW_LIVE_PAYMENTS=true";
            faults.add(fields.path("secret_key"), "live_key", message);
        }
        _ => {}
    }
    let api = address(fields, STRIPE, faults);
    let webhook_secrets = webhook_secrets(fields, faults);
    Some(StripeAccount {
        name: name?.to_owned(),
        secret_key: SecretString::from(secret_key?),
        api: api?.to_owned(),
        action_life: settings.action_life,
        webhook_secrets: webhook_secrets?,
    })
}

fn paypal(
    name: Option<&str>,
    fields: &Object<'_>,
    settings: Settings,
    faults: &mut Faults,
) -> Option<PayPalAccount> {
    let known = [
        "name",
        "type",
        "client_id",
        "client_secret",
        "api",
        "webhook_id",
    ];
    fields.refuse_unknown(&known, &[], faults);
    let client_id = fields.text("client_id", "the app's client id", faults);
    let client_secret = fields.text("client_secret", "the app's secret", faults);
    // The two are joined by a colon when they are sent.
    if client_id.is_some_and(|id| !is_graphic(id) || id.contains(':')) {
        let message = "must be visible ASCII characters without colons";
        faults.add(fields.path("client_id"), "invalid_client_id", message);
    }
    if client_secret.is_some_and(|secret| !is_graphic(secret)) {
        let message = "must be visible ASCII characters";
        faults.add(fields.path("client_secret"), "invalid_key", message);
    }
    let api = address(fields, PAYPAL, faults);
    if api.is_some_and(is_paypal_live) && !settings.live {
        let message = "moves real money: leave it out, or set ALLOW_LIVE_PAYMENTS=true";
        faults.add(fields.path("api"), "live_address", message);
    }
    let webhook_id = match fields.get("webhook_id") {
        None => None,
        Some(_) => Some(fields.text("webhook_id", "the id of the app's webhook", faults)?),
    };
    if webhook_id.is_some_and(|id| !is_graphic(id)) {
        let message = "must be the id of the app's webhook: visible ASCII characters";
        faults.add(fields.path("webhook_id"), "invalid_webhook_id", message);
    }
    Some(PayPalAccount {
        name: name?.to_owned(),
        webhook_id: webhook_id.map(str::to_owned),
        client_id: client_id?.to_owned(),
        client_secret: SecretString::from(client_secret?),
        api: api?.to_owned(),
        action_life: settings.action_life,
    })
}

fn is_graphic(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_graphic())
}

fn is_paypal_live(api: &str) -> bool {
    let address = api.parse::<Uri>().ok();
    let host = address.as_ref().and_then(Uri::host).unwrap_or_default();
    let host = host.trim_end_matches('.');
    PAYPAL_LIVE
        .iter()
        .any(|live| host.eq_ignore_ascii_case(live))
}

/// Where the API is.
fn address<'f>(fields: &Object<'f>, usual: &'static str, faults: &mut Faults) -> Option<&'f str> {
    if fields.get("api").is_none() {
        return Some(usual);
    }
    let api = fields.text("api", &format!("an address such as {usual}"), faults)?;
    if !is_address(api) {
        let message = "must be an https address without a path, or http on this machine";
        faults.add(fields.path("api"), "invalid_address", message);
    }
    Some(api)
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

/// The secrets go there.
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

    fn parsed(processors: &Value, live: bool) -> Result<Vec<ListedProcessor>, Vec<FieldError>> {
        let content = json!({ "processors": processors }).to_string();
        let action_life = Duration::from_secs(900);
        let parsed = parse(content.as_bytes(), Settings { live, action_life });
        parsed.map(|file| file.processors)
    }

    fn faults(processors: &Value, live: bool) -> Vec<(String, &'static str)> {
        let parsed = parsed(processors, live);
        let faults = parsed.err().unwrap_or_default();
        faults.into_iter().map(|it| (it.field, it.code)).collect()
    }

    fn account(changes: &Value) -> Value {
        changed(
            json!({"name": "stripe", "type": "stripe", "secret_key": "sk_test_1"}),
            changes,
        )
    }

    fn paypal_account(changes: &Value) -> Value {
        changed(
            json!({"name": "paypal", "type": "paypal", "client_id": "AZ-1", "client_secret": "EC_1"}),
            changes,
        )
    }

    fn changed(mut account: Value, changes: &Value) -> Value {
        for (name, value) in changes.as_object().unwrap() {
            account[name] = value.clone();
        }
        account
    }

    #[test]
    fn an_account_is_read_and_its_key_is_not_shown() {
        let both = json!([account(&json!({})), paypal_account(&json!({}))]);
        let read = parsed(&both, false).unwrap();
        let shown = read.iter().map(|account| match account {
            ListedProcessor::Stripe(it) => (account.name(), it.api.as_str()),
            ListedProcessor::PayPal(it) => (account.name(), it.api.as_str()),
            ListedProcessor::Simulated { .. } => (account.name(), ""),
        });
        let shown: Vec<_> = shown.collect();
        assert_eq!(shown, [("stripe", STRIPE), ("paypal", PAYPAL)]);
        let text = format!("{read:?}");
        assert!(!text.contains("sk_test_1") && !text.contains("EC_1"));
    }

    #[test]
    fn every_fault_of_a_paypal_account_names_its_field() {
        let live = "https://api-m.paypal.com";
        for (changes, field, code) in [
            (json!({"client_id": ""}), "client_id", "invalid_client_id"),
            (
                json!({"client_id": "a:b"}),
                "client_id",
                "invalid_client_id",
            ),
            (json!({"client_id": null}), "client_id", "missing"),
            (
                json!({"client_secret": "a b"}),
                "client_secret",
                "invalid_key",
            ),
            (json!({"client_secret": 1}), "client_secret", "wrong_type"),
            (json!({"client_secret": null}), "client_secret", "missing"),
            (
                json!({"secret_key": "sk_test_1"}),
                "secret_key",
                "unknown_field",
            ),
            (json!({ "api": live }), "api", "live_address"),
            (
                json!({"api": "https://API.paypal.com:443/"}),
                "api",
                "live_address",
            ),
            (
                json!({"api": "http://paypal.com"}),
                "api",
                "invalid_address",
            ),
        ] {
            let found = faults(&json!([paypal_account(&changes)]), false);
            let field = format!("processors[0].{field}");
            assert_eq!(found, [(field, code)], "{changes}");
        }
        let live = paypal_account(&json!({ "api": live }));
        assert_eq!(faults(&json!([live]), true), []);
    }

    #[test]
    fn a_webhook_secret_can_be_replaced_without_a_gap() {
        for (given, number) in [
            (json!("whsec_12345678"), 1),
            (json!(["whsec_12345678", "whsec_87654321"]), 2),
        ] {
            let account = account(&json!({ "webhook_secret": given }));
            let read = parsed(&json!([account]), false).unwrap();
            let ListedProcessor::Stripe(stripe) = &read[0] else {
                panic!("{read:?}");
            };
            assert_eq!(stripe.webhook_secrets.len(), number);
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
