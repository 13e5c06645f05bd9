//! The rows as they are kept: the domain's payment plus what only this service needs to know of it.

use std::time::Duration;

use uuid::Uuid;

use crate::broker::Publication;
use crate::domain::{
    CardSummary, ClientName, Money, OrderId, Origin, Payment, PaymentId, PaymentStatus,
    PendingOutcome, Phase, Progress, Timestamp, UserId,
};
use crate::vault::SealedCard;

/// A payment with its inner state.
#[derive(Debug, Clone, PartialEq)]
pub struct StoredPayment {
    /// What its client may see.
    pub payment: Payment,
    /// The try that is under way or due; 0 before the first attempt.
    pub try_number: u32,
    /// What that try asks of the processor.
    pub phase: Phase,
    /// Some call of the current attempt has not answered.
    pub uncertain: bool,
    /// How the current attempt ends once its reversal is confirmed. Not shown to clients.
    pub pending: Option<PendingOutcome>,
    /// The card of the attempt under way; erased with its outcome.
    pub sealed_card: Option<SealedCard>,
    /// Until when a worker has it, by the database's clock.
    pub claimed_until: Option<Timestamp>,
    /// When the rescue looks at it; set exactly while it is processing.
    pub check_at: Option<Timestamp>,
    /// Under which key it was accepted.
    pub idempotency: Option<Idempotency>,
    /// Where its results go besides the topic.
    pub origin: Origin,
}

impl StoredPayment {
    /// After which row a list of payments goes on.
    pub(super) fn place_in_lists(&self) -> (Timestamp, PaymentId) {
        (self.payment.created_at, self.payment.id)
    }

    /// Where it stands, for [`crate::domain::next`].
    pub fn progress(&self) -> Progress {
        Progress {
            status: self.payment.status,
            attempt: self.payment.attempt,
            try_number: self.try_number,
            phase: self.phase,
            uncertain: self.uncertain,
            pending: self.pending.clone(),
        }
    }
}

/// How far ahead of now each kind of row is ever due. What is due later was written by a clock that has been set back
/// since.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Horizons {
    /// Outbox rows of [`crate::broker::Lane::Work`].
    pub work: Duration,
    /// Outbox rows of [`crate::broker::Lane::Results`].
    pub results: Duration,
    /// The next look at a payment that is processing.
    pub check: Duration,
    /// The expiry of a card token.
    pub token: Duration,
}

/// An idempotency key and what was asked under it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Idempotency {
    /// 1 to 255 visible ASCII characters, unique per client.
    pub key: String,
    /// HMAC-SHA-256 over the parsed request.
    pub fingerprint: [u8; 32],
}

/// The id of an outbox row: UUIDv7, so that rows lie in the order of their making.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct OutboxId(pub Uuid);

/// A message that is to be published when its time has come.
#[derive(Debug, Clone, PartialEq)]
pub struct OutboxRow {
    /// Its id.
    pub id: OutboxId,
    /// The payment that it is about; none for a refused message.
    pub payment: Option<PaymentId>,
    /// Not to be swept before this moment.
    pub due_at: Timestamp,
    /// What is published.
    pub publication: Publication,
}

/// `tok_` and 32 random characters.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub String);

/// A card that was handed in ahead of its payment.
#[derive(Debug, Clone, PartialEq)]
pub struct CardToken {
    /// Its id, which the client presents.
    pub id: TokenId,
    /// Only this client may use it.
    pub client: ClientName,
    /// What may be shown of the card.
    pub card: CardSummary,
    /// Erased when the token is used or has expired.
    pub sealed_card: Option<SealedCard>,
    /// By the database's clock.
    pub expires_at: Timestamp,
    /// The one payment that it served.
    pub used_by: Option<PaymentId>,
}

/// A charge or a reversal that the simulated issuer wants to note.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerLine {
    /// The processor's idempotency key, `{payment_id}-{attempt}`.
    pub key: String,
    /// The payment, for counting over all its keys.
    pub payment: PaymentId,
    /// How much, and in which currency.
    pub amount: Money,
}

/// What the simulated issuer's ledger says of one key.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct LedgerEntry {
    /// The processor's idempotency key.
    pub key: String,
    /// The payment.
    pub payment: PaymentId,
    /// When it was charged.
    pub charged_at: Option<Timestamp>,
    /// When it was reversed.
    pub reversed_at: Option<Timestamp>,
}

/// Which of a client's payments are listed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentFilter {
    /// Whose.
    pub client: ClientName,
    /// Of one order.
    pub order_id: Option<OrderId>,
    /// Of one shopper.
    pub user_id: Option<UserId>,
    /// In one status.
    pub status: Option<PaymentStatus>,
    /// Only payments older than this one (by `created_at`, then id).
    pub before: Option<(Timestamp, PaymentId)>,
    /// 1 to 101: one more than a page, to know whether another follows.
    pub limit: u32,
}
