//! What the relay looks after again and again: rows that are due, payments that were forgotten, the size of the
//! backlog, and cards of expired tokens.

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use futures::future::join;
use tokio_util::sync::CancellationToken;

use super::{Backlog, Publisher, RelaySettings};
use crate::broker::{Lane, Queue};
use crate::store::Database;
use crate::store::rows::OutboxRow;

/// Rows taken by one sweep.
const SWEPT: u32 = 512;
/// Payments dispatched again at once.
const DISPATCHED_AGAIN: u32 = 100;

pub(super) async fn sweep(
    lane: Lane,
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.sweep_every, &stop).await {
        while publisher.connected() && !stop.is_cancelled() {
            let in_hand = publisher.pulses.sweep.take();
            let rows = publisher.commands.sweep(lane, SWEPT).await;
            drop(in_hand);
            let rows = match rows {
                Ok(rows) => rows,
                Err(error) => {
                    tracing::debug!(%error, "no sweep");
                    break;
                }
            };
            let found = rows.len();
            metrics::counter!("relay_swept").increment(found as u64);
            let ended = publisher.publish_swept(rows).await;
            // A broker that takes nothing is not asked again at once.
            if found < SWEPT as usize || ended == 0 {
                break;
            }
        }
    }
}

impl Publisher {
    /// Publishes rows of one lane and deletes what is done with; says how many those are.
    async fn publish_swept(&self, rows: Vec<OutboxRow>) -> usize {
        // An earlier version has left its replies among the results.
        let (replies, others): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .partition(|row| row.publication.lane() == Lane::Replies);
        let replied = async {
            match replies.is_empty() {
                true => 0,
                false => self.reply(replies).await,
            }
        };
        let (confirmed, replied) = join(self.publish(others), replied).await;
        let ended = confirmed.len() + replied;
        self.forget(confirmed).await;
        ended
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
        let rows = publisher
            .commands
            .dispatch_forgotten(DISPATCHED_AGAIN)
            .await;
        drop(in_hand);
        match rows {
            Ok(rows) if !rows.is_empty() => {
                tracing::warn!(
                    payments = rows.len(),
                    "dispatched again: their messages seem lost"
                );
                metrics::counter!("payments_dispatched_again").increment(rows.len() as u64);
                let confirmed = publisher.publish(rows).await;
                publisher.forget(confirmed).await;
            }
            Ok(_) => {}
            Err(error) => tracing::debug!(%error, "could not look for forgotten payments"),
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
        let Ok(depth) = database.outbox_depth().await else {
            continue;
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
    while pause(Duration::from_secs(60), &stop).await {
        let _in_hand = publisher.pulses.tokens.take();
        if let Err(error) = publisher.commands.erase_expired_tokens().await {
            tracing::debug!(%error, "expired card tokens were not erased");
        }
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
