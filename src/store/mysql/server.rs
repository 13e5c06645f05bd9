//! The pool of connections, their settings, and the switch to another host when one fails.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool, MySqlPoolOptions};
use sqlx::pool::{PoolConnection, PoolConnectionMetadata};
use sqlx::{Connection, Executor, MySql};
use tokio::runtime::Handle;
use tokio::time::timeout;

use super::errors::classify;
use super::failover::{Failover, Moment, is_galera};
use super::hosts::Hosts;
use super::{STATEMENTS, nodelay};
use crate::store::StoreError;

/// Time-out for getting a connection.
const ACQUIRE: Duration = Duration::from_secs(5);

/// With several hosts, how long to wait before checking the other hosts.
const PATIENCE: Duration = Duration::from_secs(1);

/// A connection that was idle for longer is tested with a ping before it is used.
const IDLE: Duration = Duration::from_secs(1);

/// Minimum time between two refusals that each close all connections.
const RECONNECT: Duration = Duration::from_secs(1);

/// Time-out of a ping.
const PING: Duration = Duration::from_secs(1);

/// `innodb_lock_wait_timeout` in seconds, instead of 50: a waiting batch delays all items queued behind it.
/// `STRICT_ALL_TABLES`: a value that does not fit is an error, never shortened. Set here, not left to the server's
/// default.
const SESSION: &str = "SET SESSION \
    sql_mode = 'STRICT_ALL_TABLES,ERROR_FOR_DIVISION_BY_ZERO,NO_ZERO_DATE,NO_ZERO_IN_DATE,NO_ENGINE_SUBSTITUTION', \
    innodb_lock_wait_timeout = 5";

/// No gap locks, so that batches on neighbouring rows do not wait for each other; locked rows are read in their latest
/// version.
const ISOLATION: &str = "SET SESSION TRANSACTION ISOLATION LEVEL READ COMMITTED";

/// A Galera node may lag behind the node that wrote: reads wait until it has caught up.
const READ_YOUR_WRITES: &str = "SET SESSION wsrep_sync_wait = 1";

/// Connections to one of the hosts.
#[derive(Debug)]
pub struct Pool {
    pub(super) connections: MySqlPool,
    failover: Failover,
    last_break: Arc<Moment>,
    last_silence: Arc<Moment>,
    last_refusal: Arc<Moment>,
    /// Another refusal has come within [`RECONNECT`] of the last one.
    refused_again: Arc<AtomicBool>,
}

/// The information to recognize connections that must not be used any more.
#[derive(Debug, Clone)]
struct Watch {
    last_switch: Arc<Moment>,
    last_break: Arc<Moment>,
    last_silence: Arc<Moment>,
    last_refusal: Arc<Moment>,
}

impl Pool {
    /// Connects at the first use. Must be called within a runtime.
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
            // A connection is tested when it is returned; testing a busy one again when it is taken would add a round
            // trip to every transaction. A connection that was idle is tested, see `Watch`.
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
            refused_again: Arc::default(),
        }
    }

    /// A connection to a host that accepts writes, as far as is known.
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
            // The pool reads its options again before every attempt to connect.
            Err(_) => {
                self.failover.elect(&self.connections).await;
                waiting.await.map_err(classify)
            }
        }
    }

    /// A connection has not answered in time. The same fault probably affects all others, and finding that out one by one
    /// would take a time-out for each: none of them is used again.
    pub fn connection_fell_silent(self: &Arc<Self>) {
        self.last_silence.set();
        self.connection_failed();
    }

    /// The server accepts no changes. It may be the former primary, and the new one may now have its address; and a session
    /// keeps old settings that an administrator has since corrected: none of the connections is used again. At most once a
    /// second, so that the pool does not constantly reconnect to a server that stays read-only. The last refusal counts in
    /// any case: otherwise a connection to the former primary could stay and answer reads with old data.
    pub fn changes_are_refused(&self) {
        self.replace_connections();
    }

    fn replace_connections(&self) {
        if !self.last_refusal.is_within(RECONNECT) {
            self.last_refusal.set();
        } else if let Ok(runtime) = Handle::try_current()
            && !self.refused_again.swap(true, Ordering::Relaxed)
        {
            let (refused_again, last_refusal) = (
                Arc::clone(&self.refused_again),
                Arc::clone(&self.last_refusal),
            );
            runtime.spawn(async move {
                tokio::time::sleep(RECONNECT).await;
                last_refusal.set();
                refused_again.store(false, Ordering::Relaxed);
            });
        }
    }

    /// The server has no room for another prepared statement. None of the connections is used again, which gives back all
    /// of this process's.
    pub fn statements_are_full(&self) {
        if !self.last_refusal.is_within(RECONNECT) {
            tracing::warn!(
                "the database allows no more prepared statements; connections are opened again, which takes time: raise \
                 max_prepared_stmt_count"
            );
        }
        self.replace_connections();
    }

    /// A connection has failed: idle connections are tested before they are used, and with several hosts another host is
    /// searched in the background.
    pub fn connection_failed(self: &Arc<Self>) {
        self.last_break.set();
        if let (true, Ok(runtime)) = (self.failover.has_choice(), Handle::try_current()) {
            let pool = Arc::clone(self);
            runtime.spawn(async move { pool.failover.elect(&pool.connections).await });
        }
    }
}

impl Watch {
    /// A connection is unusable if it is older than the last switch, silence or refusal, or does not answer a ping when
    /// there is a reason to send one.
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
        // The session's SQL modes replace the server's.
        .pipes_as_concat(false)
        .no_engine_substitution(false)
        .statement_cache_capacity(STATEMENTS.into())
}

async fn prepare_session(connection: &mut MySqlConnection) -> Result<(), sqlx::Error> {
    connection.execute(SESSION).await?;
    connection.execute(ISOLATION).await?;
    if is_galera(connection).await? {
        connection.execute(READ_YOUR_WRITES).await?;
    }
    Ok(())
}
