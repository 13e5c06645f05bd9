//! Table `payment_events`.

use sqlx::FromRow;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::sorted;
use crate::domain::{Event, EventId, EventKind, PaymentId};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::records::{all, utc};
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{Store, StoreError, Transaction};

/// (payment id) → events
const EVENTS: &str = "SELECT * FROM payment_events WHERE payment_id = ? ORDER BY sequence";

/// (rows)
static INSERT_EVENTS: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO payment_events (id, payment_id, sequence, kind, happened_at, attempt, try_number, reason) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE sequence = IF(payment_events.id = VALUES(id), payment_events.sequence, NULL)",
    ),
    sqlite: Json("
INSERT INTO payment_events (
    id, payment_id, sequence, kind, happened_at, attempt, try_number, reason
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    value ->> '$[5]', value ->> '$[6]', value ->> '$[7]'
FROM json_each(?1) WHERE true
ON CONFLICT DO UPDATE SET sequence = iif(payment_events.id = excluded.id, payment_events.sequence, NULL)"),
};

/// (rows of payment id, id) → ids
static EXISTING_EVENTS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payment_events.id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    payment_id BIGINT PATH '$[0]' ERROR ON ERROR,
    id LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payment_events FORCE INDEX (PRIMARY)
    ON payment_events.payment_id = given.payment_id AND payment_events.id = UNHEX(given.id)",
    ),
    sqlite: Json(
        "
SELECT payment_events.id FROM json_each(?1) AS wanted
CROSS JOIN payment_events
    ON payment_events.payment_id = wanted.value ->> '$[0]'
    AND payment_events.id = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of payment id, sequence) → events
static READ_EVENTS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payment_events.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    payment_id BIGINT PATH '$[0]' ERROR ON ERROR,
    sequence BIGINT PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payment_events FORCE INDEX (PRIMARY)
    ON payment_events.payment_id = given.payment_id AND payment_events.sequence = given.sequence",
    ),
    sqlite: Json(
        "
SELECT payment_events.* FROM json_each(?1) AS wanted
CROSS JOIN payment_events
    ON payment_events.payment_id = wanted.value ->> '$[0]'
    AND payment_events.sequence = wanted.value ->> '$[1]'",
    ),
};

/// A row of table `payment_events`.
struct EventRecord {
    id: Uuid,
    payment_id: i64,
    sequence: i64,
    kind: String,
    happened_at: PrimitiveDateTime,
    attempt: i64,
    try_number: i64,
    reason: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for EventRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.uuid("id")?,
            payment_id: row.number("payment_id")?,
            sequence: row.number("sequence")?,
            kind: row.text("kind")?,
            happened_at: row.moment("happened_at")?,
            attempt: row.number("attempt")?,
            try_number: row.number("try_number")?,
            reason: row.text_or_null("reason")?,
        })
    }
}

impl TryFrom<EventRecord> for Event {
    type Error = StoreError;

    fn try_from(record: EventRecord) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(format!("event {}: {column}", record.id));
        Ok(Self {
            id: EventId(record.id),
            payment: PaymentId(record.payment_id),
            sequence: u32::try_from(record.sequence).map_err(|_| broken("sequence"))?,
            kind: EventKind::parse(&record.kind).ok_or_else(|| broken("kind"))?,
            at: utc(record.happened_at),
            attempt: u32::try_from(record.attempt).map_err(|_| broken("attempt"))?,
            try_number: u32::try_from(record.try_number).map_err(|_| broken("try_number"))?,
            reason: record.reason,
        })
    }
}

/// Events in the order of the columns of table `payment_events`.
fn event_rows(events: &[Event]) -> Vec<Row<'_>> {
    events.iter().map(event).collect()
}

fn event(event: &Event) -> Row<'_> {
    vec![
        SqlValue::bytes(event.id.0.as_bytes()),
        event.payment.0.into(),
        event.sequence.into(),
        event.kind.as_str().into(),
        event.at.into(),
        event.attempt.into(),
        event.try_number.into(),
        event.reason.as_deref().into(),
    ]
}

/// Event ids with the payments that they are about, sorted.
fn event_ids(events: &[(PaymentId, EventId)]) -> Vec<Row<'_>> {
    let rows = events.iter();
    sorted(rows.map(|(payment, id)| vec![payment.0.into(), SqlValue::bytes(id.0.as_bytes())]))
}

/// Numbers of events in the histories of payments, sorted.
fn event_numbers(events: &[(PaymentId, u32)]) -> Vec<Row<'static>> {
    let rows = events.iter();
    sorted(rows.map(|(payment, sequence)| vec![payment.0.into(), (*sequence).into()]))
}

impl Transaction {
    /// Appends to histories.
    pub async fn insert_events(&mut self, events: &[Event]) -> Result<(), StoreError> {
        self.write(
            self.connection.choose(&INSERT_EVENTS),
            event_rows(events),
            &[],
        )
        .await
    }

    /// Those of the given events that are in their payment's history.
    pub async fn existing_events(
        &mut self,
        events: &[(PaymentId, EventId)],
    ) -> Result<Vec<EventId>, StoreError> {
        let found: Vec<(Uuid,)> = self
            .look_up(
                self.connection.choose(&EXISTING_EVENTS),
                event_ids(events),
                &[],
            )
            .await?;
        Ok(found.into_iter().map(|(id,)| EventId(id)).collect())
    }

    /// Those of the given events, by payment and sequence, that exist and can be read.
    pub async fn read_events(
        &mut self,
        events: &[(PaymentId, u32)],
    ) -> Result<Vec<Event>, StoreError> {
        let numbers = event_numbers(events);
        let found = self.look_up::<EventRecord>(self.connection.choose(&READ_EVENTS), numbers, &[]);
        // The events of another row must not suffer: one that cannot be read is missing.
        let read = found.await?.into_iter().map(TryInto::try_into);
        Ok(read.filter_map(Result::ok).collect())
    }
}

impl Store {
    /// Those of the given events, by payment and sequence, that exist and can be read; without a transaction.
    pub async fn events_at(&self, events: &[(PaymentId, u32)]) -> Result<Vec<Event>, StoreError> {
        let found = self.read_many::<EventRecord>(&READ_EVENTS, event_numbers(events));
        let read = found.await?.into_iter().map(TryInto::try_into);
        Ok(read.filter_map(Result::ok).collect())
    }

    /// A payment's history, by sequence.
    pub async fn events(&self, id: PaymentId) -> Result<Vec<Event>, StoreError> {
        let parameters = [id.0.into()];
        all(self.read::<EventRecord>(EVENTS, &parameters).await?)
    }
}
