//! Tests of the harness: its servers work, and come back after a kill.

use std::{fs, path::Path, time::Instant};

use lapin::{
    ConnectionProperties, ExchangeKind,
    options::{BasicPublishOptions, ExchangeDeclareOptions, QueueDeclareOptions},
    types::{AMQPValue, FieldTable},
};
use sqlx::{Connection, MySqlConnection};

use crate::support::servers::{
    Broker, BrokerOptions, Database, DatabaseOptions, fresh_database, fresh_servers, fresh_vhost,
};

#[tokio::test]
async fn every_test_gets_a_separate_database_and_vhost() {
    let begin = Instant::now();
    let (database, vhost) = fresh_servers().await.unwrap();
    println!(
        "both servers up after {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    assert_ne!(database, fresh_database().await.unwrap());
    assert_ne!(vhost, fresh_vhost().await.unwrap());

    let mut connection = MySqlConnection::connect(&database).await.unwrap();
    let version: String = sqlx::query_scalar("SELECT VERSION()")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    sqlx::query("CREATE TABLE proof (id INT PRIMARY KEY)")
        .execute(&mut connection)
        .await
        .unwrap();
    let binary_log: bool = sqlx::query_scalar("SELECT @@log_bin")
        .fetch_one(&mut connection)
        .await
        .unwrap();
    println!("database {version}");
    assert!(binary_log);
    declare_and_publish(&vhost).await;
}

#[tokio::test]
async fn a_database_comes_back_on_its_port_with_its_data_after_a_kill() {
    let begin = Instant::now();
    let database = Database::start(&DatabaseOptions {
        durable: true,
        ..DatabaseOptions::default()
    })
    .unwrap();
    println!("database up after {:.1} s", begin.elapsed().as_secs_f32());
    let mut connection = MySqlConnection::connect(&database.admin_url())
        .await
        .unwrap();
    sqlx::query("CREATE DATABASE kept")
        .execute(&mut connection)
        .await
        .unwrap();
    let first = database.pid().unwrap();
    assert!(Path::new(&format!("/proc/{first}")).exists());
    assert!(database.data_dir().join("ibdata1").exists());

    database.kill().unwrap();
    assert!(!Path::new(&format!("/proc/{first}")).exists());
    assert!(
        MySqlConnection::connect(&database.admin_url())
            .await
            .is_err()
    );
    database.start_again().unwrap();
    assert_ne!(database.pid().unwrap(), first);
    MySqlConnection::connect(&database.url("kept"))
        .await
        .unwrap();
    let begin = Instant::now();
    database.restart().unwrap();
    println!(
        "database restarted in {:.1} s",
        begin.elapsed().as_secs_f32()
    );
    MySqlConnection::connect(&database.url("kept"))
        .await
        .unwrap();
}

#[tokio::test]
async fn a_broker_comes_back_on_its_port_with_its_queues_after_a_kill() {
    let begin = Instant::now();
    let broker = Broker::start(&BrokerOptions::default()).unwrap();
    println!(
        "broker up after {:.1} s, {}",
        begin.elapsed().as_secs_f32(),
        version(&broker)
    );
    let first = broker.vhost().unwrap();
    // The first one was made with the start, this one is made now.
    let second = broker.vhost().unwrap();
    declare_and_publish(&broker.url(&second)).await;
    let pid = broker.pid().unwrap();

    broker.kill().unwrap();
    assert!(!Path::new(&format!("/proc/{pid}")).exists());
    broker.start_again().unwrap();
    assert_ne!(broker.pid().unwrap(), pid);
    let queues = broker
        .rabbitmqctl(&["list_queues", "-p", &second, "name", "--silent"])
        .unwrap();
    assert_eq!(queues.trim(), "proof");
    let begin = Instant::now();
    broker.restart().unwrap();
    println!("broker restarted in {:.1} s", begin.elapsed().as_secs_f32());
    declare_and_publish(&broker.url(&first)).await;
}

#[tokio::test]
async fn a_broker_takes_a_definitions_file() {
    let broker = Broker::start(&BrokerOptions::default()).unwrap();
    let vhost = broker.vhost().unwrap();
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("definitions.json");
    let queue = format!(
        r#"{{"queues": [{{"name": "imported", "vhost": "{vhost}", "durable": true, "auto_delete": false,
            "arguments": {{"x-queue-type": "quorum"}}}}]}}"#
    );
    fs::write(&file, queue).unwrap();
    broker.import_definitions(&file).unwrap();
    let queues = broker
        .rabbitmqctl(&["list_queues", "-p", &vhost, "name", "type", "--silent"])
        .unwrap();
    assert_eq!(queues.trim(), "imported\tquorum");
}

async fn declare_and_publish(url: &str) {
    let connection = lapin::Connection::connect(url, ConnectionProperties::default())
        .await
        .unwrap();
    let channel = connection.create_channel().await.unwrap();
    channel.confirm_select(Default::default()).await.unwrap();
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    let mut quorum = FieldTable::default();
    quorum.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    channel
        .queue_declare("proof".into(), durable, quorum)
        .await
        .unwrap();
    let options = ExchangeDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .exchange_declare(
            "proofs".into(),
            ExchangeKind::Topic,
            options,
            FieldTable::default(),
        )
        .await
        .unwrap();
    let publish = channel.basic_publish(
        "".into(),
        "proof".into(),
        BasicPublishOptions::default(),
        b"1",
        Default::default(),
    );
    let confirmation = publish.await.unwrap().await.unwrap();
    assert!(confirmation.is_ack());
    connection.close(200, "done".into()).await.unwrap();
}

fn version(broker: &Broker) -> String {
    broker.rabbitmqctl(&["version"]).unwrap().trim().to_owned()
}
