//! `dead-letters`, over the embedded service's table.

use std::sync::Arc;

use payment_service::app::dead_letters::DeadLettersInDatabase;
use payment_service::broker::embedded::Embedded;
use payment_service::broker::{Broker, Exchange, Properties, Publication, Queue};
use payment_service::store::dead_letters::DeadLetterTable;
use serde_json::{Value, json};

use super::{PROGRAM, id, letters, order};
use crate::broker::place::{eventually, next};
use crate::support::process::{Process, Settings};
use crate::tools::place::Place;

fn embedded_letter(reason: &str, body: &Value, masked: bool) -> Publication {
    let letter = json!({
        "reason": reason, "error": "It is wrong.", "errors": [], "client": "default", "user_id": null,
        "masked": masked, "routing_key": "order.payment", "properties": { "message_id": "m-5" }, "body": body,
    });
    let headers = [
        ("reason", reason),
        ("dead-letter-id", "0190-1"),
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

/// An embedded broker whose dead letters are kept in the place's file.
fn embedded_broker(place: &Place) -> (Embedded, DeadLetterTable) {
    let (_, table) = place.file();
    let keeper = Arc::new(DeadLettersInDatabase(table.clone()));
    let broker = Embedded::keeping_dead_letters(keeper).unwrap();
    (broker, table)
}

#[tokio::test]
async fn dead_letters_of_the_embedded_service_outlive_it_and_are_replayed_by_its_outbox() {
    let place = Place::embedded().await;
    let (broker, _file) = embedded_broker(&place);
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5 });
    let letter = embedded_letter("data_refused", &body, false);
    // A copy, as the relay may publish one.
    assert_eq!(
        broker.publish(&[letter.clone(), letter]).await,
        [Ok(()), Ok(())]
    );
    broker.close().await;

    let kept = letters(&place).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0]["id"], &kept[0]["reason"]),
        (&json!("0190-1"), &json!("data_refused"))
    );
    place
        .run(&["dead-letters", "replay", "0190-1"])
        .await
        .with(0);
    assert_eq!(letters(&place).await, Vec::<Value>::new());
    place
        .run(&["dead-letters", "discard", "0190-1"])
        .await
        .with(1);

    let mut settings = Settings::default();
    for (name, value) in place.variables() {
        settings = settings.with(name, &value);
    }
    let _process = Process::start(PROGRAM, "", &settings).await;
    let database = place.database();
    let default = crate::store::samples::client("default");
    let (database, default) = (&database, &default);
    eventually("the payment exists", || async {
        let found = database.payment_by_key(default, "m-5").await.unwrap();
        found.is_some()
    })
    .await;
}

#[tokio::test]
async fn what_the_embedded_broker_buried_is_kept_as_well() {
    let place = Place::embedded().await;
    let (broker, file) = embedded_broker(&place);
    let mut work = broker.consume(Queue::Work, 1);
    let mut message = order("7-1-1", &json!({ "payment_id": 7, "attempt": 1, "try": 1 }));
    message.exchange = Exchange::Work;
    message.routing_key = "payment.authorize".to_owned();
    assert_eq!(broker.publish(&[message]).await, [Ok(())]);
    for _ in 0..21 {
        next(&mut work).await.settle.reject().await;
    }
    let file = &file;
    eventually("the letter is kept", || async {
        file.dead_letters().await.unwrap().len() == 1
    })
    .await;
    let letter = letters(&place).await.remove(0);
    assert_eq!(letter["reason"], "delivery_limit");
    let id = id(&letter).to_owned();
    place.run(&["dead-letters", "discard", &id]).await.with(0);
    assert_eq!(letters(&place).await, Vec::<Value>::new());
}
