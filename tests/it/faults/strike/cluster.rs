//! What happens to single nodes of a cluster. A node that was killed stays away until the next strike, so that work has
//! to flow without it.

use std::sync::Arc;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use payment_service::metric;
use sqlx::{Connection, Executor, MySqlConnection};
use tokio::time::{Instant, sleep, timeout};

use super::Ground;
use crate::faults::clusters::Clusters;
use crate::faults::fixture::blocking;
use crate::support::servers::Minority;

/// Until the database has refused something of the service's, by a writer that does nothing but get in the way.
const CONFLICTS: Duration = Duration::from_secs(20);

/// Until a node that is cut off knows that it is in the minority: Galera takes 5 to 15 seconds.
const NOTICED: Duration = Duration::from_secs(30);

/// Until the service has left a node in the minority that still takes connections. A consumer that gets nothing asks again
/// after 10 seconds, and goes elsewhere when it has had no answer twice, for 5 seconds each.
const LEFT: Duration = Duration::from_secs(40);

/// A healthy broker confirms within a fraction of it.
const CONFIRM: Duration = Duration::from_secs(2);

/// kill -9 of the node that leads the work queue.
pub async fn kill_leader(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let leader = clusters.leader("payments.work").await?;
    ground
        .fixture
        .broker_way
        .forward_to(clusters.broker_address((leader + 1) % 3));
    clusters.kill_broker(leader).await
}

/// kill -9 of the database node that the service writes to.
pub async fn kill_writer(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let writer = clusters.writer().await?;
    ground
        .fixture
        .database_way
        .forward_to(clusters.database_address((writer + 1) % 3));
    clusters.kill_database(writer).await
}

/// The database node that most of the service writes to loses the others. It still takes connections, and answers 1047 to
/// whatever is asked: the service has to drop its connections to it and use another node.
pub async fn cut_database(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let writer = clusters.writer().await?;
    ground
        .fixture
        .database_way
        .forward_to(clusters.database_address((writer + 1) % 3));
    clusters.cut_database(writer).await?;
    let deadline = Instant::now() + NOTICED;
    while !clusters.refuses(writer).await {
        if Instant::now() > deadline {
            return Err("the node in the minority never answered 1047".to_owned());
        }
        sleep(Duration::from_millis(200)).await;
    }
    let deadline = Instant::now() + LEFT;
    loop {
        let left = clusters.database_connections(writer).await?;
        if left == 0 {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{left} connections still lead to a node in the minority after {LEFT:?}"
            ));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// The broker node that leads the work queue loses the others, and clients still reach it. One that pauses closes their
/// connections; one that goes on takes messages and confirms none, and the service has to leave it.
pub async fn cut_broker(ground: &Ground, minority: Minority) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let leader = clusters.leader("payments.work").await?;
    let next = clusters.broker_address((leader + 1) % 3);
    ground.fixture.broker_way.forward_to(next);
    ground.fixture.broker_way.reset_all();
    clusters.cut_broker(leader, minority).await?;
    if minority == Minority::Pauses {
        if clusters.brokers.open()[leader] {
            return Err("the node in the minority still takes connections".to_owned());
        }
        return Ok(());
    }
    let [_, url] = clusters.node_urls(leader);
    if confirms(&url).await.map_err(|error| error.to_string())? {
        return Err("the node in the minority confirms messages".to_owned());
    }
    let deadline = Instant::now() + LEFT;
    loop {
        // A connection that publishes is told by the next message, which gets no confirm; and an api only hears there who
        // need not wait any longer, for which it looks in the database as well.
        let consuming = ["worker (consume)", "api (requests)"];
        let listening = |name: &String| consuming.iter().any(|it| name.ends_with(it));
        let mut left = clusters.broker_connections(leader).await?;
        left.retain(listening);
        if left.is_empty() {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "still connected to a node in the minority after {LEFT:?}: {left:?}"
            ));
        }
        sleep(Duration::from_millis(500)).await;
    }
}

/// Whether a node confirms a message to a queue of the service's: one that is no work, so that it leads to nothing if it
/// should ever arrive.
async fn confirms(url: &str) -> lapin::Result<bool> {
    let client = lapin::Connection::connect(url, lapin::ConnectionProperties::default()).await?;
    let channel = client.create_channel().await?;
    let options = ConfirmSelectOptions::default();
    channel.confirm_select(options).await?;
    let published = channel.basic_publish(
        "".into(),
        "payments.work".into(),
        BasicPublishOptions::default(),
        b"{}",
        lapin::BasicProperties::default(),
    );
    let confirm = published.await?;
    let confirmed = matches!(timeout(CONFIRM, confirm).await, Ok(Ok(it)) if it.is_ack());
    let _ = timeout(CONFIRM, client.close(200, "done".into())).await;
    Ok(confirmed)
}

/// Somebody who changes, at another node, the rows that the service is about to change.
pub async fn conflict(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    let before = (clusters.galera().conflicts(), repeats(ground).await);
    let writer = clusters.writer().await?;
    let elsewhere = clusters.galera().nodes()[(writer + 1) % 3].url("payments");
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
        let now = tokio::task::spawn_blocking(move || clusters.galera().conflicts()).await;
        let refused = now.is_ok_and(|now| now >= before.0 + 3);
        if refused && repeats(ground).await > before.1 {
            return Ok(());
        }
    }
    Err("the database cluster has refused nothing of the service's".to_owned())
}

/// Transactions that the service has run again.
async fn repeats(ground: &Ground) -> f64 {
    let counter = metric::STORE_BATCH_REPEATS;
    ground.fleet.counted("api", counter).await + ground.fleet.counted("worker", counter).await
}

/// Stops one node after the other in order, and starts each again.
pub async fn restart_nodes(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    for number in 0..3 {
        let next = (number + 1) % 3;
        ground
            .fixture
            .broker_way
            .forward_to(clusters.broker_address(next));
        ground
            .fixture
            .database_way
            .forward_to(clusters.database_address(next));
        let (brokers, databases) = (Arc::clone(&clusters), Arc::clone(&clusters));
        let restarted = tokio::join!(
            blocking(move || {
                brokers.brokers.nodes()[number].stop()?;
                brokers.brokers.rejoin(number)
            }),
            blocking(move || {
                databases.galera().nodes()[number].stop()?;
                databases.galera().rejoin(number)
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
        .fixture
        .database_way
        .forward_to(clusters.database_address((writer + 1) % 3));
    let node = Arc::clone(&clusters);
    blocking(move || {
        node.galera().nodes()[writer].kill()?;
        node.galera().rejoin_empty(writer)
    })
    .await
}

/// All nodes that an earlier strike has killed are back.
pub async fn complete(ground: &Ground) -> Result<Arc<Clusters>, String> {
    let clusters = ground
        .fixture
        .clusters
        .clone()
        .ok_or("there are no clusters")?;
    clusters.complete().await?;
    Ok(clusters)
}
