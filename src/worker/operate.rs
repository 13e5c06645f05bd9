//! One call to the processor about a capture, void or refund: claim, call, record.

use std::time::Duration;

use tracing::Instrument;

use super::authorize::{Authorizer, pause};
use super::dispatch::Permit;
use super::processor_calls::Call;
use super::{Settlement, Worker};
use crate::domain::{
    CloseAnswer, MethodSummary, OperationAnswer, OperationKind, OperationPhase, OperationTrigger,
};
use crate::metric;
use crate::payments::operations::claim::OperationClaim;
use crate::payments::operations::record::{OperationAnswered, OperationRecorded};
use crate::payments::outcomes;
use crate::payments::row_ids::RowIds;
use crate::processors::availability::Pause;
use crate::processors::{AttemptKey, OperationCall, Processor};
use crate::store::StoreError;
use crate::store::rows::{StoredOperation, StoredPayment};
use crate::wire::work::OperationWork;

impl Worker {
    pub(super) async fn take_and_operate(
        &self,
        work: OperationWork,
        permit: Permit,
    ) -> Result<Settlement, StoreError> {
        let authorizing = self.commands.stages().authorize.enter();
        let claimed = self.commands.claim_operation(work).await?;
        let taken = match claimed {
            OperationClaim::Taken(taken) => taken,
            OperationClaim::Unknown => {
                authorizing.left();
                return Ok(Settlement::UnknownPayment);
            }
            OperationClaim::Held | OperationClaim::Over => {
                authorizing.left();
                tracing::debug!(?claimed, "nothing to do");
                return Ok(Settlement::Done);
            }
        };
        let in_hand = self.pulse.take();
        permit.asked();
        let (trigger, delay) = self.authorizer.operate(&taken.0, &taken.1).await;
        // The next try need not wait until the answer is in the database.
        drop(permit);
        drop(in_hand);
        authorizing.left();
        let answered = OperationAnswered {
            payment: work.payment_id,
            operation: work.operation_id,
            trigger,
            delay,
            ids: [RowIds::draw(), RowIds::draw()],
        };
        let recorded = self.commands.record_operation(answered).await?;
        if let OperationRecorded::Moved(moved) = recorded {
            let (payment, operation) = &*moved;
            let (kind, status) = (operation.kind.as_str(), operation.status.as_str());
            metrics::counter!(metric::OPERATION_TRIES, "kind" => kind, "status" => status)
                .increment(1);
            tracing::debug!(payment.id = work.payment_id.0, kind, status, "recorded");
            let (before, origin) = (taken.1.operation.status, &taken.1.origin);
            outcomes::of_operation((payment, operation), before, origin);
        }
        Ok(Settlement::Done)
    }
}

impl Authorizer {
    /// Makes the call that the operation's phase requires; also returns the delay before another try.
    async fn operate(
        &self,
        payment: &StoredPayment,
        operation: &StoredOperation,
    ) -> (OperationTrigger, Duration) {
        let asked = operation.try_number;
        let call = OperationCall {
            key: operation.operation.id,
            kind: operation.operation.kind,
            authorization: AttemptKey {
                payment: payment.payment.id,
                attempt: payment.payment.attempt,
            },
            authorized: payment.payment.amount,
            amount: operation.operation.amount,
        };
        let method = payment.payment.method.as_ref();
        let platform = method.and_then(MethodSummary::processor);
        let processor = self.processors.of(method);
        let processor = &*processor;
        if let Some(pause) = pause(processor) {
            return self.not_called(operation, pause);
        }
        let span = tracing::debug_span!("operate", payment.id = payment.payment.id.0, phase = ?operation.phase);
        let trigger = if operation.phase == OperationPhase::Close {
            let closing = processor.close(&call).instrument(span);
            let answer = self
                .calls
                .make((platform, Call::Close), self.timeout, closing);
            let answer = answer.await;
            let answer = answer.unwrap_or(CloseAnswer::Unknown);
            OperationTrigger::Closed { asked, answer }
        } else {
            let answer = self.call((platform, processor), operation.phase, &call);
            let answer = answer.instrument(span).await;
            let answer = answer.unwrap_or(OperationAnswer::Unknown);
            OperationTrigger::Answered {
                asked,
                answer,
                max_tries: self.schedule.max_tries,
            }
        };
        let not_executed = matches!(
            trigger,
            OperationTrigger::Answered {
                answer: OperationAnswer::NotExecuted { .. },
                ..
            }
        );
        match pause(processor).filter(|_| not_executed) {
            Some(pause) => self.not_called(operation, pause),
            None => (trigger, self.schedule.backoff.delay_after(asked)),
        }
    }

    /// Nothing was executed, and the processor cannot be called: that uses up no try.
    fn not_called(
        &self,
        operation: &StoredOperation,
        pause: Pause,
    ) -> (OperationTrigger, Duration) {
        let asked = operation.try_number;
        let waited = self.waited(operation.operation.created_at, operation.claimed_until);
        let delay = self.schedule.delay_of_pause(pause.left, waited);
        (OperationTrigger::NotCalled { asked }, delay)
    }

    async fn call(
        &self,
        (platform, processor): (Option<&str>, &dyn Processor),
        phase: OperationPhase,
        about: &OperationCall,
    ) -> Option<OperationAnswer> {
        let (call, calling) = match (phase, about.kind) {
            (OperationPhase::Query | OperationPhase::Confirm, _) => {
                (Call::Query, processor.query(about))
            }
            (_, OperationKind::Capture) => (Call::Capture, processor.capture(about)),
            (_, OperationKind::Void) => (Call::Void, processor.void(about)),
            (_, OperationKind::Refund) => (Call::Refund, processor.refund(about)),
        };
        self.calls
            .make((platform, call), self.timeout, calling)
            .await
    }
}
