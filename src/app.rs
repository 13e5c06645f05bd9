//! Which tasks each role runs; starts them, watches them, stops them in order.

mod serve;

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::accept::Acceptor;
use crate::broker::embedded::Embedded;
use crate::broker::rabbitmq::{RabbitMq, RabbitMqOptions};
use crate::broker::{Broker, Connection};
use crate::card_seal::SealKeys;
use crate::config::{Backend, Config, IssuerSettings, Role};
use crate::domain::PaymentId;
use crate::http::wait::Waiters;
use crate::messages::order::OrderReader;
use crate::messages::orders::Orders;
use crate::messages::result::PAYMENT_ID_HEADER;
use crate::processor::Processor;
use crate::processor::simulated::{Latency, Ledger, Options, SimulatedIssuer};
use crate::relay::{Relay, RelayTasks, relay};
use crate::store::batch::Limits;
use crate::store::commands::Commands;
use crate::store::mysql::MySql;
use crate::store::sqlite::Sqlite;
use crate::store::{Database, StoreError};
use crate::worker::{Authorizer, Worker};

/// Renders the metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Why a process could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// An address is taken or not ours.
    #[error("cannot listen on {address} ({variable}): {source}")]
    Listen {
        /// What was to be listened on.
        address: SocketAddr,
        /// The variable that says so.
        variable: &'static str,
        /// What the system said.
        source: io::Error,
    },
    /// The embedded data cannot be used.
    #[error("the embedded data cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The broker's options cannot be used.
    #[error(transparent)]
    Broker(#[from] crate::broker::BrokerError),
    /// A task that should run for ever has ended.
    #[error("the task `{0}` has ended")]
    TaskEnded(&'static str),
    /// The consumer was away for long although the broker was there.
    #[error("no consumer for {0:?} although the broker can be reached")]
    ConsumerMissing(Duration),
    /// Work was left when `SHUTDOWN_TIMEOUT` was over; it will be delivered again.
    #[error("not everything in hand was finished within {0:?}; the rest will be delivered again")]
    NotFinished(Duration),
}

/// A process of this service, connected and bound, ready to run.
pub struct App {
    config: Config,
    parts: Parts,
    relay_tasks: RelayTasks,
    api: Option<TcpListener>,
    admin: TcpListener,
    render_metrics: RenderMetrics,
}

/// What the tasks share.
struct Parts {
    database: Arc<dyn Database>,
    broker: Arc<dyn Broker>,
    commands: Commands,
    acceptor: Arc<Acceptor>,
    processor: Arc<dyn Processor>,
    seal: Arc<SealKeys>,
    relay: Relay,
    waiters: Arc<Waiters>,
}

/// A consumer that is away for this long although the broker is there ends the process.
const CONSUMER_MISSING: Duration = Duration::from_secs(30);

impl App {
    /// Opens the store, starts connecting to the broker, and binds. Servers need not be up.
    pub async fn build(config: Config, render_metrics: RenderMetrics) -> Result<Self, AppError> {
        let (database, broker) = backend(&config).await?;
        let api = match config.role {
            Role::All | Role::Api => Some(listen(config.listen_addr, "LISTEN_ADDR").await?),
            Role::Worker => None,
        };
        let admin = match listen(config.admin_addr.0, "ADMIN_ADDR").await {
            Err(AppError::Listen { address, .. }) if config.admin_addr.1 => {
                listen(SocketAddr::new(address.ip(), 0), "ADMIN_ADDR").await?
            }
            bound => bound?,
        };
        let commands = Commands::new(Arc::clone(&database), config.ids, config.leases);
        let (relay, relay_tasks) = relay(
            Arc::clone(&broker),
            Arc::clone(&database),
            commands.clone(),
            config.relay,
        );
        let processor = simulated_issuer(config.issuer, &database);
        let seal = Arc::new(config.seal_keys.clone());
        let acceptor = Arc::new(Acceptor {
            commands: commands.clone(),
            database: Arc::clone(&database),
            seal: Arc::clone(&seal),
            processor: Arc::clone(&processor),
            relay: relay.clone(),
        });
        let waiters = Waiters::new(10_000);
        let parts = Parts {
            database,
            broker,
            commands,
            acceptor,
            processor,
            seal,
            relay,
            waiters,
        };
        Ok(Self {
            config,
            parts,
            relay_tasks,
            api,
            admin,
            render_metrics,
        })
    }

    /// Where REST is served, if this role serves it.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// Where health and metrics are served.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.local_addr().ok()
    }

    /// The broker, for a client in the same process (the demonstration).
    pub fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.parts.broker)
    }

    /// The store, for an observer in the same process (the demonstration).
    pub fn database(&self) -> Arc<dyn Database> {
        Arc::clone(&self.parts.database)
    }

    /// Serves until `stop`; then stops taking, finishes what is in hand, publishes it, and closes.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let shutdown_timeout = self.config.shutdown_timeout;
        let broker = Arc::clone(&self.parts.broker);
        let database = Arc::clone(&self.parts.database);
        let waiters = Arc::clone(&self.parts.waiters);
        let (mut tasks, relaying) = self.start(stop.clone());
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            failure = tasks.failures.recv() => failure,
        };
        tracing::info!("stopping: finishing what is in hand");
        stop.cancel();
        waiters.close();
        let orderly = async {
            broker.stop_consuming().await;
            tasks.taking.close();
            tasks.taking.wait().await;
            relaying.cancel();
            tasks.background.close();
            tasks.background.wait().await;
            broker.close().await;
            database.close().await;
        };
        let finished = tokio::time::timeout(shutdown_timeout, orderly).await;
        match (failure, finished) {
            (Some(failure), _) => Err(failure),
            (None, Err(_)) => Err(AppError::NotFinished(shutdown_timeout)),
            (None, Ok(())) => Ok(()),
        }
    }

    fn start(self, stop: CancellationToken) -> (Tasks, CancellationToken) {
        let Self {
            config,
            parts,
            relay_tasks,
            api,
            admin,
            render_metrics,
        } = self;
        let (tasks, failed) = Tasks::new();
        // The relay goes on until everything that was taken is finished.
        let relaying = CancellationToken::new();
        let (work_registered, work_consumer) = watch::channel(config.role == Role::Api);
        let (orders_registered, orders_consumer) = watch::channel(config.role == Role::Worker);
        let (store_ready, store_state) = watch::channel(Err("not reached yet".to_owned()));
        let start = |tracker: &TaskTracker, name, task| spawn(tracker, name, failed.clone(), task);

        start(
            &tasks.background,
            "relay",
            Box::pin(relay_tasks.run(relaying.clone())),
        );
        start(
            &tasks.background,
            "store watch",
            Box::pin(watch_store(
                Arc::clone(&parts.database),
                config.role,
                store_ready,
                relaying.clone(),
            )),
        );
        let consumers = vec![work_consumer, orders_consumer];
        let missing = watch_consumers(parts.broker.connection(), consumers.clone(), stop.clone());
        let failures = failed.clone();
        tasks.background.spawn(async move {
            if missing.await {
                let _ = failures.send(AppError::ConsumerMissing(CONSUMER_MISSING));
            }
        });
        let health = serve::health(&parts, config.role, store_state, consumers, stop.clone());
        let admin_router = crate::http::admin_router(health.clone(), render_metrics);
        start(
            &tasks.background,
            "admin",
            Box::pin(serve::serve(admin, admin_router, relaying.clone())),
        );

        if let Some(listener) = api {
            let router = crate::http::router(serve::api(&parts, &config, health));
            start(
                &tasks.taking,
                "http",
                Box::pin(serve::serve(listener, router, stop.clone())),
            );
            let results = wake_waiters(
                Arc::clone(&parts.broker),
                Arc::clone(&parts.waiters),
                stop.clone(),
            );
            start(&tasks.taking, "results", Box::pin(results));
            let clients = config.clients.clone().watch(stop.clone());
            start(&tasks.taking, "clients", Box::pin(clients));
            let orders = orders(&parts, &config);
            start(
                &tasks.taking,
                "orders",
                Box::pin(orders.run(stop.clone(), orders_registered)),
            );
        }
        if matches!(config.role, Role::All | Role::Worker) {
            let worker = worker(&parts, &config);
            start(
                &tasks.taking,
                "worker",
                Box::pin(worker.run(stop, work_registered)),
            );
        }
        (tasks, relaying)
    }
}

/// The tasks of a process.
struct Tasks {
    /// Those that take work; the first to end.
    taking: TaskTracker,
    /// Those that go on until nothing is left.
    background: TaskTracker,
    /// Tasks that ended by themselves.
    failures: mpsc::UnboundedReceiver<AppError>,
}

impl Tasks {
    fn new() -> (Self, mpsc::UnboundedSender<AppError>) {
        let (failed, failures) = mpsc::unbounded_channel();
        (
            Self {
                taking: TaskTracker::new(),
                background: TaskTracker::new(),
                failures,
            },
            failed,
        )
    }
}

type Task = std::pin::Pin<Box<dyn Future<Output = ()> + Send>>;

/// A task that ends before it was told to, by a panic or otherwise, ends the process.
fn spawn(
    tracker: &TaskTracker,
    name: &'static str,
    failed: mpsc::UnboundedSender<AppError>,
    task: Task,
) {
    let running = tokio::spawn(task);
    tracker.spawn(async move {
        if let Err(error) = running.await {
            tracing::error!(task = name, %error, "a task has panicked");
        }
        // After a stop nobody reads this any more.
        let _ = failed.send(AppError::TaskEnded(name));
    });
}

async fn backend(config: &Config) -> Result<(Arc<dyn Database>, Arc<dyn Broker>), AppError> {
    match &config.backend {
        Backend::Embedded { data_dir } => {
            let database = Sqlite::open(&data_dir.join("payments.db"))?;
            database.migrate().await?;
            // One process at a time: what was under way has died with the last one, and its messages with it.
            database.end_all_claims().await?;
            let database = Arc::new(database);
            let broker = Embedded::keeping_dead_letters(Arc::clone(&database) as _)?;
            Ok((database, Arc::new(broker)))
        }
        Backend::Servers {
            database,
            connections,
            amqp,
        } => {
            let database = MySql::connect(database.clone(), *connections)?;
            let name = format!("payment-service {:?}", config.role).to_lowercase();
            let broker = RabbitMq::new(RabbitMqOptions::new(amqp.clone(), name)?);
            Ok((Arc::new(database), Arc::new(broker)))
        }
    }
}

async fn listen(address: SocketAddr, variable: &'static str) -> Result<TcpListener, AppError> {
    TcpListener::bind(address)
        .await
        .map_err(|source| AppError::Listen {
            address,
            variable,
            source,
        })
}

fn simulated_issuer(settings: IssuerSettings, database: &Arc<dyn Database>) -> Arc<dyn Processor> {
    let options = Options {
        latency: Latency {
            mean: settings.latency,
            seed: settings.seed,
        },
        today: || time::OffsetDateTime::now_utc().date(),
    };
    let ledger = settings
        .ledger
        .then(|| Ledger::spawn(Arc::clone(database), Limits::default()));
    Arc::new(SimulatedIssuer::new(options, ledger))
}

fn orders(parts: &Parts, config: &Config) -> Orders {
    Orders {
        broker: Arc::clone(&parts.broker),
        reader: OrderReader {
            clients: config.clients.clone(),
            default_client: config.default_client.clone(),
            default_currency: config.default_currency,
            seal: Arc::clone(&parts.seal),
        },
        acceptor: Arc::clone(&parts.acceptor),
        commands: parts.commands.clone(),
        relay: parts.relay.clone(),
    }
}

fn worker(parts: &Parts, config: &Config) -> Worker {
    Worker {
        broker: Arc::clone(&parts.broker),
        commands: parts.commands.clone(),
        authorizer: Authorizer {
            processor: Arc::clone(&parts.processor),
            seal: Arc::clone(&parts.seal),
            schedule: config.retry,
            timeout: config.processor_timeout,
        },
        relay: parts.relay.clone(),
        permits: config.worker_concurrency,
    }
}

/// Looks at the store again and again; the first to reach it in the role that does everything brings it up to date.
async fn watch_store(
    database: Arc<dyn Database>,
    role: Role,
    state: watch::Sender<Result<(), String>>,
    stop: CancellationToken,
) {
    let mut migrated = role != Role::All;
    loop {
        let mut seen = if migrated {
            Ok(())
        } else {
            database.migrate().await
        };
        if seen.is_ok() {
            migrated = true;
            seen = database.check().await;
        }
        let seen = seen.map_err(|error| error.to_string());
        let changed = *state.borrow() != seen;
        if changed {
            match &seen {
                Ok(()) => tracing::info!("the database can be used"),
                Err(reason) => tracing::warn!(reason, "the database cannot be used; trying again"),
            }
            let _previous = state.send_replace(seen);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// True when some consumer was away for too long while the broker was there; false at the stop.
async fn watch_consumers(
    connection: watch::Receiver<Connection>,
    consumers: Vec<watch::Receiver<bool>>,
    stop: CancellationToken,
) -> bool {
    let mut missing_since = None;
    loop {
        let all_there = consumers.iter().all(|registered| *registered.borrow());
        let up = matches!(*connection.borrow(), Connection::Up);
        if all_there || !up {
            missing_since = None;
        } else if missing_since
            .get_or_insert_with(tokio::time::Instant::now)
            .elapsed()
            > CONSUMER_MISSING
        {
            return true;
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return false,
        }
    }
}

/// Results wake the requests that wait here. What was missed while the consumer was away is read again.
async fn wake_waiters(broker: Arc<dyn Broker>, waiters: Arc<Waiters>, stop: CancellationToken) {
    let mut consumer = broker.subscribe_results(&["payment.#"]);
    loop {
        tokio::select! {
            biased;
            () = stop.cancelled() => return,
            changed = consumer.registered.changed() => match changed {
                Ok(()) => waiters.wake_all(),
                Err(_) => return,
            },
            delivery = consumer.deliveries.recv() => {
                let Some(delivery) = delivery else { return };
                let id = delivery.properties.headers.get(PAYMENT_ID_HEADER).and_then(|id| id.parse().ok());
                if let Some(id) = id {
                    waiters.wake(PaymentId(id));
                }
                delivery.settle.acknowledge().await;
            }
        }
    }
}
