//! Table `payments`.

use std::collections::BTreeMap;
use std::sync::PoisonError;

use sqlx::FromRow;
use time::PrimitiveDateTime;
use time::macros::datetime;

use super::card_columns::{CardRecord, card};
use super::{action_column, capture_schedule, method_column, operations, sorted};
use crate::domain::{
    Action, ActionState, CancellationReason, CaptureMethod, ClientName, Currency, DeclineCode,
    Dispute, Funds, Money, OperationKind, OrderId, Payment, PaymentId, PaymentStatus,
    PendingOutcome, Phase, ReturnUrl, Timestamp, UserId,
};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::engine::Engine;
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{About, Table, Tried, each, one, unreadable, utc};
use crate::store::rows::{Idempotency, PaymentFilter, StoredPayment};
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{Store, StoreError, Transaction};
use crate::vault::SealedCard;

/// If fewer payments than this end alike, they do not get a separate statement.
const FEW_ALIKE: usize = 8;

/// Later than every payment: the start of a list without a cursor.
pub(super) const END_OF_TIME: Timestamp = datetime!(9999-12-31 23:59:59.999999 UTC);

/// Stored as the claim of a payment in progress that no worker has claimed, so that a claim does not make the row grow. A row
/// that grows moves within its page, and a full page is split: the claim then costs MariaDB 14 µs instead of 4, and MySQL 14
/// instead of 8 ([ADR 026](../../../docs/adr/adr026-facts-and-groups.md)). Null, which a release before this one writes, means the same.
const UNCLAIMED: Timestamp = datetime!(2000-01-01 00:00 UTC);

/// Maximum number of rows remembered as reported.
const MOST_REPORTED: usize = 10_000;

/// (id) → payment
const PAYMENT: &str = "SELECT * FROM payments WHERE id = ?";

/// (client, hexadecimal key) → payment
const PAYMENT_BY_KEY: &str =
    "SELECT * FROM payments WHERE client = ? AND idempotency_key = UNHEX(?)";

/// Refused by a server that accepts no changes.
const CHANGE_NOTHING: &str = "UPDATE id_blocks SET next_id = next_id WHERE id < 0";

/// (client, latest `created_at` twice, id, limit) → payments. The row comparison is spelled out, with a plain bound before it,
/// because neither MySQL nor MariaDB reads an index by `(a, b) < (?, ?)`. The inner part reads only the index, which is named
/// (SQLite reads a comment) so that MariaDB begins at the bound: left alone it reads the client's newer payments as well.
const PAYMENTS_BY_CLIENT: &str = "
SELECT payments.* FROM (
    SELECT id AS found_id, created_at AS found_at FROM payments /*! FORCE INDEX (payments_by_client) */
    WHERE client = ? AND created_at <= ? AND (created_at < ? OR id < ?)
    ORDER BY created_at DESC, id DESC LIMIT ?
) AS found JOIN payments ON payments.id = found.found_id
ORDER BY found.found_at DESC, found.found_id DESC";

/// (client, status, latest `created_at` twice, id, limit; the same again; limit) → payments. The first part finds payments whose
/// status is in `status`, the second those that are kept apart, whose status is in `stage`.
const PAYMENTS_BY_STATUS: &str = "
SELECT payments.* FROM (
    SELECT id AS found_id, created_at AS found_at FROM (
        SELECT id, created_at FROM payments /*! FORCE INDEX (payments_by_status) */
        WHERE client = ? AND stage IS NULL AND status = ? AND created_at <= ? AND (created_at < ? OR id < ?)
        ORDER BY created_at DESC, id DESC LIMIT ?
    ) AS usual
    UNION ALL
    SELECT id, created_at FROM (
        SELECT id, created_at FROM payments /*! FORCE INDEX (payments_by_status) */
        WHERE client = ? AND stage = ? AND status = 'processing' AND created_at <= ? AND (created_at < ? OR id < ?)
        ORDER BY created_at DESC, id DESC LIMIT ?
    ) AS apart
) AS found JOIN payments ON payments.id = found.found_id
ORDER BY found.found_at DESC, found.found_id DESC LIMIT ?";

/// (client, user, latest `created_at` twice, id, status or null, limit) → payments
const PAYMENTS_BY_USER: &str = "
SELECT * FROM payments
WHERE client = ? AND user_id = ?
  AND created_at <= ? AND (created_at < ? OR id < ?) AND COALESCE(stage, status) = COALESCE(?, stage, status)
ORDER BY created_at DESC, id DESC LIMIT ?";

/// (client, status, user, latest `created_at` twice, id, limit; the same again; limit) → payments. No index is named: MySQL and
/// MariaDB read that of the shopper or that of the status, whichever has fewer rows in its range. A shopper with very many
/// payments, such as all guests of a shop, otherwise takes a third of a second to find a rare status. SQLite, which does not
/// count rows, uses [`PAYMENTS_BY_USER`].
const PAYMENTS_BY_USER_AND_STATUS: &str = "
SELECT payments.* FROM (
    SELECT id AS found_id, created_at AS found_at FROM (
        SELECT id, created_at FROM payments
        WHERE client = ? AND stage IS NULL AND status = ? AND user_id = ?
            AND created_at <= ? AND (created_at < ? OR id < ?)
        ORDER BY created_at DESC, id DESC LIMIT ?
    ) AS usual
    UNION ALL
    SELECT id, created_at FROM (
        SELECT id, created_at FROM payments
        WHERE client = ? AND stage = ? AND status = 'processing' AND user_id = ?
            AND created_at <= ? AND (created_at < ? OR id < ?)
        ORDER BY created_at DESC, id DESC LIMIT ?
    ) AS apart
) AS found JOIN payments ON payments.id = found.found_id
ORDER BY found.found_at DESC, found.found_id DESC LIMIT ?";

/// (client, order, user or null, latest `created_at` twice, id, status or null, limit) → payments
const PAYMENTS_BY_ORDER: &str = "
SELECT * FROM payments
WHERE client = ? AND order_id = ? AND user_id = COALESCE(?, user_id)
  AND created_at <= ? AND (created_at < ? OR id < ?) AND COALESCE(stage, status) = COALESCE(?, stage, status)
ORDER BY created_at DESC, id DESC LIMIT ?";

/// (client, earliest `created_at` twice, id after which the first ones begin, limit) → ids and times, the oldest first.
/// Reads only the index of the lists.
const PAYMENTS_SINCE: &str = "
SELECT id, created_at FROM payments
WHERE client = ? AND created_at >= ? AND (created_at > ? OR id > ?)
ORDER BY created_at, id LIMIT ?";

/// (limit) → ids of payments that are processing. Those whose attempt or try began last come first, unless a try is
/// delayed. Reads only the index of the rescue.
const PAYMENTS_IN_PROGRESS: &str =
    "SELECT id FROM payments WHERE check_at IS NOT NULL ORDER BY check_at DESC LIMIT ?";

/// (client) → the next client by name that has a payment, or null
const CLIENT_AFTER: &str = "SELECT MIN(client) FROM payments WHERE client > ?";

/// (reason, id). The first reason stays.
pub(super) const QUARANTINE_PAYMENT: &str =
    "UPDATE payments SET quarantined = COALESCE(quarantined, ?) WHERE id = ?";

/// (client twice) → a row, if other clients have payments. Two ranges of an index; `<>` would read all of it.
const OTHERS_THAN: &str = "
SELECT id FROM payments WHERE client < ? OR client > ? LIMIT 1";

/// (now, [`UNCLAIMED`], now)
const END_ALL_CLAIMS: &str = "
UPDATE payments
SET check_at = ?, claimed_until = CASE WHEN claimed_until > ? THEN ? ELSE claimed_until END
WHERE check_at IS NOT NULL";

/// (now, limit) → ids of payments without a try in the outbox. A result or a reply of an earlier moment that waits there
/// moves no payment. Locks nothing: usually there are none.
const FORGOTTEN_PAYMENTS: &str = "
SELECT id FROM payments
WHERE check_at <= ? AND quarantined IS NULL
    AND id NOT IN (SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane IN ('work', 'try'))
ORDER BY check_at LIMIT ?";

/// (time) → a row, if any payment is due for its check later. Locks nothing: usually there is none.
pub(in crate::store) const CHECK_IS_AHEAD: &str =
    "SELECT 1 FROM payments WHERE check_at > ? LIMIT 1";

/// (now, time)
pub(in crate::store) const BRING_CHECK_BACK: &str =
    "UPDATE payments SET check_at = ? WHERE check_at > ?";

/// (disputes, id)
const SET_DISPUTES: &str = "UPDATE payments SET disputes = ? WHERE id = ?";

/// (rows of client, key) → payments
static PAYMENTS_BY_KEYS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payments.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payments FORCE INDEX (payments_by_key)
    ON payments.client = given.client COLLATE ascii_bin
    AND payments.idempotency_key = UNHEX(given.idempotency_key)",
    ),
    sqlite: Json(
        "
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments
    ON payments.client = wanted.value ->> '$[0]'
    AND payments.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of client, key) → ids of payments; reads only an index
static PAYMENT_IDS_BY_KEYS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payments.id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN payments FORCE INDEX (payments_by_key)
    ON payments.client = given.client COLLATE ascii_bin
    AND payments.idempotency_key = UNHEX(given.idempotency_key)",
    ),
    sqlite: Json(
        "
SELECT payments.id FROM json_each(?1) AS wanted
CROSS JOIN payments
    ON payments.client = wanted.value ->> '$[0]'
    AND payments.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of client, key) → ids of payments, locked; reads only an index
static LOCK_PAYMENT_KEYS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payments.id FROM (SELECT given.client, given.idempotency_key FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN payments FORCE INDEX (payments_by_key)
    ON payments.client = wanted.client COLLATE ascii_bin
    AND payments.idempotency_key = UNHEX(wanted.idempotency_key)
LOCK IN SHARE MODE",
    ),
    sqlite: Json(
        "
SELECT payments.id FROM json_each(?1) AS wanted
CROSS JOIN payments
    ON payments.client = wanted.value ->> '$[0]'
    AND payments.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of id) → payments, locked
static LOCK_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT * FROM payments FORCE INDEX (PRIMARY) WHERE id IN (",
        ") ORDER BY id FOR UPDATE",
    ),
    sqlite: Json(
        "
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'",
    ),
};

/// (rows of id) → payments
static READ_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT * FROM payments FORCE INDEX (PRIMARY) WHERE id IN (",
        ") ORDER BY id",
    ),
    sqlite: Json(
        "
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'",
    ),
};

/// (rows)
static INSERT_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO payments (
    id, client, order_id, user_id, amount_minor, currency, status, decline_code, authorization_code,
    card_brand, card_last4, card_expiration, attempt, metadata, sequence, created_at, updated_at, try_number,
    phase, uncertain, sealed_card, claimed_until, check_at, idempotency_key, fingerprint, origin, return_url,
    method
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE id = payments.id",
    ),
    sqlite: Json("
INSERT INTO payments (
    id, client, order_id, user_id, amount_minor, currency, status, decline_code, authorization_code,
    card_brand, card_last4, card_expiration, attempt, metadata, sequence, created_at, updated_at, try_number,
    phase, uncertain, sealed_card, claimed_until, check_at, idempotency_key, fingerprint, origin,
    return_url, method
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    value ->> '$[5]', value ->> '$[6]', value ->> '$[7]', value ->> '$[8]', value ->> '$[9]',
    value ->> '$[10]', value ->> '$[11]', value ->> '$[12]', value ->> '$[13]', value ->> '$[14]',
    value ->> '$[15]', value ->> '$[16]', value ->> '$[17]', value ->> '$[18]', value ->> '$[19]',
    unhex(value ->> '$[20]'), value ->> '$[21]', value ->> '$[22]', unhex(value ->> '$[23]'),
    unhex(value ->> '$[24]'), value ->> '$[25]', value ->> '$[26]',
    value ->> '$[27]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING"),
};

/// (rows of id and the columns that can change): payments that exist
static UPDATE_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO payments (
    id, status, decline_code, authorization_code, card_brand, card_last4, card_expiration, attempt,
    sequence, updated_at, try_number, phase, uncertain, sealed_card, claimed_until, check_at, pending_code,
    method, client, order_id, user_id, amount_minor, currency, metadata, created_at, origin
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, '', 0, 0, 0, '', '', '2000-01-01', '')",
        "
ON DUPLICATE KEY UPDATE
    status = VALUES(status),
    decline_code = VALUES(decline_code),
    authorization_code = VALUES(authorization_code),
    card_brand = VALUES(card_brand),
    card_last4 = VALUES(card_last4),
    card_expiration = VALUES(card_expiration),
    attempt = VALUES(attempt),
    sequence = VALUES(sequence),
    updated_at = VALUES(updated_at),
    try_number = VALUES(try_number),
    phase = VALUES(phase),
    uncertain = VALUES(uncertain),
    sealed_card = VALUES(sealed_card),
    claimed_until = VALUES(claimed_until),
    check_at = VALUES(check_at),
    pending_code = VALUES(pending_code),
    method = VALUES(method)",
    ),
    sqlite: Json("
UPDATE payments SET
    status = value ->> '$[1]', decline_code = value ->> '$[2]', authorization_code = value ->> '$[3]',
    card_brand = value ->> '$[4]', card_last4 = value ->> '$[5]', card_expiration = value ->> '$[6]',
    attempt = value ->> '$[7]', sequence = value ->> '$[8]', updated_at = value ->> '$[9]',
    try_number = value ->> '$[10]', phase = value ->> '$[11]', uncertain = value ->> '$[12]',
    sealed_card = unhex(value ->> '$[13]'), claimed_until = value ->> '$[14]', check_at = value ->> '$[15]',
    pending_code = value ->> '$[16]', method = value ->> '$[17]'
FROM json_each(?1) WHERE payments.id = value ->> '$[0]'"),
};

/// (rows of id and authorization code; the other columns that an end changes): payments that end alike
static END_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::by_key([
        "
UPDATE payments FORCE INDEX (PRIMARY) SET
    status = ?, decline_code = ?, attempt = ?, sequence = ?, updated_at = ?, try_number = ?, phase = ?,
    uncertain = ?, pending_code = ?, sealed_card = NULL, claimed_until = NULL, check_at = NULL,
    authorization_code = ELT(FIELD(id, ",
        "), ",
        ") WHERE id IN (",
        ")",
    ]),
    sqlite: Json("
UPDATE payments SET
    status = ?2, decline_code = ?3, attempt = ?4, sequence = ?5, updated_at = ?6, try_number = ?7, phase = ?8,
    uncertain = ?9, pending_code = ?10, sealed_card = NULL, claimed_until = NULL, check_at = NULL,
    authorization_code = value ->> '$[1]'
FROM json_each(?1) WHERE payments.id = value ->> '$[0]'"),
};

/// (rows of id and the columns about captures, refunds and actions)
static SET_FUNDS: Both<ManyRows> = Both {
    mysql: Json(
        "
UPDATE (SELECT given.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id BIGINT PATH '$[0]' ERROR ON ERROR,
    capture_method VARCHAR(10) CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR,
    stage VARCHAR(33) CHARACTER SET ascii PATH '$[2]' ERROR ON ERROR,
    operation VARCHAR(17) CHARACTER SET ascii PATH '$[3]' ERROR ON ERROR,
    captured_minor BIGINT PATH '$[4]' ERROR ON ERROR,
    refunded_minor BIGINT PATH '$[5]' ERROR ON ERROR,
    reserved_minor BIGINT PATH '$[6]' ERROR ON ERROR,
    capture_before VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[7]' ERROR ON ERROR,
    cancellation_reason VARCHAR(65) CHARACTER SET ascii PATH '$[8]' ERROR ON ERROR,
    action LONGTEXT CHARACTER SET utf8mb4 PATH '$[9]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN payments FORCE INDEX (PRIMARY) ON payments.id = wanted.id
SET payments.capture_method = wanted.capture_method, payments.stage = wanted.stage,
    payments.operation = wanted.operation, payments.captured_minor = wanted.captured_minor,
    payments.refunded_minor = wanted.refunded_minor, payments.reserved_minor = wanted.reserved_minor,
    payments.capture_before = wanted.capture_before, payments.cancellation_reason = wanted.cancellation_reason,
    payments.action = wanted.action",
    ),
    sqlite: Json("
UPDATE payments SET
    capture_method = value ->> '$[1]', stage = value ->> '$[2]', operation = value ->> '$[3]',
    captured_minor = value ->> '$[4]', refunded_minor = value ->> '$[5]', reserved_minor = value ->> '$[6]',
    capture_before = value ->> '$[7]', cancellation_reason = value ->> '$[8]',
    action = value ->> '$[9]'
FROM json_each(?1) WHERE payments.id = value ->> '$[0]'"),
};

/// (rows of id, until)
static CLAIM_PAYMENTS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "UPDATE payments FORCE INDEX (PRIMARY) SET claimed_until = ? WHERE id IN (",
        ")",
    ),
    sqlite: Json(
        "
UPDATE payments SET claimed_until = ?2
WHERE id IN (SELECT value ->> '$[0]' FROM json_each(?1))",
    ),
};

/// (rows of id, now) → payments that are still forgotten, locked; those locked by others are skipped
static LOCK_FORGOTTEN_PAYMENTS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT payments.* FROM (SELECT given.id AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id BIGINT PATH '$[0]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN payments FORCE INDEX (PRIMARY) ON payments.id = wanted.id
WHERE payments.check_at <= ? AND payments.quarantined IS NULL AND payments.id NOT IN (
    SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane IN ('work', 'try'))
FOR UPDATE SKIP LOCKED",
    ),
    sqlite: Json(
        "
SELECT payments.* FROM json_each(?1) AS wanted
CROSS JOIN payments ON payments.id = wanted.value ->> '$[0]'
WHERE payments.check_at <= ?2 AND payments.quarantined IS NULL AND payments.id NOT IN (
    SELECT payment_id FROM outbox WHERE payment_id IS NOT NULL AND lane IN ('work', 'try'))",
    ),
};

/// A row of table `payments`.
pub(in crate::store) struct PaymentRecord {
    id: i64,
    client: String,
    order_id: i64,
    user_id: i64,
    amount_minor: i64,
    currency: String,
    status: String,
    decline_code: Option<String>,
    authorization_code: Option<String>,
    card: CardRecord,
    attempt: i64,
    metadata: String,
    sequence: i64,
    created_at: PrimitiveDateTime,
    updated_at: PrimitiveDateTime,
    try_number: i64,
    phase: String,
    uncertain: bool,
    sealed_card: Option<Vec<u8>>,
    claimed_until: Option<PrimitiveDateTime>,
    check_at: Option<PrimitiveDateTime>,
    pending_code: Option<String>,
    idempotency_key: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
    origin: String,
    return_url: Option<String>,
    disputes: Option<String>,
    method: Option<String>,
    action: Option<String>,
    funds: FundsRecord,
}

/// The columns about captures and refunds. All are null for a payment that is captured at once and was never refunded.
struct FundsRecord {
    capture_method: Option<String>,
    /// The status of a payment that is kept apart, while it may still change. `status` is `processing` until then, so that
    /// releases without captures and actions leave it alone.
    stage: Option<String>,
    operation: Option<String>,
    captured_minor: Option<i64>,
    refunded_minor: Option<i64>,
    reserved_minor: Option<i64>,
    capture_before: Option<PrimitiveDateTime>,
    cancellation_reason: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for FundsRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            capture_method: row.text_or_null("capture_method")?,
            stage: row.text_or_null("stage")?,
            operation: row.text_or_null("operation")?,
            captured_minor: row.number_or_null("captured_minor")?,
            refunded_minor: row.number_or_null("refunded_minor")?,
            reserved_minor: row.number_or_null("reserved_minor")?,
            capture_before: row.moment_or_null("capture_before")?,
            cancellation_reason: row.text_or_null("cancellation_reason")?,
        })
    }
}

impl FundsRecord {
    /// The amounts of a payment; or the name of the column that cannot be read.
    fn funds(self, status: PaymentStatus, amount: i64) -> Result<Funds, &'static str> {
        let method = self.capture_method.as_deref();
        let succeeded = status == PaymentStatus::Succeeded;
        Ok(Funds {
            capture_method: method
                .map_or(Some(CaptureMethod::Automatic), CaptureMethod::parse)
                .ok_or("capture_method")?,
            captured: self
                .captured_minor
                .unwrap_or(if succeeded { amount } else { 0 }),
            refunded: self.refunded_minor.unwrap_or(0),
            reserved: self.reserved_minor.unwrap_or(0),
            capture_before: self.capture_before.map(utc),
            operation: parsed(self.operation, OperationKind::parse).ok_or("operation")?,
            cancellation_reason: parsed(self.cancellation_reason, CancellationReason::parse)
                .ok_or("cancellation_reason")?,
        })
    }
}

/// A text that may be null; none if it cannot be parsed.
fn parsed<T>(text: Option<String>, parse: fn(&str) -> Option<T>) -> Option<Option<T>> {
    text.map_or(Some(None), |text| parse(&text).map(Some))
}

impl<'r, R: Columns> FromRow<'r, R> for PaymentRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.number("id")?,
            client: row.text("client")?,
            order_id: row.number("order_id")?,
            user_id: row.number("user_id")?,
            amount_minor: row.number("amount_minor")?,
            currency: row.text("currency")?,
            status: row.text("status")?,
            decline_code: row.text_or_null("decline_code")?,
            authorization_code: row.text_or_null("authorization_code")?,
            card: CardRecord::from_row(row)?,
            attempt: row.number("attempt")?,
            metadata: row.text("metadata")?,
            sequence: row.number("sequence")?,
            created_at: row.moment("created_at")?,
            updated_at: row.moment("updated_at")?,
            try_number: row.number("try_number")?,
            phase: row.text("phase")?,
            uncertain: row.truth("uncertain")?,
            sealed_card: row.bytes_or_null("sealed_card")?,
            claimed_until: row.moment_or_null("claimed_until")?,
            check_at: row.moment_or_null("check_at")?,
            pending_code: row.text_or_null("pending_code")?,
            idempotency_key: row.bytes_or_null("idempotency_key")?,
            fingerprint: row.bytes_or_null("fingerprint")?,
            origin: row.text("origin")?,
            return_url: row.text_or_null("return_url")?,
            disputes: row.text_or_null("disputes")?,
            method: row.text_or_null("method")?,
            action: row.text_or_null("action")?,
            funds: FundsRecord::from_row(row)?,
        })
    }
}

/// When a payment was created.
struct Created {
    id: i64,
    created_at: PrimitiveDateTime,
}

impl<'r, R: Columns> FromRow<'r, R> for Created {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.number("id")?,
            created_at: row.moment("created_at")?,
        })
    }
}

impl Table for PaymentRecord {
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Payment(PaymentId(row.number("id")?)))
    }

    fn mark<R: Columns>(row: &R) -> Result<Option<String>, sqlx::Error> {
        row.text_or_null("quarantined")
    }

    fn about_row<R: Columns>(row: &R) -> About {
        About {
            client: row.text("client").ok(),
            created_at: row.moment("created_at").ok(),
        }
    }

    fn about(&self) -> About {
        About {
            client: Some(self.client.clone()),
            created_at: Some(self.created_at),
        }
    }
}

impl TryFrom<PaymentRecord> for StoredPayment {
    type Error = StoreError;

    fn try_from(record: PaymentRecord) -> Result<Self, StoreError> {
        let id = record.id;
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
        let currency = Currency::parse(&record.currency).map_err(|_| broken("currency"))?;
        let staged = record.funds.stage.is_some();
        let status = record.funds.stage.as_ref().unwrap_or(&record.status);
        let status = PaymentStatus::parse(status).ok_or_else(|| broken("status"))?;
        let funds = record.funds.funds(status, record.amount_minor);
        let card = record.card.summary().map_err(|()| broken("card"))?;
        let method = method_column::read(card, record.method.as_deref(), record.attempt);
        let action = action_column::read(record.action.as_deref());
        let action = action.map_err(|()| broken("action"))?;
        let phase = phase(&record.phase, action.as_ref()).ok_or_else(|| broken("phase"))?;
        let payment = Payment {
            id: PaymentId(id),
            client: ClientName::parse(&record.client).map_err(|_| broken("client"))?,
            order_id: OrderId(record.order_id),
            user_id: UserId(record.user_id),
            amount: Money::from_minor(record.amount_minor, currency)
                .map_err(|_| broken("amount_minor"))?,
            status,
            decline_code: record.decline_code.map(DeclineCode::new),
            authorization_code: record.authorization_code,
            method: method.map_err(|()| broken("method"))?,
            attempt: u32::try_from(record.attempt).map_err(|_| broken("attempt"))?,
            metadata: serde_json::from_str(&record.metadata).map_err(|_| broken("metadata"))?,
            action,
            disputes: match &record.disputes {
                None => Vec::new(),
                Some(disputes) => serde_json::from_str(disputes).map_err(|_| broken("disputes"))?,
            },
            return_url: record
                .return_url
                .map(|text| ReturnUrl::parse(&text))
                .transpose()
                .map_err(|_| broken("return_url"))?,
            funds: funds.map_err(broken)?,
            sequence: u32::try_from(record.sequence).map_err(|_| broken("sequence"))?,
            created_at: record.created_at.assume_utc(),
            updated_at: record.updated_at.assume_utc(),
        };
        Ok(Self {
            payment,
            try_number: u32::try_from(record.try_number).map_err(|_| broken("try_number"))?,
            phase,
            uncertain: record.uncertain,
            pending: record
                .pending_code
                .and_then(|text| PendingOutcome::parse(&text, record.attempt)),
            staged,
            sealed_card: record.sealed_card.map(SealedCard),
            claimed_until: record
                .claimed_until
                .map(utc)
                .filter(|until| *until != UNCLAIMED),
            check_at: record.check_at.map(utc),
            idempotency: idempotency(record.idempotency_key, record.fingerprint)
                .map_err(|()| broken("idempotency"))?,
            origin: serde_json::from_str(&record.origin).map_err(|_| broken("origin"))?,
        })
    }
}

fn idempotency(
    key: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
) -> Result<Option<Idempotency>, ()> {
    match (key, fingerprint) {
        (None, None) => Ok(None),
        (Some(key), Some(fingerprint)) => Ok(Some(Idempotency {
            key: String::from_utf8(key).map_err(|_| ())?,
            fingerprint: fingerprint.try_into().map_err(|_| ())?,
        })),
        _ => Err(()),
    }
}

/// Payments in the order of the columns of table `payments`; `pending_code` of a new one is null.
fn payment_rows(rows: &[StoredPayment]) -> Result<Vec<Row<'_>>, StoreError> {
    rows.iter().map(payment).collect()
}

fn payment(row: &StoredPayment) -> Result<Row<'_>, StoreError> {
    let payment = &row.payment;
    let [brand, last4, expiration] = card(payment);
    let key = row.idempotency.as_ref();
    Ok(vec![
        payment.id.0.into(),
        payment.client.as_str().into(),
        payment.order_id.0.into(),
        payment.user_id.0.into(),
        payment.amount.minor().into(),
        payment.amount.currency().code().into(),
        status(row).into(),
        decline_code(payment),
        payment.authorization_code.as_deref().into(),
        brand,
        last4,
        expiration,
        payment.attempt.into(),
        SqlValue::json(&payment.metadata)?,
        payment.sequence.into(),
        payment.created_at.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        sealed_card(row),
        claimed_until(row),
        check_at(row),
        key.map(|key| SqlValue::bytes(key.key.as_bytes())).into(),
        key.map(|key| SqlValue::bytes(&key.fingerprint)).into(),
        SqlValue::json(&row.origin)?,
        payment.return_url.as_ref().map(ReturnUrl::as_str).into(),
        method_column::written(payment)?,
    ])
}

/// The columns of payments that can change, after their ids.
fn moved_payments<'a>(
    rows: impl IntoIterator<Item = &'a StoredPayment>,
) -> Result<Vec<Row<'a>>, StoreError> {
    rows.into_iter().map(moved_payment).collect()
}

fn moved_payment(row: &StoredPayment) -> Result<Row<'_>, StoreError> {
    let payment = &row.payment;
    let [brand, last4, expiration] = card(payment);
    Ok(vec![
        payment.id.0.into(),
        status(row).into(),
        decline_code(payment),
        payment.authorization_code.as_deref().into(),
        brand,
        last4,
        expiration,
        payment.attempt.into(),
        payment.sequence.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        sealed_card(row),
        claimed_until(row),
        check_at(row),
        pending_code(row),
        method_column::written(payment)?,
    ])
}

/// Payments that ended, grouped by the values that are the same for all that ended alike.
fn ended_alike(rows: &[StoredPayment]) -> BTreeMap<Row<'_>, Vec<&StoredPayment>> {
    let mut alike: BTreeMap<Row<'_>, Vec<&StoredPayment>> = BTreeMap::new();
    for row in rows {
        alike.entry(end(row)).or_default().push(row);
    }
    alike
}

/// The columns that change when a payment ends, without its authorization code and without the erased columns.
fn end(row: &StoredPayment) -> Row<'_> {
    let payment = &row.payment;
    vec![
        status(row).into(),
        decline_code(payment),
        payment.attempt.into(),
        payment.sequence.into(),
        payment.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        pending_code(row),
    ]
}

/// Payment ids with authorization codes.
fn authorization_codes<'a>(rows: &[&'a StoredPayment]) -> Vec<Row<'a>> {
    let row = |row: &&'a StoredPayment| {
        let payment = &row.payment;
        vec![
            payment.id.0.into(),
            payment.authorization_code.as_deref().into(),
        ]
    };
    rows.iter().map(row).collect()
}

/// The column `status`: releases without captures and actions leave a payment alone that is processing and has no check.
fn status(row: &StoredPayment) -> &'static str {
    match stage(row) {
        Some(_) => PaymentStatus::Processing.as_str(),
        None => row.payment.status.as_str(),
    }
}

/// The column `stage`.
fn stage(row: &StoredPayment) -> Option<&'static str> {
    let status = row.payment.status;
    let is_final = matches!(status, PaymentStatus::Succeeded | PaymentStatus::Canceled);
    (row.is_apart() && !is_final).then(|| status.as_str())
}

/// The column `claimed_until`; see [`UNCLAIMED`].
fn claimed_until(row: &StoredPayment) -> SqlValue<'static> {
    let unclaimed = row.check_at.map(|_| UNCLAIMED);
    row.claimed_until.or(unclaimed).into()
}

/// The column `check_at`; payments that are kept apart have theirs in `capture_schedule`.
fn check_at(row: &StoredPayment) -> SqlValue<'static> {
    let check_at = row.check_at.filter(|_| !row.is_apart());
    check_at.into()
}

/// The columns about captures, refunds and actions, after the id.
fn funds_row(row: &StoredPayment) -> Result<Row<'_>, StoreError> {
    let (payment, funds) = (&row.payment, &row.payment.funds);
    let operation = funds.operation.map(OperationKind::as_str);
    let reason = funds.cancellation_reason.map(CancellationReason::as_str);
    let method = funds.is_manual().then(|| funds.capture_method.as_str());
    Ok(vec![
        payment.id.0.into(),
        method.into(),
        stage(row).into(),
        operation.into(),
        funds.captured.into(),
        funds.refunded.into(),
        funds.reserved.into(),
        funds.capture_before.into(),
        reason.into(),
        action_column::written(payment.action.as_ref())?,
    ])
}

fn pending_code(row: &StoredPayment) -> SqlValue<'_> {
    let pending = row.pending.as_ref();
    pending
        .map(|pending| pending.of_attempt(row.payment.attempt))
        .into()
}

fn decline_code(payment: &Payment) -> SqlValue<'_> {
    let code = payment.decline_code.as_ref();
    code.map(DeclineCode::as_str).into()
}

fn sealed_card(row: &StoredPayment) -> SqlValue<'_> {
    let sealed = row.sealed_card.as_ref();
    sealed.map(|card| SqlValue::bytes(&card.0)).into()
}

/// Payment ids as rows of one column, sorted.
pub(super) fn payment_ids(ids: &[PaymentId]) -> Vec<Row<'static>> {
    sorted(ids.iter().map(|id| vec![id.0.into()]))
}

/// Idempotency keys with their clients, sorted.
fn key_rows(keys: &[(ClientName, String)]) -> Vec<Row<'_>> {
    let rows = keys.iter();
    sorted(rows.map(|(client, key)| vec![client.as_str().into(), SqlValue::bytes(key.as_bytes())]))
}

impl Phase {
    /// As in rows: `authorize`. An action's state tells the rest, because releases without actions cannot read other words.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Authorize | Self::Ask => "authorize",
            Self::Reverse | Self::Close => "reverse",
        }
    }
}

/// The phase of an attempt with this action.
fn phase(column: &str, action: Option<&Action>) -> Option<Phase> {
    match (action.map(|action| action.state), column) {
        (Some(ActionState::Open), _) => Some(Phase::Ask),
        (Some(ActionState::Closing), _) => Some(Phase::Close),
        (_, "authorize") => Some(Phase::Authorize),
        (_, "reverse") => Some(Phase::Reverse),
        _ => None,
    }
}

impl PendingOutcome {
    /// As in rows: `{attempt} declined {code}`. The attempt distinguishes the current outcome from one of an earlier attempt
    /// that an older release, which does not know the column, has left there.
    fn of_attempt(&self, attempt: u32) -> String {
        let status = match self {
            Self::Declined { .. } => PaymentStatus::Declined,
            Self::Failed { .. } => PaymentStatus::Failed,
            Self::Canceled => PaymentStatus::Canceled,
            Self::Replaced => PaymentStatus::RequiresPaymentMethod,
        };
        format!("{attempt} {status} {}", self.code())
    }

    /// The inverse of `of_attempt`; none if it was written for another attempt, or cannot be read. Then the attempt ends as
    /// in releases without the column: failed, because the issuer did not answer.
    fn parse(text: &str, attempt: i64) -> Option<Self> {
        let mut words = text.splitn(3, ' ');
        if words.next()?.parse() != Ok(attempt) {
            return None;
        }
        match (PaymentStatus::parse(words.next()?)?, words.next()?) {
            (PaymentStatus::Declined, code) => Some(Self::Declined {
                code: DeclineCode::new(code.to_owned()),
            }),
            (PaymentStatus::Failed, reason) => Some(Self::Failed {
                reason: DeclineCode::new(reason.to_owned()),
            }),
            (PaymentStatus::Canceled, _) => Some(Self::Canceled),
            (PaymentStatus::RequiresPaymentMethod, _) => Some(Self::Replaced),
            _ => None,
        }
    }
}

/// The payment that was found, unless it was left out.
fn readable(
    found: Vec<StoredPayment>,
    left_out: &[SetAside],
) -> Result<Option<StoredPayment>, StoreError> {
    match left_out.iter().find_map(SetAside::payment) {
        Some(payment) if found.is_empty() => Err(payment.into()),
        _ => Ok(found.into_iter().next()),
    }
}

/// The statement for all payments of a client, or those with a status, and its parameters. `before`: where the list begins.
pub(super) fn of_client(
    client: &ClientName,
    status: Option<PaymentStatus>,
    before: Option<(Timestamp, PaymentId)>,
    limit: u32,
) -> (&'static str, Vec<SqlValue<'_>>) {
    let (before, id) = before.unwrap_or((END_OF_TIME, PaymentId(i64::MAX)));
    let place: [SqlValue<'_>; 4] = [before.into(), before.into(), id.0.into(), limit.into()];
    let mut parameters = vec![client.as_str().into()];
    let Some(status) = status else {
        parameters.extend(place);
        return (PAYMENTS_BY_CLIENT, parameters);
    };
    parameters.push(status.as_str().into());
    parameters.extend(place);
    parameters.extend_from_within(..);
    parameters.push(limit.into());
    (PAYMENTS_BY_STATUS, parameters)
}

/// The statement for a shopper's payments with a status, and its parameters.
fn of_user_with_status(
    filter: &PaymentFilter,
    (user, status): (UserId, PaymentStatus),
) -> (&'static str, Vec<SqlValue<'_>>) {
    let (before, id) = filter.before.unwrap_or((END_OF_TIME, PaymentId(i64::MAX)));
    let mut parameters: Vec<SqlValue<'_>> = vec![
        filter.client.as_str().into(),
        status.as_str().into(),
        user.0.into(),
        before.into(),
        before.into(),
        id.0.into(),
        filter.limit.into(),
    ];
    parameters.extend_from_within(..);
    parameters.push(filter.limit.into());
    (PAYMENTS_BY_USER_AND_STATUS, parameters)
}

/// The statement for a list, which uses the best index, and its parameters; `counts_rows`: whether the database chooses an
/// index by the number of rows in its range.
fn list(filter: &PaymentFilter, counts_rows: bool) -> (&'static str, Vec<SqlValue<'_>>) {
    if let (true, None, Some(user), Some(status)) =
        (counts_rows, filter.order_id, filter.user_id, filter.status)
    {
        return of_user_with_status(filter, (user, status));
    }
    let user = filter.user_id.map(|user| user.0);
    let (sql, mut parameters): (_, Vec<SqlValue<'_>>) = match (filter.order_id, user) {
        (Some(order), user) => (PAYMENTS_BY_ORDER, vec![order.0.into(), user.into()]),
        (None, Some(user)) => (PAYMENTS_BY_USER, vec![user.into()]),
        (None, None) => {
            return of_client(&filter.client, filter.status, filter.before, filter.limit);
        }
    };
    let (before, id) = filter.before.unwrap_or((END_OF_TIME, PaymentId(i64::MAX)));
    parameters.insert(0, filter.client.as_str().into());
    parameters.extend([before.into(), before.into(), id.0.into()]);
    parameters.push(filter.status.map(|status| status.as_str()).into());
    parameters.push(filter.limit.into());
    (sql, parameters)
}

impl Transaction {
    /// Those of the given (client, idempotency key) pairs that exist.
    pub async fn payments_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let statement = self.connection.choose(&PAYMENTS_BY_KEYS);
        self.look_up_payments(statement, key_rows(keys), &[]).await
    }

    /// The ids of those payments.
    pub async fn payment_ids_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<PaymentId>, StoreError> {
        let statement = self.connection.choose(&PAYMENT_IDS_BY_KEYS);
        let found: Vec<(i64,)> = self.look_up(statement, key_rows(keys), &[]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    /// The same. Waits for payments that are being inserted.
    pub async fn lock_payment_keys(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<PaymentId>, StoreError> {
        let statement = self.connection.choose(&LOCK_PAYMENT_KEYS);
        let found: Vec<(i64,)> = self.look_up(statement, key_rows(keys), &[]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    /// Locks payments for update in the order of their ids; unknown ids are ignored.
    pub async fn lock_payments(
        &mut self,
        ids: &[PaymentId],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let ids = payment_ids(ids);
        self.look_up_payments(self.connection.choose(&LOCK_PAYMENTS), ids, &[])
            .await
    }

    /// Payments, without a lock; unknown ids are ignored.
    pub async fn read_payments(
        &mut self,
        ids: &[PaymentId],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let ids = payment_ids(ids);
        self.look_up_payments(self.connection.choose(&READ_PAYMENTS), ids, &[])
            .await
    }

    /// Inserts payments. A row whose (client, idempotency key) exists is skipped: read the keys back.
    pub async fn insert_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        self.write(
            self.connection.choose(&INSERT_PAYMENTS),
            payment_rows(rows)?,
            &[],
        )
        .await?;
        self.write_funds(rows).await
    }

    /// Writes the columns about captures, refunds and actions of payments that are kept apart or canceled. A payment that is
    /// captured at once leaves them null until its first refund, see [`Self::set_funds`].
    async fn write_funds(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let is_special = |row: &&StoredPayment| {
            let funds = &row.payment.funds;
            row.is_apart() || funds.cancellation_reason.is_some()
        };
        if !rows.iter().any(|row| is_special(&row)) {
            return Ok(());
        }
        let rows: Vec<StoredPayment> = rows.iter().filter(is_special).cloned().collect();
        self.set_funds(&rows).await
    }

    /// Writes the columns about captures and refunds of locked payments.
    pub async fn set_funds(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let funds: Result<Vec<Row<'_>>, StoreError> = rows.iter().map(funds_row).collect();
        let funds = sorted(funds?.into_iter());
        self.write(self.connection.choose(&SET_FUNDS), funds, &[])
            .await?;
        self.schedule_captures(rows).await
    }

    /// Writes the disputes about a locked payment.
    pub async fn set_disputes(
        &mut self,
        payment: PaymentId,
        disputes: &[Dispute],
    ) -> Result<(), StoreError> {
        let parameters = [SqlValue::json(&disputes)?, payment.0.into()];
        self.connection.execute(SET_DISPUTES, &parameters).await?;
        Ok(())
    }

    /// Updates locked payments: all columns except client, order, user, amount, metadata, origin, idempotency and
    /// `created_at`.
    pub async fn update_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let moved = moved_payments(rows)?;
        self.write(self.connection.choose(&UPDATE_PAYMENTS), moved, &[])
            .await?;
        self.write_funds(rows).await
    }

    /// Updates locked payments that end: writes their progress, decline code and authorization code, and erases the sealed
    /// card, the claim and the next check. These must already be empty in the rows, and their card must be unchanged.
    ///
    /// Runs one statement for each group of payments that end alike. Each is a round trip, so small groups are updated
    /// together with the rest.
    pub async fn end_payments(&mut self, rows: &[StoredPayment]) -> Result<(), StoreError> {
        let alike = ended_alike(rows);
        let enough = if alike.len() == 1 {
            1
        } else {
            FEW_ALIKE.max(rows.len() / 4)
        };
        let mut rest = Vec::new();
        for (end, rows) in alike {
            if rows.len() < enough {
                rest.extend(rows);
                continue;
            }
            let codes = authorization_codes(&rows);
            self.write(self.connection.choose(&END_PAYMENTS), codes, &end)
                .await?;
        }
        rest.sort_unstable_by_key(|row| row.payment.id);
        let rest = moved_payments(rest)?;
        self.write(self.connection.choose(&UPDATE_PAYMENTS), rest, &[])
            .await?;
        self.write_funds(rows).await
    }

    /// Marks locked payments as claimed by a worker until the given time.
    pub async fn claim_payments(
        &mut self,
        ids: &[PaymentId],
        until: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = payment_ids(ids);
        self.write(
            self.connection.choose(&CLAIM_PAYMENTS),
            rows,
            &[until.into()],
        )
        .await
    }

    /// Locks up to `limit` payments whose `check_at` has passed and that have no try in the outbox, skipping locked ones.
    pub async fn lock_forgotten_payments(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let found: Vec<(i64,)> = self
            .connection
            .fetch(FORGOTTEN_PAYMENTS, &[now.into(), limit.into()])
            .await?;
        if found.is_empty() {
            return Ok(Vec::new());
        }
        let ids: Vec<_> = found.into_iter().map(|(id,)| PaymentId(id)).collect();
        let statement = self.connection.choose(&LOCK_FORGOTTEN_PAYMENTS);
        let ids = payment_ids(&ids);
        self.look_up_payments(statement, ids, &[now.into()]).await
    }

    async fn look_up_payments(
        &mut self,
        statement: &'static ManyRows,
        keys: Vec<Row<'_>>,
        others: &[SqlValue<'_>],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let found = self
            .look_up::<Tried<PaymentRecord>>(statement, keys, others)
            .await?;
        Ok(each(found, &mut self.left_out))
    }
}

impl Store {
    /// One payment of any client; [`StoreError::Quarantined`] if it is set aside or cannot be read.
    pub async fn payment(&self, id: PaymentId) -> Result<Option<StoredPayment>, StoreError> {
        self.one_payment(PAYMENT, &[id.0.into()]).await
    }

    /// The payment that was accepted under an idempotency key.
    pub async fn payment_by_key(
        &self,
        client: &ClientName,
        key: &str,
    ) -> Result<Option<StoredPayment>, StoreError> {
        let parameters = [client.as_str().into(), hex::encode(key).into()];
        self.one_payment(PAYMENT_BY_KEY, &parameters).await
    }

    /// The same, read from a server that accepts changes. A connection to a former primary may still answer reads, with old
    /// data.
    pub async fn payment_by_key_on_primary(
        &self,
        client: &ClientName,
        key: &str,
    ) -> Result<Option<StoredPayment>, StoreError> {
        let mut tx = self.begin().await?;
        tx.connection.execute(CHANGE_NOTHING, &[]).await?;
        let found = tx
            .payments_by_key(&[(client.clone(), key.to_owned())])
            .await?;
        readable(found, &tx.left_out())
    }

    /// One payment of any client, read from a server that accepts changes.
    pub async fn payment_on_primary(
        &self,
        id: PaymentId,
    ) -> Result<Option<StoredPayment>, StoreError> {
        let mut tx = self.begin().await?;
        tx.connection.execute(CHANGE_NOTHING, &[]).await?;
        let found = tx.read_payments(&[id]).await?;
        readable(found, &tx.left_out())
    }

    /// A page of one client's payments, newest first (`created_at`, then id), at most `filter.limit`. Payments that are set
    /// aside or cannot be read are left out; later ones fill the page.
    pub async fn payments(&self, filter: &PaymentFilter) -> Result<Vec<StoredPayment>, StoreError> {
        let mut filter = filter.clone();
        let limit = filter.limit as usize;
        let mut page: Vec<StoredPayment> = Vec::new();
        let counts_rows = matches!(self.0.engine, Engine::MySql(_));
        loop {
            let (sql, parameters) = list(&filter, counts_rows);
            let found: Vec<Tried<PaymentRecord>> = self.read(sql, &parameters).await?;
            let is_last = found.len() < limit;
            let mut left_out = Vec::new();
            let read = each(found, &mut left_out);
            let read_to = read.iter().map(StoredPayment::place_in_lists).next_back();
            page.extend(read);
            self.report_once(&left_out);
            // Rows that were left out are replaced by later ones: the order is by time, then id.
            let places = left_out.iter().filter_map(SetAside::place_in_lists);
            let next = places.chain(read_to).min();
            if left_out.is_empty() || is_last || page.len() >= limit || next.is_none() {
                break;
            }
            filter.before = next;
        }
        page.truncate(limit);
        Ok(page)
    }

    /// Payments of any client, without a transaction; unknown ids, and rows that are set aside or cannot be read, are left
    /// out.
    pub async fn payments_by_id(
        &self,
        ids: &[PaymentId],
    ) -> Result<Vec<StoredPayment>, StoreError> {
        let keys = payment_ids(ids);
        let found = self.read_many::<Tried<PaymentRecord>>(&READ_PAYMENTS, keys);
        let mut left_out = Vec::new();
        let rows = each(found.await?, &mut left_out);
        self.report_once(&left_out);
        Ok(rows)
    }

    /// Payments of any client, and the ids of those that are set aside or cannot be read; unknown ids are in neither.
    pub async fn payments_or_left_out(
        &self,
        ids: &[PaymentId],
    ) -> Result<(Vec<StoredPayment>, Vec<PaymentId>), StoreError> {
        let keys = payment_ids(ids);
        let found = self.read_many::<Tried<PaymentRecord>>(&READ_PAYMENTS, keys);
        let mut left_out = Vec::new();
        let rows = each(found.await?, &mut left_out);
        let left_out = left_out.iter().filter_map(SetAside::payment);
        Ok((rows, left_out.map(|it| it.payment).collect()))
    }

    /// The ids of a client's payments from this time on that come after the given one, the oldest first, at most `limit`.
    pub async fn payments_since(
        &self,
        client: &ClientName,
        (since, after): (Timestamp, PaymentId),
        limit: u32,
    ) -> Result<Vec<(PaymentId, Timestamp)>, StoreError> {
        let parameters = [
            client.as_str().into(),
            since.into(),
            since.into(),
            after.0.into(),
            limit.into(),
        ];
        let found: Vec<Created> = self.read(PAYMENTS_SINCE, &parameters).await?;
        let found = found.into_iter();
        Ok(found
            .map(|row| (PaymentId(row.id), utc(row.created_at)))
            .collect())
    }

    /// The ids of payments that are processing, at most `limit`.
    pub async fn payments_in_progress(&self, limit: u32) -> Result<Vec<PaymentId>, StoreError> {
        let found: Vec<(i64,)> = self.read(PAYMENTS_IN_PROGRESS, &[limit.into()]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    /// The clients that have payments, by name.
    pub async fn clients(&self) -> Result<Vec<ClientName>, StoreError> {
        let mut clients: Vec<ClientName> = Vec::new();
        // Goes from name to name in the index of the lists; DISTINCT would read the whole index.
        let mut last = String::new();
        loop {
            let found: Vec<(Option<String>,)> = self.read(CLIENT_AFTER, &[last.into()]).await?;
            let Some((Some(name),)) = found.into_iter().next() else {
                return Ok(clients);
            };
            clients.extend(ClientName::parse(&name));
            last = name;
        }
    }

    /// Ends every claim now and makes every payment that is processing due for a check. Only for a process that knows that
    /// it is the only one.
    pub async fn end_all_claims(&self) -> Result<(), StoreError> {
        let (mut connection, now) = self.0.engine.begin().await?;
        let now = SqlValue::from(now);
        for (sql, parameters) in [
            (
                END_ALL_CLAIMS,
                vec![now.clone(), UNCLAIMED.into(), now.clone()],
            ),
            (operations::END_CLAIMS, vec![now.clone(), now.clone()]),
            (capture_schedule::CHECK_ALL, vec![now]),
        ] {
            connection.execute(sql, &parameters).await?;
        }
        connection.commit().await
    }

    /// Whether the store contains payments of other clients.
    pub async fn holds_others_than(&self, client: &ClientName) -> Result<bool, StoreError> {
        let parameters = [client.as_str().into(), client.as_str().into()];
        let found: Vec<(i64,)> = self.read(OTHERS_THAN, &parameters).await?;
        Ok(!found.is_empty())
    }

    async fn one_payment(
        &self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Option<StoredPayment>, StoreError> {
        let found: Vec<Tried<PaymentRecord>> = self.read(sql, parameters).await?;
        let Some(found) = found.into_iter().next() else {
            return Ok(None);
        };
        one(found).map(Some).map_err(|left_out| {
            let (reason, payment) = (left_out.reason.clone(), left_out.payment());
            payment.map_or(StoreError::Corrupt(reason), Into::into)
        })
    }

    /// Logs one line for each row, however often it is read.
    fn report_once(&self, left_out: &[SetAside]) {
        let mut reported = self
            .0
            .reported
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        for row in left_out {
            if let Key::Payment(id) = row.key
                && reported.len() < MOST_REPORTED
                && reported.insert(id)
            {
                row.report();
            }
        }
    }
}
