//! Table `metric_minutes`: what each process has counted in each minute, by the database's clock.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use crate::domain::Timestamp;
use crate::store::{Store, StoreError};

/// (minute, id, counts)
const INSERT: &str = "INSERT INTO metric_minutes (minute, id, counts) VALUES (?, ?, ?)";

/// (minute) → minute, counts; in the order of the primary key
const SINCE: &str = "
SELECT minute, counts FROM metric_minutes WHERE minute >= ? ORDER BY minute, id";

/// (minute)
const FORGET: &str = "DELETE FROM metric_minutes WHERE minute < ?";

/// How many minutes are kept: two days.
const KEPT: i64 = 48 * 60;

/// What was counted in some minute.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct MinuteCounts {
    /// Payments that got an outcome, by status.
    pub outcomes: BTreeMap<String, u64>,
    /// Declined and failed payments, by code.
    pub codes: BTreeMap<String, u64>,
    /// How long payments took: the number in each bucket of the histogram, by its upper limit in seconds.
    pub seconds: BTreeMap<String, u64>,
}

impl MinuteCounts {
    /// Whether nothing was counted.
    pub fn is_empty(&self) -> bool {
        self.outcomes.is_empty() && self.codes.is_empty() && self.seconds.is_empty()
    }

    /// Adds the counts of another process.
    pub fn add(&mut self, other: Self) {
        for (sum, counts) in [
            (&mut self.outcomes, other.outcomes),
            (&mut self.codes, other.codes),
            (&mut self.seconds, other.seconds),
        ] {
            for (name, count) in counts {
                let sum = sum.entry(name).or_default();
                *sum = sum.saturating_add(count);
            }
        }
    }
}

impl Store {
    /// Writes what this process has counted as a row of the current minute, and deletes rows older than two days.
    pub async fn write_minute(&self, counts: &MinuteCounts) -> Result<(), StoreError> {
        let counts = serde_json::to_string(counts)
            .map_err(|error| StoreError::Corrupt(format!("counts of a minute: {error}")))?;
        let mut tx = self.begin().await?;
        let minute = minute_of(tx.now());
        let id = Uuid::now_v7().to_string();
        let row = [minute.into(), id.into(), counts.into()];
        tx.connection.execute(INSERT, &row).await?;
        let oldest = minute - KEPT;
        tx.connection.execute(FORGET, &[oldest.into()]).await?;
        tx.commit().await
    }

    /// The current minute by the database's clock. Minutes are numbered from 1970-01-01 00:00 UTC.
    pub async fn current_minute(&self) -> Result<i64, StoreError> {
        Ok(minute_of(self.now().await?))
    }

    /// What all processes have counted in this minute and later; a minute without counts is left out. A row that cannot be
    /// read is left out and logged.
    pub async fn minutes_since(
        &self,
        first: i64,
    ) -> Result<BTreeMap<i64, MinuteCounts>, StoreError> {
        let rows: Vec<(i64, String)> = self.read(SINCE, &[first.into()]).await?;
        let mut counted: BTreeMap<i64, MinuteCounts> = BTreeMap::new();
        for (minute, counts) in rows {
            match serde_json::from_str::<MinuteCounts>(&counts) {
                Ok(counts) => counted.entry(minute).or_default().add(counts),
                Err(error) => tracing::warn!(minute, %error, "counts of a minute cannot be read"),
            }
        }
        Ok(counted)
    }
}

fn minute_of(time: Timestamp) -> i64 {
    time.unix_timestamp().div_euclid(60)
}
