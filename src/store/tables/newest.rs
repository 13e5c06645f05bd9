//! What the operators' page reads while somebody watches: the newest payments, and the histories of those that it follows.
//! Each statement reads a bounded number of rows by an index.

use sqlx::FromRow;
use time::PrimitiveDateTime;

use super::payments::payment_ids;
use crate::domain::{ClientName, EventKind, PaymentId, PaymentStatus, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::records::utc;
use crate::store::{Store, StoreError};

/// (client, limit) → ids and times of the client's newest payments. Reads only the index of the lists.
const NEWEST_PAYMENTS: &str = "
SELECT id, created_at FROM payments /*! FORCE INDEX (payments_by_client) */
WHERE client = ? ORDER BY created_at DESC, id DESC LIMIT ?";

/// (limit) → payments of the newest operations, by the primary key, which is in the order of time
const NEWEST_OPERATIONS: &str = "SELECT payment_id FROM operations ORDER BY id DESC LIMIT ?";

/// (ids) → the histories of these payments
static HISTORIES: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "
SELECT payments.id, payments.client, COALESCE(payments.stage, payments.status) AS shown_status,
    payment_events.sequence, payment_events.kind, payment_events.happened_at
FROM payments FORCE INDEX (PRIMARY)
STRAIGHT_JOIN payment_events FORCE INDEX (PRIMARY) ON payment_events.payment_id = payments.id
WHERE payments.quarantined IS NULL AND payments.id IN (",
        ")",
    ),
    sqlite: Json(
        "
SELECT payments.id, payments.client, COALESCE(payments.stage, payments.status) AS shown_status,
    payment_events.sequence, payment_events.kind, payment_events.happened_at
FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'
CROSS JOIN payment_events ON payment_events.payment_id = payments.id
WHERE payments.quarantined IS NULL",
    ),
};

/// An event of a payment, and what the payment is now.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PaymentEvent {
    /// The payment.
    pub payment: PaymentId,
    /// Its client.
    pub client: String,
    /// Its current status.
    pub status: PaymentStatus,
    /// The number of the event within the payment's history.
    pub sequence: u32,
    /// What happened.
    pub kind: EventKind,
    /// When.
    pub at: Timestamp,
}

/// None if a later release has written a value that this one does not know.
struct EventRecord(Option<PaymentEvent>);

impl<'r, R: Columns> FromRow<'r, R> for EventRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let (status, kind) = (row.text("shown_status")?, row.text("kind")?);
        let known = PaymentStatus::parse(&status).zip(EventKind::parse(&kind));
        let sequence = u32::try_from(row.number("sequence")?).ok();
        let (payment, client) = (PaymentId(row.number("id")?), row.text("client")?);
        let at = utc(row.moment("happened_at")?);
        let event = known
            .zip(sequence)
            .map(|((status, kind), sequence)| PaymentEvent {
                payment,
                client,
                status,
                sequence,
                kind,
                at,
            });
        Ok(Self(event))
    }
}

impl Store {
    /// A client's newest payments with the times at which they were created, the newest first.
    pub async fn newest_payments(
        &self,
        client: &ClientName,
        limit: u32,
    ) -> Result<Vec<(PaymentId, Timestamp)>, StoreError> {
        let parameters = [client.as_str().into(), limit.into()];
        let found: Vec<(i64, PrimitiveDateTime)> = self.read(NEWEST_PAYMENTS, &parameters).await?;
        let found = found.into_iter();
        Ok(found.map(|(id, at)| (PaymentId(id), utc(at))).collect())
    }

    /// The payments of the newest captures, voids and refunds.
    pub async fn payments_of_newest_operations(
        &self,
        limit: u32,
    ) -> Result<Vec<PaymentId>, StoreError> {
        let found: Vec<(i64,)> = self.read(NEWEST_OPERATIONS, &[limit.into()]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    /// The histories of payments, in no order; of payments that are set aside, or do not exist, nothing.
    pub async fn histories(&self, ids: &[PaymentId]) -> Result<Vec<PaymentEvent>, StoreError> {
        let found: Vec<EventRecord> = self.read_many(&HISTORIES, payment_ids(ids)).await?;
        Ok(found.into_iter().filter_map(|record| record.0).collect())
    }
}
