//! A private RabbitMQ, with an epmd of its own so that nothing of it outlives it. Everything here blocks, except
//! taking a virtual host; call it from a blocking thread in async tests.

use std::{
    fs,
    path::{Path, PathBuf},
    sync::{
        Mutex, PoisonError,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use serde_json::json;

use super::{Flavor, Result, ServerError, place::Place, port};

const NAME: &str = "broker";
const START_LIMIT: Duration = Duration::from_secs(120);
/// A port may be taken between choosing and using it.
const START_TRIES: u32 = 3;
/// The administrator of every virtual host. RabbitMQ lets a `guest` in from loopback only.
const USER: &str = "guest";

/// What a test may want otherwise.
#[derive(Debug, Clone)]
pub struct BrokerOptions {
    /// None: the one that `TEST_SERVERS` names.
    pub flavor: Option<Flavor>,
    /// Virtual hosts made with the start, and again as many whenever they are used up. One that is made later costs
    /// a start of rabbitmqctl, a second or two.
    pub vhosts: usize,
    /// More lines for rabbitmq.conf.
    pub configuration: String,
}

impl Default for BrokerOptions {
    fn default() -> Self {
        Self {
            flavor: None,
            vhosts: 1,
            configuration: String::new(),
        }
    }
}

/// Ended and its folder removed when dropped, or when the process that holds it is gone.
#[derive(Debug)]
pub struct Broker {
    place: Place,
    flavor: Flavor,
    options: BrokerOptions,
    /// The folder of RabbitMQ's programs, as the server sees it.
    programs: String,
    ports: Ports,
    handed_out: AtomicUsize,
    made: Mutex<usize>,
}

#[derive(Debug, Clone, Copy)]
struct Ports {
    amqp: u16,
    /// Erlang's own protocol, for rabbitmqctl.
    distribution: u16,
    epmd: u16,
}

impl Broker {
    pub fn start(options: &BrokerOptions) -> Result<Self> {
        let flavor = options.flavor.map_or_else(Flavor::from_env, Ok)?;
        let programs = programs(flavor)?;
        let mut last = None;
        for _ in 0..START_TRIES {
            // A new folder as well: the node's name, which its files carry, comes from its port.
            let ports = Ports {
                amqp: port::free(),
                distribution: port::free(),
                epmd: port::free(),
            };
            let broker = Self {
                place: Place::new(flavor, "broker", "rabbitmq")?,
                flavor,
                options: options.clone(),
                programs: programs.clone(),
                ports,
                handed_out: AtomicUsize::new(0),
                made: Mutex::new(options.vhosts),
            };
            broker.install()?;
            match broker.start_again() {
                Ok(()) => return Ok(broker),
                Err(error) => last = Some(error),
            }
        }
        Err(last.unwrap_or_else(|| ServerError::failed("the broker was not started", "")))
    }

    fn install(&self) -> Result<()> {
        let place = &self.place;
        for folder in ["home", "data", "log"] {
            place.make_folder(folder)?;
        }
        place.write("home/.erlang.cookie", &format!("{}", std::process::id()))?;
        place.write("home/plugins", "[].")?;
        // No resolver is asked: the folder of the new servers has none.
        place.write(
            "home/inetrc",
            "{host, {127,0,0,1}, [\"localhost\"]}.\n{lookup, [file]}.\n",
        )?;
        // Part of the start, because every call of rabbitmqctl starts an Erlang machine of its own.
        let everything = self.virtual_hosts(0..self.options.vhosts, true);
        place.write("home/definitions.json", &everything)?;
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             load_definitions = {}\n\
             # Publishers of other tests must not be held up because this machine's disk is rather full.\n\
             disk_free_limit.absolute = 50MB\n\
             # A number, since not every folder has the /proc that a share would be taken of.\n\
             vm_memory_high_watermark.absolute = 1GB\n\
             log.file.level = info\n\
             {}\n",
            self.ports.amqp,
            place.inside("home/definitions.json"),
            self.options.configuration
        );
        place.write("home/rabbitmq.conf", &configuration)
    }

    /// Definitions of virtual hosts that the administrator may do everything in.
    fn virtual_hosts(&self, numbers: std::ops::Range<usize>, with_user: bool) -> String {
        let hosts = numbers
            .map(vhost_name)
            .chain(with_user.then(|| "/".to_owned()));
        let (hosts, permissions): (Vec<_>, Vec<_>) = hosts
            .map(|name| {
                let all = json!({"user": USER, "vhost": &name, "configure": ".*", "write": ".*", "read": ".*"});
                (json!({ "name": name }), all)
            })
            .unzip();
        let mut definitions = json!({"vhosts": hosts, "permissions": permissions});
        if with_user {
            let user =
                json!({"name": USER, "password": USER, "tags": ["administrator"], "limits": {}});
            definitions["users"] = json!([user]);
        }
        definitions.to_string()
    }

    fn environment(&self) -> Vec<(&'static str, String)> {
        let inside = |name: &str| self.place.inside(name);
        vec![
            ("HOME", inside("home")),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", self.ports.epmd.to_string()),
            ("ERL_INETRC", inside("home/inetrc")),
            (
                "RABBITMQ_NODENAME",
                format!("rabbit{}@localhost", self.ports.amqp),
            ),
            ("RABBITMQ_DIST_PORT", self.ports.distribution.to_string()),
            // None of the machine's own settings.
            ("RABBITMQ_CONF_ENV_FILE", "/dev/null".to_owned()),
            ("RABBITMQ_CONFIG_FILE", inside("home/rabbitmq.conf")),
            ("RABBITMQ_ENABLED_PLUGINS_FILE", inside("home/plugins")),
            ("RABBITMQ_MNESIA_BASE", inside("data")),
            ("RABBITMQ_LOG_BASE", inside("log")),
            ("RABBITMQ_PID_FILE", inside("home/pid")),
            ("RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS", LOOPBACK.to_owned()),
            ("RABBITMQ_CTL_ERL_ARGS", LOOPBACK.to_owned()),
            // The start script becomes the server, instead of a shell in front of it that a kill -9 would hit.
            ("RUNNING_UNDER_SYSTEMD", "true".to_owned()),
        ]
    }

    /// Starts a stopped or killed server: same files, same ports, same node.
    pub fn start_again(&self) -> Result<()> {
        let (place, supervisor) = (&self.place, &self.place.supervisor);
        let epmd = [
            "/usr/bin/epmd",
            "-address",
            "127.0.0.1",
            "-port",
            &self.ports.epmd.to_string(),
        ]
        .map(str::to_owned);
        if !supervisor.is_alive("epmd")? {
            place.start("epmd", &[], &epmd)?;
            // It need not answer anything: taking the connection is what the server needs.
            port::eventually(Duration::from_secs(10), || {
                Ok::<_, ServerError>(port::is_open(self.ports.epmd))
            })?;
        }
        place.start(
            NAME,
            &self.environment(),
            &[format!("{}/rabbitmq-server", self.programs)],
        )?;
        let mut alive = true;
        let up = port::eventually(START_LIMIT, || {
            alive = supervisor.is_alive(NAME)?;
            // A method frame (1) on channel 0: Connection.Start. RabbitMQ listens when everything else is done.
            let serves = || {
                port::answers(self.ports.amqp, b"AMQP\x00\x00\x09\x01", |frame| {
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
            place.tail("broker.log"),
        ))
    }

    /// For that virtual host, as an administrator.
    pub fn url(&self, vhost: &str) -> String {
        format!(
            "amqp://{USER}:{USER}@127.0.0.1:{}/{}",
            self.ports.amqp,
            vhost.replace('/', "%2f")
        )
    }

    /// A virtual host that nobody else has.
    pub fn vhost(&self) -> Result<String> {
        let number = self.handed_out.fetch_add(1, Ordering::Relaxed);
        let mut made = self.made.lock().unwrap_or_else(PoisonError::into_inner);
        if number >= *made {
            let more = number + self.options.vhosts.max(1);
            self.import(&self.virtual_hosts(*made..more, false))?;
            *made = more;
        }
        Ok(vhost_name(number))
    }

    /// Loads a definitions file of this machine into the broker, as an operator would.
    pub fn import_definitions(&self, path: &Path) -> Result<()> {
        let text = fs::read_to_string(path).map_err(|error| {
            ServerError::failed(format!("cannot read {}", path.display()), error)
        })?;
        self.import(&text)
    }

    fn import(&self, definitions: &str) -> Result<()> {
        self.place.write("home/import.json", definitions)?;
        self.rabbitmqctl(&["import_definitions", &self.place.inside("home/import.json")])
            .map(drop)
    }

    /// Returns what it printed. A second or two each.
    pub fn rabbitmqctl(&self, arguments: &[&str]) -> Result<String> {
        let program = format!("{}/rabbitmqctl", self.programs);
        let words = [program.as_str(), "--quiet"]
            .into_iter()
            .chain(arguments.iter().copied());
        self.place.run(
            &self.environment(),
            &words.map(str::to_owned).collect::<Vec<_>>(),
            "",
        )
    }

    pub fn port(&self) -> u16 {
        self.ports.amqp
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The server's process.
    pub fn pid(&self) -> Option<u32> {
        fs::read_to_string(self.place.outside("home/pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Queues and messages, as this process sees them.
    pub fn data_dir(&self) -> PathBuf {
        self.place.outside("data")
    }

    pub fn log_dir(&self) -> PathBuf {
        self.place.outside("log")
    }

    /// Stops in order.
    pub fn stop(&self) -> Result<()> {
        self.place.supervisor.end(NAME, "TERM", 60)
    }

    /// kill -9.
    pub fn kill(&self) -> Result<()> {
        self.place.supervisor.end(NAME, "KILL", 10)
    }

    /// Stops in order and starts again.
    pub fn restart(&self) -> Result<()> {
        self.stop()?;
        self.start_again()
    }

    /// Holds the process where it is: connections stay open and nothing answers.
    pub fn pause(&self) -> Result<()> {
        self.place.supervisor.signal(NAME, "STOP").map(drop)
    }

    pub fn resume(&self) -> Result<()> {
        self.place.supervisor.signal(NAME, "CONT").map(drop)
    }
}

/// Erlang's own protocol on loopback alone; epmd is the one that is started here.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";

fn vhost_name(number: usize) -> String {
    format!("test-{number}")
}

/// The folder of the programs themselves: what lies in the path is Debian's wrapper, which changes users on its own.
fn programs(flavor: Flavor) -> Result<String> {
    let root = flavor.root()?;
    let versions = fs::read_dir(root.join("usr/lib/rabbitmq/lib"))
        .into_iter()
        .flatten()
        .flatten();
    let newest = versions
        .map(|entry| entry.path().join("sbin"))
        .filter(|folder| folder.is_dir())
        .max();
    let inside =
        newest.and_then(|folder| Some(Path::new("/").join(folder.strip_prefix(&root).ok()?)));
    inside.map(|folder| folder.display().to_string()).ok_or_else(|| ServerError::Missing {
        what: format!("RabbitMQ in {}", root.display()),
        remedy: "scripts/test installs it; by hand: apt-get install --no-install-recommends rabbitmq-server".to_owned(),
    })
}
