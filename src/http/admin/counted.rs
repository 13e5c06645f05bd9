//! What was counted in each minute, kept for all readers of the charts: a minute that is over does not change any more, so
//! only the last ones are read again.

use std::collections::BTreeMap;
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use crate::store::{MinuteCounts, Store, StoreError};

/// For so long the same counts are shown to all readers; processes write once a minute.
const SHOWN_FOR: Duration = Duration::from_secs(1);

/// A row belongs to the minute in which its transaction began; after so many minutes it is committed.
const OPEN: i64 = 2;

/// Minutes that are kept: the longest time that can be shown.
const KEPT: i64 = 24 * 60;

/// The counts that were read.
#[derive(Debug, Default)]
pub struct Counted(Mutex<Known>);

#[derive(Debug, Default)]
struct Known {
    minutes: BTreeMap<i64, MinuteCounts>,
    /// The first minute that was read, the current one at the last reading, and when that was.
    read: Option<(i64, i64, Instant)>,
}

impl Counted {
    /// The current minute, and the counts of it and of those before it, so many in total; a minute without counts is left out.
    pub async fn minutes(
        &self,
        database: &Store,
        minutes: u32,
    ) -> Result<(i64, BTreeMap<i64, MinuteCounts>), StoreError> {
        let mut known = self.0.lock().await;
        let wanted = i64::from(minutes);
        let is_fresh = known
            .read
            .is_some_and(|(first, now, at)| first <= now - wanted + 1 && at.elapsed() < SHOWN_FOR);
        if !is_fresh {
            known.read(database, wanted).await?;
        }
        let now = known.read.map_or(0, |(_, now, _)| now);
        let shown = known.minutes.range(now - wanted + 1..);
        let shown = shown.map(|(minute, counts)| (*minute, counts.clone()));
        Ok((now, shown.collect()))
    }
}

impl Known {
    async fn read(&mut self, database: &Store, wanted: i64) -> Result<(), StoreError> {
        let at = Instant::now();
        let now = database.current_minute().await?;
        let wanted_from = now - wanted + 1;
        let known = self.read.filter(|(first, ..)| *first <= wanted_from);
        let from = known.map_or(wanted_from, |(_, last, _)| wanted_from.max(last - OPEN));
        let counted = database.minutes_since(from).await?;
        self.minutes.retain(|minute, _| *minute < from);
        self.minutes.extend(counted);
        let oldest = now - KEPT;
        self.minutes.retain(|minute, _| *minute > oldest);
        let first = known.map_or(wanted_from, |(first, ..)| first.max(oldest + 1));
        self.read = Some((first, now, at));
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(number: u64) -> MinuteCounts {
        MinuteCounts {
            outcomes: [("succeeded".to_owned(), number)].into(),
            ..MinuteCounts::default()
        }
    }

    #[tokio::test]
    async fn only_the_last_minutes_are_read_again_and_all_are_shown() {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Store::sqlite(&folder.path().join("payments.db"));
        database.migrate().await.expect("a schema");
        let counted = Counted::default();
        database.write_minute(&counts(3)).await.expect("written");
        let (now, first) = counted.minutes(&database, 15).await.expect("counts");
        let sum = |counted: &BTreeMap<i64, MinuteCounts>| -> u64 {
            counted.values().map(|it| it.outcomes["succeeded"]).sum()
        };
        assert_eq!(sum(&first), 3);
        // As if the reading had been some minutes ago, with a minute that is over.
        {
            let mut known = counted.0.lock().await;
            known.minutes.insert(now - 5, counts(40));
            let (first, _, at) = known.read.expect("a reading");
            let long_ago = at.checked_sub(SHOWN_FOR).expect("a time");
            known.read = Some((first, now, long_ago));
        }
        database.write_minute(&counts(4)).await.expect("written");
        let (_, again) = counted.minutes(&database, 15).await.expect("counts");
        assert_eq!(sum(&again), 47);
        // Within a second the database is not read again, except for a longer time.
        database.write_minute(&counts(100)).await.expect("written");
        let (_, same) = counted.minutes(&database, 15).await.expect("counts");
        assert_eq!(sum(&same), 47);
        let (_, longer) = counted.minutes(&database, 60).await.expect("counts");
        assert_eq!(
            sum(&longer),
            107,
            "the minute that is over is not in the database"
        );
    }
}
