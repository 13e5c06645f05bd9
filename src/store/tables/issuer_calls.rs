//! Table `issuer_calls`: how often the simulated issuer was called for a key. Only for test cards that need the number.

use std::collections::BTreeMap;

use crate::store::bulk::ManyRows::Json;
use crate::store::bulk::{Both, ManyRows};
use crate::store::sql_values::Row;
use crate::store::{StoreError, Transaction};

use super::sorted;

/// (rows of key and number of calls)
static COUNT_CALLS: Both<ManyRows> = Both {
    mysql: Json(
        "
INSERT INTO issuer_calls (idempotency_key, calls)
SELECT given.idempotency_key, given.calls FROM JSON_TABLE(?, '$[*]' COLUMNS (
    idempotency_key VARCHAR(65) CHARACTER SET utf8mb4 PATH '$[0]' ERROR ON ERROR,
    calls BIGINT PATH '$[1]' ERROR ON ERROR
)) AS given
ON DUPLICATE KEY UPDATE calls = issuer_calls.calls + given.calls",
    ),
    sqlite: Json(
        "
INSERT INTO issuer_calls (idempotency_key, calls)
SELECT value ->> '$[0]', value ->> '$[1]' FROM json_each(?1) WHERE true
ON CONFLICT (idempotency_key) DO UPDATE SET calls = calls + excluded.calls",
    ),
};

/// (rows of key) → key, number of calls
static CALLS: Both<ManyRows> = Both {
    mysql: ManyRows::keys(
        "SELECT idempotency_key, calls FROM issuer_calls FORCE INDEX (PRIMARY) WHERE idempotency_key IN (",
        ")",
    ),
    sqlite: Json(
        "
SELECT idempotency_key, calls FROM issuer_calls
WHERE idempotency_key IN (SELECT value ->> '$[0]' FROM json_each(?1))",
    ),
};

impl Transaction {
    /// Counts calls, one for each time that a key is listed; returns how many each key has now.
    pub async fn count_issuer_calls(
        &mut self,
        keys: &[String],
    ) -> Result<BTreeMap<String, u32>, StoreError> {
        let mut calls: BTreeMap<&str, u32> = BTreeMap::new();
        for key in keys {
            *calls.entry(key).or_default() += 1;
        }
        // Sorted by key: the order in which rows are locked.
        let rows = calls
            .iter()
            .map(|(key, calls)| vec![(*key).into(), (*calls).into()]);
        let rows: Vec<Row<'_>> = rows.collect();
        self.write(self.connection.choose(&COUNT_CALLS), rows, &[])
            .await?;
        let keys = sorted(keys.iter().map(|key| vec![key.as_str().into()]));
        let statement = self.connection.choose(&CALLS);
        let found: Vec<(String, i64)> = self.look_up(statement, keys, &[]).await?;
        let calls = found
            .into_iter()
            .map(|(key, calls)| (key, u32::try_from(calls).unwrap_or(u32::MAX)));
        Ok(calls.collect())
    }
}
