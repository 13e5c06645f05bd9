//! How to reach the broker, and what to expect of it.

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
    /// Time-out for connecting, logging in and every request.
    pub connect_timeout: Duration,
    /// Time-out for a whole call of `publish`. A broker killed at the wrong time never answers.
    pub confirm_timeout: Duration,
    /// A consumer without unsettled deliveries that receives nothing for this long registers again. The broker reports
    /// canceled consumers, but not always (seen on 3.10): a quorum queue that is deleted and declared again within a second
    /// may forget its consumers, or keep them and lose its deliveries to them. An idle consumer costs little to renew, and
    /// lost deliveries are then redelivered.
    pub idle: Duration,
    /// An extra CA certificate as PEM, in addition to the system's, for `amqps`.
    pub ca_certificates: Option<String>,
    /// The topology to declare.
    pub topology: Topology,
}

impl RabbitMqOptions {
    /// With time-outs of 5 seconds, an idle time of 10 seconds, the system's certificates and the topology of
    /// definitions.json.
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
