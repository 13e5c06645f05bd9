//! Table `issuer_operations`: what the simulated issuer has captured, voided and refunded.

use sqlx::FromRow;

use super::sorted;
use crate::domain::{Currency, OperationKind, PaymentId, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::records::{all, unreadable};
use crate::store::rows::IssuerOperation;
use crate::store::sql_values::{Row, SqlValue};
use crate::store::{Store, StoreError, Transaction};

/// (payment id) → operations
const OF_PAYMENT: &str =
    "SELECT * FROM issuer_operations WHERE payment_id = ? ORDER BY idempotency_key";

/// (rows of authorization key) → ledger lines, locked: every change of their operations waits for it
static LOCK_AUTHORIZATIONS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT idempotency_key FROM issuer_ledger FORCE INDEX (PRIMARY) WHERE idempotency_key IN (",
        ") ORDER BY idempotency_key FOR UPDATE",
    ),
    sqlite: Json(
        "
SELECT idempotency_key FROM issuer_ledger
WHERE idempotency_key IN (SELECT value ->> '$[0]' FROM json_each(?1))",
    ),
};

/// (rows of authorization key) → operations
static OF_AUTHORIZATIONS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT * FROM issuer_operations FORCE INDEX (issuer_operations_by_authorization) WHERE authorization_key IN (",
        ") ORDER BY idempotency_key",
    ),
    sqlite: Json(
        "
SELECT * FROM issuer_operations
WHERE authorization_key IN (SELECT value ->> '$[0]' FROM json_each(?1)) ORDER BY idempotency_key",
    ),
};

/// (rows)
static INSERT: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO issuer_operations (
    idempotency_key, authorization_key, payment_id, kind, amount_minor, currency, executed_at, closed_at
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE idempotency_key = issuer_operations.idempotency_key",
    ),
    sqlite: Json(
        "
INSERT INTO issuer_operations (
    idempotency_key, authorization_key, payment_id, kind, amount_minor, currency, executed_at, closed_at
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]', value ->> '$[5]',
    value ->> '$[6]', value ->> '$[7]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows of key, time)
static RETURN: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "UPDATE issuer_operations FORCE INDEX (PRIMARY) SET failed_at = ? WHERE idempotency_key IN (",
        ")",
    ),
    sqlite: Json(
        "
UPDATE issuer_operations SET failed_at = ?2
WHERE idempotency_key IN (SELECT value ->> '$[0]' FROM json_each(?1))",
    ),
};

/// A row of table `issuer_operations`.
struct Record {
    idempotency_key: String,
    authorization_key: String,
    payment_id: i64,
    kind: String,
    amount_minor: i64,
    currency: String,
    executed: bool,
    returned: bool,
}

impl<'r, R: Columns> FromRow<'r, R> for Record {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            idempotency_key: row.text("idempotency_key")?,
            authorization_key: row.text("authorization_key")?,
            payment_id: row.number("payment_id")?,
            kind: row.text("kind")?,
            amount_minor: row.number("amount_minor")?,
            currency: row.text("currency")?,
            executed: row.moment_or_null("executed_at")?.is_some(),
            returned: row.moment_or_null("failed_at")?.is_some(),
        })
    }
}

impl TryFrom<Record> for IssuerOperation {
    type Error = StoreError;

    fn try_from(record: Record) -> Result<Self, StoreError> {
        let broken = |column: &str| StoreError::Corrupt(unreadable(column));
        Ok(Self {
            key: record.idempotency_key,
            authorization: record.authorization_key,
            payment: PaymentId(record.payment_id),
            kind: OperationKind::parse(&record.kind).ok_or_else(|| broken("kind"))?,
            amount: record.amount_minor,
            currency: Currency::parse(&record.currency).map_err(|_| broken("currency"))?,
            executed: record.executed,
            returned: record.returned,
        })
    }
}

fn row(operation: &IssuerOperation, now: Timestamp) -> Row<'_> {
    let (executed_at, closed_at): (SqlValue<'_>, SqlValue<'_>) = match operation.executed {
        true => (now.into(), SqlValue::Null),
        false => (SqlValue::Null, now.into()),
    };
    vec![
        operation.key.as_str().into(),
        operation.authorization.as_str().into(),
        operation.payment.0.into(),
        operation.kind.as_str().into(),
        operation.amount.into(),
        operation.currency.code().into(),
        executed_at,
        closed_at,
    ]
}

fn texts(keys: &[String]) -> Vec<Row<'_>> {
    sorted(keys.iter().map(|key| vec![key.as_str().into()]))
}

impl Transaction {
    /// Locks the ledger lines of these authorizations, and returns the operations on them.
    pub async fn lock_issuer_operations(
        &mut self,
        authorizations: &[String],
    ) -> Result<Vec<IssuerOperation>, StoreError> {
        let statement = self.connection.choose(&LOCK_AUTHORIZATIONS);
        let _locked: Vec<(String,)> = self.look_up(statement, texts(authorizations), &[]).await?;
        let statement = self.connection.choose(&OF_AUTHORIZATIONS);
        all(self
            .look_up::<Record>(statement, texts(authorizations), &[])
            .await?)
    }

    /// Adds operations: those that are carried out, and those that never will be.
    pub async fn insert_issuer_operations(
        &mut self,
        operations: &[IssuerOperation],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = sorted(operations.iter().map(|operation| row(operation, now)));
        let statement = self.connection.choose(&INSERT);
        self.write(statement, rows, &[]).await
    }

    /// Marks refunds as returned.
    pub async fn return_issuer_operations(
        &mut self,
        keys: &[String],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let statement = self.connection.choose(&RETURN);
        self.write(statement, texts(keys), &[now.into()]).await
    }
}

impl Store {
    /// What the simulated issuer has captured, voided and refunded for a payment.
    pub async fn issuer_operations(
        &self,
        payment: PaymentId,
    ) -> Result<Vec<IssuerOperation>, StoreError> {
        all(self.read::<Record>(OF_PAYMENT, &[payment.0.into()]).await?)
    }
}
