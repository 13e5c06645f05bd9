//! The folder of one server, the user that it runs as, and its root folder.

use std::{
    fmt::Write as _,
    fs,
    io::{self, Write as _},
    os::unix::fs::{PermissionsExt, chown},
    path::{Path, PathBuf},
    process::{Command, Stdio},
};

use super::{Flavor, Result, ServerError, supervisor::Supervisor};

const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// A temporary folder with a supervisor on it.
#[derive(Debug)]
pub struct ServerFolder {
    /// The server's `/`.
    root: PathBuf,
    /// The folder as the server sees it.
    inside: PathBuf,
    /// User and group to run as, if this process is root and so has to change.
    user: Option<(u32, u32)>,
    pub supervisor: Supervisor,
}

impl ServerFolder {
    /// `user` is the account to run as when this process is root.
    pub fn new(flavor: Flavor, kind: &str, user: &str) -> Result<Self> {
        let root = flavor.root()?;
        let is_root = fs::metadata("/proc/self")
            .is_ok_and(|own| std::os::unix::fs::MetadataExt::uid(&own) == 0);
        if flavor == Flavor::New && !is_root {
            let what = "the right to chroot into the folder with MySQL 9 and RabbitMQ 4".to_owned();
            return Err(ServerError::Missing {
                what,
                remedy: "run the tests as root".to_owned(),
            });
        }
        let user = if is_root {
            Some(account(&root, user)?)
        } else {
            None
        };
        // Debian's short /tmp: a socket's path may have 107 bytes at most.
        let folder = tempfile::Builder::new()
            .prefix(&format!("payment-service-{kind}-"))
            // The server's user has to get through it.
            .permissions(fs::Permissions::from_mode(0o755))
            .tempdir_in(root.join("tmp"))
            .map_err(|error| ServerError::failed("cannot make a temporary folder", error))?
            .keep();
        let supervisor = Supervisor::start(&folder)?;
        let inside = Path::new("/").join(folder.strip_prefix(&root).unwrap_or(&folder));
        Ok(Self {
            root,
            inside,
            user,
            supervisor,
        })
    }

    /// A path below the server's folder, as this process sees it.
    pub fn outside(&self, name: &str) -> PathBuf {
        let inside = self.inside.join(name);
        self.root.join(inside.strip_prefix("/").unwrap_or(&inside))
    }

    /// The same path as the server sees it.
    pub fn inside(&self, name: &str) -> String {
        self.inside.join(name).display().to_string()
    }

    /// A folder that belongs to the server.
    pub fn make_folder(&self, name: &str) -> Result<()> {
        let path = self.outside(name);
        self.own(name, fs::create_dir_all(&path))
    }

    /// A file that belongs to the server, readable by nobody else (Erlang insists on that for its cookie).
    pub fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.outside(name);
        let written = fs::write(&path, text)
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o600)));
        self.own(name, written)
    }

    fn own(&self, name: &str, made: io::Result<()>) -> Result<()> {
        let owned = made.and_then(|()| match self.user {
            Some((user, group)) => chown(self.outside(name), Some(user), Some(group)),
            None => Ok(()),
        });
        owned.map_err(|error| ServerError::failed(format!("cannot make {name}"), error))
    }

    /// Whether the program is there.
    pub fn require(&self, program: &str, package: &str) -> Result<()> {
        if self.root.join(program.trim_start_matches('/')).exists() {
            return Ok(());
        }
        let remedy = format!(
            "scripts/test installs it; by hand: apt-get install --no-install-recommends {package}"
        );
        Err(ServerError::Missing {
            what: program.to_owned(),
            remedy,
        })
    }

    /// The words in front of a command that make it run here: root folder and user.
    fn prefix(&self) -> Vec<String> {
        let mut words = Vec::new();
        if self.root != Path::new("/") {
            words.extend(["chroot".to_owned(), self.root.display().to_string()]);
        }
        // Ends with the supervisor, even if that is killed, too.
        words.extend(["setpriv", "--pdeathsig", "KILL"].map(str::to_owned));
        if let Some((user, group)) = self.user {
            words.extend([
                format!("--reuid={user}"),
                format!("--regid={group}"),
                "--clear-groups".to_owned(),
            ]);
        }
        words
    }

    /// Starts a server that the supervisor keeps; returns its process id.
    pub fn start(
        &self,
        name: &str,
        environment: &[(&str, String)],
        command: &[String],
    ) -> Result<u32> {
        // A broker opens more files than the usual limit; if it cannot be raised, the usual one must be enough.
        let mut script = "ulimit -n 65536 2>/dev/null\ncd /\nexec env -i".to_owned();
        for (key, value) in environment_with_path(environment) {
            let _ = write!(script, " {}", quote(&format!("{key}={value}")));
        }
        for word in self.prefix().iter().chain(command) {
            let _ = write!(script, " {}", quote(word));
        }
        fs::write(self.outside(&format!("{name}.sh")), script + "\n")
            .map_err(|error| ServerError::failed(format!("cannot start {name}"), error))?;
        self.supervisor.run(name)
    }

    /// Runs a command to its end and returns its output, which is the error if it failed.
    pub fn run(
        &self,
        environment: &[(&str, String)],
        command: &[String],
        input: &str,
    ) -> Result<String> {
        let words: Vec<String> = self
            .prefix()
            .into_iter()
            .chain(command.iter().cloned())
            .collect();
        let spawned = Command::new(&words[0])
            .args(&words[1..])
            .current_dir("/")
            .env_clear()
            .envs(environment_with_path(environment))
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn();
        let output = spawned.and_then(|mut child| {
            if let Some(mut stdin) = child.stdin.take() {
                stdin.write_all(input.as_bytes())?;
            }
            child.wait_with_output()
        });
        let output = output.map_err(|error| ServerError::failed(words.join(" "), error))?;
        let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() {
            return Ok(said(&output.stdout));
        }
        Err(ServerError::failed(
            command.join(" "),
            said(&output.stdout) + &said(&output.stderr),
        ))
    }

    /// The last lines of a log, for errors.
    pub fn tail(&self, log: &str) -> String {
        let bytes = fs::read(self.outside(log)).unwrap_or_default();
        let text = String::from_utf8_lossy(&bytes);
        let lines: Vec<&str> = text.lines().collect();
        lines[lines.len().saturating_sub(30)..].join("\n")
    }
}

fn environment_with_path(environment: &[(&str, String)]) -> Vec<(String, String)> {
    let fixed = [("PATH", PATH), ("LANG", "C.UTF-8")]
        .map(|(key, value)| (key.to_owned(), value.to_owned()));
    fixed
        .into_iter()
        .chain(
            environment
                .iter()
                .map(|(key, value)| ((*key).to_owned(), value.clone())),
        )
        .collect()
}

fn quote(word: &str) -> String {
    format!("'{}'", word.replace('\'', r"'\''"))
}

/// User and group id of an account of that root folder.
fn account(root: &Path, name: &str) -> Result<(u32, u32)> {
    let text = fs::read_to_string(root.join("etc/passwd")).unwrap_or_default();
    let ids = text.lines().find_map(|line| {
        let mut fields = line.split(':');
        let found = fields.next() == Some(name);
        found.then(|| Some((fields.nth(1)?.parse().ok()?, fields.next()?.parse().ok()?)))?
    });
    ids.ok_or_else(|| ServerError::Missing {
        what: format!(
            "the account {name} in {}",
            root.join("etc/passwd").display()
        ),
        remedy: "scripts/test installs the servers' packages, which bring it".to_owned(),
    })
}
