//! A client whose payments take more than its share.

use std::time::{Duration, Instant};

use payment_service::metric;
use tokio::time::sleep;

use super::Ground;
use crate::faults::cards::by_token;
use crate::faults::drill::AFTERMATH;
use crate::faults::fleet::{PROCESSOR_TIMEOUT, ROLES};
use crate::faults::notes::Payer;

/// Calls that a worker makes at the same time: few, so that a flood that the harness can count is one. But the load has to
/// fit twice into its half of them: one in ten of its payments has a slow issuer, or none that answers.
fn permits(rate: u32) -> u32 {
    rate.max(16)
}

/// Six times as many payments as there are permits in two workers, each silent for the whole of the time-out, at each try.
const FLOOD: u32 = 12;

const PATIENCE: Duration = Duration::from_secs(30);

/// Another client's payments, whose processor never answers, hold every permit and fill the queue. The load, which is of a
/// separate client, must go on within two time-outs.
pub async fn flood(ground: &Ground) -> Result<(), String> {
    let permits = permits(ground.rate);
    let concurrency = permits.to_string();
    restart_workers(ground, &[("WORKER_CONCURRENCY", &concurrency)]).await?;
    // A busy machine takes longer without any flood.
    let usual = ground.until_flowing(AFTERMATH).await;
    let usual = usual.ok_or("no work flows with so few permits")?;
    for _ in 0..FLOOD * permits {
        let silent = by_token("tok_issuer_silent");
        ground.client.pay_for(Payer::Kiosk, silent);
    }
    let struck = until_flooded(ground, permits.into()).await;
    let mut flows = Ok(());
    for _ in 0..2 {
        let limit = PROCESSOR_TIMEOUT * 2 + usual * 3;
        if ground.until_flowing(limit).await.is_none() {
            flows = Err("one client's flood holds up another client's payments".to_owned());
        }
    }
    let postponed = ground
        .fleet
        .counted("worker", metric::TRIES_POSTPONED)
        .await;
    restart_workers(ground, &[]).await?;
    struck?;
    flows?;
    if postponed < 1.0 {
        return Err("no worker had to postpone a try: the flood was none".to_owned());
    }
    Ok(())
}

/// One after the other, so that work never stops.
async fn restart_workers(ground: &Ground, variables: &[(&str, &str)]) -> Result<(), String> {
    for number in (0..ROLES.len()).filter(|number| ROLES[*number] == "worker") {
        ground.fleet.restart_with(number, variables).await?;
        ground.fleet.until_ready(number).await?;
    }
    Ok(())
}

/// Until the flood has most permits of both workers.
async fn until_flooded(ground: &Ground, permits: i64) -> Result<(), String> {
    let deadline = Instant::now() + PATIENCE;
    let mut held = 0;
    while Instant::now() < deadline {
        held = claims(ground).await.map_err(|error| error.to_string())?;
        if held > permits {
            return Ok(());
        }
        sleep(Duration::from_millis(50)).await;
    }
    Err(format!("the flood holds only {held} permits"))
}

async fn claims(ground: &Ground) -> sqlx::Result<i64> {
    let mut administrator = ground.fixture.administrator().await?;
    let sql = "SELECT COUNT(*) FROM payments WHERE client = ? AND claimed_until > UTC_TIMESTAMP(6)";
    let held = sqlx::query_scalar(sql)
        .bind(Payer::Kiosk.name())
        .fetch_one(&mut administrator)
        .await?;
    sqlx::Connection::close(administrator).await?;
    Ok(held)
}
