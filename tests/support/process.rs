//! The service's roles as separate processes, with a configuration by the test.

#![allow(
    dead_code,
    reason = "each binary that includes this uses its own part of it"
)]

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// A fixed key that all processes share.
pub const SEAL_KEYS: &str = "test:000102030405060708090a0b0c0d0e0f101112131415161718191a1b1c1d1e1f";

/// A running role; killed when dropped.
pub struct Process {
    child: Child,
    pub api: SocketAddr,
    pub admin: SocketAddr,
}

/// What a process is started with.
#[derive(Debug, Clone, Default)]
pub struct Settings {
    variables: BTreeMap<String, String>,
    log: Option<PathBuf>,
}

impl Settings {
    /// On servers.
    pub fn servers(database_url: &str, amqp_url: &str) -> Self {
        Self::default()
            .with("DATABASE_URL", database_url)
            .with("AMQP_URL", amqp_url)
            .with("SEAL_KEYS", SEAL_KEYS)
    }

    /// In one process, with its data below this folder.
    pub fn embedded(data_dir: &std::path::Path) -> Self {
        Self::default().with("DATA_DIR", &data_dir.display().to_string())
    }

    pub fn variables(&self) -> &BTreeMap<String, String> {
        &self.variables
    }

    pub fn with(mut self, name: &str, value: &str) -> Self {
        self.variables.insert(name.to_owned(), value.to_owned());
        self
    }

    /// What the processes print goes to the end of this file.
    pub fn with_log(mut self, file: &std::path::Path) -> Self {
        self.log = Some(file.to_owned());
        self
    }
}

impl Process {
    /// Starts a role (`""` for all of them) on free ports and waits until it is ready.
    pub async fn start(program: &str, role: &str, settings: &Settings) -> Self {
        let process = Self::spawn(program, role, settings);
        process.until_ready(Duration::from_secs(60)).await;
        process
    }

    /// Starts a role on free ports.
    pub fn spawn(program: &str, role: &str, settings: &Settings) -> Self {
        let (api, admin) = (free_address(), free_address());
        let mut command = Command::new(program);
        command
            .env_clear()
            .envs(
                std::env::vars().filter(|(name, _)| {
                    matches!(name.as_str(), "PATH" | "HOME" | "TMPDIR" | "LOG")
                }),
            )
            .envs(&settings.variables)
            .env("LISTEN_ADDR", api.to_string())
            .env("ADMIN_ADDR", admin.to_string())
            .stdin(Stdio::null());
        if !role.is_empty() {
            command.arg(role);
        }
        if let Some(path) = &settings.log {
            let log = std::fs::File::options()
                .create(true)
                .append(true)
                .open(path);
            let log = log.expect("the log's file opens");
            let errors = log.try_clone().expect("the same file");
            command.stdout(log).stderr(errors);
        }
        let child = command.spawn().expect("the service's program starts");
        Self { child, api, admin }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.api)
    }

    pub fn pid(&self) -> u32 {
        self.child.id()
    }

    /// The status of `/health/ready` with its reason, or why there is none.
    pub async fn readiness(&self) -> String {
        let http = reqwest::Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(5))
            .build()
            .expect("a client");
        let url = format!("http://{}/health/ready", self.admin);
        let answer = match http.get(url).send().await {
            Ok(answer) => answer.json::<serde_json::Value>().await,
            Err(error) => return error.to_string(),
        };
        let told = answer.unwrap_or_default();
        let words = [&told["status"], &told["reason"]];
        let words: Vec<&str> = words.iter().filter_map(|word| word.as_str()).collect();
        words.join(": ")
    }

    /// Waits until `/health/ready` says so.
    pub async fn until_ready(&self, longest: Duration) {
        let deadline = Instant::now() + longest;
        loop {
            let status = self.readiness().await;
            if status == "ready" {
                return;
            }
            assert!(
                Instant::now() < deadline,
                "the service is not ready: {status}"
            );
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// One of its metrics, over all labels; 0 if it does not answer.
    pub async fn counter(&self, name: &str) -> f64 {
        let http = reqwest::Client::builder().no_proxy().build();
        let request = http
            .expect("a client")
            .get(format!("http://{}/metrics", self.admin));
        let Ok(answer) = request.send().await else {
            return 0.0;
        };
        let text = answer.text().await.unwrap_or_default();
        let lines = text.lines().filter(|line| {
            let rest = line.strip_prefix(name);
            rest.is_some_and(|rest| rest.starts_with(['{', ' ']))
        });
        lines
            .filter_map(|line| line.rsplit(' ').next()?.parse::<f64>().ok())
            .sum()
    }

    /// How it ended, if it has.
    pub fn ended(&mut self) -> Option<ExitStatus> {
        self.child.try_wait().ok().flatten()
    }

    /// Waits until it ends by itself; true if it exited with 0.
    pub fn wait(&mut self) -> bool {
        self.child.wait().is_ok_and(|status| status.success())
    }

    /// Ends it at once, as a crash does.
    pub fn kill(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }

    /// Sends a signal by name.
    pub fn signal(&self, name: &str) {
        let sent = Command::new("kill")
            .arg(format!("-{name}"))
            .arg(self.pid().to_string())
            .status();
        assert!(sent.is_ok_and(|status| status.success()), "signal {name}");
    }

    /// Ends it with SIGTERM and waits; true if it exited with 0.
    pub fn stop(&mut self) -> bool {
        self.signal("TERM");
        self.child.wait().is_ok_and(|status| status.success())
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        self.kill();
    }
}

fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
