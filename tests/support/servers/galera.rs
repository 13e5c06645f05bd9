//! Three MariaDB servers as one Galera cluster, with the timing that Galera has by default. Everything here blocks.

use std::{thread, time::Duration};

use sqlx::{Connection, MySqlConnection};

use super::{Database, DatabaseOptions, Flavor, Result, ServerError, port};

const NODES: usize = 3;
const LIBRARY: &str = "/usr/lib/galera/libgalera_smm.so";
/// Also for a whole copy of the data.
const JOIN_LIMIT: Duration = Duration::from_secs(90);

/// Ended and its folders removed when dropped, or when the process that holds it is gone.
#[derive(Debug)]
pub struct Galera {
    nodes: Vec<Database>,
}

impl Galera {
    /// Every node has joined and accepts writes.
    pub fn start() -> Result<Self> {
        port::tried_again(Self::try_start)
    }

    fn try_start() -> Result<Self> {
        let group: Vec<u16> = (0..NODES).map(|_| port::free()).collect();
        let nodes: Result<Vec<Database>> = group
            .iter()
            .map(|own| Database::new(&options(*own, &group)))
            .collect();
        let cluster = Self { nodes: nodes? };
        let [first, others @ ..] = cluster.nodes.as_slice() else {
            return Err(ServerError::failed("a cluster without nodes", ""));
        };
        for file in [LIBRARY, "/usr/bin/rsync"] {
            first.folder.require(file, "galera-4 rsync")?;
        }
        first.install()?;
        // A node that has the first one's files gets what it lacks, instead of everything.
        first.launch(&bootstrap())?;
        first.until_up()?;
        first.stop()?;
        for other in others {
            other.copy_files_of(first)?;
        }
        first.launch(&bootstrap())?;
        cluster.until_member(0)?;
        for number in 1..NODES {
            cluster.nodes[number].launch(&[])?;
            cluster.until_member(number)?;
        }
        Ok(cluster)
    }

    pub fn nodes(&self) -> &[Database] {
        &self.nodes
    }

    /// For the database of that name, with the nodes in that order, as an administrator.
    pub fn url(&self, order: [usize; NODES], database: &str) -> String {
        let hosts = order.map(|number| format!("127.0.0.1:{}", self.nodes[number].port()));
        format!("mysql://root@{}/{database}", hosts.join(","))
    }

    /// Restarts a stopped or killed node, as MariaDB's service does: the node finds its own position.
    pub fn rejoin(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let log = "files/recovery.log";
        let _ = std::fs::remove_file(node.folder.outside(log));
        node.run(&[
            "--wsrep-recover".to_owned(),
            format!("--log-error={}", node.folder.inside(log)),
        ])?;
        let said = node.folder.tail(log);
        let position = said
            .lines()
            .rev()
            .find_map(|line| line.split_once("Recovered position: "))
            .map(|(_, position)| format!("--wsrep-start-position={}", position.trim()));
        node.launch(&position.into_iter().collect::<Vec<_>>())?;
        self.until_member(number)
    }

    /// Starts a node without any data: another one gives it a copy.
    pub fn rejoin_empty(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let emptied = std::fs::remove_dir_all(node.data_dir());
        emptied.map_err(|error| ServerError::failed("cannot remove the node's data", error))?;
        node.folder.make_folder("files/data")?;
        node.launch(&[])?;
        self.until_member(number)
    }

    /// Waits until that node has joined.
    pub fn until_member(&self, number: usize) -> Result<()> {
        let node = &self.nodes[number];
        let joined = port::eventually(JOIN_LIMIT, || {
            if !node.is_alive()? {
                return Err(ServerError::failed(
                    "a node of the database cluster has ended",
                    node.log_tail(),
                ));
            }
            Ok(status(node, "wsrep_local_state_comment").as_deref() == Some("Synced"))
        });
        match joined {
            Ok(true) => Ok(()),
            Ok(false) => Err(ServerError::failed(
                "a node does not join the database cluster",
                node.log_tail(),
            )),
            Err(error) => Err(error),
        }
    }

    /// How many nodes that one sees, itself among them.
    pub fn size(&self, number: usize) -> usize {
        status(&self.nodes[number], "wsrep_cluster_size")
            .and_then(|size| size.parse().ok())
            .unwrap_or(0)
    }

    /// Transactions of others that a node refused because of a conflict, and its own that it aborted for others.
    pub fn conflicts(&self) -> u64 {
        let counters = ["wsrep_local_cert_failures", "wsrep_local_bf_aborts"];
        let of_node = |node: &Database| -> u64 {
            let counts = counters.iter().filter_map(|name| status(node, name));
            counts.filter_map(|count| count.parse::<u64>().ok()).sum()
        };
        self.nodes.iter().map(of_node).sum()
    }
}

fn bootstrap() -> [String; 1] {
    ["--wsrep-new-cluster".to_owned()]
}

fn options(own: u16, group: &[u16]) -> DatabaseOptions {
    let members: Vec<String> = group
        .iter()
        .map(|port| format!("127.0.0.1:{port}"))
        .collect();
    let provider = format!(
        "gmcast.listen_addr=tcp://127.0.0.1:{own};ist.recv_addr=127.0.0.1:{};gcache.size=64M",
        port::free()
    );
    let arguments = vec![
        "--wsrep-on=ON".to_owned(),
        format!("--wsrep-provider={LIBRARY}"),
        "--wsrep-cluster-name=payments".to_owned(),
        format!("--wsrep-cluster-address=gcomm://{}", members.join(",")),
        format!("--wsrep-node-address=127.0.0.1:{own}"),
        format!("--wsrep-node-name=node-{own}"),
        format!("--wsrep-provider-options={provider}"),
        "--wsrep-sst-method=rsync".to_owned(),
        format!("--wsrep-sst-receive-address=127.0.0.1:{}", port::free()),
        // What Galera asks for.
        "--innodb-autoinc-lock-mode=2".to_owned(),
        "--innodb-buffer-pool-size=128M".to_owned(),
    ];
    DatabaseOptions {
        // Galera is MariaDB's.
        flavor: Some(Flavor::Old),
        durable: false,
        tls: None,
        arguments,
    }
}

/// One of the server's own figures; none while it does not serve.
fn status(node: &Database, name: &str) -> Option<String> {
    let url = format!("{}?ssl-mode=DISABLED", node.admin_url());
    let asking = async {
        let mut connection = MySqlConnection::connect(&url).await?;
        let found: Option<(String, String)> =
            sqlx::query_as("SHOW GLOBAL STATUS WHERE Variable_name = ?")
                .bind(name)
                .fetch_optional(&mut connection)
                .await?;
        connection.close().await?;
        Ok::<_, sqlx::Error>(found.map(|(_, value)| value))
    };
    // On a separate thread, because the caller may be within a runtime.
    thread::scope(|scope| {
        let asked = scope.spawn(|| {
            let runtime = tokio::runtime::Builder::new_current_thread()
                .enable_all()
                .build()
                .ok()?;
            let limited = async { tokio::time::timeout(Duration::from_secs(2), asking).await };
            runtime.block_on(limited).ok()?.ok()?
        });
        asked.join().ok()?
    })
}
