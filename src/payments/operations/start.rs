//! Starting a capture, void or refund: the operation's row, the payment's change, its event and the message for the first
//! try, in one transaction.

use std::collections::HashMap;
use std::sync::Arc;

use async_trait::async_trait;
use uuid::Uuid;

use super::Locked;
use crate::domain::{
    CancellationReason, ClientName, EventKind, Money, Next, Operation, OperationId, OperationKind,
    OperationPhase, OperationSource, OperationStatus, Origin, Payment, PaymentId, PaymentStatus,
    Refusal, Timestamp, Trigger, next,
};
use crate::payments::apply::{apply_operation, next_event};
use crate::payments::outgoing;
use crate::payments::row_ids::RowIds;
use crate::payments::writer::Writer;
use crate::store::batch::Batch;
use crate::store::quarantine::{Quarantined, payment_of};
use crate::store::rows::{Idempotency, StoredOperation, StoredPayment};
use crate::store::{StoreError, Transaction};

/// An operation that is about to be started.
#[derive(Debug, Clone)]
pub struct NewOperation {
    /// Its id, drawn in advance, so that running a batch again writes the same row.
    pub id: OperationId,
    /// The client that must own the payment; none if the service itself acts.
    pub client: Option<ClientName>,
    /// The payment.
    pub payment: PaymentId,
    /// What to do.
    pub kind: OperationKind,
    /// The amount; none for all that is left.
    pub amount: Option<Money>,
    /// The client's reason.
    pub reason: Option<String>,
    /// The client's own reference.
    pub client_reference: Option<String>,
    /// Who asks for it.
    pub source: OperationSource,
    /// What its first try requests: its result, if the platform has it already.
    pub phase: OperationPhase,
    /// Why a void is requested.
    pub cancellation_reason: Option<CancellationReason>,
    /// The idempotency key of the request.
    pub idempotency: Option<Idempotency>,
    /// Where its results go in addition to the topic.
    pub origin: Origin,
    /// Ids of the rows to write.
    pub ids: RowIds,
}

impl NewOperation {
    /// The void of an authorization that has expired.
    pub fn of_expired(payment: PaymentId) -> Self {
        Self {
            id: OperationId(Uuid::now_v7()),
            client: None,
            payment,
            kind: OperationKind::Void,
            amount: None,
            reason: None,
            client_reference: None,
            source: OperationSource::Client,
            phase: OperationPhase::Execute,
            cancellation_reason: Some(CancellationReason::AuthorizationExpired),
            idempotency: None,
            origin: Origin::default(),
            ids: RowIds::draw(),
        }
    }

    /// A refund that somebody made at the platform: its first try asks what became of it.
    pub fn made_there(id: OperationId, payment: PaymentId, amount: Money) -> Self {
        Self {
            id,
            client: None,
            payment,
            kind: OperationKind::Refund,
            amount: Some(amount),
            reason: None,
            client_reference: None,
            source: OperationSource::Processor,
            phase: OperationPhase::Query,
            cancellation_reason: None,
            idempotency: None,
            origin: Origin::default(),
            ids: RowIds::draw(),
        }
    }
}

/// The result of starting an operation.
#[derive(Debug, Clone, PartialEq)]
pub enum StartOutcome {
    /// It has started.
    Started(Box<(Payment, Operation)>),
    /// The key was used before, for this operation, on this payment.
    Existing(Box<(Payment, StoredOperation)>),
    /// The key belongs to a payment that was created under it.
    KeyOfPayment,
    /// Nothing was written.
    Refused(OperationRefusal, Box<Payment>),
    /// This client has no such payment.
    NotFound,
    /// The payment is set aside.
    Quarantined(Quarantined),
}

/// Why an operation is not possible.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum OperationRefusal {
    /// The payment's state does not allow a capture or void.
    #[error(transparent)]
    State(#[from] Refusal),
    /// Nothing is captured yet, but the amount is authorized.
    #[error("nothing is captured yet: cancel the payment instead")]
    CancelInstead,
    /// It is too late to capture.
    #[error("the authorization has expired and is being released: create another payment")]
    Expired,
    /// The amount is captured.
    #[error("the payment has succeeded: refund it instead")]
    RefundInstead,
    /// There is nothing to refund.
    #[error("nothing was charged, so there is nothing to refund")]
    NothingCharged,
    /// Everything is refunded, or being refunded.
    #[error("nothing is left to refund: refunds that succeeded or are pending take all of it")]
    NothingLeft,
    /// More than there is.
    #[error("the amount is more than what is left: at most {0}")]
    TooMuch(Money),
    /// The amount has another currency than the payment.
    #[error("the currency must be that of the payment, {}", .0.code())]
    Currency(crate::domain::Currency),
}

pub(crate) struct StartOperations(pub(in crate::payments) Writer);

type Keys<T> = HashMap<(ClientName, String), T>;

#[async_trait]
impl Batch for StartOperations {
    const NAME: &'static str = "start_operation";
    type Item = NewOperation;
    type Outcome = StartOutcome;

    async fn run(&self, items: &[NewOperation]) -> Result<Vec<StartOutcome>, StoreError> {
        let Writer {
            database,
            leases,
            hand_over,
        } = &self.0;
        let mut tx = database.begin().await?;
        let payments = items.iter().map(|item| item.payment);
        let ids: Vec<OperationId> = items.iter().map(|item| item.id).collect();
        let mut locked = Locked::lock(&mut tx, *leases, payments, &ids).await?;
        let mut keys = Used::read(&mut tx, items, &locked).await?;
        let mut started = Vec::new();
        let outcomes: Vec<StartOutcome> = items
            .iter()
            .map(|item| locked.start(item, &mut keys, &mut started))
            .collect();
        let of_keys: Vec<(ClientName, String)> = started.iter().filter_map(key_of).collect();
        if !of_keys.is_empty() {
            // Decides races between processes: the rows are inserted first, and the keys read back.
            tx.insert_operations(&started).await?;
            let owners = tx.operations_by_key(&of_keys).await?;
            let owns = |row: &&StoredOperation| {
                owners
                    .iter()
                    .any(|owner| owner.operation.id == row.operation.id)
            };
            // A payment may be inserted under the key at this moment, see `accept::keys_of_operations`.
            let of_payments = tx.lock_payment_keys(&of_keys).await?;
            let owned = started
                .iter()
                .filter(|row| key_of(row).is_some())
                .all(|row| owns(&row));
            if !owned || !of_payments.is_empty() {
                // The next run finds the other request under the key.
                let lost = sqlx::Error::Protocol("the key belongs to another request".into());
                return Err(StoreError::Conflict(Arc::new(lost)));
            }
        }
        let new: &[StoredOperation] = if of_keys.is_empty() { &started } else { &[] };
        let due = locked.write(tx, new).await?;
        hand_over.messages(due);
        Ok(outcomes)
    }

    async fn succeeds_without_items(&self) -> bool {
        self.0.database.is_usable().await
    }
}

/// The idempotency keys of a batch that are used already.
struct Used {
    operations: Keys<StoredOperation>,
    payments: Keys<PaymentId>,
    left_out: bool,
}

impl Used {
    async fn read(
        tx: &mut Transaction,
        items: &[NewOperation],
        locked: &Locked,
    ) -> Result<Self, StoreError> {
        let key = |item: &NewOperation| {
            let payment = locked.payments.get(&item.payment)?;
            let key = item.idempotency.as_ref()?.key.clone();
            Some((payment.payment.client.clone(), key))
        };
        let keys: Vec<(ClientName, String)> = items.iter().filter_map(key).collect();
        let mut used = Self {
            operations: Keys::new(),
            payments: Keys::new(),
            left_out: false,
        };
        if keys.is_empty() {
            return Ok(used);
        }
        let operations = tx.operations_by_key(&keys).await?.into_iter();
        used.operations = operations
            .filter_map(|row| Some((key_of(&row)?, row)))
            .collect();
        let payments = tx.payments_by_key(&keys).await?.into_iter();
        used.payments = payments
            .filter_map(|row| {
                let key = row.idempotency.as_ref()?.key.clone();
                Some(((row.payment.client.clone(), key), row.payment.id))
            })
            .collect();
        used.left_out = !tx.left_out().is_empty();
        Ok(used)
    }
}

fn key_of(row: &StoredOperation) -> Option<(ClientName, String)> {
    let key = row.idempotency.as_ref()?.key.clone();
    Some((row.operation.client.clone(), key))
}

impl Locked {
    fn start(
        &mut self,
        item: &NewOperation,
        used: &mut Used,
        started: &mut Vec<StoredOperation>,
    ) -> StartOutcome {
        let Some(row) = self.payments.get_mut(&item.payment) else {
            return payment_of(&self.left_out, item.payment)
                .map_or(StartOutcome::NotFound, StartOutcome::Quarantined);
        };
        let owner = &row.payment.client;
        if item.client.as_ref().is_some_and(|client| client != owner) {
            return StartOutcome::NotFound;
        }
        // Several events of a platform can be about one refund.
        let in_this_batch = started.iter().find(|it| it.operation.id == item.id);
        if let Some(earlier) = self.operations.get(&item.id).or(in_this_batch) {
            // Otherwise an earlier run of this batch was committed after all.
            let started = (row.payment.clone(), earlier.operation.clone());
            return StartOutcome::Started(Box::new(started));
        }
        let key = item
            .idempotency
            .as_ref()
            .map(|idempotency| (owner.clone(), idempotency.key.clone()));
        if let Some(key) = &key {
            if let Some(existing) = used.operations.get(key) {
                let existing = (row.payment.clone(), existing.clone());
                return StartOutcome::Existing(Box::new(existing));
            }
            if used.payments.contains_key(key) || used.left_out {
                return StartOutcome::KeyOfPayment;
            }
        }
        let (kind, amount) = match begin(row, item, self.now) {
            Ok(begun) => begun,
            Err(refusal) => {
                return StartOutcome::Refused(refusal, Box::new(row.payment.clone()));
            }
        };
        let event_id = (item.ids.events[0], self.now);
        let event = match kind {
            Begun::Moved(moved) => apply_operation(row, moved, None, event_id),
            Begun::Refund => next_event(row, EventKind::RefundStarted, None, event_id),
        };
        let payment = row.payment.clone();
        let due_at = self.now + self.leases.outbox;
        let operation = StoredOperation {
            operation: Operation {
                id: item.id,
                payment: payment.id,
                client: payment.client.clone(),
                kind: item.kind,
                amount,
                status: OperationStatus::Pending,
                failure_code: None,
                reason: item.reason.clone(),
                client_reference: item.client_reference.clone(),
                source: item.source,
                created_at: event.at,
                updated_at: event.at,
            },
            try_number: 1,
            phase: item.phase,
            uncertain: false,
            pending_failure: None,
            cancellation_reason: item.cancellation_reason,
            claimed_until: None,
            check_at: Some(due_at + self.leases.check),
            idempotency: item.idempotency.clone(),
            origin: item.origin.clone(),
        };
        self.moved_payments.push(payment.id);
        self.events.push(event);
        let message = outgoing::operation_try(&operation, item.ids.outbox[0], 0, due_at);
        self.publish(vec![message]);
        if let Some(key) = key {
            used.operations.insert(key, operation.clone());
        }
        let outcome = StartOutcome::Started(Box::new((payment, operation.operation.clone())));
        started.push(operation);
        outcome
    }
}

/// What starting an operation does to the payment.
enum Begun {
    Moved(Next),
    Refund,
}

/// Checks the operation against the payment, and reserves a refund's amount.
fn begin(
    row: &mut StoredPayment,
    item: &NewOperation,
    now: Timestamp,
) -> Result<(Begun, Money), OperationRefusal> {
    let total = row.payment.amount;
    if let Some(amount) = item.amount
        && amount.currency() != total.currency()
    {
        return Err(OperationRefusal::Currency(total.currency()));
    }
    match item.kind {
        OperationKind::Capture | OperationKind::Void => {
            let trigger = Trigger::OperationStarted(item.kind);
            let moved = next(row.progress(), &trigger).map_err(|refusal| match refusal {
                Refusal::Succeeded => OperationRefusal::RefundInstead,
                other => other.into(),
            })?;
            let until = row.payment.funds.capture_before;
            if item.kind == OperationKind::Capture && until.is_some_and(|until| until <= now) {
                return Err(OperationRefusal::Expired);
            }
            let amount = item.amount.unwrap_or(total);
            if amount.minor() > total.minor() {
                return Err(OperationRefusal::TooMuch(total));
            }
            Ok((Begun::Moved(moved), amount))
        }
        OperationKind::Refund => {
            match row.payment.status {
                PaymentStatus::Succeeded => {}
                PaymentStatus::Processing => return Err(Refusal::Processing.into()),
                PaymentStatus::RequiresCapture => return Err(OperationRefusal::CancelInstead),
                PaymentStatus::Canceled => return Err(Refusal::Canceled.into()),
                PaymentStatus::RequiresPaymentMethod
                | PaymentStatus::RequiresAction
                | PaymentStatus::Declined
                | PaymentStatus::Failed => return Err(OperationRefusal::NothingCharged),
            }
            let left = Money::from_minor(row.payment.funds.refundable(), total.currency());
            let left = left.map_err(|_| OperationRefusal::NothingLeft)?;
            let amount = item.amount.unwrap_or(left);
            if amount.minor() > left.minor() {
                return Err(OperationRefusal::TooMuch(left));
            }
            row.payment.funds.reserved += amount.minor();
            Ok((Begun::Refund, amount))
        }
    }
}
