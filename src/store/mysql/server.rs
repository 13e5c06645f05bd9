//! The pool of connections, the settings of each, and the way to another host when one fails.

use std::sync::Arc;
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::{Connection, Executor, MySql};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::errors::classify;
use super::failover::{Failover, Moment, is_galera};
use super::hosts::Hosts;
use super::nodelay;
use crate::store::StoreError;

/// How long one waits for a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// With several hosts, how long one waits before asking whether another is better.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that has lain idle for longer is tried with a ping before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// The shortest time between two refusals that each cost all connections.
const RECONNECT: Duration = Duration::from_secs(1);

/// How long the answer to a ping may take.
const PING: Duration = Duration::from_secs(1);

/// `innodb_lock_wait_timeout` in seconds, instead of 50: a batch that waits holds up all that queue behind it.
/// `STRICT_ALL_TABLES`: what does not fit is an error, never shortened. Lost on neither server's default.
const SESSION: &str = "SET SESSION \
    sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION', \
    innodb_lock_wait_timeout = 5";

/// No gap locks, so that batches of neighbours do not wait for each other; every locked row is read as it is now.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// On Galera a node may lag behind the one that wrote: reads wait until it has caught up.
const READ_YOUR_WRITES: &str = "SET SESSION wsrep_sync_wait = 1";

/// Connections to one of the hosts.
#[derive(Debug)]
pub struct Pool {
    pub(super) connections: MySqlPool,
    failover: Failover,
    last_break: Arc<Moment>,
    last_silence: Arc<Moment>,
    last_refusal: Arc<Moment>,
}

/// What tells a good connection from one that only looks so.
#[derive(Debug, Clone)]
struct Watch {
    last_switch: Arc<Moment>,
    last_break: Arc<Moment>,
    last_silence: Arc<Moment>,
    last_refusal: Arc<Moment>,
}

impl Pool {
    /// Connects when something is asked, not before. Must be called within a runtime.
    pub fn new(hosts: Hosts, max_connections: u32) -> Self {
        let hosts = Hosts(hosts.0.into_iter().map(with_settings).collect());
        let first = hosts.0.first().cloned().unwrap_or_default();
        let failover = Failover::new(hosts);
        let watch = Watch {
            last_switch: failover.last_switch(),
            last_break: Arc::default(),
            last_silence: Arc::default(),
            last_refusal: Arc::default(),
        };
        let last_break = Arc::clone(&watch.last_break);
        let last_silence = Arc::clone(&watch.last_silence);
        let last_refusal = Arc::clone(&watch.last_refusal);
        let ports = failover.ports();
        let connections = MySqlPoolOptions::new()
            .max_connections(max_connections)
            .min_connections(1)
            .acquire_timeout(ACQUIRE)
            // A connection is tried when it is given back; to try a busy one again when it is taken would add a
            // round trip to every transaction. One that has lain idle is tried, see `Watch`.
            .test_before_acquire(false)
            .before_acquire(move |connection, about| {
                let watch = watch.clone();
                Box::pin(async move { watch.is_usable(connection, &about).await })
            })
            .after_connect(move |connection, _| {
                let ports = Arc::clone(&ports);
                Box::pin(async move {
                    nodelay::set(ports).await;
                    prepare_session(connection).await
                })
            })
            .connect_lazy_with(first);
        Self {
            connections,
            failover,
            last_break,
            last_silence,
            last_refusal,
        }
    }

    /// A connection to a host that can be written to, as far as that is known.
    pub async fn acquire(&self) -> Result<PoolConnection<MySql>, StoreError> {
        if !self.failover.has_choice() {
            return self.connections.acquire().await.map_err(classify);
        }
        if self.failover.is_untried().await {
            self.failover.elect(&self.connections).await;
        }
        let mut waiting = std::pin::pin!(self.connections.acquire());
        match timeout(PATIENCE, &mut waiting).await {
            Ok(Ok(connection)) => Ok(connection),
            Ok(Err(_)) => {
                self.failover.elect(&self.connections).await;
                self.connections.acquire().await.map_err(classify)
            }
            // The pool reads its options again before every try to connect.
            Err(_) => {
                self.failover.elect(&self.connections).await;
                waiting.await.map_err(classify)
            }
        }
    }

    /// A connection has not answered in time. Whatever has swallowed its bytes does so with those of the others as
    /// well, and to find that out one by one would take a time-out for each: none of them is used again.
    pub fn connection_fell_silent(self: &Arc<Self>) {
        self.last_silence.set();
        self.connection_failed();
    }

    /// The server takes no changes. It may be the former primary, with the new one at its address by now, and a session
    /// keeps settings that an administrator has corrected since: none of the connections is used again. At most once a
    /// second, so that a server that stays read-only is not connected to over and over.
    pub fn changes_are_refused(&self) {
        if !self.last_refusal.is_within(RECONNECT) {
            self.last_refusal.set();
        }
    }

    /// A connection has failed: the idle ones are tried before they are used, and another host, if there is one, is
    /// looked for in the background.
    pub fn connection_failed(self: &Arc<Self>) {
        self.last_break.set();
        if let (true, Ok(runtime)) = (self.failover.has_choice(), Handle::try_current()) {
            let pool = Arc::clone(self);
            runtime.spawn(async move { pool.failover.elect(&pool.connections).await });
        }
    }
}

impl Watch {
    /// Not if it leads to the former host or is older than a silence; not, when there is reason to ask, if it does not
    /// answer.
    async fn is_usable(
        &self,
        connection: &mut MySqlConnection,
        about: &PoolConnectionMetadata,
    ) -> Result<bool, sqlx::Error> {
        let reasons = [&self.last_switch, &self.last_silence, &self.last_refusal];
        if reasons.iter().any(|reason| reason.is_within(about.age)) {
            return Ok(false);
        }
        if about.idle_for <= IDLE && !self.last_break.is_within(about.idle_for) {
            return Ok(true);
        }
        match timeout(PING, connection.ping()).await {
            Ok(answer) => answer.map(|()| true),
            Err(_) => {
                self.last_silence.set();
                Ok(false)
            }
        }
    }
}

fn with_settings(host: MySqlConnectOptions) -> MySqlConnectOptions {
    host.charset("utf8mb4")
        .collation("utf8mb4_bin")
        .timezone("+00:00".to_owned())
        // The session's own list replaces the server's.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        // Far above the number of texts: a statement that is evicted has to be prepared again.
        .statement_cache_capacity(256)
}

async fn prepare_session(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await?;
    connection.execute(ISOLATION).await?;
    if is_galera(connection).await? {
        connection.execute(READ_YOUR_WRITES).await?;
    }
    Ok(())
}
