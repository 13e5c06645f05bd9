//! Messages: `order.payment`, work, results and dead letters.
//!
//! The input is a message as text: lines `name: value` for the properties and headers, an empty line, the body.
//! Whatever comes in: nothing panics, a refusal's event and dead letter repeat no card number of the body, a dead
//! letter can be read again, and a request counts as sent only by the client that the broker verified.
#![no_main]

use std::sync::{Arc, LazyLock};

use async_trait::async_trait;
use libfuzzer_sys::fuzz_target;
use payment_service::broker::{Delivery, Properties, Queue, Settle};
use payment_service::clients::Clients;
use payment_service::domain::card::holds_card_number;
use payment_service::domain::{ClientName, Currency, EventId};
use payment_service::intake::order_reader::OrderReader;
use payment_service::intake::replay::{Replay, replay};
use payment_service::vault::SealKeys;
use payment_service::wire::dead_letter::{self, DeadLetter};
use payment_service::wire::order::Refusal;
use payment_service::wire::result;
use payment_service::wire::work::WorkMessage;
use serde_json::Value;
use time::macros::datetime;

const KEYS: &str = "k1:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";
const CLIENTS: &str = r#"{"clients": [
    {"name": "shop", "api_key_sha256": [], "rabbitmq_user": "shop-user"},
    {"name": "kiosk", "api_key_sha256": [], "rabbitmq_user": "kiosk-user"}
]}"#;

static READER: LazyLock<OrderReader> = LazyLock::new(|| OrderReader {
    clients: Clients::parse(CLIENTS.as_bytes()).expect("clients"),
    default_client: None,
    default_currency: Currency::parse("CAD").expect("a currency"),
    seal: Arc::new(SealKeys::parse(KEYS).expect("keys")),
});

fuzz_target!(|data: &[u8]| {
    let delivery = delivery(data);
    match READER.read(&delivery, datetime!(2027-01-15 10:00 UTC)) {
        Ok(submission) => {
            // The broker names the client: the signature of a replay by the previous release cannot be guessed.
            let user = delivery.properties.user_id.as_deref();
            assert_eq!(
                READER.clients.by_rabbitmq_user(user.expect("a user")),
                Some(submission.client)
            );
            assert!(submission.idempotency_key.is_some());
        }
        Err(refusal) => is_told(&delivery, &refusal),
    }
    let body = &delivery.body;
    if let Ok(work) = WorkMessage::parse(body) {
        let shop = ClientName::parse("shop").expect("a name");
        let publication = work.publication(&shop, None);
        assert_eq!(WorkMessage::client(&publication.properties), Some(shop));
        let again = WorkMessage::parse(publication.body.as_bytes());
        assert_eq!(again.ok(), Some(work));
    }
    // Messages that the broker dead-lettered, and those that anyone else may have published there.
    let letter = DeadLetter::read(&delivery.routing_key, &delivery.properties, body);
    let again = DeadLetter::read(&delivery.routing_key, &delivery.properties, body);
    assert_eq!(letter.id, again.id);
    let _ = letter.age(datetime!(2027-01-15 10:00 UTC));
    let _ = replay(&letter, &READER, datetime!(2027-01-15 10:00 UTC));
});

fn is_told(delivery: &Delivery, refusal: &Refusal) {
    let origin = OrderReader::origin(&delivery.properties, refusal.client.as_ref());
    if let (Some(client), Some(queue)) = (&refusal.client, &origin.reply_to) {
        assert!(queue.starts_with("amq.rabbitmq.reply-to.") || queue.starts_with(client.as_str()));
    }
    assert!(refusal.client.is_some() || origin.reply_to.is_none());
    let message_id = delivery.properties.message_id.as_deref();
    let problem = refusal.problem(message_id);
    holds_no_card(&problem["errors"]);
    let client = refusal.client.clone();
    let client = client.unwrap_or_else(|| ClientName::parse("shop").expect("a name"));
    let at = datetime!(2027-01-15 10:00 UTC);
    for event in result::rejection(
        &client,
        message_id,
        EventId(Default::default()),
        at,
        &origin,
        &problem,
    ) {
        serde_json::from_str::<Value>(&event.body).expect("an event is JSON");
    }

    let published = dead_letter::publication(delivery, refusal);
    let written: Value = serde_json::from_str(&published.body).expect("a letter is JSON");
    holds_no_card(&written["body"]);
    let queue = Queue::Requests.name();
    let letter = DeadLetter::read(queue, &published.properties, published.body.as_bytes());
    assert_eq!(letter.reason, refusal.reason);
    if let Ok(replayed) = replay(&letter, &READER, at) {
        assert!(!letter.masked);
        let Replay::Accept(submission) = replayed else {
            panic!("a request was published again");
        };
        // For the client that the service knew when it refused the message.
        let user = letter.user_id.as_deref();
        let of_user = || READER.clients.by_rabbitmq_user(user?);
        let known = letter.client.as_deref();
        let known = known.and_then(|name| ClientName::parse(name).ok());
        assert_eq!(Some(submission.client), known.or_else(of_user));
    }
}

/// Neither in a text nor in a name.
fn holds_no_card(value: &Value) {
    match value {
        Value::String(text) => assert!(!holds_card_number(text), "{text}"),
        // Reading a float changes its last digits.
        Value::Number(number) if number.is_f64() => {}
        Value::Number(number) => assert!(!holds_card_number(&number.to_string()), "{number}"),
        Value::Array(items) => items.iter().for_each(holds_no_card),
        Value::Object(entries) => entries.iter().for_each(|(name, value)| {
            assert!(!holds_card_number(name), "{name}");
            holds_no_card(value);
        }),
        Value::Null | Value::Bool(_) => {}
    }
}

fn delivery(data: &[u8]) -> Delivery {
    let end = data.windows(2).position(|pair| pair == b"\n\n");
    let (head, body) = match end {
        Some(end) => (&data[..end], &data[end + 2..]),
        None => (&data[..0], data),
    };
    let mut properties = Properties::default();
    let mut routing_key = String::new();
    for line in String::from_utf8_lossy(head).lines() {
        let Some((name, value)) = line.split_once(": ") else {
            continue;
        };
        let value = value.to_owned();
        match name {
            "routing-key" => routing_key = value,
            "message-id" => properties.message_id = Some(value),
            "correlation-id" => properties.correlation_id = Some(value),
            "reply-to" => properties.reply_to = Some(value),
            "content-type" => properties.content_type = Some(value),
            "type" => properties.kind = Some(value),
            "user-id" => properties.user_id = Some(value),
            header => drop(properties.headers.insert(header.to_owned(), value)),
        }
    }
    Delivery {
        routing_key,
        properties,
        body: body.to_vec(),
        redelivered: false,
        settle: Box::new(Nobody),
    }
}

/// No broker waits for an end.
#[derive(Debug)]
struct Nobody;

#[async_trait]
impl Settle for Nobody {
    async fn acknowledge(self: Box<Self>) {}
    async fn reject(self: Box<Self>) {}
    async fn give_back(self: Box<Self>) {}
}
