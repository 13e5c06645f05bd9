//! How many rows wait in the outbox, by the relay's last measurement. Code that adds to the outbox checks this first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::OutboxDepth;

/// The last measurement of the outbox. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    full: AtomicBool,
    half_full: AtomicBool,
    messages: AtomicU64,
}

impl Backlog {
    /// Whether too many rows wait to accept more payments.
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// Whether half of that limit waits: work that can wait elsewhere should then stay out of the outbox.
    pub fn is_half_full(&self) -> bool {
        self.0.half_full.load(Ordering::Relaxed)
    }

    /// Rows that do not belong to a payment: callbacks to be repeated, and dead letters.
    pub fn messages_waiting(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed)
    }

    /// Stores a measurement; true if the limit has been crossed since the last one, in either direction.
    pub fn note(&self, depth: &OutboxDepth, limit: u64) -> bool {
        // A callback receiver that is down must not stop payments.
        let messages = depth.total.saturating_sub(depth.of_payments);
        self.0.messages.store(messages, Ordering::Relaxed);
        let half_full = depth.of_payments >= limit / 2;
        self.0.half_full.store(half_full, Ordering::Relaxed);
        let full = depth.of_payments >= limit;
        full != self.0.full.swap(full, Ordering::Relaxed)
    }
}
