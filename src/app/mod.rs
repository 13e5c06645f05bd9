//! Which tasks each role runs; starts, watches and stops them in order.

pub mod dead_letters;
mod gauges;
mod issuer;
mod minutes;
mod needs_person;
mod open_files;
mod parts;
mod processor_types;
mod processors_file;
pub mod requests;
mod serve;
mod tasks;
mod watch;

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rustix::net::sockopt;
use tokio::net::TcpListener;
use tokio::sync::watch as channel;
use tokio_util::sync::CancellationToken;

use crate::broker::Broker;
use crate::config::{Config, Role};
use crate::http::admin::live::Live;
use crate::http::admin::overview;
use crate::http::admin::sample::Sample;
use crate::http::{self, server};
use crate::relay::RelayTasks;
use crate::store::{Store, StoreError};
use crate::watchdog::pulse::{Pulse, Pulses};
use crate::watchdog::stages::Stages;
use crate::worker::WorkConsumers;
use gauges::Gauges;
use minutes::write_minutes;
use needs_person::count_cases;
use parts::Parts;
use serve::OptionalConsumer;
use tasks::Tasks;
use watch::{StoreWatch, bring_back, wake_waiters, watch_consumers, watch_stages};

/// What the system keeps of unread answers of an operator's connection, in bytes; it doubles the number for its own needs.
const UNREAD: usize = 64 * 1024;

/// Renders the metrics in Prometheus' text format.
pub type RenderMetrics = Arc<dyn Fn() -> String + Send + Sync>;

/// Why a process could not start, or had to end.
#[derive(Debug, thiserror::Error)]
pub enum AppError {
    /// The address is in use, or this machine does not have it.
    #[error("cannot listen on {address} ({variable}): {source}")]
    Listen {
        /// The address to listen on.
        address: SocketAddr,
        /// The variable that sets it.
        variable: &'static str,
        /// The system's error.
        source: io::Error,
    },
    /// Signal handlers cannot be installed.
    #[error("signals cannot be received: {0}")]
    Signals(io::Error),
    /// The embedded data cannot be used.
    #[error("the embedded data cannot be used: {0}")]
    Store(#[from] StoreError),
    /// The broker's options cannot be used.
    #[error(transparent)]
    Broker(#[from] crate::broker::BrokerError),
    /// TLS towards payment platforms cannot be set up.
    #[error("TLS cannot be used: {0}")]
    Tls(rustls::Error),
    /// The processors cannot be used as they are listed.
    #[error(transparent)]
    ProcessorTypes(#[from] processor_types::TypesRefused),
    /// A task that should run until shutdown has ended.
    #[error("the task `{0}` has ended")]
    TaskEnded(&'static str),
    /// The consumer was missing for too long although the broker was up.
    #[error("no consumer for {0:?} although the broker is reachable")]
    ConsumerMissing(Duration),
    /// Work was left when `SHUTDOWN_TIMEOUT` ran out; it will be delivered again.
    #[error("some work did not finish within {0:?}; it will be delivered again")]
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

impl App {
    /// Opens the store, starts connecting to the broker, and binds. The servers need not be up.
    pub async fn build(
        mut config: Config,
        render_metrics: RenderMetrics,
    ) -> Result<Self, AppError> {
        let api = match config.role {
            Role::All | Role::Api => Some(listen(config.listen_addr, "LISTEN_ADDR").await?),
            Role::Worker => None,
        };
        if let Some(Ok(address)) = api.as_ref().map(TcpListener::local_addr) {
            config.listen_on(address);
        }
        let (parts, relay_tasks) = Parts::make(&config).await?;
        let admin = match listen(config.admin_addr.0, "ADMIN_ADDR").await {
            Err(AppError::Listen { address, .. }) if config.admin_addr.1 => {
                listen(SocketAddr::new(address.ip(), 0), "ADMIN_ADDR").await?
            }
            bound => bound?,
        };
        limit_unread(&admin);
        Ok(Self {
            config,
            parts,
            relay_tasks,
            api,
            admin,
            render_metrics,
        })
    }

    /// The address of the REST API, if this role serves it.
    pub fn api_addr(&self) -> Option<SocketAddr> {
        self.api
            .as_ref()
            .and_then(|listener| listener.local_addr().ok())
    }

    /// The address of health and metrics.
    pub fn admin_addr(&self) -> Option<SocketAddr> {
        self.admin.local_addr().ok()
    }

    /// The broker, for a client in the same process (the demonstration).
    pub fn broker(&self) -> Arc<dyn Broker> {
        Arc::clone(&self.parts.broker)
    }

    /// The store, for an observer in the same process (the demonstration).
    pub fn database(&self) -> Store {
        self.parts.database.clone()
    }

    /// Serves until `stop`; then takes no new work, finishes and publishes the work under way, and closes.
    pub async fn run(self, stop: CancellationToken) -> Result<(), AppError> {
        let shutdown_timeout = self.config.shutdown_timeout;
        let broker = Arc::clone(&self.parts.broker);
        let database = self.parts.database.clone();
        let waiters = Arc::clone(&self.parts.waiters);
        let (mut tasks, to_the_end) = self.start(stop.clone());
        let failure = tokio::select! {
            biased;
            () = stop.cancelled() => None,
            failure = tasks.failure() => failure,
        };
        tracing::info!("stopping: finishing the work under way");
        stop.cancel();
        waiters.close();
        let orderly = async {
            broker.stop_consuming().await;
            tasks.taking_ended().await;
            to_the_end.cancel();
            tasks.background_ended().await;
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

    /// Starts what the role needs. The returned token stops the relay and the other tasks that run to the end.
    fn start(self, stop: CancellationToken) -> (Tasks, CancellationToken) {
        let Self {
            config,
            parts,
            relay_tasks,
            api,
            admin,
            render_metrics,
        } = self;
        let tasks = Tasks::new();
        // The relay runs until all work that was taken is finished.
        let to_the_end = CancellationToken::new();
        let takes = |role| config.role == role || config.role == Role::All;
        let orders = takes(Role::Api)
            .then(|| parts.orders(&config))
            .map(|it| (it.consume(), it));
        let worker = takes(Role::Worker)
            .then(|| parts.worker(&config))
            .map(|it| (it.consume(), it));
        let consumers: Vec<_> = orders
            .iter()
            .map(|(consumer, _)| consumer)
            .chain(
                worker
                    .iter()
                    .map(|(consumers, _)| &consumers.authorizations.tries),
            )
            .map(|consumer| consumer.registered.clone())
            .collect();
        let optional = worker.iter().flat_map(|(consumers, _)| optional(consumers));
        let optional: Vec<OptionalConsumer> = optional.collect();
        let callbacks = takes(Role::Worker)
            .then(|| parts.callbacks(&config))
            .map(|it| (it.consume(), it));
        let platform_events = match takes(Role::Worker) {
            true => parts.platform_events(&config),
            false => None,
        };
        let (watching, waking) = (Pulse::new("store"), Pulse::new("results"));
        let mut pulses = parts.commands.pulses();
        pulses.extend(relay_tasks.pulses());
        pulses.extend([watching.clone(), waking.clone()]);
        pulses.extend(orders.iter().map(|(_, orders)| orders.pulse.clone()));
        pulses.extend(worker.iter().map(|(_, worker)| worker.pulse.clone()));
        pulses.extend(platform_events.iter().map(|events| events.pulse.clone()));
        let pulses = Pulses::new(pulses, config.stuck_after);
        let commands = parts.commands.stages();
        let mut stages = relay_tasks.stages();
        stages.extend(orders.iter().map(|_| commands.accept.clone()));
        if let Some((_, callbacks)) = &callbacks {
            commands
                .authorize
                .allow(config.processor_timeout + Duration::from_secs(5));
            stages.extend([commands.authorize.clone(), commands.record.clone()]);
            stages.push(callbacks.stage());
        }
        stages.extend(platform_events.iter().map(|events| events.stage.clone()));
        let stages = Stages::new(stages);
        stages.measure();
        let (store_seen, store_state) = channel::channel(Err("not reached yet".to_owned()));

        tasks.keep("relay", relay_tasks.run(to_the_end.clone()));
        let database = parts.database.clone();
        let watch = StoreWatch {
            database: database.clone(),
            role: config.role,
            state: store_seen,
            pulse: watching,
            stages: stages.clone(),
        };
        tasks.keep("store", watch.run(to_the_end.clone()));
        tasks.keep("stages", watch_stages(stages.clone(), stop.clone()));
        let minutes = write_minutes(
            Arc::clone(&render_metrics),
            parts.database.clone(),
            to_the_end.clone(),
        );
        tasks.keep("minutes", minutes);
        let cases = (parts.database.clone(), parts.processors.clone());
        tasks.keep("needs_person", count_cases(cases, to_the_end.clone()));
        tasks.keep(
            "clocks",
            bring_back(database, config.horizons(), stop.clone()),
        );
        // A process is ready without its callback consumer, but the consumer must not stay missing.
        let callback_consumer = callbacks
            .iter()
            .map(|(consumer, _)| consumer.registered.clone());
        tasks.watch(watch_consumers(
            parts.broker.connection(),
            consumers.iter().cloned().chain(callback_consumer).collect(),
            stop.clone(),
        ));
        for vital in parts.vitals() {
            tasks.watch_vital(vital, to_the_end.clone());
        }
        let health = serve::health(
            &parts,
            config.role,
            store_state.clone(),
            (consumers, optional),
            (pulses, stages.clone(), stop.clone()),
        );
        let gauges = Gauges {
            health: health.clone(),
            store: store_state,
            broker: parts.broker.connection(),
            database: parts.database.clone(),
            processors: (config.role != Role::Api).then(|| parts.processors.clone()),
        };
        gauges.update();
        tasks.keep("gauges", gauges.run(to_the_end.clone()));
        let told = health.clone().with_stages(stages.clone());
        let address = admin.local_addr().unwrap_or(config.admin_addr.0);
        let admin_limits = serve::admin_limits(&config);
        let live = Live::new(stop.clone(), serve::streams(&admin_limits));
        let shown = (health.clone(), stages.clone(), live.clone());
        let pages = http::admin::routes(serve::admin(&parts, &config, address, shown));
        let (database, clients) = (parts.database.clone(), config.clients.clone());
        let sample = move || Sample::new(database.clone(), clients.clone());
        tasks.take(
            "live",
            live.run(sample, overview::renders(health.clone(), stages)),
        );
        if let Some(listener) = api {
            let limits = serve::api_limits(&config, &admin_limits);
            let operators_page = serve::is_open(&parts, &config, address).then_some(address);
            let held = (limits.connections, operators_page);
            let router = http::router(serve::api(&parts, &config, health, held));
            tasks.take(
                "http",
                server::serve(listener, router, limits, stop.clone()),
            );
            let servers = (Arc::clone(&parts.broker), parts.database.clone());
            let waiters = Arc::clone(&parts.waiters);
            tasks.take(
                "results",
                wake_waiters(servers, waiters, (waking, stop.clone())),
            );
        }
        tasks.take("clients", config.clients.watch(stop.clone()));
        let processors = processors_file::Watch {
            settings: config.processors.clone(),
            makers: parts.makers.clone(),
            processors: parts.processors.clone(),
            database: parts.database.clone(),
        };
        tasks.take("processors", processors.run(stop.clone()));
        if let Some(operators) = config.admin.operators {
            tasks.take("operators", operators.watch(stop.clone()));
        }
        if let Some((consumer, orders)) = orders {
            tasks.take("orders", orders.run(consumer, stop.clone()));
        }
        if let Some((consumer, callbacks)) = callbacks {
            tasks.take("callbacks", callbacks.run(consumer, stop.clone()));
        }
        if let Some(events) = platform_events {
            tasks.take("platform events", events.run(stop.clone()));
        }
        if let Some((consumers, worker)) = worker {
            tasks.take("worker", worker.run(consumers, stop));
        }
        // Last, so that the first answer of `/metrics` has the series of all tasks.
        let router = http::admin_router(told, render_metrics, pages);
        tasks.keep(
            "admin",
            server::serve(admin, router, admin_limits, to_the_end.clone()),
        );
        (tasks, to_the_end)
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

/// Bounds what the system keeps of answers that their reader does not read, for each connection of the listener: an event
/// stream of a page that stands still would otherwise fill megabytes before it is ended.
fn limit_unread(listener: &TcpListener) {
    if let Err(error) = sockopt::set_socket_send_buffer_size(listener, UNREAD) {
        tracing::debug!(%error, "the send buffer could not be limited");
    }
}

/// The consumers without which a worker works in part.
fn optional(consumers: &WorkConsumers) -> impl Iterator<Item = OptionalConsumer> {
    let groups = consumers.authorizations.groups.as_ref().map(|groups| {
        let sentence = "payments.work-groups is not consumed: every try travels alone";
        (sentence, groups.registered.clone())
    });
    let operations = &consumers.operations.tries;
    let sentence = "payments.operations is not consumed: captures, voids and refunds wait";
    groups
        .into_iter()
        .chain([(sentence, operations.registered.clone())])
}
