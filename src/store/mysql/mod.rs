//! MySQL and MariaDB: single servers, Galera clusters, or servers behind a proxy.

mod connection;
mod errors;
mod failover;
mod hosts;
mod migrate;
mod nodelay;
mod server;

use std::sync::Arc;

use self::errors::classify;
use self::server::Pool;
use super::migrations::{self, migration_error};
use super::{Connections, StoreError};
use crate::domain::Timestamp;

pub(super) use self::connection::MySqlSession;
pub use self::hosts::{Hosts, InvalidDatabaseUrl, parse_url};

/// Prepared statements that a connection keeps at most. There are more texts, but not for the work of one process at a time;
/// one that was pushed out is prepared again. All connections of all processes share the server's limit.
pub const STATEMENTS: u16 = 240;

/// Waits up to a minute for another process's migrations. Locks are server-wide, so the name contains the database's
/// (shortened: at most 64 characters; MySQL 9 no longer has `MD5`).
const LOCK_MIGRATIONS: &str =
    "SELECT GET_LOCK(CONCAT('payments ', LEFT(SHA2(DATABASE(), 256), 40)), 60)";

/// The connections to the server.
#[derive(Debug)]
pub struct Server {
    pool: Arc<Pool>,
}

impl Server {
    /// Connects at the first use, so the servers may still be starting. Must be called within a runtime.
    pub(super) fn new(hosts: Hosts, max_connections: u32) -> Self {
        let pool = Arc::new(Pool::new(hosts, max_connections));
        Self { pool }
    }

    /// Several processes write at the same time anyway, so this causes no new kind of collision. A small number, because
    /// the commands of a process share `DATABASE_CONNECTIONS`.
    pub(super) const LANES: usize = 3;

    pub(super) async fn reader(&self) -> Result<MySqlSession, StoreError> {
        let connection = self.pool.acquire().await?;
        Ok(MySqlSession::reader(Arc::clone(&self.pool), connection))
    }

    pub(super) async fn begin(&self) -> Result<(MySqlSession, Timestamp), StoreError> {
        let connection = self.pool.acquire().await?;
        match MySqlSession::begin(Arc::clone(&self.pool), connection).await {
            // No statement has run yet, and after a failure the pool tests its connections before it lends them.
            Err(error) if error.is_broken_connection() => {
                let connection = self.pool.acquire().await?;
                MySqlSession::begin(Arc::clone(&self.pool), connection).await
            }
            result => result,
        }
    }

    /// Only one process at a time. On Galera the lock is not cluster-wide: there, all processes must list the same host
    /// first.
    pub(super) async fn migrate(&self) -> Result<(), StoreError> {
        let mut connection = self.pool.acquire().await?;
        // The lock belongs to the connection and is released with it, however this ends.
        connection.close_on_drop();
        // The migrator's own lock has no time limit, which MariaDB refuses, so it would not lock.
        let locked: Option<i64> = sqlx::query_scalar(LOCK_MIGRATIONS)
            .fetch_one(&mut *connection)
            .await
            .map_err(classify)?;
        if locked != Some(1) {
            let words = "another `setup` is running the migrations".to_owned();
            return Err(classify(sqlx::Error::Protocol(words)));
        }
        let result = migrate::run(&mut connection, &migrations::MYSQL).await;
        result.map_err(|error| migration_error(error, classify))
    }

    pub(super) fn connections(&self) -> Connections {
        Connections::of("database", &self.pool.connections)
    }

    pub(super) async fn close(&self) {
        self.pool.connections.close().await;
    }
}
