//! The harness itself: its servers serve, come back after a kill, and are gone when their test process is gone.

use std::{
    collections::HashMap,
    fs,
    io::{BufRead, BufReader},
    path::Path,
    process::{Command, Stdio},
    thread,
    time::{Duration, Instant},
};

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
async fn every_test_gets_a_database_and_a_vhost_of_its_own() {
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

#[test]
fn a_killed_test_process_leaves_no_server_and_no_folder() {
    let mut child = Command::new(std::env::current_exe().unwrap())
        .args([
            "--exact",
            "servers::holds_servers_until_it_is_killed",
            "--ignored",
            "--nocapture",
        ])
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let lines = BufReader::new(child.stdout.take().unwrap())
        .lines()
        .map(Result::unwrap);
    let mut lines = lines.skip_while(|line| !line.starts_with("holding "));
    let folders: Vec<String> = lines
        .next()
        .unwrap()
        .split(' ')
        .skip(1)
        .map(str::to_owned)
        .collect();
    let processes = descendants(child.id());
    println!("{processes:#?}");
    for name in ["mariadbd|mysqld", "beam.smp", "epmd"] {
        assert!(
            processes
                .values()
                .any(|running| name.split('|').any(|name| running == name)),
            "{name} does not run"
        );
    }
    assert_eq!(
        folders
            .iter()
            .filter(|folder| Path::new(folder).exists())
            .count(),
        2
    );

    child.kill().unwrap();
    child.wait().unwrap();
    let deadline = Instant::now() + Duration::from_secs(20);
    let left = || -> Vec<String> {
        let running = processes
            .iter()
            .filter(|(id, name)| name_of(**id).as_ref() == Some(name));
        let folders = folders
            .iter()
            .filter(|folder| Path::new(folder).exists())
            .cloned();
        running
            .map(|(id, name)| format!("{id} {name}"))
            .chain(folders)
            .collect()
    };
    while !left().is_empty() {
        assert!(Instant::now() < deadline, "left behind: {:?}", left());
        thread::sleep(Duration::from_millis(50));
    }
}

/// No test: the process that the one above kills.
#[test]
#[ignore = "runs until it is killed"]
fn holds_servers_until_it_is_killed() {
    let database = Database::start(&DatabaseOptions::default()).unwrap();
    let broker = Broker::start(&BrokerOptions::default()).unwrap();
    println!(
        "holding {} {}",
        database.log_file().parent().unwrap().display(),
        broker.log_dir().parent().unwrap().display()
    );
    loop {
        thread::park();
    }
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

/// Ids and names of all processes below that one.
fn descendants(ancestor: u32) -> HashMap<u32, String> {
    let ids = fs::read_dir("/proc")
        .unwrap()
        .filter_map(|entry| entry.unwrap().file_name().to_str()?.parse().ok());
    let parents: HashMap<u32, u32> = ids
        .filter_map(|id| Some((id, field(id, "PPid:")?.parse().ok()?)))
        .collect();
    let is_below = |mut id: u32| {
        while let Some(parent) = parents.get(&id) {
            if *parent == ancestor {
                return true;
            }
            id = *parent;
        }
        false
    };
    let below = parents.keys().copied().filter(|id| is_below(*id));
    below.filter_map(|id| Some((id, name_of(id)?))).collect()
}

/// None if there is no such process.
fn name_of(id: u32) -> Option<String> {
    field(id, "Name:")
}

fn field(id: u32, name: &str) -> Option<String> {
    let status = fs::read_to_string(format!("/proc/{id}/status")).ok()?;
    status
        .lines()
        .find_map(|line| line.strip_prefix(name))
        .map(|value| value.trim().to_owned())
}
