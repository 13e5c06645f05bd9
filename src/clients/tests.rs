use std::time::Duration;

use serde_json::{Value, json};

use super::*;

fn faults(document: &Value) -> Vec<(String, &'static str)> {
    let faults = Clients::parse(document.to_string().as_bytes()).expect_err("faults");
    let fault = |fault: FieldError| (fault.field, fault.code);
    faults.into_iter().map(fault).collect()
}

fn named(name: &str, keys: &[&str]) -> Value {
    json!({"clients": [{"name": name, "api_key_sha256": keys, "rabbitmq_user": name}]})
}

#[test]
fn each_key_and_each_user_leads_to_its_client() {
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
fn without_a_file_there_is_one_client() {
    let clients = Clients::single();
    let default = ClientName::parse("default").ok();
    assert_eq!(clients.default_client(), default);
    assert_eq!(clients.by_rabbitmq_user("guest"), default);
    assert_eq!(clients.by_api_key("anything"), None);
}

#[test]
fn every_fault_of_a_file_is_listed() {
    let digest = "0".repeat(64);
    let found = faults(&json!({"client": 1, "clients": [
        {"name": "Shop", "api_key_sha256": [digest, "12"], "rabbitmq_user": ""},
        {"name": "kiosk", "api_key_sha256": [digest], "api_key": "x"},
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
async fn a_changed_file_is_read_again_and_a_bad_one_changes_nothing() {
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
