//! A private KrakenD with the repository's krakend.json. It is never left out: a missing program is a failure.

use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const CONFIGURATION: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/krakend.json");
const START_LIMIT: Duration = Duration::from_secs(20);
/// A port may be taken between choosing and using it.
const START_TRIES: u32 = 3;

/// What the gateway sends to the service on every payment route.
pub const API_KEY: &str = "gateway-test-key-of-store-manager";

/// A running gateway; killed when dropped.
pub struct Krakend {
    child: Child,
    pub address: SocketAddr,
}

impl Krakend {
    /// Starts it in front of a payment service, with further variables of krakend.json.
    pub async fn start(service: SocketAddr, variables: &[(&str, &str)]) -> Self {
        for _ in 0..START_TRIES {
            if let Some(started) = Self::try_start(service, variables).await {
                return started;
            }
        }
        panic!("KrakenD does not start; its log is above");
    }

    async fn try_start(service: SocketAddr, variables: &[(&str, &str)]) -> Option<Self> {
        let address = free_address();
        let child = command("run", &["-c", CONFIGURATION])
            .env("STORE_MANAGER_API_KEY", API_KEY)
            .env("GATEWAY_PORT", address.port().to_string())
            .env("PAYMENTS_API_URL", format!("http://{service}"))
            .envs(variables.iter().copied())
            .stdout(Stdio::null())
            .spawn()
            .expect("KrakenD's program starts");
        let mut started = Self { child, address };
        let http = reqwest::Client::builder().no_proxy().build().unwrap();
        let deadline = Instant::now() + START_LIMIT;
        while Instant::now() < deadline {
            if started.child.try_wait().unwrap().is_some() {
                return None;
            }
            let health = http.get(format!("http://{address}/__health")).send().await;
            if health.is_ok_and(|answer| answer.status().is_success()) {
                return Some(started);
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        None
    }
}

impl Drop for Krakend {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// `krakend check` with the tests that it can do on its own: syntax, and whether the routes can live side by side.
pub fn check(variables: &[(&str, &str)]) -> Output {
    command("check", &["-t", "-c", CONFIGURATION])
        .env("STORE_MANAGER_API_KEY", API_KEY)
        .envs(variables.iter().copied())
        .output()
        .expect("KrakenD's program starts")
}

fn command(verb: &str, arguments: &[&str]) -> Command {
    let mut command = Command::new(program());
    command
        .arg(verb)
        .args(arguments)
        .env_clear()
        .envs(std::env::vars().filter(|(name, _)| matches!(name.as_str(), "PATH" | "HOME")))
        .env("FC_ENABLE", "1")
        // Otherwise it sends usage reports over the network.
        .env("USAGE_DISABLE", "1")
        .stdin(Stdio::null());
    command
}

/// `KRAKEND`, or what is in the path, or what `go install` left.
fn program() -> PathBuf {
    if let Some(given) = std::env::var_os("KRAKEND") {
        return given.into();
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let home = std::env::var("HOME").unwrap_or_default();
    std::env::split_paths(&path)
        .chain([Path::new(&home).join("go/bin")])
        .flat_map(|folder| ["krakend", "krakend-ce"].map(|name| folder.join(name)))
        .find(|program| program.is_file())
        .expect(
            "KrakenD is missing, and this suite is about nothing else. scripts/test builds it where there is Go; \
             by hand: go install github.com/krakend/krakend-ce/v2/cmd/krakend-ce@v2.13.8, or name the program in KRAKEND",
        )
}

fn free_address() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address")
}
