//! Work for payments that are not in the database: a worker that is pointed at another database on the same virtual host
//! must not swallow it. It goes back, for a worker that knows the payment, and in the end it is a dead letter.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::broker::Delivery;
use crate::wire::work::WorkMessage;

/// How long such a message is held before it goes back: it would come again at once. With the queue's delivery limit it
/// takes about 20 of these until it is a dead letter, so a mistake that is soon mended costs nothing.
const PAUSE: Duration = Duration::from_secs(1);

/// So many are held at a time. Further ones go back at once: they must not fill the prefetch.
const HELD: usize = 16;

/// A line in the log for each would be as many as there are messages, 20 times over.
const TELL_EVERY: Duration = Duration::from_secs(1);

/// What this worker has seen of them.
#[derive(Debug)]
pub struct UnknownPayments {
    places: Semaphore,
    began: Instant,
    /// Milliseconds from `began` to the next moment at which a line may be written.
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
    /// Gives a message back as one that failed, after a pause.
    pub(super) async fn put_back(
        &self,
        work: WorkMessage,
        delivery: Delivery,
        stop: &CancellationToken,
    ) {
        metrics::counter!("work_for_unknown_payments").increment(1);
        self.tell(work);
        if let Ok(_place) = self.places.try_acquire() {
            tokio::select! {
                () = tokio::time::sleep(PAUSE) => {}
                // It has not failed here: the next process may know better.
                () = stop.cancelled() => return delivery.settle.give_back().await,
            }
        }
        delivery.settle.reject().await;
    }

    fn tell(&self, work: WorkMessage) {
        let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
        let now = millis(self.began.elapsed());
        let may = |at: u64| (at <= now).then(|| now.saturating_add(millis(TELL_EVERY)));
        let told = self
            .tell_at
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, may);
        if told.is_ok() {
            tracing::error!(
                payment.id = work.payment_id.0,
                attempt = work.attempt,
                "work for a payment that is not in this database goes back to the queue, and ends among the dead \
                 letters: is DATABASE_URL the database of this virtual host?"
            );
        }
    }
}
