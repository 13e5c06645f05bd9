//! Three RabbitMQ nodes as one cluster. Everything here blocks.

use std::{fmt::Write as _, time::Duration};

use super::{Broker, BrokerOptions, Flavor, Result, ServerError, node::Node, port};

const NODES: usize = 3;
/// For all nodes to know each other.
const JOIN_LIMIT: Duration = Duration::from_secs(60);

/// What a node does if it sees less than half of its cluster.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Minority {
    /// Closes its clients' connections and accepts none, as this cluster is configured.
    Pauses,
    /// Continues to serve clients with the data that it has.
    Serves,
}

impl Minority {
    fn handling(self) -> &'static str {
        match self {
            Self::Pauses => "pause_minority",
            Self::Serves => "ignore",
        }
    }
}

/// Ended and its folders removed when dropped, or when the process that holds it is gone.
#[derive(Debug)]
pub struct BrokerCluster {
    /// The first one's folder has the register of Erlang's nodes.
    nodes: Vec<Broker>,
    vhost: String,
}

impl BrokerCluster {
    /// All nodes are there, so that a queue declared now has a member on each.
    pub fn start() -> Result<Self> {
        port::tried_again(Self::try_start)
    }

    fn try_start() -> Result<Self> {
        let flavor = Flavor::from_env()?;
        let mut nodes = Vec::new();
        for _ in 0..NODES {
            nodes.push(Node::new(flavor)?);
        }
        let epmd = nodes[0].epmd;
        for node in &mut nodes[1..] {
            (node.epmd, node.has_own_epmd) = (epmd, false);
        }
        let options = BrokerOptions {
            configuration: configuration(&nodes),
            ..BrokerOptions::default()
        };
        let nodes: Result<Vec<Broker>> = nodes
            .into_iter()
            .map(|node| Broker::new(node, flavor, &options))
            .collect();
        let nodes = nodes?;
        nodes[0].start_epmd()?;
        // At the same time: the first one creates the cluster, the others join it.
        for node in &nodes {
            node.launch()?;
        }
        for node in &nodes {
            node.until_up()?;
        }
        let vhost = nodes[0].vhost()?;
        let cluster = Self { nodes, vhost };
        cluster.until_complete()?;
        Ok(cluster)
    }

    pub fn nodes(&self) -> &[Broker] {
        &self.nodes
    }

    pub fn vhost(&self) -> &str {
        &self.vhost
    }

    /// With the nodes in that order, for the one virtual host, as an administrator.
    pub fn url(&self, order: [usize; NODES]) -> String {
        let first = self.nodes[order[0]].url(&self.vhost);
        let hosts = order.map(|number| format!("127.0.0.1:{}", self.nodes[number].port()));
        first.replacen(&hosts[0], &hosts.join(","), 1)
    }

    /// The node that leads a queue, as the others see it.
    pub fn leader(&self, queue: &str) -> Result<usize> {
        let mut last = ServerError::failed("no node answers", "");
        for node in &self.nodes {
            let said = node.rabbitmqctl(&[
                "list_queues",
                "-p",
                &self.vhost,
                "name",
                "leader",
                "--no-table-headers",
            ]);
            let list = match said {
                Ok(list) => list,
                Err(error) => {
                    last = error;
                    continue;
                }
            };
            let mut rows = list.lines().filter_map(|line| line.split_once('\t'));
            let leader = rows.find(|(name, _)| *name == queue);
            let number = leader.and_then(|(_, leader)| self.number_of(leader.trim()));
            return number
                .ok_or_else(|| ServerError::failed(format!("{queue} has no leader"), list));
        }
        Err(last)
    }

    fn number_of(&self, name: &str) -> Option<usize> {
        self.nodes.iter().position(|node| node.node_name() == name)
    }

    /// Waits until every node runs within the cluster.
    pub fn until_complete(&self) -> Result<()> {
        let everybody = NODES.to_string();
        let seconds = JOIN_LIMIT.as_secs().to_string();
        self.nodes[0]
            .rabbitmqctl(&["await_online_nodes", &everybody, "--timeout", &seconds])
            .map(drop)
    }

    /// Restarts a stopped or killed node, and waits until it has joined.
    pub fn rejoin(&self, number: usize) -> Result<()> {
        self.nodes[number].launch()?;
        self.nodes[number].until_up()?;
        self.until_complete()
    }

    /// Cuts a node from the others, both ways, as a network does that breaks between them: Erlang refuses a node with
    /// another cookie. Clients still reach it.
    pub fn cut(&self, number: usize, minority: Minority) -> Result<()> {
        let others = self.others(number);
        let cut = format!(
            "application:set_env(rabbit, cluster_partition_handling, {}), \
             [begin erlang:set_cookie(N, cut), erlang:disconnect_node(N) end || N <- {others}].",
            minority.handling()
        );
        self.nodes[number].rabbitmqctl(&["eval", &cut])?;
        let expected = format!("{{[],{}}}", minority == Minority::Serves);
        let alone = || {
            let said = self.nodes[number].rabbitmqctl(&["eval", "{nodes(), rabbit:is_running()}."]);
            Ok::<_, ServerError>(said.is_ok_and(|said| said.trim() == expected))
        };
        if port::eventually(JOIN_LIMIT, alone)? {
            return Ok(());
        }
        Err(ServerError::failed(
            format!("node {number} is not alone in the minority"),
            "",
        ))
    }

    /// Reconnects a node that was cut off, and waits until it has joined.
    pub fn mend(&self, number: usize, minority: Minority) -> Result<()> {
        match minority {
            Minority::Pauses => {
                let others = self.others(number);
                let mended =
                    format!("[erlang:set_cookie(N, erlang:get_cookie()) || N <- {others}].");
                self.nodes[number].rabbitmqctl(&["eval", &mended])?;
                self.nodes[number].until_up()?;
                self.until_complete()
            }
            // Its own changes are discarded, as RabbitMQ's manual tells operators to do.
            Minority::Serves => {
                self.nodes[number].kill()?;
                self.rejoin(number)
            }
        }
    }

    /// All nodes but that one, as an Erlang list.
    fn others(&self, number: usize) -> String {
        let others = self.nodes.iter().enumerate();
        let others = others.filter(|(other, _)| *other != number);
        let names = others.map(|(_, node)| format!("'{}'", node.node_name()));
        format!("[{}]", names.collect::<Vec<_>>().join(","))
    }

    /// The names of the client connections to one node; connections without a name are left out.
    pub fn connections(&self, number: usize) -> Result<Vec<String>> {
        // Its name has changed with RabbitMQ 4. A connection may end between the two questions.
        let names = "List = case erlang:function_exported(rabbit_networking, local_connections, 0) of \
                     true -> local_connections; false -> connections_local end, \
                     [io:format(\"~s~n\", [Name]) || P <- rabbit_networking:List(), \
                     Info <- [catch rabbit_networking:connection_info(P, [client_properties])], is_list(Info), \
                     {client_properties, Table} <- Info, \
                     {<<\"connection_name\">>, _, Name} <- Table], ok.";
        let said = self.nodes[number].rabbitmqctl(&["eval", names])?;
        let lines = said.lines().filter(|line| *line != "ok");
        Ok(lines.map(str::to_owned).collect())
    }

    /// The nodes that accept connections.
    pub fn open(&self) -> Vec<bool> {
        self.nodes
            .iter()
            .map(|node| port::is_open(node.port()))
            .collect()
    }
}

/// Nodes that find each other by a list, and pause when they are in the minority.
fn configuration(nodes: &[Node]) -> String {
    let mut lines = "cluster_formation.peer_discovery_backend = classic_config\n\
                     cluster_partition_handling = pause_minority\n"
        .to_owned();
    for (number, node) in nodes.iter().enumerate() {
        let _ = writeln!(
            lines,
            "cluster_formation.classic_config.nodes.{} = {}",
            number + 1,
            node.name()
        );
    }
    lines
}
