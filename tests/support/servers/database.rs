//! A private MariaDB (old) or MySQL (new). Everything here blocks; call it from a blocking thread in async tests.

use std::{path::PathBuf, time::Duration};

use super::{Flavor, Result, ServerCertificate, ServerError, port, server_folder::ServerFolder};

const NAME: &str = "database";
const START_LIMIT: Duration = Duration::from_secs(60);
/// A port may be taken between choosing and using it.
const START_TRIES: u32 = 3;

/// What a test can change.
#[derive(Debug, Clone, Default)]
pub struct DatabaseOptions {
    /// None: the one that `TEST_SERVERS` names.
    pub flavor: Option<Flavor>,
    /// Flush to the disk at every commit, as in production. False is faster and still survives [`Database::kill`],
    /// though not the end of the machine.
    pub durable: bool,
    /// Offers TLS with this.
    pub tls: Option<ServerCertificate>,
    /// More options for the server, such as `--wsrep-on=ON`.
    pub arguments: Vec<String>,
}

/// Ended and its folder removed when dropped, or when the process that holds it is gone.
#[derive(Debug)]
pub struct Database {
    pub(super) folder: ServerFolder,
    port: u16,
    flavor: Flavor,
    pub(super) options: DatabaseOptions,
}

impl Database {
    pub fn start(options: &DatabaseOptions) -> Result<Self> {
        let mut database = Self::new(options)?;
        database.install()?;
        for tries_left in (0..START_TRIES).rev() {
            database.port = port::free();
            match database.start_again() {
                Err(_) if tries_left > 0 => {}
                outcome => return outcome.map(|()| database),
            }
        }
        unreachable!("the last try returns")
    }

    /// A folder for a server, and a port; nothing in it yet.
    pub(super) fn new(options: &DatabaseOptions) -> Result<Self> {
        let flavor = options.flavor.map_or_else(Flavor::from_env, Ok)?;
        let folder = match flavor {
            Flavor::Old => ServerFolder::new(flavor, "database", "mysql")?,
            Flavor::New => ServerFolder::new(flavor, "database", "nobody")?,
        };
        Ok(Self {
            folder,
            port: port::free(),
            flavor,
            options: options.clone(),
        })
    }

    /// Writes the system tables: an empty server with an administrator that needs no password from loopback.
    pub(super) fn install(&self) -> Result<()> {
        let folder = &self.folder;
        folder.make_folder("files")?;
        if let Some(tls) = &self.options.tls {
            folder.write("files/ca.pem", &tls.ca)?;
            folder.write("files/cert.pem", &tls.certificate)?;
            folder.write("files/key.pem", &tls.key)?;
        }
        let data = format!("--datadir={}", folder.inside("files/data"));
        // A server that starts removes the temporary tables that it finds in its folder: those of another one, in /tmp.
        let temporary = format!("--tmpdir={}", folder.inside("files"));
        let command: Vec<String> = match self.flavor {
            Flavor::Old => {
                folder.require("/usr/sbin/mariadbd", "mariadb-server")?;
                let options = [
                    "--no-defaults",
                    "--auth-root-authentication-method=normal",
                    "--skip-test-db",
                    // Works even if the machine's own name does not resolve.
                    "--force",
                    &data,
                    &temporary,
                ];
                [&["/usr/bin/mariadb-install-db"], &options[..]].concat()
            }
            Flavor::New => {
                folder.require("/usr/sbin/mysqld", "mysql-server-core")?;
                vec![
                    "/usr/sbin/mysqld",
                    "--no-defaults",
                    "--initialize-insecure",
                    &data,
                    &temporary,
                ]
            }
        }
        .into_iter()
        .map(str::to_owned)
        .collect();
        folder.run(&[], &command, "")?;
        folder.write(
            "files/init.sql",
            "CREATE USER IF NOT EXISTS 'root'@'127.0.0.1';\n\
             GRANT ALL ON *.* TO 'root'@'127.0.0.1' WITH GRANT OPTION;\n",
        )
    }

    fn command(&self) -> Vec<String> {
        let (program, own_options): (_, &[&str]) = match self.flavor {
            Flavor::Old => ("/usr/sbin/mariadbd", &[]),
            Flavor::New => ("/usr/sbin/mysqld", &["--mysqlx=OFF", "--secure-file-priv="]),
        };
        let (flush, sync) = if self.options.durable { (1, 1) } else { (2, 0) };
        let fixed = [
            program.to_owned(),
            "--no-defaults".to_owned(),
            format!("--datadir={}", self.folder.inside("files/data")),
            format!("--socket={}", self.folder.inside("files/socket")),
            format!("--pid-file={}", self.folder.inside("files/pid")),
            format!("--tmpdir={}", self.folder.inside("files")),
            format!("--init-file={}", self.folder.inside("files/init.sql")),
            format!("--port={}", self.port),
            "--bind-address=127.0.0.1".to_owned(),
            // Clients are matched by address, without a resolver.
            "--skip-name-resolve".to_owned(),
            // Always with a binary log, as in production: it takes time and contains the data of statements.
            "--log-bin=binlog".to_owned(),
            "--binlog-format=ROW".to_owned(),
            "--server-id=1".to_owned(),
            format!("--innodb-flush-log-at-trx-commit={flush}"),
            format!("--sync-binlog={sync}"),
            "--innodb-buffer-pool-size=256M".to_owned(),
            "--max-connections=500".to_owned(),
        ];
        let tls = self.options.tls.iter().flat_map(|_| {
            ["ca", "cert", "key"].map(|part| {
                let file = self.folder.inside(&format!("files/{part}.pem"));
                format!("--ssl-{part}={file}")
            })
        });
        let own_options = own_options.iter().map(|option| (*option).to_owned());
        fixed
            .into_iter()
            .chain(own_options)
            .chain(tls)
            .chain(self.options.arguments.iter().cloned())
            .collect()
    }

    /// Starts a stopped or killed server: same files, same port.
    pub fn start_again(&self) -> Result<()> {
        self.start_with(&[], &[])
    }

    /// As [`Self::start_again`], with variables and more options.
    pub fn start_with(&self, variables: &[(&str, String)], more: &[String]) -> Result<()> {
        // For the server alone: what leads to it runs as another user, whom a preloaded library would serve first.
        let variables = variables
            .iter()
            .map(|(name, value)| format!("{name}={value}"));
        let environment = ["/usr/bin/env".to_owned()].into_iter().chain(variables);
        let environment: Vec<String> = environment.collect();
        let command = [&environment, &self.command(), more].concat();
        self.folder.start(NAME, &[], &command)?;
        self.until_up()
    }

    /// Another server with the files of this one, which is stopped. It is not started.
    pub fn copy(&self, more: &[String]) -> Result<Self> {
        let arguments = [&self.options.arguments, more].concat();
        let copy = Self::new(&DatabaseOptions {
            flavor: Some(self.flavor),
            arguments,
            ..self.options.clone()
        })?;
        copy.copy_files_of(self)?;
        Ok(copy)
    }

    /// Starts it with more options, and does not wait.
    pub(super) fn launch(&self, more: &[String]) -> Result<()> {
        let command = [&self.command(), more].concat();
        self.folder.start(NAME, &[], &command).map(drop)
    }

    /// Waits until it serves.
    pub(super) fn until_up(&self) -> Result<()> {
        let supervisor = &self.folder.supervisor;
        let mut alive = true;
        let up = port::eventually(START_LIMIT, || {
            alive = supervisor.is_alive(NAME)?;
            // A greeting of protocol version 10, behind a header of four bytes; an error packet has 255 there.
            Ok::<_, ServerError>(
                !alive || port::answers(self.port, b"", |greeting| greeting.get(4) == Some(&10)),
            )
        })?;
        if up && alive {
            return Ok(());
        }
        supervisor.end(NAME, "KILL", 1)?;
        Err(ServerError::failed(
            "the database server did not start",
            self.folder.tail("database.log"),
        ))
    }

    /// Runs the server's program with more options, to the end.
    pub(super) fn run(&self, more: &[String]) -> Result<()> {
        let command = [&self.command(), more].concat();
        self.folder.run(&[], &command, "").map(drop)
    }

    /// Takes over all files of another one that is stopped and has been installed.
    pub(super) fn copy_files_of(&self, other: &Self) -> Result<()> {
        let (from, to) = (other.folder.outside("files"), self.folder.outside("."));
        let copied = std::process::Command::new("cp")
            .arg("--archive")
            .args([&from, &to])
            .status();
        match copied {
            Ok(status) if status.success() => Ok(()),
            Ok(status) => Err(ServerError::failed("cannot copy the files", status)),
            Err(error) => Err(ServerError::failed("cannot copy the files", error)),
        }
    }

    pub(super) fn is_alive(&self) -> Result<bool> {
        self.folder.supervisor.is_alive(NAME)
    }

    /// The last lines of its log.
    pub(super) fn log_tail(&self) -> String {
        self.folder.tail("database.log")
    }

    /// For the database of that name, as an administrator. The name need not exist yet.
    pub fn url(&self, database: &str) -> String {
        format!("mysql://root@127.0.0.1:{}/{database}", self.port)
    }

    /// For the server as such.
    pub fn admin_url(&self) -> String {
        self.url("mysql")
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn flavor(&self) -> Flavor {
        self.flavor
    }

    /// The server's process.
    pub fn pid(&self) -> Option<u32> {
        std::fs::read_to_string(self.folder.outside("files/pid"))
            .ok()?
            .trim()
            .parse()
            .ok()
    }

    /// Tables and binary log, as this process sees them.
    pub fn data_dir(&self) -> PathBuf {
        self.folder.outside("files/data")
    }

    /// The server's description of itself.
    pub fn log_file(&self) -> PathBuf {
        self.folder.outside("database.log")
    }

    /// Stops gracefully.
    pub fn stop(&self) -> Result<()> {
        self.folder.supervisor.end(NAME, "TERM", 30)
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
