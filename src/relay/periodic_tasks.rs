//! The relay's periodic tasks: publish due rows, find forgotten payments, measure the backlog, and erase cards of expired
//! tokens.

use std::time::Duration;

use futures::future::join;
use tokio_util::sync::CancellationToken;

use super::{Publisher, RelaySettings};
use crate::broker::{Lane, Queue};
use crate::metric;
use crate::payments::Backlog;
use crate::payments::outbox::Taken;
use crate::payments::outgoing::Outgoing;
use crate::payments::tokens::ERASED_AT_ONCE;
use crate::store::{Store, StoreError};

/// Messages, and as many facts, taken by one sweep.
const SWEPT: u32 = 512;
/// Pause between two searches for cards to erase.
pub(super) const ERASE_EVERY: Duration = Duration::from_secs(60);
/// Payments dispatched again in one batch.
const DISPATCHED_AGAIN: u32 = 100;
/// While work waits in the queue, a payment is dispatched again only after being overdue for this many checks.
const WHILE_WORK_WAITS: u32 = 20;

pub(super) async fn sweep(
    lane: Lane,
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.sweep_every, &stop).await {
        if !publisher.connected() {
            // Nothing is published, so nothing fails; rows that failed before still wait.
            for stage in publisher.stages.publishing() {
                stage.still_failing();
            }
        }
        while publisher.connected() && !stop.is_cancelled() {
            let in_hand = publisher.pulses.sweep.take();
            let sweep = publisher.commands.sweep(lane, SWEPT);
            let taken = publisher.stages.sweep.watch(sweep).await;
            drop(in_hand);
            let Ok(Taken {
                messages: rows,
                found,
                oldest,
            }) = taken
            else {
                break;
            };
            // Rows that were taken are being published; the rows after them wait.
            let left_behind = oldest.filter(|_| found >= SWEPT as usize);
            publisher.stages.of(lane).found(left_behind);
            metrics::counter!(metric::RELAY_SWEPT).increment(rows.len() as u64);
            let nothing_to_publish = rows.is_empty();
            let ended = publisher.publish_swept(rows).await;
            // A broker that accepts nothing is not tried again at once.
            let takes_nothing = ended == 0 && !nothing_to_publish;
            if found < SWEPT as usize || takes_nothing {
                break;
            }
        }
    }
}

impl Publisher {
    /// Publishes rows of one lane and deletes those that are finished; returns how many those are.
    async fn publish_swept(&self, rows: Vec<Outgoing>) -> usize {
        // An earlier version stored its replies among the results.
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

/// Rescue of lost dispatches: finds payments whose message was lost. A message that waits in the work queue is not lost,
/// so while there are any, only payments that have been overdue for long are considered: their messages would have been
/// processed by then.
pub(super) async fn dispatch_forgotten(
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.check_every, &stop).await {
        if !publisher.connected() {
            continue;
        }
        let mut overdue = Duration::ZERO;
        for queue in [Queue::Work, Queue::WorkGroups] {
            if let Ok(1..) = publisher.broker.depth(queue).await {
                overdue = settings.check_every * WHILE_WORK_WAITS;
            }
        }
        while publisher.connected() && !stop.is_cancelled() {
            let commands = &publisher.commands;
            let rescue = commands.dispatch_forgotten(overdue, DISPATCHED_AGAIN);
            if !dispatch_some(&publisher, rescue).await {
                break;
            }
        }
    }
}

/// The same for captures, voids, refunds and payments that are captured later; also voids authorizations that have
/// expired.
pub(super) async fn dispatch_forgotten_operations(
    publisher: Publisher,
    settings: RelaySettings,
    stop: CancellationToken,
) {
    while pause(settings.check_every, &stop).await {
        let in_hand = publisher.pulses.rescue.take();
        let expired = publisher.commands.void_expired(DISPATCHED_AGAIN);
        // Its stage reports a failure.
        let _ = publisher.stages.rescue.watch(expired).await;
        drop(in_hand);
        if !publisher.connected() {
            continue;
        }
        let mut overdue = Duration::ZERO;
        if let Ok(1..) = publisher.broker.depth(Queue::Operations).await {
            overdue = settings.check_every * WHILE_WORK_WAITS;
        }
        while publisher.connected() && !stop.is_cancelled() {
            let commands = &publisher.commands;
            let rescue = commands.dispatch_forgotten_operations(overdue, DISPATCHED_AGAIN);
            if !dispatch_some(&publisher, rescue).await {
                break;
            }
        }
    }
}

/// Returns whether there may be more.
async fn dispatch_some(
    publisher: &Publisher,
    rescue: impl Future<Output = Result<Taken, StoreError>>,
) -> bool {
    let in_hand = publisher.pulses.rescue.take();
    let taken = publisher.stages.rescue.watch(rescue).await;
    drop(in_hand);
    // Its stage reports a failure.
    let Ok(Taken {
        messages: rows,
        found,
        ..
    }) = taken
    else {
        return false;
    };
    if !rows.is_empty() {
        tracing::warn!(
            payments = rows.len(),
            "dispatched again: their messages seem lost"
        );
        metrics::counter!(metric::PAYMENTS_DISPATCHED_AGAIN).increment(rows.len() as u64);
        let confirmed = publisher.publish(rows).await;
        publisher.forget(confirmed).await;
    }
    found >= DISPATCHED_AGAIN as usize
}

pub(super) async fn measure(
    publisher: Publisher,
    database: Store,
    (settings, backlog): (RelaySettings, Backlog),
    stop: CancellationToken,
) {
    while pause(Duration::from_secs(2), &stop).await {
        let _in_hand = publisher.pulses.backlog.take();
        publisher.groups.look(publisher.broker.as_ref()).await;
        let depth = match database.outbox_depth().await {
            Ok(depth) => depth,
            Err(error) => {
                publisher.stages.sweep.failed(&error);
                continue;
            }
        };
        metrics::gauge!(metric::OUTBOX_ROWS).set(depth.total as f64);
        metrics::gauge!(metric::OUTBOX_ROWS_DUE).set(depth.due as f64);
        let crossed = backlog.note(&depth, settings.backlog_limit);
        metrics::gauge!(metric::OUTBOX_ROWS_OF_NO_PAYMENT).set(backlog.messages_waiting() as f64);
        metrics::gauge!(metric::OUTBOX_ROWS_QUARANTINED).set(depth.quarantined as f64);
        if depth.quarantined > 0 {
            release(&publisher).await;
        }
        if crossed {
            tracing::warn!(
                outbox.rows = depth.of_payments,
                full = backlog.is_full(),
                "the backlog limit was crossed"
            );
        }
    }
}

pub(super) async fn erase_expired_tokens(publisher: Publisher, stop: CancellationToken) {
    while pause(ERASE_EVERY, &stop).await {
        loop {
            let in_hand = publisher.pulses.tokens.take();
            let erase = publisher.commands.erase_expired_tokens();
            // Its stage reports a failure.
            let erased = publisher.stages.erase.watch(erase).await;
            drop(in_hand);
            let is_full = erased.is_ok_and(|erased| erased >= ERASED_AT_ONCE.into());
            if !is_full || stop.is_cancelled() {
                break;
            }
        }
    }
}

/// Makes rows due again whose quarantine mark an operator has removed.
async fn release(publisher: &Publisher) {
    match publisher.commands.release_outbox().await {
        Ok(0) => {}
        Ok(rows) => tracing::info!(rows, "quarantined outbox rows were released"),
        Err(error) => tracing::debug!(%error, "quarantined outbox rows could not be released"),
    }
}

/// Waits about this long; returns false when it is time to stop. The jitter keeps processes from sweeping at the same
/// moment.
async fn pause(about: Duration, stop: &CancellationToken) -> bool {
    let jittered = about.mul_f64(rand::random_range(0.75..1.25));
    tokio::select! {
        () = tokio::time::sleep(jittered) => true,
        () = stop.cancelled() => false,
    }
}
