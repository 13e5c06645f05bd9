//! The real application in the test's own process: its own database and virtual host (or folder), free ports, short
//! intervals. [`on_both`] runs one test embedded and on servers.

mod api;
mod caller;

pub use api::{Answer, Api, card, eventually, field};
pub use caller::{Heard, Order, Results};

use std::future::Future;
use std::path::Path;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use payment_service::app::{App, AppError};
use payment_service::broker::{Broker, Queue};
use payment_service::config::{Config, Role};
use payment_service::domain::PaymentId;
use payment_service::store::mysql::{MySql, parse_url};
use payment_service::store::{Database, rows::LedgerEntry};
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::support::process::SEAL_KEYS;
use crate::support::servers::{AmqpUrl, DatabaseUrl, fresh_servers};

/// Where the data and the messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Servers,
}

/// What a test wants otherwise than usual.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    variables: Vec<(&'static str, String)>,
    clients: bool,
    without_worker: bool,
}

/// Two clients; the first one logs in to RabbitMQ as the tests do.
pub const STORE: (&str, &str) = ("store-manager", "key-of-store-manager");
pub const KIOSK: (&str, &str) = ("kiosk", "key-of-kiosk");
/// Whom RabbitMQ knows.
pub const RABBITMQ_USER: &str = "guest";

impl Setup {
    pub fn new() -> Self {
        Self::default()
    }

    pub fn with(mut self, name: &'static str, value: &str) -> Self {
        self.variables.push((name, value.to_owned()));
        self
    }

    /// With [`STORE`] and [`KIOSK`] as clients, instead of the one client that needs no key.
    pub fn with_clients(mut self) -> Self {
        self.clients = true;
        self
    }

    /// On servers: an api alone.
    pub fn without_worker(mut self) -> Self {
        self.without_worker = true;
        self
    }

    fn variables(mut self, place: &Place, folder: &Path) -> Vec<(&'static str, String)> {
        let mut variables: Vec<(&'static str, String)> = [
            ("LISTEN_ADDR", "127.0.0.1:0"),
            ("ADMIN_ADDR", "127.0.0.1:0"),
            ("SEAL_KEYS", SEAL_KEYS),
            ("ISSUER_LATENCY", "5ms"),
            ("PROCESSOR_TIMEOUT", "300ms"),
            ("RETRY_INITIAL", "50ms"),
            ("RETRY_MAX_INTERVAL", "200ms"),
            ("MAX_TRIES", "3"),
            ("SWEEP_EVERY", "50ms"),
            ("CHECK_EVERY", "200ms"),
            ("OUTBOX_LEASE", "1s"),
            ("DATABASE_CONNECTIONS", "6"),
        ]
        .map(|(name, value)| (name, value.to_owned()))
        .to_vec();
        match place {
            Place::Embedded => variables.push(("DATA_DIR", folder.display().to_string())),
            Place::Servers(database, amqp) => {
                variables.push(("DATABASE_URL", database.to_string()));
                variables.push(("AMQP_URL", amqp.to_string()));
            }
        }
        if self.clients {
            variables.push(("CLIENTS_FILE", clients_file(folder)));
        }
        // What the test says comes last and counts.
        variables.append(&mut self.variables);
        variables
    }

    /// Starts the whole service and waits until it is ready.
    pub async fn start(self, backend: Backend) -> TestApp {
        let folder = tempfile::tempdir().unwrap();
        let place = match backend {
            Backend::Embedded => Place::Embedded,
            Backend::Servers => {
                let (database, amqp) = fresh_servers().await.unwrap();
                Place::Servers(database, amqp)
            }
        };
        let variables = self.clone().variables(&place, folder.path());
        let role = match &place {
            Place::Servers(database, _) if self.without_worker => {
                migrate(database).await;
                Role::Api
            }
            _ => Role::All,
        };
        let first = Instance::start(role, &variables).await;
        TestApp {
            api: first.api.clone(),
            broker: Arc::clone(&first.broker),
            database: Arc::clone(&first.database),
            instances: Mutex::new(vec![first]),
            lapin: tokio::sync::OnceCell::new(),
            place,
            variables,
            folder,
        }
    }
}

/// Runs the same test embedded and on servers, at the same time; each ends with [`TestApp::finish`].
pub async fn on_both<F, T>(setup: Setup, test: F)
where
    F: Fn(Arc<TestApp>) -> T + Copy + Send + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let runs = [Backend::Embedded, Backend::Servers].map(|backend| {
        let setup = setup.clone();
        let run = tokio::spawn(run_on(setup, backend, test));
        (backend, run)
    });
    let mut failed = Vec::new();
    for (backend, run) in runs {
        if run.await.is_err() {
            failed.push(backend);
        }
    }
    assert!(failed.is_empty(), "it failed on {failed:?}, see above");
}

/// Runs a test that makes sense on one of them alone.
pub async fn run_on<F, T>(setup: Setup, backend: Backend, test: F)
where
    F: Fn(Arc<TestApp>) -> T,
    T: Future<Output = ()>,
{
    let app = Arc::new(setup.start(backend).await);
    test(Arc::clone(&app)).await;
    app.finish().await;
}

enum Place {
    Embedded,
    Servers(DatabaseUrl, AmqpUrl),
}

/// The running service, seen from outside, with an eye on its inside.
pub struct TestApp {
    /// Its REST interface.
    pub api: Api,
    pub broker: Arc<dyn Broker>,
    pub database: Arc<dyn Database>,
    instances: Mutex<Vec<Instance>>,
    /// A connection as a calling application has one.
    lapin: tokio::sync::OnceCell<lapin::Connection>,
    place: Place,
    variables: Vec<(&'static str, String)>,
    folder: TempDir,
}

impl TestApp {
    pub fn backend(&self) -> Backend {
        match self.place {
            Place::Embedded => Backend::Embedded,
            Place::Servers(..) => Backend::Servers,
        }
    }

    /// Another process, as it were, on the same servers.
    pub async fn another(&self, role: Role) -> Api {
        assert_eq!(self.backend(), Backend::Servers);
        let instance = Instance::start(role, &self.variables).await;
        let api = instance.api.clone();
        self.instances.lock().unwrap().push(instance);
        api
    }

    /// What the issuer has charged and taken back for a payment.
    pub async fn ledger(&self, id: i64) -> Vec<LedgerEntry> {
        self.database.ledger(PaymentId(id)).await.unwrap()
    }

    /// Charges that stand, over all attempts.
    pub async fn standing_charges(&self, id: i64) -> usize {
        let stands =
            |entry: &LedgerEntry| entry.charged_at.is_some() && entry.reversed_at.is_none();
        self.ledger(id).await.iter().filter(|it| stands(it)).count()
    }

    /// Runs a statement behind the service's back.
    pub async fn execute(&self, sql: &str) -> u64 {
        use sqlx::Connection;
        let sql = sqlx::AssertSqlSafe(sql.to_owned());
        match &self.place {
            Place::Embedded => {
                let file = self.folder.path().join("payments.db");
                let url = format!("sqlite://{}", file.display());
                let mut connection = sqlx::SqliteConnection::connect(&url).await.unwrap();
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                done.rows_affected()
            }
            Place::Servers(url, _) => {
                let mut connection = sqlx::MySqlConnection::connect(url).await.unwrap();
                let done = sqlx::query(sql).execute(&mut connection).await.unwrap();
                done.rows_affected()
            }
        }
    }

    /// As if all card tokens were older than they are.
    pub async fn expire_tokens(&self) {
        let sql = match self.backend() {
            Backend::Embedded => "UPDATE card_tokens SET expires_at = '2020-01-01 00:00:00.000000'",
            Backend::Servers => "UPDATE card_tokens SET expires_at = '2020-01-01'",
        };
        assert!(self.execute(sql).await > 0);
    }

    pub fn amqp_url(&self) -> &str {
        match &self.place {
            Place::Embedded => panic!("the embedded broker has no URL"),
            Place::Servers(_, amqp) => amqp,
        }
    }

    /// Waits until no work is left.
    pub async fn until_settled(&self) {
        let (broker, database) = (&self.broker, &self.database);
        eventually("the outbox and the queues are empty", || async {
            let outbox = database.outbox_depth().await.unwrap().total;
            let work = broker.depth(Queue::Work).await.unwrap();
            let requests = broker.depth(Queue::Requests).await.unwrap();
            (outbox, work, requests) == (0, 0, 0)
        })
        .await;
    }

    /// Stops in order, and fails if anything is left behind.
    pub async fn finish(&self) {
        self.until_settled().await;
        let instances = std::mem::take(&mut *self.instances.lock().unwrap());
        for instance in instances {
            instance.stop().await;
        }
        if let Place::Servers(..) = self.place {
            self.nothing_unacknowledged().await;
        }
    }

    /// With all consumers gone, a message that was not acknowledged waits again.
    async fn nothing_unacknowledged(&self) {
        use lapin::options::QueueDeclareOptions;
        let channel = self.lapin().await.create_channel().await.unwrap();
        for queue in [Queue::Work, Queue::Requests] {
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

/// One process, as it were.
struct Instance {
    api: Api,
    broker: Arc<dyn Broker>,
    database: Arc<dyn Database>,
    stop: CancellationToken,
    running: JoinHandle<Result<(), AppError>>,
}

impl Instance {
    async fn start(role: Role, variables: &[(&'static str, String)]) -> Self {
        let variable = |name: &str| {
            let found = variables.iter().rev().find(|(known, _)| *known == name);
            found.map(|(_, value)| value.clone())
        };
        let config = Config::load(role, &variable)
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

/// What `payment-service setup` does to the database.
async fn migrate(url: &str) {
    let database = MySql::connect(parse_url(url).unwrap(), 4).unwrap();
    database.migrate().await.unwrap();
    database.close().await;
}

fn clients_file(folder: &Path) -> String {
    use sha2::{Digest, Sha256};
    let client = |(name, key): (&str, &str), user: &str| {
        let digest = hex::encode(Sha256::digest(key.as_bytes()));
        serde_json::json!({ "name": name, "api_key_sha256": [digest], "rabbitmq_user": user })
    };
    let clients = serde_json::json!({
        "clients": [client(STORE, RABBITMQ_USER), client(KIOSK, "kiosk")]
    });
    let file = folder.join("clients.json");
    std::fs::write(&file, clients.to_string()).unwrap();
    file.display().to_string()
}
