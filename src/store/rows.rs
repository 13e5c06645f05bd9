//! The stored rows: the domain's payment plus its internal state.

use std::time::Duration;

use uuid::Uuid;

use serde::{Deserialize, Serialize};

use crate::broker::{Lane, Publication};
use crate::domain::{
    CancellationReason, CardSummary, ClientName, Currency, DeclineCode, MethodSummary, Money,
    Operation, OperationId, OperationKind, OperationPhase, OperationProgress, OrderId, Origin,
    Payment, PaymentId, PaymentStatus, PendingOutcome, Phase, Progress, Timestamp, UserId,
};
use crate::vault::SealedCard;

/// A payment with its internal state.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPayment {
    /// The part that its client may see.
    pub payment: Payment,
    /// The try that is under way or due; 0 before the first attempt.
    pub try_number: u32,
    /// What that try requests from the processor.
    pub phase: Phase,
    /// A call of the current attempt has not answered.
    pub uncertain: bool,
    /// How the current attempt ends once its reversal is confirmed. Not shown to clients.
    pub pending: Option<PendingOutcome>,
    /// It had been kept apart when it was read, see [`Self::is_apart`]: that lasts until it succeeds or is canceled.
    pub staged: bool,
    /// The card of the current attempt, or of the one that follows when the current one is closed; erased with the
    /// processor's first definite answer.
    pub sealed_card: Option<SealedCard>,
    /// Until when a worker has claimed it, by the database's clock.
    pub claimed_until: Option<Timestamp>,
    /// When the rescue checks it; set exactly while it is processing.
    pub check_at: Option<Timestamp>,
    /// The idempotency key of its request.
    pub idempotency: Option<Idempotency>,
    /// Where its results go in addition to the topic.
    pub origin: Origin,
}

impl StoredPayment {
    /// Its position in lists of payments.
    pub(super) fn place_in_lists(&self) -> (Timestamp, PaymentId) {
        (self.payment.created_at, self.payment.id)
    }

    /// Its progress, for [`crate::domain::next`].
    pub fn progress(&self) -> Progress {
        Progress {
            status: self.payment.status,
            attempt: self.payment.attempt,
            try_number: self.try_number,
            phase: self.phase,
            uncertain: self.uncertain,
            pending: self.pending.clone(),
            capture_method: self.payment.funds.capture_method,
            operation: self.payment.funds.operation,
        }
    }

    /// Whether a payment must be left alone by releases that capture every payment at once and know only cards: it is
    /// captured later, pays by another method, or needed its shopper.
    pub fn is_apart(&self) -> bool {
        let is_other = matches!(self.payment.method, Some(MethodSummary::Other(_)));
        self.staged || self.payment.funds.is_manual() || is_other || self.payment.action.is_some()
    }
}

/// A capture, void or refund with its internal state.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredOperation {
    /// The part that its client may see.
    pub operation: Operation,
    /// The try that is under way or due, from 1.
    pub try_number: u32,
    /// What that try requests from the processor.
    pub phase: OperationPhase,
    /// A call has not answered.
    pub uncertain: bool,
    /// While it is pending: why it fails unless it turns out to be carried out. Not shown to clients.
    pub pending_failure: Option<DeclineCode>,
    /// Why a void was requested.
    pub cancellation_reason: Option<CancellationReason>,
    /// Until when a worker has claimed it, by the database's clock.
    pub claimed_until: Option<Timestamp>,
    /// When the rescue checks it; set exactly while a call is under way or due.
    pub check_at: Option<Timestamp>,
    /// The idempotency key of its request.
    pub idempotency: Option<Idempotency>,
    /// Where its results go in addition to the topic.
    pub origin: Origin,
}

impl StoredOperation {
    /// Its progress, for [`crate::domain::next_operation`].
    pub fn progress(&self) -> OperationProgress {
        OperationProgress {
            status: self.operation.status,
            try_number: self.try_number,
            phase: self.phase,
            uncertain: self.uncertain,
            failure: self
                .pending_failure
                .clone()
                .or_else(|| self.operation.failure_code.clone()),
        }
    }
}

/// How far in the future each kind of row can be due. A row that is due later was written before the clock was set back.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    /// Outbox rows of [`crate::broker::Lane::Work`].
    pub work: Duration,
    /// Outbox rows of [`crate::broker::Lane::Results`].
    pub results: Duration,
    /// The next check of a payment that is processing.
    pub check: Duration,
    /// The expiry of a card token.
    pub token: Duration,
}

/// An idempotency key and the fingerprint of its request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// 1 to 255 visible ASCII characters, unique per client.
    pub key: String,
    /// HMAC-SHA-256 over the parsed request.
    pub fingerprint: [u8; 32],
}

/// The id of an outbox row: UUIDv7, so that rows are sorted by creation time.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub Uuid);

/// A message to publish when it is due.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Its id.
    pub id: OutboxId,
    /// The payment that it is about; none for a message without a payment.
    pub payment: Option<PaymentId>,
    /// Not swept before this time.
    pub due_at: Timestamp,
    /// What is stored of the message.
    pub content: Content,
}

/// What the outbox stores of a message.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(untagged)]
pub enum Content {
    /// A message of a payment, in a few words: the payment and its history hold the rest.
    Fact(Fact),
    /// The same about captures, voids and refunds, and about payments that are captured later: releases without these must
    /// not see it.
    LaterFact(LaterFact),
    /// The message itself: one without a payment, or one that an earlier release has written.
    Message(Publication),
}

/// A fact about a payment that is captured later, or about an operation.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "later", rename_all = "snake_case")]
pub enum LaterFact {
    /// The message of a fact about the payment itself.
    Payment {
        /// Which.
        about: Fact,
        /// The capture or void that it is the result of.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        operation: Option<OperationId>,
    },
    /// The work message of a try of an operation.
    Try {
        /// The operation.
        operation: OperationId,
        /// The try, from 1.
        #[serde(rename = "try")]
        try_number: u32,
        /// How often the try had to wait for its turn.
        #[serde(default, skip_serializing_if = "is_zero")]
        postponed: u32,
    },
    /// The result of a refund, for all subscribers.
    RefundResult {
        /// The refund.
        operation: OperationId,
        /// The number of its event in the payment's history.
        sequence: u32,
    },
    /// The same, for the queue that the client has named for its replies.
    RefundReply {
        /// The refund.
        operation: OperationId,
        /// The number of its event in the payment's history.
        sequence: u32,
    },
}

/// Which message of a payment is to be published.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "fact", rename_all = "snake_case")]
pub enum Fact {
    /// The work message of a try.
    Try {
        /// The attempt, from 1.
        attempt: u32,
        /// The try within the attempt, from 1.
        #[serde(rename = "try")]
        try_number: u32,
        /// How often the try had to wait for its turn.
        #[serde(default, skip_serializing_if = "is_zero")]
        postponed: u32,
    },
    /// An event, for all subscribers.
    Result {
        /// Its number in the payment's history.
        sequence: u32,
        /// The payment method of that moment: the payment may have another one by the time this is published.
        #[serde(flatten)]
        method: Option<MethodSummary>,
    },
    /// The same event, for the queue that the client has named for its replies.
    Reply {
        /// Its number in the payment's history.
        sequence: u32,
        /// The payment method of that moment.
        #[serde(flatten)]
        method: Option<MethodSummary>,
    },
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl Content {
    /// The column `lane`. Facts have lanes of their own, which releases without facts do not sweep.
    pub(super) fn lane(&self) -> &'static str {
        match self {
            Self::Fact(Fact::Try { .. }) => "try",
            Self::Fact(Fact::Result { .. }) => "result",
            Self::Fact(Fact::Reply { .. }) => "reply",
            Self::LaterFact(LaterFact::Payment {
                about: Fact::Try { .. },
                ..
            })
            | Self::LaterFact(LaterFact::Try { .. }) => "op-try",
            Self::LaterFact(LaterFact::Payment {
                about: Fact::Result { .. },
                ..
            })
            | Self::LaterFact(LaterFact::RefundResult { .. }) => "op-event",
            Self::LaterFact(LaterFact::Payment {
                about: Fact::Reply { .. },
                ..
            })
            | Self::LaterFact(LaterFact::RefundReply { .. }) => "op-reply",
            Self::Message(publication) => publication.lane().as_str(),
        }
    }

    /// The values of the column `lane` for everything that travels in a lane.
    pub(super) fn lanes(lane: Lane) -> [&'static str; 3] {
        let [of_facts, of_later_facts] = match lane {
            Lane::Work => ["try", "op-try"],
            Lane::Results => ["result", "op-event"],
            Lane::Replies => ["reply", "op-reply"],
        };
        [lane.as_str(), of_facts, of_later_facts]
    }
}

/// `tok_` and 32 random characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub String);

/// A card that was sent before its payment.
#[derive(Debug, Clone, PartialEq)]
pub struct CardToken {
    /// Its id, which the client presents.
    pub id: TokenId,
    /// Only this client may use it.
    pub client: ClientName,
    /// The parts of the card that may be shown.
    pub card: CardSummary,
    /// Erased when the token is used or has expired.
    pub sealed_card: Option<SealedCard>,
    /// When it expires, by the database's clock.
    pub expires_at: Timestamp,
    /// The payment that used it.
    pub used_by: Option<PaymentId>,
}

/// A page on which a shopper approves an attempt at the simulated issuer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerAction {
    /// In the address of the page: whoever knows it can act.
    pub secret: String,
    /// The processor's idempotency key of the attempt.
    pub key: String,
    /// The payment.
    pub payment: PaymentId,
    /// The amount, with its currency.
    pub amount: Money,
    /// It is only held until it is captured.
    pub held: bool,
    /// The token of the test card; none for a wallet.
    pub test_card: Option<String>,
    /// Where the page sends the shopper afterwards.
    pub return_to: String,
    /// How long the shopper can act.
    pub expires_at: Timestamp,
    /// `approved`, `expired`, or the code with which the attempt was declined.
    pub answer: Option<String>,
}

/// A charge or reversal for the simulated issuer's ledger.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// The processor's idempotency key, `{payment_id}-{attempt}`.
    pub key: String,
    /// The payment, for counting over all its keys.
    pub payment: PaymentId,
    /// The amount, with its currency.
    pub amount: Money,
    /// It is only held until it is captured.
    pub held: bool,
    /// The test card, if it decides what happens to later operations.
    pub test_card: Option<&'static str>,
}

/// An entry of the simulated issuer's ledger for one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The processor's idempotency key.
    pub key: String,
    /// The payment.
    pub payment: PaymentId,
    /// The amount in minor units.
    pub amount: i64,
    /// It is only held until it is captured.
    pub held: bool,
    /// The test card, if it decides what happens to later operations.
    pub test_card: Option<String>,
    /// When it was charged or held.
    pub charged_at: Option<Timestamp>,
    /// When it was reversed.
    pub reversed_at: Option<Timestamp>,
}

/// A capture, void or refund in the simulated issuer's ledger: carried out, or closed so that it never will be.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct IssuerOperation {
    /// The processor's idempotency key.
    pub key: String,
    /// The key of the authorization that it is about.
    pub authorization: String,
    /// The payment.
    pub payment: PaymentId,
    /// What it does.
    pub kind: OperationKind,
    /// The amount in minor units.
    pub amount: i64,
    /// The currency.
    pub currency: Currency,
    /// It was carried out; otherwise it never will be.
    pub executed: bool,
    /// A refund that was returned afterwards.
    pub returned: bool,
}

/// Which of a client's payments to list.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFilter {
    /// The client.
    pub client: ClientName,
    /// Only payments of this order.
    pub order_id: Option<OrderId>,
    /// Only payments of this shopper.
    pub user_id: Option<UserId>,
    /// Only payments with this status.
    pub status: Option<PaymentStatus>,
    /// Only payments older than this one (by `created_at`, then id).
    pub before: Option<(Timestamp, PaymentId)>,
    /// 1 to 101: one more than a page, to know whether another follows.
    pub limit: u32,
}

/// Which payments to search for, of every client or of one.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct PaymentSearch {
    /// Only payments of this client.
    pub client: Option<ClientName>,
    /// Only payments of this order.
    pub order_id: Option<OrderId>,
    /// Only payments of this shopper.
    pub user_id: Option<UserId>,
    /// Only payments with this status.
    pub status: Option<PaymentStatus>,
    /// Only payments after this place in the list; without a client only its id counts.
    pub before: Option<(Timestamp, PaymentId)>,
    /// How many at most.
    pub limit: u32,
}
