//! One call to the processor: calls with a time-out, and decides when to try again.

use std::sync::Arc;
use std::time::Duration;

use tracing::Instrument;

use super::processor_calls::{Call, ProcessorCalls};
use crate::domain::{Answer, MethodSummary, Phase, ReversalAnswer, Trigger};
use crate::processors::{
    AttemptKey, Authorization, MethodSource, MethodUnreadable, OpenedMethod, Processor,
};
use crate::retry::RetrySchedule;
use crate::store::rows::StoredPayment;
use crate::vault::{Owner, SealKeys};

/// Calls the processor for one payment at a time.
pub struct Authorizer {
    /// Authorizes cards.
    pub processor: Arc<dyn Processor>,
    /// Opens the card.
    pub seal: Arc<SealKeys>,
    /// When to try again.
    pub schedule: RetrySchedule,
    /// After this long without an answer the outcome of the call is unknown.
    pub timeout: Duration,
    /// Counts and times the calls.
    pub calls: ProcessorCalls,
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
        };
        (
            trigger,
            self.schedule.backoff.delay_after(stored.try_number),
        )
    }

    async fn authorize(&self, stored: &StoredPayment) -> Answer {
        let key = key(stored);
        let method = SealedForAttempt {
            stored,
            seal: &self.seal,
            key,
        };
        let authorization = Authorization {
            key,
            amount: stored.payment.amount,
            capture: stored.payment.funds.capture_method,
            method: &method,
        };
        let calling = self.processor.authorize(&authorization);
        let answer = self
            .calls
            .make(Call::Authorize, self.timeout, calling)
            .await;
        answer.unwrap_or(Answer::Unknown)
    }

    async fn reverse(&self, stored: &StoredPayment) -> ReversalAnswer {
        let calling = self.processor.reverse(key(stored), stored.payment.amount);
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

fn key(stored: &StoredPayment) -> AttemptKey {
    AttemptKey {
        payment: stored.payment.id,
        attempt: stored.payment.attempt,
    }
}

#[cfg(test)]
mod tests;
