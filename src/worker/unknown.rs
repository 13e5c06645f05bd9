//! Work for payments that are not in the database: a worker that is pointed at another database on the same virtual host
//! must not consume it. The message is returned for a worker that knows the payment, and in the end becomes a dead
//! letter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::Delivery;
use crate::domain::PaymentId;
use crate::metric;

/// How long such a message is held before it is returned: otherwise it would be redelivered at once. The queue's delivery
/// limit allows about 20 returns before it becomes a dead letter, so a mistake that is soon fixed does no harm.
const PAUSE: Duration = Duration::from_secs(1);

/// How many are held at the same time. Further ones are returned at once: they must not fill the prefetch.
const HELD: usize = 16;

/// How often to log them: a line for each would be 20 lines per message.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What this worker has seen of them.
#[derive(Debug)]
pub struct UnknownPayments {
    places: Semaphore,
    began: Instant,
    /// Milliseconds from `began` to the next time at which a line may be logged.
    tell_at: AtomicU64,
}

impl Default for UnknownPayments {
    fn default() -> Self {
        Self {
            places: Semaphore::new(HELD),
            began: Instant::now(),
            tell_at: AtomicU64::new(0),
        }
    }
}

impl UnknownPayments {
    /// Returns a message as failed, after a pause.
    pub(super) async fn put_back(
        &self,
        payment: PaymentId,
        delivery: Delivery,
        stop: &CancellationToken,
    ) {
        metrics::counter!(metric::WORK_FOR_UNKNOWN_PAYMENTS).increment(1);
        self.tell(payment);
        if let Ok(_place) = self.places.try_acquire() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                // It did not fail here: the next process may know the payment.
                () = stop.cancelled() => return delivery.settle.give_back().await,
            }
        }
        delivery.settle.reject().await;
    }

    fn tell(&self, payment: PaymentId) {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed());
        let may = |at: u64| (at <= now).then(|| now.saturating_add(millis(TELL_EVERY)));
        let told = self
            .tell_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, may);
        if told.is_ok() {
            tracing::error!(
                payment.id = payment.0,
                "work for a payment that is not in this database goes back to the queue, and becomes a dead \
                 letter in the end: is DATABASE_URL the database of this virtual host?"
            );
        }
    }
}
