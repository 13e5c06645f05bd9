//! What a clock that was set back leaves behind: rows that are due further ahead than anything is ever put off. Nothing
//! else would find them before that moment comes.

use std::time::Duration;

use super::StoreError;
use super::cells::Cell;
use super::engine::{Connection, Engine};
use super::rows::Horizons;
use super::statements as sql;
use crate::broker::Lane;
use crate::domain::Timestamp;

/// A question that locks nothing, and the statement for when the answer is yes.
struct Kind {
    ask: (&'static str, Vec<Cell<'static>>),
    change: (&'static str, Vec<Cell<'static>>),
}

/// Makes due now what is due beyond its horizon. A card token gets the life of one that is made now: its client may
/// still want to use it.
pub(super) async fn bring_back<E: Engine>(
    engine: &E,
    horizons: Horizons,
) -> Result<u64, StoreError> {
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

fn kinds(now: Timestamp, horizons: Horizons) -> [Kind; 4] {
    let outbox = |lane: Lane, horizon: Duration| Kind {
        ask: (
            sql::OUTBOX_IS_AHEAD,
            vec![lane.as_str().into(), (now + horizon).into()],
        ),
        change: (
            sql::BRING_OUTBOX_BACK,
            vec![now.into(), lane.as_str().into(), (now + horizon).into()],
        ),
    };
    let check = now + horizons.check;
    let token = now + horizons.token;
    [
        outbox(Lane::Work, horizons.work),
        outbox(Lane::Results, horizons.results),
        Kind {
            ask: (sql::CHECK_IS_AHEAD, vec![check.into()]),
            change: (sql::BRING_CHECK_BACK, vec![now.into(), check.into()]),
        },
        Kind {
            ask: (sql::TOKEN_IS_AHEAD, vec![token.into()]),
            change: (
                sql::BRING_TOKENS_BACK,
                vec![token.into(), token.into(), token.into()],
            ),
        },
    ]
}

async fn row_exists<C: Connection>(
    connection: &mut C,
    ask: &'static str,
    parameters: &[Cell<'_>],
) -> Result<bool, StoreError> {
    let rows: Vec<(i64,)> = connection.fetch(ask, parameters).await?;
    Ok(!rows.is_empty())
}
