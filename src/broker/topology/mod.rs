//! Exchanges and queues by name, and everything that `rabbitmq/definitions.json` says of them.
//!
//! The file is part of the program: what a broker loads, what the sessions declare and what the embedded broker does
//! is one and the same text. Users and permissions in it concern the broker alone and are not read here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BrokerError;

const DEFINITIONS: &str = include_str!("../../../rabbitmq/definitions.json");

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
    /// What could not be used. Its routing key is the name of the queue where the message came from.
    #[serde(rename = "payments.dead-letters")]
    DeadLetters,
    /// The default exchange, which leads to a queue by its name: replies, and callbacks that come again.
    #[serde(rename = "")]
    Default,
}

/// What travels apart. Clients own the queues that results and replies go to, and a queue that has lost its majority
/// confirms nothing to its publishers; work must not wait behind such a queue. A message's lane: [`Publication::lane`].
///
/// [`Publication::lane`]: super::Publication::lane
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// To queues of this service: what payments need to go on.
    Work,
    /// To whatever queues others have bound: results, and the callbacks that follow from results.
    Results,
    /// To the queue that a client has named: replies. RabbitMQ closes the connection for some of those names.
    Replies,
}

/// The durable queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// `order.payment` messages of clients.
    Requests,
    /// Tries that are due.
    Work,
    /// Results that a client is to be told of by HTTP. Bound to results while clients want that, see
    /// [`super::Broker::bind_results`]; what is to be told later comes through the default exchange.
    Callbacks,
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

impl Lane {
    /// All.
    pub const ALL: [Self; 3] = [Self::Work, Self::Results, Self::Replies];

    /// As the outbox keeps it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Results => "results",
            Self::Replies => "replies",
        }
    }
}

impl Queue {
    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "payments.requests",
            Self::Work => "payments.work",
            Self::Callbacks => "payments.callbacks",
            Self::DeadLetters => "payments.dead-letters",
        }
    }
}

/// Exchanges, queues and bindings with their arguments, in the broker's own words.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct Topology {
    /// Declared first.
    pub exchanges: Vec<ExchangeDefinition>,
    /// Declared second.
    pub queues: Vec<QueueDefinition>,
    /// Exchange to queue.
    pub bindings: Vec<BindingDefinition>,
}

/// One exchange.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct ExchangeDefinition {
    /// Name.
    pub name: String,
    /// `direct` or `topic`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Survives a restart of the broker.
    pub durable: bool,
}

/// One queue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct QueueDefinition {
    /// Name.
    pub name: String,
    /// Survives a restart of the broker.
    pub durable: bool,
    /// `x-queue-type` and so on: texts and whole numbers.
    pub arguments: BTreeMap<String, Value>,
}

/// What leads from an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BindingDefinition {
    /// Name of the exchange.
    pub source: String,
    /// Name of the queue.
    pub destination: String,
    /// For a topic exchange a pattern, see [`topic_matches`].
    pub routing_key: String,
}

impl Topology {
    /// What `rabbitmq/definitions.json` says.
    pub fn of_definitions() -> Result<Self, BrokerError> {
        serde_json::from_str(DEFINITIONS).map_err(|error| {
            BrokerError::Configuration(format!("rabbitmq/definitions.json: {error}"))
        })
    }

    /// The same with results of these keys led to a queue, so that they are from the first moment of every session.
    #[must_use]
    pub fn with_results(mut self, queue: Queue, keys: &[String]) -> Self {
        self.bindings
            .extend(keys.iter().map(|key| BindingDefinition {
                source: Exchange::Results.name().to_owned(),
                destination: queue.name().to_owned(),
                routing_key: key.clone(),
            }));
        self
    }

    /// The same with another length for one queue. A broker that has the queue already calls it a mismatch, so this
    /// is for a virtual host or an embedded broker in tests: these fill a queue of three sooner than of a million.
    #[must_use]
    pub fn with_max_length(mut self, queue: Queue, max_length: u64) -> Self {
        for definition in self.queues.iter_mut().filter(|it| it.name == queue.name()) {
            definition
                .arguments
                .insert("x-max-length".to_owned(), max_length.into());
        }
        self
    }
}

impl Topology {
    /// What keeps a queue from dead-lettering at least once; the broker falls back to at most once and says nothing.
    pub fn dead_letter_faults(&self) -> Vec<String> {
        let mut faults = Vec::new();
        for queue in self
            .queues
            .iter()
            .filter(|it| it.name != Queue::DeadLetters.name())
        {
            let exchange = queue.text("x-dead-letter-exchange");
            let key = queue.text("x-dead-letter-routing-key");
            let leads_there = |it: &BindingDefinition| {
                Some(it.source.as_str()) == exchange
                    && Some(it.routing_key.as_str()) == key
                    && it.destination == Queue::DeadLetters.name()
            };
            let needed = [
                (
                    queue.text("x-queue-type") == Some("quorum"),
                    "is no quorum queue",
                ),
                (
                    queue.text("x-overflow") == Some("reject-publish"),
                    "does not refuse when it is full",
                ),
                (
                    queue.text("x-dead-letter-strategy") == Some("at-least-once"),
                    "has another strategy",
                ),
                (
                    self.bindings.iter().any(leads_there),
                    "has dead letters that lead nowhere",
                ),
            ];
            let missing = needed.iter().filter(|(met, _)| !met);
            faults.extend(missing.map(|(_, fault)| format!("{} {fault}", queue.name)));
        }
        faults
    }
}

impl QueueDefinition {
    /// A whole number among the arguments.
    pub fn number(&self, argument: &str) -> Option<u64> {
        self.arguments.get(argument).and_then(Value::as_u64)
    }

    /// A text among the arguments.
    pub fn text(&self, argument: &str) -> Option<&str> {
        self.arguments.get(argument).and_then(Value::as_str)
    }
}

/// Whether a routing key fits the pattern of a topic binding: words between dots, `*` for exactly one word, `#` for
/// any number of them, none included.
pub fn topic_matches(pattern: &str, routing_key: &str) -> bool {
    let pattern: Vec<&str> = pattern.split('.').collect();
    let words: Vec<&str> = routing_key.split('.').collect();
    words_match(&pattern, &words)
}

fn words_match(pattern: &[&str], words: &[&str]) -> bool {
    match (pattern.split_first(), words.split_first()) {
        (None, None) => true,
        (Some((&"#", rest)), _) => {
            words_match(rest, words)
                || words
                    .split_first()
                    .is_some_and(|(_, after)| words_match(pattern, after))
        }
        (Some((&"*", rest)), Some((_, after))) => words_match(rest, after),
        (Some((expected, rest)), Some((word, after))) => {
            expected == word && words_match(rest, after)
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests;
