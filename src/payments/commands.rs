//! Every write of a payment, as a group commit. Each command has its own file in this folder and is one transaction.

use std::sync::Arc;
use std::time::Duration;

use futures::future::join_all;
use uuid::Uuid;

use super::accept::{self, AcceptOutcome};
use super::advance::{self, Advanced};
use super::apply::Advance;
use super::claim::{self, Claim};
use super::draft::NewPayment;
use super::hand_over::{HandOver, HandedOver, hand_over};
use super::leases::Leases;
use super::operations::claim::{OperationClaim, PostponeOperation};
use super::operations::hinted::{self, Hinted};
use super::operations::record::{OperationAnswered, OperationRecorded};
use super::operations::start::{NewOperation, StartOutcome};
use super::operations::{self};
use super::outbox::{self, Message, Refused, Taken};
use super::postpone::{self, Postpone, Postponed};
use super::tokens::{self, NewToken};
use super::writer::Writer;
use crate::broker::{Lane, Publication};
use crate::domain::{EventId, OperationId, PaymentId};
use crate::metric;
use crate::processors::notifications::{DisputeThere, RefundState};
use crate::store::batch::{Batcher, Limits};
use crate::store::ids::{IdSpace, PaymentIds};
use crate::store::quarantine::SetAside;
use crate::store::rows::{CardToken, OutboxId};
use crate::store::{Store, StoreError};
use crate::watchdog::pulse::Pulse;
use crate::watchdog::stages::{Name, Stage};
use crate::watchdog::vital::Vital;
use crate::wire::work::{OperationWork, WorkMessage};

/// How long a message without a payment waits for others, to be written in one transaction with them.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long a published row waits for others, to be deleted together with them. No caller waits for that; if the
/// process dies in the meantime, the rows are published again.
const DELETED_TOGETHER: Duration = Duration::from_millis(50);

/// How long a postponed try waits for others, to be postponed together with them: a flood brings many at a time, and
/// must not take database time from other payments.
const POSTPONED_TOGETHER: Duration = Duration::from_millis(20);

/// The writing half of the store.
#[derive(Clone)]
pub struct Commands {
    database: Store,
    ids: Arc<PaymentIds>,
    leases: Leases,
    hand_over: HandOver,
    stages: CommandStages,
    accept: Batcher<accept::AcceptPayments>,
    advance: Batcher<advance::AdvancePayments>,
    record: Batcher<advance::AdvancePayments>,
    claim: Batcher<claim::ClaimPayments>,
    start_operation: Batcher<operations::start::StartOperations>,
    record_operation: Batcher<operations::record::RecordOperations>,
    claim_operation: Batcher<operations::claim::ClaimOperations>,
    postpone_operation: Batcher<operations::claim::PostponeOperations>,
    add_tokens: Batcher<tokens::AddTokens>,
    postpone: Batcher<postpone::PostponeTries>,
    refuse: Batcher<outbox::RefuseRequests>,
    enqueue: Batcher<outbox::EnqueueMessages>,
    replace: Batcher<outbox::ReplaceRows>,
    published: Batcher<outbox::DeletePublished>,
}

/// The stages whose work these commands write.
#[derive(Debug, Clone)]
pub struct CommandStages {
    /// Requests of clients.
    pub accept: Stage,
    /// From the claim of a try to the processor's answer.
    pub authorize: Stage,
    /// Answers of processors.
    pub record: Stage,
}

impl Commands {
    /// Starts the group commits on a database. The second value receives the outbox rows that they write.
    pub fn new(database: Store, space: IdSpace, leases: Leases) -> (Self, HandedOver) {
        let limits = Limits {
            lanes: database.lanes(),
            ..Limits::default()
        };
        // Items of workers and of the relay have no caller to return an error to: they wait for the database.
        let endless = Limits {
            patience: None,
            ..limits
        };
        let (hand_over, handed_over) = hand_over();
        let writer = Writer {
            database: database.clone(),
            leases,
            hand_over: hand_over.clone(),
        };
        let db = || database.clone();
        let stages = CommandStages {
            accept: Stage::new(Name::Accept),
            authorize: Stage::new(Name::Authorize),
            record: Stage::new(Name::Record),
        };
        let (accepting, recording) = (Some(&stages.accept), Some(&stages.record));
        let commands = Self {
            ids: Arc::new(PaymentIds::new(db(), space)),
            leases,
            hand_over,
            accept: Batcher::spawn_for(
                accept::AcceptPayments(writer.clone()),
                limits,
                accepting.cloned(),
            ),
            advance: Batcher::spawn_for(
                advance::AdvancePayments(writer.clone()),
                limits,
                accepting.cloned(),
            ),
            record: Batcher::spawn_for(
                advance::AdvancePayments(writer.clone()),
                endless,
                recording.cloned(),
            ),
            claim: Batcher::spawn_for(
                claim::ClaimPayments {
                    database: db(),
                    leases,
                },
                endless,
                Some(stages.authorize.clone()),
            ),
            start_operation: Batcher::spawn_for(
                operations::start::StartOperations(writer.clone()),
                limits,
                accepting.cloned(),
            ),
            record_operation: Batcher::spawn_for(
                operations::record::RecordOperations(writer.clone()),
                endless,
                recording.cloned(),
            ),
            claim_operation: Batcher::spawn_for(
                operations::claim::ClaimOperations {
                    database: db(),
                    leases,
                },
                endless,
                Some(stages.authorize.clone()),
            ),
            postpone_operation: Batcher::spawn(
                operations::claim::PostponeOperations {
                    database: db(),
                    leases,
                },
                Limits {
                    linger: POSTPONED_TOGETHER,
                    ..endless
                },
            ),
            add_tokens: Batcher::spawn_for(
                tokens::AddTokens { database: db() },
                limits,
                accepting.cloned(),
            ),
            postpone: Batcher::spawn(
                postpone::PostponeTries {
                    database: db(),
                    leases,
                },
                Limits {
                    linger: POSTPONED_TOGETHER,
                    ..endless
                },
            ),
            refuse: Batcher::spawn(outbox::RefuseRequests(writer.clone()), endless),
            enqueue: Batcher::spawn(
                outbox::EnqueueMessages(writer.clone()),
                Limits {
                    linger: TOGETHER,
                    ..endless
                },
            ),
            replace: Batcher::spawn(
                outbox::ReplaceRows(writer),
                Limits {
                    linger: TOGETHER,
                    ..endless
                },
            ),
            published: Batcher::spawn(
                outbox::DeletePublished { database: db() },
                Limits {
                    linger: DELETED_TOGETHER,
                    rows: 1024,
                    lanes: 1,
                    ..endless
                },
            ),
            stages,
            database,
        };
        (commands, handed_over)
    }

    /// The stages whose work these commands write.
    pub fn stages(&self) -> &CommandStages {
        &self.stages
    }

    /// The pulses of the group commits.
    pub fn pulses(&self) -> Vec<Pulse> {
        vec![
            self.accept.pulse(),
            self.advance.pulse(),
            self.record.pulse(),
            self.claim.pulse(),
            self.start_operation.pulse(),
            self.record_operation.pulse(),
            self.claim_operation.pulse(),
            self.postpone_operation.pulse(),
            self.add_tokens.pulse(),
            self.postpone.pulse(),
            self.refuse.pulse(),
            self.enqueue.pulse(),
            self.replace.pulse(),
            self.published.pulse(),
        ]
    }

    /// The tasks of the group commits: each must run as long as the process does.
    pub fn vitals(&self) -> Vec<Vital> {
        vec![
            self.accept.vital(),
            self.advance.vital(),
            self.record.vital(),
            self.claim.vital(),
            self.start_operation.vital(),
            self.record_operation.vital(),
            self.claim_operation.vital(),
            self.postpone_operation.vital(),
            self.add_tokens.vital(),
            self.refuse.vital(),
            self.postpone.vital(),
            self.enqueue.vital(),
            self.replace.vital(),
            self.published.vital(),
        ]
    }

    /// An id for a payment that is about to be accepted.
    pub async fn next_payment_id(&self) -> Result<PaymentId, StoreError> {
        self.ids.next().await
    }

    /// Writes a new payment, its history and, if it has a card, the outbox row for its first try.
    pub async fn accept(&self, payment: NewPayment) -> Result<AcceptOutcome, StoreError> {
        self.accept.submit(payment).await
    }

    /// Moves a payment for its client, if the domain allows it.
    pub async fn advance(&self, advance: Advance) -> Result<Advanced, StoreError> {
        self.advance.submit(advance).await
    }

    /// Moves a payment by its processor's answer. Waits for the database as long as it takes: the answer must not be
    /// dropped.
    pub async fn record(&self, advance: Advance) -> Result<Advanced, StoreError> {
        let recorded = self.record.submit_patiently(advance);
        let record = &self.stages.record;
        record
            .watch_unless(StoreError::is_of_the_rows, recorded)
            .await
    }

    /// Claims a try for a worker.
    pub async fn claim(&self, work: WorkMessage) -> Result<Claim, StoreError> {
        self.claim.submit_patiently(work).await
    }

    /// Puts a try into the outbox to wait for its turn.
    pub async fn postpone(&self, postpone: Postpone) -> Result<Postponed, StoreError> {
        self.postpone.submit_patiently(postpone).await
    }

    /// Starts a capture, void or refund.
    pub async fn start_operation(
        &self,
        operation: NewOperation,
    ) -> Result<StartOutcome, StoreError> {
        self.start_operation.submit(operation).await
    }

    /// Claims a try of an operation for a worker.
    pub async fn claim_operation(&self, work: OperationWork) -> Result<OperationClaim, StoreError> {
        self.claim_operation.submit_patiently(work).await
    }

    /// Moves an operation, and with its end the payment, by its processor's answer. Waits for the database as long as it
    /// takes: the answer must not be dropped.
    pub async fn record_operation(
        &self,
        answered: OperationAnswered,
    ) -> Result<OperationRecorded, StoreError> {
        let recorded = self.record_operation.submit_patiently(answered);
        let record = &self.stages.record;
        record
            .watch_unless(StoreError::is_of_the_rows, recorded)
            .await
    }

    /// Puts a try of an operation into the outbox to wait for its turn; returns whether the database has the operation.
    pub async fn postpone_operation(
        &self,
        postpone: PostponeOperation,
    ) -> Result<bool, StoreError> {
        self.postpone_operation.submit_patiently(postpone).await
    }

    /// Dispatches tries of operations, and of payments that are captured later, again whose message seems lost; returns
    /// the rows to publish.
    pub async fn dispatch_forgotten_operations(
        &self,
        overdue: Duration,
        limit: u32,
    ) -> Result<Taken, StoreError> {
        operations::rescue::dispatch_forgotten(&self.database, self.leases, overdue, limit).await
    }

    /// Asks the processor now whether the shopper has approved an attempt. `late`: they did, after it was closed.
    pub async fn shopper_returned(
        &self,
        of: (PaymentId, u32),
        late: bool,
    ) -> Result<(), StoreError> {
        let event = EventId(Uuid::now_v7());
        let (database, leases) = (&self.database, self.leases);
        let messages = operations::rescue::shopper_returned(database, leases, of, (late, event));
        self.hand_over.messages(messages.await?);
        Ok(())
    }

    /// Asks the processor now what became of a refund, if its platform has another state of it than this service.
    pub async fn refund_changed(
        &self,
        refund: (PaymentId, OperationId),
        there: &RefundState,
    ) -> Result<Hinted, StoreError> {
        let (database, leases) = (&self.database, self.leases);
        let (hinted, messages) = hinted::refund_changed(database, leases, refund, there).await?;
        self.hand_over.messages(messages);
        Ok(hinted)
    }

    /// Notes a dispute that a platform has reported.
    pub async fn disputed(
        &self,
        processor: &str,
        there: &DisputeThere,
    ) -> Result<Hinted, StoreError> {
        let (database, leases) = (&self.database, self.leases);
        let noting = operations::disputes::disputed(database, leases, processor, there);
        let (hinted, noted, messages) = noting.await?;
        self.hand_over.messages(messages);
        for kind in noted {
            metrics::counter!(metric::DISPUTES, "event" => kind.as_str()).increment(1);
        }
        Ok(hinted)
    }

    /// Starts a void for up to `limit` payments whose authorization has expired; returns how many were found.
    pub async fn void_expired(&self, limit: u32) -> Result<usize, StoreError> {
        let expired = operations::rescue::expired(&self.database, limit).await?;
        let found = expired.len();
        let voids = expired.into_iter().map(|payment| {
            let void = NewOperation::of_expired(payment);
            self.start_operation.submit_patiently(void)
        });
        for outcome in join_all(voids).await {
            outcome?;
        }
        Ok(found)
    }

    /// Puts the messages about a refused request into the outbox.
    pub async fn refuse(&self, refused: Refused) -> Result<(), StoreError> {
        self.refuse.submit_patiently(refused).await
    }

    /// Puts a message without a payment into the outbox.
    pub async fn enqueue(&self, message: Message) -> Result<(), StoreError> {
        self.enqueue.submit_patiently(message).await
    }

    /// Replaces an outbox row that cannot be published by a dead letter.
    pub async fn replace(&self, row: OutboxId, publication: Publication) -> Result<(), StoreError> {
        let letter = OutboxId(Uuid::now_v7());
        self.replace
            .submit_patiently(outbox::Replacement {
                row,
                letter,
                publication,
            })
            .await
    }

    /// Deletes a published outbox row.
    pub async fn published(&self, row: OutboxId) -> Result<(), StoreError> {
        self.published.submit_patiently(row).await
    }

    /// Takes up to `limit` due outbox rows for this process, for one lease.
    pub async fn sweep(&self, lane: Lane, limit: u32) -> Result<Taken, StoreError> {
        outbox::sweep(&self.database, self.leases, lane, limit).await
    }

    /// Dispatches up to `limit` payments again whose message seems lost and whose check is overdue by at least the given
    /// time; returns the rows to publish.
    pub async fn dispatch_forgotten(
        &self,
        overdue: Duration,
        limit: u32,
    ) -> Result<Taken, StoreError> {
        outbox::dispatch_forgotten(&self.database, self.leases, overdue, limit).await
    }

    /// Sets unusable rows aside.
    pub async fn quarantine(&self, rows: &[SetAside]) -> Result<(), StoreError> {
        outbox::quarantine(&self.database, rows).await
    }

    /// Makes outbox rows due that an operator has released by removing their mark; returns how many.
    pub async fn release_outbox(&self) -> Result<u64, StoreError> {
        outbox::release(&self.database).await
    }

    /// Stores a card token.
    pub async fn add_token(&self, token: NewToken) -> Result<CardToken, StoreError> {
        let added = self.add_tokens.submit(token);
        let accept = &self.stages.accept;
        accept.watch_unless(StoreError::is_of_the_rows, added).await
    }

    /// Erases the cards of up to [`tokens::ERASED_AT_ONCE`] expired tokens; returns how many.
    pub async fn erase_expired_tokens(&self) -> Result<u64, StoreError> {
        tokens::erase_expired(&self.database).await
    }
}
