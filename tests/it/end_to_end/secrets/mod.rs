//! Card numbers and codes are not left anywhere: in logs, messages, or the files of database and broker.
//!
//! Every payment has its own random valid card number, so that finding one of them cannot be a
//! coincidence. A code has three or four digits, which occur in every larger file by chance. So all cards have
//! the same code, which must not follow its field's name anywhere, and which must not occur as a separate word
//! more than a few times: if codes leaked, each payment would leave one.

mod search;
mod servers;

use std::collections::HashSet;
use std::path::PathBuf;

use futures::StreamExt;
use futures::stream;
use serde_json::{Value, json};
use tempfile::TempDir;

use crate::app::{Api, field};
use crate::support::process::{Process, Settings};
use search::{CODE, Search};
use servers::{overheard, publish, servers};

use super::processes::PROGRAM;

/// Accidental hits of a code as a separate word.
const CHANCE: usize = 20;

fn card(number: &str, as_numbers: bool) -> Value {
    let (number, code) = if as_numbers {
        (
            json!(number.parse::<u64>().unwrap()),
            json!(CODE.parse::<u64>().unwrap()),
        )
    } else {
        (json!(number), json!(CODE))
    };
    json!({ "cardNumber": number, "cardCode": code, "expirationDate": "2035-01" })
}

/// Pays with the card in one of the ways of REST, or creates a token for a message and returns it.
async fn present(api: &Api, place: usize, number: &str) -> Option<String> {
    let mut order = json!({ "order_id": place + 1, "user_id": 1, "total_amount": 10 });
    let card = card(number, place.is_multiple_of(2));
    match place % 4 {
        0 | 1 => {
            order["card"] = card;
            let key = format!("key-{place}");
            let key = [("Idempotency-Key", key.as_str()), ("Prefer", "wait=20")];
            api.post_with("/payments", &key, order).await.is(200);
            None
        }
        2 => {
            let id = api.post("/payments", order).await.is(202).id();
            api.post(&format!("/payments/process/{id}"), card)
                .await
                .is(200);
            None
        }
        _ => {
            let token = api.post("/card-tokens", card).await.is(201);
            let token = field(&token.body, "card_token").to_owned();
            Some(token)
        }
    }
}

async fn present_all(api: &Api, numbers: &[String]) -> Vec<(usize, String)> {
    let presented = stream::iter(numbers.iter().enumerate())
        .map(|(place, number)| async move { (place, present(api, place, number).await) })
        .buffer_unordered(32);
    let presented: Vec<_> = presented.collect().await;
    presented
        .into_iter()
        .filter_map(|(place, token)| Some((place, token?)))
        .collect()
}

/// Answers to bad requests with good cards: the log and the answer must not repeat them.
async fn refused(api: &Api, number: &str) {
    let mut order = json!({ "order_id": "one", "user_id": 1, "total_amount": 10 });
    order["card"] = card(number, false);
    order["card"]["colour"] = json!(number);
    let answer = api.post("/payments", order).await.is(422);
    assert!(!answer.body.to_string().contains(number));
    let address = api.get(&format!("/payments?card={number}")).await.is(400);
    assert!(!address.body.to_string().contains(number));
    let broken = format!("{{\"cardNumber\": \"{number}\", \"cardCode\": \"{CODE}\"");
    let request = api.request(reqwest::Method::POST, "/card-tokens");
    let request = request
        .header("Content-Type", "application/json")
        .body(broken);
    assert!(
        !api.send(request)
            .await
            .is(400)
            .body
            .to_string()
            .contains(number)
    );
}

fn nothing_is_found(search: &Search, places: &[PathBuf]) {
    let found = search.below(places);
    assert!(
        found.bytes > 100_000,
        "it has read {} bytes alone",
        found.bytes
    );
    assert_eq!(found.numbers, Vec::<String>::new());
    assert_eq!(found.named_codes, Vec::<String>::new());
    assert!(
        found.lone_codes < CHANCE,
        "the code stands alone {} times",
        found.lone_codes
    );
}

fn verbose(settings: Settings, folder: &TempDir) -> Settings {
    settings
        .with("LOG", "debug,payment_service=trace")
        .with("ISSUER_LATENCY", "1ms")
        .with_log(&folder.path().join("log"))
}

#[tokio::test]
async fn the_embedded_service_leaves_no_card_in_its_folder_or_its_log() {
    let folder = tempfile::tempdir().unwrap();
    let settings = verbose(Settings::embedded(folder.path()), &folder);
    let mut service = Process::start(PROGRAM, "", &settings).await;
    let api = Api::new(service.api);
    let search = Search::for_random_numbers(200);
    for (place, token) in present_all(&api, &search.numbers).await {
        let id = api.pay(i64::try_from(place).unwrap() + 1, &token).await;
        api.outcome(id).await;
    }
    refused(&api, &search.numbers[0]).await;
    service.kill();
    let places = [folder.path().to_owned()];
    nothing_is_found(&search, &places);
    // The search finds what was planted.
    let leak = card(&search.numbers[7], true).to_string();
    let hexadecimal = hex::encode(&search.numbers[8]);
    std::fs::write(folder.path().join("planted"), leak + &hexadecimal).unwrap();
    let found = search.below(&places);
    assert_eq!((found.numbers.len(), found.named_codes.len()), (2, 1));
    assert!(found.lone_codes > 0);
}

#[tokio::test]
async fn a_thousand_payments_leave_no_card_in_logs_messages_or_the_servers_files() {
    let servers = servers().await;
    servers.execute("CREATE DATABASE payments", "").await;
    let folder = tempfile::tempdir().unwrap();
    let amqp_url = servers.broker.url(&servers.vhost);
    let settings = Settings::servers(&servers.database.url("payments"), &amqp_url);
    let settings = verbose(settings, &folder);
    let mut all = Process::start(PROGRAM, "", &settings).await;
    let mut worker = Process::start(PROGRAM, "worker", &settings).await;

    let properties = lapin::ConnectionProperties::default();
    let connection = lapin::Connection::connect(&amqp_url, properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(Default::default()).await.unwrap();
    let mut results = overheard(&channel).await;

    // A thousand numbers that pay, and two more to be planted.
    let search = Search::for_random_numbers(1002);
    let (numbers, planted) = search.numbers.split_at(1000);
    let api = Api::new(all.api);
    for (place, token) in present_all(&api, numbers).await {
        let order = json!({
            "order_id": place + 1, "user_id": 1, "total_amount": 10, "card_token": token,
        });
        let (body, id) = (order.to_string(), format!("m-{place}"));
        publish(&channel, "payments.requests", "order.payment", &body, &id).await;
    }
    refused(&api, &numbers[0]).await;
    // A used token gives a dead letter.
    let used_up =
        json!({ "order_id": 1, "user_id": 1, "total_amount": 10, "card_token": "tok_no" });
    publish(
        &channel,
        "payments.requests",
        "order.payment",
        &used_up.to_string(),
        "bad",
    )
    .await;

    // A result that is published twice has the same id: it counts once, and all copies are searched.
    let (mut messages, mut seen, mut succeeded) = (Vec::new(), HashSet::new(), 0);
    while seen.len() < 1001 {
        let next = tokio::time::timeout(std::time::Duration::from_secs(30), results.next());
        let message = next.await.expect("a result in time").unwrap().unwrap();
        messages.extend_from_slice(&message.data);
        messages.extend_from_slice(format!("{:?}\n", message.properties).as_bytes());
        let first = seen.insert(message.properties.message_id().clone());
        let text = String::from_utf8_lossy(&message.data);
        succeeded += usize::from(first && text.contains("\"type\":\"payment.succeeded\""));
    }
    assert_eq!(succeeded, 1000);
    std::fs::write(folder.path().join("messages"), &messages).unwrap();

    servers.plant(&planted[0], &channel, &planted[1]).await;
    all.kill();
    worker.kill();
    let places = servers.places(folder.path());
    let found = tokio::task::spawn_blocking(move || {
        // Killed, not stopped: a stop would remove temporary data.
        servers.database.kill().unwrap();
        servers.broker.kill().unwrap();
        (search.below(&places), search)
    });
    let (found, search) = found.await.unwrap();
    assert!(
        found.bytes > 10_000_000,
        "it has read {} bytes alone",
        found.bytes
    );
    let leaks = |number: &str| {
        found
            .numbers
            .iter()
            .filter(|it| it.contains(number))
            .count()
    };
    // The search finds what was planted: in the table, the binary log, the queue.
    assert!(
        found
            .numbers
            .iter()
            .any(|it| it.contains("binlog") && it.contains(&search.numbers[1000]))
    );
    let planted = [1000, 1001].map(|place| leaks(&search.numbers[place]));
    assert!(
        planted[0] >= 2 && planted[1] >= 1,
        "{planted:?} files: {:?}",
        found.numbers
    );
    let others: Vec<&String> = found
        .numbers
        .iter()
        .filter(|it| {
            search.numbers[1000..]
                .iter()
                .all(|planted| !it.contains(planted.as_str()))
        })
        .collect();
    assert_eq!(others, Vec::<&String>::new());
    assert_eq!(found.named_codes, Vec::<String>::new());
    assert!(
        found.lone_codes < CHANCE,
        "the code stands alone {} times",
        found.lone_codes
    );
}
