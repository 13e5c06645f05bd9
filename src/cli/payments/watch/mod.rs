//! `payments watch`: follows payments live. Only reads.

mod changes;
mod lines;

use std::time::{Duration, Instant};

use serde_json::{Value, json};
use tokio_util::sync::CancellationToken;

use crate::cli::output;
use crate::cli::serve;
use crate::domain::{Event, PaymentId, PaymentStatus, rfc3339};
use crate::payments::story;
use crate::store::rows::StoredOperation;
use crate::store::{Store, StoreError};
use changes::{Change, Changes};

/// The pause between two polls.
const PAUSE: Duration = Duration::from_millis(250);

/// A poll that takes long is followed by a pause that is this many times as long: under load, the command keeps one
/// connection busy for at most a fifth of the time.
const PAUSE_PER_POLL: u32 = 4;

/// How many operations of a payment are looked at: more than a payment has.
const MOST_OPERATIONS: u32 = 1000;

/// Follows all payments until Ctrl-C, SIGTERM, or until the output is closed.
pub(super) async fn all(database: &Store, json: bool) -> Result<(), StoreError> {
    let mut watch = Watch::new();
    let mut changes = Changes::start(database.clone()).await?;
    if !json {
        output::note_on_terminal("Following all payments; Ctrl-C ends it.");
        crate::outln!("{}", lines::change_heading());
    }
    while watch.goes_on() {
        let began = Instant::now();
        let found = changes.poll().await;
        for change in watch.survived(found)?.unwrap_or_default() {
            if json {
                crate::outln!("{}", as_json(&change));
            } else {
                crate::outln!("{}", lines::change(&change));
            }
        }
        watch.pause(began.elapsed()).await;
    }
    Ok(())
}

/// Follows one payment until it has an outcome and nothing about it is under way; false if there is no such payment.
pub(super) async fn one(database: &Store, id: PaymentId, json: bool) -> Result<bool, StoreError> {
    let mut watch = Watch::new();
    let mut shown = 0;
    if database.payment(id).await?.is_none() {
        return Ok(false);
    }
    if !json {
        output::note_on_terminal(&format!(
            "Following payment {id} until it has an outcome; Ctrl-C ends it before."
        ));
        crate::outln!("{}", lines::event_heading());
    }
    while watch.goes_on() {
        let began = Instant::now();
        let read = read(database, id, shown).await;
        if let Some((events, has_ended)) = watch.survived(read)? {
            for event in &events {
                shown = event.sequence;
                if json {
                    crate::outln!("{}", event_as_json(event));
                } else {
                    crate::outln!("{}", lines::event_line(event));
                }
            }
            if has_ended {
                break;
            }
        }
        watch.pause(began.elapsed()).await;
    }
    Ok(true)
}

/// The events after the ones that were shown, and whether the payment has ended with the last of them.
async fn read(
    database: &Store,
    id: PaymentId,
    shown: u32,
) -> Result<(Vec<Event>, bool), StoreError> {
    let row = database.payment(id).await?;
    let operations = database.operations_of(id, None, MOST_OPERATIONS).await?;
    let mut events = database.events(id).await?;
    let last = events.last().map(|event| event.sequence);
    events.retain(|event| event.sequence > shown);
    let has_ended = row.is_none_or(|row| {
        has_outcome(row.payment.status)
            && !operations.iter().any(is_under_way)
            && last == Some(row.payment.sequence)
    });
    Ok((events, has_ended))
}

fn is_under_way(row: &StoredOperation) -> bool {
    row.progress().awaits_answer()
}

/// Whether it is an outcome that changes only if somebody requests it. An authorization ends by itself if it is not
/// captured.
fn has_outcome(status: PaymentStatus) -> bool {
    match status {
        PaymentStatus::Succeeded
        | PaymentStatus::Declined
        | PaymentStatus::Failed
        | PaymentStatus::Canceled => true,
        PaymentStatus::RequiresPaymentMethod
        | PaymentStatus::Processing
        | PaymentStatus::RequiresAction
        | PaymentStatus::RequiresCapture => false,
    }
}

/// When to poll, and when to stop.
struct Watch {
    stop: CancellationToken,
    /// Whether the last poll could not read the database; an outage is reported once.
    is_interrupted: bool,
}

impl Watch {
    fn new() -> Self {
        let stop = CancellationToken::new();
        tokio::spawn(serve::stop_on_signal(stop.clone()));
        Self {
            stop,
            is_interrupted: false,
        }
    }

    fn goes_on(&self) -> bool {
        !self.stop.is_cancelled() && output::is_read()
    }

    async fn pause(&self, poll: Duration) {
        let pause = PAUSE.max(poll * PAUSE_PER_POLL);
        tokio::select! {
            () = tokio::time::sleep(pause) => {}
            () = self.stop.cancelled() => {}
        }
    }

    /// The result of a poll; none during an outage, which the next poll may have survived.
    fn survived<T>(&mut self, polled: Result<T, StoreError>) -> Result<Option<T>, StoreError> {
        match polled {
            Ok(found) => {
                self.is_interrupted = false;
                Ok(Some(found))
            }
            Err(error) if error.is_transient() => {
                if !self.is_interrupted {
                    crate::errln!("payment-service: {error}; trying again");
                }
                self.is_interrupted = true;
                Ok(None)
            }
            Err(error) => Err(error),
        }
    }
}

fn as_json(change: &Change) -> Value {
    json!({
        "at": rfc3339(change.at),
        "payment_id": change.payment.0,
        "sequence": change.sequence,
        "order_id": change.order.0,
        "client": change.client,
        "status": change.status,
        "reason": change.reason,
        "total_amount": change.amount.major(),
        "currency": change.amount.currency().code(),
    })
}

fn event_as_json(event: &Event) -> Value {
    let mut value = story::event(event);
    value["payment_id"] = event.payment.0.into();
    value
}
