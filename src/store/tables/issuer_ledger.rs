//! Table `issuer_ledger`: what the simulated issuer has charged and reversed.

use sqlx::FromRow;
use time::PrimitiveDateTime;

use super::sorted;
use crate::domain::{PaymentId, Timestamp};
use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::columns::Columns;
use crate::store::records::{all, utc};
use crate::store::rows::{LedgerEntry, LedgerLine};
use crate::store::sql_values::Row;
use crate::store::{Store, StoreError, Transaction};

/// (lowest key, first key beyond) → ledger entries
const LEDGER_BETWEEN: &str = "
SELECT * FROM issuer_ledger WHERE idempotency_key >= ? AND idempotency_key < ? ORDER BY idempotency_key";

/// (rows with the time of the charge)
static LEDGER_CHARGE: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, charged_at, currency) VALUES ",
        "(?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE idempotency_key = issuer_ledger.idempotency_key",
    ),
    sqlite: Json(
        "
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, charged_at, currency
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows with the time, whether it is only held, the test card)
static LEDGER_HOLD: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, charged_at, currency, held, test_card
) VALUES ",
        "(?, ?, ?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE idempotency_key = issuer_ledger.idempotency_key",
    ),
    sqlite: Json(
        "
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, charged_at, currency, held, test_card
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]', value ->> '$[5]',
    value ->> '$[6]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows with the time of the reversal)
static LEDGER_REVERSE: Both<ManyRows> = Both {
    mysql: Json("
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, reversed_at, currency
)
SELECT
    given.idempotency_key, given.payment_id, given.amount_minor, given.reversed_at, given.currency
FROM JSON_TABLE(?, '$[*]' COLUMNS (
    idempotency_key VARCHAR(65) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON ERROR,
    payment_id BIGINT PATH '$[1]' ERROR ON ERROR,
    amount_minor BIGINT PATH '$[2]' ERROR ON ERROR,
    reversed_at VARCHAR(27) CHARACTER SET utf8mb4 PATH '$[3]' ERROR ON ERROR,
    currency VARCHAR(4) CHARACTER SET utf8mb4 PATH '$[4]' ERROR ON ERROR
)) AS given
ON DUPLICATE KEY UPDATE reversed_at = COALESCE(issuer_ledger.reversed_at, given.reversed_at)"),
    sqlite: Json("
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, reversed_at, currency
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT (idempotency_key) DO UPDATE SET reversed_at = coalesce(reversed_at, excluded.reversed_at)"),
};

/// (rows with the time of the reversal): a key that is already charged or reversed stays unchanged
static LEDGER_CLOSE: Both<ManyRows> = Both {
    mysql: ManyRows::values(
        "INSERT INTO issuer_ledger (idempotency_key, payment_id, amount_minor, reversed_at, currency) VALUES ",
        "(?, ?, ?, ?, ?)",
        " ON DUPLICATE KEY UPDATE idempotency_key = issuer_ledger.idempotency_key",
    ),
    sqlite: Json(
        "
INSERT INTO issuer_ledger (
    idempotency_key, payment_id, amount_minor, reversed_at, currency
)
SELECT
    value ->> '$[0]', value ->> '$[1]', value ->> '$[2]', value ->> '$[3]', value ->> '$[4]'
FROM json_each(?1) WHERE true
ON CONFLICT DO NOTHING",
    ),
};

/// (rows of key) → ledger entries
static LEDGER_ENTRIES: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT * FROM issuer_ledger FORCE INDEX (PRIMARY) WHERE idempotency_key IN (",
        ")",
    ),
    sqlite: Json(
        "
SELECT * FROM issuer_ledger
WHERE idempotency_key IN (SELECT value ->> '$[0]' FROM json_each(?1)) ORDER BY idempotency_key",
    ),
};

/// A row of table `issuer_ledger`.
struct LedgerRecord {
    idempotency_key: String,
    payment_id: i64,
    amount_minor: i64,
    held: bool,
    test_card: Option<String>,
    charged_at: Option<PrimitiveDateTime>,
    reversed_at: Option<PrimitiveDateTime>,
}

impl<'r, R: Columns> FromRow<'r, R> for LedgerRecord {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        Ok(Self {
            idempotency_key: row.text("idempotency_key")?,
            payment_id: row.number("payment_id")?,
            amount_minor: row.number("amount_minor")?,
            held: row.number_or_null("held")?.is_some_and(|held| held != 0),
            test_card: row.text_or_null("test_card")?,
            charged_at: row.moment_or_null("charged_at")?,
            reversed_at: row.moment_or_null("reversed_at")?,
        })
    }
}

impl TryFrom<LedgerRecord> for LedgerEntry {
    type Error = StoreError;

    fn try_from(record: LedgerRecord) -> Result<Self, StoreError> {
        Ok(Self {
            key: record.idempotency_key,
            payment: PaymentId(record.payment_id),
            amount: record.amount_minor,
            held: record.held,
            test_card: record.test_card,
            charged_at: record.charged_at.map(utc),
            reversed_at: record.reversed_at.map(utc),
        })
    }
}

/// Ledger lines and the time of the charge or reversal, by key, so that two writers lock them in the same order.
fn ledger_rows<'a>(lines: impl IntoIterator<Item = &'a LedgerLine>, at: Timestamp) -> Vec<Row<'a>> {
    let row = |line| ledger_line(line, at);
    let mut rows: Vec<_> = lines.into_iter().map(row).collect();
    rows.sort_unstable();
    rows
}

fn ledger_line(line: &LedgerLine, at: Timestamp) -> Row<'_> {
    vec![
        line.key.as_str().into(),
        line.payment.0.into(),
        line.amount.minor().into(),
        at.into(),
        line.amount.currency().code().into(),
    ]
}

/// Ledger lines as [`ledger_rows`], with what later operations need to know.
fn hold_rows<'a>(lines: impl IntoIterator<Item = &'a LedgerLine>, at: Timestamp) -> Vec<Row<'a>> {
    sorted(lines.into_iter().map(|line| {
        let mut row = ledger_line(line, at);
        row.extend([line.held.into(), line.test_card.into()]);
        row
    }))
}

/// Texts as rows of one column, sorted.
fn texts(texts: &[String]) -> Vec<Row<'_>> {
    sorted(texts.iter().map(|text| vec![text.as_str().into()]))
}

impl Transaction {
    /// Records charges in the simulated issuer's ledger; a key that is already charged or reversed stays unchanged.
    pub async fn ledger_charge(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let is_plain = |line: &&LedgerLine| !line.held && line.test_card.is_none();
        let (plain, others): (Vec<_>, Vec<_>) = lines.iter().partition(is_plain);
        if !plain.is_empty() {
            let rows = ledger_rows(plain, now);
            self.write(self.connection.choose(&LEDGER_CHARGE), rows, &[])
                .await?;
        }
        if others.is_empty() {
            return Ok(());
        }
        let rows = hold_rows(others, now);
        self.write(self.connection.choose(&LEDGER_HOLD), rows, &[])
            .await
    }

    /// Records reversals; a key that was never charged gets a line, too, which blocks any later charge.
    pub async fn ledger_reverse(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = ledger_rows(lines, now);
        self.write(self.connection.choose(&LEDGER_REVERSE), rows, &[])
            .await
    }

    /// Closes keys: those that are not charged never will be. A key that is charged stays so.
    pub async fn ledger_close(
        &mut self,
        lines: &[LedgerLine],
        now: Timestamp,
    ) -> Result<(), StoreError> {
        let rows = ledger_rows(lines, now);
        self.write(self.connection.choose(&LEDGER_CLOSE), rows, &[])
            .await
    }

    /// The ledger entries of the given keys.
    pub async fn ledger_entries(
        &mut self,
        keys: &[String],
    ) -> Result<Vec<LedgerEntry>, StoreError> {
        let keys = texts(keys);
        let found =
            self.look_up::<LedgerRecord>(self.connection.choose(&LEDGER_ENTRIES), keys, &[]);
        all(found.await?)
    }
}

impl Store {
    /// Every line of the simulated issuer's ledger for one payment, by key.
    pub async fn ledger(&self, payment: PaymentId) -> Result<Vec<LedgerEntry>, StoreError> {
        // Exactly the payment's keys, `{payment_id}-{attempt}`: "." is the next character after "-".
        let keys = [format!("{payment}-").into(), format!("{payment}.").into()];
        all(self.read::<LedgerRecord>(LEDGER_BETWEEN, &keys).await?)
    }
}
