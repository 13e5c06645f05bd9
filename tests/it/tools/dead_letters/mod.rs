//! `dead-letters`, over RabbitMQ's queue.

mod embedded;

use payment_service::broker::{Broker, Exchange, Properties, Publication, Queue};
use serde_json::{Value, json};

use super::place::Place;
use crate::broker::place::{depth_becomes, eventually, is_up, next, options};
use crate::support::process::{Process, Settings};
use payment_service::broker::rabbitmq::RabbitMq;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// The whole service in a process of its own, and a client of its broker.
async fn service(place: &Place) -> (Process, RabbitMq) {
    let mut settings = Settings::default();
    for (name, value) in place.variables() {
        settings = settings.with(name, &value);
    }
    let process = Process::start(PROGRAM, "", &settings).await;
    let client = RabbitMq::new(options(place.amqp_url()));
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

async fn letters(place: &Place) -> Vec<Value> {
    let listed = place.run(&["dead-letters", "list", "--json"]).await.with(0);
    listed.json().as_array().unwrap().clone()
}

fn id(letter: &Value) -> &str {
    letter["id"].as_str().unwrap()
}

#[tokio::test]
async fn a_refused_request_is_listed_replayed_and_comes_back_with_its_history() {
    let place = Place::servers().await;
    let (_process, client) = service(&place).await;
    // No amount: refused for good, and nothing masked.
    let body = json!({ "order_id": 1, "user_id": 1 });
    assert_eq!(client.publish(&[order("m-1", &body)]).await, [Ok(())]);
    depth_becomes(&client, Queue::DeadLetters, 1).await;

    let first = letters(&place).await.remove(0);
    assert_eq!(first["reason"], "invalid");
    assert_eq!(first["count"], 1);
    assert_eq!(first["body"], body);
    assert_eq!(first["queue"], "payments.requests");
    assert_eq!(first["message_id"], "m-1");
    assert_eq!(first["masked"], false);
    let listed = place.run(&["dead-letters", "list"]).await.with(0);
    assert!(listed.out.contains(id(&first)), "{}", listed.out);

    let dry = place
        .run(&["dead-letters", "replay", id(&first), "--dry-run"])
        .await
        .with(0);
    assert_eq!(
        dry.out,
        format!(
            "{}  would be replayed to payments.requests order.payment\n",
            id(&first)
        )
    );
    assert_eq!(letters(&place).await, std::slice::from_ref(&first));

    place
        .run(&["dead-letters", "replay", id(&first)])
        .await
        .with(0);
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let second = letters(&place).await.remove(0);
    assert_ne!(id(&second), id(&first));
    assert_eq!(second["count"], 2);
    assert_eq!(second["first_at"], first["at"]);
    assert_eq!(second["reasons"], "invalid, invalid");
    assert_eq!(second["message_id"], "m-1");
    assert_eq!(second["body"], body);

    place
        .run(&["dead-letters", "discard", id(&second)])
        .await
        .with(0);
    assert_eq!(letters(&place).await, Vec::<Value>::new());
    depth_becomes(&client, Queue::DeadLetters, 0).await;
    client.close().await;
}

#[tokio::test]
async fn a_masked_letter_cannot_be_replayed_and_says_so() {
    let place = Place::servers().await;
    let (_process, client) = service(&place).await;
    let card =
        json!({ "cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01" });
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5, "card": card });
    assert_eq!(client.publish(&[order("m-2", &body)]).await, [Ok(())]);
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&place).await.remove(0);
    assert_eq!(letter["masked"], true);
    let shown = place
        .run(&["dead-letters", "show", id(&letter)])
        .await
        .with(0);
    assert!(!shown.out.contains("42424242"), "{}", shown.out);
    let refused = place
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(1);
    assert!(refused.out.contains("it was masked"), "{}", refused.out);
    place
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    assert_eq!(letters(&place).await, [letter]);
    client.close().await;
}

/// As if the client had been missing from CLIENTS_FILE: the service has to vouch for it, since the broker cannot.
#[tokio::test]
async fn a_request_of_a_client_who_was_unknown_is_accepted_when_it_is_replayed() {
    let mut place = Place::servers().await;
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("clients.json");
    let clients = |user: &str| json!({ "clients": [{ "name": "shop", "api_key_sha256": [], "rabbitmq_user": user }] });
    std::fs::write(&file, clients("somebody").to_string()).unwrap();
    place.also("CLIENTS_FILE", file.display().to_string());
    let (_process, client) = service(&place).await;
    // The program's own publishing never names a user.
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5 });
    publish_as_guest(&place, "m-3", &body).await;
    depth_becomes(&client, Queue::DeadLetters, 1).await;
    let letter = letters(&place).await.remove(0);
    assert_eq!(
        (&letter["reason"], &letter["user_id"]),
        (&json!("client_unknown"), &json!("guest"))
    );
    let refused = place
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(1);
    assert!(refused.out.contains("name the RabbitMQ user `guest`"));

    std::fs::write(&file, clients("guest").to_string()).unwrap();
    place
        .run(&["dead-letters", "replay", id(&letter)])
        .await
        .with(0);
    let database = place.database();
    let shop = crate::store::samples::client("shop");
    let (database, shop) = (&database, &shop);
    eventually("the payment exists", || async {
        let found = database.payment_by_key(shop, "m-3").await.unwrap();
        found.is_some()
    })
    .await;
    depth_becomes(&client, Queue::DeadLetters, 0).await;
    client.close().await;
}

#[tokio::test]
async fn nobody_else_can_vouch_for_a_client() {
    let place = Place::servers().await;
    let (_process, client) = service(&place).await;
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
    let letter = letters(&place).await.remove(0);
    assert_eq!(letter["reason"], "replay_not_proven");
    client.close().await;
}

#[tokio::test]
async fn what_the_broker_buried_has_one_id_and_goes_back_to_its_exchange() {
    let place = Place::servers().await;
    let client = RabbitMq::new(options(place.amqp_url()));
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
    let letter = letters(&place).await.remove(0);
    assert_eq!(letter["reason"], "delivery_limit");
    assert_eq!(letter["queue"], "payments.work");
    assert!(letter["at"].is_string(), "{letter}");
    assert_eq!(
        letters(&place).await,
        std::slice::from_ref(&letter),
        "the same id again"
    );
    place
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
    again.settle.acknowledge().await;
    client.close().await;
}

#[tokio::test]
async fn what_somebody_else_holds_is_counted_and_not_lost() {
    let place = Place::servers().await;
    let client = RabbitMq::new(options(place.amqp_url()));
    is_up(&client).await;
    for number in 0..3 {
        let mut message = order(&number.to_string(), &json!({}));
        message.exchange = Exchange::DeadLetters;
        message.routing_key = "payments.work".to_owned();
        assert_eq!(client.publish(&[message]).await, [Ok(())]);
    }
    let mut other = client.consume(Queue::DeadLetters, 1);
    let held = next(&mut other).await;
    assert_eq!(letters(&place).await.len(), 2);
    held.settle.give_back().await;
    drop(other);
    depth_becomes(&client, Queue::DeadLetters, 3).await;
    let missing = place.run(&["dead-letters", "show", "nobody"]).await.with(1);
    assert!(missing.err.contains("no dead letter has the id nobody"));
    client.close().await;
}

/// What the seam never writes: the property that the broker checks against the login.
async fn publish_as_guest(place: &Place, message_id: &str, body: &Value) {
    use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(place.amqp_url(), properties)
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
