//! Api and worker with one client, and the programs that call them.

use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use crate::app::Api;
use crate::support::process::{Process, Settings};
use crate::support::servers::{AmqpUrl, fresh_servers};

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");
/// The API key of the client.
pub const KEY: &str = "key-of-store-manager";

pub struct Fixture {
    pub api: Process,
    _worker: Process,
    pub amqp: AmqpUrl,
    /// Where the programs run.
    pub folder: TempDir,
}

impl Fixture {
    /// With further settings of the service.
    pub async fn start(more: &[(&str, &str)]) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, amqp) = fresh_servers().await.unwrap();
        let settings = Settings::servers(&database, &amqp)
            .with("CLIENTS_FILE", &clients_file(folder.path()))
            .with("ISSUER_LATENCY", "1ms")
            .with("LOG", "error");
        let settings = more.iter().fold(settings, |settings, (name, value)| {
            settings.with(name, value)
        });
        let mut setup = Process::spawn(PROGRAM, "setup", &settings);
        assert!(setup.wait(), "setup fails");
        let api = Process::start(PROGRAM, "api", &settings).await;
        // The pages on which shoppers approve are at the api, which takes its own address by default.
        let settings = settings.with("PUBLIC_URL", &api.url(""));
        let worker = Process::start(PROGRAM, "worker", &settings).await;
        Self {
            api,
            _worker: worker,
            amqp,
            folder,
        }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.api.api)
    }

    pub fn client(&self) -> Api {
        Api::new(self.api.api).with_key(KEY)
    }

    /// Runs a program to its end, with the environment of a user of the examples.
    pub async fn run(&self, program: &str, arguments: &[&str], variables: &[(&str, &str)]) -> Ran {
        let mut command = Command::new(program);
        command
            .args(arguments)
            .env_clear()
            .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME")))
            .envs([
                ("PAYMENTS_URL", self.url()),
                ("PAYMENTS_KEY", KEY.to_owned()),
            ])
            .envs([
                ("PAYMENTS_AMQP_URL", &*self.amqp),
                ("PAYMENTS_CLIENT", "store-manager"),
            ])
            // The service is on this machine.
            .env("NO_PROXY", "127.0.0.1")
            .envs(variables.iter().copied())
            .current_dir(self.folder.path())
            .stdin(Stdio::null());
        let output = tokio::task::spawn_blocking(move || command.output())
            .await
            .unwrap();
        let output = output.unwrap_or_else(|error| panic!("{program} does not start: {error}"));
        Ran(output)
    }
}

/// How a program ended.
pub struct Ran(Output);

impl Ran {
    /// What it printed, if it ended with this exit code.
    #[track_caller]
    pub fn ended(self, code: i32) -> String {
        let said = String::from_utf8_lossy(&self.0.stdout).into_owned();
        let complaints = String::from_utf8_lossy(&self.0.stderr);
        assert_eq!(self.0.status.code(), Some(code), "{said}\n{complaints}");
        said + &complaints
    }
}

/// The program named by a variable that scripts/test sets.
pub fn tool(variable: &str, installed: &str, how: &str) -> String {
    if let Ok(named) = std::env::var(variable) {
        return named;
    }
    let home = std::env::var("HOME").unwrap_or_default();
    let path = format!("{home}/.cache/payment-service/{installed}");
    assert!(
        Path::new(&path).is_file(),
        "{path} is missing: scripts/test installs it; or set {variable} to {how}"
    );
    path
}

fn clients_file(folder: &Path) -> String {
    let digest = hex::encode(Sha256::digest(KEY));
    let client = json!({
        "name": "store-manager",
        "api_key_sha256": [digest],
        // The RabbitMQ user of the tests.
        "rabbitmq_user": "guest",
        // Of the shop in the guide.
        "return_origins": ["https://shop.example"],
    });
    let file = folder.join("clients.json");
    std::fs::write(&file, json!({ "clients": [client] }).to_string()).unwrap();
    file.display().to_string()
}
