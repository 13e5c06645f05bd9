//! The distributed engines: three RabbitMQ nodes and three Galera nodes, of which any one may be gone.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::{Connection, Executor, MySqlConnection};

use super::place::blocking;
use crate::support::servers::{BrokerCluster, Galera};

const NODES: usize = 3;
const DATABASE: &str = "payments";

pub struct Clusters {
    pub brokers: BrokerCluster,
    pub galera: Galera,
    dead_broker: Mutex<Option<usize>>,
    dead_database: Mutex<Option<usize>>,
}

impl Clusters {
    /// Both at the same time, with an empty database and a user for the service.
    pub async fn start() -> Arc<Self> {
        let starting = (
            tokio::task::spawn_blocking(|| BrokerCluster::start().unwrap()),
            tokio::task::spawn_blocking(|| Galera::start().unwrap()),
        );
        let (brokers, galera) = (starting.0.await.unwrap(), starting.1.await.unwrap());
        let made = "CREATE DATABASE payments; \
                    CREATE USER payments@'127.0.0.1' IDENTIFIED BY 'payments'; \
                    GRANT ALL ON payments.* TO payments@'127.0.0.1'";
        let first = galera.nodes()[0].admin_url();
        let mut administrator = MySqlConnection::connect(&first).await.unwrap();
        administrator.execute(sqlx::raw_sql(made)).await.unwrap();
        Arc::new(Self {
            brokers,
            galera,
            dead_broker: Mutex::default(),
            dead_database: Mutex::default(),
        })
    }

    /// For a process of the service: every node, beginning with another one for every process, so that they write to
    /// different nodes.
    pub fn service_urls(&self, process: usize) -> [String; 2] {
        let order = [0, 1, 2].map(|number| (process + number) % NODES);
        let database = self.galera.url(order, DATABASE);
        [
            database.replacen("root@", "payments:payments@", 1),
            self.brokers.url(order),
        ]
    }

    /// For an administrator or a client of one node.
    pub fn node_urls(&self, number: usize) -> [String; 2] {
        [
            self.galera.nodes()[number].url(DATABASE),
            self.brokers.nodes()[number].url(self.brokers.vhost()),
        ]
    }

    pub fn database_address(&self, number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.galera.nodes()[number].port()).into()
    }

    pub fn broker_address(&self, number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.brokers.nodes()[number].port()).into()
    }

    pub async fn kill_broker(self: &Arc<Self>, number: usize) -> Result<(), String> {
        let clusters = Arc::clone(self);
        set(&self.dead_broker, Some(number));
        blocking(move || clusters.brokers.nodes()[number].kill()).await
    }

    pub async fn kill_database(self: &Arc<Self>, number: usize) -> Result<(), String> {
        let clusters = Arc::clone(self);
        set(&self.dead_database, Some(number));
        blocking(move || clusters.galera.nodes()[number].kill()).await
    }

    /// Starts what was killed, and waits until it takes part again.
    pub async fn complete(self: &Arc<Self>) -> Result<(), String> {
        if let Some(number) = set(&self.dead_broker, None) {
            let clusters = Arc::clone(self);
            blocking(move || clusters.brokers.rejoin(number)).await?;
        }
        if let Some(number) = set(&self.dead_database, None) {
            let clusters = Arc::clone(self);
            blocking(move || clusters.galera.rejoin(number)).await?;
        }
        Ok(())
    }

    /// The node that leads a queue.
    pub async fn leader(self: &Arc<Self>, queue: &'static str) -> Result<usize, String> {
        let clusters = Arc::clone(self);
        blocking(move || clusters.brokers.leader(queue)).await
    }

    /// The database node that most of the service's connections lead to.
    pub async fn writer(&self) -> Result<usize, String> {
        let mut most = (0, 0);
        for (number, node) in self.galera.nodes().iter().enumerate() {
            let counted = async {
                let mut administrator = MySqlConnection::connect(&node.admin_url()).await?;
                let count =
                    "SELECT COUNT(*) FROM information_schema.processlist WHERE user = 'payments'";
                sqlx::query_scalar(count)
                    .fetch_one(&mut administrator)
                    .await
            };
            let count: i64 = counted
                .await
                .map_err(|error: sqlx::Error| error.to_string())?;
            most = most.max((count, number));
        }
        Ok(most.1)
    }
}

/// Returns what it was.
fn set(place: &Mutex<Option<usize>>, number: Option<usize>) -> Option<usize> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut place, number)
}
