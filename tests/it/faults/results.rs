//! The client application's own durable subscription to the results, on sessions that are built again for ever.

use std::sync::Arc;
use std::time::Duration;

use futures::StreamExt;
use lapin::options::{
    BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueBindOptions, QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, LongString, ShortString};
use lapin::{Connection, ConnectionProperties, Consumer};
use serde_json::Value;
use tokio::time::{sleep, timeout};
use tokio_util::sync::CancellationToken;

use super::notes::Notes;
use super::operations::parse_key;

const QUEUE: &str = "harness.results";
/// What the events of a payment report.
const OUTCOMES: [&str; 5] = [
    "requires_capture",
    "succeeded",
    "declined",
    "failed",
    "canceled",
];
const PATIENCE: Duration = Duration::from_secs(5);
const PAUSE: Duration = Duration::from_millis(200);

/// Declares the queue, so that nothing published from now on is missed, and notes what comes until `stop`. A quorum queue
/// only where several nodes need one: on a single RabbitMQ 3.10 that was killed it may stay without a leader for ever, and
/// what is published to it is never confirmed then.
pub async fn subscribe(
    amqp_url: &str,
    replicated: bool,
    notes: Arc<Notes>,
    stop: CancellationToken,
) {
    let first = open(amqp_url, replicated)
        .await
        .expect("a subscription to the results");
    let amqp_url = amqp_url.to_owned();
    tokio::spawn(async move {
        let mut session = Some(first);
        while !stop.is_cancelled() {
            if let Some((connection, deliveries)) = session.take() {
                tokio::select! {
                    () = follow(deliveries, &notes) => {}
                    () = until_lost(&connection) => {}
                    () = stop.cancelled() => {}
                }
                let closing = connection.close(200, "done".into());
                let _ = timeout(Duration::from_secs(1), closing).await;
            }
            sleep(PAUSE).await;
            if let Ok(Ok(opened)) = timeout(PATIENCE, open(&amqp_url, replicated)).await {
                session = Some(opened);
            }
        }
    });
}

async fn open(amqp_url: &str, replicated: bool) -> lapin::Result<(Connection, Consumer)> {
    let connection = Connection::connect(amqp_url, ConnectionProperties::default()).await?;
    let channel = connection.create_channel().await?;
    let mut arguments = FieldTable::default();
    let kind = LongString::from(if replicated { "quorum" } else { "classic" });
    arguments.insert(
        ShortString::from("x-queue-type"),
        AMQPValue::LongString(kind),
    );
    let durable = QueueDeclareOptions {
        durable: true,
        ..Default::default()
    };
    channel
        .queue_declare(QUEUE.into(), durable, arguments)
        .await?;
    for key in ["payment.#", "refund.#"] {
        let (queue, exchange) = (QUEUE.into(), "payments.results".into());
        let options = QueueBindOptions::default();
        channel
            .queue_bind(queue, exchange, key.into(), options, FieldTable::default())
            .await?;
    }
    channel.basic_qos(500, BasicQosOptions::default()).await?;
    let options = BasicConsumeOptions::default();
    let consumer = channel
        .basic_consume(QUEUE.into(), "".into(), options, FieldTable::default())
        .await?;
    Ok((connection, consumer))
}

async fn follow(mut deliveries: Consumer, notes: &Notes) {
    while let Some(Ok(delivery)) = deliveries.next().await {
        if let Ok(event) = serde_json::from_slice::<Value>(&delivery.data) {
            note(&event, notes);
        }
        if delivery.ack(BasicAckOptions::default()).await.is_err() {
            return;
        }
    }
}

/// A stream does not always end when its connection becomes silent.
async fn until_lost(connection: &Connection) {
    while connection.status().connected() {
        sleep(PAUSE).await;
    }
}

fn note(event: &Value, notes: &Notes) {
    let data = &event["data"];
    let id = event["id"].as_str().unwrap_or("");
    let status = data["status"].as_str().unwrap_or("");
    let reference = data["client_reference"].as_str();
    if let Some((order, number)) = reference.and_then(parse_key) {
        return notes.refund_result(order, number, id, status);
    }
    match (data["order_id"].as_i64(), data["payment_id"].as_i64()) {
        (Some(order), Some(payment)) if status == "requires_action" => {
            let page = data["next_action"]["url"].as_str().unwrap_or_default();
            notes.shopper_is_asked(order, payment, page);
        }
        (Some(order), Some(payment)) if OUTCOMES.contains(&status) => {
            notes.outcome(order, payment, id, status);
        }
        (Some(order), _) => notes.odd(order, format!("an event that says {status}: {event}")),
        // A refusal names the request alone.
        _ => {
            let subject = event["subject"].as_str().unwrap_or("");
            let order = subject.strip_prefix("requests/order-");
            let order = order.and_then(|rest| rest.split('-').next()?.parse().ok());
            if let Some(order) = order {
                notes.odd(order, format!("refused: {event}"));
            }
        }
    }
}
