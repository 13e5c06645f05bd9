//! What happens to single nodes of a cluster. A node that was killed stays away until the next strike, so that work has
//! to flow without it.

use std::sync::Arc;
use std::time::Duration;

use sqlx::{Connection, Executor, MySqlConnection};
use tokio::time::{Instant, sleep};

use super::Ground;
use crate::faults::clusters::Clusters;
use crate::faults::place::blocking;

/// Until the database has refused something of the service's, by a writer that does nothing but get in the way.
const CONFLICTS: Duration = Duration::from_secs(20);

/// kill -9 of the node that leads the work queue.
pub async fn kill_leader(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let leader = clusters.leader("payments.work").await?;
    ground
        .place
        .broker_way
        .forward_to(clusters.broker_address((leader + 1) % 3));
    clusters.kill_broker(leader).await
}

/// kill -9 of the database node that the service writes to.
pub async fn kill_writer(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let writer = clusters.writer().await?;
    ground
        .place
        .database_way
        .forward_to(clusters.database_address((writer + 1) % 3));
    clusters.kill_database(writer).await
}

/// Somebody who changes, at another node, the rows that the service is about to change.
pub async fn conflict(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let before = (clusters.galera.conflicts(), repeats(ground).await);
    let writer = clusters.writer().await?;
    let elsewhere = clusters.galera.nodes()[(writer + 1) % 3].url("payments");
    let mut other = MySqlConnection::connect(&elsewhere)
        .await
        .map_err(|error| error.to_string())?;
    let until = Instant::now() + CONFLICTS;
    while Instant::now() < until {
        for _ in 0..50 {
            // A microsecond more or less until somebody looks after the payment. It may lose as well.
            let _ = other
                .execute(
                    "UPDATE payments SET check_at = check_at + INTERVAL 1 MICROSECOND
                     WHERE status = 'processing'",
                )
                .await;
        }
        let clusters = Arc::clone(&clusters);
        let now = tokio::task::spawn_blocking(move || clusters.galera.conflicts()).await;
        let refused = now.is_ok_and(|now| now >= before.0 + 3);
        if refused && repeats(ground).await > before.1 {
            return Ok(());
        }
    }
    Err("the database cluster has refused nothing of the service's".to_owned())
}

/// Transactions that the service has run again.
async fn repeats(ground: &Ground) -> f64 {
    let counter = "store_batch_repeats";
    ground.fleet.counted("api", counter).await + ground.fleet.counted("worker", counter).await
}

/// Stops one node after the other in order, and starts each again.
pub async fn restart_nodes(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    for number in 0..3 {
        let next = (number + 1) % 3;
        ground
            .place
            .broker_way
            .forward_to(clusters.broker_address(next));
        ground
            .place
            .database_way
            .forward_to(clusters.database_address(next));
        let (brokers, databases) = (Arc::clone(&clusters), Arc::clone(&clusters));
        let restarted = tokio::join!(
            blocking(move || {
                brokers.brokers.nodes()[number].stop()?;
                brokers.brokers.rejoin(number)
            }),
            blocking(move || {
                databases.galera.nodes()[number].stop()?;
                databases.galera.rejoin(number)
            }),
        );
        restarted.0.and(restarted.1)?;
        sleep(Duration::from_secs(1)).await;
    }
    Ok(())
}

/// A database node loses its disk and gets everything from another one.
pub async fn replace_database(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let writer = clusters.writer().await?;
    ground
        .place
        .database_way
        .forward_to(clusters.database_address((writer + 1) % 3));
    let node = Arc::clone(&clusters);
    blocking(move || {
        node.galera.nodes()[writer].kill()?;
        node.galera.rejoin_empty(writer)
    })
    .await
}

/// All nodes that an earlier strike has killed are back.
async fn complete(ground: &Ground) -> Result<Arc<Clusters>, String> {
    let clusters = ground
        .place
        .clusters
        .clone()
        .ok_or("there are no clusters")?;
    clusters.complete().await?;
    Ok(clusters)
}
