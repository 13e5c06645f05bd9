//! Who may use the service: client applications, their API keys (as digests) and their RabbitMQ users.
//!
//! They come from `CLIENTS_FILE`, which is read again when it changes:
//!
//! ```json
//! {"clients": [
//!   {"name": "store-manager", "api_key_sha256": ["<64 hexadecimal digits>"], "rabbitmq_user": "store-manager"}
//! ]}
//! ```
//!
//! In addition, a client may have
//!
//! - `callback`: it gets results by HTTP (`clients/callback.rs`). Then the file contains secrets.
//! - `display_name`: its name on the payment page.
//! - `return_origins`: the allowed origins of its `return_url`, `["https://shop.example"]`.
//! - `unknown_fields`: `refuse` (the default) or `ignore`, for a client that sends fields that do not exist.
//! - `payment_methods`: the methods that it may use, `["card"]`. All by default.
//! - `card_funding`: the cards that it may use, a list of `credit`, `debit`, `prepaid` and `unknown`. All by default. A list
//!   allows exactly what it contains: without `unknown` every card is refused whose number is in no known range.
//!
//! `"weight": 3` gives a client three times the share of the workers' permits while several clients want them (1 to 100,
//! 1 by default). `"capture_within_seconds": 86400` lets its authorizations expire after a day instead of a week, if its
//! payments are captured manually (1 to 2592000).
//!
//! `api_key_sha256` holds the SHA-256 of each API key of the client; two at a time allow changing the key without a gap.
//! It may be empty for a client that only sends messages, and `rabbitmq_user` may be absent for a client that sends
//! none. Without a file there is one client, `default`, which needs no key.

pub mod address;
pub mod callback;
mod file;
pub mod operators;
pub mod secret;

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use sha2::{Digest, Sha256};
use subtle::{ConditionallySelectable, ConstantTimeEq};
use tokio_util::sync::CancellationToken;

use crate::clients::callback::Callback;
use crate::domain::ClientName;
use crate::file_changes::FileChanges;
use crate::wire::fields::FieldError;
use crate::wire::methods::Methods;
use crate::wire::rules::{ClientRules, ReturnOrigins};

/// How long an authorization can be captured, unless the file says otherwise.
pub const CAPTURE_WITHIN: Duration = Duration::from_secs(7 * 24 * 3600);

/// The current clients. Clones share them.
#[derive(Debug, Clone)]
pub struct Clients {
    known: Arc<ArcSwap<Directory>>,
    /// The payment methods that the file may name.
    methods: Methods,
    /// The file that they were read from, if any.
    file: Option<Arc<Path>>,
}

/// The content of the file at one time.
#[derive(Debug, PartialEq, Eq)]
struct Directory {
    entries: Vec<Entry>,
    /// Without a file: every caller is this client.
    everyone: Option<ClientName>,
}

/// One client.
#[derive(Debug, PartialEq, Eq)]
struct Entry {
    name: ClientName,
    keys: Vec<[u8; 32]>,
    rabbitmq_user: Option<String>,
    callback: Option<Arc<Callback>>,
    display_name: Option<Arc<str>>,
    rules: Arc<ClientRules>,
    /// Its share of the workers' permits.
    weight: u32,
    /// How long it can capture an authorization.
    capture_within: Duration,
}

/// Why a clients file cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum ClientsFileError {
    /// It cannot be read at all.
    #[error("{path} cannot be read: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// Its content is invalid; every fault is listed.
    #[error("{path} is invalid: {}", sentences(.faults))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// All faults.
        faults: Vec<FieldError>,
    },
}

fn sentences(faults: &[FieldError]) -> String {
    let sentences: Vec<&str> = faults.iter().map(|fault| fault.message.as_str()).collect();
    sentences.join(" ")
}

impl Clients {
    /// Without a file: the one client `default`.
    pub fn single() -> Self {
        Self::single_with(Methods::default())
    }

    /// The same, with these payment methods.
    pub fn single_with(methods: Methods) -> Self {
        let everyone = ClientName::parse("default").ok();
        let directory = Directory {
            entries: Vec::new(),
            everyone,
        };
        Self::of(directory, methods)
    }

    /// Reads a clients file.
    pub fn load(path: &Path) -> Result<Self, ClientsFileError> {
        Self::load_with(path, Methods::default())
    }

    /// The same, with these payment methods.
    pub fn load_with(path: &Path, methods: Methods) -> Result<Self, ClientsFileError> {
        let directory = read(path, &methods)?;
        Ok(Self {
            file: Some(path.into()),
            ..Self::of(directory, methods)
        })
    }

    /// Reads the content of a clients file.
    pub fn parse(content: &[u8]) -> Result<Self, Vec<FieldError>> {
        let methods = Methods::default();
        file::parse(content, &methods).map(|directory| Self::of(directory, methods))
    }

    /// The number of clients in the file.
    pub fn number(&self) -> usize {
        self.known.load().entries.len()
    }

    /// The names of all clients.
    pub fn names(&self) -> Vec<ClientName> {
        let directory = self.known.load();
        let entries = directory.entries.iter().map(|entry| &entry.name);
        entries.chain(&directory.everyone).cloned().collect()
    }

    /// The client of every caller when there is no file.
    pub fn default_client(&self) -> Option<ClientName> {
        self.known.load().everyone.clone()
    }

    /// The client that has this API key. Takes the same time whichever key matches.
    pub fn by_api_key(&self, key: &str) -> Option<ClientName> {
        let directory = self.known.load();
        let digest: [u8; 32] = Sha256::digest(key.as_bytes()).into();
        let mut found = u32::MAX;
        for (number, entry) in (0_u32..).zip(&directory.entries) {
            for known in &entry.keys {
                found.conditional_assign(&number, known.ct_eq(&digest));
            }
        }
        let entry = directory.entries.get(usize::try_from(found).ok()?);
        entry.map(|entry| entry.name.clone())
    }

    /// The client that logs in to RabbitMQ under this name; without a file always `default`.
    pub fn by_rabbitmq_user(&self, user: &str) -> Option<ClientName> {
        let directory = self.known.load();
        let known = |entry: &&Entry| entry.rabbitmq_user.as_deref() == Some(user);
        let entry = directory.entries.iter().find(known);
        entry
            .map(|entry| entry.name.clone())
            .or_else(|| directory.everyone.clone())
    }

    /// What a client may send.
    pub fn rules(&self, client: &ClientName) -> Arc<ClientRules> {
        let directory = self.known.load();
        let entry = directory.entries.iter().find(|it| it.name == *client);
        match entry {
            Some(entry) => Arc::clone(&entry.rules),
            None if directory.everyone.is_some() => Arc::new(ClientRules {
                return_origins: ReturnOrigins::Loopback,
                methods: self.methods.clone(),
                ..ClientRules::default()
            }),
            // It has just been removed from the file.
            None => Arc::default(),
        }
    }

    /// The client's name on the payment page, if it has one.
    pub fn display_name(&self, client: &ClientName) -> Option<Arc<str>> {
        let directory = self.known.load();
        let entry = directory.entries.iter().find(|it| it.name == *client);
        entry.and_then(|entry| entry.display_name.clone())
    }

    /// The client's weight when several clients want the workers' permits; 1 by default.
    pub fn weight(&self, client: &ClientName) -> u32 {
        let directory = self.known.load();
        let entry = directory.entries.iter().find(|it| it.name == *client);
        entry.map_or(1, |entry| entry.weight)
    }

    /// How long the client can capture an authorization before it expires; 7 days by default.
    pub fn capture_within(&self, client: &ClientName) -> Duration {
        let directory = self.known.load();
        let entry = directory.entries.iter().find(|it| it.name == *client);
        entry.map_or(CAPTURE_WITHIN, |entry| entry.capture_within)
    }

    /// Whether the file contains this client; without a file, whether it is the default client.
    pub fn knows(&self, client: &ClientName) -> bool {
        let directory = self.known.load();
        directory.entries.iter().any(|it| it.name == *client)
            || directory.everyone.as_ref() == Some(client)
    }

    /// The client's callback, if it has one.
    pub fn callback(&self, client: &ClientName) -> Option<Arc<Callback>> {
        let directory = self.known.load();
        let entry = directory.entries.iter().find(|it| it.name == *client);
        entry.and_then(|entry| entry.callback.clone())
    }

    /// The callbacks of all clients.
    pub fn callbacks(&self) -> Vec<(ClientName, Option<Arc<Callback>>)> {
        let directory = self.known.load();
        let entries = directory.entries.iter();
        entries
            .map(|entry| (entry.name.clone(), entry.callback.clone()))
            .collect()
    }

    /// Checks the file every second and reads it again when it has changed, until `stop`. If the file cannot be used, the
    /// clients stay unchanged.
    pub async fn watch(self, stop: CancellationToken) {
        let Some(path) = self.file.clone() else {
            return stop.cancelled().await;
        };
        let mut changes = FileChanges::of(&path);
        let reading = async {
            loop {
                changes.next().await;
                self.reload(&path).await;
            }
        };
        tokio::select! {
            () = stop.cancelled() => {}
            () = reading => {}
        }
    }

    async fn reload(&self, path: &Path) {
        let owned = path.to_owned();
        let methods = self.methods.clone();
        let read = tokio::task::spawn_blocking(move || read(&owned, &methods)).await;
        match read {
            Ok(Ok(directory)) if **self.known.load() == directory => {}
            Ok(Ok(directory)) => {
                let number = directory.entries.len();
                self.known.store(Arc::new(directory));
                tracing::info!(clients = number, "the clients file was read again");
            }
            Ok(Err(error)) => {
                tracing::warn!(error = %error, "the clients file cannot be used; the clients stay unchanged");
            }
            Err(error) => tracing::warn!(error = %error, "the clients file could not be read"),
        }
    }

    fn of(directory: Directory, methods: Methods) -> Self {
        Self {
            methods,
            known: Arc::new(ArcSwap::from_pointee(directory)),
            file: None,
        }
    }
}

/// A new API key and its digest for the clients file: `pk_` and 256 random bits.
pub fn new_api_key() -> (String, String) {
    let random: [u8; 32] = rand::random();
    let key = format!("pk_{}", hex::encode(random));
    let digest = hex::encode(Sha256::digest(key.as_bytes()));
    (key, digest)
}

fn read(path: &Path, methods: &Methods) -> Result<Directory, ClientsFileError> {
    let content = std::fs::read(path).map_err(|source| ClientsFileError::Unreadable {
        path: path.to_owned(),
        source,
    })?;
    file::parse(&content, methods).map_err(|faults| ClientsFileError::Invalid {
        path: path.to_owned(),
        faults,
    })
}

#[cfg(test)]
mod tests;
