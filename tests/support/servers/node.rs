//! The ports, settings and definitions of a private RabbitMQ node.

use std::{fs, ops::Range, path::Path};

use serde_json::json;

use super::{BrokerOptions, Flavor, Result, ServerError, port, server_folder::ServerFolder};

/// The administrator of every virtual host. RabbitMQ lets a `guest` in from loopback only.
pub const USER: &str = "guest";
/// Erlang's own protocol on loopback alone; epmd is the one that is started here.
const LOOPBACK: &str = "-kernel inet_dist_use_interface {127,0,0,1} -start_epmd false";

#[derive(Debug, Clone)]
pub struct Node {
    /// The folder of RabbitMQ's programs, as the server sees it.
    programs: String,
    pub amqp: u16,
    /// Used if there is a certificate.
    pub amqps: u16,
    /// Erlang's own protocol, for rabbitmqctl.
    distribution: u16,
    pub epmd: u16,
    /// The nodes of a cluster share one, which is started elsewhere.
    pub has_own_epmd: bool,
}

impl Node {
    /// On ports that are free now.
    pub fn new(flavor: Flavor) -> Result<Self> {
        Ok(Self {
            programs: programs(flavor)?,
            amqp: port::free(),
            amqps: port::free(),
            distribution: port::free(),
            epmd: port::free(),
            has_own_epmd: true,
        })
    }

    /// Its Erlang node name.
    pub fn name(&self) -> String {
        format!("rabbit{}@localhost", self.amqp)
    }

    /// One of RabbitMQ's own programs.
    pub fn program(&self, name: &str) -> String {
        format!("{}/{name}", self.programs)
    }

    /// Writes the node's configuration files.
    pub fn install(&self, folder: &ServerFolder, options: &BrokerOptions) -> Result<()> {
        for name in ["home", "data", "log"] {
            folder.make_folder(name)?;
        }
        folder.write("home/.erlang.cookie", &format!("{}", std::process::id()))?;
        folder.write("home/plugins", "[].")?;
        // No resolver is asked: the folder of the new servers has none.
        folder.write(
            "home/inetrc",
            "{host, {127,0,0,1}, [\"localhost\"]}.\n{lookup, [file]}.\n",
        )?;
        // Part of the start, because every call of rabbitmqctl starts an Erlang machine of its own.
        let everything = virtual_hosts(0..options.vhosts, true);
        folder.write("home/definitions.json", &everything)?;
        let tls = match &options.tls {
            None => String::new(),
            Some(tls) => {
                folder.write("home/ca.pem", &tls.ca)?;
                folder.write("home/cert.pem", &tls.certificate)?;
                folder.write("home/key.pem", &tls.key)?;
                format!(
                    "listeners.ssl.1 = 127.0.0.1:{}\n\
                     ssl_options.cacertfile = {}\n\
                     ssl_options.certfile = {}\n\
                     ssl_options.keyfile = {}\n\
                     ssl_options.verify = verify_none\n",
                    self.amqps,
                    folder.inside("home/ca.pem"),
                    folder.inside("home/cert.pem"),
                    folder.inside("home/key.pem"),
                )
            }
        };
        let configuration = format!(
            "listeners.tcp.1 = 127.0.0.1:{}\n\
             load_definitions = {}\n\
             # Publishers of other tests must not be held up because this machine's disk is rather full.\n\
             disk_free_limit.absolute = 50MB\n\
             # A number, since not every folder has the /proc that a share would be taken of.\n\
             vm_memory_high_watermark.absolute = 1GB\n\
             log.file.level = info\n\
             {tls}\
             {}\n",
            self.amqp,
            folder.inside("home/definitions.json"),
            options.configuration
        );
        folder.write("home/rabbitmq.conf", &configuration)
    }

    /// For the server and for rabbitmqctl.
    pub fn environment(&self, folder: &ServerFolder) -> Vec<(&'static str, String)> {
        let inside = |name: &str| folder.inside(name);
        vec![
            ("HOME", inside("home")),
            ("ERL_EPMD_ADDRESS", "127.0.0.1".to_owned()),
            ("ERL_EPMD_PORT", self.epmd.to_string()),
            ("ERL_INETRC", inside("home/inetrc")),
            ("RABBITMQ_NODENAME", self.name()),
            ("RABBITMQ_DIST_PORT", self.distribution.to_string()),
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
}

/// Definitions of virtual hosts that the administrator may do everything in.
pub fn virtual_hosts(numbers: Range<usize>, with_user: bool) -> String {
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
        let user = json!({"name": USER, "password": USER, "tags": ["administrator"], "limits": {}});
        definitions["users"] = json!([user]);
    }
    definitions.to_string()
}

pub fn vhost_name(number: usize) -> String {
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
