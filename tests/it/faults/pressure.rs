//! More input than output: the amount of accepted work is limited, the rest is refused or stays in its queue, and all
//! of it is processed afterwards.

use std::process::ExitStatus;
use std::time::{Duration, Instant};

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::{Value, json};
use sqlx::MySqlPool;
use tokio::time::sleep;

use super::fixture::{Fixture, Needs};
use crate::app::Api;
use crate::support::process::{Process, Settings};
use crate::support::proxy::Mode;

/// Long enough for a busy machine.
const LIMIT: Duration = Duration::from_secs(60);

pub async fn eventually(what: &str, reached: impl AsyncFn() -> bool) {
    let deadline = Instant::now() + LIMIT;
    while !reached().await {
        assert!(Instant::now() < deadline, "not in time: {what}");
        sleep(Duration::from_millis(20)).await;
    }
}

pub async fn ends_within(process: &mut Process, longest: Duration) -> ExitStatus {
    let deadline = Instant::now() + longest;
    loop {
        if let Some(status) = process.ended() {
            return status;
        }
        assert!(Instant::now() < deadline, "it does not end");
        sleep(Duration::from_millis(10)).await;
    }
}

/// The database as an administrator sees it.
pub struct Books(MySqlPool);

impl Books {
    pub async fn open(fixture: &Fixture) -> Self {
        Self(MySqlPool::connect(&fixture.database_url).await.unwrap())
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.0).await.unwrap()
    }

    async fn change(&self, sql: &'static str) {
        sqlx::query(sql).execute(&self.0).await.unwrap();
    }
}

/// Messages that wait in a queue.
pub async fn depth(fixture: &Fixture, queue: &str) -> u32 {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&fixture.amqp_url, properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let passive = QueueDeclareOptions {
        passive: true,
        ..Default::default()
    };
    let declared = channel.queue_declare(queue.into(), passive, FieldTable::default());
    let count = declared.await.unwrap().message_count();
    connection.close(200, "done".into()).await.unwrap();
    count
}

fn settings(fixture: &Fixture, log: &std::path::Path, variables: &[(&str, &str)]) -> Settings {
    let [database, amqp] = &fixture.service_urls;
    let settings = Settings::servers(database, amqp).with_log(log);
    variables.iter().fold(settings, |settings, (name, value)| {
        settings.with(name, value)
    })
}

fn order(number: i64, token: &str) -> Value {
    json!({"order_id": number, "user_id": 1, "total_amount": 1, "card_token": token})
}

/// Posts until one is refused; how many were taken, and what the refusal says of when to come back.
async fn post_until_refused(api: &Api, token: &str) -> (i64, String) {
    for number in 1..2_000 {
        let answer = api.post("/payments", order(number, token)).await;
        if answer.status == 503 {
            return (number - 1, answer.header("Retry-After").to_owned());
        }
        assert_eq!(answer.status, 202, "{}", answer.body);
        sleep(Duration::from_millis(10)).await;
    }
    panic!("nothing was ever refused");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_database_that_is_down_pauses_consumption_and_uses_up_no_tries() {
    const PAYMENTS: i64 = 30;
    // Two messages for each of eight permits, and one more.
    const HELD: u32 = 17;
    let fixture = Fixture::start(Needs {
        own_database: true,
        ..Needs::default()
    })
    .await;
    let folder = tempfile::tempdir().unwrap();
    let few = [("WORKER_CONCURRENCY", "8"), ("MAX_TRIES", "1")];
    let settings = settings(&fixture, &folder.path().join("log"), &few);
    let program = super::fleet::program();
    assert!(Process::spawn(&program, "setup", &settings).wait());
    let api = Process::start(&program, "api", &settings).await;
    let client = Api::new(api.api);
    for number in 1..=PAYMENTS {
        client.pay(number, "tok_visa").await;
    }
    eventually("all wait for a worker", async || {
        depth(&fixture, "payments.work").await == 30
    })
    .await;

    fixture.with_database(|server| server.stop()).await.unwrap();
    let worker = Process::spawn(&program, "worker", &settings);
    eventually("it has taken what it can hold", async || {
        depth(&fixture, "payments.work").await == 30 - HELD
    })
    .await;
    let until = Instant::now() + Duration::from_secs(4);
    while Instant::now() < until {
        assert_eq!(
            depth(&fixture, "payments.work").await,
            30 - HELD,
            "it waits"
        );
        assert!(worker.readiness().await.starts_with("not_ready"));
    }
    fixture
        .with_database(|server| server.start_again())
        .await
        .unwrap();
    let books = Books::open(&fixture).await;
    // With one try each, any that was used up would have ended `failed`.
    eventually("all succeed", async || {
        books
            .count("SELECT COUNT(*) FROM payments WHERE status = 'succeeded'")
            .await
            == PAYMENTS
    })
    .await;
    let tried = "SELECT COUNT(*) FROM payment_events WHERE kind = 'try_failed'";
    assert_eq!(books.count(tried).await, 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn while_the_broker_is_down_payments_are_accepted_up_to_the_limit_and_processed_later() {
    let fixture = Fixture::start(Needs::default()).await;
    let folder = tempfile::tempdir().unwrap();
    let limited = [("BACKLOG_LIMIT", "50"), ("OUTBOX_LEASE", "1s")];
    let settings = settings(&fixture, &folder.path().join("log"), &limited);
    let program = super::fleet::program();
    assert!(Process::spawn(&program, "setup", &settings).wait());
    let (api, _worker) = tokio::join!(
        Process::start(&program, "api", &settings),
        Process::start(&program, "worker", &settings)
    );
    let client = Api::new(api.api);
    fixture.broker_way.set(Mode::Cut);
    let (taken, retry_after) = post_until_refused(&client, "tok_visa").await;
    assert!(taken >= 50, "{taken}");
    assert!(retry_after.parse::<u32>().is_ok(), "{retry_after}");
    assert!(api.readiness().await.contains("BACKLOG_LIMIT"));

    fixture.broker_way.set(Mode::Pass);
    eventually("it takes payments again", async || {
        api.readiness().await == "ready"
    })
    .await;
    let after = client.post("/payments", order(9_999, "tok_visa")).await;
    after.is(202);
    let books = Books::open(&fixture).await;
    eventually("all have their outcome", async || {
        books
            .count("SELECT COUNT(*) FROM payments WHERE status = 'succeeded'")
            .await
            == taken + 1
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn at_the_backlog_limit_requests_get_503_and_messages_stay_in_their_queue() {
    const ORDERS: i64 = 300;
    /// The unacknowledged messages; the rest stays at the broker.
    const HELD: i64 = 256;
    let fixture = Fixture::start(Needs::default()).await;
    let folder = tempfile::tempdir().unwrap();
    // Tries that are put off for an hour fill the outbox.
    let limited = [
        ("BACKLOG_LIMIT", "20"),
        ("RETRY_INITIAL", "1h"),
        ("RETRY_MAX_INTERVAL", "2h"),
    ];
    let settings = settings(&fixture, &folder.path().join("log"), &limited);
    let program = super::fleet::program();
    assert!(Process::spawn(&program, "setup", &settings).wait());
    let (api, _worker) = tokio::join!(
        Process::start(&program, "api", &settings),
        Process::start(&program, "worker", &settings)
    );
    let client = Api::new(api.api);
    let (taken, retry_after) = post_until_refused(&client, "tok_issuer_down_1").await;
    assert!(retry_after.parse::<u32>().is_ok(), "{retry_after}");

    publish_orders(&fixture, ORDERS).await;
    let books = Books::open(&fixture).await;
    eventually("it holds what it can", async || {
        i64::from(depth(&fixture, "payments.requests").await) == ORDERS - HELD
    })
    .await;
    let payments = "SELECT COUNT(*) FROM payments";
    assert_eq!(books.count(payments).await, taken);

    books
        .change("UPDATE outbox SET due_at = UTC_TIMESTAMP(6)")
        .await;
    eventually("everything is worked off", async || {
        let succeeded = "SELECT COUNT(*) FROM payments WHERE status = 'succeeded'";
        books.count(succeeded).await == taken + ORDERS
    })
    .await;
    assert_eq!(depth(&fixture, "payments.requests").await, 0);
}

async fn publish_orders(fixture: &Fixture, number: i64) {
    let properties = ConnectionProperties::default();
    let connection = Connection::connect(&fixture.amqp_url, properties)
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await.unwrap();
    for number in 1..=number {
        let body = order(number, "tok_visa").to_string();
        let properties = BasicProperties::default()
            .with_message_id(format!("order-{number}").into())
            .with_content_type("application/json".into());
        let published = channel.basic_publish(
            "payments.requests".into(),
            "order.payment".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        assert!(published.await.unwrap().await.unwrap().is_ack());
    }
    connection.close(200, "done".into()).await.unwrap();
}
