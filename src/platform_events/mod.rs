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
use serde_json::json;
use tokio_util::sync::CancellationToken;

use crate::domain::{OperationId, PaymentId, PaymentStatus, Phase};
use crate::payments::commands::Commands;
use crate::payments::operations::hinted::Hinted;
use crate::payments::operations::start::{NewOperation, OperationRefusal, StartOutcome};
use crate::payments::reconcile::{Difference, Reconciliation, Stopped};
use crate::processors::named::Processors;
use crate::processors::notifications::{Claim, Found, RefundState, RefundThere, Subject};
use crate::processors::references::References;
use crate::processors::{AttemptKey, Processor};
use crate::store::rows::StoredPayment;
use crate::store::{EventEnd, Store, StoreError, WaitingEvent};
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::{Name, Stage};
use crate::watchdog::vital::caught;

/// Pause between two looks that found nothing.
const LOOK_EVERY: Duration = Duration::from_millis(500);

/// Events of one platform that are looked at together.
const AT_ONCE: u32 = 16;

/// What changed less long ago than this may differ only because the platform was asked at another moment.
const SETTLE: Duration = Duration::from_secs(60);

/// Events that were taken are due again after this time, in addition to the time limit of two answers.
const LEASE: Duration = Duration::from_secs(60);

/// How long an event may wait for its payment.
const PATIENCE: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The delays between two looks at an event.
const FIRST_DELAY: Duration = Duration::from_secs(1);
const LONGEST_DELAY: Duration = Duration::from_secs(60 * 60);

/// Pause between two searches for events to delete.
const FORGET_EVERY: Duration = Duration::from_secs(60);

/// The most characters of a platform's reference that are kept with a difference.
const LONGEST_REFERENCE: usize = 255;

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
    /// The platform says something else than we do, and only a person can find out why. Look again later: they may have
    /// mended it.
    Differs(Difference),
}

impl Handled {
    /// The same, or `otherwise` if it is over.
    fn unless_done(self, otherwise: Self) -> Self {
        match self {
            Self::Done => otherwise,
            handled => handled,
        }
    }
}

/// The platform that has sent an event.
#[derive(Clone, Copy)]
struct Asked<'a> {
    name: &'a str,
    platform: &'a dyn Processor,
}

impl PlatformEvents {
    /// The stage of this work: an event may take as long as two answers of a platform.
    pub fn stage(timeout: Duration) -> Stage {
        let stage = Stage::retried_every(Name::PlatformEvent, LOOK_EVERY);
        stage.allow(2 * timeout + Duration::from_secs(5));
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
        let lease = LEASE + 2 * self.timeout;
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
            Ok(Handled::Differs(difference)) => differs(event, &difference),
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
        if waited < PATIENCE || event.difference.is_some() {
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
        let asked = Asked {
            name: &event.processor,
            platform: platform.as_ref(),
        };
        let looking = platform.look_up(&subject);
        let found = match subject {
            Subject::Attempt(key) => Found::Attempt(key),
            _ => {
                let found = tokio::time::timeout(self.timeout, looking).await;
                found.unwrap_or(Found::Unknown)
            }
        };
        match found {
            Found::Attempt(key) => {
                let claim = platform.claim(&event.kind);
                self.attempt(asked, key, claim).await
            }
            Found::OurRefund {
                payment,
                refund,
                state,
            } => self.refund(asked, (payment, refund), &state).await,
            Found::RefundThere(refund) => self.refund_there(asked, &refund).await,
            Found::Dispute(dispute) => {
                let noting = self.commands.disputed(asked.name, &dispute);
                Ok(match noting.await? {
                    Hinted::Done => Handled::Done,
                    Hinted::TooEarly => Handled::TooEarly,
                    Hinted::Contradicts => self.compare(asked, dispute.authorization).await?,
                })
            }
            Found::NotOurs => Ok(Handled::Done),
            Found::Unknown => Ok(Handled::TooEarly),
        }
    }

    /// Asks at once about an attempt that waits for its shopper, and compares one that has ended.
    async fn attempt(
        &self,
        asked: Asked<'_>,
        key: AttemptKey,
        claim: Claim,
    ) -> Result<Handled, StoreError> {
        let Some(row) = self.payment(key.payment).await? else {
            return Ok(Handled::TooEarly);
        };
        let payment = &row.payment;
        let is_current = payment.attempt == key.attempt;
        if is_current && payment.status == PaymentStatus::RequiresAction && row.phase == Phase::Ask
        {
            let of = (key.payment, key.attempt);
            self.commands.shopper_returned(of, false).await?;
            return Ok(Handled::Done);
        }
        // A call may be under way that ends in waiting.
        if is_current && payment.status.has_a_try() {
            return Ok(Handled::TooEarly);
        }
        // Most events only repeat what our own calls have done.
        let is_known = if is_current {
            claim.agrees_with(payment.status)
        } else {
            claim == Claim::NotCharged
        };
        if is_known {
            return Ok(Handled::Done);
        }
        self.compare_with(asked, &row, key.attempt).await
    }

    async fn compare(&self, asked: Asked<'_>, key: AttemptKey) -> Result<Handled, StoreError> {
        match self.payment(key.payment).await? {
            Some(row) => self.compare_with(asked, &row, key.attempt).await,
            None => Ok(Handled::TooEarly),
        }
    }

    /// Whether the platform says the same about an attempt as we do.
    async fn compare_with(
        &self,
        asked: Asked<'_>,
        row: &StoredPayment,
        attempt: u32,
    ) -> Result<Handled, StoreError> {
        let comparing = async {
            let differs = self.difference(asked, row, attempt, Duration::ZERO);
            if differs.await?.is_none() {
                return Ok(Handled::Done);
            }
            // The two records are not read at the same moment.
            let difference = self.difference(asked, row, attempt, SETTLE).await?;
            Ok(difference.map_or(Handled::TooEarly, Handled::Differs))
        };
        match tokio::time::timeout(self.timeout, comparing).await {
            Ok(Err(Stopped::Database(error))) => Err(error),
            Ok(Err(Stopped::NoBooks)) => Ok(Handled::Done),
            Ok(Err(Stopped::Platform(_) | Stopped::Forbidden(_))) | Err(_) => Ok(Handled::TooEarly),
            Ok(Ok(handled)) => Ok(handled),
        }
    }

    /// The first difference; none if there is none, or if what differs has changed less long ago than `settle`.
    async fn difference(
        &self,
        asked: Asked<'_>,
        row: &StoredPayment,
        attempt: u32,
        settle: Duration,
    ) -> Result<Option<Difference>, Stopped> {
        let mut first = None;
        let keep = |found: &Difference| {
            first.get_or_insert_with(|| found.clone());
        };
        let since = (row.payment.created_at, settle);
        let platform = (asked.name, asked.platform);
        let mut comparison = Reconciliation::new(&self.database, platform, since, keep);
        comparison.attempt(row, attempt).await?;
        Ok(first)
    }

    async fn refund(
        &self,
        asked: Asked<'_>,
        refund: (PaymentId, OperationId),
        state: &RefundState,
    ) -> Result<Handled, StoreError> {
        match self.commands.refund_changed(refund, state).await? {
            Hinted::Done => Ok(Handled::Done),
            Hinted::TooEarly => Ok(Handled::TooEarly),
            Hinted::Contradicts => {
                let Some(row) = self.payment(refund.0).await? else {
                    return Ok(Handled::TooEarly);
                };
                let attempt = row.payment.attempt;
                let compared = self.compare_with(asked, &row, attempt).await?;
                // The platform's list of refunds may be late.
                Ok(compared.unless_done(Handled::TooEarly))
            }
        }
    }

    /// A refund that somebody made at the platform becomes one here, once.
    async fn refund_there(
        &self,
        asked: Asked<'_>,
        refund: &RefundThere,
    ) -> Result<Handled, StoreError> {
        let AttemptKey { payment, attempt } = refund.authorization;
        let Some(row) = self.payment(payment).await? else {
            return Ok(Handled::TooEarly);
        };
        if row.payment.attempt != attempt {
            // Of an attempt that was reversed: that refund was ours.
            return self.compare_with(asked, &row, attempt).await;
        }
        let id = refund.id(asked.name);
        if self.database.operation(id).await?.is_some() {
            return self.refund(asked, (payment, id), &refund.state).await;
        }
        match row.payment.status {
            PaymentStatus::Processing | PaymentStatus::RequiresAction => {
                return Ok(Handled::TooEarly);
            }
            PaymentStatus::Succeeded => {}
            // Reversed, and not charged.
            _ => return self.compare_with(asked, &row, attempt).await,
        }
        // Its first try asks about this reference.
        let references = References::new(self.database.clone(), asked.name);
        references.keep(&id.to_string(), &refund.reference).await?;
        let started = NewOperation::made_there(id, payment, refund.amount);
        let started = self.commands.start_operation(started).await?;
        Ok(match started {
            StartOutcome::Refused(refusal, _) => {
                let compared = self.compare(asked, refund.authorization).await?;
                compared.unless_done(refused(payment, refund, refusal))
            }
            StartOutcome::Quarantined(_) => Handled::TooEarly,
            _ => {
                tracing::info!(payment.id = payment.0, refund.id = %id, "a refund was made at the payment platform");
                Handled::Done
            }
        })
    }

    /// None if it is not there, or set aside.
    async fn payment(&self, id: PaymentId) -> Result<Option<StoredPayment>, StoreError> {
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

/// It is looked at again: somebody may have mended it at the platform.
fn differs(event: &WaitingEvent, difference: &Difference) -> EventEnd {
    if event.difference.is_none() {
        tracing::error!(
            processor = event.processor,
            event = event.id,
            kind = event.kind,
            payment.id = difference.payment.map(|id| id.0),
            reference = difference.reference,
            differs = difference.kind.as_str(),
            ours = difference.ours,
            theirs = difference.theirs,
            "a payment platform says something else than we do: `payments list --needs-person` lists it until that ends"
        );
    }
    // The platform may answer with anything, and the column has an end.
    let reference = difference.reference.as_deref();
    let kept = Difference {
        reference: reference.map(|it| it.chars().take(LONGEST_REFERENCE).collect()),
        ..difference.clone()
    };
    let delay = delay_after(event.tries).max(SETTLE);
    EventEnd::Differs(json!(kept).to_string(), delay)
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
    use crate::domain::Timestamp;
    use crate::payments::reconcile::Kind;
    use crate::store::EventSubject;

    #[test]
    fn a_difference_fits_its_column_whatever_the_platform_says() {
        let long = "x".repeat(1 << 20);
        let difference = Difference {
            kind: Kind::Amount,
            payment: Some(PaymentId(1)),
            reference: Some(long),
            ours: "20.00 CAD captured".to_owned(),
            theirs: "15.00 CAD captured".to_owned(),
        };
        let event = WaitingEvent {
            processor: "stripe".to_owned(),
            id: "evt_1".to_owned(),
            kind: "payment_intent.canceled".to_owned(),
            subject: EventSubject {
                kind: "attempt".to_owned(),
                reference: "1-1".to_owned(),
            },
            received_at: Timestamp::UNIX_EPOCH,
            tries: 3,
            difference: None,
        };
        let EventEnd::Differs(kept, delay) = differs(&event, &difference) else {
            panic!("it does not differ");
        };
        assert!(kept.len() < 1000);
        assert_eq!(delay, SETTLE, "a person is told, so there is no hurry");
        let kept: Difference = serde_json::from_str(&kept).unwrap();
        assert_eq!((kept.kind, kept.ours), (Kind::Amount, difference.ours));
    }

    #[test]
    fn delays_grow_to_an_hour() {
        let seconds = |tries| delay_after(tries).as_secs();
        assert_eq!(
            [0, 1, 2, 11, 12, u32::MAX].map(seconds),
            [1, 2, 4, 2048, 3600, 3600]
        );
    }
}
