//! How much waits in the outbox, as the relay last saw it. Code that adds to the outbox asks here first.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::store::OutboxDepth;

/// What was last seen in the outbox. Clones share it.
#[derive(Debug, Clone, Default)]
pub struct Backlog(Arc<Seen>);

#[derive(Debug, Default)]
struct Seen {
    full: AtomicBool,
    half_full: AtomicBool,
    messages: AtomicU64,
}

impl Backlog {
    /// Whether so many rows wait that no more payments should be accepted.
    pub fn is_full(&self) -> bool {
        self.0.full.load(Ordering::Relaxed)
    }

    /// Whether half as many rows wait: what can wait elsewhere should not wait in the outbox.
    pub fn is_half_full(&self) -> bool {
        self.0.half_full.load(Ordering::Relaxed)
    }

    /// Rows that belong to no payment: callbacks to be repeated, and dead letters.
    pub fn messages_waiting(&self) -> u64 {
        self.0.messages.load(Ordering::Relaxed)
    }

    /// Notes what was measured; true if the limit has been crossed since the last time, in either direction.
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
