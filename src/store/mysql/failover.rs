//! Which of several hosts is used: the first that answers and can be written to. It is kept until it fails, so that
//! a host that comes and goes does not drag everyone back and forth.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, RwLock};
use std::time::{Duration, Instant};

use sqlx::mysql::{MySqlConnectOptions, MySqlConnection, MySqlPool};
use sqlx::{ConnectOptions, Connection};
use tokio::sync::Mutex;
use tokio::time::timeout;

use super::hosts::Hosts;

/// How long a host may take to show that it can be used.
const PROBE: Duration = Duration::from_secs(2);

/// Those who find a host failed at the same moment share one election.
const FRESH: Duration = Duration::from_secs(1);

/// The hosts and which of them is used now.
#[derive(Debug)]
pub struct Failover {
    hosts: Hosts,
    current: AtomicUsize,
    last_switch: Arc<LastSwitch>,
    last_election: Mutex<Option<Instant>>,
}

/// When the last change of hosts was; connections that are older lead to the wrong host.
#[derive(Debug, Default)]
pub struct LastSwitch(RwLock<Option<Instant>>);

impl LastSwitch {
    /// Whether a connection of this age leads to a host that is no longer used.
    pub fn is_after(&self, age: Duration) -> bool {
        let switched = self
            .0
            .read()
            .map_or_else(|lock| *lock.into_inner(), |at| *at);
        switched.is_some_and(|at| at.elapsed() < age)
    }

    fn set(&self) {
        let mut switched = self.0.write().unwrap_or_else(|lock| lock.into_inner());
        *switched = Some(Instant::now());
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

    /// Whether there is a choice at all.
    pub fn has_choice(&self) -> bool {
        self.hosts.0.len() > 1
    }

    /// For the pool, which closes connections that are older.
    pub fn last_switch(&self) -> Arc<LastSwitch> {
        Arc::clone(&self.last_switch)
    }

    /// Whether the hosts have never been tried.
    pub async fn is_untried(&self) -> bool {
        self.has_choice() && self.last_election.lock().await.is_none()
    }

    /// Points the pool to the first host, from the current one on, that answers and can be written to. Leaves it
    /// where it is if there is none.
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
        let usable = is_writable(&mut connection).await?;
        connection.close().await?;
        Ok::<bool, sqlx::Error>(usable)
    };
    matches!(timeout(PROBE, probe).await, Ok(Ok(true)))
}

/// Not a replica, and not a Galera node that is out of its cluster (which answers a plain `SELECT` with 1047, so
/// that this fails).
async fn is_writable(connection: &mut MySqlConnection) -> Result<bool, sqlx::Error> {
    let read_only: i64 = sqlx::query_scalar("SELECT CAST(@@GLOBAL.read_only AS SIGNED)")
        .fetch_one(&mut *connection)
        .await?;
    let ready: Option<(String, String)> =
        sqlx::query_as("SHOW GLOBAL STATUS WHERE Variable_name = 'wsrep_ready'")
            .fetch_optional(connection)
            .await?;
    Ok(read_only == 0 && ready.is_none_or(|(_, value)| value != "OFF"))
}
