//! The servers under fault, and administrators' connections to them, which the faults do not affect.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection};
use tokio::time::{Instant, sleep};

use super::clusters::Clusters;
use crate::support::proxy::Proxy;
use crate::support::servers::{
    Broker, BrokerOptions, Database, DatabaseOptions, fresh_database, fresh_vhost,
};

/// Which servers a group of faults needs for itself; the others are the test process's shared ones.
#[derive(Debug, Clone, Copy, Default)]
pub struct Needs {
    pub own_database: bool,
    pub own_broker: bool,
    /// Flush to the disk at every commit.
    pub durable: bool,
    /// Three nodes of each, instead of one.
    pub clusters: bool,
}

/// A database and a virtual host, each behind a proxy that the service connects to.
pub struct Fixture {
    pub database: Option<Arc<Database>>,
    pub broker: Option<Arc<Broker>>,
    pub clusters: Option<Arc<Clusters>>,
    /// As an administrator, directly.
    pub database_url: String,
    /// As an administrator, directly.
    pub amqp_url: String,
    pub database_way: Proxy,
    pub broker_way: Proxy,
    /// The URL for the service.
    pub service_urls: [String; 2],
}

impl Fixture {
    pub async fn start(needs: Needs) -> Self {
        if needs.clusters {
            return Self::on_clusters().await;
        }
        let (database, broker) = tokio::join!(own_database(needs), own_broker(needs));
        let (database, database_url, login) = match database {
            // Without an administrator's rights: read-only and a full house are to mean what they say.
            Some((server, url)) => (Some(server), url, Some("payments:payments@")),
            None => (None, fresh_database().await.unwrap().to_string(), None),
        };
        let (broker, amqp_url) = match broker {
            Some((server, url)) => (Some(server), url),
            None => (None, fresh_vhost().await.unwrap().to_string()),
        };
        let database_way = Proxy::before(&database_url).unwrap();
        let broker_way = Proxy::before(&amqp_url).unwrap();
        let mut service_url = database_way.url(&database_url);
        if let Some(login) = login {
            service_url = service_url.replacen("root@", login, 1);
        }
        Self {
            service_urls: [service_url, broker_way.url(&amqp_url)],
            database,
            broker,
            clusters: None,
            database_url,
            amqp_url,
            database_way,
            broker_way,
        }
    }

    /// The proxies lead client and administrator to a node that lives, as a load balancer does.
    async fn on_clusters() -> Self {
        let clusters = Clusters::start().await;
        let [database_url, amqp_url] = clusters.node_urls(0);
        let database_way = Proxy::before(&database_url).unwrap();
        let broker_way = Proxy::before(&amqp_url).unwrap();
        Self {
            service_urls: clusters.service_urls(0),
            database: None,
            broker: None,
            database_url: database_way.url(&database_url),
            amqp_url: broker_way.url(&amqp_url),
            database_way,
            broker_way,
            clusters: Some(clusters),
        }
    }

    /// What the process with that number is given.
    pub fn urls_for(&self, process: usize) -> [String; 2] {
        match &self.clusters {
            Some(clusters) => clusters.service_urls(process),
            None => self.service_urls.clone(),
        }
    }

    /// A connection of the administrator's.
    pub async fn administrator(&self) -> sqlx::Result<MySqlConnection> {
        MySqlConnection::connect(&self.database_url).await
    }

    /// One statement of the administrator's.
    pub async fn sql(&self, statement: &str) -> Result<(), String> {
        let deadline = Instant::now() + Duration::from_secs(10);
        loop {
            let done = async {
                let mut administrator = self.administrator().await?;
                administrator
                    .execute(AssertSqlSafe(statement.to_owned()))
                    .await?;
                administrator.close().await
            };
            match done.await {
                // The one place that a full server keeps for administrators may be taken still, by the one before.
                Err(error) if is_full(&error) && Instant::now() < deadline => {
                    sleep(Duration::from_millis(50)).await;
                }
                done => return done.map_err(|error| format!("{statement}: {error}")),
            }
        }
    }

    /// For connections that do nothing.
    pub fn crowd_url(&self) -> String {
        self.database_url.replacen("root@", "crowd:crowd@", 1)
    }

    /// Ends the connections that lie idle or at work for the service's user.
    pub async fn kill_service_connections(&self) -> Result<(), String> {
        self.sql("KILL USER payments").await
    }

    /// The virtual host, as rabbitmqctl wants it.
    pub fn vhost(&self) -> String {
        let name = self.amqp_url.rsplit('/').next().unwrap_or_default();
        name.replace("%2f", "/")
    }

    /// Runs a blocking operation on the database server.
    pub async fn with_database(
        &self,
        work: impl FnOnce(&Database) -> crate::support::servers::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let server = self.database.clone().ok_or("the database is shared")?;
        blocking(move || work(&server)).await
    }

    /// Runs a blocking operation on the broker.
    pub async fn with_broker(
        &self,
        work: impl FnOnce(&Broker) -> crate::support::servers::Result<()> + Send + 'static,
    ) -> Result<(), String> {
        let server = self.broker.clone().ok_or("the broker is shared")?;
        blocking(move || work(&server)).await
    }
}

pub async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> crate::support::servers::Result<T> + Send + 'static,
) -> Result<T, String> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|error| error.to_string())?
        .map_err(|error| error.to_string())
}

async fn own_database(needs: Needs) -> Option<(Arc<Database>, String)> {
    if !needs.own_database {
        return None;
    }
    let options = DatabaseOptions {
        durable: needs.durable,
        ..DatabaseOptions::default()
    };
    let server = tokio::task::spawn_blocking(move || Database::start(&options).unwrap());
    let server = server.await.unwrap();
    let made = "CREATE DATABASE payments; \
                CREATE USER payments@'127.0.0.1' IDENTIFIED BY 'payments'; \
                GRANT ALL ON payments.* TO payments@'127.0.0.1'; \
                CREATE USER crowd@'127.0.0.1' IDENTIFIED BY 'crowd'; \
                GRANT SELECT ON payments.* TO crowd@'127.0.0.1'";
    let mut administrator = MySqlConnection::connect(&server.admin_url()).await.unwrap();
    administrator.execute(sqlx::raw_sql(made)).await.unwrap();
    let url = server.url("payments");
    Some((Arc::new(server), url))
}

async fn own_broker(needs: Needs) -> Option<(Arc<Broker>, String)> {
    if !needs.own_broker {
        return None;
    }
    let started = || {
        let server = Broker::start(&BrokerOptions::default()).unwrap();
        let url = server.url(&server.vhost().unwrap());
        (Arc::new(server), url)
    };
    Some(tokio::task::spawn_blocking(started).await.unwrap())
}

/// Error 1040.
fn is_full(error: &sqlx::Error) -> bool {
    let refused = error.as_database_error();
    refused.is_some_and(|it| it.message().contains("Too many connections"))
}
