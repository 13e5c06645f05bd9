//! The settings of an application under test.

use std::path::Path;
use std::sync::{Arc, Mutex};

use payment_service::config::Role;
use payment_service::store::Store;
use payment_service::store::mysql::parse_url;
use payment_service::wire::methods::{Method, Methods};
use serde_json::Value;

use super::{Instance, TestApp};
use crate::support::process::SEAL_KEYS;
use crate::support::servers::{AmqpUrl, DatabaseUrl, fresh_servers};

/// Where the data and the messages are.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backend {
    Embedded,
    Servers,
}

pub(super) enum Fixture {
    Embedded,
    Servers(DatabaseUrl, AmqpUrl),
}

/// What a test changes from the defaults.
#[derive(Debug, Clone, Default)]
pub struct Setup {
    variables: Vec<(&'static str, String)>,
    clients: bool,
    callbacks: Vec<(&'static str, Value)>,
    /// Client, field and value of the clients file.
    client_settings: Vec<(&'static str, &'static str, Value)>,
    without_worker: bool,
    methods: Methods,
}

/// Two clients; the first one logs in to RabbitMQ as the tests do.
pub const STORE: (&str, &str) = ("store-manager", "key-of-store-manager");
pub const KIOSK: (&str, &str) = ("kiosk", "key-of-kiosk");
/// The RabbitMQ user of the tests.
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

    /// As with [`Self::with_clients`]; one of them has a callback.
    pub fn with_callback(mut self, client: (&'static str, &str), callback: Value) -> Self {
        self.callbacks.push((client.0, callback));
        self.with_clients()
    }

    /// As with [`Self::with_clients`]; one of them has another field in the clients file.
    pub fn with_client_setting(
        mut self,
        client: (&'static str, &str),
        field: &'static str,
        value: Value,
    ) -> Self {
        self.client_settings.push((client.0, field, value));
        self.with_clients()
    }

    /// With servers: only an api.
    pub fn without_worker(mut self) -> Self {
        self.without_worker = true;
        self
    }

    /// With another payment method beside cards.
    pub fn with_method(mut self, method: Arc<dyn Method>) -> Self {
        self.methods = self.methods.with(method);
        self
    }

    fn variables(mut self, fixture: &Fixture, folder: &Path) -> Vec<(&'static str, String)> {
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
        match fixture {
            Fixture::Embedded => variables.push(("DATA_DIR", folder.display().to_string())),
            Fixture::Servers(database, amqp) => {
                variables.push(("DATABASE_URL", database.to_string()));
                variables.push(("AMQP_URL", amqp.to_string()));
            }
        }
        if self.clients {
            let file = clients_file(folder, &self.callbacks);
            add_settings(&file, &self.client_settings);
            variables.push(("CLIENTS_FILE", file));
        }
        // Last, so that the test's settings take precedence.
        variables.append(&mut self.variables);
        variables
    }

    /// Starts the whole service and waits until it is ready.
    pub async fn start(self, backend: Backend) -> TestApp {
        let folder = tempfile::tempdir().unwrap();
        let fixture = match backend {
            Backend::Embedded => Fixture::Embedded,
            Backend::Servers => {
                let (database, amqp) = fresh_servers().await.unwrap();
                Fixture::Servers(database, amqp)
            }
        };
        let variables = self.clone().variables(&fixture, folder.path());
        let role = match &fixture {
            Fixture::Servers(database, _) if self.without_worker => {
                migrate(database).await;
                Role::Api
            }
            _ => Role::All,
        };
        let first = Instance::start(role, &variables, &self.methods).await;
        TestApp {
            api: first.api.clone(),
            admin: first.admin.clone(),
            broker: Arc::clone(&first.broker),
            database: first.database.clone(),
            instances: Mutex::new(vec![first]),
            lapin: tokio::sync::OnceCell::new(),
            fixture,
            variables,
            methods: self.methods,
            folder,
        }
    }
}

/// What `payment-service setup` does to the database.
async fn migrate(url: &str) {
    let database = Store::mysql(parse_url(url).unwrap(), 4);
    database.migrate().await.unwrap();
    database.close().await;
}

fn add_settings(file: &str, settings: &[(&'static str, &'static str, Value)]) {
    let mut clients: Value = serde_json::from_slice(&std::fs::read(file).unwrap()).unwrap();
    for (client, field, value) in settings {
        let all = clients["clients"].as_array_mut().unwrap();
        let entry = all.iter_mut().find(|entry| entry["name"] == *client);
        entry.expect("a client of this name")[*field] = value.clone();
    }
    std::fs::write(file, clients.to_string()).unwrap();
}

/// Rewrites it; a running service reloads it.
pub fn clients_file(folder: &Path, callbacks: &[(&'static str, Value)]) -> String {
    use sha2::{Digest, Sha256};
    let client = |(name, key): (&str, &str), user: &str| {
        let digest = hex::encode(Sha256::digest(key.as_bytes()));
        let callback = callbacks.iter().find(|(client, _)| *client == name);
        serde_json::json!({
            "name": name,
            "api_key_sha256": [digest],
            "rabbitmq_user": user,
            "callback": callback.map(|(_, callback)| callback),
        })
    };
    let clients = serde_json::json!({
        "clients": [client(STORE, RABBITMQ_USER), client(KIOSK, "kiosk")]
    });
    let file = folder.join("clients.json");
    std::fs::write(&file, clients.to_string()).unwrap();
    file.display().to_string()
}
