//! One queue: its waiting messages, their order, and how often each has failed.

use std::collections::VecDeque;

use crate::broker::Properties;
use crate::broker::topology::QueueDefinition;

/// A message in a queue.
#[derive(Debug, Clone)]
pub(super) struct QueuedMessage {
    /// Routing key of its last publication.
    pub(super) routing_key: String,
    pub(super) properties: Properties,
    pub(super) body: String,
    /// It has been delivered before.
    pub(super) redelivered: bool,
    /// Rejections so far.
    pub(super) failures: u64,
}

/// A queue with the limits of its definition.
#[derive(Debug)]
pub(super) struct MemoryQueue {
    pub(super) name: String,
    pub(super) waiting: VecDeque<QueuedMessage>,
    max_length: Option<u64>,
    delivery_limit: Option<u64>,
    dead_letter_exchange: Option<String>,
    dead_letter_key: Option<String>,
}

impl MemoryQueue {
    pub(super) fn new(definition: &QueueDefinition) -> Self {
        Self {
            name: definition.name.clone(),
            waiting: VecDeque::new(),
            max_length: definition.number("x-max-length"),
            delivery_limit: definition.number("x-delivery-limit"),
            dead_letter_exchange: definition.text("x-dead-letter-exchange").map(str::to_owned),
            dead_letter_key: definition
                .text("x-dead-letter-routing-key")
                .map(str::to_owned),
        }
    }

    /// A full queue refuses publications. Messages being processed do not count.
    pub(super) fn is_full(&self) -> bool {
        self.max_length
            .is_some_and(|longest| self.waiting.len() as u64 >= longest)
    }

    /// Whether it has reached the delivery limit.
    pub(super) fn is_dead(&self, message: &QueuedMessage) -> bool {
        self.delivery_limit
            .is_some_and(|limit| message.failures > limit)
    }

    /// Exchange and routing key for dead letters.
    pub(super) fn dead_letter_place(&self, message: &QueuedMessage) -> Option<(String, String)> {
        let exchange = self.dead_letter_exchange.clone()?;
        let key = self
            .dead_letter_key
            .clone()
            .unwrap_or_else(|| message.routing_key.clone());
        Some((exchange, key))
    }

    /// Puts the message back at the front, marked as redelivered.
    pub(super) fn take_back(&mut self, mut message: QueuedMessage) {
        message.redelivered = true;
        self.waiting.push_front(message);
    }
}
