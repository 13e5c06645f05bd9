//! Table `operations`: captures, voids and refunds.

use sqlx::FromRow;
use time::PrimitiveDateTime;
use uuid::Uuid;

use super::{binary_ids, sorted};
use crate::domain::{
    CancellationReason, ClientName, Currency, DeclineCode, Money, Operation, OperationId,
    OperationKind, OperationPhase, OperationSource, OperationStatus, PaymentId, Timestamp,
};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::quarantine::{Key, SetAside};
use crate::store::records::{Table, Tried, each, unreadable, utc};
use crate::store::rows::{Idempotency, StoredOperation};
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{Store, StoreError, Transaction};

/// (hexadecimal id) → operation
const OPERATION: &str = "SELECT * FROM operations WHERE id = UNHEX(?)";

/// (payment id, kind, limit) → operations, the oldest first
const OPERATIONS_OF: &str = "SELECT * FROM operations WHERE payment_id = ? AND kind = COALESCE(?, kind) ORDER BY id LIMIT ?";

/// (client or null, limit) → the newest refunds among the newest 5,000 operations, by the primary key, which is in the order of
/// time
const NEWEST_REFUNDS: &str = "
SELECT operations.* FROM (
    SELECT id AS found_id FROM (
        SELECT id, kind, client FROM operations ORDER BY id DESC LIMIT 5000
    ) AS newest
    WHERE kind = 'refund' AND client = COALESCE(?, client) ORDER BY id DESC LIMIT ?
) AS found JOIN operations ON operations.id = found.found_id ORDER BY found.found_id DESC";

/// (now, limit) → ids of operations whose check is due. Locks nothing: usually there are none.
const FORGOTTEN_OPERATIONS: &str = "
SELECT id, payment_id FROM operations
WHERE check_at <= ? AND quarantined IS NULL ORDER BY check_at LIMIT ?";

/// (limit) → payments whose capture or void is running, among this many operations that are looked at again last.
const PAYMENTS_BEING_OPERATED: &str = "
SELECT payment_id FROM (
    SELECT payment_id, kind FROM operations WHERE check_at IS NOT NULL ORDER BY check_at DESC LIMIT ?
) AS running WHERE kind <> 'refund'";

/// (reason, hexadecimal id). The first reason stays.
pub(super) const QUARANTINE_OPERATION: &str =
    "UPDATE operations SET quarantined = COALESCE(quarantined, ?) WHERE id = UNHEX(?)";

/// (time) → a row, if any check is due later. Locks nothing: usually there is none.
pub(in crate::store) const CHECK_IS_AHEAD: &str =
    "SELECT 1 FROM operations WHERE check_at > ? LIMIT 1";

/// (now, time)
pub(in crate::store) const BRING_CHECK_BACK: &str =
    "UPDATE operations SET check_at = ? WHERE check_at > ?";

/// (now twice). Only for a process that knows that it is the only one. A confirmation that is due later stays so.
pub(in crate::store) const END_CLAIMS: &str = "
UPDATE operations
SET check_at = ?, claimed_until = CASE WHEN claimed_until IS NULL THEN NULL ELSE ? END
WHERE check_at IS NOT NULL AND phase <> 'confirm'";

/// (rows of client, key) → operations
static OPERATIONS_BY_KEYS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT operations.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN operations FORCE INDEX (operations_by_key)
    ON operations.client = given.client COLLATE ascii_bin
    AND operations.idempotency_key = UNHEX(given.idempotency_key)",
    ),
    sqlite: Json(
        "
SELECT operations.* FROM json_each(?1) AS wanted
CROSS JOIN operations
    ON operations.client = wanted.value ->> '$[0]'
    AND operations.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of client, key) → client and hexadecimal key of operations, locked; reads only an index
static KEYS_USED: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT operations.client, HEX(operations.idempotency_key) FROM (SELECT given.client, given.idempotency_key FROM JSON_TABLE(?, '$[*]' COLUMNS (
    client VARCHAR(64) CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    idempotency_key LONGTEXT CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN operations FORCE INDEX (operations_by_key)
    ON operations.client = wanted.client COLLATE ascii_bin
    AND operations.idempotency_key = UNHEX(wanted.idempotency_key)
LOCK IN SHARE MODE",
    ),
    sqlite: Json(
        "
SELECT operations.client, hex(operations.idempotency_key) FROM json_each(?1) AS wanted
CROSS JOIN operations
    ON operations.client = wanted.value ->> '$[0]'
    AND operations.idempotency_key = unhex(wanted.value ->> '$[1]')",
    ),
};

/// (rows of id) → operations, locked
static LOCK_OPERATIONS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT operations.* FROM (SELECT given.id AS id FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN operations FORCE INDEX (PRIMARY) ON operations.id = UNHEX(wanted.id)
FOR UPDATE",
    ),
    sqlite: Json(
        "
SELECT operations.* FROM json_each(?1) AS wanted
CROSS JOIN operations ON operations.id = unhex(wanted.value ->> '$[0]')",
    ),
};

/// (rows of id) → operations
static READ_OPERATIONS: Both<ManyRows> = Both {
    mysql: Json(
        "
SELECT operations.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR
)) AS given
STRAIGHT_JOIN operations FORCE INDEX (PRIMARY) ON operations.id = UNHEX(given.id)",
    ),
    sqlite: Json(
        "
SELECT operations.* FROM json_each(?1) AS wanted
CROSS JOIN operations ON operations.id = unhex(wanted.value ->> '$[0]')",
    ),
};

/// (rows)
static INSERT_OPERATIONS: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO operations (
    id, payment_id, client, kind, amount_minor, currency, status, failure_code, reason, client_reference, created_at,
    updated_at, try_number, phase, uncertain, pending_failure, cancellation_reason, claimed_until, check_at,
    idempotency_key, fingerprint, origin, source
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE id = operations.id",
    ),
    sqlite: Json(
        "
INSERT INTO operations (
    id, payment_id, client, kind, amount_minor, currency, status, failure_code, reason, client_reference, created_at,
    updated_at, try_number, phase, uncertain, pending_failure, cancellation_reason, claimed_until, check_at,
    idempotency_key, fingerprint, origin, source
)
SELECT
    unhex(value ->> '$[0]'), value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]',
    value ->> '$[5]', value ->> '$[6]', value ->> '$[7]', value ->> '$[8]', value ->> '$[9]', value ->> '$[10]',
    value ->> '$[11]', value ->> '$[12]', value ->> '$[13]', value ->> '$[14]', value ->> '$[15]',
    value ->> '$[16]', value ->> '$[17]', value ->> '$[18]', unhex(value ->> '$[19]'),
    unhex(value ->> '$[20]'), value ->> '$[21]', value ->> '$[22]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows of id and the columns that can change)
static UPDATE_OPERATIONS: Both<ManyRows> = Both {
    mysql: Json(
        "
UPDATE (SELECT given.* FROM JSON_TABLE(?, '$[*]' COLUMNS (
    id LONGTEXT CHARACTER SET ascii PATH '$[0]' ERROR ON ERROR,
    status VARCHAR(17) CHARACTER SET ascii PATH '$[1]' ERROR ON ERROR,
    failure_code VARCHAR(65) CHARACTER SET ascii PATH '$[2]' ERROR ON ERROR,
    updated_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[3]' ERROR ON ERROR,
    try_number BIGINT PATH '$[4]' ERROR ON ERROR,
    phase VARCHAR(17) CHARACTER SET ascii PATH '$[5]' ERROR ON ERROR,
    uncertain BIGINT PATH '$[6]' ERROR ON ERROR,
    pending_failure VARCHAR(65) CHARACTER SET ascii PATH '$[7]' ERROR ON ERROR,
    claimed_until VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[8]' ERROR ON ERROR,
    check_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[9]' ERROR ON ERROR
)) AS given) AS wanted
STRAIGHT_JOIN operations FORCE INDEX (PRIMARY) ON operations.id = UNHEX(wanted.id)
SET operations.status = wanted.status, operations.failure_code = wanted.failure_code,
    operations.updated_at = wanted.updated_at, operations.try_number = wanted.try_number,
    operations.phase = wanted.phase, operations.uncertain = wanted.uncertain,
    operations.pending_failure = wanted.pending_failure, operations.claimed_until = wanted.claimed_until,
    operations.check_at = wanted.check_at",
    ),
    sqlite: Json(
        "
UPDATE operations SET
    status = value ->> '$[1]', failure_code = value ->> '$[2]', updated_at = value ->> '$[3]',
    try_number = value ->> '$[4]', phase = value ->> '$[5]', uncertain = value ->> '$[6]',
    pending_failure = value ->> '$[7]', claimed_until = value ->> '$[8]', check_at = value ->> '$[9]'
FROM json_each(?1) WHERE operations.id = unhex(value ->> '$[0]')",
    ),
};

/// A row of table `operations`.
struct OperationRecord {
    id: Uuid,
    payment_id: i64,
    client: String,
    kind: String,
    amount_minor: i64,
    currency: String,
    status: String,
    failure_code: Option<String>,
    reason: Option<String>,
    client_reference: Option<String>,
    created_at: PrimitiveDateTime,
    updated_at: PrimitiveDateTime,
    try_number: i64,
    phase: String,
    uncertain: bool,
    pending_failure: Option<String>,
    cancellation_reason: Option<String>,
    claimed_until: Option<PrimitiveDateTime>,
    check_at: Option<PrimitiveDateTime>,
    idempotency_key: Option<Vec<u8>>,
    fingerprint: Option<Vec<u8>>,
    origin: String,
    source: Option<String>,
}

impl<'r, R: Columns> FromRow<'r, R> for OperationRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            id: row.uuid("id")?,
            payment_id: row.number("payment_id")?,
            client: row.text("client")?,
            kind: row.text("kind")?,
            amount_minor: row.number("amount_minor")?,
            currency: row.text("currency")?,
            status: row.text("status")?,
            failure_code: row.text_or_null("failure_code")?,
            reason: row.text_or_null("reason")?,
            client_reference: row.text_or_null("client_reference")?,
            created_at: row.moment("created_at")?,
            updated_at: row.moment("updated_at")?,
            try_number: row.number("try_number")?,
            phase: row.text("phase")?,
            uncertain: row.truth("uncertain")?,
            pending_failure: row.text_or_null("pending_failure")?,
            cancellation_reason: row.text_or_null("cancellation_reason")?,
            claimed_until: row.moment_or_null("claimed_until")?,
            check_at: row.moment_or_null("check_at")?,
            idempotency_key: row.bytes_or_null("idempotency_key")?,
            fingerprint: row.bytes_or_null("fingerprint")?,
            origin: row.text("origin")?,
            source: row.text_or_null("source")?,
        })
    }
}

impl Table for OperationRecord {
    fn key<R: Columns>(row: &R) -> Result<Key, sqlx::Error> {
        Ok(Key::Operation(OperationId(row.uuid("id")?)))
    }

    fn mark<R: Columns>(row: &R) -> Result<Option<String>, sqlx::Error> {
        row.text_or_null("quarantined")
    }
}

impl TryFrom<OperationRecord> for StoredOperation {
    type Error = StoreError;

    fn try_from(record: OperationRecord) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
        let currency = Currency::parse(&record.currency).map_err(|_| broken("currency"))?;
        let reason = record.cancellation_reason.as_deref();
        let operation = Operation {
            id: OperationId(record.id),
            payment: PaymentId(record.payment_id),
            client: ClientName::parse(&record.client).map_err(|_| broken("client"))?,
            kind: OperationKind::parse(&record.kind).ok_or_else(|| broken("kind"))?,
            amount: Money::from_minor(record.amount_minor, currency)
                .map_err(|_| broken("amount_minor"))?,
            status: OperationStatus::parse(&record.status).ok_or_else(|| broken("status"))?,
            failure_code: record.failure_code.map(DeclineCode::new),
            reason: record.reason,
            client_reference: record.client_reference,
            source: match record.source.as_deref() {
                None => OperationSource::Client,
                Some(source) => OperationSource::parse(source).ok_or_else(|| broken("source"))?,
            },
            created_at: utc(record.created_at),
            updated_at: utc(record.updated_at),
        };
        Ok(Self {
            operation,
            try_number: u32::try_from(record.try_number).map_err(|_| broken("try_number"))?,
            phase: OperationPhase::parse(&record.phase).ok_or_else(|| broken("phase"))?,
            uncertain: record.uncertain,
            pending_failure: record.pending_failure.map(DeclineCode::new),
            cancellation_reason: match reason {
                None => None,
                Some(reason) => Some(
                    CancellationReason::parse(reason)
                        .ok_or_else(|| broken("cancellation_reason"))?,
                ),
            },
            claimed_until: record.claimed_until.map(utc),
            check_at: record.check_at.map(utc),
            idempotency: idempotency(record.idempotency_key, record.fingerprint)
                .ok_or_else(|| broken("idempotency"))?,
            origin: serde_json::from_str(&record.origin).map_err(|_| broken("origin"))?,
        })
    }
}

fn idempotency(key: Option<Vec<u8>>, fingerprint: Option<Vec<u8>>) -> Option<Option<Idempotency>> {
    match (key, fingerprint) {
        (None, None) => Some(None),
        (Some(key), Some(fingerprint)) => Some(Some(Idempotency {
            key: String::from_utf8(key).ok()?,
            fingerprint: fingerprint.try_into().ok()?,
        })),
        _ => None,
    }
}

/// An operation in the order of the columns of table `operations`.
fn operation(row: &StoredOperation) -> Result<Row<'_>, StoreError> {
    let operation = &row.operation;
    let key = row.idempotency.as_ref();
    let cancellation_reason = row.cancellation_reason.map(CancellationReason::as_str);
    let source = Some(operation.source).filter(|source| *source != OperationSource::Client);
    Ok(vec![
        SqlValue::bytes(operation.id.0.as_bytes()),
        operation.payment.0.into(),
        operation.client.as_str().into(),
        operation.kind.as_str().into(),
        operation.amount.minor().into(),
        operation.amount.currency().code().into(),
        operation.status.as_str().into(),
        operation
            .failure_code
            .as_ref()
            .map(DeclineCode::as_str)
            .into(),
        operation.reason.as_deref().into(),
        operation.client_reference.as_deref().into(),
        operation.created_at.into(),
        operation.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        row.pending_failure.as_ref().map(DeclineCode::as_str).into(),
        cancellation_reason.into(),
        row.claimed_until.into(),
        row.check_at.into(),
        key.map(|key| SqlValue::bytes(key.key.as_bytes())).into(),
        key.map(|key| SqlValue::bytes(&key.fingerprint)).into(),
        SqlValue::json(&row.origin)?,
        source.map(OperationSource::as_str).into(),
    ])
}

/// The columns of an operation that can change, after its id.
fn moved_operation(row: &StoredOperation) -> Row<'_> {
    let operation = &row.operation;
    vec![
        SqlValue::bytes(operation.id.0.as_bytes()),
        operation.status.as_str().into(),
        operation
            .failure_code
            .as_ref()
            .map(DeclineCode::as_str)
            .into(),
        operation.updated_at.into(),
        row.try_number.into(),
        row.phase.as_str().into(),
        row.uncertain.into(),
        row.pending_failure.as_ref().map(DeclineCode::as_str).into(),
        row.claimed_until.into(),
        row.check_at.into(),
    ]
}

fn operation_ids(ids: &[OperationId]) -> Vec<Row<'_>> {
    binary_ids(ids.iter().map(|id| id.0.as_bytes().as_slice()))
}

impl Transaction {
    /// The operations that have the given (client, idempotency key) pairs.
    pub async fn operations_by_key(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let rows = keys.iter();
        let rows =
            rows.map(|(client, key)| vec![client.as_str().into(), SqlValue::bytes(key.as_bytes())]);
        let statement = self.connection.choose(&OPERATIONS_BY_KEYS);
        self.look_up_operations(statement, sorted(rows)).await
    }

    /// Those of the given (client, idempotency key) pairs that an operation has. Waits for operations that are being
    /// inserted.
    pub async fn operation_keys(
        &mut self,
        keys: &[(ClientName, String)],
    ) -> Result<Vec<(ClientName, String)>, StoreError> {
        let rows = keys.iter();
        let rows =
            rows.map(|(client, key)| vec![client.as_str().into(), SqlValue::bytes(key.as_bytes())]);
        let statement = self.connection.choose(&KEYS_USED);
        let found: Vec<(String, String)> = self.look_up(statement, sorted(rows), &[]).await?;
        let used = |(client, key): (String, String)| {
            let key = String::from_utf8(hex::decode(key).ok()?).ok()?;
            Some((ClientName::parse(&client).ok()?, key))
        };
        Ok(found.into_iter().filter_map(used).collect())
    }

    /// Locks operations for update in the order of their ids; unknown ids are ignored.
    pub async fn lock_operations(
        &mut self,
        ids: &[OperationId],
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let statement = self.connection.choose(&LOCK_OPERATIONS);
        self.look_up_operations(statement, operation_ids(ids)).await
    }

    /// Operations, without a lock; unknown ids are ignored.
    pub async fn read_operations(
        &mut self,
        ids: &[OperationId],
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let statement = self.connection.choose(&READ_OPERATIONS);
        self.look_up_operations(statement, operation_ids(ids)).await
    }

    /// Inserts operations. A row whose (client, idempotency key) exists is skipped: read the keys back.
    pub async fn insert_operations(&mut self, rows: &[StoredOperation]) -> Result<(), StoreError> {
        let rows = rows.iter().map(operation).collect::<Result<_, _>>()?;
        let statement = self.connection.choose(&INSERT_OPERATIONS);
        self.write(statement, rows, &[]).await
    }

    /// Updates locked operations: status, failure and progress.
    pub async fn update_operations(&mut self, rows: &[StoredOperation]) -> Result<(), StoreError> {
        let rows = sorted(rows.iter().map(moved_operation));
        let statement = self.connection.choose(&UPDATE_OPERATIONS);
        self.write(statement, rows, &[]).await
    }

    /// Up to `limit` operations whose check is due, with their payments.
    pub async fn forgotten_operations(
        &mut self,
        now: Timestamp,
        limit: u32,
    ) -> Result<Vec<(OperationId, PaymentId)>, StoreError> {
        let found: Vec<(Uuid, i64)> = self
            .connection
            .fetch(FORGOTTEN_OPERATIONS, &[now.into(), limit.into()])
            .await?;
        let found = found.into_iter();
        Ok(found
            .map(|(id, payment)| (OperationId(id), PaymentId(payment)))
            .collect())
    }

    async fn look_up_operations(
        &mut self,
        statement: &'static ManyRows,
        keys: Vec<Row<'_>>,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let found = self
            .look_up::<Tried<OperationRecord>>(statement, keys, &[])
            .await?;
        Ok(each(found, &mut self.left_out))
    }
}

impl Store {
    /// Whether an operation of this client has the idempotency key.
    pub async fn is_key_of_operation(
        &self,
        client: &ClientName,
        key: &str,
    ) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let used = tx
            .operation_keys(&[(client.clone(), key.to_owned())])
            .await?;
        Ok(!used.is_empty())
    }

    /// One operation of any client.
    pub async fn operation(&self, id: OperationId) -> Result<Option<StoredOperation>, StoreError> {
        let id = id.0.simple().to_string();
        let found = self.operations_found(OPERATION, &[id.into()]).await?;
        Ok(found.into_iter().next())
    }

    /// The ids of payments whose capture or void is running, among `limit` running operations.
    pub async fn payments_being_operated(&self, limit: u32) -> Result<Vec<PaymentId>, StoreError> {
        let found: Vec<(i64,)> = self.read(PAYMENTS_BEING_OPERATED, &[limit.into()]).await?;
        Ok(found.into_iter().map(|(id,)| PaymentId(id)).collect())
    }

    /// The operations of a payment, the oldest first, at most `limit`; of one kind if one is given.
    pub async fn operations_of(
        &self,
        payment: PaymentId,
        kind: Option<OperationKind>,
        limit: u32,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let kind = kind.map(OperationKind::as_str);
        let parameters = [payment.0.into(), kind.into(), limit.into()];
        self.operations_found(OPERATIONS_OF, &parameters).await
    }

    /// The newest refunds of a client or of all, at most `limit`, among the newest 5,000 operations. Those that are set aside
    /// or cannot be read are left out.
    pub async fn newest_refunds(
        &self,
        client: Option<&ClientName>,
        limit: u32,
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let client = client.map(ClientName::as_str);
        self.operations_found(NEWEST_REFUNDS, &[client.into(), limit.into()])
            .await
    }

    async fn operations_found(
        &self,
        sql: &'static str,
        parameters: &[SqlValue<'_>],
    ) -> Result<Vec<StoredOperation>, StoreError> {
        let found: Vec<Tried<OperationRecord>> = self.read(sql, parameters).await?;
        let mut left_out = Vec::new();
        let rows = each(found, &mut left_out);
        left_out.iter().for_each(SetAside::report);
        Ok(rows)
    }
}
