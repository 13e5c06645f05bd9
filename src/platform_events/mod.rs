//! Looks after the events that payment platforms have reported by webhook. An event is only a hint: the platform is asked,
//! and its answer goes the usual way.
//!
//! Each platform has a loop of its own, so that one that does not answer delays only its own events. An event that comes too
//! early, because the payment is not in the database or a call about it is under way, is looked at again after growing
//! delays. See docs/adr/adr034-store-the-event.md.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use futures::future::{join, join_all};
use futures::stream::FuturesUnordered;
use tokio_util::sync::CancellationToken;

use crate::domain::{PaymentId, PaymentStatus, Phase};
use crate::payments::commands::Commands;
use crate::payments::operations::hinted::Hinted;
use crate::payments::operations::start::{NewOperation, OperationRefusal, StartOutcome};
use crate::processors::named::Processors;
use crate::processors::notifications::{Found, RefundState, RefundThere, Subject};
use crate::processors::references::References;
use crate::processors::{AttemptKey, Processor};
use crate::store::{EventEnd, Store, StoreError, WaitingEvent};
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::{Name, Stage};
use crate::watchdog::vital::caught;

/// Pause between two looks that found nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Events of one platform that are looked at together.
const AT_ONCE: u32 = 16;

/// Events that were taken are due again after this time, in addition to the time limit of calls.
const LEASE: Duration = Duration::from_secs(60);

/// How long an event may wait for its payment.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The delays between two looks at an event.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// Pause between two searches for events to delete.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// How many events of one platform may wait.
const MOST_WAITING: u64 = 100_000;

/// Looks after the events of all platforms.
pub struct PlatformEvents {
    /// Has the events.
    pub database: Store,
    /// Starts what follows from them.
    pub commands: Commands,
    /// The platforms.
    pub processors: Processors,
    /// How long a platform may take to answer.
    pub timeout: Duration,
    /// The progress of the loops.
    pub pulse: Pulse,
    /// Whether events are worked off.
    pub stage: Stage,
}

/// Whether an event is over.
enum Handled {
    Done,
    /// Look again later.
    TooEarly,
}

impl PlatformEvents {
    /// The stage of this work: an event may take as long as a platform's answer.
    pub fn stage(timeout: Duration) -> Stage {
        let stage = Stage::retried_every(Name::PlatformEvent, LOOK_EVERY);
        stage.allow(timeout + Duration::from_secs(5));
        stage
    }

    /// Until `stop`; ends the work under way.
    pub async fn run(self, stop: CancellationToken) {
        join(self.look_after_all(&stop), self.forget(&stop)).await;
    }

    /// Also after platforms that are listed later.
    async fn look_after_all(&self, stop: &CancellationToken) {
        let mut looking = FuturesUnordered::new();
        let mut names = BTreeSet::new();
        while !stop.is_cancelled() {
            for name in self.processors.names() {
                if names.insert(name.clone()) {
                    looking.push(self.look_after(name, stop));
                }
            }
            tokio::select! {
                Some(no_longer_listed) = looking.next() => {
                    names.remove(&no_longer_listed);
                }
                () = tokio::time::sleep(LOOK_EVERY) => {}
                () = stop.cancelled() => {}
            }
        }
        while looking.next().await.is_some() {}
    }

    /// Until `stop`, or until the platform is not listed any more; returns its name.
    async fn look_after(&self, name: String, stop: &CancellationToken) -> String {
        while pause(LOOK_EVERY, stop).await {
            let Some(platform) = self.processors.listed(&name) else {
                break;
            };
            while !stop.is_cancelled() && self.take_some(&name, &platform).await {}
        }
        name
    }

    /// Returns whether there may be more.
    async fn take_some(&self, name: &str, platform: &Arc<dyn Processor>) -> bool {
        let _busy = self.pulse.take();
        let lease = LEASE + self.timeout;
        let taking = self.database.take_platform_events(name, lease, AT_ONCE);
        // Its stage reports a failure.
        let Ok(taken) = self.stage.watch(taking).await else {
            return false;
        };
        let working = taken
            .events
            .iter()
            .map(|event| self.work_off(event, platform));
        join_all(working).await;
        taken.events.len() >= AT_ONCE as usize
    }

    async fn work_off(&self, event: &WaitingEvent, platform: &Arc<dyn Processor>) {
        let entered = self.stage.enter();
        let handled = caught("platform_event", self.handle(event, platform)).await;
        let handled = handled.unwrap_or_else(|| Err(StoreError::Panicked("a panic".to_owned())));
        let end = match handled {
            Ok(Handled::Done) => EventEnd::Done,
            Ok(Handled::TooEarly) => self.later(event).await,
            Err(error) => match error.reason_to_set_aside() {
                Some(reason) => EventEnd::Aside(reason),
                None => {
                    // Due again when the lease ends.
                    return entered.failed(&error);
                }
            },
        };
        match self.database.end_platform_event(event, &end).await {
            Ok(()) => entered.left(),
            Err(error) => entered.failed(&error),
        }
    }

    async fn later(&self, event: &WaitingEvent) -> EventEnd {
        let waited = match self.database.now().await {
            Ok(now) => now - event.received_at,
            Err(_) => time::Duration::ZERO,
        };
        if waited < PATIENCE {
            return EventEnd::Later(delay_after(event.tries));
        }
        tracing::warn!(
            processor = event.processor,
            event = event.id,
            kind = event.kind,
            about = event.subject.reference,
            "an event of a payment platform is set aside: in three days nothing here has fitted it"
        );
        EventEnd::Unfitting
    }

    async fn handle(
        &self,
        event: &WaitingEvent,
        platform: &Arc<dyn Processor>,
    ) -> Result<Handled, StoreError> {
        let unreadable = || StoreError::Corrupt("subject cannot be read".to_owned());
        let subject = Subject::from_columns(&event.subject).ok_or_else(unreadable)?;
        let looking = platform.look_up(&subject);
        let found = match subject {
            Subject::Attempt(key) => Found::Attempt(key),
            _ => {
                let found = tokio::time::timeout(self.timeout, looking).await;
                found.unwrap_or(Found::Unknown)
            }
        };
        match found {
            Found::Attempt(key) => self.attempt(key).await,
            Found::OurRefund {
                payment,
                refund,
                state,
            } => self.refund((payment, refund), &state).await,
            Found::RefundThere(refund) => self.refund_there(&event.processor, &refund).await,
            Found::Dispute(dispute) => {
                let noting = self.commands.disputed(&event.processor, &dispute);
                Ok(match noting.await? {
                    Hinted::Done => Handled::Done,
                    Hinted::TooEarly => Handled::TooEarly,
                })
            }
            Found::NotOurs => Ok(Handled::Done),
            Found::Unknown => Ok(Handled::TooEarly),
        }
    }

    /// Asks at once about an attempt that waits for its shopper.
    async fn attempt(&self, key: AttemptKey) -> Result<Handled, StoreError> {
        let Some(row) = self.payment(key.payment).await? else {
            return Ok(Handled::TooEarly);
        };
        let payment = &row.payment;
        if payment.attempt > key.attempt {
            return Ok(Handled::Done);
        }
        let waits = payment.status == PaymentStatus::RequiresAction && row.phase == Phase::Ask;
        if waits && payment.attempt == key.attempt {
            let of = (key.payment, key.attempt);
            self.commands.shopper_returned(of, false).await?;
            return Ok(Handled::Done);
        }
        // A call may be under way that ends in waiting.
        Ok(match payment.status.has_a_try() {
            true => Handled::TooEarly,
            false => Handled::Done,
        })
    }

    async fn refund(
        &self,
        refund: (PaymentId, crate::domain::OperationId),
        state: &RefundState,
    ) -> Result<Handled, StoreError> {
        Ok(match self.commands.refund_changed(refund, state).await? {
            Hinted::Done => Handled::Done,
            Hinted::TooEarly => Handled::TooEarly,
        })
    }

    /// A refund that somebody made at the platform becomes one here, once.
    async fn refund_there(
        &self,
        processor: &str,
        refund: &RefundThere,
    ) -> Result<Handled, StoreError> {
        let AttemptKey { payment, attempt } = refund.authorization;
        let Some(row) = self.payment(payment).await? else {
            return Ok(Handled::TooEarly);
        };
        if row.payment.attempt != attempt {
            // Of an attempt that was reversed: that refund was ours.
            return Ok(Handled::Done);
        }
        let id = refund.id(processor);
        if self.database.operation(id).await?.is_some() {
            return self.refund((payment, id), &refund.state).await;
        }
        match row.payment.status {
            PaymentStatus::Processing | PaymentStatus::RequiresAction => {
                return Ok(Handled::TooEarly);
            }
            // Reversed, and not charged.
            status if status != PaymentStatus::Succeeded => return Ok(Handled::Done),
            _ => {}
        }
        // Its first try asks about this reference.
        let references = References::new(self.database.clone(), processor);
        references.keep(&id.to_string(), &refund.reference).await?;
        let started = NewOperation::made_there(id, payment, refund.amount);
        let started = self.commands.start_operation(started).await?;
        Ok(match started {
            StartOutcome::Refused(refusal, _) => refused(payment, refund, refusal),
            StartOutcome::Quarantined(_) => Handled::TooEarly,
            _ => {
                tracing::info!(payment.id = payment.0, refund.id = %id, "a refund was made at the payment platform");
                Handled::Done
            }
        })
    }

    /// None if it is not there, or set aside.
    async fn payment(
        &self,
        id: PaymentId,
    ) -> Result<Option<crate::store::rows::StoredPayment>, StoreError> {
        match self.database.payment(id).await {
            Err(StoreError::Quarantined(_)) => Ok(None),
            found => found,
        }
    }

    async fn forget(&self, stop: &CancellationToken) {
        while pause(FORGET_EVERY, stop).await {
            let _busy = self.pulse.take();
            let forgetting = self.database.forget_platform_events(MOST_WAITING);
            // Its stage reports a failure.
            if let Ok(dropped @ 1..) = self.stage.watch(forgetting).await {
                tracing::warn!(
                    dropped,
                    "too many events of a payment platform wait: the oldest were dropped; what they were about is asked for \
                     at the usual intervals"
                );
            }
        }
    }
}

/// A refund here may hold the amount that it takes: that one fails, and then there is room.
fn refused(payment: PaymentId, refund: &RefundThere, refusal: OperationRefusal) -> Handled {
    match refusal {
        OperationRefusal::TooMuch(_) | OperationRefusal::NothingLeft => {
            tracing::warn!(
                payment.id = payment.0,
                refund = refund.reference,
                "a refund that was made at the payment platform takes more than is left here: it waits"
            );
            Handled::TooEarly
        }
        other => {
            tracing::error!(payment.id = payment.0, refund = refund.reference, refusal = %other, "a refund that was made at the payment platform does not fit its payment");
            Handled::Done
        }
    }
}

fn delay_after(tries: u32) -> Duration {
    let delay = FIRST_DELAY.saturating_mul(2_u32.saturating_pow(tries.min(30)));
    delay.min(LONGEST_DELAY)
}

/// Waits about this long; returns false when it is time to stop.
async fn pause(about: Duration, stop: &CancellationToken) -> bool {
    let jittered = about.mul_f64(rand::random_range(0.75..1.25));
    tokio::select! {
        () = tokio::time::sleep(jittered) => true,
        () = stop.cancelled() => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn delays_grow_to_an_hour() {
        let seconds = |tries| delay_after(tries).as_secs();
        assert_eq!(
            [0, 1, 2, 11, 12, u32::MAX].map(seconds),
            [1, 2, 4, 2048, 3600, 3600]
        );
    }
}
