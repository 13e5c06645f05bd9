//! Creates the parts of a process from its configuration and connects them.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::timeout;

use super::dead_letters::{DeadLettersInDatabase, FromQueue, FromTable};
use super::issuer::Makers;
use super::processor_types::{self, TypesRefused};
use super::{AppError, requests};
use crate::broker::embedded::Embedded;
use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{Broker, Queue};
use crate::callbacks::Callbacks;
use crate::callbacks::bindings::Keys;
use crate::config::{Backend, Config, ProcessorsFile};
use crate::http::admin::dead_letters::ReadDeadLetters;
use crate::http::wait::Waiters;
use crate::intake::consumer::Orders;
use crate::payments::Acceptor;
use crate::payments::backlog::Backlog;
use crate::payments::commands::Commands;
use crate::platform_events::PlatformEvents;
use crate::processors::named::Processors;
use crate::processors::simulated::{Shoppers, TestTokens};
use crate::relay::{RelayTasks, relay};
use crate::store::Store;
use crate::vault::SealKeys;
use crate::watchdog::pulse::Pulse;
use crate::watchdog::vital::Vital;
use crate::worker::{Authorizer, ProcessorCalls, UnknownPayments, Worker};

/// Requests that may wait at the same time; further ones are answered at once with the payment's current state.
const MOST_WAITERS: usize = 10_000;

/// How long a start waits for the database: it need not be up.
const PATIENCE: Duration = Duration::from_secs(2);

/// What the tasks share.
pub(super) struct Parts {
    pub database: Store,
    pub broker: Arc<dyn Broker>,
    pub commands: Commands,
    pub acceptor: Arc<Acceptor>,
    pub processors: Processors,
    /// Makes them again when their file changes.
    pub makers: Makers,
    /// The shoppers' side of the simulated issuer.
    pub shoppers: Option<Shoppers>,
    pub seal: Arc<SealKeys>,
    pub backlog: Backlog,
    pub waiters: Arc<Waiters>,
    /// Reads dead letters for the operators' page.
    pub dead_letters: Arc<dyn ReadDeadLetters>,
    /// The tasks of the simulated issuer's ledger.
    ledger: Vec<Vital>,
}

impl Parts {
    /// Tasks that were started together with the parts; each must run as long as the process does.
    pub(super) fn vitals(&self) -> Vec<Vital> {
        let mut vitals = self.commands.vitals();
        vitals.push(self.broker.vital());
        vitals.extend(self.ledger.iter().cloned());
        vitals
    }

    /// Opens the store, starts connecting to the broker, and connects the parts; the caller still has to run the relay's
    /// tasks.
    pub(super) async fn make(config: &Config) -> Result<(Self, RelayTasks), AppError> {
        let (database, broker, dead_letters) = backend(config).await?;
        let (commands, handed_over) = Commands::new(database.clone(), config.ids, config.leases);
        let relay = relay(
            Arc::clone(&broker),
            database.clone(),
            (commands.clone(), handed_over),
            config.relay,
        );
        let backlog = relay.backlog();
        let public_url = config.public_url.clone();
        let (makers, ledger) = Makers::new(config.issuer, public_url.clone(), &database);
        let processors = makers.processors(&config.processors.file)?;
        check_types(&database, &processors, &config.processors.file).await?;
        let shoppers = makers.shoppers.clone();
        let seal = Arc::new(config.seal_keys.clone());
        let acceptor = Arc::new(Acceptor {
            commands: commands.clone(),
            database: database.clone(),
            seal: Arc::clone(&seal),
            test_tokens: Some(TestTokens {
                now: time::OffsetDateTime::now_utc,
            }),
            has_public_url: public_url.is_some(),
            reaches_shoppers: public_url.is_some() && shoppers.is_some(),
            processors: processors.clone(),
            clients: config.clients.clone(),
            backlog: backlog.clone(),
        });
        let waiters = Waiters::new(MOST_WAITERS);
        let parts = Self {
            database,
            broker,
            commands,
            acceptor,
            processors,
            makers,
            shoppers,
            seal,
            backlog,
            waiters,
            dead_letters,
            ledger,
        };
        Ok((parts, relay))
    }

    /// The consumer of payment requests by message.
    pub(super) fn orders(&self, config: &Config) -> Orders {
        Orders {
            broker: Arc::clone(&self.broker),
            reader: requests::order_reader(config),
            acceptor: Arc::clone(&self.acceptor),
            commands: self.commands.clone(),
            pulse: Pulse::new("orders"),
        }
    }

    /// The worker that processes tries.
    pub(super) fn worker(&self, config: &Config) -> Worker {
        Worker {
            broker: Arc::clone(&self.broker),
            database: self.database.clone(),
            commands: self.commands.clone(),
            authorizer: Authorizer {
                processors: self.processors.clone(),
                seal: Arc::clone(&self.seal),
                schedule: config.retry,
                timeout: config.processor_timeout,
                claim: config.leases.claim,
                calls: ProcessorCalls::new(),
                public_url: config.public_url.clone(),
            },
            backlog: self.backlog.clone(),
            clients: config.clients.clone(),
            permits: config.worker_concurrency,
            pulse: Pulse::new("worker"),
            tries_in_group: config.relay.work_tries,
            unknown: UnknownPayments::default(),
        }
    }

    /// Looks after events of payment platforms; none without `PROCESSORS_FILE`.
    pub(super) fn platform_events(&self, config: &Config) -> Option<PlatformEvents> {
        config.processors.path()?;
        Some(PlatformEvents {
            database: self.database.clone(),
            commands: self.commands.clone(),
            processors: self.processors.clone(),
            timeout: config.processor_timeout,
            pulse: Pulse::new("platform events"),
            stage: PlatformEvents::stage(config.processor_timeout),
        })
    }

    /// Calls clients by HTTP.
    pub(super) fn callbacks(&self, config: &Config) -> Callbacks {
        Callbacks::new(
            Arc::clone(&self.broker),
            config.clients.clone(),
            (self.database.clone(), self.commands.clone()),
            self.backlog.clone(),
            config.callbacks.clone(),
        )
    }
}

/// If the database cannot be asked now, no listed processor is called until it was.
async fn check_types(
    database: &Store,
    processors: &Processors,
    file: &ProcessorsFile,
) -> Result<(), AppError> {
    if file.processors.is_empty() {
        return Ok(());
    }
    match timeout(PATIENCE, processor_types::settle(database, file)).await {
        Ok(Ok(())) => Ok(()),
        Ok(Err(refused @ TypesRefused::Other { .. })) => Err(refused.into()),
        Ok(Err(TypesRefused::Store(_))) | Err(_) => {
            processors.hold(true);
            Ok(())
        }
    }
}

/// The store, the broker, and where its dead letters are read.
type Servers = (Store, Arc<dyn Broker>, Arc<dyn ReadDeadLetters>);

async fn backend(config: &Config) -> Result<Servers, AppError> {
    match &config.backend {
        Backend::Embedded { data_dir } => {
            let (database, dead_letters) = Store::embedded(&data_dir.join("payments.db"));
            database.migrate().await?;
            // Only one process at a time uses the embedded store: work under way and its messages ended with the previous
            // process.
            database.end_all_claims().await?;
            let keeper = Arc::new(DeadLettersInDatabase(dead_letters.clone()));
            let broker = Embedded::keeping_dead_letters(keeper)?;
            let keys = Keys::of(&config.clients);
            broker
                .bind_results(Queue::Callbacks, &keys.wanted, &[])
                .await?;
            let dead_letters = Arc::new(FromTable(dead_letters));
            Ok((database, Arc::new(broker), dead_letters))
        }
        Backend::Servers {
            database,
            connections,
            amqp,
        } => {
            let database = Store::mysql(database.clone(), *connections);
            let name = format!("payment-service {:?}", config.role).to_lowercase();
            let mut options = RabbitMqOptions::new(amqp.clone(), name)?;
            let keys = Keys::of(&config.clients);
            options.topology = options
                .topology
                .with_results(Queue::Callbacks, &keys.wanted);
            let broker: Arc<dyn Broker> = Arc::new(RabbitMq::new(options));
            let dead_letters = Arc::new(FromQueue::new(Arc::clone(&broker)));
            Ok((database, broker, dead_letters))
        }
    }
}
