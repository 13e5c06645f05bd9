//! `check --live`: sends one request to the process on this machine, prints one line, and sets the exit code.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::process::ExitCode;
use std::time::Duration;

use serde_json::Value;

use crate::config::admin_addr;

/// A live process answers at once.
const PATIENCE: Duration = Duration::from_secs(3);

/// Sends the request, prints one line, and returns the matching exit code.
pub async fn run(variable: &dyn Fn(&str) -> Option<String>, json: bool) -> ExitCode {
    let (url, reason) = match admin_addr(variable) {
        Ok(address) => {
            let address = reachable(address);
            let url = format!("http://{address}/health/live");
            (Some(url), ask(address).await.err())
        }
        Err(faults) => {
            let faults: Vec<String> = faults.iter().map(ToString::to_string).collect();
            (None, Some(faults.join("; ")))
        }
    };
    if json {
        let live = reason.is_none();
        let found = serde_json::json!({ "live": live, "url": url, "reason": reason });
        crate::outln!("{found:#}");
    } else {
        match (&url, &reason) {
            (Some(url), None) => crate::outln!("live: {url}"),
            (Some(url), Some(reason)) => crate::outln!("not live: {url}: {reason}"),
            (None, reason) => crate::outln!("not live: {}", reason.as_deref().unwrap_or_default()),
        }
    }
    ExitCode::from(u8::from(reason.is_some()))
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
pub(in crate::cli) fn reachable(address: SocketAddr) -> SocketAddr {
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
