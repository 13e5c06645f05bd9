//! Captures, voids and refunds as clients request them.

use uuid::Uuid;

use super::operations::start::{NewOperation, OperationRefusal, StartOutcome};
use crate::domain::{
    CancellationReason, ClientName, Money, Operation, OperationId, OperationKind, OperationPhase,
    OperationSource, Origin, Payment, PaymentId, Refusal,
};
use crate::payments::AcceptError;
use crate::payments::acceptor::{Acceptor, quarantined};
use crate::payments::row_ids::RowIds;
use crate::store::rows::{Idempotency, StoredOperation};

/// A client's request for an operation on one of its payments.
#[derive(Debug, Clone)]
pub struct OperationRequest {
    /// The client.
    pub client: ClientName,
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
    /// `Idempotency-Key` or `message_id`.
    pub idempotency_key: Option<String>,
    /// Where its results go in addition to the topic.
    pub origin: Origin,
}

/// An operation that has been accepted.
#[derive(Debug, Clone, PartialEq)]
pub struct Operated {
    /// The payment as it is now.
    pub payment: Payment,
    /// The operation.
    pub operation: Operation,
    /// It was already accepted earlier, under the same key.
    pub replayed: bool,
}

/// A payment that is canceled, or whose void has been started.
#[derive(Debug, Clone, PartialEq)]
pub struct Canceled {
    /// The payment as it is now.
    pub payment: Payment,
    /// The void was already accepted earlier, under the same key.
    pub replayed: bool,
}

impl Canceled {
    fn new(payment: Payment) -> Self {
        Self {
            payment,
            replayed: false,
        }
    }
}

impl OperationRequest {
    /// A request without amount, key and address for replies.
    pub fn new(client: &ClientName, payment: PaymentId, kind: OperationKind) -> Self {
        Self {
            client: client.clone(),
            payment,
            kind,
            amount: None,
            reason: None,
            client_reference: None,
            idempotency_key: None,
            origin: Origin::default(),
        }
    }

    /// The request in bytes, to check whether two requests with one idempotency key are the same: a length precedes every
    /// text. Differs from those of payments in its first byte.
    fn canonical(&self) -> Vec<u8> {
        const VERSION: u8 = 0x80;
        let mut bytes = vec![VERSION];
        let amount = self.amount.map(|amount| amount.minor().to_string());
        let texts = [
            Some(self.kind.as_str()),
            amount.as_deref(),
            self.reason.as_deref(),
            self.client_reference.as_deref(),
        ];
        bytes.extend_from_slice(&self.payment.0.to_be_bytes());
        for text in texts {
            let length = text.map_or(u64::MAX, |text| text.len() as u64);
            bytes.extend_from_slice(&length.to_be_bytes());
            bytes.extend_from_slice(text.unwrap_or("").as_bytes());
        }
        bytes
    }
}

impl Acceptor {
    /// Starts a capture, void or refund, or returns the one that exists under its idempotency key.
    pub async fn operate(&self, request: OperationRequest) -> Result<Operated, AcceptError> {
        if self.backlog.is_full() {
            return Err(AcceptError::BacklogFull);
        }
        let canonical = request.canonical();
        let cancellation_reason =
            (request.kind == OperationKind::Void).then_some(CancellationReason::RequestedByClient);
        let client = request.client.clone();
        let operation = NewOperation {
            id: OperationId(Uuid::now_v7()),
            client: Some(request.client),
            payment: request.payment,
            kind: request.kind,
            amount: request.amount,
            reason: request.reason,
            client_reference: request.client_reference,
            source: OperationSource::Client,
            phase: OperationPhase::Execute,
            cancellation_reason,
            idempotency: request.idempotency_key.map(|key| Idempotency {
                key,
                fingerprint: self.seal.fingerprint(&canonical),
            }),
            origin: request.origin,
            ids: RowIds::draw(),
        };
        let id = operation.payment;
        let starting = async { Ok(self.commands.start_operation(operation).await?) };
        match self.answered(starting).await? {
            StartOutcome::Started(started) => {
                let (payment, operation) = *started;
                Ok(Operated {
                    payment,
                    operation,
                    replayed: false,
                })
            }
            StartOutcome::Existing(existing) => {
                let (payment, existing) = *existing;
                let same = existing.operation.payment == id && self.is_of(&existing, &canonical);
                if !same {
                    return Err(AcceptError::KeyReused);
                }
                Ok(Operated {
                    payment,
                    operation: existing.operation,
                    replayed: true,
                })
            }
            StartOutcome::KeyOfPayment => Err(AcceptError::KeyReused),
            StartOutcome::Refused(refusal, _) => Err(AcceptError::Operation(refusal)),
            StartOutcome::NotFound => Err(AcceptError::NotFound(id)),
            StartOutcome::Quarantined(payment) => Err(quarantined(payment, &client)),
        }
    }

    /// Cancels a payment: at once if it waits for a card, by a void if it is authorized. One that is already canceled is
    /// returned unchanged. Canceling a payment that waits for a card uses up no key: repeating it changes nothing.
    pub async fn cancel(
        &self,
        client: &ClientName,
        id: PaymentId,
        (idempotency_key, origin): (Option<String>, Origin),
    ) -> Result<Canceled, AcceptError> {
        let is_used = match &idempotency_key {
            Some(key) => self.is_key_used(client, key).await?,
            None => false,
        };
        // The request under a used key decides, in `operate`.
        let refusal = if is_used {
            None
        } else {
            match self.cancel_open(client, id, &origin).await {
                Err(AcceptError::Refused(refusal)) => Some(refusal),
                canceled => return canceled.map(Canceled::new),
            }
        };
        let void = OperationRequest {
            idempotency_key,
            origin,
            ..OperationRequest::new(client, id, OperationKind::Void)
        };
        match self.operate(void).await {
            Ok(operated) => Ok(Canceled {
                payment: operated.payment,
                replayed: operated.replayed,
            }),
            // It has been voided since.
            Err(AcceptError::Operation(OperationRefusal::State(Refusal::Canceled))) => {
                let stored = self.stored(client, id).await?;
                Ok(Canceled::new(stored.payment))
            }
            Err(AcceptError::Operation(OperationRefusal::State(later))) => {
                // What refused first says more, unless it said that canceling is possible.
                let first = refusal.filter(|first| *first != Refusal::RequiresCapture);
                Err(first.unwrap_or(later).into())
            }
            Err(error) => Err(error),
        }
    }

    async fn is_key_used(&self, client: &ClientName, key: &str) -> Result<bool, AcceptError> {
        let reading = async {
            Ok(self.database.is_key_of_operation(client, key).await?
                || self.database.payment_by_key(client, key).await?.is_some())
        };
        self.answered(reading).await
    }

    fn is_of(&self, existing: &StoredOperation, canonical: &[u8]) -> bool {
        let idempotency = existing.idempotency.as_ref();
        idempotency.is_some_and(|it| self.seal.matches(&it.fingerprint, canonical))
    }
}
