//! The distributed engines: three RabbitMQ nodes and three Galera nodes, of which any one may be gone. Beside RabbitMQ 4
//! there is a single MySQL instead, because Galera is MariaDB's.

use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use sqlx::mysql::MySqlDatabaseError;
use sqlx::{AssertSqlSafe, Connection, Executor, MySqlConnection, Row};

use super::fixture::blocking;
use crate::support::servers::{
    BrokerCluster, Database, DatabaseOptions, Flavor, Galera, Minority, Result,
};

const NODES: usize = 3;
const DATABASE: &str = "payments";

pub struct Clusters {
    pub brokers: BrokerCluster,
    databases: Databases,
    dead_broker: Mutex<Option<usize>>,
    dead_database: Mutex<Option<usize>>,
    cut_broker: Mutex<Option<(usize, Minority)>>,
    cut_database: Mutex<Option<usize>>,
}

enum Databases {
    Galera(Galera),
    Single(Box<Database>),
}

/// ER_UNKNOWN_COM_ERROR: what a Galera node in the minority says to every statement.
const NOT_READY: u16 = 1047;

impl Clusters {
    /// Both at the same time, with an empty database and a user for the service.
    pub async fn start() -> Arc<Self> {
        let starting = (
            tokio::task::spawn_blocking(|| BrokerCluster::start().unwrap()),
            tokio::task::spawn_blocking(|| Databases::start().unwrap()),
        );
        let (brokers, databases) = (starting.0.await.unwrap(), starting.1.await.unwrap());
        let made = "CREATE DATABASE payments; \
                    CREATE USER payments@'127.0.0.1' IDENTIFIED BY 'payments'; \
                    GRANT ALL ON payments.* TO payments@'127.0.0.1'";
        let first = databases.node(0).admin_url();
        let mut administrator = MySqlConnection::connect(&first).await.unwrap();
        administrator.execute(sqlx::raw_sql(made)).await.unwrap();
        Arc::new(Self {
            brokers,
            databases,
            dead_broker: Mutex::default(),
            dead_database: Mutex::default(),
            cut_broker: Mutex::default(),
            cut_database: Mutex::default(),
        })
    }

    /// There with the old servers.
    pub fn galera(&self) -> &Galera {
        match &self.databases {
            Databases::Galera(galera) => galera,
            Databases::Single(_) => panic!("a fault of Galera beside a single MySQL"),
        }
    }

    /// For a process of the service: every node, beginning with another one for every process, so that they write to
    /// different nodes.
    pub fn service_urls(&self, process: usize) -> [String; 2] {
        let order = [0, 1, 2].map(|number| (process + number) % NODES);
        let database = match &self.databases {
            Databases::Galera(galera) => galera.url(order, DATABASE),
            Databases::Single(database) => database.url(DATABASE),
        };
        [
            database.replacen("root@", "payments:payments@", 1),
            self.brokers.url(order),
        ]
    }

    /// For an administrator or a client of one node.
    pub fn node_urls(&self, number: usize) -> [String; 2] {
        [
            self.databases.node(number).url(DATABASE),
            self.brokers.nodes()[number].url(self.brokers.vhost()),
        ]
    }

    pub fn database_address(&self, number: usize) -> SocketAddr {
        (Ipv4Addr::LOCALHOST, self.databases.node(number).port()).into()
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
        blocking(move || clusters.galera().nodes()[number].kill()).await
    }

    /// Cuts a broker node from the others; clients still reach it.
    pub async fn cut_broker(
        self: &Arc<Self>,
        number: usize,
        minority: Minority,
    ) -> Result<(), String> {
        let clusters = Arc::clone(self);
        set(&self.cut_broker, Some((number, minority)));
        blocking(move || clusters.brokers.cut(number, minority)).await
    }

    /// The names of the connections to a broker node, as the service gives them.
    pub async fn broker_connections(
        self: &Arc<Self>,
        number: usize,
    ) -> Result<Vec<String>, String> {
        let clusters = Arc::clone(self);
        blocking(move || clusters.brokers.connections(number)).await
    }

    /// Cuts a database node from the others; clients still reach it.
    pub async fn cut_database(&self, number: usize) -> Result<(), String> {
        set(&self.cut_database, Some(number));
        self.isolate(number, true).await
    }

    async fn isolate(&self, number: usize, isolated: bool) -> Result<(), String> {
        let flag = u8::from(isolated);
        let statement = format!("SET GLOBAL wsrep_provider_options = 'gmcast.isolate={flag}'");
        let isolated = async {
            let mut administrator = self.database_administrator(number).await?;
            administrator.execute(AssertSqlSafe(statement)).await?;
            administrator.close().await
        };
        isolated
            .await
            .map_err(|error: sqlx::Error| error.to_string())
    }

    /// Whether a database node answers that it has left its cluster.
    pub async fn refuses(&self, number: usize) -> bool {
        let asked = async {
            let mut administrator = self.database_administrator(number).await?;
            let asked = administrator.execute("SELECT COUNT(*) FROM payments.payments");
            asked.await.map(drop)
        };
        let error = asked.await.err();
        let refused = error.as_ref().and_then(sqlx::Error::as_database_error);
        let refused = refused.and_then(|error| error.try_downcast_ref::<MySqlDatabaseError>());
        refused.is_some_and(|error| error.number() == NOT_READY)
    }

    async fn database_administrator(&self, number: usize) -> sqlx::Result<MySqlConnection> {
        MySqlConnection::connect(&self.databases.node(number).admin_url()).await
    }

    /// The service's connections to a database node. `SHOW` is answered by a node that is out of its cluster as well.
    pub async fn database_connections(&self, number: usize) -> Result<usize, String> {
        let counted = async {
            let mut administrator = self.database_administrator(number).await?;
            let list = sqlx::raw_sql("SHOW PROCESSLIST");
            let rows = list.fetch_all(&mut administrator).await?;
            let users = rows.iter().map(|row| row.try_get::<String, _>("User"));
            let users = users.collect::<sqlx::Result<Vec<_>>>()?;
            Ok::<_, sqlx::Error>(users.iter().filter(|user| *user == "payments").count())
        };
        counted.await.map_err(|error| error.to_string())
    }

    /// Starts what was killed and lets back what was cut off, and waits until it takes part again.
    pub async fn complete(self: &Arc<Self>) -> Result<(), String> {
        if let Some(number) = set(&self.dead_broker, None) {
            let clusters = Arc::clone(self);
            blocking(move || clusters.brokers.rejoin(number)).await?;
        }
        if let Some(number) = set(&self.dead_database, None) {
            let clusters = Arc::clone(self);
            blocking(move || clusters.galera().rejoin(number)).await?;
        }
        if let Some((number, minority)) = set(&self.cut_broker, None) {
            let clusters = Arc::clone(self);
            blocking(move || clusters.brokers.mend(number, minority)).await?;
        }
        if let Some(number) = set(&self.cut_database, None) {
            self.isolate(number, false).await?;
            let clusters = Arc::clone(self);
            blocking(move || clusters.galera().until_member(number)).await?;
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
        for number in 0..NODES {
            most = most.max((self.database_connections(number).await?, number));
        }
        Ok(most.1)
    }
}

/// Returns what it was.
fn set<T>(place: &Mutex<Option<T>>, node: Option<T>) -> Option<T> {
    let mut place = place.lock().unwrap_or_else(PoisonError::into_inner);
    std::mem::replace(&mut place, node)
}

impl Databases {
    fn start() -> Result<Self> {
        match Flavor::from_env()? {
            Flavor::Old => Galera::start().map(Self::Galera),
            Flavor::New => {
                let database = Database::start(&DatabaseOptions::default())?;
                Ok(Self::Single(Box::new(database)))
            }
        }
    }

    /// One of the nodes, or the single server.
    fn node(&self, number: usize) -> &Database {
        match self {
            Self::Galera(galera) => &galera.nodes()[number],
            Self::Single(database) => database,
        }
    }
}
