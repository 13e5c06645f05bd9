//! Table `platform_events`: which events payment platforms have reported by webhook.

use std::time::Duration;

use sqlx::FromRow;
use time::PrimitiveDateTime;

use crate::domain::Timestamp;
use crate::metric;
use crate::store::bulk::Both;
use crate::store::columns::Columns;
use crate::store::records::utc;
use crate::store::sql_values::SqlValue;
use crate::store::{Store, StoreError};

/// How long an event that is over is kept, so that it is recognized when it is sent again. Also how long one can wait.
pub const KEPT: Duration = Duration::from_secs(3 * 24 * 60 * 60);

/// The longest delay between two looks at an event. One that is due later was written before the clock was set back.
const LONGEST_DELAY: Duration = Duration::from_secs(2 * 60 * 60);

/// Rows deleted in one statement.
const DELETED_AT_ONCE: u32 = 500;

/// How many events that need a person are listed of each processor.
const MOST_LISTED: u32 = 1000;

/// Length of the column `quarantined`, in characters.
const LONGEST_REASON: usize = 255;

/// (processor, event) → a row, if the event is known
const KNOWN: &str = "SELECT 1 FROM platform_events WHERE processor = ? AND event_id = ?";

/// (processor, event, kind, subject, reference, now, now): unless it is known
static INSERT: Both<&str> = Both {
    mysql: "
INSERT INTO platform_events (processor, event_id, kind, subject, reference, received_at, tries, state, due_at)
VALUES (?, ?, ?, ?, ?, ?, 0, 'waiting', ?)
ON DUPLICATE KEY UPDATE event_id = platform_events.event_id",
    sqlite: "
INSERT INTO platform_events (processor, event_id, kind, subject, reference, received_at, tries, state, due_at)
VALUES (?, ?, ?, ?, ?, ?, 0, 'waiting', ?)
ON CONFLICT DO NOTHING",
};

/// (processor, now, too far) → a row, if one is due. Locks nothing: usually there is none.
const IS_DUE: &str = "
SELECT 1 FROM platform_events
WHERE processor = ? AND state = 'waiting' AND (due_at <= ? OR due_at > ?) LIMIT 1";

/// (processor, now, too far, limit) → events that are due, locked; those locked by others are skipped
static LOCK_DUE: Both<&str> = Both {
    mysql: "
SELECT * FROM platform_events FORCE INDEX (platform_events_due)
WHERE processor = ? AND state = 'waiting' AND (due_at <= ? OR due_at > ?)
ORDER BY due_at LIMIT ? FOR UPDATE SKIP LOCKED",
    sqlite: "
SELECT * FROM platform_events
WHERE processor = ? AND state = 'waiting' AND (due_at <= ? OR due_at > ?) ORDER BY due_at LIMIT ?",
};

/// (due, processor, event)
const TAKE: &str = "
UPDATE platform_events SET due_at = ?, tries = tries + 1 WHERE processor = ? AND event_id = ?";

/// (state, due, reason, difference, processor, event): unless a person has dismissed it meanwhile
const END: &str = "
UPDATE platform_events SET state = ?, due_at = ?, quarantined = ?, difference = ?
WHERE processor = ? AND event_id = ? AND state = 'waiting'";

/// (processor, limit) → events about which the platform says something else than we do
const DIFFERENT: &str = "
SELECT * FROM platform_events
WHERE processor = ? AND state = 'waiting' AND difference IS NOT NULL ORDER BY received_at LIMIT ?";

/// (due, processor, event): unless it has ended, or nothing differs any more
const DISMISS: &str = "
UPDATE platform_events SET state = 'done', due_at = ?, difference = NULL
WHERE processor = ? AND event_id = ? AND state = 'waiting' AND difference IS NOT NULL";

/// (processor, state, time, limit): rows that are due by then
static DELETE: Both<&str> = Both {
    mysql: "
DELETE FROM platform_events WHERE processor = ? AND state = ? AND due_at <= ? ORDER BY due_at LIMIT ?",
    sqlite: "
DELETE FROM platform_events WHERE (processor, event_id) IN (
    SELECT processor, event_id FROM platform_events WHERE processor = ? AND state = ? AND due_at <= ?
    ORDER BY due_at LIMIT ?)",
};

/// () → the processors that have rows. Reads one row for each of them.
const PROCESSORS: &str = "SELECT DISTINCT processor FROM platform_events";

/// (processor) → how many wait
const WAITING: &str =
    "SELECT COUNT(*) FROM platform_events WHERE processor = ? AND state = 'waiting'";

/// (processor, limit): those that were received first, and at last those that need a person
static DELETE_OLDEST: Both<&str> = Both {
    mysql: "
DELETE FROM platform_events WHERE processor = ? AND state = 'waiting'
ORDER BY difference IS NOT NULL, received_at LIMIT ?",
    sqlite: "
DELETE FROM platform_events WHERE (processor, event_id) IN (
    SELECT processor, event_id FROM platform_events WHERE processor = ? AND state = 'waiting'
    ORDER BY difference IS NOT NULL, received_at LIMIT ?)",
};

const DONE: &str = "done";
const ASIDE: &str = "aside";
const WAITS: &str = "waiting";

/// Why an event is set aside that can be read.
const UNFITTING: &str = "in three days nothing here has fitted it";

/// What an event is about, as columns.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct EventSubject {
    /// `attempt`, `refund` or `dispute`.
    pub kind: String,
    /// Which one.
    pub reference: String,
}

/// An event that waits to be looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct WaitingEvent {
    /// The processor's name.
    pub processor: String,
    /// The platform's id of the event.
    pub id: String,
    /// The platform's name for what happened.
    pub kind: String,
    /// What it is about.
    pub subject: EventSubject,
    /// When its webhook arrived.
    pub received_at: Timestamp,
    /// How often it was looked at before.
    pub tries: u32,
    /// What the platform said otherwise than we do at the last look, as JSON.
    pub difference: Option<String>,
}

/// Events that this process has taken.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TakenEvents {
    /// The events.
    pub events: Vec<WaitingEvent>,
    /// When that was.
    pub now: Option<Timestamp>,
}

/// What becomes of an event that was looked at.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum EventEnd {
    /// It is over; its id is kept for a while.
    Done,
    /// It is looked at again after this time. What differed at an earlier look still does.
    Later(Duration),
    /// It is looked at again after this time; until then, the platform says something else than we do: as JSON.
    Differs(String, Duration),
    /// It cannot be processed, for this reason.
    Aside(String),
    /// Nothing here has fitted it for as long as it may wait.
    Unfitting,
}

impl<'r, R: Columns> FromRow<'r, R> for WaitingEvent {
    fn from_row(row: &'r R) -> Result<Self, sqlx::Error> {
        let received_at: PrimitiveDateTime = row.moment("received_at")?;
        Ok(Self {
            processor: row.text("processor")?,
            id: row.text("event_id")?,
            kind: row.text("kind")?,
            subject: EventSubject {
                kind: row.text("subject")?,
                reference: row.text("reference")?,
            },
            received_at: utc(received_at),
            tries: u32::try_from(row.number("tries")?).unwrap_or(u32::MAX),
            difference: row.text_or_null("difference")?,
        })
    }
}

impl Store {
    /// Whether an event is stored, whatever became of it.
    pub async fn knows_platform_event(
        &self,
        processor: &str,
        id: &str,
    ) -> Result<bool, StoreError> {
        let key = [processor.into(), id.into()];
        Ok(!self.read::<(i64,)>(KNOWN, &key).await?.is_empty())
    }

    /// Stores an event of a processor, due at once, unless it is known; returns whether it is new.
    pub async fn add_platform_event(
        &self,
        (processor, id): (&str, &str),
        kind: &str,
        subject: &EventSubject,
    ) -> Result<bool, StoreError> {
        let key = [processor.into(), id.into()];
        let mut tx = self.begin().await?;
        let known: Vec<(i64,)> = tx.connection.fetch(KNOWN, &key).await?;
        if !known.is_empty() {
            return Ok(false);
        }
        let now = tx.now();
        let parameters = [
            processor.into(),
            id.into(),
            kind.into(),
            subject.kind.as_str().into(),
            subject.reference.as_str().into(),
            now.into(),
            now.into(),
        ];
        let insert = *tx.connection.choose(&INSERT);
        tx.connection.execute(insert, &parameters).await?;
        tx.commit().await?;
        Ok(true)
    }

    /// Takes up to `limit` due events of a processor for one lease: if this process dies, they are due again afterwards.
    pub async fn take_platform_events(
        &self,
        processor: &str,
        lease: Duration,
        limit: u32,
    ) -> Result<TakenEvents, StoreError> {
        let now = self.now().await?;
        let bounds = |now: Timestamp| -> [SqlValue<'_>; 3] {
            [processor.into(), now.into(), (now + LONGEST_DELAY).into()]
        };
        let is_due: Vec<(i64,)> = self.read(IS_DUE, &bounds(now)).await?;
        if is_due.is_empty() {
            return Ok(TakenEvents::default());
        }
        let mut tx = self.begin().await?;
        let now = tx.now();
        let [processor, due, far] = bounds(now);
        let lock = *tx.connection.choose(&LOCK_DUE);
        let parameters = [processor, due, far, limit.into()];
        let events: Vec<WaitingEvent> = tx.connection.fetch(lock, &parameters).await?;
        for event in &events {
            let parameters = [
                (now + lease).into(),
                event.processor.as_str().into(),
                event.id.as_str().into(),
            ];
            tx.connection.execute(TAKE, &parameters).await?;
        }
        tx.commit().await?;
        let now = Some(now);
        Ok(TakenEvents { events, now })
    }

    /// Writes what became of an event.
    pub async fn end_platform_event(
        &self,
        event: &WaitingEvent,
        end: &EventEnd,
    ) -> Result<(), StoreError> {
        let (state, delay, reason, difference) = match end {
            EventEnd::Done => (DONE, KEPT, None, None),
            EventEnd::Later(delay) => (WAITS, *delay, None, event.difference.as_deref()),
            EventEnd::Differs(difference, delay) => {
                (WAITS, *delay, None, Some(difference.as_str()))
            }
            EventEnd::Aside(reason) => (ASIDE, KEPT, Some(reason.as_str()), None),
            EventEnd::Unfitting => (ASIDE, KEPT, Some(UNFITTING), None),
        };
        let reason: Option<String> = reason.map(|it| it.chars().take(LONGEST_REASON).collect());
        let mut tx = self.begin().await?;
        let parameters = [
            state.into(),
            (tx.now() + delay).into(),
            reason.clone().into(),
            difference.into(),
            event.processor.as_str().into(),
            event.id.as_str().into(),
        ];
        tx.connection.execute(END, &parameters).await?;
        tx.commit().await?;
        if let (EventEnd::Aside(_), Some(reason)) = (end, reason) {
            let table = "platform_events";
            metrics::counter!(metric::ROWS_QUARANTINED, "table" => table).increment(1);
            tracing::error!(table, row.id = event.id, reason, "a row was set aside");
        }
        Ok(())
    }

    /// The waiting events about which their platforms say something else than we do, also of processors that are not listed.
    pub async fn different_platform_events(&self) -> Result<Vec<WaitingEvent>, StoreError> {
        let processors: Vec<(String,)> = self.read(PROCESSORS, &[]).await?;
        let mut different = Vec::new();
        for (processor,) in processors {
            let parameters = [processor.into(), MOST_LISTED.into()];
            different.extend(self.read::<WaitingEvent>(DIFFERENT, &parameters).await?);
        }
        Ok(different)
    }

    /// Ends an event that [`Self::different_platform_events`] has returned; returns whether it was still one of these.
    pub async fn dismiss_platform_event(&self, event: &WaitingEvent) -> Result<bool, StoreError> {
        let mut tx = self.begin().await?;
        let parameters = [
            (tx.now() + KEPT).into(),
            event.processor.as_str().into(),
            event.id.as_str().into(),
        ];
        let dismissed = tx.connection.execute(DISMISS, &parameters).await?;
        tx.commit().await?;
        Ok(dismissed > 0)
    }

    /// Deletes events that were kept for long enough, also those of processors that nobody looks after, and the oldest that
    /// wait if there are more than `most` of a processor; returns how many of these.
    pub async fn forget_platform_events(&self, most: u64) -> Result<u64, StoreError> {
        let processors: Vec<(String,)> = self.read(PROCESSORS, &[]).await?;
        let mut dropped = 0;
        for (processor,) in processors {
            for state in [DONE, ASIDE, WAITS] {
                self.forget_old_events(&processor, state).await?;
            }
            let waiting: Vec<(i64,)> = self.read(WAITING, &[processor.as_str().into()]).await?;
            let waiting = waiting.first().map_or(0, |(number,)| *number);
            let mut too_many = u64::try_from(waiting).unwrap_or(0).saturating_sub(most);
            dropped += too_many;
            while too_many > 0 {
                let some =
                    u32::try_from(too_many).map_or(DELETED_AT_ONCE, |it| it.min(DELETED_AT_ONCE));
                let parameters = [processor.as_str().into(), some.into()];
                self.delete_events(&DELETE_OLDEST, &parameters).await?;
                too_many -= u64::from(some);
            }
        }
        Ok(dropped)
    }

    async fn forget_old_events(&self, processor: &str, state: &str) -> Result<(), StoreError> {
        let now = self.now().await?;
        // Nobody has looked at one that waits for so long.
        let by = if state == WAITS { now - KEPT } else { now };
        let parameters = [
            processor.into(),
            state.into(),
            by.into(),
            DELETED_AT_ONCE.into(),
        ];
        while self.delete_events(&DELETE, &parameters).await? == u64::from(DELETED_AT_ONCE) {}
        Ok(())
    }

    /// In transactions of their own, so that they are short.
    async fn delete_events(
        &self,
        statement: &'static Both<&'static str>,
        parameters: &[SqlValue<'_>],
    ) -> Result<u64, StoreError> {
        let mut tx = self.begin().await?;
        let sql = *tx.connection.choose(statement);
        let deleted = tx.connection.execute(sql, parameters).await?;
        tx.commit().await?;
        Ok(deleted)
    }
}
