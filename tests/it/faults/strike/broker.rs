//! Faults of RabbitMQ.

use std::time::Duration;

use lapin::options::QueueDeleteOptions;
use lapin::{Connection, ConnectionProperties};
use payment_service::metric;
use tokio::time::{Instant, sleep};

use super::Ground;
use crate::faults::random::Random;
use crate::support::servers::StuckSubscriber;

/// Of the service.
const CONFIRM_TIMEOUT: Duration = Duration::from_secs(5);
const OURS: [&str; 3] = ["payments.work", "payments.operations", "payments.requests"];

pub async fn stop_and_start(ground: &Ground, random: &mut Random) -> Result<(), String> {
    ground.fixture.with_broker(|server| server.stop()).await?;
    sleep(random.millis(0, 2_000)).await;
    ground
        .fixture
        .with_broker(|server| server.start_again())
        .await
}

pub async fn kill_and_start(ground: &Ground, random: &mut Random) -> Result<(), String> {
    ground.fixture.with_broker(|server| server.kill()).await?;
    sleep(random.millis(0, 2_000)).await;
    ground
        .fixture
        .with_broker(|server| server.start_again())
        .await
}

pub async fn close_connections(ground: &Ground) -> Result<(), String> {
    control(
        ground,
        &["close_all_connections", "--global", "maintenance"],
    )
    .await
}

pub async fn alarm(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let set = "rabbit_alarm:set_alarm({{resource_limit, memory, node()}, []}).";
    let clear = "rabbit_alarm:clear_alarm({resource_limit, memory, node()}).";
    control(ground, &["eval", set]).await?;
    sleep(random.millis(1_000, 4_000)).await;
    control(ground, &["eval", clear]).await
}

/// As when the disk is full: the limit is set above what is free.
pub async fn disk_alarm(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let raised = "true = lists:any(fun({{resource_limit, disk, _}, _}) -> true; (_) -> false end, \
                  rabbit_alarm:get_alarms()).";
    control(ground, &["set_disk_free_limit", "900000GB"]).await?;
    control(ground, &["eval", raised]).await?;
    sleep(random.millis(2_000, 5_000)).await;
    control(ground, &["set_disk_free_limit", "1MB"]).await
}

/// With whatever is in them. Tries are the service's own messages, and its rescue dispatches them again; of requests
/// that it has not seen nobody knows but the client, who sends them again when no outcome comes.
pub async fn delete_queues(ground: &Ground) -> Result<(), String> {
    let done = async {
        let properties = ConnectionProperties::default();
        let operator = Connection::connect(&ground.fixture.amqp_url, properties).await?;
        let channel = operator.create_channel().await?;
        for queue in OURS {
            channel
                .queue_delete(queue.into(), QueueDeleteOptions::default())
                .await?;
        }
        operator.close(200, "done".into()).await
    };
    done.await
        .map_err(|error: lapin::Error| error.to_string())?;
    ground.client.send_unanswered_again().await;
    Ok(())
}

/// Nobody takes tries, and the queue has no room for one. Its consumers are gone because what they hold does not count.
pub async fn fill_work_queue(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let vhost = ground.fixture.vhost();
    let full = r#"{"max-length":0,"overflow":"reject-publish"}"#;
    let set = [
        "set_policy",
        "-p",
        &vhost,
        "full",
        r"^payments\.work$",
        full,
    ];
    let queues = ["--apply-to", "queues"];
    let fleet = &ground.fleet;
    let refused = metric::RELAY_FAILURES;
    let before = fleet.counted("api", refused).await;
    let filled = async {
        control(ground, &[&set[..], &queues[..]].concat()).await?;
        sleep(random.millis(1_500, 4_000)).await;
        control(ground, &["clear_policy", "-p", &vhost, "full"]).await
    };
    fleet.without("worker", filled).await?;
    if fleet.counted("api", refused).await <= before {
        return Err("the broker never refused a message".to_owned());
    }
    Ok(())
}

/// Somebody's queue takes results and confirms none, as one does that has lost its majority. Nobody's work may wait for it.
pub async fn stick_subscriber(ground: &Ground) -> Result<(), String> {
    let queue = StuckSubscriber::bind(&ground.fixture.amqp_url)
        .await
        .map_err(|error| error.to_string())?;
    let vhost = ground.fixture.vhost();
    let (stick, unstick) = (vhost.clone(), vhost);
    ground
        .fixture
        .with_broker(move |server| StuckSubscriber::stick(server, &stick))
        .await?;
    let flows = work_flows_meanwhile(ground).await;
    ground
        .fixture
        .with_broker(move |server| StuckSubscriber::unstick(server, &unstick))
        .await?;
    queue.delete().await.map_err(|error| error.to_string())?;
    flows
}

/// Once the first confirms are overdue, payments go on being tried, and the service says of itself that it can work.
async fn work_flows_meanwhile(ground: &Ground) -> Result<(), String> {
    sleep(CONFIRM_TIMEOUT + Duration::from_secs(1)).await;
    let tried = || ground.fleet.counted("worker", metric::PAYMENT_TRIES);
    let before = tried().await;
    sleep(Duration::from_secs(2)).await;
    if tried().await <= before {
        return Err("no payment was tried while somebody's queue was stuck".to_owned());
    }
    Ok(())
}

/// rabbitmqctl, again if the broker that it asks has only just come back.
async fn control(ground: &Ground, arguments: &[&str]) -> Result<(), String> {
    let deadline = Instant::now() + Duration::from_secs(20);
    loop {
        let words: Vec<String> = arguments.iter().map(|word| (*word).to_owned()).collect();
        let done = ground.fixture.with_broker(move |server| {
            let words: Vec<&str> = words.iter().map(String::as_str).collect();
            server.rabbitmqctl(&words).map(drop)
        });
        match done.await {
            Err(_) if Instant::now() < deadline => sleep(Duration::from_millis(500)).await,
            outcome => return outcome,
        }
    }
}
