//! Table `capture_schedule`: when payments that are kept apart ([`StoredPayment::is_apart`]) are looked at again. Releases
//! without captures do not know it, so they leave these payments alone.

use super::sorted;
use crate::domain::{PaymentId, PaymentStatus, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::rows::StoredPayment;
use crate::store::sql_values::Row;
use crate::store::{StoreError, Transaction};

/// (now, limit) → ids of payments whose check is due. Locks nothing: usually there are none.
const DUE_CHECKS: &str =
    "SELECT payment_id FROM capture_schedule WHERE check_at <= ? ORDER BY check_at LIMIT ?";

/// (now, limit) → ids of payments whose authorization has expired. Locks nothing: usually there are none.
const EXPIRED: &str = "
SELECT payment_id FROM capture_schedule WHERE capture_before <= ? ORDER BY capture_before LIMIT ?";

/// (time) → a row, if any check is due later. Locks nothing: usually there is none.
pub(in crate::store) const CHECK_IS_AHEAD: &str =
    "SELECT 1 FROM capture_schedule WHERE check_at > ? LIMIT 1";

/// (now, time)
pub(in crate::store) const BRING_CHECK_BACK: &str =
    "UPDATE capture_schedule SET check_at = ? WHERE check_at > ?";

/// (now). Only for a process that knows that it is the only one.
pub(in crate::store) const CHECK_ALL: &str =
    "UPDATE capture_schedule SET check_at = ? WHERE check_at IS NOT NULL";

/// (rows of payment, check, expiry): of payments that exist
static SCHEDULE: Both<ManyRows> = Both {
    mysql: Json(
        "
INSERT INTO capture_schedule (payment_id, check_at, capture_before)
SELECT payments.id, given.check_at, given.capture_before FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id BIGINT PATH '$[0]' ERROR ON ERROR,
    check_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[1]' ERROR ON ERROR,
    capture_before VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[2]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payments FORCE INDEX (PRIMARY) ON payments.id = given.id
ON DUPLICATE KEY UPDATE check_at = given.check_at, capture_before = given.capture_before",
    ),
    sqlite: Json(
        "
INSERT INTO capture_schedule (payment_id, check_at, capture_before)
SELECT payments.id, value ->> '$[1]', value ->> '$[2]' FROM json_each(?1) AS given
CROSS JOIN payments ON payments.id = given.value ->> '$[0]' WHERE true
ON CONFLICT (payment_id) DO UPDATE SET check_at = excluded.check_at, capture_before = excluded.capture_before",
    ),
};

/// (rows of payment)
static UNSCHEDULE: Both<ManyRows> = Both {
    mysql: Json(
        "
DELETE capture_schedule FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id BIGINT PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN capture_schedule FORCE INDEX (PRIMARY) ON capture_schedule.payment_id = given.id",
    ),
    sqlite: Json(
        "
DELETE FROM capture_schedule
WHERE payment_id IN (SELECT value ->> '$[0]' FROM json_each(?1))",
    ),
};

impl Transaction {
    /// Notes when payments that are kept apart are looked at again; the others are ignored.
    pub(super) async fn schedule_captures(
        &mut self,
        payments: &[StoredPayment],
    ) -> Result<(), StoreError> {
        let later = payments.iter().filter(|row| row.is_apart());
        let (over, open): (Vec<_>, Vec<_>) = later.partition(|row| is_over(row));
        if !open.is_empty() {
            let rows = sorted(open.into_iter().map(scheduled));
            let statement = self.connection.choose(&SCHEDULE);
            self.write(statement, rows, &[]).await?;
        }
        if !over.is_empty() {
            let rows = sorted(over.iter().map(|row| vec![row.payment.id.0.into()]));
            let statement = self.connection.choose(&UNSCHEDULE);
            self.write(statement, rows, &[]).await?;
        }
        Ok(())
    }

    /// Up to `limit` payments that are kept apart and whose check is due.
    pub async fn due_capture_checks(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentId>, StoreError> {
        self.scheduled(DUE_CHECKS, now, limit).await
    }

    /// Up to `limit` payments whose authorization has expired.
    pub async fn expired_authorizations(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentId>, StoreError> {
        self.scheduled(EXPIRED, now, limit).await
    }

    async fn scheduled(
        &mut self,
        sql: &'static str,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<PaymentId>, StoreError> {
        let found: Vec<(i64,)> = self
            .connection
            .fetch(sql, &[now.into(), limit.into()])
            .await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }
}

fn is_over(row: &StoredPayment) -> bool {
    matches!(
        row.payment.status,
        PaymentStatus::Succeeded | PaymentStatus::Canceled
    )
}

fn scheduled(row: &StoredPayment) -> Row<'static> {
    let is_authorized = row.payment.status == PaymentStatus::RequiresCapture;
    let expires_at = row.payment.funds.capture_before.filter(|_| is_authorized);
    vec![
        row.payment.id.0.into(),
        row.check_at.into(),
        expires_at.into(),
    ]
}
