//! One database server and one broker for the whole test process, started when the first test asks, and for every
//! test a separate database and virtual host. Tests run on many runtimes, so nothing here belongs to one.

use std::{fmt, ops::Deref, sync::OnceLock, thread};

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};

use super::{Broker, BrokerOptions, Database, DatabaseOptions, Result, ServerError, given};

/// Enough for most runs; creating one more takes a start of rabbitmqctl.
const VHOSTS: usize = 64;

/// Of a database that no other test has; empty.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DatabaseUrl(String);

/// Of a virtual host that no other test has; without any topology.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct AmqpUrl(String);

impl Deref for DatabaseUrl {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl Deref for AmqpUrl {
    type Target = str;
    fn deref(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DatabaseUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl fmt::Display for AmqpUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

/// The test process's own database server; blocks while it starts. Not durable.
pub fn shared_database() -> Result<&'static Database> {
    static SHARED: OnceLock<Result<Database>> = OnceLock::new();
    SHARED
        .get_or_init(|| Database::start(&DatabaseOptions::default()))
        .as_ref()
        .map_err(Clone::clone)
}

/// The test process's own broker; blocks while it starts.
pub fn shared_broker() -> Result<&'static Broker> {
    static SHARED: OnceLock<Result<Broker>> = OnceLock::new();
    SHARED
        .get_or_init(|| {
            Broker::start(&BrokerOptions {
                vhosts: VHOSTS,
                ..BrokerOptions::default()
            })
        })
        .as_ref()
        .map_err(Clone::clone)
}

/// An empty database for one test.
pub async fn fresh_database() -> Result<DatabaseUrl> {
    let server = match given::server("TEST_DATABASE_URL") {
        Some(server) => server,
        None => blocking(|| shared_database().map(|database| database.url(""))).await?,
    };
    let (server, name) = (
        server.trim_end_matches('/').to_owned(),
        given::unique_name(),
    );
    let made = async {
        // No database is named: it is allowed to create, not to use another's.
        let mut connection = MySqlConnection::connect(&server).await?;
        connection
            .execute(AssertSqlSafe(format!("CREATE DATABASE {name}")))
            .await?;
        connection.close().await
    };
    let refused =
        |error: sqlx::Error| ServerError::failed("cannot create a database for the test", error);
    made.await.map_err(refused)?;
    Ok(DatabaseUrl(format!("{server}/{name}")))
}

/// An empty virtual host for one test.
pub async fn fresh_vhost() -> Result<AmqpUrl> {
    let url = blocking(|| match given::server("TEST_AMQP_URL") {
        Some(server) => Ok(format!("{server}/{}", given::make_vhost(&server)?)),
        None => shared_broker().and_then(|broker| Ok(broker.url(&broker.vhost()?))),
    });
    url.await.map(AmqpUrl)
}

/// Both, for a test that needs both: the servers then start at the same time.
pub async fn fresh_servers() -> Result<(DatabaseUrl, AmqpUrl)> {
    tokio::try_join!(fresh_database(), fresh_vhost())
}

/// A start takes seconds, in which the test's runtime keeps running.
async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T> + Send + 'static,
) -> Result<T> {
    let (done, outcome) = tokio::sync::oneshot::channel();
    thread::spawn(move || done.send(work()));
    outcome
        .await
        .unwrap_or_else(|_| Err(ServerError::failed("the start of a server panicked", "")))
}
