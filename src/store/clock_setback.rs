//! Handles rows left by a clock that was set back: they are due further in the future than any delay allows. Without
//! this, they would not be found until then.

use std::time::Duration;

use super::engine::{Connection, Engine};
use super::rows::{Content, Horizons};
use super::sql_values::SqlValue;
use super::tables::{capture_schedule, card_tokens, operations, outbox, payments};
use super::{Store, StoreError};
use crate::broker::Lane;
use crate::domain::Timestamp;

/// A query without locks, and the statement to run if it finds a row.
struct Kind {
    ask: (&'static str, Vec<SqlValue<'static>>),
    change: (&'static str, Vec<SqlValue<'static>>),
}

impl Store {
    /// Makes rows due now that are due further in the future than any delay allows; returns the number of rows.
    pub async fn bring_back(&self, horizons: Horizons) -> Result<u64, StoreError> {
        bring_back(&self.0.engine, horizons).await
    }
}

/// Makes rows due now that are due beyond their horizon. A card token gets the lifetime of a new one: its client may
/// still want to use it.
async fn bring_back(engine: &Engine, horizons: Horizons) -> Result<u64, StoreError> {
    let mut reader = engine.reader().await?;
    let now = reader.now().await?;
    let mut ahead = Vec::new();
    for kind in kinds(now, horizons) {
        let (ask, parameters) = &kind.ask;
        if row_exists(&mut reader, ask, parameters).await? {
            ahead.push(kind.change);
        }
    }
    drop(reader);
    let mut rows = 0;
    for (change, parameters) in ahead {
        let (mut connection, _) = engine.begin().await?;
        rows += connection.execute(change, &parameters).await?;
        connection.commit().await?;
    }
    Ok(rows)
}

fn kinds(now: Timestamp, horizons: Horizons) -> Vec<Kind> {
    let kind = |lane: Lane, horizon: Duration| {
        Content::lanes(lane).map(|lane| Kind {
            ask: (
                outbox::OUTBOX_IS_AHEAD,
                vec![lane.into(), (now + horizon).into()],
            ),
            change: (
                outbox::BRING_OUTBOX_BACK,
                vec![now.into(), lane.into(), (now + horizon).into()],
            ),
        })
    };
    let check = now + horizons.check;
    let token = now + horizons.token;
    let rows = [
        Kind {
            ask: (payments::CHECK_IS_AHEAD, vec![check.into()]),
            change: (payments::BRING_CHECK_BACK, vec![now.into(), check.into()]),
        },
        Kind {
            ask: (capture_schedule::CHECK_IS_AHEAD, vec![check.into()]),
            change: (
                capture_schedule::BRING_CHECK_BACK,
                vec![now.into(), check.into()],
            ),
        },
        Kind {
            ask: (operations::CHECK_IS_AHEAD, vec![check.into()]),
            change: (operations::BRING_CHECK_BACK, vec![now.into(), check.into()]),
        },
        Kind {
            ask: (card_tokens::TOKEN_IS_AHEAD, vec![token.into()]),
            change: (
                card_tokens::BRING_TOKENS_BACK,
                vec![token.into(), token.into(), token.into()],
            ),
        },
    ];
    let mut kinds: Vec<Kind> = rows.into();
    kinds.extend(kind(Lane::Work, horizons.work));
    kinds.extend(kind(Lane::Results, horizons.results));
    kinds
}

async fn row_exists(
    connection: &mut Connection,
    ask: &'static str,
    parameters: &[SqlValue<'_>],
) -> Result<bool, StoreError> {
    let rows: Vec<(i64,)> = connection.fetch(ask, parameters).await?;
    Ok(!rows.is_empty())
}
