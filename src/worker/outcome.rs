//! Reports recorded answers and outcomes, and measures how long a shopper waited for the outcome, or for
//! the question whether to approve.

use super::Worker;
use crate::domain::{EventKind, Payment, PaymentStatus, Phase, Timestamp};
use crate::metric;
use crate::payments::outcomes;
use crate::store::rows::StoredPayment;

impl Worker {
    /// Reports the payment as it is after an answer; `claimed` is its row before the call.
    pub(super) async fn report(&self, claimed: &StoredPayment, payment: &Payment) {
        let status = payment.status.as_str();
        metrics::counter!(metric::PAYMENT_TRIES, "status" => status).increment(1);
        tracing::debug!(payment.id = payment.id.0, status, "recorded");
        let asks_the_shopper = payment.status == PaymentStatus::RequiresAction
            && claimed.payment.status == PaymentStatus::Processing;
        if payment.status.has_a_try() && !asks_the_shopper {
            return;
        }
        outcomes::of_payment(payment, &claimed.origin);
        // How long a shopper takes says nothing about the service: measured until the shopper is asked.
        if payment.action.is_some() && !asks_the_shopper {
            return;
        }
        if let Some(presented) = self.presented(claimed).await {
            let took = payment.updated_at - presented;
            metrics::histogram!(metric::PAYMENT_OUTCOME_SECONDS)
                .record(took.as_seconds_f64().max(0.0));
        }
    }

    /// When the card of this attempt was presented. Until the first answer it is the payment's last change; after that only
    /// the history has it.
    async fn presented(&self, claimed: &StoredPayment) -> Option<Timestamp> {
        if claimed.phase == Phase::Authorize && claimed.try_number == 1 {
            return Some(claimed.payment.updated_at);
        }
        let history = self.database.events(claimed.payment.id).await.ok()?;
        let started = |kind| kind == EventKind::AttemptStarted;
        let attempt = history.iter().rfind(|event| started(event.kind));
        attempt.map(|event| event.at)
    }
}
