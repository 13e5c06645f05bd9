//! `dead-letters`, over the embedded service's table.

use std::sync::Arc;

use payment_service::app::dead_letters::DeadLettersInDatabase;
use payment_service::broker::embedded::Embedded;
use payment_service::broker::{Broker, Exchange, Queue};
use payment_service::domain::PaymentStatus;
use payment_service::store::dead_letters::DeadLetterTable;
use serde_json::{Value, json};

use super::{PROGRAM, id, letters, order, refused_letter};
use crate::broker::fixture::{eventually, next};
use crate::support::process::{Process, Settings};
use crate::tools::fixture::Fixture;

/// An embedded broker that keeps its dead letters in the fixture's file.
fn embedded_broker(fixture: &Fixture) -> (Embedded, DeadLetterTable) {
    let (_, table) = fixture.file();
    let keeper = Arc::new(DeadLettersInDatabase(table.clone()));
    let broker = Embedded::keeping_dead_letters(keeper).unwrap();
    (broker, table)
}

#[tokio::test]
async fn dead_letters_of_the_embedded_service_outlive_it_and_can_be_replayed_without_it() {
    let fixture = Fixture::embedded().await;
    let (broker, _file) = embedded_broker(&fixture);
    let body = json!({ "order_id": 1, "user_id": 1, "total_amount": 5, "card_token": "tok_visa" });
    let letter = refused_letter("0190-1", "data_refused", &body, false);
    // A copy, as the relay may publish one.
    assert_eq!(
        broker.publish(&[letter.clone(), letter]).await,
        [Ok(()), Ok(())]
    );
    broker.close().await;

    let kept = letters(&fixture).await;
    assert_eq!(kept.len(), 1);
    assert_eq!(
        (&kept[0]["id"], &kept[0]["reason"]),
        (&json!("0190-1"), &json!("data_refused"))
    );
    let replayed = fixture.run(&["dead-letters", "replay", "0190-1", "--json"]);
    let said = replayed.await.with(0).out;
    let first: Value = serde_json::from_str(said.lines().next().unwrap()).unwrap();
    assert_eq!(
        (&first["id"], &first["done"]),
        (&json!("0190-1"), &json!(true))
    );
    assert!(said.contains("replayed: payment 1 of default"), "{said}");
    assert_eq!(letters(&fixture).await, Vec::<Value>::new());
    fixture
        .run(&["dead-letters", "discard", "0190-1"])
        .await
        .with(1);

    let mut settings = Settings::default();
    for (name, value) in fixture.variables() {
        settings = settings.with(name, &value);
    }
    let _process = Process::start(PROGRAM, "", &settings).await;
    let database = fixture.database();
    let default = crate::store::samples::client("default");
    let (database, default) = (&database, &default);
    eventually("the payment succeeds", || async {
        let found = database.payment_by_key(default, "m-5").await.unwrap();
        found.unwrap().payment.status == PaymentStatus::Succeeded
    })
    .await;
    // While the service runs, the command writes to the same file.
    let (broker, _file) = embedded_broker(&fixture);
    let letter = refused_letter("0190-2", "data_refused", &body, false);
    assert_eq!(broker.publish(&[letter]).await, [Ok(())]);
    broker.close().await;
    let again = fixture
        .run(&["dead-letters", "replay", "--all"])
        .await
        .with(0);
    assert!(
        again.out.contains(", which existed already"),
        "{}",
        again.out
    );
    assert_eq!(letters(&fixture).await, Vec::<Value>::new());
}

#[tokio::test]
async fn a_message_that_the_embedded_broker_dead_lettered_is_kept_as_well() {
    let fixture = Fixture::embedded().await;
    let (broker, file) = embedded_broker(&fixture);
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
    let letter = letters(&fixture).await.remove(0);
    assert_eq!(letter["reason"], "delivery_limit");
    let id = id(&letter).to_owned();
    fixture.run(&["dead-letters", "discard", &id]).await.with(0);
    assert_eq!(letters(&fixture).await, Vec::<Value>::new());
}
