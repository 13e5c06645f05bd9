//! The real application in the test's own process: its own database and virtual host (or folder), free ports, short
//! intervals. [`on_both`] runs one test embedded and on servers.

mod api;
mod caller;
mod setup;

pub use api::{Answer, Api, becomes, card, eventually, eventually_within, field};
pub use caller::{Heard, Order, Results};
pub use setup::{Backend, KIOSK, RABBITMQ_USER, STORE, Setup, clients_file};

use setup::Fixture;

use std::future::Future;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payment_service::app::{App, AppError};
use payment_service::broker::{Broker, Queue};
use payment_service::config::{Config, Role};
use payment_service::domain::PaymentId;
use payment_service::store::{Store, rows::LedgerEntry};
use payment_service::wire::methods::Methods;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::process::Settings;

/// Where [`on_both`] runs a test: on current servers only there, because the embedded service is the same as with older ones.
pub fn backends() -> Vec<Backend> {
    match std::env::var("TEST_SERVERS") {
        Ok(servers) if servers == "new" => vec![Backend::Servers],
        _ => vec![Backend::Embedded, Backend::Servers],
    }
}

/// Runs the same test embedded and on servers, at the same time; each ends with [`TestApp::finish`].
pub async fn on_both<F, T>(setup: Setup, test: F)
where
    F: Fn(Arc<TestApp>) -> T + Copy + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let runs = backends().into_iter().map(|backend| {
        let setup = setup.clone();
        let run = tokio::spawn(run_on(setup, backend, test));
        (backend, run)
    });
    // All begin before the first is waited for.
    let runs: Vec<_> = runs.collect();
    let mut failed = Vec::new();
    for (backend, run) in runs {
        if run.await.is_err() {
            failed.push(backend);
        }
    }
    assert!(failed.is_empty(), "it failed on {failed:?}, see above");
}

/// Runs a test on only one of them.
pub async fn run_on<F, T>(setup: Setup, backend: Backend, test: F)
where
    F: Fn(Arc<TestApp>) -> T,
    T: Future<Output = ()>,
{
    let app = Arc::new(setup.start(backend).await);
    test(Arc::clone(&app)).await;
    app.finish().await;
}

/// The running service, with access to its store and broker.
pub struct TestApp {
    /// Its REST interface.
    pub api: Api,
    /// The operators' address.
    pub admin: Api,
    pub broker: Arc<dyn Broker>,
    pub database: Store,
    instances: Mutex<Vec<Instance>>,
    /// A connection like that of a calling application.
    lapin: tokio::sync::OnceCell<lapin::Connection>,
    fixture: Fixture,
    variables: Vec<(&'static str, String)>,
    methods: Methods,
    folder: TempDir,
}

impl TestApp {
    pub fn backend(&self) -> Backend {
        match self.fixture {
            Fixture::Embedded => Backend::Embedded,
            Fixture::Servers(..) => Backend::Servers,
        }
    }

    /// A second instance on the same servers, like another process.
    pub async fn another(&self, role: Role) -> Api {
        assert_eq!(self.backend(), Backend::Servers);
        let instance = Instance::start(role, &self.variables, &self.methods).await;
        let api = instance.api.clone();
        self.instances.lock().unwrap().push(instance);
        api
    }

    /// What a process of its own on the same servers is started with.
    pub fn settings(&self) -> Settings {
        let variables = self.variables.iter();
        variables.fold(Settings::default(), |settings, (name, value)| {
            settings.with(name, value)
        })
    }

    /// What the issuer has charged and reversed for a payment.
    pub async fn ledger(&self, id: i64) -> Vec<LedgerEntry> {
        self.database.ledger(PaymentId(id)).await.unwrap()
    }

    /// Charges that stand, over all attempts.
    pub async fn standing_charges(&self, id: i64) -> usize {
        let stands =
            |entry: &LedgerEntry| entry.charged_at.is_some() && entry.reversed_at.is_none();
        self.ledger(id).await.iter().filter(|it| stands(it)).count()
    }

    /// Runs a statement directly on the database, not through the service.
    pub async fn execute(&self, sql: &str) -> u64 {
        use sqlx::Connection;
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.fixture {
            Fixture::Embedded => {
                let file = self.folder.path().join("payments.db");
                let url = format!("sqlite://{}", file.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                done.rows_affected()
            }
            Fixture::Servers(url, _) => {
                let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                done.rows_affected()
            }
        }
    }

    /// Makes all card tokens older than they are.
    pub async fn expire_tokens(&self) {
        let sql = match self.backend() {
            Backend::Embedded => "UPDATE card_tokens SET expires_at = '2020-01-01 00:00:00.000000'",
            Backend::Servers => "UPDATE card_tokens SET expires_at = '2020-01-01'",
        };
        assert!(self.execute(sql).await > 0);
    }

    /// The folder of its files.
    pub fn folder(&self) -> &std::path::Path {
        self.folder.path()
    }

    pub fn amqp_url(&self) -> &str {
        match &self.fixture {
            Fixture::Embedded => panic!("the embedded broker has no URL"),
            Fixture::Servers(_, amqp) => amqp,
        }
    }

    /// Waits until no work is left.
    pub async fn until_settled(&self) {
        let (broker, database) = (&self.broker, &self.database);
        eventually("the outbox and the queues are empty", || async {
            let outbox = database.outbox_depth().await.unwrap().total;
            let tries = broker.depth(Queue::Work).await.unwrap();
            let work = tries + broker.depth(Queue::WorkGroups).await.unwrap();
            let requests = broker.depth(Queue::Requests).await.unwrap();
            let callbacks = broker.depth(Queue::Callbacks).await.unwrap();
            let operations = broker.depth(Queue::Operations).await.unwrap();
            (outbox, work, requests, callbacks, operations) == (0, 0, 0, 0, 0)
        })
        .await;
    }

    /// Stops the service, and fails if any message or row is left.
    pub async fn finish(&self) {
        self.until_settled().await;
        let instances = std::mem::take(&mut *self.instances.lock().unwrap());
        for instance in instances {
            instance.stop().await;
        }
        if let Fixture::Servers(..) = self.fixture {
            self.nothing_unacknowledged().await;
        }
    }

    /// Without consumers, unacknowledged messages are waiting again.
    async fn nothing_unacknowledged(&self) {
        use lapin::options::QueueDeclareOptions;
        let channel = self.lapin().await.create_channel().await.unwrap();
        let queues = [
            Queue::Work,
            Queue::WorkGroups,
            Queue::Operations,
            Queue::Requests,
            Queue::Callbacks,
        ];
        for queue in queues {
            let passive = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            let state = channel
                .queue_declare(queue.name().into(), passive, Default::default())
                .await
                .unwrap();
            assert_eq!(state.message_count(), 0, "left in {}", queue.name());
        }
    }

    pub async fn lapin(&self) -> &lapin::Connection {
        let connect = || async {
            let properties = lapin::ConnectionProperties::default();
            lapin::Connection::connect(self.amqp_url(), properties)
                .await
                .unwrap()
        };
        self.lapin.get_or_init(connect).await
    }
}

/// One instance, like a separate process.
struct Instance {
    api: Api,
    admin: Api,
    broker: Arc<dyn Broker>,
    database: Store,
    stop: CancellationToken,
    running: JoinHandle<Result<(), AppError>>,
}

impl Instance {
    async fn start(role: Role, variables: &[(&'static str, String)], methods: &Methods) -> Self {
        let variable = |name: &str| {
            let found = variables.iter().rev().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        };
        let config = Config::load_with(role, &variable, methods.clone())
            .unwrap_or_else(|faults| panic!("a wrong configuration: {faults:?}"));
        let app = App::build(config, Arc::new(String::new)).await.unwrap();
        let admin = Api::new(app.admin_addr().unwrap());
        let api = app.api_addr().map_or_else(|| admin.clone(), Api::new);
        let (broker, database) = (app.broker(), app.database());
        let stop = CancellationToken::new();
        let running = tokio::spawn(app.run(stop.clone()));
        eventually("the service is ready", || async {
            let answer = admin.get("/health/ready").await;
            answer.body["status"] == "ready"
        })
        .await;
        Self {
            api,
            admin: admin.beyond_the_description(),
            broker,
            database,
            stop,
            running,
        }
    }

    async fn stop(self) {
        self.stop.cancel();
        let ended = tokio::time::timeout(Duration::from_secs(20), self.running).await;
        ended
            .expect("it stops in time")
            .expect("it does not panic")
            .expect("it stops in order");
    }
}

impl Drop for TestApp {
    fn drop(&mut self) {
        for instance in self.instances.lock().unwrap().iter() {
            instance.stop.cancel();
        }
    }
}
