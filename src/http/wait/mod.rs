//! Requests that wait for an outcome, and what wakes them.
//!
//! A wake-up is only a hint, never the outcome itself: a waiting request registers first, then reads the store, then
//! waits, and reads once more however the wait ended. So it does not miss an outcome that comes in between.

use std::collections::BTreeMap;
use std::ops::Bound;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::{Notify, watch};
use tokio::time::{Instant, timeout_at};
use tracing::{Instrument, debug_span};

use crate::domain::{Payment, PaymentId, PaymentStatus};

/// All waiting requests of this process, by payment.
#[derive(Debug)]
pub struct Waiters {
    waiting: Mutex<Waiting>,
    /// Notified when a request starts to wait.
    somebody: Notify,
    most: usize,
}

#[derive(Debug, Default)]
struct Waiting {
    payments: BTreeMap<PaymentId, Waited>,
    number: usize,
    closed: bool,
}

/// A payment that requests wait for.
#[derive(Debug)]
struct Waited {
    hints: watch::Sender<()>,
    since: Instant,
}

/// One request that waits; dropping it removes it.
#[derive(Debug)]
pub struct Waiter {
    waiters: Arc<Waiters>,
    payment: PaymentId,
    hints: watch::Receiver<()>,
}

/// Why a waiter stopped waiting.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Woken {
    /// Something may have happened: read the store.
    Hint,
    /// The service is stopping: answer now.
    Closed,
}

impl Waiters {
    /// At most `most` requests wait at the same time; further ones are answered at once.
    pub fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            waiting: Mutex::default(),
            somebody: Notify::new(),
            most,
        })
    }

    /// Registers a request; `None` when there are too many, or the service is stopping.
    pub fn register(self: &Arc<Self>, payment: PaymentId) -> Option<Waiter> {
        let mut waiting = self.lock();
        if waiting.closed || waiting.number >= self.most {
            return None;
        }
        waiting.number += 1;
        self.somebody.notify_one();
        let waited = waiting.payments.entry(payment).or_insert_with(|| Waited {
            hints: watch::Sender::default(),
            since: Instant::now(),
        });
        let hints = waited.hints.subscribe();
        Some(Waiter {
            waiters: Arc::clone(self),
            payment,
            hints,
        })
    }

    /// Something has happened to a payment.
    pub fn wake(&self, payment: PaymentId) {
        if let Some(waited) = self.lock().payments.get(&payment) {
            waited.hints.send_replace(());
        }
    }

    /// Hints may have been missed (the connection that delivers them was lost): all waiting requests read the store
    /// again.
    pub fn wake_all(&self) {
        for waited in self.lock().payments.values() {
            waited.hints.send_replace(());
        }
    }

    /// Up to `most` payments that requests have waited for at least this long: those after `last`, then from the
    /// beginning.
    pub fn waiting_for(
        &self,
        longer_than: Duration,
        last: Option<PaymentId>,
        most: usize,
    ) -> Vec<PaymentId> {
        let waiting = self.lock();
        let behind = last.map_or(Bound::Unbounded, Bound::Excluded);
        let until = last.map_or(Bound::Excluded(PaymentId(i64::MIN)), Bound::Included);
        let payments = &waiting.payments;
        payments
            .range((behind, Bound::Unbounded))
            .chain(payments.range((Bound::Unbounded, until)))
            .filter(|(_, waited)| waited.since.elapsed() >= longer_than)
            .map(|(payment, _)| *payment)
            .take(most)
            .collect()
    }

    /// The service is stopping: all waiting requests are answered now, and no further ones may wait.
    pub fn close(&self) {
        let mut waiting = self.lock();
        waiting.closed = true;
        waiting.payments.clear();
    }

    /// Returns when a request waits.
    pub async fn somebody(&self) {
        while self.number() == 0 {
            self.somebody.notified().await;
        }
    }

    /// How many requests wait now.
    pub fn number(&self) -> usize {
        self.lock().number
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Waiter {
    /// Waits for a hint; one that arrived since registering, or since the last call, counts.
    pub async fn woken(&mut self) -> Woken {
        match self.hints.changed().await {
            Ok(()) => Woken::Hint,
            Err(_) => Woken::Closed,
        }
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        let mut waiting = self.waiters.lock();
        waiting.number -= 1;
        // This waiter's receiver is counted until it is dropped, right after this.
        let last = |waited: &Waited| waited.hints.receiver_count() <= 1;
        if waiting.payments.get(&self.payment).is_some_and(last) {
            waiting.payments.remove(&self.payment);
        }
    }
}

/// Waits until a payment is no longer processing, up to a limit, and returns its state. If the store cannot be read, the
/// wait ends: the caller can still be told that the payment was accepted.
pub async fn for_outcome<E, R>(
    waiters: &Arc<Waiters>,
    payment: Payment,
    longest: Duration,
    read: impl Fn() -> R,
) -> Payment
where
    R: Future<Output = Result<Option<Payment>, E>>,
{
    let is_over = |payment: &Payment| payment.status != PaymentStatus::Processing;
    until(waiters, payment, (longest, is_over), read).await
}

/// The same, until a condition holds.
pub async fn until<E, R>(
    waiters: &Arc<Waiters>,
    mut payment: Payment,
    (longest, is_over): (Duration, impl Fn(&Payment) -> bool),
    read: impl Fn() -> R,
) -> Payment
where
    R: Future<Output = Result<Option<Payment>, E>>,
{
    if is_over(&payment) || longest.is_zero() {
        return payment;
    }
    let deadline = Instant::now() + longest;
    let Some(mut waiter) = waiters.register(payment.id) else {
        return payment;
    };
    let span = debug_span!("wait", payment.id = payment.id.0);
    async {
        let mut time_is_left = true;
        loop {
            match read().await {
                Ok(Some(read)) => payment = read,
                Ok(None) | Err(_) => return payment,
            }
            if is_over(&payment) || !time_is_left {
                return payment;
            }
            time_is_left = matches!(timeout_at(deadline, waiter.woken()).await, Ok(Woken::Hint));
        }
    }
    .instrument(span)
    .await
}

#[cfg(test)]
mod tests;
