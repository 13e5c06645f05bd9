//! What the relay looks after again and again: rows that are due, payments that were forgotten, the size of the
//! backlog, and cards of expired tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use tokio_util::sync::CancellationToken;

use super::{Backlog, Publisher, RelaySettings};
use crate::broker::{Lane, Queue};
use crate::store::Database;

/// Rows taken by one sweep.
const SWEPT: u32 = 512;
/// Pause between two looks for cards to erase.
pub(super) const ERASE_EVERY: Duration = Duration::from_secs(60);
/// Payments dispatched again at once.
const DISPATCHED_AGAIN: u32 = 100;

pub(super) async fn sweep(
    lane: Lane,
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.sweep_every, &stop).await {
        if !publisher.connected() {
            // Nothing is tried, so nothing fails; what failed before waits all the same.
            for stage in publisher.stages.publishing() {
                stage.still_failing();
            }
        }
        while publisher.connected() && !stop.is_cancelled() {
            let in_hand = publisher.pulses.sweep.take();
            let sweep = publisher.commands.sweep(lane, SWEPT);
            let swept = publisher.stages.sweep.watch(sweep).await;
            drop(in_hand);
            let Ok((rows, oldest)) = swept else {
                break;
            };
            let found = rows.len();
            // Taken rows are on their way; what is left behind them waits.
            let left_behind = oldest.filter(|_| found == SWEPT as usize);
            publisher.stages.of(lane).found(left_behind);
            metrics::counter!("relay_swept").increment(found as u64);
            let confirmed = publisher.publish(rows).await;
            // A broker that takes nothing is not asked again at once.
            let done = found < SWEPT as usize || confirmed.is_empty();
            publisher.forget(confirmed).await;
            if done {
                break;
            }
        }
    }
}

/// The last net. Only while the work queue is empty: a message that waits there is not lost.
pub(super) async fn dispatch_forgotten(
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.check_every, &stop).await {
        if !publisher.connected()
            || publisher
                .broker
                .depth(Queue::Work)
                .await
                .is_ok_and(|depth| depth > 0)
        {
            continue;
        }
        let in_hand = publisher.pulses.last_net.take();
        let rescue = publisher.commands.dispatch_forgotten(DISPATCHED_AGAIN);
        let rows = publisher.stages.rescue.watch(rescue).await;
        drop(in_hand);
        let Ok(rows) = rows else {
            continue;
        };
        if !rows.is_empty() {
            tracing::warn!(
                payments = rows.len(),
                "dispatched again: their messages seem lost"
            );
            metrics::counter!("payments_dispatched_again").increment(rows.len() as u64);
            let confirmed = publisher.publish(rows).await;
            publisher.forget(confirmed).await;
        }
    }
}

pub(super) async fn measure(
    publisher: Publisher,
    database: Arc<dyn Database>,
    (settings, backlog): (RelaySettings, Arc<Backlog>),
    stop: CancellationToken,
) {
    while pause(Duration::from_secs(2), &stop).await {
        let _in_hand = publisher.pulses.backlog.take();
        let depth = match database.outbox_depth().await {
            Ok(depth) => depth,
            Err(error) => {
                publisher.stages.sweep.failed(&error);
                continue;
            }
        };
        metrics::gauge!("outbox_rows").set(depth.total as f64);
        metrics::gauge!("outbox_rows_due").set(depth.due as f64);
        // A receiver of callbacks that is away keeps nobody from paying.
        let others = depth.total.saturating_sub(depth.of_payments);
        backlog.others.store(others, Ordering::Relaxed);
        metrics::gauge!("outbox_rows_of_no_payment").set(others as f64);
        let full = depth.of_payments >= settings.backlog_limit;
        if full != backlog.full.swap(full, Ordering::Relaxed) {
            tracing::warn!(
                outbox.rows = depth.of_payments,
                full,
                "the backlog limit was crossed"
            );
        }
    }
}

pub(super) async fn erase_expired_tokens(publisher: Publisher, stop: CancellationToken) {
    while pause(ERASE_EVERY, &stop).await {
        let _in_hand = publisher.pulses.tokens.take();
        let erase = publisher.commands.erase_expired_tokens();
        // Its stage tells of a failure.
        let _ = publisher.stages.erase.watch(erase).await;
    }
}

/// Waits about this long; false when it is time to stop. The jitter keeps processes from sweeping in step.
async fn pause(about: Duration, stop: &CancellationToken) -> bool {
    let jittered = about.mul_f64(rand::random_range(0.75..1.25));
    tokio::select! {
        () = tokio::time::sleep(jittered) => true,
        () = stop.cancelled() => false,
    }
}
