//! What the app passes to the operators' page, and who may open it.

use std::net::SocketAddr;
use std::sync::Arc;

use crate::app::parts::Parts;
use crate::config::{Backend, Config, Role};
use crate::http::admin::Admin;
use crate::http::admin::access::{Access, Entry};
use crate::http::admin::counted::Counted;
use crate::http::admin::live::Live;
use crate::http::health::Health;
use crate::watchdog::stages::Stages;

/// Whether the page at this address needs no token: only this machine reaches it, and no real money and no other client's
/// data is behind it.
pub(in crate::app) fn is_open(parts: &Parts, config: &Config, address: SocketAddr) -> bool {
    let is_embedded = matches!(config.backend, Backend::Embedded { .. });
    let is_simulated = parts.acceptor.test_tokens.is_some();
    config.admin.operators.is_none()
        && is_embedded
        && is_simulated
        && address.ip().to_canonical().is_loopback()
}

/// What the pages at this address show.
pub(in crate::app) fn admin(
    parts: &Parts,
    config: &Config,
    address: SocketAddr,
    (health, stages, live): (Health, Stages, Live),
) -> Admin {
    let entry = match &config.admin.operators {
        Some(operators) => Entry::Login(operators.clone()),
        None if is_open(parts, config, address) => Entry::Open,
        None => Entry::Closed,
    };
    let accepts = config.role != Role::Worker && parts.acceptor.test_tokens.is_some();
    Admin {
        access: Access::new(address, &config.admin.hosts, entry),
        health,
        stages,
        database: parts.database.clone(),
        processors: parts.processors.clone(),
        clients: config.clients.clone(),
        dead_letters: Arc::clone(&parts.dead_letters),
        live,
        counted: Counted::default(),
        acceptor: accepts.then(|| Arc::clone(&parts.acceptor)),
        currency: config.default_currency,
        limits: limits(config),
    }
}

fn limits(config: &Config) -> Vec<(&'static str, String)> {
    let written = |time: std::time::Duration| humantime::format_duration(time).to_string();
    vec![
        ("WORKER_CONCURRENCY", config.worker_concurrency.to_string()),
        ("WORK_TRIES", config.relay.work_tries.to_string()),
        ("MAX_TRIES", config.retry.max_tries.to_string()),
        ("PROCESSOR_TIMEOUT", written(config.processor_timeout)),
        ("BACKLOG_LIMIT", config.relay.backlog_limit.to_string()),
        ("HTTP_CONNECTIONS", config.http.connections.to_string()),
        ("CLIENT_REQUESTS", config.http.client_requests.to_string()),
        ("MAX_WAIT", written(config.max_wait)),
        ("STUCK_AFTER", written(config.stuck_after)),
        ("SHUTDOWN_TIMEOUT", written(config.shutdown_timeout)),
    ]
}
