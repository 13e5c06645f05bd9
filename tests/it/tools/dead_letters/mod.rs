//! `dead-letters`, over RabbitMQ's queue.

mod embedded;

use payment_service::broker::{Broker, Exchange, Properties, Publication, Queue};
use serde_json::{Value, json};

use super::fixture::Fixture;
use crate::broker::fixture::{depth_becomes, eventually, is_up, next, options};
use crate::support::process::{Process, SEAL_KEYS, Settings};
use payment_service::broker::rabbitmq::RabbitMq;
use payment_service::domain::PaymentStatus;
use payment_service::vault::SealKeys;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// The whole service in a separate process, and a client of its broker.
async fn service(fixture: &Fixture) -> (Process, RabbitMq) {
    let mut settings = Settings::default();
    for (name, value) in fixture.variables() {
        settings = settings.with(name, &value);
    }
    let process = Process::start(PROGRAM, "", &settings).await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    is_up(&client).await;
    (process, client)
}

fn order(message_id: &str, body: &Value) -> Publication {
    Publication {
        exchange: Exchange::Requests,
        routing_key: "order.payment".to_owned(),
        properties: Properties {
            message_id: Some(message_id.to_owned()),
            correlation_id: Some("checkout-7".to_owned()),
            ..Properties::default()
        },
        body: body.to_string(),
        mandatory: true,
    }
}

/// A dead letter of a refused request with the message id `m-5`.
fn refused_letter(id: &str, reason: &str, body: &Value, masked: bool) -> Publication {
    let letter = json!({
        "reason": reason, "error": "It is wrong.", "errors": [], "client": "default", "user_id": null,
        "masked": masked, "routing_key": "order.payment", "properties": { "message_id": "m-5" }, "body": body,
    });
    let headers = [
        ("reason", reason),
        ("dead-letter-id", id),
        ("dead-lettered-at", "2026-11-01T00:00:00Z"),
    ];
    Publication {
        exchange: Exchange::DeadLetters,
        routing_key: "payments.requests".to_owned(),
        properties: Properties {
            kind: Some("payment.request_refused".to_owned()),
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            ..Properties::default()
        },
        body: letter.to_string(),
        mandatory: true,
    }
}

async fn letters(fixture: &Fixture) -> Vec<Value> {
    let listed = fixture
        .run(&["dead-letters", "list", "--json"])
        .await
        .with(0);
    listed.json().as_array().unwrap().clone()
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_refused_request_is_listed_and_stays_with_the_reason_when_its_replay_is_refused_too() {
    let fixture = Fixture::servers().await;
    let (_process, client) = service(&fixture).await;
    // No amount: refused for good, and nothing masked.
    let body = json!({ "order_id": 1, "user_id": 1 });
    assert_eq!(client.publish(&[order("m-1", &body)]).await, [Ok(())]);
    depth_becomes(&client, Queue::DeadLetters, 1).await;

    let letter = letters(&fixture).await.remove(0);
    assert_eq!(letter["reason"], "invalid");
    assert_eq!(letter["count"], 1);
    assert_eq!(letter["body"], body);
    assert_eq!(letter["queue"], "payments.requests");
    assert_eq!(letter["message_id"], "m-1");
    assert_eq!(letter["masked"], false);
    let listed = fixture.run(&["dead-letters", "list"]).await.with(0);
    assert!(listed.out.contains(id(&letter)), "{}", listed.out);

    for arguments in [
        &["replay", id(&letter)][..],
        &["replay", id(&letter), "--dry-run"],
    ] {
        let arguments = [&["dead-letters"], arguments].concat();
        let refused = fixture.run(&arguments).await.with(1);
        let expected = format!("{}  not replayed: invalid: ", id(&letter));
        assert!(refused.out.starts_with(&expected), "{}", refused.out);
        assert!(refused.out.contains("total_amount: "), "{}", refused.out);
    }
    fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    assert_eq!(letters(&fixture).await, std::slice::from_ref(&letter));

    fixture
        .run(&["dead-letters", "discard", id(&letter)])
        .await
        .with(0);
    assert_eq!(letters(&fixture).await, Vec::<Value>::new());
    depth_becomes(&client, Queue::DeadLetters, 0).await;
    client.close().await;
}

#[tokio::test]
async fn a_masked_dead_letter_cannot_be_replayed() {
    let fixture = Fixture::servers().await;
    let (_process, client) = service(&fixture).await;
    let card =
        json!({ "cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01" });
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5, "card": card });
    assert_eq!(client.publish(&[order("m-2", &body)]).await, [Ok(())]);
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&fixture).await.remove(0);
    assert_eq!(letter["masked"], true);
    let shown = fixture
        .run(&["dead-letters", "show", id(&letter)])
        .await
        .with(0);
    assert!(!shown.out.contains("42424242"), "{}", shown.out);
    let refused = fixture
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(1);
    assert!(refused.out.contains("it was masked"), "{}", refused.out);
    fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    assert_eq!(letters(&fixture).await, [letter]);
    client.close().await;
}

/// The client was missing in CLIENTS_FILE when the message arrived.
#[tokio::test]
async fn a_request_of_a_client_who_was_unknown_is_accepted_when_it_is_replayed() {
    let mut fixture = Fixture::servers().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.json");
    let clients = |user: &str| json!({ "clients": [{ "name": "shop", "api_key_sha256": [], "rabbitmq_user": user }] });
    std::fs::write(&file, clients("somebody").to_string()).unwrap();
    fixture.also("CLIENTS_FILE", file.display().to_string());
    let (_process, client) = service(&fixture).await;
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5 });
    publish_as_guest(&fixture, "m-3", &body).await;
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&fixture).await.remove(0);
    assert_eq!(
        (&letter["reason"], &letter["user_id"]),
        (&json!("client_unknown"), &json!("guest"))
    );
    let refused = fixture
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(1);
    assert!(refused.out.contains("name the RabbitMQ user `guest`"));

    std::fs::write(&file, clients("guest").to_string()).unwrap();
    let dry = fixture
        .run(&["dead-letters", "replay", id(&letter), "--dry-run"])
        .await
        .with(0);
    let expected = format!("{}  would be replayed as a request of shop\n", id(&letter));
    assert_eq!(dry.out, expected);
    let database = fixture.database();
    let shop = crate::store::samples::client("shop");
    assert_eq!(database.payment_by_key(&shop, "m-3").await.unwrap(), None);
    let replayed = fixture
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(0);
    let payment = database.payment_by_key(&shop, "m-3").await.unwrap();
    let number = payment.unwrap().payment.id;
    let expected = format!("{}  replayed: payment {number} of shop\n", id(&letter));
    assert_eq!(replayed.out, expected);
    depth_becomes(&client, Queue::DeadLetters, 0).await;
    client.close().await;
}

#[tokio::test]
async fn a_replayed_request_is_processed_and_its_second_replay_creates_no_second_payment() {
    let fixture = Fixture::servers().await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    fixture.run(&["setup"]).await.with(0);
    is_up(&client).await;
    // Two copies, as the relay may publish one twice; the second one has another id.
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5, "card_token": "tok_visa" });
    for letter_id in ["0190-1", "0190-1", "0190-2"] {
        let letter = refused_letter(letter_id, "data_refused", &body, false);
        assert_eq!(client.publish(&[letter]).await, [Ok(())]);
    }
    let replay = ["dead-letters", "replay", "--all"];
    let replayed = fixture.run(&replay).await.with(0);
    let database = fixture.database();
    let default = crate::store::samples::client("default");
    let (database, default) = (&database, &default);
    let payment = database.payment_by_key(default, "m-5").await.unwrap();
    let number = payment.unwrap().payment.id;
    let expected = format!(
        "0190-1  replayed: payment {number} of default\n0190-1  discarded: a copy\n\
         0190-2  replayed: payment {number} of default, which existed already\n"
    );
    assert_eq!(replayed.out, expected);
    depth_becomes(&client, Queue::DeadLetters, 0).await;
    let (_process, other) = service(&fixture).await;
    eventually("the payment succeeds", || async {
        let found = database.payment_by_key(default, "m-5").await.unwrap();
        found.unwrap().payment.status == PaymentStatus::Succeeded
    })
    .await;
    other.close().await;
    client.close().await;
}

#[tokio::test]
async fn without_the_database_a_request_stays_a_dead_letter_and_other_messages_are_replayed() {
    let mut fixture = Fixture::servers().await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    is_up(&client).await;
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5 });
    let mut work = order("7-1-1", &json!({ "payment_id": 7, "attempt": 1, "try": 1 }));
    work.exchange = Exchange::DeadLetters;
    work.routing_key = "payments.work".to_owned();
    let letters = [
        refused_letter("0190-1", "data_refused", &body, false),
        refused_letter("0190-2", "data_refused", &body, false),
        work,
    ];
    assert_eq!(client.publish(&letters).await, [Ok(()), Ok(()), Ok(())]);
    fixture.also("DATABASE_URL", "mysql://nobody@127.0.0.1:1/none".to_owned());
    let replayed = fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(1);
    for letter in ["0190-1", "0190-2"] {
        assert!(replayed.out.contains(&format!("{letter}  not replayed: ")));
    }
    assert!(
        replayed
            .out
            .contains("replayed to payments.work payment.authorize")
    );
    depth_becomes(&client, Queue::DeadLetters, 2).await;
    depth_becomes(&client, Queue::Work, 1).await;
    client.close().await;
}

/// Its command signed a request for its client and published it again; such messages may still be in the queue.
#[tokio::test]
async fn a_replay_that_the_previous_release_published_is_accepted_for_its_client() {
    let fixture = Fixture::servers().await;
    let (_process, client) = service(&fixture).await;
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5 });
    let mut replayed = order("m-4", &body);
    let signed = format!("replay of a dead letter\0shop\0m-4\0{body}");
    let keys = SealKeys::parse(SEAL_KEYS).unwrap();
    let proof = hex::encode(keys.fingerprint(signed.as_bytes()));
    for (name, value) in [("replayed-for", "shop"), ("replayed-proof", &proof)] {
        let headers = &mut replayed.properties.headers;
        headers.insert(name.to_owned(), value.to_owned());
    }
    assert_eq!(client.publish(&[replayed]).await, [Ok(())]);
    let database = fixture.database();
    let shop = crate::store::samples::client("shop");
    let (database, shop) = (&database, &shop);
    eventually("the payment exists", || async {
        let found = database.payment_by_key(shop, "m-4").await.unwrap();
        found.is_some()
    })
    .await;
    client.close().await;
}

#[tokio::test]
async fn a_replay_with_a_forged_signature_is_refused() {
    let fixture = Fixture::servers().await;
    let (_process, client) = service(&fixture).await;
    let mut forged = order(
        "m-4",
        &json!({ "order_id": 1, "user_id": 1, "total_amount": 5 }),
    );
    for (name, value) in [
        ("replayed-for", "default".to_owned()),
        ("replayed-proof", "00".repeat(32)),
    ] {
        forged.properties.headers.insert(name.to_owned(), value);
    }
    assert_eq!(client.publish(&[forged]).await, [Ok(())]);
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&fixture).await.remove(0);
    assert_eq!(letter["reason"], "replay_not_proven");
    client.close().await;
}

#[tokio::test]
async fn a_message_that_the_broker_dead_lettered_keeps_its_id_and_its_history() {
    let fixture = Fixture::servers().await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    is_up(&client).await;
    let mut work = client.consume(Queue::Work, 1);
    let mut message = order("7-1-1", &json!({ "payment_id": 7, "attempt": 1, "try": 1 }));
    message.exchange = Exchange::Work;
    message.routing_key = "payment.authorize".to_owned();
    assert_eq!(client.publish(&[message]).await, [Ok(())]);
    for _ in 0..21 {
        next(&mut work).await.settle.reject().await;
    }
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&fixture).await.remove(0);
    assert_eq!(letter["reason"], "delivery_limit");
    assert_eq!(letter["queue"], "payments.work");
    assert!(letter["at"].is_string(), "{letter}");
    assert_eq!(
        letters(&fixture).await,
        std::slice::from_ref(&letter),
        "the same id again"
    );
    fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    let again = next(&mut work).await;
    assert_eq!(again.properties.message_id.as_deref(), Some("7-1-1"));
    assert_eq!(
        again.properties.headers["dead-letter-reasons"],
        "delivery_limit"
    );
    assert!(
        !again
            .properties
            .headers
            .contains_key("x-first-death-reason")
    );
    again.settle.reject().await;
    for _ in 1..21 {
        next(&mut work).await.settle.reject().await;
    }
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let second = letters(&fixture).await.remove(0);
    assert_eq!(second["count"], 2);
    assert_eq!(second["first_at"], letter["at"]);
    assert_eq!(second["reasons"], "delivery_limit, delivery_limit");
    client.close().await;
}

#[tokio::test]
async fn dead_letters_that_another_consumer_holds_are_counted_and_not_lost() {
    let fixture = Fixture::servers().await;
    let client = RabbitMq::new(options(fixture.amqp_url()));
    is_up(&client).await;
    for number in 0..3 {
        let mut message = order(&number.to_string(), &json!({}));
        message.exchange = Exchange::DeadLetters;
        message.routing_key = "payments.work".to_owned();
        assert_eq!(client.publish(&[message]).await, [Ok(())]);
    }
    let mut other = client.consume(Queue::DeadLetters, 1);
    let held = next(&mut other).await;
    assert_eq!(letters(&fixture).await.len(), 2);
    held.settle.give_back().await;
    drop(other);
    depth_becomes(&client, Queue::DeadLetters, 3).await;
    let missing = fixture
        .run(&["dead-letters", "show", "nobody"])
        .await
        .with(1);
    assert!(missing.err.contains("no dead letter has the id nobody"));
    client.close().await;
}

/// With the property that the broker checks against the login; the service itself never sets it.
async fn publish_as_guest(fixture: &Fixture, message_id: &str, body: &Value) {
    use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(fixture.amqp_url(), properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await
        .unwrap();
    let properties = lapin::BasicProperties::default()
        .with_message_id(message_id.into())
        .with_user_id("guest".into());
    let published = channel
        .basic_publish(
            "payments.requests".into(),
            "order.payment".into(),
            BasicPublishOptions::default(),
            body.to_string().as_bytes(),
            properties,
        )
        .await
        .unwrap();
    published.await.unwrap();
}
