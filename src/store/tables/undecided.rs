//! What the processors of `PROCESSORS_FILE` have not decided yet: attempts, and captures, voids and refunds. Each search reads at most
//! [`MOST_READ`] entries of the index by which the rescue finds them.

use sqlx::FromRow;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::payment_search::MOST_READ;
use super::{action_column, method_column};
use crate::domain::{MethodSummary, OperationId, OperationKind, PaymentId, Timestamp};
use crate::store::columns::Columns;
use crate::store::records::utc;
use crate::store::{Store, StoreError};

/// How many are returned at most, the oldest first.
const MOST: u32 = 1000;

/// (rows to read, limit) → attempts of payments that are kept apart, see the table `capture_schedule`: all with a platform's
/// method, and cards that are captured later.
const ATTEMPTS: &str = "
SELECT payments.id AS payment_id, payment_events.happened_at AS since, payments.method AS method,
    payments.action AS action, payments.attempt AS attempt
FROM (
    SELECT payment_id FROM capture_schedule WHERE check_at IS NOT NULL ORDER BY check_at LIMIT ?
) AS watched
JOIN payments ON payments.id = watched.payment_id
JOIN payment_events ON payment_events.payment_id = payments.id AND payment_events.kind = 'attempt_started'
    AND payment_events.attempt = payments.attempt
WHERE payments.stage = 'processing' AND payments.operation IS NULL AND payments.quarantined IS NULL
    AND (payments.method LIKE '%\"processor\":%' OR payments.method LIKE '% card % %'
        OR payments.action LIKE '%\"processor\":%')
ORDER BY payments.id LIMIT ?";

/// (rows to read, limit) → attempts with a card for which a route has chosen the processor
const CARDS: &str = "
SELECT payments.id AS payment_id, payment_events.happened_at AS since, payments.method AS method,
    payments.action AS action, payments.attempt AS attempt
FROM (
    SELECT id AS watched_id FROM payments WHERE check_at IS NOT NULL ORDER BY check_at LIMIT ?
) AS watched
JOIN payments ON payments.id = watched.watched_id
JOIN payment_events ON payment_events.payment_id = payments.id AND payment_events.kind = 'attempt_started'
    AND payment_events.attempt = payments.attempt
WHERE payments.status = 'processing' AND payments.operation IS NULL AND payments.quarantined IS NULL
    AND payments.method LIKE '% card % %'
ORDER BY payments.id LIMIT ?";

/// (rows to read, limit) → operations
const OPERATIONS: &str = "
SELECT operations.payment_id AS payment_id, operations.created_at AS since, payments.method AS method,
    payments.attempt AS attempt, operations.id AS operation, operations.kind AS kind
FROM (
    SELECT id AS watched_id FROM operations WHERE check_at IS NOT NULL ORDER BY check_at LIMIT ?
) AS watched
JOIN operations ON operations.id = watched.watched_id
JOIN payments ON payments.id = operations.payment_id
WHERE operations.status = 'pending' AND operations.quarantined IS NULL AND payments.quarantined IS NULL
    AND (payments.method LIKE '%\"processor\":%' OR payments.method LIKE '% card % %')
ORDER BY operations.id LIMIT ?";

/// An attempt or an operation that a processor has not decided.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Undecided {
    /// The payment.
    pub payment: PaymentId,
    /// Its capture, void or refund, if it is about one.
    pub operation: Option<(OperationId, OperationKind)>,
    /// The processor's name.
    pub processor: String,
    /// When the attempt or operation began.
    pub since: Timestamp,
}

struct AttemptRecord {
    payment_id: i64,
    since: PrimitiveDateTime,
    method: Option<String>,
    action: Option<String>,
    attempt: i64,
}

impl<'r, R: Columns> FromRow<'r, R> for AttemptRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            payment_id: row.number("payment_id")?,
            since: row.moment("since")?,
            method: row.text_or_null("method")?,
            action: row.text_or_null("action")?,
            attempt: row.number("attempt")?,
        })
    }
}

struct OperationRecord {
    payment_id: i64,
    since: PrimitiveDateTime,
    method: Option<String>,
    attempt: i64,
    operation: Uuid,
    kind: String,
}

impl<'r, R: Columns> FromRow<'r, R> for OperationRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            payment_id: row.number("payment_id")?,
            since: row.moment("since")?,
            method: row.text_or_null("method")?,
            attempt: row.number("attempt")?,
            operation: row.uuid("operation")?,
            kind: row.text("kind")?,
        })
    }
}

impl AttemptRecord {
    /// None for an attempt that no listed processor has.
    fn undecided(self) -> Option<Undecided> {
        // While an attempt is closed for another method, its own method is there.
        let action = action_column::read(self.action.as_deref()).ok().flatten();
        let replaced = action.and_then(|action| action.replaced);
        let processor = match &replaced {
            Some(closing) => MethodSummary::processor(closing).map(str::to_owned),
            None => method_column::processor(self.method.as_deref(), self.attempt),
        };
        Some(Undecided {
            payment: PaymentId(self.payment_id),
            operation: None,
            processor: processor?,
            since: utc(self.since),
        })
    }
}

impl OperationRecord {
    fn undecided(self) -> Option<Undecided> {
        let kind = OperationKind::parse(&self.kind)?;
        Some(Undecided {
            payment: PaymentId(self.payment_id),
            operation: Some((OperationId(self.operation), kind)),
            processor: method_column::processor(self.method.as_deref(), self.attempt)?,
            since: utc(self.since),
        })
    }
}

impl Store {
    /// Attempts that a processor has not decided, except those that wait for their shopper.
    pub async fn undecided_attempts(&self) -> Result<Vec<Undecided>, StoreError> {
        let parameters = [MOST_READ.into(), MOST.into()];
        let mut found: Vec<AttemptRecord> = self.read(ATTEMPTS, &parameters).await?;
        found.extend(self.read::<AttemptRecord>(CARDS, &parameters).await?);
        let found = found.into_iter();
        Ok(found.filter_map(AttemptRecord::undecided).collect())
    }

    /// Captures, voids and refunds that a processor has not decided, the oldest first.
    pub async fn undecided_operations(&self) -> Result<Vec<Undecided>, StoreError> {
        let parameters = [MOST_READ.into(), MOST.into()];
        let found: Vec<OperationRecord> = self.read(OPERATIONS, &parameters).await?;
        let found = found.into_iter();
        Ok(found.filter_map(OperationRecord::undecided).collect())
    }
}
