//! Recording a processor's answer about an operation: the operation moves, and with its end the payment.

use std::time::Duration;

use async_trait::async_trait;

use super::{AFTER_FAILED_VOID, Locked};
use crate::domain::{
    CancellationReason, DeclineCode, Event, EventKind, Operation, OperationEnd, OperationId,
    OperationKind, OperationNext, OperationProgress, OperationStatus, OperationTrigger, Payment,
    PaymentId, Refusal, Trigger, next, next_operation,
};
use crate::payments::apply::{apply_operation, next_event};
use crate::payments::outgoing;
use crate::payments::row_ids::RowIds;
use crate::payments::writer::Writer;
use crate::store::StoreError;
use crate::store::batch::Batch;
use crate::store::rows::{StoredOperation, StoredPayment};

/// What a call about an operation came to.
#[derive(Debug, Clone)]
pub struct OperationAnswered {
    /// The payment.
    pub payment: PaymentId,
    /// The operation.
    pub operation: OperationId,
    /// The answer.
    pub trigger: OperationTrigger,
    /// How long to wait before another try, unless the processor has named a time.
    pub delay: Duration,
    /// Ids of the rows to write: `[0]` for this move, `[1]` for a later confirmation.
    pub ids: [RowIds; 2],
}

/// The result of recording an answer.
#[derive(Debug, Clone, PartialEq)]
pub enum OperationRecorded {
    /// The operation has moved: its payment and the operation as they are now.
    Moved(Box<(Payment, Operation)>),
    /// The answer belongs to a try that is no longer the current one, or the rows cannot be used.
    Stale,
}

pub(crate) struct RecordOperations(pub(in crate::payments) Writer);

#[async_trait]
impl Batch for RecordOperations {
    const NAME: &'static str = "record_operation";
    type Item = OperationAnswered;
    type Outcome = OperationRecorded;

    /// If it runs again after a commit with an unknown result, the answers belong to earlier tries and change nothing.
    async fn run(&self, items: &[OperationAnswered]) -> Result<Vec<OperationRecorded>, StoreError> {
        let Writer {
            database,
            leases,
            hand_over,
        } = &self.0;
        let mut tx = database.begin().await?;
        let payments = items.iter().map(|item| item.payment);
        let ids: Vec<OperationId> = items.iter().map(|item| item.operation).collect();
        let mut locked = Locked::lock(&mut tx, *leases, payments, &ids).await?;
        let recorded = items.iter().map(|item| locked.record(item)).collect();
        let due = locked.write(tx, &[]).await?;
        hand_over.messages(due);
        Ok(recorded)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

impl Locked {
    fn record(&mut self, item: &OperationAnswered) -> OperationRecorded {
        let payment = self.payments.get(&item.payment).cloned();
        let operation = self.operations.get(&item.operation).cloned();
        let (Some(payment), Some(operation)) = (payment, operation) else {
            return OperationRecorded::Stale;
        };
        let Ok(moved) = next_operation(operation.progress(), item.trigger.clone()) else {
            return OperationRecorded::Stale;
        };
        let mut both = (payment, operation);
        if self.apply(&mut both, moved, item).is_err() {
            return OperationRecorded::Stale;
        }
        let (payment, operation) = both;
        let moved = (payment.payment.clone(), operation.operation.clone());
        let recorded = OperationRecorded::Moved(Box::new(moved));
        self.payments.insert(item.payment, payment);
        self.operations.insert(item.operation, operation);
        self.moved_operations.push(item.operation);
        recorded
    }

    fn apply(
        &mut self,
        both: &mut (StoredPayment, StoredOperation),
        moved: OperationNext,
        item: &OperationAnswered,
    ) -> Result<(), Refusal> {
        let (payment, operation) = both;
        let tried = operation.try_number;
        operation.claimed_until = None;
        operation.check_at = None;
        operation.operation.updated_at = self.now.max(operation.operation.updated_at);
        match moved {
            OperationNext::TryAgain {
                progress,
                reason,
                after,
            } => {
                place(operation, progress);
                if let Some(reason) = reason {
                    let kind = EventKind::OperationTryFailed;
                    let id = (item.ids[0].events[0], self.now);
                    let event = next_event(payment, kind, Some(reason.to_string()), id);
                    self.add(
                        payment,
                        Event {
                            try_number: tried,
                            ..event
                        },
                    );
                }
                self.try_later(operation, item, after.unwrap_or(item.delay));
            }
            OperationNext::Succeeded {
                progress,
                confirm_after,
            } => {
                place(operation, progress);
                self.succeed(payment, operation, item)?;
                if let Some(after) = confirm_after {
                    self.try_later(operation, item, after);
                }
            }
            OperationNext::Failed {
                progress,
                code,
                authorization_gone,
            } => {
                let had_succeeded = operation.operation.status == OperationStatus::Succeeded;
                place(operation, progress);
                let failure = Failure {
                    code,
                    authorization_gone,
                    had_succeeded,
                };
                self.fail((payment, operation), failure, item)?;
            }
            OperationNext::Confirmed(progress) => place(operation, progress),
            OperationNext::Waits(progress) => {
                place(operation, progress);
                self.try_later(operation, item, item.delay);
            }
        }
        Ok(())
    }

    fn succeed(
        &mut self,
        payment: &mut StoredPayment,
        operation: &StoredOperation,
        item: &OperationAnswered,
    ) -> Result<(), Refusal> {
        let amount = operation.operation.amount.minor();
        match operation.operation.kind {
            OperationKind::Capture => {
                self.end(payment, operation, OperationEnd::Captured, (None, item))
            }
            OperationKind::Void => {
                payment.payment.funds.cancellation_reason = operation.cancellation_reason;
                self.end(payment, operation, OperationEnd::Released, (None, item))
            }
            OperationKind::Refund => {
                payment.payment.funds.refunded += amount;
                self.end_refund(payment, operation, EventKind::RefundSucceeded, item);
                Ok(())
            }
        }
    }

    fn fail(
        &mut self,
        (payment, operation): (&mut StoredPayment, &StoredOperation),
        failure: Failure,
        item: &OperationAnswered,
    ) -> Result<(), Refusal> {
        let amount = operation.operation.amount.minor();
        let kind = operation.operation.kind;
        if kind == OperationKind::Refund {
            payment.payment.funds.reserved -= amount;
            if failure.had_succeeded {
                payment.payment.funds.refunded -= amount;
            }
            self.end_refund(payment, operation, EventKind::RefundFailed, item);
            return Ok(());
        }
        if failure.authorization_gone {
            // A void of what is gone has reached its aim.
            let asked_for = operation
                .cancellation_reason
                .filter(|_| kind == OperationKind::Void);
            let reason = asked_for.unwrap_or(CancellationReason::AuthorizationGone);
            payment.payment.funds.cancellation_reason = Some(reason);
            return self.end(payment, operation, OperationEnd::Released, (None, item));
        }
        let funds = &mut payment.payment.funds;
        if funds.capture_before.is_some_and(|until| until <= self.now) {
            funds.capture_before = Some(self.now + AFTER_FAILED_VOID);
        }
        let code = Some(failure.code.to_string());
        self.end(
            payment,
            operation,
            OperationEnd::StillAuthorized,
            (code, item),
        )
    }

    /// The payment's capture or void has ended.
    fn end(
        &mut self,
        payment: &mut StoredPayment,
        operation: &StoredOperation,
        end: OperationEnd,
        (reason, item): (Option<String>, &OperationAnswered),
    ) -> Result<(), Refusal> {
        let moved = next(payment.progress(), &Trigger::OperationEnded(end))?;
        if end == OperationEnd::Captured {
            payment.payment.funds.captured = operation.operation.amount.minor();
        }
        let canceled = payment.payment.funds.cancellation_reason;
        let reason = reason.or_else(|| canceled.map(|reason| reason.to_string()));
        let id = (item.ids[0].events[0], self.now);
        let event = apply_operation(payment, moved, reason, id);
        let due_at = self.now + self.leases.outbox;
        let messages = outgoing::results(payment, &event, &item.ids[0], (due_at, Some(operation)));
        self.publish(messages);
        self.add(payment, event);
        Ok(())
    }

    fn end_refund(
        &mut self,
        payment: &mut StoredPayment,
        refund: &StoredOperation,
        kind: EventKind,
        item: &OperationAnswered,
    ) {
        let id = (item.ids[0].events[0], self.now);
        let code = refund.operation.failure_code.as_ref();
        let event = next_event(payment, kind, code.map(DeclineCode::to_string), id);
        // The message must be the same however late it is rendered.
        let mut told = refund.clone();
        told.operation.updated_at = event.at;
        let due_at = self.now + self.leases.outbox;
        let messages = outgoing::refund_results(&told, &event, &item.ids[0], due_at);
        self.publish(messages);
        self.add(payment, event);
    }

    /// The next try, which the sweep finds when it is due.
    fn try_later(
        &mut self,
        operation: &mut StoredOperation,
        item: &OperationAnswered,
        delay: Duration,
    ) {
        let due_at = self.now + delay;
        operation.check_at = Some(due_at + self.leases.check);
        let id = item.ids[1].outbox[0];
        let message = outgoing::operation_try(operation, id, 0, due_at);
        self.publish_later(message);
    }

    fn add(&mut self, payment: &StoredPayment, event: Event) {
        self.events.push(event);
        self.moved_payments.push(payment.payment.id);
    }
}

/// Why an operation failed.
struct Failure {
    code: DeclineCode,
    authorization_gone: bool,
    had_succeeded: bool,
}

fn place(row: &mut StoredOperation, progress: OperationProgress) {
    let is_failed = progress.status == OperationStatus::Failed;
    let is_pending = progress.status == OperationStatus::Pending;
    row.operation.status = progress.status;
    row.operation.failure_code = progress.failure.clone().filter(|_| is_failed);
    row.pending_failure = progress.failure.filter(|_| is_pending);
    row.try_number = progress.try_number;
    row.phase = progress.phase;
    row.uncertain = progress.uncertain;
}
