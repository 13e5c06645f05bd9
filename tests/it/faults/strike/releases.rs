//! The release before this one, beside this one: as long as a new one is rolled out, both run on the new one's schema, and
//! each reads what the other has written, in the database and in the queues.

use std::time::Duration;

use payment_service::metric;
use tokio::time::{Instant, sleep};

use super::Ground;
use crate::faults::fleet::{ROLES, program};
use crate::faults::kind::Kind;

/// How long two releases run side by side.
const TOGETHER: Duration = Duration::from_secs(10);

/// Until a try of the workers shows that they work.
const TRIED: Duration = Duration::from_secs(20);

/// `PREVIOUS_RELEASE`, the path of the program of the release before this one.
pub fn previous() -> Option<String> {
    std::env::var("PREVIOUS_RELEASE").ok()
}

/// One of the steps of a roll-out and back, in which the load goes on.
pub async fn roll(ground: &Ground, kind: Kind) -> Result<(), String> {
    let old = previous().ok_or("PREVIOUS_RELEASE names no program")?;
    let new = program();
    match kind {
        Kind::NewSchema => migrate(ground).await?,
        Kind::OldApiNewWorker => replace(ground, &[("worker", &new)]).await?,
        Kind::NewApiOldWorker => replace(ground, &[("worker", &old), ("api", &new)]).await?,
        _ => replace(ground, &[("worker", &new)]).await?,
    }
    works(ground).await?;
    sleep(TOGETHER).await;
    Ok(())
}

/// The new release's `setup`, with every process of the old one at work.
async fn migrate(ground: &Ground) -> Result<(), String> {
    let before = migrations(ground)
        .await
        .map_err(|error| error.to_string())?;
    ground.fleet.set_up().await?;
    let after = migrations(ground)
        .await
        .map_err(|error| error.to_string())?;
    if after > before {
        Ok(())
    } else {
        Err(format!(
            "both releases have the same schema, of {before} migrations"
        ))
    }
}

async fn migrations(ground: &Ground) -> sqlx::Result<i64> {
    let mut administrator = ground.fixture.administrator().await?;
    let sql = "SELECT COUNT(*) FROM _sqlx_migrations WHERE success";
    let count = sqlx::query_scalar(sql)
        .fetch_one(&mut administrator)
        .await?;
    sqlx::Connection::close(administrator).await?;
    Ok(count)
}

/// Stops the processes of each role one by one, and starts that release in their place.
async fn replace(ground: &Ground, releases: &[(&str, &str)]) -> Result<(), String> {
    for (role, release) in releases {
        for number in (0..ROLES.len()).filter(|number| ROLES[*number] == *role) {
            ground.fleet.replace_release(number, release).await?;
        }
    }
    Ok(())
}

/// The workers that run now try payments.
async fn works(ground: &Ground) -> Result<(), String> {
    let deadline = Instant::now() + TRIED;
    let tried = async || {
        // The release before this one has other names.
        let [now, before] = [metric::PAYMENT_TRIES, "payments_tried"];
        ground.fleet.counted("worker", now).await + ground.fleet.counted("worker", before).await
    };
    let before = tried().await;
    while tried().await <= before {
        if Instant::now() > deadline {
            return Err("the workers try nothing".to_owned());
        }
        sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}
