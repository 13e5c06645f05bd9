//! The configuration: environment variables, read once; all faults are reported together before a port is bound.
//!
//! `.env.example` lists every variable with its default and its meaning.

mod admin;
mod callbacks;
mod http;
mod log;
mod processors;
mod reader;
mod retry;
mod routes;
#[cfg(test)]
mod tests;

use std::ffi::OsString;
use std::net::SocketAddr;
use std::os::unix::fs::DirBuilderExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

pub use admin::{AdminSettings, admin_addr};
pub use http::{HttpLimits, listen_addr};
pub use log::{LogFormat, LogSettings};
pub use processors::{ListedProcessor, ProcessorSettings, ProcessorsFile};
pub use reader::Fault;
use reader::Reader;

use crate::broker::rabbitmq::{Hosts as AmqpHosts, parse_urls};
use crate::callbacks::settings::CallbackSettings;
use crate::clients::Clients;
use crate::domain::{ClientName, Currency};
use crate::payments::leases::Leases;
use crate::relay::RelaySettings;
use crate::retry::RetrySchedule;
use crate::store::ids::IdSpace;
use crate::store::mysql::{Hosts as DatabaseHosts, parse_url};
use crate::store::rows::Horizons;
use crate::vault::SealKeys;
use crate::wire::methods::Methods;

/// The role of a process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Role {
    /// Everything in one process, which also does the setup.
    All,
    /// REST and payment requests by message.
    Api,
    /// Processes tries.
    Worker,
}

/// The whole configuration.
pub struct Config {
    /// Decides which tasks run.
    pub role: Role,
    /// Servers, or embedded.
    pub backend: Backend,
    /// `LISTEN_ADDR`
    pub listen_addr: SocketAddr,
    /// `PUBLIC_URL`, without a slash at its end: where shoppers reach this service. None if they cannot.
    pub public_url: Option<String>,
    /// `ADMIN_ADDR`, and whether another free port may be used instead (it was not set).
    pub admin_addr: (SocketAddr, bool),
    /// `ADMIN_HOSTS`, `ADMIN_FILE`: who may open the operators' page.
    pub admin: AdminSettings,
    /// The clients of `CLIENTS_FILE`.
    pub clients: Clients,
    /// `DEFAULT_CLIENT`: the client of messages without `user-id`.
    pub default_client: Option<ClientName>,
    /// `SEAL_KEYS`, or the key file of the embedded service.
    pub seal_keys: SealKeys,
    /// `DEFAULT_CURRENCY`
    pub default_currency: Currency,
    /// `FIRST_PAYMENT_ID`, `PAYMENT_ID_MAX`
    pub ids: IdSpace,
    /// `MAX_WAIT`: the longest `Prefer: wait`.
    pub max_wait: Duration,
    /// `HTTP_*`, `CLIENT_REQUESTS`: limits for callers.
    pub http: HttpLimits,
    /// `WORKER_CONCURRENCY`: tries under way at the same time.
    pub worker_concurrency: usize,
    /// `PROCESSOR_TIMEOUT`
    pub processor_timeout: Duration,
    /// `MAX_TRIES`, `RETRY_*`
    pub retry: RetrySchedule,
    /// `OUTBOX_LEASE`, `CHECK_AFTER`, and the lease of a claim, which follows from `PROCESSOR_TIMEOUT`.
    pub leases: Leases,
    /// `SWEEP_EVERY`, `BACKLOG_LIMIT`, `WORK_TRIES`
    pub relay: RelaySettings,
    /// `STUCK_AFTER`: a task without progress for this long counts as stuck.
    pub stuck_after: Duration,
    /// `SHUTDOWN_TIMEOUT`
    pub shutdown_timeout: Duration,
    /// `CALLBACK_*`
    pub callbacks: CallbackSettings,
    /// `ISSUER_LATENCY`, `ISSUER_SEED`, `ISSUER_LEDGER`
    pub issuer: IssuerSettings,
    /// `PROCESSORS_FILE`: the processors beside the simulated issuer, and the routes to them.
    pub processors: ProcessorSettings,
    /// `LOG`, `LOG_FORMAT`
    pub log: LogSettings,
}

/// Where data and messages are stored.
pub enum Backend {
    /// In this process and below `DATA_DIR`.
    Embedded {
        /// `DATA_DIR`
        data_dir: PathBuf,
    },
    /// On servers.
    Servers {
        /// `DATABASE_URL`
        database: DatabaseHosts,
        /// `DATABASE_CONNECTIONS`
        connections: u32,
        /// `AMQP_URL`, `AMQP_CA_FILE`
        amqp: AmqpHosts,
    },
}

/// How the simulated issuer behaves.
#[derive(Debug, Clone, Copy)]
pub struct IssuerSettings {
    /// Mean time to an answer.
    pub latency: Duration,
    /// Another seed gives other latencies.
    pub seed: u64,
    /// `ISSUER_ACTION_LIFE`: how long its shoppers can approve.
    pub action_life: Duration,
    /// `ISSUER_LEDGER`: whether charges and reversals are recorded.
    pub ledger: bool,
}

impl Config {
    /// Reads the configuration; `variable` is [`std::env::var`] or a test's table.
    pub fn load(role: Role, variable: &dyn Fn(&str) -> Option<String>) -> Result<Self, Vec<Fault>> {
        Self::load_with(role, variable, Methods::default())
    }

    /// The same for a service with these payment methods, which `CLIENTS_FILE` may name.
    pub fn load_with(
        role: Role,
        variable: &dyn Fn(&str) -> Option<String>,
        methods: Methods,
    ) -> Result<Self, Vec<Fault>> {
        let mut reader = Reader::new(variable);
        let config = Self::read(role, &mut reader, methods);
        reader.finish(config)
    }

    /// The REST interface listens there: a free port, if `LISTEN_ADDR` leaves the choice to the system.
    pub fn listen_on(&mut self, address: SocketAddr) {
        let chosen = http::own_url(self.listen_addr);
        if self.public_url.as_ref() == Some(&chosen) {
            self.public_url = Some(http::own_url(address));
        }
    }

    /// How far ahead anything can be due.
    pub fn horizons(&self) -> Horizons {
        let retry = self.retry.backoff.longest_delay();
        // An event that gets no turn at its receiver waits for as long as a call may take.
        let callback = self.callbacks.retry.longest_delay() + self.callbacks.timeout;
        self.leases.horizons(retry, callback)
    }

    fn read(role: Role, reader: &mut Reader<'_>, methods: Methods) -> Option<Self> {
        let backend = backend(role, reader);
        let embedded = matches!(backend, Some(Backend::Embedded { .. }));
        let seal_keys = seal_keys(backend.as_ref(), reader);
        let clients_file = reader.text("CLIENTS_FILE").map(PathBuf::from);
        let listen_addr = http::checked_listen_addr(role, clients_file.is_some(), reader);
        let public_url = http::public_url(role, listen_addr, reader);
        let clients = match clients_file.as_deref() {
            Some(path) => Clients::load_with(path, methods),
            None => Ok(Clients::single_with(methods)),
        };
        let clients = reader.checked("CLIENTS_FILE", clients);
        let admin_set = reader.is_set("ADMIN_ADDR");
        let admin_addr = admin::read(reader);
        let admin = admin::settings(reader);
        let processor_timeout = reader.duration("PROCESSOR_TIMEOUT", Duration::from_secs(5));
        let ids = id_space(reader);
        let relay = RelaySettings {
            sweep_every: reader.duration("SWEEP_EVERY", Duration::from_millis(250)),
            check_every: reader.duration(
                "CHECK_EVERY",
                Duration::from_secs(if embedded { 2 } else { 10 }),
            ),
            backlog_limit: reader.number("BACKLOG_LIMIT", 100_000, 1..=u64::from(u32::MAX)),
            work_tries: reader.number("WORK_TRIES", 8, 1..=16),
        };
        let leases = Leases {
            outbox: reader.duration(
                "OUTBOX_LEASE",
                Duration::from_secs(if embedded { 2 } else { 10 }),
            ),
            // Longer than any call to the processor, plus time for the commit after it.
            claim: processor_timeout * 2 + Duration::from_secs(2),
            check: reader.duration("CHECK_AFTER", Duration::from_secs(60)),
        };
        let default_client =
            reader.optional("DEFAULT_CLIENT", "1 to 64 of a-z, 0-9, - and _", |text| {
                ClientName::parse(text).ok()
            });
        let default_currency = reader.with(
            "DEFAULT_CURRENCY",
            "CAD",
            "an ISO 4217 code such as CAD",
            |text| Currency::parse(text).ok(),
        );
        let max_wait = reader.duration("MAX_WAIT", Duration::from_secs(30));
        let http = HttpLimits::read(reader);
        let worker_concurrency = reader.number("WORKER_CONCURRENCY", 256, 1..=10_000);
        // Longer than any call to the processor and any time-out of the servers.
        let stuck_after = reader.duration("STUCK_AFTER", Duration::from_secs(120));
        let stuck_after = stuck_after.max(processor_timeout * 3);
        let retry = retry::read(reader);
        let shutdown_timeout = reader.duration("SHUTDOWN_TIMEOUT", Duration::from_secs(20));
        let issuer = IssuerSettings {
            latency: reader.duration("ISSUER_LATENCY", Duration::from_millis(25)),
            seed: reader.number("ISSUER_SEED", 0, 0..=u64::MAX),
            action_life: reader.duration("ISSUER_ACTION_LIFE", Duration::from_secs(15 * 60)),
            ledger: reader.switch("ISSUER_LEDGER", true),
        };
        let processors = processors::read(reader, issuer.action_life);
        let callbacks = callbacks::read(reader);
        let log = LogSettings::read(reader);
        // Return only now, after all faults are collected.
        Some(Self {
            role,
            backend: backend?,
            listen_addr: listen_addr?,
            public_url,
            admin_addr: (admin_addr?, !admin_set),
            admin,
            default_client: default_client.or_else(|| clients.as_ref()?.default_client()),
            clients: clients?,
            seal_keys: seal_keys?,
            default_currency: default_currency?,
            ids,
            max_wait,
            http,
            worker_concurrency,
            processor_timeout,
            retry,
            leases,
            relay,
            stuck_after,
            shutdown_timeout,
            callbacks,
            issuer,
            processors: processors?,
            log,
        })
    }
}

/// Only the log's settings, for logging before or without the configuration; an invalid one counts as not set, because
/// [`Config::load`] reports it.
pub fn log_settings(variable: &dyn Fn(&str) -> Option<String>) -> LogSettings {
    LogSettings::read(&mut Reader::new(variable))
}

/// The given variables that look like misspelled names of this service's variables, each with the name that was probably
/// meant.
pub fn unknown_variables(
    variables: impl Iterator<Item = (OsString, OsString)>,
) -> Vec<(String, &'static str)> {
    let set: Vec<String> = variables
        .filter_map(|(name, _)| name.into_string().ok())
        .collect();
    let known = known_variables();
    set.iter()
        .filter(|name| !known.contains(&name.as_str()))
        .filter_map(|name| {
            let free = known
                .iter()
                .filter(|known| !set.iter().any(|set| set == *known));
            Some((
                name.clone(),
                *free
                    .min_by_key(|known| distance(name, known))
                    .filter(|known| is_a_slip(name, known))?,
            ))
        })
        .collect()
}

/// A few wrong letters, in a name long enough that this is not a coincidence.
fn is_a_slip(name: &str, known: &str) -> bool {
    name.len() >= 5 && distance(name, known) <= 2
}

/// A swap of two letters counts as one change; case is ignored.
fn distance(name: &str, known: &str) -> usize {
    strsim::osa_distance(&name.to_ascii_uppercase(), known)
}

/// Every variable of [`.env.example`](../../.env.example), including those of the files around the service.
fn known_variables() -> Vec<&'static str> {
    include_str!("../../.env.example")
        .lines()
        .filter_map(|line| {
            let (name, _) = line.trim_start_matches('#').trim().split_once('=')?;
            let ours = name.bytes().all(|b| b.is_ascii_uppercase() || b == b'_');
            ours.then_some(name)
        })
        .collect()
}

fn backend(role: Role, reader: &mut Reader<'_>) -> Option<Backend> {
    let database = reader.text("DATABASE_URL");
    let amqp = reader.text("AMQP_URL");
    let ca_file = reader.text("AMQP_CA_FILE");
    let connections = reader.number("DATABASE_CONNECTIONS", 16, 4..=1000);
    let data_dir = PathBuf::from(
        reader
            .text("DATA_DIR")
            .unwrap_or_else(|| "./data".to_owned()),
    );
    match (database, amqp) {
        (Some(database), Some(amqp)) => {
            let database = reader.checked("DATABASE_URL", parse_url(&database));
            let amqp = reader.checked("AMQP_URL", parse_urls(&amqp));
            let amqp = with_ca(amqp, ca_file.as_deref(), reader);
            Some(Backend::Servers {
                database: database?,
                connections,
                amqp: amqp?,
            })
        }
        (None, None) if role == Role::All => Some(Backend::Embedded { data_dir }),
        (database, amqp) => {
            let why = "DATABASE_URL and AMQP_URL go together";
            for (name, missing) in [
                ("DATABASE_URL", database.is_none()),
                ("AMQP_URL", amqp.is_none()),
            ] {
                if missing {
                    let role = if role == Role::All {
                        "set both, or neither for the embedded service"
                    } else {
                        "this role needs both"
                    };
                    reader.fault(name, format!("is missing: {why}; {role}"));
                }
            }
            None
        }
    }
}

fn with_ca(
    amqp: Option<AmqpHosts>,
    file: Option<&str>,
    reader: &mut Reader<'_>,
) -> Option<AmqpHosts> {
    let amqp = amqp?;
    let Some(file) = file else {
        return Some(amqp);
    };
    let read = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"));
    let pem = reader.checked("AMQP_CA_FILE", read)?;
    reader.checked("AMQP_CA_FILE", amqp.with_ca(&pem))
}

/// Creates the data folder; it and its files are readable only by their owner, whatever the umask.
fn make_data_dir(data_dir: &Path, reader: &mut Reader<'_>) -> Option<()> {
    let made = std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .map_err(|error| format!("{} cannot be created: {error}", data_dir.display()));
    reader.checked("DATA_DIR", made)
}

fn seal_keys(backend: Option<&Backend>, reader: &mut Reader<'_>) -> Option<SealKeys> {
    match (reader.text("SEAL_KEYS"), backend) {
        (Some(text), backend) => {
            if let Some(Backend::Embedded { data_dir }) = backend {
                make_data_dir(data_dir, reader)?;
            }
            reader.checked("SEAL_KEYS", SealKeys::parse(&text))
        }
        (None, Some(Backend::Embedded { data_dir })) => {
            make_data_dir(data_dir, reader)?;
            reader.checked(
                "DATA_DIR",
                SealKeys::load_or_create(&data_dir.join("seal.keys")),
            )
        }
        (None, _) => {
            reader.fault(
                "SEAL_KEYS",
                "is missing: all processes need the same keys to seal and open cards; \
                 `payment-service keys` creates one"
                    .to_owned(),
            );
            None
        }
    }
}

fn id_space(reader: &mut Reader<'_>) -> IdSpace {
    let first = reader.number("FIRST_PAYMENT_ID", 1, 1..=i64::MAX);
    // Store Manager keeps the id in a signed 32-bit column.
    let last = reader.number("PAYMENT_ID_MAX", i64::from(i32::MAX), 1..=i64::MAX);
    if first > last {
        reader.fault(
            "FIRST_PAYMENT_ID",
            format!("{first} is above PAYMENT_ID_MAX {last}"),
        );
    }
    IdSpace { first, last }
}
