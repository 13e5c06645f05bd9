//! A subscriber's replicated queue of results that has stopped answering: it confirms nothing, like
//! one whose members have lost their majority.

use lapin::options::{QueueBindOptions, QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};

use super::{Broker, Result};

const NAME: &str = "somebody.stuck";

/// The queue, and the connection of its owner.
pub struct StuckSubscriber(Connection);

impl StuckSubscriber {
    /// Declares it and binds it to all results.
    pub async fn bind(url: &str) -> lapin::Result<Self> {
        let owner = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = owner.create_channel().await?;
        let mut replicated = FieldTable::default();
        let quorum = AMQPValue::LongString("quorum".into());
        replicated.insert("x-queue-type".into(), quorum);
        let durable = QueueDeclareOptions {
            durable: true,
            ..Default::default()
        };
        channel
            .queue_declare(NAME.into(), durable, replicated)
            .await?;
        channel
            .queue_bind(
                NAME.into(),
                "payments.results".into(),
                "#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await?;
        Ok(Self(owner))
    }

    /// Suspends its process.
    pub fn stick(server: &Broker, vhost: &str) -> Result<()> {
        stick(server, vhost, NAME)
    }

    /// Resumes its process.
    pub fn unstick(server: &Broker, vhost: &str) -> Result<()> {
        tell(server, (vhost, NAME), "resume")
    }

    /// Deletes it with its messages.
    pub async fn delete(self) -> lapin::Result<()> {
        let channel = self.0.create_channel().await?;
        channel
            .queue_delete(NAME.into(), QueueDeleteOptions::default())
            .await?;
        self.0.close(200, "done".into()).await
    }
}

/// Suspends a queue's process, so that it does not answer.
pub fn stick(server: &Broker, vhost: &str, queue: &str) -> Result<()> {
    tell(server, (vhost, queue), "suspend")
}

fn tell(server: &Broker, (vhost, queue): (&str, &str), what: &str) -> Result<()> {
    let tell = format!(
        "{{ok, Queue}} = rabbit_amqqueue:lookup(rabbit_misc:r(<<\"{vhost}\">>, queue, <<\"{queue}\">>)), \
         sys:{what}(amqqueue:get_pid(Queue))."
    );
    server.rabbitmqctl(&["eval", &tell]).map(drop)
}
