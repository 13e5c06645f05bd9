//! `setup`: migrations and topology. Waits for servers that are still starting; safe to repeat.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{Broker, BrokerError};
use crate::config::{Backend, Config};
use crate::store::mysql::MySql;
use crate::store::{Database, StoreError};

/// How long servers may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// Brings both servers up to date.
pub async fn run(config: Config) -> Result<(), Box<dyn Error>> {
    let Backend::Servers {
        database,
        connections,
        amqp,
    } = config.backend
    else {
        return Ok(());
    };
    let deadline = Instant::now() + PATIENCE;
    let database = MySql::connect(database, connections)?;
    while let Err(error) = database.migrate().await {
        if !matches!(error, StoreError::Unavailable(_) | StoreError::Conflict(_))
            || Instant::now() > deadline
        {
            return Err(error.into());
        }
        tracing::warn!(%error, "the database is not there yet");
        sleep(Duration::from_secs(1)).await;
    }
    tracing::info!("the database has the schema of this version");
    let broker = RabbitMq::new(RabbitMqOptions::new(amqp, "payment-service setup")?);
    let declared = timeout_at(deadline, async {
        while let Err(BrokerError::NotConnected) = broker.declare_topology().await {
            tracing::warn!(connection = ?*broker.connection().borrow(), "RabbitMQ is not there yet");
            sleep(Duration::from_secs(1)).await;
        }
        broker.declare_topology().await
    });
    declared.await.unwrap_or(Err(BrokerError::NotConnected))?;
    tracing::info!("RabbitMQ has the exchanges, queues and bindings of this version");
    broker.close().await;
    database.close().await;
    Ok(())
}
