//! Servers whose files are searched, and the messages that pass through them.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use lapin::options::QueueDeclareOptions;
use lapin::types::FieldTable;

use crate::support::servers::{Broker, BrokerOptions, Database, DatabaseOptions};

/// How often each number is planted.
const LEAKS: usize = 8;

/// Servers for this test only: their files are searched.
pub struct Servers {
    pub database: Database,
    pub broker: Broker,
    pub vhost: String,
}

pub async fn servers() -> Arc<Servers> {
    let start = || {
        let options = DatabaseOptions {
            durable: true,
            ..DatabaseOptions::default()
        };
        let broker = Broker::start(&BrokerOptions::default()).unwrap();
        Servers {
            database: Database::start(&options).unwrap(),
            vhost: broker.vhost().unwrap(),
            broker,
        }
    };
    Arc::new(tokio::task::spawn_blocking(start).await.unwrap())
}

impl Servers {
    pub async fn execute(&self, sql: &'static str, value: &str) {
        use sqlx::Connection;
        let url = self.database.url("mysql");
        let mut connection = sqlx::MySqlConnection::connect(&url).await.unwrap();
        let mut query = sqlx::query(sql);
        if !value.is_empty() {
            query = query.bind(value.to_owned());
        }
        query.execute(&mut connection).await.unwrap();
    }

    /// All files of the servers and of the service's processes.
    pub fn places(&self, folder: &Path) -> Vec<PathBuf> {
        vec![
            folder.to_owned(),
            self.database.data_dir(),
            self.database.log_file(),
            self.broker.data_dir(),
            self.broker.log_dir(),
        ]
    }

    /// Leaves a number in a table and in a queue, as leaks would.
    ///
    /// Several times, since a log that is written in blocks can have the end of a block in the middle of a number.
    pub async fn plant(&self, in_table: &str, channel: &lapin::Channel, in_queue: &str) {
        self.execute("CREATE TABLE payments.planted (leak VARCHAR(64))", "")
            .await;
        for _ in 0..LEAKS {
            self.execute("INSERT INTO payments.planted VALUES (?)", in_table)
                .await;
        }
        let durable = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        let mut quorum = FieldTable::default();
        let kind = lapin::types::AMQPValue::LongString("quorum".into());
        quorum.insert("x-queue-type".into(), kind);
        channel
            .queue_declare("planted".into(), durable, quorum)
            .await
            .unwrap();
        for _ in 0..LEAKS {
            publish(channel, "", "planted", in_queue, "planted").await;
        }
    }
}

pub async fn publish(channel: &lapin::Channel, exchange: &str, key: &str, body: &str, id: &str) {
    let properties = lapin::BasicProperties::default()
        .with_delivery_mode(2)
        .with_message_id(id.into());
    let options = lapin::options::BasicPublishOptions::default();
    let confirm = channel
        .basic_publish(
            exchange.into(),
            key.into(),
            options,
            body.as_bytes(),
            properties,
        )
        .await
        .unwrap();
    confirm.await.unwrap();
}

/// Every message that goes through the results exchange, one after the other.
pub async fn overheard(channel: &lapin::Channel) -> lapin::Consumer {
    let exclusive = QueueDeclareOptions {
        exclusive: true,
        ..QueueDeclareOptions::default()
    };
    let table = FieldTable::default;
    let queue = channel
        .queue_declare("".into(), exclusive, table())
        .await
        .unwrap();
    let queue = queue.name().clone();
    let (results, bind) = ("payments.results".into(), Default::default());
    channel
        .queue_bind(queue.clone(), results, "#".into(), bind, table())
        .await
        .unwrap();
    let no_ack = lapin::options::BasicConsumeOptions {
        no_ack: true,
        ..Default::default()
    };
    channel
        .basic_consume(queue, "".into(), no_ack, table())
        .await
        .unwrap()
}
