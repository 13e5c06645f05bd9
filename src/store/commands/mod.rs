//! Everything that writes, as group commits. Each file is one command; each command is one transaction.

mod accept;
mod advance;
mod claim;
mod draft;
mod moves;
mod outbox;
mod tokens;

pub use accept::{AcceptOutcome, NewPayment};
pub use advance::{Advance, Advanced};
pub use claim::Claim;
pub use outbox::{Message, Refused};
pub use tokens::TokenFault;

use std::sync::Arc;
use std::time::Duration;

use uuid::Uuid;

use super::batch::{Batcher, Limits};
use super::ids::{IdSpace, PaymentIds};
use super::rows::{CardToken, OutboxId, OutboxRow};
use super::{Database, StoreError};
use crate::broker::{Lane, Publication};
use crate::card_seal::SealedCard;
use crate::domain::{CardSummary, EventId, PaymentId, Timestamp};
use crate::messages::work::WorkMessage;
use crate::pulse::Pulse;

/// How long a message that belongs to no payment waits for others, to be noted in one transaction with them.
const TOGETHER: Duration = Duration::from_millis(50);

/// How long a published row waits for others, to be deleted with them. Nobody waits for that; should the process die
/// meanwhile, they are published again.
const DELETED_TOGETHER: Duration = Duration::from_millis(50);

/// How long things take before someone else looks after them.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// A committed outbox row belongs to the process that wrote it; then any sweeper may publish it.
    pub outbox: Duration,
    /// A claimed payment belongs to its worker; longer than the processor's time-out.
    pub claim: Duration,
    /// A payment that is processing is looked at by the last net.
    pub check: Duration,
}

/// The writing half of the store.
#[derive(Clone)]
pub struct Commands {
    database: Arc<dyn Database>,
    ids: Arc<PaymentIds>,
    leases: Leases,
    accept: Batcher<accept::AcceptPayments>,
    advance: Batcher<advance::AdvancePayments>,
    record: Batcher<advance::AdvancePayments>,
    claim: Batcher<claim::ClaimPayments>,
    refuse: Batcher<outbox::RefuseRequests>,
    enqueue: Batcher<outbox::EnqueueMessages>,
    set_aside: Batcher<outbox::SetAside>,
    published: Batcher<outbox::DeletePublished>,
}

/// A card as it goes into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCard {
    /// What may be shown.
    pub summary: CardSummary,
    /// Sealed for its payment and attempt.
    pub sealed: SealedCard,
}

/// Ids for the rows that a command may write, drawn before it runs, so that running it again writes the same rows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct RowIds {
    /// History events.
    pub events: [EventId; 2],
    /// Outbox rows.
    pub outbox: [OutboxId; 2],
}

impl RowIds {
    /// Fresh UUIDv7s.
    pub fn draw() -> Self {
        let event = || EventId(Uuid::now_v7());
        let outbox = || OutboxId(Uuid::now_v7());
        Self {
            events: [event(), event()],
            outbox: [outbox(), outbox()],
        }
    }

    fn outbox_rows(
        &self,
        payment: Option<PaymentId>,
        due_at: Timestamp,
        publications: Vec<Publication>,
    ) -> Vec<OutboxRow> {
        self.outbox
            .iter()
            .zip(publications)
            .map(|(id, publication)| OutboxRow {
                id: *id,
                payment,
                due_at,
                publication,
            })
            .collect()
    }
}

impl Commands {
    /// Starts the group commits on a database.
    pub fn new(database: Arc<dyn Database>, space: IdSpace, leases: Leases) -> Self {
        let limits = Limits::default();
        // What a worker or the relay holds in hand cannot be answered with an error: it waits for the database.
        let endless = Limits {
            patience: None,
            ..limits
        };
        let db = || Arc::clone(&database);
        Self {
            ids: Arc::new(PaymentIds::new(db(), space)),
            leases,
            accept: Batcher::spawn(
                accept::AcceptPayments {
                    database: db(),
                    leases,
                },
                limits,
            ),
            advance: Batcher::spawn(
                advance::AdvancePayments {
                    database: db(),
                    leases,
                },
                limits,
            ),
            record: Batcher::spawn(
                advance::AdvancePayments {
                    database: db(),
                    leases,
                },
                endless,
            ),
            claim: Batcher::spawn(
                claim::ClaimPayments {
                    database: db(),
                    leases,
                },
                endless,
            ),
            refuse: Batcher::spawn(
                outbox::RefuseRequests {
                    database: db(),
                    leases,
                },
                endless,
            ),
            enqueue: Batcher::spawn(
                outbox::EnqueueMessages {
                    database: db(),
                    leases,
                },
                Limits {
                    linger: TOGETHER,
                    ..endless
                },
            ),
            set_aside: Batcher::spawn(
                outbox::SetAside {
                    database: db(),
                    leases,
                },
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
                    ..endless
                },
            ),
            database,
        }
    }

    /// Of the group commits.
    pub fn pulses(&self) -> Vec<Pulse> {
        vec![
            self.accept.pulse(),
            self.advance.pulse(),
            self.record.pulse(),
            self.claim.pulse(),
            self.refuse.pulse(),
            self.set_aside.pulse(),
            self.published.pulse(),
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

    /// Moves a payment by what its processor answered. Waits for the database as long as it takes: an answer in hand
    /// must not be dropped.
    pub async fn record(&self, advance: Advance) -> Result<Advanced, StoreError> {
        self.record.submit_patiently(advance).await
    }

    /// Takes a try for a worker.
    pub async fn claim(&self, work: WorkMessage) -> Result<Claim, StoreError> {
        self.claim.submit_patiently(work).await
    }

    /// Puts what says that a request was refused into the outbox.
    pub async fn refuse(&self, refused: Refused) -> Result<Vec<OutboxRow>, StoreError> {
        self.refuse.submit_patiently(refused).await
    }

    /// Puts a message of its own into the outbox.
    pub async fn enqueue(&self, message: Message) -> Result<OutboxRow, StoreError> {
        self.enqueue.submit_patiently(message).await
    }

    /// Replaces an outbox row that cannot be published by a dead letter.
    pub async fn set_aside(
        &self,
        row: OutboxId,
        publication: Publication,
    ) -> Result<OutboxRow, StoreError> {
        let letter = OutboxId(Uuid::now_v7());
        self.set_aside
            .submit_patiently(outbox::Replacement {
                row,
                letter,
                publication,
            })
            .await
    }

    /// Forgets a published outbox row.
    pub async fn published(&self, row: OutboxId) -> Result<(), StoreError> {
        self.published.submit_patiently(row).await
    }

    /// Takes up to `limit` due outbox rows for this process, for one lease.
    pub async fn sweep(&self, lane: Lane, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        outbox::sweep(self.database.as_ref(), self.leases, lane, limit).await
    }

    /// Dispatches again up to `limit` payments whose message seems lost; returns the rows to publish.
    pub async fn dispatch_forgotten(&self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        outbox::dispatch_forgotten(self.database.as_ref(), self.leases, limit).await
    }

    /// Keeps a card token.
    pub async fn add_token(
        &self,
        draft: impl FnOnce(Timestamp) -> CardToken + Send,
    ) -> Result<CardToken, StoreError> {
        tokens::add(self.database.as_ref(), draft).await
    }

    /// Erases the cards of expired tokens.
    pub async fn erase_expired_tokens(&self) -> Result<u64, StoreError> {
        tokens::erase_expired(self.database.as_ref()).await
    }
}
