//! `check --live`: sends one request to the process on this machine, prints one line, and sets the exit code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::config::admin_addr;

/// A live process answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends the request, prints one line, and returns the matching exit code.
pub async fn run(variable: &dyn Fn(&str) -> Option<String>) -> ExitCode {
    let address = match admin_addr(variable) {
        Ok(address) => reachable(address),
        Err(faults) => {
            for fault in faults {
                crate::outln!("not live: {fault}");
            }
            return ExitCode::FAILURE;
        }
    };
    match ask(address).await {
        Ok(()) => {
            crate::outln!("live: http://{address}/health/live");
            ExitCode::SUCCESS
        }
        Err(reason) => {
            crate::outln!("not live: http://{address}/health/live: {reason}");
            ExitCode::FAILURE
        }
    }
}

/// Checks that the process at this address is live, or returns why not.
pub async fn ask(address: SocketAddr) -> Result<(), String> {
    let answer = get(address, "/health/live").await?;
    let status = answer.status();
    if status.is_success() {
        return Ok(());
    }
    let body: Value = answer.json().await.unwrap_or_default();
    let reason = body["reason"].as_str().unwrap_or("no reason given");
    Err(format!("{status}, {reason}"))
}

/// The body that the process at this address returns for a path, whatever the status.
pub(super) async fn read(address: SocketAddr, path: &str) -> Result<Value, String> {
    let answer = get(address, path).await?;
    answer.json().await.map_err(|error| cause(&error))
}

async fn get(address: SocketAddr, path: &str) -> Result<reqwest::Response, String> {
    // A proxy from the environment must not be used for a process on this machine.
    let client = reqwest::Client::builder()
        .no_proxy()
        .timeout(PATIENCE)
        .build()
        .map_err(|error| cause(&error))?;
    client
        .get(format!("http://{address}{path}"))
        .send()
        .await
        .map_err(|error| cause(&error))
}

/// A process that listens on every address is called on loopback.
pub(super) fn reachable(address: SocketAddr) -> SocketAddr {
    let ip = match address.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => Ipv4Addr::LOCALHOST.into(),
        IpAddr::V6(ip) if ip.is_unspecified() => Ipv6Addr::LOCALHOST.into(),
        ip => ip,
    };
    SocketAddr::new(ip, address.port())
}

/// The innermost cause: the outer ones only repeat the address.
fn cause(error: &dyn std::error::Error) -> String {
    let mut innermost = error;
    while let Some(source) = innermost.source() {
        innermost = source;
    }
    innermost.to_string()
}
