//! What the app passes to HTTP: its parts, its health, and its connection limits.

mod operators;

pub(super) use operators::{admin, is_open};

use std::net::SocketAddr;
use std::sync::Arc;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::open_files;
use super::parts::Parts;
use crate::broker::ConnectionState;
use crate::config::{Config, Role};
use crate::http::Api;
use crate::http::admin::live::MOST_STREAMS;
use crate::http::admission::Admission;
use crate::http::health::{Health, Liveness, Readiness};
use crate::http::server::Limits;
use crate::http::webhooks::Turns;
use crate::processors::named::Processors;
use crate::processors::simulated::{SimulatedIssuer, TEST_CARDS};
use crate::store::queries::Queries;
use crate::watchdog::pulse::Pulses;
use crate::watchdog::stages::{Name, Stage, Stages};

/// The result of the last store check: usable, or the reason why not.
pub(super) type StoreState = watch::Receiver<Result<(), String>>;

/// Connections of operators that stay free of open event streams: probes, metrics collectors, and pages that are fetched.
const ADMIN_CONNECTIONS: usize = 128;

/// Event streams that may be open in any case.
const FEWEST_STREAMS: usize = 128;

/// Limits of the admin listener: at most a third of the files that this process may open, if they are few.
pub(super) fn admin_limits(config: &Config) -> Limits {
    let files = open_files::raise();
    let third = files.saturating_sub(open_files::OTHERS) / 3;
    let streams = third.saturating_sub(ADMIN_CONNECTIONS);
    Limits {
        connections: ADMIN_CONNECTIONS + streams.clamp(FEWEST_STREAMS, MOST_STREAMS),
        head_time: config.http.idle_timeout,
    }
}

/// The most event streams of the operators' page that are open at the same time.
pub(super) fn streams(admin: &Limits) -> usize {
    admin.connections - ADMIN_CONNECTIONS
}

/// Limits of the REST listener: the configured number of connections, if the process may open that many files beside those
/// of operators.
pub(super) fn api_limits(config: &Config, admin: &Limits) -> Limits {
    let files = open_files::raise();
    let possible = files.saturating_sub(open_files::OTHERS + admin.connections);
    let connections = config.http.connections.min(possible.max(1));
    if connections < config.http.connections {
        tracing::warn!(
            files,
            connections,
            wanted = config.http.connections,
            "HTTP_CONNECTIONS is lowered: this process may not open more files; raise the limit (ulimit -n)"
        );
    }
    Limits {
        connections,
        head_time: config.http.idle_timeout,
    }
}

pub(super) fn api(
    parts: &Parts,
    config: &Config,
    health: Health,
    (connections, operators_page): (usize, Option<SocketAddr>),
) -> Api {
    // One client may hold at most half of the connections, so that the other half is free for others.
    let held = (connections / 2).max(1);
    Api {
        acceptor: Arc::clone(&parts.acceptor),
        queries: Queries::new(parts.database.clone()),
        clients: config.clients.clone(),
        admission: Admission::new(config.http.client_requests, held),
        waiters: Arc::clone(&parts.waiters),
        health,
        default_currency: config.default_currency,
        created_status: config.http.created_status,
        max_wait: config.max_wait,
        process_wait: Api::PROCESS_WAIT,
        // The only processor so far, see `issuer`.
        processor: SimulatedIssuer::NAME,
        test_cards: TEST_CARDS,
        shoppers: parts.shoppers.clone(),
        webhooks: Turns::default(),
        operators_page,
        now: time::OffsetDateTime::now_utc,
    }
}

/// What does not work without a consumer, and whether the broker knows it.
pub(super) type OptionalConsumer = (&'static str, watch::Receiver<bool>);

/// An api is ready if its store is usable; a worker also needs its consumer. Without one of the optional consumers it
/// works in part.
pub(super) fn health(
    parts: &Parts,
    role: Role,
    store: StoreState,
    (consumers, optional): (Vec<watch::Receiver<bool>>, Vec<OptionalConsumer>),
    (pulses, stages, stop): (Pulses, Stages, CancellationToken),
) -> Health {
    let connection = parts.broker.connection();
    let backlog = parts.backlog.clone();
    let processors = parts.processors.clone();
    let ready = move || {
        if stop.is_cancelled() {
            return Readiness::NotReady("the service is stopping".to_owned());
        }
        if let Err(reason) = &*store.borrow() {
            return Readiness::NotReady(format!("the database cannot be used: {reason}"));
        }
        if let Some(name) = stuck_at_the_heart(&stages, role) {
            return Readiness::NotReady(format!(
                "the stage `{}` has work but makes no progress",
                name.as_str()
            ));
        }
        if backlog.is_full() {
            return Readiness::NotReady("the outbox is at its limit (BACKLOG_LIMIT)".to_owned());
        }
        let consuming = consumers.iter().all(|registered| *registered.borrow());
        match &*connection.borrow() {
            ConnectionState::Up if consuming => {
                let missing = optional
                    .iter()
                    .find(|(_, registered)| !*registered.borrow());
                match missing {
                    Some((sentence, _)) => Readiness::Degraded((*sentence).to_owned()),
                    None => {
                        platforms_fault(&processors).map_or(Readiness::Ready, Readiness::Degraded)
                    }
                }
            }
            _ if role == Role::Worker && !consuming => {
                Readiness::NotReady("the consumer is not registered".to_owned())
            }
            ConnectionState::Up => Readiness::Degraded("a consumer is not registered".to_owned()),
            ConnectionState::Down(reason) => {
                Readiness::Degraded(format!("RabbitMQ is unreachable: {reason}"))
            }
            ConnectionState::Blocked => {
                Readiness::Degraded("RabbitMQ accepts no messages (resource alarm)".to_owned())
            }
            ConnectionState::Mismatch(what) => {
                Readiness::Degraded(format!("RabbitMQ's topology differs: {what}"))
            }
        }
    };
    Health::new(move || liveness(&pulses), ready)
}

/// The platforms whose payments wait. Those of the others go on, so the process stays ready.
fn platforms_fault(processors: &Processors) -> Option<String> {
    let faults = processors.faults().into_iter();
    let faults = faults.filter_map(|(name, fault)| Some(format!("{name} {}", fault?)));
    let faults: Vec<String> = faults.collect();
    if !faults.is_empty() {
        return Some(format!(
            "payments wait for a processor: {}",
            faults.join(", ")
        ));
    }
    let refused = processors.refused_file()?;
    Some(format!(
        "PROCESSORS_FILE has changed and cannot be used: {refused}"
    ))
}

/// The stage that makes a process of this role unready when it is stuck. The other stages recover when the cause is gone,
/// and an api can accept payments while they wait.
fn stuck_at_the_heart(stages: &Stages, role: Role) -> Option<Name> {
    let heart: &[Name] = match role {
        Role::Api => &[Name::Accept],
        Role::Worker => &[Name::Record],
        Role::All => &[Name::Accept, Name::Record],
    };
    let stuck = |name: &&Name| stages.get(**name).is_some_and(Stage::is_stuck);
    heart.iter().find(stuck).copied()
}

/// A task that ends also ends the process, so this only has to report tasks that hang.
fn liveness(pulses: &Pulses) -> Liveness {
    let hanging: Vec<String> = pulses
        .hanging()
        .into_iter()
        .map(|(name, still_for)| {
            format!(
                "`{name}` has made no progress for {} s",
                still_for.as_secs()
            )
        })
        .collect();
    if hanging.is_empty() {
        Liveness::Live
    } else {
        Liveness::Stuck(hanging.join(", "))
    }
}

#[cfg(test)]
mod tests;
