//! Chooses one of several hosts: the first that answers and accepts writes. It is used until it fails, so that an unstable
//! host does not cause repeated switches.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool};
use sqlx::{ConnectOptions, Connection, Row, raw_sql};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::hosts::Hosts;
use super::nodelay;

/// Time-out for checking a host.
const PROBE: Duration = Duration::from_secs(2);

/// Callers that find a host failed within this time share one election.
const FRESH: Duration = Duration::from_secs(1);

/// Above 0 if the server accepts no changes.
const READ_ONLY: &str =
    "SELECT CAST(@@GLOBAL.read_only AS SIGNED) + CAST(@@GLOBAL.innodb_read_only AS SIGNED)";

/// The hosts, and which of them is in use.
#[derive(Debug)]
pub struct Failover {
    hosts: Hosts,
    current: AtomicUsize,
    last_switch: Arc<Moment>,
    last_election: Mutex<Option<Instant>>,
}

/// The last time of an event, if it ever happened.
#[derive(Debug, Default)]
pub struct Moment(RwLock<Option<Instant>>);

impl Moment {
    /// Whether it happened within the given time.
    pub fn is_within(&self, time: Duration) -> bool {
        let at = *self.0.read().unwrap_or_else(PoisonError::into_inner);
        at.is_some_and(|at| at.elapsed() <= time)
    }

    /// Records that it happens now.
    pub fn set(&self) {
        *self.0.write().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
    }
}

impl Failover {
    /// Starts with the first host.
    pub fn new(hosts: Hosts) -> Self {
        Self {
            hosts,
            current: AtomicUsize::new(0),
            last_switch: Arc::default(),
            last_election: Mutex::new(None),
        }
    }

    /// The ports of all hosts.
    pub fn ports(&self) -> Arc<[u16]> {
        let hosts = self.hosts.0.iter();
        hosts.map(MySqlConnectOptions::get_port).collect()
    }

    /// Whether there are several hosts.
    pub fn has_choice(&self) -> bool {
        self.hosts.0.len() > 1
    }

    /// When another host was last chosen: the pool closes older connections.
    pub fn last_switch(&self) -> Arc<Moment> {
        Arc::clone(&self.last_switch)
    }

    /// Whether no host has been tried yet.
    pub async fn is_untried(&self) -> bool {
        self.has_choice() && self.last_election.lock().await.is_none()
    }

    /// Points the pool to the first host, starting with the current one, that answers and accepts writes. If there is none,
    /// changes nothing.
    pub async fn elect(&self, pool: &MySqlPool) {
        if !self.has_choice() {
            return;
        }
        let mut last = self.last_election.lock().await;
        if last.is_some_and(|at| at.elapsed() < FRESH) {
            return;
        }
        let number = self.hosts.0.len();
        let current = self.current.load(Ordering::Acquire);
        for index in (current..current + number).map(|index| index % number) {
            let host = &self.hosts.0[index];
            if !can_be_used(host).await {
                continue;
            }
            if index != current {
                pool.set_connect_options(host.clone());
                self.current.store(index, Ordering::Release);
                self.last_switch.set();
                tracing::warn!(
                    db.host = host.get_host(),
                    db.port = host.get_port(),
                    "using another database host"
                );
            }
            break;
        }
        *last = Some(Instant::now());
    }
}

async fn can_be_used(host: &MySqlConnectOptions) -> bool {
    let probe = async {
        let mut connection = host.connect().await?;
        nodelay::set([host.get_port()].into()).await;
        let usable = is_writable(&mut connection).await?;
        connection.close().await?;
        Ok::<bool, sqlx::Error>(usable)
    };
    matches!(timeout(PROBE, probe).await, Ok(Ok(true)))
}

/// Whether it is neither a replica nor a Galera node outside of its cluster.
async fn is_writable(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let read_only = raw_sql(READ_ONLY).fetch_one(&mut *connection).await?;
    let is_read_only = read_only.try_get::<i64, _>(0)? != 0;
    if is_read_only || !is_galera(connection).await? {
        return Ok(!is_read_only);
    }
    is_on(
        connection,
        "SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_ready'",
    )
    .await
}

/// Whether the server is a node of a cluster. A standalone MariaDB has the variables, too, but all of them off.
pub async fn is_galera(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    is_on(
        connection,
        "SHOW VARIABLES WHERE Variable_name = 'wsrep_on'",
    )
    .await
}

/// Not by a prepared statement: if the server has no room for another, a connection can still be opened.
async fn is_on(connection: &mut MySqlConnection, shown: &'static str) -> Result<bool, sqlx::Error> {
    match raw_sql(shown).fetch_optional(connection).await? {
        Some(row) => Ok(row.try_get::<String, _>(1)? == "ON"),
        None => Ok(false),
    }
}
