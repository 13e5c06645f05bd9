//! `setup`: migrations and topology. Waits for servers that are still starting, and logs what it waits for; safe to
//! repeat. `setup --back` prepares the return to the release before this one, `setup --skip-ids` the start after a restore.

use std::error::Error;
use std::time::Duration;

use tokio::time::{Instant, sleep, timeout_at};

use super::open;
use super::reach::{self, Address};
use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{Broker, BrokerError, ConnectionState};
use crate::config::{Backend, Config, Role};
use crate::payments::outbox::{self, Replaced};
use crate::store::{Store, StoreError};

/// How long servers may take to start.
const PATIENCE: Duration = Duration::from_secs(60);

/// How often the same cause is logged again.
const PROGRESS: Duration = Duration::from_secs(5);

/// Rows that the release before this one may not be able to read.
#[derive(Debug, thiserror::Error)]
#[error(
    "{0} outbox rows are set aside, and the release before this one may not be able to read them: repair and release them \
     first (docs/runbook.md, Quarantine), then run `setup --back` again"
)]
struct LeftBehind(u64);

/// A server that was not reachable in time.
#[derive(Debug, thiserror::Error)]
#[error("{server} cannot be reached: {causes}")]
struct Unreachable {
    server: &'static str,
    causes: String,
}

/// Outbox rows that are rewritten in one transaction.
const REWRITTEN: u32 = 500;

/// Options of `setup`.
#[derive(Debug, Clone, Copy, clap::Args)]
pub struct SetupArgs {
    /// Rewrite pending messages so that the release before this one can publish them: run it after the last process of
    /// this release has stopped
    #[arg(long, conflicts_with = "skip_ids")]
    back: bool,
    /// Leave out so many payment ids, after a backup was restored: at least as many as payments were made since it. Run it
    /// while no api runs
    #[arg(long, value_name = "NUMBER", value_parser = clap::value_parser!(u32).range(1..))]
    skip_ids: Option<u32>,
}

impl SetupArgs {
    /// The role whose configuration is read: an embedded service has nothing to set up, but may have to go back.
    pub fn role(self) -> Role {
        match self.back || self.skip_ids.is_some() {
            true => Role::All,
            false => Role::Api,
        }
    }
}

/// Updates the database and the broker, or prepares the return to the release before this one.
pub async fn run(config: Config, options: SetupArgs) -> Result<(), Box<dyn Error>> {
    if options.back {
        return go_back(&config).await;
    }
    match options.skip_ids {
        Some(number) => skip_ids(&config, number).await,
        None => forward(config).await,
    }
}

/// Payments that were made after the backup are missing here, but platforms and clients know their ids.
async fn skip_ids(config: &Config, number: u32) -> Result<(), Box<dyn Error>> {
    let database = open::database(config)?;
    let first = database.skip_ids(number.into(), config.ids).await;
    database.close().await;
    let first = first?;
    tracing::info!(first, "new payments get ids from here");
    Ok(())
}

async fn go_back(config: &Config) -> Result<(), Box<dyn Error>> {
    let database = open::database(config)?;
    let (mut rewritten, mut set_aside) = (0, 0);
    loop {
        let replaced = outbox::replace_facts(&database, REWRITTEN).await?;
        rewritten += replaced.messages;
        set_aside += replaced.set_aside;
        if replaced == Replaced::default() {
            break;
        }
    }
    let quarantined = database.outbox_depth().await?.quarantined;
    database.close().await;
    tracing::info!(rewritten, set_aside, "pending messages were rewritten");
    if quarantined > 0 {
        return Err(LeftBehind(quarantined).into());
    }
    tracing::info!("the release before this one can publish everything that is pending");
    Ok(())
}

async fn forward(config: Config) -> Result<(), Box<dyn Error>> {
    let Backend::Servers {
        database,
        connections,
        amqp,
    } = config.backend
    else {
        tracing::info!("embedded: nothing to set up, the service does it when it starts");
        return Ok(());
    };
    let deadline = Instant::now() + PATIENCE;
    until_reached("the database", &database.addresses(), deadline).await?;
    let database = Store::mysql(database, connections);
    let mut waiting = Waiting::new("the database", deadline);
    while let Err(error) = database.migrate().await {
        let passing = matches!(
            error,
            StoreError::Unavailable(_) | StoreError::Conflict(_) | StoreError::Locked(_)
        );
        if !passing || !waiting.goes_on(&error.to_string()).await {
            return Err(error.into());
        }
    }
    database.close().await;
    tracing::info!("the database has the schema of this version");
    until_reached("RabbitMQ", &amqp.addresses(), deadline).await?;
    let broker = RabbitMq::new(RabbitMqOptions::new(amqp, "payment-service setup")?);
    declare(&broker, deadline).await?;
    tracing::info!("RabbitMQ has the exchanges, queues and bindings of this version");
    broker.close().await;
    Ok(())
}

async fn declare(broker: &RabbitMq, deadline: Instant) -> Result<(), Box<dyn Error>> {
    let mut waiting = Waiting::new("RabbitMQ", deadline);
    loop {
        let mut connection = broker.connection();
        let connected = connection.wait_for(|state| !matches!(state, ConnectionState::Down(_)));
        // In steps, so that the reason is logged while it keeps trying.
        let step = deadline.min(Instant::now() + reach::PATIENCE);
        if timeout_at(step, connected).await.is_ok() {
            match broker.declare_topology().await {
                Err(BrokerError::NotConnected) => {}
                declared => return Ok(declared?),
            }
        }
        let state = broker.connection().borrow().clone();
        let cause = match state {
            ConnectionState::Down(reason) => reason,
            _ => "the connection was lost".to_owned(),
        };
        if !waiting.goes_on(&cause).await {
            return Err(Unreachable {
                server: "RabbitMQ",
                causes: cause,
            }
            .into());
        }
    }
}

/// Waits until at least one of the addresses can be reached.
async fn until_reached(
    server: &'static str,
    addresses: &[Address],
    deadline: Instant,
) -> Result<(), Unreachable> {
    let mut waiting = Waiting::new(server, deadline);
    loop {
        let unreachable = reach::unreachable(addresses).await;
        if unreachable.len() < addresses.len() {
            return Ok(());
        }
        let causes = unreachable.join("; ");
        if !waiting.goes_on(&causes).await {
            return Err(Unreachable { server, causes });
        }
    }
}

/// Logs what it waits for: when the cause changes, and every few seconds.
struct Waiting {
    server: &'static str,
    deadline: Instant,
    said: Option<(String, Instant)>,
}

impl Waiting {
    fn new(server: &'static str, deadline: Instant) -> Self {
        Self {
            server,
            deadline,
            said: None,
        }
    }

    /// Waits a second; returns false when the time is over.
    async fn goes_on(&mut self, cause: &str) -> bool {
        let now = Instant::now();
        if now >= self.deadline {
            return false;
        }
        let is_new = self
            .said
            .as_ref()
            .is_none_or(|(said, at)| said != cause || now - *at >= PROGRESS);
        if is_new {
            let seconds = (self.deadline - now).as_secs();
            tracing::info!(
                "waiting for {}, up to {seconds} s more: {cause}",
                self.server
            );
            self.said = Some((cause.to_owned(), now));
        }
        sleep(Duration::from_secs(1)).await;
        true
    }
}
