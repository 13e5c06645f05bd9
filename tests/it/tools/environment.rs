//! `check` of the environment: passes if everything is right, and names each problem with its solution.

use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::broker::{Broker, Queue, Topology};
use payment_service::domain::{Card, CardCode, CardNumber, Expiration, PaymentId};
use payment_service::vault::SealKeys;
use serde_json::Value;

use super::fixture::{Ended, Fixture, run_with};
use crate::broker::fixture::{depth_becomes, is_up, next, options, publish, work};
use crate::store::samples::{keep, processing};
use crate::support::servers::shared_broker;

/// Level and message of what was found under this name.
fn found(ended: &Ended, name: &str) -> (String, String) {
    let findings = ended.json()["findings"].clone();
    let finding = findings
        .as_array()
        .unwrap()
        .iter()
        .find(|finding| finding["name"] == name)
        .unwrap_or_else(|| panic!("nothing about {name}: {findings:#}"))
        .clone();
    let text = |field: &str| finding[field].as_str().unwrap().to_owned();
    assert_eq!(finding["remedy"] == Value::Null, text("level") == "ok");
    (text("level"), text("message"))
}

async fn check(fixture: &Fixture) -> Ended {
    fixture.run(&["check", "--json"]).await
}

async fn set_up(fixture: &Fixture) {
    let ended = fixture.run(&["setup"]).await.with(0);
    let noise = ended
        .err
        .lines()
        .find(|line| line.contains("WARN") || line.contains("ERROR"));
    assert_eq!(noise, None, "{}", ended.err);
}

/// Servers at these addresses.
fn at(database: &str, broker: &str) -> Vec<(&'static str, String)> {
    vec![
        (
            "DATABASE_URL",
            format!("mysql://payments:secret@{database}/payments"),
        ),
        ("AMQP_URL", format!("amqp://payments:secret@{broker}")),
        ("SEAL_KEYS", SealKeys::generate().to_text().to_string()),
        ("ADMIN_ADDR", "127.0.0.1:1".to_owned()),
    ]
}

#[tokio::test]
async fn servers_that_are_down_are_named_with_host_port_and_cause_within_seconds() {
    // Accepts connections and sends nothing.
    let silent = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let silent = silent
        .local_addr()
        .map(|address| (silent, address.to_string()))
        .unwrap();
    for (variables, database, broker) in [
        (
            at("127.0.0.1:1", "127.0.0.1:2"),
            "127.0.0.1:1: connection refused",
            "127.0.0.1:2: connection refused",
        ),
        (
            at("no-such-host.invalid", "no-such-host.invalid"),
            "no-such-host.invalid:3306: unknown host",
            "no-such-host.invalid:5672: unknown host",
        ),
        (
            at(&silent.1, "127.0.0.1:2"),
            "no answer within 3 s",
            "connection refused",
        ),
    ] {
        let began = std::time::Instant::now();
        let ended = run_with(&["check", "--json"], &variables).await.with(1);
        assert!(began.elapsed().as_secs() < 9, "{:?}", began.elapsed());
        for (name, cause) in [("database", database), ("broker", broker)] {
            let (level, message) = found(&ended, name);
            assert!(
                level == "fail" && message.contains(cause),
                "{name}: {message}"
            );
        }
        assert_eq!(ended.err, "");
    }
}

#[tokio::test]
async fn setup_reports_at_once_what_it_waits_for() {
    use std::io::{BufRead, BufReader};
    use std::process::{Command, Stdio};
    let mut setup = Command::new(env!("CARGO_BIN_EXE_payment-service"))
        .arg("setup")
        .env_clear()
        .envs(at("127.0.0.1:1", "127.0.0.1:2"))
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let began = std::time::Instant::now();
    let said = setup.stderr.take().unwrap();
    let line = tokio::task::spawn_blocking(move || BufReader::new(said).lines().next());
    let line = line.await.unwrap().unwrap().unwrap();
    setup.kill().unwrap();
    setup.wait().unwrap();
    assert!(began.elapsed().as_secs() < 4, "{:?}", began.elapsed());
    assert!(line.contains("waiting for the database, up to"), "{line}");
    assert!(line.contains("127.0.0.1:1: connection refused"), "{line}");
}

#[tokio::test]
async fn servers_that_are_set_up_pass_and_no_message_is_left_or_taken() {
    let fixture = Fixture::servers().await;
    set_up(&fixture).await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    is_up(&client).await;
    publish(&client, work("untouched")).await;
    let ended = check(&fixture).await.with(0);
    for name in [
        "configuration",
        "database",
        "database room",
        "clock",
        "schema",
        "database rights",
        "seal keys",
        "payment ids",
        "quarantine",
        "broker",
        "dead letters",
        "topology",
        "broker rights",
    ] {
        let (level, message) = found(&ended, name);
        assert_eq!(level, "ok", "{name}: {message}");
    }
    assert!(found(&ended, "broker").1.starts_with("RabbitMQ "));
    assert_eq!(found(&ended, "clients").0, "warn");
    assert_eq!(ended.err, "", "nothing of the libraries' own");
    for (queue, messages) in [
        (Queue::Work, 1),
        (Queue::Requests, 0),
        (Queue::DeadLetters, 0),
    ] {
        depth_becomes(&client, queue, messages).await;
    }
    let mut consumer = client.consume(Queue::Work, 1);
    let untouched = next(&mut consumer).await;
    assert!(!untouched.redelivered);
    untouched.settle.acknowledge().await;
    client.close().await;
    let words = fixture.run(&["check"]).await.with(0);
    assert!(
        words.out.contains("ok    broker rights   all 17"),
        "{}",
        words.out
    );
}

#[tokio::test]
async fn the_embedded_service_passes() {
    let fixture = Fixture::embedded().await;
    let ended = check(&fixture).await.with(0);
    assert!(found(&ended, "database").1.starts_with("SQLite 3."));
    assert_eq!(
        found(&ended, "payment ids").1,
        "2147483647 left, up to PAYMENT_ID_MAX 2147483647"
    );
}

#[tokio::test]
async fn a_database_with_too_few_connections_is_named() {
    let mut fixture = Fixture::servers().await;
    set_up(&fixture).await;
    fixture.also("DATABASE_CONNECTIONS", "60".to_owned());
    let (level, message) = found(&check(&fixture).await.with(0), "database room");
    assert_eq!(level, "warn", "{message}");
    assert!(
        message.contains("with DATABASE_CONNECTIONS=60: 1 ("),
        "{message}"
    );
}

#[tokio::test]
async fn a_database_without_the_schema_fails() {
    let fixture = Fixture::servers().await;
    let (level, message) = found(&check(&fixture).await.with(1), "schema");
    assert_eq!(level, "fail", "{message}");
}

#[tokio::test]
async fn a_queue_with_other_arguments_is_named() {
    let fixture = Fixture::servers().await;
    set_up_database(&fixture).await;
    let mut other = options(fixture.amqp_url());
    other.topology = Topology::of_definitions()
        .unwrap()
        .with_max_length(Queue::Work, 3);
    let client = RabbitMq::new(other);
    is_up(&client).await;
    let ended = check(&fixture).await.with(1);
    let (level, message) = found(&ended, "topology");
    assert_eq!(level, "fail");
    assert!(message.contains("payments.work"), "{message}");
    assert_eq!(found(&ended, "dead letters").0, "fail");
    client.close().await;
}

async fn set_up_database(fixture: &Fixture) {
    let database = fixture.database();
    database.migrate().await.unwrap();
    database.close().await;
}

#[tokio::test]
async fn missing_permissions_at_the_broker_are_named() {
    let mut fixture = Fixture::servers().await;
    set_up(&fixture).await;
    let url = fixture.amqp_url().to_owned();
    let vhost = url.rsplit('/').next().unwrap().to_owned();
    let user = format!("reader-of-{vhost}");
    let made = user.clone();
    tokio::task::spawn_blocking(move || {
        let broker = shared_broker().unwrap();
        broker.rabbitmqctl(&["add_user", &made, "secret"]).unwrap();
        let reads = [
            "set_permissions",
            "-p",
            &vhost,
            &made,
            "^$",
            "^$",
            "^payments\\.work$",
        ];
        broker.rabbitmqctl(&reads).unwrap();
    })
    .await
    .unwrap();
    let host = url.rsplit('@').next().unwrap();
    fixture.also("AMQP_URL", format!("amqp://{user}:secret@{host}"));
    let ended = check(&fixture).await.with(1);
    let (level, message) = found(&ended, "broker rights");
    assert_eq!(level, "fail");
    for missing in [
        "declare payments.work:",
        "publish to payments.results:",
        "consume payments.requests:",
    ] {
        assert!(message.contains(missing), "{missing}: {message}");
    }
    assert!(!message.contains("consume payments.work:"), "{message}");
}

#[tokio::test]
async fn a_key_that_does_not_open_what_is_stored_is_named() {
    for mut fixture in Fixture::both().await {
        let keys = SealKeys::parse(&format!("new:{}", "ab".repeat(32))).unwrap();
        let card = Card {
            number: CardNumber::parse("4242424242424242").unwrap(),
            code: CardCode::parse("123").unwrap(),
            expiration: Expiration::parse("2030-01").unwrap(),
        };
        let mut row = processing(9, time::OffsetDateTime::now_utc());
        let owner = payment_service::vault::Owner::Payment(PaymentId(9), 1);
        row.sealed_card = Some(keys.seal(&card, owner).unwrap());
        let database = fixture.database();
        keep(&database, &[row]).await;
        database.close().await;
        let (level, message) = found(&check(&fixture).await, "seal keys");
        assert_eq!(level, "fail");
        assert!(message.contains("key `new`"), "{message}");
        fixture.also("SEAL_KEYS", keys.to_text().to_string());
        let (level, message) = found(&check(&fixture).await, "seal keys");
        assert_eq!(level, "ok", "{message}");
    }
}

#[tokio::test]
async fn running_out_of_ids_is_a_warning_and_then_a_failure() {
    for mut fixture in Fixture::both().await {
        let database = fixture.database();
        database.reserve_ids(900, 1).await.unwrap();
        database.close().await;
        fixture.also("PAYMENT_ID_MAX", "1000".to_owned());
        let (level, message) = found(&check(&fixture).await, "payment ids");
        assert_eq!(
            (level.as_str(), message.as_str()),
            ("warn", "100 left, up to PAYMENT_ID_MAX 1000")
        );
        fixture.also("PAYMENT_ID_MAX", "900".to_owned());
        assert_eq!(found(&check(&fixture).await, "payment ids").0, "fail");
    }
}

#[tokio::test]
async fn configuration_errors_are_findings() {
    let variables = [("DATABASE_URL", "mysql://somewhere".to_owned())];
    let ended = run_with(&["check", "--json"], &variables).await.with(1);
    assert_eq!(found(&ended, "configuration").0, "fail");
}
