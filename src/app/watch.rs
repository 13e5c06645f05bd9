//! Tasks that watch: the store, the consumers, and the results that wake waiting requests.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{Instant, interval_at};
use tokio_util::sync::CancellationToken;

use super::AppError;
use crate::broker::{Broker, Connection};
use crate::config::Role;
use crate::domain::PaymentId;
use crate::http::wait::Waiters;
use crate::messages::result::PAYMENT_ID_HEADER;
use crate::pulse::Pulse;
use crate::store::Database;

/// A consumer that is away for this long although the broker is there ends the process.
const CONSUMER_MISSING: Duration = Duration::from_secs(30);

/// How often is looked whether anybody waits for an outcome.
const NOBODY_WAITS: Duration = Duration::from_secs(5);

/// Looks at the store again and again; the first to reach it in the role that does everything brings it up to date.
pub(super) async fn watch_store(
    database: Arc<dyn Database>,
    role: Role,
    state: watch::Sender<Result<(), String>>,
    (pulse, stop): (Pulse, CancellationToken),
) {
    let mut migrated = role != Role::All;
    loop {
        let mut seen = if migrated {
            Ok(())
        } else {
            database.migrate().await
        };
        if seen.is_ok() {
            migrated = true;
            let _in_hand = pulse.take();
            seen = database.check().await;
        }
        let seen = seen.map_err(|error| error.to_string());
        let changed = *state.borrow() != seen;
        if changed {
            match &seen {
                Ok(()) => tracing::info!("the database can be used"),
                Err(reason) => tracing::warn!(reason, "the database cannot be used; trying again"),
            }
            let _previous = state.send_replace(seen);
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return,
        }
    }
}

/// Ends with an error when some consumer was away for too long while the broker was there.
pub(super) async fn watch_consumers(
    connection: watch::Receiver<Connection>,
    consumers: Vec<watch::Receiver<bool>>,
    stop: CancellationToken,
) -> Option<AppError> {
    let mut missing_since = None;
    loop {
        let all_there = consumers.iter().all(|registered| *registered.borrow());
        let up = matches!(*connection.borrow(), Connection::Up);
        if all_there || !up {
            missing_since = None;
        } else if missing_since.get_or_insert_with(Instant::now).elapsed() > CONSUMER_MISSING {
            return Some(AppError::ConsumerMissing(CONSUMER_MISSING));
        }
        tokio::select! {
            () = tokio::time::sleep(Duration::from_secs(1)) => {}
            () = stop.cancelled() => return None,
        }
    }
}

/// Results wake the requests that wait here. While nobody waits, none are asked for: every process that listens gets every
/// result.
pub(super) async fn wake_waiters(
    broker: Arc<dyn Broker>,
    waiters: Arc<Waiters>,
    (pulse, stop): (Pulse, CancellationToken),
) {
    let listen_and_rest = async {
        while listen(broker.as_ref(), &waiters, &pulse).await {
            waiters.somebody().await;
        }
    };
    tokio::select! {
        () = stop.cancelled() => {}
        () = listen_and_rest => {}
    }
}

/// Until nobody waits; false if the broker was closed. What was missed while the consumer was away is read again.
async fn listen(broker: &dyn Broker, waiters: &Waiters, pulse: &Pulse) -> bool {
    let mut consumer = broker.subscribe_results(&["payment.#"]);
    let mut look = interval_at(Instant::now() + NOBODY_WAITS, NOBODY_WAITS);
    loop {
        tokio::select! {
            biased;
            changed = consumer.registered.changed() => match changed {
                Ok(()) => waiters.wake_all(),
                Err(_) => return false,
            },
            _ = look.tick() => {
                if waiters.number() == 0 {
                    return true;
                }
            }
            delivery = consumer.deliveries.recv() => {
                let Some(delivery) = delivery else { return false };
                let id = delivery.properties.headers.get(PAYMENT_ID_HEADER).and_then(|id| id.parse().ok());
                let _in_hand = pulse.take();
                if let Some(id) = id {
                    waiters.wake(PaymentId(id));
                }
                delivery.settle.acknowledge().await;
            }
        }
    }
}

#[cfg(test)]
mod tests;
