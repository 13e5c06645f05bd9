//! How a broker is reached, and what is expected of it.

use std::time::Duration;

use super::Hosts;
use crate::broker::{BrokerError, Topology};

/// How to reach the broker, and what to expect of it.
#[derive(Debug, Clone)]
pub struct RabbitMqOptions {
    /// Tried in turn.
    pub hosts: Hosts,
    /// Shown in the broker's tools.
    pub connection_name: String,
    /// For connecting, logging in and every question.
    pub connect_timeout: Duration,
    /// For a whole call of `publish`. A broker killed at the wrong moment never answers.
    pub confirm_timeout: Duration,
    /// A consumer that has no unsettled delivery and gets nothing for so long registers again. The broker says by itself when
    /// one is canceled, but not always (seen on 3.10): a quorum queue that is deleted and declared again within a second
    /// may forget its consumers, or keep them and deliver into nothing. An idle consumer costs little to renew, and what
    /// was delivered into nothing comes again.
    pub idle: Duration,
    /// PEM, beside the system's: an extra CA certificate, for `amqps`.
    pub ca_certificates: Option<String>,
    /// What is declared.
    pub topology: Topology,
}

impl RabbitMqOptions {
    /// With time-outs of 5 seconds, 10 for what is idle, the system's certificates and the topology of definitions.json.
    pub fn new(hosts: Hosts, connection_name: impl Into<String>) -> Result<Self, BrokerError> {
        Ok(Self {
            ca_certificates: hosts.ca_certificates(),
            hosts,
            connection_name: connection_name.into(),
            connect_timeout: Duration::from_secs(5),
            confirm_timeout: Duration::from_secs(5),
            idle: Duration::from_secs(10),
            topology: Topology::of_definitions()?,
        })
    }
}
