//! Checks RabbitMQ: version, topology, dead-lettering, permissions.

use std::time::Duration;

use tokio::time::timeout;

use super::Finding;
use crate::broker::rabbitmq::{Hosts, RabbitMq, RabbitMqOptions};
use crate::broker::{Broker, BrokerError, ConnectionState};

/// How long connecting and logging in may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// From this version on, quorum queues dead-letter at least once.
const OLDEST: (u32, u32) = (3, 10);

pub(super) async fn look(hosts: Hosts) -> Vec<Finding> {
    let options = match RabbitMqOptions::new(hosts, "payment-service check") {
        Ok(options) => options,
        Err(error) => return vec![unusable(&error)],
    };
    let faults = options.topology.dead_letter_faults();
    // Connecting declares missing exchanges and queues, as in every process of the service.
    let broker = RabbitMq::new(options);
    let mut findings = vec![version(&broker).await];
    match connected(&broker).await {
        Ok(ConnectionState::Blocked) => findings.push(Finding::fail(
            "broker alarm",
            "RabbitMQ accepts no messages (resource alarm)",
            "give it memory or disk: rabbitmq-diagnostics alarms",
        )),
        Ok(_) => {
            let topology = broker.declare_topology().await;
            findings.push(dead_lettering(&faults, topology.is_ok()));
            findings.push(self::topology(topology));
            findings.push(rights(&broker).await);
        }
        Err(reason) => findings.push(Finding::fail(
            "broker login",
            reason,
            "is it running, and are host, login and virtual host in AMQP_URL correct?",
        )),
    }
    broker.close().await;
    findings
}

fn unusable(error: &BrokerError) -> Finding {
    Finding::fail("broker", error.to_string(), "correct AMQP_URL")
}

async fn version(broker: &RabbitMq) -> Finding {
    let Ok(text) = broker.version().await else {
        return Finding::warn(
            "broker",
            "no host reports its version",
            "is RabbitMQ running at a host of AMQP_URL?",
        );
    };
    let mut numbers = text.split('.').map_while(|part| part.parse::<u32>().ok());
    let found = (numbers.next().unwrap_or(0), numbers.next().unwrap_or(0));
    if found >= OLDEST {
        Finding::ok("broker", format!("RabbitMQ {text}"))
    } else {
        Finding::fail(
            "broker",
            format!("RabbitMQ {text} is older than {}.{}", OLDEST.0, OLDEST.1),
            "use RabbitMQ 3.10 or later: older ones cannot dead-letter at least once",
        )
    }
}

/// The first state after connecting, or the last reason why there is none.
async fn connected(broker: &RabbitMq) -> Result<ConnectionState, String> {
    let mut connection = broker.connection();
    let there = connection.wait_for(|state| !matches!(state, ConnectionState::Down(_)));
    if let Ok(Ok(state)) = timeout(PATIENCE, there).await {
        return Ok(state.clone());
    }
    let state = broker.connection().borrow().clone();
    Err(match state {
        ConnectionState::Down(reason) => reason,
        other => format!("{other:?}"),
    })
}

fn topology(declared: Result<(), BrokerError>) -> Finding {
    match declared {
        Ok(()) => Finding::ok(
            "topology",
            "exchanges, queues and bindings are those of rabbitmq/definitions.json",
        ),
        Err(error) => Finding::fail(
            "topology",
            error.to_string(),
            "give missing rights to the RabbitMQ user; arguments cannot be changed: empty the queue, delete it; then run \
             `payment-service setup`",
        ),
    }
}

/// When the same queue is declared, the broker compares every argument, so the definitions are in force.
fn dead_lettering(faults: &[String], topology_is_in_force: bool) -> Finding {
    let remedy =
        "declare the queues as in rabbitmq/definitions.json; otherwise dead letters can be lost";
    match (faults.is_empty(), topology_is_in_force) {
        (true, true) => Finding::ok("dead letters", "at least once, from every queue"),
        (true, false) => Finding::fail("dead letters", "unknown: the topology differs", remedy),
        (false, _) => Finding::fail("dead letters", faults.join("; "), remedy),
    }
}

async fn rights(broker: &RabbitMq) -> Finding {
    let remedy =
        "give the login the permissions of the user payment-service in rabbitmq/definitions.json";
    match broker.rights().await {
        Ok(rights) => {
            let refused: Vec<String> = rights
                .iter()
                .filter_map(|right| Some(format!("{}: {}", right.what, right.refused.as_ref()?)))
                .collect();
            if refused.is_empty() {
                let words = format!("all {} that the service needs", rights.len());
                Finding::ok("broker rights", words)
            } else {
                Finding::fail("broker rights", refused.join("; "), remedy)
            }
        }
        Err(error) => Finding::fail("broker rights", error.to_string(), remedy),
    }
}
