//! A private RabbitMQ with its own epmd, so that nothing is left when it ends. Everything here blocks; call it from
//! a blocking thread where an async test has other work to do meanwhile.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use super::{
    Flavor, Result, ServerCertificate, ServerError,
    node::{self, Node, USER},
    port,
    server_folder::ServerFolder,
};

const NAME: &str = "broker";
const START_LIMIT: Duration = Duration::from_secs(120);
/// A port may be taken between choosing and using it.
const START_TRIES: u32 = 3;

/// What a test can change.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// None: the one that `TEST_SERVERS` names.
    pub flavor: Option<Flavor>,
    /// Virtual hosts created at the start, and as many again whenever they are used up. Creating one later takes
    /// a start of rabbitmqctl, a second or two.
    pub vhosts: usize,
    /// Listens with TLS as well, with this.
    pub tls: Option<ServerCertificate>,
    /// More lines for rabbitmq.conf.
    pub configuration: String,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            flavor: None,
            vhosts: 1,
            tls: None,
            configuration: String::new(),
        }
    }
}

/// Ended and its folder removed when dropped, or when the process that holds it is gone.
#[derive(Debug)]
pub struct Broker {
    folder: ServerFolder,
    node: Node,
    flavor: Flavor,
    options: BrokerOptions,
    handed_out: AtomicUsize,
    made: Mutex<usize>,
}

impl Broker {
    pub fn start(options: &BrokerOptions) -> Result<Self> {
        let flavor = options.flavor.map_or_else(Flavor::from_env, Ok)?;
        let mut last = None;
        for _ in 0..START_TRIES {
            // A new folder as well: the node's name, which its files carry, comes from its port.
            let broker = Self::new(Node::new(flavor)?, flavor, options)?;
            match broker.start_again() {
                Ok(()) => return Ok(broker),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ServerError::failed("the broker was not started", "")))
    }

    /// A folder for a node, with its configuration.
    pub(super) fn new(node: Node, flavor: Flavor, options: &BrokerOptions) -> Result<Self> {
        let broker = Self {
            node,
            folder: ServerFolder::new(flavor, "broker", "rabbitmq")?,
            flavor,
            options: options.clone(),
            handed_out: AtomicUsize::new(0),
            made: Mutex::new(options.vhosts),
        };
        broker.node.install(&broker.folder, options)?;
        Ok(broker)
    }

    /// Starts a stopped or killed server: same files, same ports, same node.
    pub fn start_again(&self) -> Result<()> {
        if self.node.has_own_epmd {
            self.start_epmd()?;
        }
        self.launch()?;
        self.until_up()
    }

    /// Starts the register of Erlang's nodes, unless it runs.
    pub(super) fn start_epmd(&self) -> Result<()> {
        let port = self.node.epmd.to_string();
        let epmd = ["/usr/bin/epmd", "-address", "127.0.0.1", "-port", &port].map(str::to_owned);
        if !self.folder.supervisor.is_alive("epmd")? {
            self.folder.start("epmd", &[], &epmd)?;
            // It need not answer: accepting the connection is enough for the server.
            port::eventually(Duration::from_secs(10), || {
                Ok::<_, ServerError>(port::is_open(self.node.epmd))
            })?;
        }
        Ok(())
    }

    /// Starts the server and does not wait.
    pub(super) fn launch(&self) -> Result<()> {
        let environment = self.node.environment(&self.folder);
        let program = self.node.program("rabbitmq-server");
        self.folder.start(NAME, &environment, &[program]).map(drop)
    }

    /// Waits until it serves.
    pub(super) fn until_up(&self) -> Result<()> {
        let (folder, supervisor) = (&self.folder, &self.folder.supervisor);
        let mut alive = true;
        let up = port::eventually(START_LIMIT, || {
            alive = supervisor.is_alive(NAME)?;
            // A method frame (1) on channel 0: Connection.Start. RabbitMQ listens when everything else is done.
            let serves = || {
                port::answers(self.node.amqp, b"AMQP\x00\x00\x09\x01", |frame| {
                    frame.starts_with(&[1, 0])
                })
            };
            Ok::<_, ServerError>(!alive || serves())
        })?;
        if up && alive {
            return Ok(());
        }
        supervisor.end(NAME, "KILL", 1)?;
        Err(ServerError::failed(
            "the broker did not start",
            folder.tail("broker.log"),
        ))
    }

    /// For that virtual host, as an administrator.
    pub fn url(&self, vhost: &str) -> String {
        format!(
            "amqp://{USER}:{USER}@127.0.0.1:{}/{}",
            self.node.amqp,
            vhost.replace('/', "%2f")
        )
    }

    /// A virtual host that no other test uses.
    pub fn vhost(&self) -> Result<String> {
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if number >= *made {
            let more = number + self.options.vhosts.max(1);
            self.import(&node::virtual_hosts(*made..more, false))?;
            *made = more;
        }
        Ok(node::vhost_name(number))
    }

    /// Loads a definitions file of this machine into the broker, as an operator would.
    pub fn import_definitions(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|error| {
            ServerError::failed(format!("cannot read {}", path.display()), error)
        })?;
        self.import(&text)
    }

    fn import(&self, definitions: &str) -> Result<()> {
        self.folder.write("home/import.json", definitions)?;
        self.rabbitmqctl(&[
            "import_definitions",
            &self.folder.inside("home/import.json"),
        ])
        .map(drop)
    }

    /// Returns what it printed. A second or two each.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let program = self.node.program("rabbitmqctl");
        let words = [program.as_str(), "--quiet"]
            .into_iter()
            .chain(arguments.iter().copied());
        self.folder.run(
            &self.node.environment(&self.folder),
            &words.map(str::to_owned).collect::<Vec<_>>(),
            "",
        )
    }

    /// The port with TLS.
    pub fn tls_port(&self) -> u16 {
        self.node.amqps
    }

    /// The node's Erlang name.
    pub fn node_name(&self) -> String {
        self.node.name()
    }

    pub fn port(&self) -> u16 {
        self.node.amqp
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The server's process.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.folder.outside("home/pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Queues and messages, as this process sees them.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.outside("data")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.folder.outside("log")
    }

    /// Stops gracefully.
    pub fn stop(&self) -> Result<()> {
        self.folder.supervisor.end(NAME, "TERM", 60)
    }

    /// kill -9.
    pub fn kill(&self) -> Result<()> {
        self.folder.supervisor.end(NAME, "KILL", 10)
    }

    /// Stops gracefully and starts again.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Suspends the process: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.folder.supervisor.signal(NAME, "STOP").map(drop)
    }

    pub fn resume(&self) -> Result<()> {
        self.folder.supervisor.signal(NAME, "CONT").map(drop)
    }
}
