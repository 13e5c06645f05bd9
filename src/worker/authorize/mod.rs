//! One call to the processor: calls with a time-out, and decides when to try again.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::processor_calls::{Call, ProcessorCalls};
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, MethodSummary, Phase, ReversalAnswer, Trigger,
};
use crate::processors::named::Processors;
use crate::processors::{
    AttemptKey, Authorization, MethodSource, MethodUnreadable, OpenedMethod, Processor,
};
use crate::retry::RetrySchedule;
use crate::store::rows::StoredPayment;
use crate::vault::{Owner, SealKeys};

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
    /// Counts and times the calls.
    pub calls: ProcessorCalls,
    /// `PUBLIC_URL`: where shoppers reach this service.
    pub public_url: Option<String>,
}

impl Authorizer {
    /// Makes the call that the payment's phase requires; also returns the delay before another try.
    pub async fn ask(&self, stored: &StoredPayment) -> (Trigger, Duration) {
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

    /// The processor of the current attempt. While the attempt is being closed, another method may be waiting already.
    fn processor(&self, stored: &StoredPayment) -> Arc<dyn Processor> {
        let action = stored.payment.action.as_ref();
        let replaced = action.and_then(|action| action.replaced.as_ref());
        self.processors
            .of(replaced.or(stored.payment.method.as_ref()))
    }

    async fn ask_about_action(&self, stored: &StoredPayment) -> ActionAnswer {
        let processor = self.processor(stored);
        let calling = processor.ask(key(stored));
        let answer = self.calls.make(Call::Ask, self.timeout, calling).await;
        answer.unwrap_or(ActionAnswer::Unknown)
    }

    async fn close(&self, stored: &StoredPayment) -> AttemptCloseAnswer {
        let amount = stored.payment.amount;
        let processor = self.processor(stored);
        let calling = processor.close_attempt(key(stored), amount);
        let answer = self
            .calls
            .make(Call::CloseAttempt, self.timeout, calling)
            .await;
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
        let answer = self
            .calls
            .make(Call::Authorize, self.timeout, calling)
            .await;
        answer.unwrap_or(Answer::Unknown)
    }

    async fn reverse(&self, stored: &StoredPayment) -> ReversalAnswer {
        let processor = self.processor(stored);
        let calling = processor.reverse(key(stored), stored.payment.amount);
        let answer = self.calls.make(Call::Reverse, self.timeout, calling).await;
        answer.unwrap_or(ReversalAnswer::Unknown)
    }
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
