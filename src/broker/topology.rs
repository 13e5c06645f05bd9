//! Exchanges and queues by name, and everything that `rabbitmq/definitions.json` says of them.

use serde::{Deserialize, Serialize};

/// The exchanges that this service writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exchange {
    /// Requests by message: clients write, we read.
    #[serde(rename = "payments.requests")]
    Requests,
    /// Work for the workers.
    #[serde(rename = "payments.work")]
    Work,
    /// Results for everyone who listens.
    #[serde(rename = "payments.results")]
    Results,
    /// What could not be used.
    #[serde(rename = "payments.dead-letters")]
    DeadLetters,
    /// The default exchange, which leads to a queue by its name: replies.
    #[serde(rename = "")]
    Default,
}

/// The durable queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// `order.payment` messages of clients.
    Requests,
    /// Tries that are due.
    Work,
    /// What could not be used.
    DeadLetters,
}

impl Exchange {
    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "payments.requests",
            Self::Work => "payments.work",
            Self::Results => "payments.results",
            Self::DeadLetters => "payments.dead-letters",
            Self::Default => "",
        }
    }
}

impl Queue {
    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "payments.requests",
            Self::Work => "payments.work",
            Self::DeadLetters => "payments.dead-letters",
        }
    }
}
