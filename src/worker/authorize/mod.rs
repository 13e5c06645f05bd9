//! One call to the processor: calls with a time-out, and decides when to try again.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::processor_calls::{Call, CallAnswer, ProcessorCalls};
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, DeclineCode, MethodSummary, OtherMethod, Phase,
    ReversalAnswer, Timestamp, Trigger,
};
use crate::payments::presented_card::PresentedCard;
use crate::processors::availability::{Availability, Pause};
use crate::processors::named::Processors;
use crate::processors::simulated::SimulatedIssuer;
use crate::processors::{
    AttemptKey, Authorization, MethodSource, MethodUnreadable, OpenedMethod, Processor,
};
use crate::retry::RetrySchedule;
use crate::store::rows::StoredPayment;
use crate::vault::{Owner, SealKeys, SealedCard};
use crate::wire::methods::may_change_processor;

/// A payment fails if its platform cannot be called for this long. If the platform only refuses the key, the payment waits
/// until the operator has mended that.
const LONGEST_OUTAGE: Duration = Duration::from_secs(15 * 60);

/// Calls the processor for one payment at a time.
pub struct Authorizer {
    /// Authorize.
    pub processors: Processors,
    /// Opens the card.
    pub seal: Arc<SealKeys>,
    /// When to try again.
    pub schedule: RetrySchedule,
    /// After this long without an answer the outcome of the call is unknown.
    pub timeout: Duration,
    /// How long a claim lasts.
    pub claim: Duration,
    /// Counts and times the calls.
    pub calls: ProcessorCalls,
    /// `PUBLIC_URL`: where shoppers reach this service.
    pub public_url: Option<String>,
}

/// What a call came to.
pub struct Asked {
    /// What has happened.
    pub trigger: Trigger,
    /// The delay before another try.
    pub delay: Duration,
    /// The payment method, sealed for a new attempt with another processor.
    pub card: Option<(PresentedCard, u32)>,
}

impl Asked {
    /// Whether the processor provably was not able to do anything.
    fn is_unavailable(&self) -> bool {
        match &self.trigger {
            Trigger::Answered {
                answer: Answer::NotCharged { reason },
                ..
            } => *reason == DeclineCode::ISSUER_UNAVAILABLE,
            _ => false,
        }
    }
}

impl Authorizer {
    /// Makes the call that the payment's phase requires, unless its processor cannot be called.
    pub async fn ask(&self, stored: &StoredPayment) -> Asked {
        let processor = self.processor(stored);
        if let Some(pause) = pause(&*processor) {
            let falls_back = self.fall_back(stored);
            return falls_back.unwrap_or_else(|| self.without_a_call(stored, pause));
        }
        let (trigger, delay) = self.call_processor(stored).await;
        let asked = Asked {
            trigger,
            delay,
            card: None,
        };
        if !asked.is_unavailable() {
            return asked;
        }
        if let Some(falls_back) = self.fall_back(stored) {
            return falls_back;
        }
        match pause(&*processor) {
            Some(pause) => self.without_a_call(stored, pause),
            None => asked,
        }
    }

    /// A new attempt at the next processor of the route, if nothing can be charged under this one.
    fn fall_back(&self, stored: &StoredPayment) -> Option<Asked> {
        let payment = &stored.payment;
        if stored.phase != Phase::Authorize || stored.uncertain {
            return None;
        }
        let summary = payment.method.as_ref()?;
        let processors = &self.processors;
        let processor = processors.stand_in(&payment.client, summary, payment.amount)?;
        let attempt = payment.attempt + 1;
        let sealed = self.seal_again(stored, attempt)?;
        let (id, instead) = (payment.id.0, &*processor);
        let of = summary.processor().unwrap_or(SimulatedIssuer::NAME);
        tracing::info!(
            payment.id = id,
            processor = of,
            instead,
            "another processor stands in"
        );
        let routed = (processor != SimulatedIssuer::NAME).then_some(processor);
        let summary = summary.clone().at(routed);
        Some(Asked {
            trigger: Trigger::FallBack {
                asked: (payment.attempt, stored.try_number),
                reason: DeclineCode::ISSUER_UNAVAILABLE,
            },
            delay: Duration::ZERO,
            card: Some((PresentedCard { summary, sealed }, attempt)),
        })
    }

    /// The payment method, sealed for another attempt; none if it may not change its processor.
    fn seal_again(&self, stored: &StoredPayment, attempt: u32) -> Option<SealedCard> {
        let key = key(stored);
        let method = SealedForAttempt {
            stored,
            seal: &self.seal,
            key,
        };
        let owner = Owner::Payment(key.payment, attempt);
        let sealed = match method.open().ok()? {
            OpenedMethod::Card(card) => self.seal.seal(&card, owner),
            OpenedMethod::Other { name, secret } => {
                if !may_change_processor(&name, &secret) {
                    return None;
                }
                let other = OtherMethod::new(&name, secret, BTreeMap::new()).ok()?;
                self.seal.seal_other(&other, owner)
            }
        };
        sealed.ok()
    }

    /// Nothing was executed, and the processor cannot be called: that uses up no try. But nobody waits for ever for a platform
    /// that is down.
    fn without_a_call(&self, stored: &StoredPayment, pause: Pause) -> Asked {
        let asked = (stored.payment.attempt, stored.try_number);
        let waited = self.waited(stored.payment.updated_at, stored.claimed_until);
        let is_too_long = !pause.why.is_for_the_operator() && waited > LONGEST_OUTAGE;
        let trigger = if stored.phase == Phase::Authorize && is_too_long {
            Trigger::Answered {
                asked,
                answer: Answer::NotCharged {
                    reason: DeclineCode::ISSUER_UNAVAILABLE,
                },
                max_tries: stored.try_number,
            }
        } else {
            Trigger::NotCalled { asked }
        };
        Asked {
            trigger,
            delay: self.schedule.delay_of_pause(pause.left, waited),
            card: None,
        }
    }

    /// How long it had waited when it was claimed, by the database's clock: that of this machine may be wrong.
    pub(super) fn waited(&self, since: Timestamp, claimed_until: Option<Timestamp>) -> Duration {
        let claimed_at = claimed_until.map_or(since, |until| until - self.claim);
        Duration::try_from(claimed_at - since).unwrap_or_default()
    }

    async fn call_processor(&self, stored: &StoredPayment) -> (Trigger, Duration) {
        let asked = (stored.payment.attempt, stored.try_number);
        let span = tracing::debug_span!("authorize", payment.id = stored.payment.id.0, phase = ?stored.phase);
        let trigger = match stored.phase {
            Phase::Authorize => {
                let answer = self.authorize(stored).instrument(span).await;
                Trigger::Answered {
                    asked,
                    answer,
                    max_tries: self.schedule.max_tries,
                }
            }
            Phase::Reverse => {
                let answer = self.reverse(stored).instrument(span).await;
                Trigger::Reversal { asked, answer }
            }
            Phase::Ask => {
                let answer = self.ask_about_action(stored).instrument(span).await;
                // Whether the time is over is decided by the database's clock.
                Trigger::ActionAnswered {
                    asked,
                    answer,
                    expired: false,
                }
            }
            Phase::Close => {
                let answer = self.close(stored).instrument(span).await;
                Trigger::AttemptClosed { asked, answer }
            }
        };
        (trigger, self.delay_after(stored))
    }

    /// Before the next try. A shopper is not waited for beyond the end of the action.
    fn delay_after(&self, stored: &StoredPayment) -> Duration {
        let delay = self.schedule.backoff.delay_after(stored.try_number);
        match stored.payment.next_action() {
            None => delay,
            Some(action) => {
                let left = action.expires_at - time::OffsetDateTime::now_utc();
                let left = Duration::try_from(left).unwrap_or_default();
                delay.min(left.max(self.schedule.backoff.initial))
            }
        }
    }

    /// The processor of the current attempt.
    fn processor(&self, stored: &StoredPayment) -> Arc<dyn Processor> {
        self.processors.of(method(stored))
    }

    async fn ask_about_action(&self, stored: &StoredPayment) -> ActionAnswer {
        let processor = self.processor(stored);
        let calling = processor.ask(key(stored));
        let answer = self.make(Call::Ask, stored, calling).await;
        answer.unwrap_or(ActionAnswer::Unknown)
    }

    async fn close(&self, stored: &StoredPayment) -> AttemptCloseAnswer {
        let amount = stored.payment.amount;
        let processor = self.processor(stored);
        let calling = processor.close_attempt(key(stored), amount);
        let answer = self.make(Call::CloseAttempt, stored, calling).await;
        answer.unwrap_or(AttemptCloseAnswer::Unknown)
    }

    async fn authorize(&self, stored: &StoredPayment) -> Answer {
        let key = key(stored);
        let method = SealedForAttempt {
            stored,
            seal: &self.seal,
            key,
        };
        let return_to = return_to(stored, self.public_url.as_deref());
        let authorization = Authorization {
            return_to: return_to.as_deref(),
            key,
            amount: stored.payment.amount,
            capture: stored.payment.funds.capture_method,
            method: &method,
        };
        let processor = self.processor(stored);
        let calling = processor.authorize(&authorization);
        let answer = self.make(Call::Authorize, stored, calling).await;
        answer.unwrap_or(Answer::Unknown)
    }

    async fn reverse(&self, stored: &StoredPayment) -> ReversalAnswer {
        let processor = self.processor(stored);
        let calling = processor.reverse(key(stored), stored.payment.amount);
        let answer = self.make(Call::Reverse, stored, calling).await;
        answer.unwrap_or(ReversalAnswer::Unknown)
    }

    async fn make<A: CallAnswer>(
        &self,
        call: Call,
        stored: &StoredPayment,
        calling: impl Future<Output = A> + Send,
    ) -> Option<A> {
        let platform = method(stored).and_then(MethodSummary::processor);
        self.calls
            .make((platform, call), self.timeout, calling)
            .await
    }
}

/// The method of the current attempt. While the attempt is being closed, another one may be waiting already.
fn method(stored: &StoredPayment) -> Option<&MethodSummary> {
    let action = stored.payment.action.as_ref();
    let replaced = action.and_then(|action| action.replaced.as_ref());
    replaced.or(stored.payment.method.as_ref())
}

/// Why this processor is not called now, if so.
pub(super) fn pause(processor: &dyn Processor) -> Option<Pause> {
    processor.availability().and_then(Availability::pause)
}

/// The payment method of an attempt, as it is stored.
struct SealedForAttempt<'a> {
    stored: &'a StoredPayment,
    seal: &'a SealKeys,
    key: AttemptKey,
}

impl MethodSource for SealedForAttempt<'_> {
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable> {
        let payment = self.key.payment;
        let sealed = self.stored.sealed_card.as_ref().ok_or_else(|| {
            tracing::error!(
                payment.id = payment.0,
                "the payment has no sealed payment method"
            );
            MethodUnreadable
        })?;
        let owner = Owner::Payment(payment, self.key.attempt);
        let opened = match &self.stored.payment.method {
            Some(MethodSummary::Other(other)) => self
                .seal
                .open_other(sealed, &other.name, owner)
                .map(|secret| OpenedMethod::Other {
                    name: other.name.clone(),
                    secret,
                }),
            Some(MethodSummary::Card(_)) | None => {
                self.seal.open(sealed, owner).map(OpenedMethod::Card)
            }
        };
        opened.map_err(|error| {
            tracing::error!(payment.id = payment.0, %error, "the sealed payment method cannot be opened");
            MethodUnreadable
        })
    }
}

/// Where the shopper goes after approving: the client's own address with the payment's id, otherwise the payment page. Never
/// with a status, which anybody could forge.
fn return_to(stored: &StoredPayment, public_url: Option<&str>) -> Option<String> {
    let id = stored.payment.id;
    match &stored.payment.return_url {
        Some(url) => {
            let (address, query) = url.as_str().split_once('?').unwrap_or((url.as_str(), ""));
            // Whoever reads the first one gets ours, too.
            let own = |pair: &&str| !pair.is_empty() && !pair.starts_with("payment_id=");
            let id = format!("payment_id={id}");
            let pairs: Vec<&str> = query.split('&').filter(own).chain([&*id]).collect();
            Some(format!("{address}?{}", pairs.join("&")))
        }
        None => public_url.map(|base| format!("{base}/payments/process/{id}")),
    }
}

fn key(stored: &StoredPayment) -> AttemptKey {
    AttemptKey {
        payment: stored.payment.id,
        attempt: stored.payment.attempt,
    }
}

#[cfg(test)]
mod tests;
