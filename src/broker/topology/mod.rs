//! Exchanges and queues by name, with everything that `rabbitmq/definitions.json` defines for them.
//!
//! The file is part of the program: a broker loads it, the sessions declare it, and the embedded broker follows it. Users
//! and permissions in it only matter to the broker and are not read here.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::BrokerError;

const DEFINITIONS: &str = include_str!("../../../rabbitmq/definitions.json");

/// The exchanges that this service writes to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Exchange {
    /// Requests by message: clients publish, this service consumes.
    #[serde(rename = "payments.requests")]
    Requests,
    /// Work for the workers.
    #[serde(rename = "payments.work")]
    Work,
    /// Results for all subscribers.
    #[serde(rename = "payments.results")]
    Results,
    /// Dead letters. The routing key is the name of the queue that the message came from.
    #[serde(rename = "payments.dead-letters")]
    DeadLetters,
    /// The default exchange, which routes to a queue by its name: replies, and repeated callbacks.
    #[serde(rename = "")]
    Default,
}

/// Messages of different lanes are published separately. Clients own the queues for results and replies, and a queue
/// without its majority confirms nothing; work must not wait behind it. A message's lane: [`Publication::lane`].
///
/// [`Publication::lane`]: super::Publication::lane
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Lane {
    /// To queues of this service: messages that payments need to make progress.
    Work,
    /// To any queues that clients have bound: results, and the callbacks that follow from results.
    Results,
    /// To the queue that a client has named: replies. RabbitMQ closes the connection for some of these names.
    Replies,
}

/// The durable queues.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Queue {
    /// `order.payment` messages of clients.
    Requests,
    /// Tries that are due, one in a message.
    Work,
    /// Tries that are due, several in a message. Workers of releases without groups do not consume it.
    WorkGroups,
    /// Tries of captures, voids and refunds, and of payments that are captured later. Workers of releases without these do
    /// not consume it.
    Operations,
    /// Results to send to clients by HTTP. Bound to the results that clients subscribed to, see
    /// [`super::Broker::bind_results`]; repeated callbacks come through the default exchange.
    Callbacks,
    /// Dead letters.
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
    /// All lanes.
    pub const ALL: [Self; 3] = [Self::Work, Self::Results, Self::Replies];

    /// The name in the outbox.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Work => "work",
            Self::Results => "results",
            Self::Replies => "replies",
        }
    }
}

impl Queue {
    /// All of them.
    pub const ALL: [Self; 6] = [
        Self::Requests,
        Self::Work,
        Self::WorkGroups,
        Self::Operations,
        Self::Callbacks,
        Self::DeadLetters,
    ];

    /// Its name at the broker.
    pub fn name(self) -> &'static str {
        match self {
            Self::Requests => "payments.requests",
            Self::Work => "payments.work",
            Self::WorkGroups => "payments.work-groups",
            Self::Operations => "payments.operations",
            Self::Callbacks => "payments.callbacks",
            Self::DeadLetters => "payments.dead-letters",
        }
    }
}

/// Exchanges, queues and bindings with their arguments, with the broker's field names.
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

/// A binding from an exchange to a queue.
#[derive(Debug, Clone, PartialEq, Deserialize)]
pub struct BindingDefinition {
    /// Name of the exchange.
    pub source: String,
    /// Name of the queue.
    pub destination: String,
    /// For a topic exchange: a pattern, see [`topic_matches`].
    pub routing_key: String,
}

impl Topology {
    /// The topology of `rabbitmq/definitions.json`.
    pub fn of_definitions() -> Result<Self, BrokerError> {
        serde_json::from_str(DEFINITIONS).map_err(|error| {
            BrokerError::Configuration(format!("rabbitmq/definitions.json: {error}"))
        })
    }

    /// The same with a queue bound to results with these keys, so that the bindings exist from the start of every session.
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

    /// The same with another maximum length for one queue. A broker that already has the queue reports a mismatch, so this
    /// is for a virtual host or an embedded broker in tests, which fill a short queue faster.
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
    /// Faults that prevent at-least-once dead-lettering; the broker then silently falls back to at-most-once.
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
                    "is not a quorum queue",
                ),
                (
                    queue.text("x-overflow") == Some("reject-publish"),
                    "does not refuse messages when it is full",
                ),
                (
                    queue.text("x-dead-letter-strategy") == Some("at-least-once"),
                    "does not dead-letter at least once",
                ),
                (
                    self.bindings.iter().any(leads_there),
                    "has no queue for its dead letters",
                ),
            ];
            let missing = needed.iter().filter(|(met, _)| !met);
            faults.extend(missing.map(|(_, fault)| format!("{} {fault}", queue.name)));
        }
        faults
    }
}

impl QueueDefinition {
    /// An argument that is a whole number.
    pub fn number(&self, argument: &str) -> Option<u64> {
        self.arguments.get(argument).and_then(Value::as_u64)
    }

    /// An argument that is a text.
    pub fn text(&self, argument: &str) -> Option<&str> {
        self.arguments.get(argument).and_then(Value::as_str)
    }
}

/// Whether a routing key matches the pattern of a topic binding: words between dots, `*` for exactly one word, `#` for
/// zero or more.
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
