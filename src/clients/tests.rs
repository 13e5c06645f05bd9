use std::time::Duration;

use serde_json::{Value, json};

use super::*;
use crate::clients::callback::{Format, OUTCOMES};
use crate::clients::secret::Secret;
use crate::domain::{Funding, WebOrigin};
use crate::wire::rules::UnknownFields;

fn faults(document: &Value) -> Vec<(String, &'static str)> {
    let faults = Clients::parse(document.to_string().as_bytes()).expect_err("faults");
    let fault = |fault: FieldError| (fault.field, fault.code);
    faults.into_iter().map(fault).collect()
}

fn named(name: &str, keys: &[&str]) -> Value {
    json!({"clients": [{"name": name, "api_key_sha256": keys, "rabbitmq_user": name}]})
}

#[test]
fn each_key_and_each_rabbitmq_user_identifies_its_client() {
    let (one, one_digest) = new_api_key();
    let (two, two_digest) = new_api_key();
    let (three, three_digest) = new_api_key();
    let document = json!({"clients": [
        {"name": "shop", "api_key_sha256": [one_digest, two_digest.to_uppercase()], "rabbitmq_user": "shop-user"},
        {"name": "kiosk", "api_key_sha256": [three_digest]},
        {"name": "batch", "api_key_sha256": [], "rabbitmq_user": "batch"},
    ]});
    let clients = Clients::parse(document.to_string().as_bytes()).expect("a good file");
    let by_key = |key: &str| clients.by_api_key(key).map(|name| name.to_string());
    assert_eq!(by_key(&one).as_deref(), Some("shop"));
    assert_eq!(by_key(&two).as_deref(), Some("shop"));
    assert_eq!(by_key(&three).as_deref(), Some("kiosk"));
    assert_eq!(by_key(&one_digest), None);
    assert_eq!(by_key(""), None);
    let by_user = |user: &str| clients.by_rabbitmq_user(user).map(|name| name.to_string());
    assert_eq!(by_user("shop-user").as_deref(), Some("shop"));
    assert_eq!(by_user("shop"), None);
    assert_eq!(clients.default_client(), None);
}

#[test]
fn the_default_weight_of_a_client_is_one() {
    let clients = |weight: Value| {
        let document = json!({"clients": [
            {"name": "shop", "api_key_sha256": [], "weight": weight},
            {"name": "kiosk", "api_key_sha256": []},
        ]});
        Clients::parse(document.to_string().as_bytes())
    };
    let name = |name| ClientName::parse(name).expect("a name");
    let read = clients(json!(100)).expect("a good file");
    assert_eq!(read.weight(&name("shop")), 100);
    assert_eq!(read.weight(&name("kiosk")), 1);
    assert_eq!(read.weight(&name("nobody")), 1);
    for weight in [json!(0), json!(101), json!(-1), json!(1.5), json!("2")] {
        let faults = clients(weight.clone()).expect_err("a fault");
        let found: Vec<(&str, &str)> = faults
            .iter()
            .map(|it| (it.field.as_str(), it.code))
            .collect();
        assert_eq!(found, [("clients[0].weight", "invalid_weight")], "{weight}");
    }
}

#[test]
fn without_a_file_there_is_one_client() {
    let clients = Clients::single();
    let default = ClientName::parse("default").ok();
    assert_eq!(clients.default_client(), default);
    assert_eq!(clients.by_rabbitmq_user("guest"), default);
    assert_eq!(clients.by_api_key("anything"), None);
}

#[test]
fn every_error_in_a_clients_file_is_listed() {
    let digest = "0".repeat(64);
    let found = faults(&json!({"client": 1, "clients": [
        {"name": "Shop", "api_key_sha256": [digest, "12"], "rabbitmq_user": ""},
        {"name": "kiosk", "api_key_sha256": [digest], "api_key": "x", "weight": 0},
        {"name": "kiosk", "api_key_sha256": "x"},
        7,
    ]}));
    let expected = [
        ("client", "unknown_field"),
        ("clients[0].name", "invalid_name"),
        ("clients[0].api_key_sha256[1]", "invalid_digest"),
        ("clients[0].rabbitmq_user", "invalid_user"),
        ("clients[1].api_key", "unknown_field"),
        ("clients[1].api_key_sha256[0]", "repeated"),
        ("clients[1].weight", "invalid_weight"),
        ("clients[2].name", "repeated"),
        ("clients[2].api_key_sha256", "wrong_type"),
        ("clients[3]", "wrong_type"),
    ];
    assert_eq!(
        found,
        expected.map(|(field, code)| (field.to_owned(), code))
    );
    let empty = [("clients".to_owned(), "wrong_type")];
    assert_eq!(faults(&json!({"clients": []})), empty);
    let missing = [("clients".to_owned(), "missing")];
    assert_eq!(faults(&json!({})), missing);
    let malformed = Clients::parse(b"{").expect_err("faults");
    assert_eq!(malformed[0].code, "malformed_json");
}

#[tokio::test(start_paused = true)]
async fn a_changed_file_is_reloaded_and_an_invalid_one_is_ignored() {
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("clients.json");
    let write = |document: &str| std::fs::write(&path, document).expect("written");
    write(&named("one", &[]).to_string());
    let clients = Clients::load(&path).expect("a good file");
    let stop = CancellationToken::new();
    let following = tokio::spawn(clients.clone().watch(stop.clone()));
    let knows = async |user: &str| {
        for _ in 0..100 {
            if clients.by_rabbitmq_user(user).is_some() {
                return true;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        false
    };
    assert!(knows("one").await);

    write(&named("second", &[]).to_string());
    assert!(knows("second").await);
    write("{ not JSON at all");
    assert!(!knows("one").await);
    assert!(knows("second").await);
    std::fs::remove_file(&path).expect("removed");
    assert!(!knows("one").await);
    assert!(knows("second").await);
    write(&named("the-third", &[]).to_string());
    assert!(knows("the-third").await);

    stop.cancel();
    following.await.expect("it stops");
}

fn with_callback(callback: &Value) -> Value {
    json!({"clients": [{"name": "shop", "api_key_sha256": [], "callback": callback}]})
}

#[test]
fn callbacks_default_to_standard_webhooks_outcomes_and_public_addresses() {
    let secret = Secret::generate();
    let read = |callback: Value| {
        let document = with_callback(&callback).to_string();
        let clients = Clients::parse(document.as_bytes()).expect("a good file");
        let shop = ClientName::parse("shop").expect("a name");
        clients.callback(&shop).expect("a callback")
    };
    let plain =
        read(json!({"url": "https://shop.example:8443/a?b=c", "secrets": [secret.as_str()]}));
    assert_eq!(plain.url, "https://shop.example:8443/a?b=c");
    assert_eq!(plain.secrets.len(), 1);
    assert_eq!(plain.format, Format::StandardWebhooks);
    assert!(!plain.allow_private_addresses);
    assert_eq!(plain.events, OUTCOMES);
    let store = read(json!({
        "url": "http://10.0.0.1/orders", "format": "store-manager", "allow_private_addresses": true,
    }));
    assert_eq!(store.events, ["payment.succeeded"]);
    assert!(store.secrets.is_empty());
    assert!(!format!("{plain:?}").contains(&secret[6..]));
}

#[test]
fn every_error_in_a_callback_is_listed() {
    let found = |callback: Value| {
        let found = faults(&with_callback(&callback)).into_iter();
        found
            .map(|(field, code)| (field.replace("clients[0].callback", ""), code))
            .collect::<Vec<_>>()
    };
    let expected = [
        (".uri", "unknown_field"),
        (".format", "unknown_format"),
        (".allow_private_addresses", "wrong_type"),
        (".url", "missing"),
        (".secrets[0]", "invalid_secret"),
        (".events[1]", "unknown_event"),
    ];
    let wrong = json!({
        "uri": "x", "format": "soap", "allow_private_addresses": "yes", "secrets": ["whsec_short"],
        "events": ["payment.failed", "payment.lost"],
    });
    let expected = expected.map(|(field, code)| (field.to_owned(), code));
    assert_eq!(found(wrong), expected);
    for (url, code) in [
        ("shop.example/hook", "invalid_url"),
        ("/hook", "invalid_url"),
        ("ftp://shop.example", "invalid_url"),
        ("https://user:password@shop.example", "invalid_url"),
        ("http://shop.example", "not_https"),
        ("https://169.254.169.254/latest", "private_address"),
        ("https://[::1]/", "private_address"),
        ("https://[::ffff:10.0.0.1]/", "private_address"),
    ] {
        let secret = Secret::generate();
        let callback = json!({"url": url, "secrets": [secret.as_str()]});
        assert_eq!(found(callback), [(".url".to_owned(), code)], "{url}");
    }
    let unsigned = json!({"url": "https://shop.example"});
    assert_eq!(found(unsigned), [(".secrets".to_owned(), "missing")]);
    let none = json!({"url": "https://shop.example", "secrets": []});
    assert_eq!(found(none), [(".secrets".to_owned(), "wrong_type")]);
}

#[test]
fn a_client_has_a_name_origins_and_a_rule_for_unknown_fields() {
    let document = json!({"clients": [
        {"name": "shop", "api_key_sha256": [], "display_name": " The Shop ", "unknown_fields": "ignore",
            "return_origins": ["https://shop.example", "http://localhost:3000/"]},
        {"name": "kiosk", "api_key_sha256": [], "unknown_fields": "refuse", "return_origins": []},
    ]});
    let clients = Clients::parse(document.to_string().as_bytes()).expect("a good file");
    let name = |name| ClientName::parse(name).expect("a name");
    let (shop, kiosk) = (name("shop"), name("kiosk"));
    assert_eq!(clients.display_name(&shop).as_deref(), Some("The Shop"));
    assert_eq!(clients.display_name(&kiosk), None);
    let origins = ["https://shop.example", "http://localhost:3000"];
    let origins = origins.map(|text| WebOrigin::parse(text).expect("an origin"));
    let expected = ClientRules {
        unknown_fields: UnknownFields::Ignore,
        return_origins: ReturnOrigins::Listed(origins.into()),
        ..ClientRules::default()
    };
    assert_eq!(*clients.rules(&shop), expected);
    assert_eq!(*clients.rules(&kiosk), ClientRules::default());
    assert_eq!(*clients.rules(&name("gone")), ClientRules::default());
    let everyone = Clients::single().rules(&name("default"));
    assert_eq!(everyone.return_origins, ReturnOrigins::Loopback);
}

#[test]
fn a_client_may_use_what_is_listed_and_everything_without_a_list() {
    let document = json!({"clients": [
        {"name": "shop", "api_key_sha256": [], "card_funding": ["debit", "prepaid"], "payment_methods": ["card"]},
        {"name": "kiosk", "api_key_sha256": [], "card_funding": ["credit", "unknown"]},
        {"name": "all", "api_key_sha256": []},
    ]});
    let clients = Clients::parse(document.to_string().as_bytes()).expect("a good file");
    for (client, allowed) in [
        ("shop", vec![Funding::Debit, Funding::Prepaid]),
        ("kiosk", vec![Funding::Credit, Funding::Unknown]),
        ("all", Funding::ALL.to_vec()),
    ] {
        let rules = clients.rules(&ClientName::parse(client).expect("a name"));
        for funding in Funding::ALL {
            let checked = rules.check_card(funding);
            assert_eq!(
                checked.is_ok(),
                allowed.contains(&funding),
                "{client}, {funding}"
            );
        }
    }
    let found = faults(&json!({"clients": [
        {"name": "a", "api_key_sha256": [], "card_funding": ["Debit", 1, "credit"], "payment_methods": ["card", "cash"]},
        {"name": "b", "api_key_sha256": [], "card_funding": [], "payment_methods": "card"},
    ]}));
    let expected = [
        ("clients[0].payment_methods[1]", "unknown_choice"),
        ("clients[0].card_funding[0]", "unknown_choice"),
        ("clients[0].card_funding[1]", "unknown_choice"),
        ("clients[1].payment_methods", "wrong_type"),
        ("clients[1].card_funding", "wrong_type"),
    ];
    let expected = expected.map(|(field, code)| (field.to_owned(), code));
    assert_eq!(found, expected);
}

#[test]
fn every_error_in_origins_and_rules_is_listed() {
    let found = faults(&json!({"clients": [
        {"name": "a", "api_key_sha256": [], "display_name": " ", "unknown_fields": "drop", "return_origins": "https://x"},
        {"name": "b", "api_key_sha256": [], "display_name": "x".repeat(65), "unknown_fields": true, "return_origins":
            ["http://shop.example", "https://shop.example/orders", "shop.example", 1, "https://user@shop.example"]},
        {"name": "c", "api_key_sha256": [], "display_name": "a\nb", "unknown_field": "ignore"},
    ]}));
    let expected = [
        ("clients[0].display_name", "invalid_display_name"),
        ("clients[0].return_origins", "wrong_type"),
        ("clients[0].unknown_fields", "unknown_choice"),
        ("clients[1].display_name", "invalid_display_name"),
        ("clients[1].return_origins[0]", "invalid_origin"),
        ("clients[1].return_origins[1]", "invalid_origin"),
        ("clients[1].return_origins[2]", "invalid_origin"),
        ("clients[1].return_origins[3]", "wrong_type"),
        ("clients[1].return_origins[4]", "invalid_origin"),
        ("clients[1].unknown_fields", "unknown_choice"),
        ("clients[2].unknown_field", "unknown_field"),
        ("clients[2].display_name", "invalid_display_name"),
    ];
    assert_eq!(
        found,
        expected.map(|(field, code)| (field.to_owned(), code))
    );
}
