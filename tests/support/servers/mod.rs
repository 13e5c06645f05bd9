//! Private database and broker servers for tests and benches: real ones, on free loopback ports, in temporary
//! folders. They end with the process that started them, however it ends.
//!
//! Most tests want [`fresh_database`] and [`fresh_vhost`]: one pair of servers for the whole test process, a database
//! and a virtual host for every test. A test that stops or kills a server starts its own [`Database`] or [`Broker`].
//!
//! It uses nothing of the crate under test, so that benches can include it by path. Linux only (setpriv, /proc).

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]
#![allow(
    unused_imports,
    reason = "each binary that includes this uses its own part of it"
)]

use std::fmt;

mod broker;
mod broker_cluster;
mod database;
mod flavor;
mod galera;
mod given;
mod node;
mod port;
mod server_folder;
mod shared;
mod stuck_subscriber;
mod supervisor;

/// A server's TLS certificate and key, in PEM.
#[derive(Debug, Clone)]
pub struct ServerCertificate {
    pub ca: String,
    pub certificate: String,
    pub key: String,
}

pub use broker::{Broker, BrokerOptions};
pub use broker_cluster::{BrokerCluster, Minority};
pub use database::{Database, DatabaseOptions};
pub use flavor::Flavor;
pub use galera::Galera;
pub use shared::{
    AmqpUrl, DatabaseUrl, fresh_database, fresh_servers, fresh_vhost, shared_broker,
    shared_database,
};
pub use stuck_subscriber::{StuckSubscriber, stick};

/// Why there is no server. Clonable, because one failed start is told to every test that wanted the server.
#[derive(Clone, thiserror::Error)]
pub enum ServerError {
    /// A program or folder is not there; says what to do about it.
    #[error("{what} is missing: {remedy}")]
    Missing { what: String, remedy: String },
    /// A server did not start, or failed an operation; ends with the tail of its log.
    #[error("{what}\n{log}")]
    Failed { what: String, log: String },
    /// A server named in the environment refused.
    #[error("{variable}: {reason}")]
    Given {
        variable: &'static str,
        reason: String,
    },
}

/// The same as its display, because `unwrap` prints this, and a log in one line is hard to read.
impl fmt::Debug for ServerError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

impl ServerError {
    fn failed(what: impl fmt::Display, cause: impl fmt::Display) -> Self {
        Self::Failed {
            what: what.to_string(),
            log: cause.to_string(),
        }
    }
}

pub type Result<T, E = ServerError> = std::result::Result<T, E>;
