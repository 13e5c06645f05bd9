//! Receivers: consumers with their unsettled messages, and subscriptions to results.

use std::collections::BTreeMap;

use tokio::sync::mpsc;

use super::Settled;
use super::queue::QueuedMessage;
use crate::broker::topology::topic_matches;
use crate::broker::{Delivery, Settle};

/// Identifies a consumer or subscription for the broker's lifetime.
pub(super) type ConsumerId = u64;

#[derive(Debug)]
pub(super) struct MemoryConsumer {
    pub(super) id: ConsumerId,
    pub(super) queue: &'static str,
    /// Sorted by tag, that is, in the order of delivery.
    pub(super) unsettled: BTreeMap<u64, QueuedMessage>,
    prefetch: usize,
    /// None once it has been canceled: it gets no more deliveries, but can settle those that it has.
    deliveries: Option<mpsc::Sender<Delivery>>,
}

impl MemoryConsumer {
    /// Whether it still gets deliveries.
    pub(super) fn is_registered(&self) -> bool {
        self.deliveries.is_some()
    }

    pub(super) fn new(
        id: ConsumerId,
        queue: &'static str,
        prefetch: u16,
        deliveries: mpsc::Sender<Delivery>,
    ) -> Self {
        let prefetch = usize::from(prefetch).max(1);
        Self {
            id,
            queue,
            unsettled: BTreeMap::new(),
            prefetch,
            deliveries: Some(deliveries),
        }
    }

    pub(super) fn cancel(&mut self) {
        self.deliveries = None;
    }

    pub(super) fn has_room(&self) -> bool {
        self.deliveries.is_some() && self.unsettled.len() < self.prefetch
    }

    /// Delivers the message, or returns it if the receiver is gone.
    pub(super) fn take(
        &mut self,
        tag: u64,
        message: QueuedMessage,
        settle: Box<dyn Settle>,
    ) -> Option<QueuedMessage> {
        let delivery = Delivery {
            routing_key: message.routing_key.clone(),
            properties: message.properties.clone(),
            body: message.body.clone().into_bytes(),
            redelivered: message.redelivered,
            settle,
        };
        if self
            .deliveries
            .as_ref()
            .is_some_and(|sender| sender.try_send(delivery).is_ok())
        {
            self.unsettled.insert(tag, message);
            None
        } else {
            Some(message)
        }
    }
}

#[derive(Debug)]
pub(super) struct Subscription {
    pub(super) keys: Vec<String>,
    pub(super) deliveries: mpsc::Sender<Delivery>,
}

impl Subscription {
    /// Delivers the message if a pattern matches; returns whether one does. A message that does not fit into a slow
    /// receiver's buffer is dropped.
    pub(super) fn hear(&self, message: &QueuedMessage) -> bool {
        let fits = self
            .keys
            .iter()
            .any(|key| topic_matches(key, &message.routing_key));
        if fits {
            let _ = self.deliveries.try_send(Delivery {
                routing_key: message.routing_key.clone(),
                properties: message.properties.clone(),
                body: message.body.clone().into_bytes(),
                redelivered: false,
                settle: Box::new(Settled),
            });
        }
        fits
    }
}
