//! Table `outbox`.

use sqlx::FromRow;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::binary_ids;
use crate::broker::Lane;
use crate::domain::{PaymentId, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{Table, Tried, each, unreadable, utc};
use crate::store::rows::{Content, OutboxId, OutboxRow};
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{OutboxDepth, Store, StoreError, Transaction};

/// (payment id, the subject of its events as in a publication) → outbox rows. There is no index on the payment: it would
/// have to be written for every payment.
const OUTBOX_ABOUT: &str = "
SELECT * FROM outbox
WHERE payment_id = ? OR (payment_id IS NULL AND INSTR(publication, ?) > 0)
ORDER BY due_at LIMIT 100";

/// The same, but only of the newest rows.
const NEWEST_OUTBOX_ABOUT: &str = "
SELECT outbox.* FROM (SELECT id AS found_id FROM (
    SELECT id, payment_id, publication FROM outbox ORDER BY id DESC LIMIT 10000
) AS newest WHERE payment_id = ? OR (payment_id IS NULL AND INSTR(publication, ?) > 0) LIMIT 100) AS found
JOIN outbox ON outbox.id = found.found_id ORDER BY outbox.due_at";

/// (now) → all rows, rows that are due, rows that belong to a payment; then those that are set aside
const OUTBOX_DEPTH: &str = "
SELECT (SELECT COUNT(*) FROM outbox WHERE lane <> 'aside'),
    (SELECT COUNT(*) FROM outbox WHERE lane <> 'aside' AND due_at <= ?),
    (SELECT COUNT(payment_id) FROM outbox WHERE lane <> 'aside'),
    (SELECT COUNT(*) FROM outbox WHERE lane = 'aside')";

/// (reason, hexadecimal id). Moves the row out of the swept lanes, so that the sweep's index no longer contains it.
pub(super) const QUARANTINE_OUTBOX: &str =
    "UPDATE outbox SET quarantined = COALESCE(quarantined, ?), lane = 'aside' WHERE id = UNHEX(?)";

/// () → a row, if any was released. Locks nothing: usually there is none.
const OUTBOX_IS_RELEASED: &str =
    "SELECT id FROM outbox WHERE lane = 'aside' AND quarantined IS NULL LIMIT 1";

/// (now). It does not matter which sweep finds them: the message decides where it goes. A fact must not be found by a
/// release without facts.
const RELEASE_OUTBOX: &str = r#"
UPDATE outbox SET lane = CASE WHEN publication LIKE '{"fact"%' THEN 'try' WHEN publication LIKE '{"later"%' THEN 'op-try' ELSE 'work' END, due_at = ?
WHERE lane = 'aside' AND quarantined IS NULL"#;

/// (lane, now, three times) → the lanes in which anything is due. Locks nothing: usually there is nothing.
const OUTBOX_IS_DUE: &str = "
SELECT CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE lane = ? AND due_at <= ?) THEN 1 ELSE 0 END,
    CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE lane = ? AND due_at <= ?) THEN 1 ELSE 0 END,
    CASE WHEN EXISTS (SELECT 1 FROM outbox WHERE lane = ? AND due_at <= ?) THEN 1 ELSE 0 END";

/// (lane, time) → a row, if any is due later. Locks nothing: usually there is none.
pub(in crate::store) const OUTBOX_IS_AHEAD: &str =
    "SELECT 1 FROM outbox WHERE lane = ? AND due_at > ? LIMIT 1";

/// (now, lane, time)
pub(in crate::store) const BRING_OUTBOX_BACK: &str =
    "UPDATE outbox SET due_at = ? WHERE lane = ? AND due_at > ?";

/// (rows)
static INSERT_OUTBOX: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "INSERT INTO outbox (id, payment_id, due_at, publication, lane) VALUES ",
        "(?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE id = outbox.id",
    ),
    sqlite: Json(
        "
INSERT INTO outbox (
    id, payment_id, due_at, publication, lane
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows of id)
static DELETE_OUTBOX: Both<ManyRows> = Both {
    mysql: Json(
        "
DELETE outbox FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = UNHEX(given.id)",
    ),
    sqlite: Json(
        "
DELETE FROM outbox
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))",
    ),
};

/// (lane, now, limit) → outbox rows, locked; those locked by others are skipped
static LOCK_DUE_OUTBOX: Both<&str> = Both {
    mysql: "
SELECT * FROM outbox FORCE INDEX (outbox_due)
WHERE lane = ? AND due_at <= ? ORDER BY due_at, id LIMIT ?
FOR UPDATE SKIP LOCKED",
    sqlite: "
SELECT * FROM outbox WHERE lane = ?1 AND due_at <= ?2 ORDER BY due_at, id LIMIT ?3",
};

/// (limit) → outbox rows with facts, locked
static LOCK_FACTS: Both<&str> = Both {
    mysql: "
SELECT * FROM outbox WHERE lane IN ('try', 'result', 'reply', 'op-try', 'op-event', 'op-reply') ORDER BY id LIMIT ? FOR UPDATE",
    sqlite: "
SELECT * FROM outbox WHERE lane IN ('try', 'result', 'reply', 'op-try', 'op-event', 'op-reply') ORDER BY id LIMIT ?1",
};

/// (rows of id, due time)
static POSTPONE_OUTBOX: Both<ManyRows> = Both {
    mysql: Json(
        "
UPDATE JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN outbox FORCE INDEX (PRIMARY) ON outbox.id = UNHEX(given.id)
SET outbox.due_at = ?",
    ),
    sqlite: Json(
        "
UPDATE outbox SET due_at = ?2
WHERE id IN (SELECT unhex(value ->> '$[0]') FROM json_each(?1))",
    ),
};

/// A row of table `outbox`.
pub(in crate::store) struct OutboxRecord {
    id: Uuid,
    payment_id: Option<i64>,
    due_at: PrimitiveDateTime,
    publication: String,
}

impl<'r, R: Columns> FromRow<'r, R> for OutboxRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.uuid("id")?,
            payment_id: row.number_or_null("payment_id")?,
            due_at: row.moment("due_at")?,
            publication: row.text("publication")?,
        })
    }
}

impl Table for OutboxRecord {
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Outbox(OutboxId(row.uuid("id")?)))
    }

    fn mark<R: Columns>(row: &R) -> Result<Option<String>, sqlx::Error> {
        row.text_or_null("quarantined")
    }
}

impl TryFrom<OutboxRecord> for OutboxRow {
    type Error = StoreError;

    fn try_from(record: OutboxRecord) -> Result<Self, StoreError> {
        Ok(Self {
            id: OutboxId(record.id),
            payment: record.payment_id.map(PaymentId),
            due_at: utc(record.due_at),
            content: serde_json::from_str(&record.publication)
                .map_err(|_| StoreError::Corrupt(unreadable("publication")))?,
        })
    }
}

/// Outbox rows in the order of the columns of table `outbox`.
fn outbox_rows(rows: &[OutboxRow]) -> Result<Vec<Row<'_>>, StoreError> {
    rows.iter().map(outbox_row).collect()
}

fn outbox_row(row: &OutboxRow) -> Result<Row<'_>, StoreError> {
    Ok(vec![
        SqlValue::bytes(row.id.0.as_bytes()),
        row.payment.map(|id| id.0).into(),
        row.due_at.into(),
        SqlValue::json(&row.content)?,
        row.content.lane().into(),
    ])
}

/// Outbox ids, sorted.
fn outbox_ids(ids: &[OutboxId]) -> Vec<Row<'_>> {
    binary_ids(ids.iter().map(|id| id.0.as_bytes().as_slice()))
}

impl Transaction {
    /// Adds to the outbox.
    pub async fn insert_outbox(&mut self, rows: &[OutboxRow]) -> Result<(), StoreError> {
        self.write(
            self.connection.choose(&INSERT_OUTBOX),
            outbox_rows(rows)?,
            &[],
        )
        .await
    }

    /// Deletes published rows, in the order of their ids; missing ones are ignored.
    pub async fn delete_outbox(&mut self, ids: &[OutboxId]) -> Result<(), StoreError> {
        self.write(self.connection.choose(&DELETE_OUTBOX), outbox_ids(ids), &[])
            .await
    }

    /// Locks up to `limit` messages and as many facts of a lane with `due_at <= now`, each oldest first, skipping rows that
    /// another sweeper has locked.
    pub async fn lock_due_outbox(
        &mut self,
        lane: Lane,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        let lanes = Content::lanes(lane);
        let parameters = lanes.map(|lane| [lane.into(), now.into()]);
        let due: Vec<(i64, i64, i64)> = self
            .connection
            .fetch(OUTBOX_IS_DUE, &parameters.concat())
            .await?;
        let (messages, facts, later_facts) = due.into_iter().next().unwrap_or_default();
        let mut found: Vec<Tried<OutboxRecord>> = Vec::new();
        for (lane, is_due) in lanes.into_iter().zip([messages, facts, later_facts]) {
            if is_due == 0 {
                continue;
            }
            let parameters = [lane.into(), now.into(), limit.into()];
            let sql = *self.connection.choose(&LOCK_DUE_OUTBOX);
            let rows: Vec<Tried<OutboxRecord>> = self.connection.fetch(sql, &parameters).await?;
            found.extend(rows);
        }
        Ok(each(found, &mut self.left_out))
    }

    /// Locks up to `limit` rows that hold facts, due or not, by id.
    pub async fn lock_facts(&mut self, limit: u32) -> Result<Vec<OutboxRow>, StoreError> {
        let sql = *self.connection.choose(&LOCK_FACTS);
        let found: Vec<Tried<OutboxRecord>> = self.connection.fetch(sql, &[limit.into()]).await?;
        Ok(each(found, &mut self.left_out))
    }

    /// Moves locked outbox rows to a later due time.
    pub async fn postpone_outbox(
        &mut self,
        ids: &[OutboxId],
        due_at: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = outbox_ids(ids);
        self.write(
            self.connection.choose(&POSTPONE_OUTBOX),
            rows,
            &[due_at.into()],
        )
        .await
    }

    /// Makes outbox rows due that an operator has released by removing their mark; returns how many.
    pub async fn release_outbox(&mut self, now: Timestamp) -> Result<u64, StoreError> {
        let released: Vec<(Uuid,)> = self.connection.fetch(OUTBOX_IS_RELEASED, &[]).await?;
        if released.is_empty() {
            return Ok(0);
        }
        self.connection.execute(RELEASE_OUTBOX, &[now.into()]).await
    }
}

impl Store {
    /// The outbox rows of a payment: tries, results, replies and callbacks, by due time, at most 100. Reads the whole
    /// outbox, so it is for operators, not for processing payments.
    pub async fn outbox_about(&self, id: PaymentId) -> Result<Vec<OutboxRow>, StoreError> {
        self.outbox_of(OUTBOX_ABOUT, id).await
    }

    /// The same among the 10,000 newest rows, so that it can be called often.
    pub async fn newest_outbox_about(&self, id: PaymentId) -> Result<Vec<OutboxRow>, StoreError> {
        self.outbox_of(NEWEST_OUTBOX_ABOUT, id).await
    }

    async fn outbox_of(
        &self,
        sql: &'static str,
        id: PaymentId,
    ) -> Result<Vec<OutboxRow>, StoreError> {
        // In the publication, the event's JSON is a text, so its quotes are escaped.
        let subject = format!("payments/{id}\\\"");
        let parameters = [id.0.into(), subject.into()];
        let found: Vec<Tried<OutboxRecord>> = self.read(sql, &parameters).await?;
        let mut left_out = Vec::new();
        let rows = each(found, &mut left_out);
        left_out.iter().for_each(SetAside::report);
        Ok(rows)
    }

    /// Counts the rows in the outbox, and how many of them are due.
    pub async fn outbox_depth(&self) -> Result<OutboxDepth, StoreError> {
        let mut connection = self.0.engine.reader().await?;
        let now = connection.now().await?;
        let counts: Vec<(i64, i64, i64, i64)> =
            connection.fetch(OUTBOX_DEPTH, &[now.into()]).await?;
        let (total, due, of_payments, quarantined) = counts.into_iter().next().unwrap_or_default();
        Ok(OutboxDepth {
            total: total.unsigned_abs(),
            due: due.unsigned_abs(),
            of_payments: of_payments.unsigned_abs(),
            quarantined: quarantined.unsigned_abs(),
        })
    }
}
