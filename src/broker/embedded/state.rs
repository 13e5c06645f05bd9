//! The whole broker under one lock: routing, consumers, unsettled messages. Never waits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use tokio::sync::mpsc;

use super::KeepDeadLetters;
use super::Settlement;
use super::consumer::{ConsumerId, MemoryConsumer, Subscription};
use super::queue::{MemoryQueue, QueuedMessage};
use crate::broker::topology::{BindingDefinition, ExchangeDefinition, topic_matches};
use crate::broker::{Delivery, Exchange, Publication, PublishError, Queue, Topology};

/// How a delivery was settled.
pub(super) enum Verdict {
    Done,
    Failed,
    GivenBack,
}

#[derive(Debug)]
pub(super) struct State {
    exchanges: Vec<ExchangeDefinition>,
    bindings: Vec<BindingDefinition>,
    queues: Vec<MemoryQueue>,
    /// In the order of their last delivery: the first is next.
    consumers: Vec<MemoryConsumer>,
    subscriptions: BTreeMap<ConsumerId, Subscription>,
    last_id: u64,
    keeper: Option<Arc<dyn KeepDeadLetters>>,
}

impl State {
    pub(super) fn new(topology: Topology) -> Self {
        Self {
            queues: topology.queues.iter().map(MemoryQueue::new).collect(),
            exchanges: topology.exchanges,
            bindings: topology.bindings,
            consumers: Vec::new(),
            subscriptions: BTreeMap::new(),
            last_id: 0,
            keeper: None,
        }
    }

    pub(super) fn keep_dead_letters(&mut self, keeper: Arc<dyn KeepDeadLetters>) {
        self.keeper = Some(keeper);
    }

    /// Whether a message would be routed to a queue.
    pub(super) fn leads_to(&self, queue: Queue, publication: &Publication) -> bool {
        let targets = self.route(publication.exchange.name(), &publication.routing_key);
        targets
            .iter()
            .any(|index| self.queues[*index].name == queue.name())
    }

    pub(super) fn publish(
        &mut self,
        this: &Arc<Mutex<State>>,
        publication: &Publication,
    ) -> Result<(), PublishError> {
        let message = QueuedMessage {
            routing_key: publication.routing_key.clone(),
            properties: publication.properties.clone(),
            body: publication.body.clone(),
            redelivered: false,
            failures: 0,
        };
        let exchange = publication.exchange.name();
        let targets = self.route(exchange, &message.routing_key);
        let heard = publication.exchange == Exchange::Results && self.tell_subscribers(&message);
        if targets.is_empty() && !heard && publication.mandatory {
            let routing_key = message.routing_key;
            return Err(PublishError::Unroutable {
                exchange: exchange.to_owned(),
                routing_key,
            });
        }
        if targets.iter().any(|index| self.queues[*index].is_full()) {
            return Err(PublishError::Refused);
        }
        for index in targets {
            self.queues[index].waiting.push_back(message.clone());
            self.deliver(this, index);
        }
        Ok(())
    }

    pub(super) fn consume(
        &mut self,
        this: &Arc<Mutex<State>>,
        queue: Queue,
        prefetch: u16,
        deliveries: mpsc::Sender<Delivery>,
    ) -> ConsumerId {
        let id = self.next_id();
        let consumer = MemoryConsumer::new(id, queue.name(), prefetch, deliveries);
        self.consumers.push(consumer);
        self.deliver_from(this, queue.name());
        id
    }

    pub(super) fn subscribe(
        &mut self,
        keys: Vec<String>,
        deliveries: mpsc::Sender<Delivery>,
    ) -> ConsumerId {
        let id = self.next_id();
        self.subscriptions
            .insert(id, Subscription { keys, deliveries });
        id
    }

    pub(super) fn bind_results(&mut self, queue: Queue, wanted: &[String], unwanted: &[String]) {
        let ours = |it: &BindingDefinition| {
            it.source == Exchange::Results.name() && it.destination == queue.name()
        };
        self.bindings.retain(|it| {
            !ours(it) || !(wanted.contains(&it.routing_key) || unwanted.contains(&it.routing_key))
        });
        self.bindings
            .extend(wanted.iter().map(|key| BindingDefinition {
                source: Exchange::Results.name().to_owned(),
                destination: queue.name().to_owned(),
                routing_key: key.clone(),
            }));
    }

    /// Stops deliveries; those already delivered can still be settled.
    pub(super) fn cancel(&mut self, id: ConsumerId) {
        self.subscriptions.remove(&id);
        for consumer in self.consumers.iter_mut().filter(|it| it.id == id) {
            consumer.cancel();
        }
    }

    /// Removes a consumer: its unsettled messages go back in their order.
    pub(super) fn remove(&mut self, this: &Arc<Mutex<State>>, id: ConsumerId) {
        self.subscriptions.remove(&id);
        let Some(position) = self.consumers.iter().position(|it| it.id == id) else {
            return;
        };
        let consumer = self.consumers.remove(position);
        if let Some(queue) = self.queues.iter_mut().find(|it| it.name == consumer.queue) {
            for message in consumer.unsettled.into_values().rev() {
                queue.take_back(message);
            }
        }
        self.deliver_from(this, consumer.queue);
    }

    pub(super) fn settle(
        &mut self,
        this: &Arc<Mutex<State>>,
        consumer: ConsumerId,
        tag: u64,
        verdict: Verdict,
    ) {
        let Some(consumer) = self.consumers.iter_mut().find(|it| it.id == consumer) else {
            return;
        };
        let queue = consumer.queue;
        let Some(mut message) = consumer.unsettled.remove(&tag) else {
            return;
        };
        let Some(index) = self.queues.iter().position(|it| it.name == queue) else {
            return;
        };
        match verdict {
            Verdict::Done => {}
            Verdict::GivenBack => self.queues[index].take_back(message),
            Verdict::Failed => {
                message.failures += 1;
                if self.queues[index].is_dead(&message) {
                    self.bury(this, index, message);
                } else {
                    self.queues[index].take_back(message);
                }
            }
        }
        self.deliver(this, index);
    }

    pub(super) fn is_consumed(&self, queue: &str) -> bool {
        let mut consumers = self.consumers.iter();
        consumers.any(|it| it.queue == queue && it.is_registered())
    }

    pub(super) fn depth(&self, queue: &str) -> Option<u64> {
        self.queues
            .iter()
            .find(|it| it.name == queue)
            .map(|it| it.waiting.len() as u64)
    }

    /// Dead-letters a message. It is never lost because a queue is full: the dead-letter queue may exceed its length here,
    /// whereas RabbitMQ would keep the message in its original queue until there is room.
    fn bury(&mut self, this: &Arc<Mutex<State>>, from: usize, mut message: QueuedMessage) {
        let Some((exchange, key)) = self.queues[from].dead_letter_place(&message) else {
            return;
        };
        let headers = [
            ("x-first-death-queue", self.queues[from].name.clone()),
            ("x-first-death-reason", "delivery_limit".to_owned()),
        ];
        for (name, value) in headers {
            message.properties.headers.insert(name.to_owned(), value);
        }
        self.keep(&message, &key);
        for index in self.route(&exchange, &key) {
            message.routing_key.clone_from(&key);
            message.redelivered = false;
            message.failures = 0;
            self.queues[index].waiting.push_back(message.clone());
            self.deliver(this, index);
        }
    }

    /// Stores a dead letter in the background: if the process ends first, the payment is dispatched again anyway.
    fn keep(&self, message: &QueuedMessage, routing_key: &str) {
        let Some(keeper) = self.keeper.clone() else {
            return;
        };
        let letter = Publication {
            exchange: Exchange::DeadLetters,
            routing_key: routing_key.to_owned(),
            properties: message.properties.clone(),
            body: message.body.clone(),
            mandatory: true,
        };
        tokio::spawn(async move { keeper.keep(&[letter]).await });
    }

    fn route(&self, exchange: &str, routing_key: &str) -> Vec<usize> {
        let position = |name: &str| self.queues.iter().position(|it| it.name == name);
        if exchange == Exchange::Default.name() {
            return position(routing_key).into_iter().collect();
        }
        let is_topic = self
            .exchanges
            .iter()
            .any(|it| it.name == exchange && it.kind == "topic");
        let fits = |binding: &&BindingDefinition| {
            binding.source == exchange
                && if is_topic {
                    topic_matches(&binding.routing_key, routing_key)
                } else {
                    binding.routing_key == routing_key
                }
        };
        let mut targets: Vec<usize> = self
            .bindings
            .iter()
            .filter(fits)
            .filter_map(|it| position(&it.destination))
            .collect();
        targets.sort_unstable();
        targets.dedup();
        targets
    }

    /// Sends a message to subscriptions; returns whether any received it.
    fn tell_subscribers(&self, message: &QueuedMessage) -> bool {
        let listening = self.subscriptions.values();
        listening.filter(|it| it.hear(message)).count() > 0
    }

    fn deliver_from(&mut self, this: &Arc<Mutex<State>>, queue: &str) {
        if let Some(index) = self.queues.iter().position(|it| it.name == queue) {
            self.deliver(this, index);
        }
    }

    /// Delivers waiting messages to the consumers in turn, up to their prefetch.
    fn deliver(&mut self, this: &Arc<Mutex<State>>, index: usize) {
        let queue = &mut self.queues[index];
        while !queue.waiting.is_empty() {
            let ready = self
                .consumers
                .iter()
                .position(|it| it.queue == queue.name && it.has_room());
            let Some(position) = ready else { return };
            let Some(message) = queue.waiting.pop_front() else {
                return;
            };
            let mut consumer = self.consumers.remove(position);
            self.last_id += 1;
            let settle = Settlement {
                state: Arc::clone(this),
                consumer: consumer.id,
                tag: self.last_id,
            };
            if let Some(message) = consumer.take(self.last_id, message, Box::new(settle)) {
                // Its receiver is gone; it will be removed soon.
                consumer.cancel();
                queue.waiting.push_front(message);
            }
            self.consumers.push(consumer);
        }
    }

    fn next_id(&mut self) -> ConsumerId {
        self.last_id += 1;
        self.last_id
    }
}
