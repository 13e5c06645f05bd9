//! A broker node is lost, and with it the queues on which some clients wait for replies.

use std::time::Duration;

use futures::StreamExt;
use futures::future::{join_all, try_join_all};
use lapin::options::{
    BasicConsumeOptions, BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties, Consumer};
use serde_json::{Value, json};
use sqlx::{AssertSqlSafe, Connection as _};
use tokio::time::{Instant, sleep, timeout};

use super::Ground;
use super::cluster::complete;
use crate::app::STORE;

/// Clients on each node, half of them with direct reply-to and half with a queue of their own.
const CLIENTS: i64 = 10;

/// Beyond the load's and the bad messages' order numbers; nobody counts these.
const FIRST_ORDER: i64 = 2_000_000_000;

/// For a reply to a client that has lost nothing: what the service's own connections to the node need to move, and no more.
const PROMPT: Duration = Duration::from_secs(30);

/// Until payments have ended whose replies have nowhere to go.
const ENDED: Duration = Duration::from_secs(30);

/// Clients of two nodes ask for payments that take two seconds, and one of the nodes dies at once. Its clients' payments
/// must end without their replies; the others' replies must come as if nothing had happened.
pub async fn kill_their_node(ground: &Ground) -> Result<(), String> {
    let clusters = complete(ground).await?;
    // Not a leader: that is another fault, and all wait for the election there.
    let leader = clusters.leader("payments.work").await?;
    let (lost, kept) = ((leader + 1) % 3, leader);
    let way = &ground.fixture.broker_way;
    way.forward_to(clusters.broker_address(kept));
    let urls = [lost, kept].map(|number| clusters.node_urls(number)[1].clone());
    let first = FIRST_ORDER + i64::try_from(ground.client.notes.number()).unwrap_or_default() * 100;
    let orphans = Asker::connect_all(&urls[0], first);
    let innocents = Asker::connect_all(&urls[1], first + CLIENTS);
    let (orphans, mut innocents) = told(tokio::try_join!(orphans, innocents))?;
    told(try_join_all(orphans.iter().map(|it| it.ask(it.order, "tok_issuer_slow"))).await)?;
    told(
        try_join_all(
            innocents
                .iter()
                .map(|it| it.ask(it.order, "tok_issuer_slow")),
        )
        .await,
    )?;
    clusters.kill_broker(lost).await?;
    let ended = count(ground, first, "").await?;
    if ended * 2 > CLIENTS {
        return Err(format!("{ended} replies were sent before their node died"));
    }
    replies_come(&mut innocents).await?;
    // And to those who ask only now.
    for innocent in &mut innocents {
        innocent.order += 2 * CLIENTS;
    }
    told(try_join_all(innocents.iter().map(|it| it.ask(it.order, "tok_visa"))).await)?;
    replies_come(&mut innocents).await?;
    all_end(ground, first).await?;
    told(try_join_all(innocents.iter().map(Asker::close)).await).map(drop)
}

/// A reply comes to each, to its last order.
async fn replies_come(askers: &mut [Asker]) -> Result<(), String> {
    let begin = Instant::now();
    let replied = join_all(askers.iter_mut().map(Asker::reply)).await;
    let missing = replied.iter().filter(|replied| !**replied).count();
    if missing > 0 {
        return Err(format!(
            "{missing} of {CLIENTS} clients of other nodes have no reply after {:?}",
            begin.elapsed()
        ));
    }
    Ok(())
}

/// The orphans' payments end, and no reply to a direct reply-to address is left. To RabbitMQ 4 an exclusive queue of a node
/// that has died is still a queue, which refuses: such a reply is offered for ten minutes, or until the node is back.
async fn all_end(ground: &Ground, first: i64) -> Result<(), String> {
    let nothing_left = "AND (order_id % 2 = 1 OR NOT EXISTS
                        (SELECT 1 FROM outbox WHERE outbox.payment_id = payments.id))";
    let deadline = Instant::now() + ENDED;
    loop {
        let ended = count(ground, first, nothing_left).await?;
        if ended == CLIENTS {
            return Ok(());
        }
        if Instant::now() > deadline {
            return Err(format!(
                "{ended} of {CLIENTS} payments have ended whose replies have nowhere to go"
            ));
        }
        sleep(Duration::from_millis(200)).await;
    }
}

/// How many of the orphans' payments have ended, and are as that condition says.
async fn count(ground: &Ground, first: i64, condition: &str) -> Result<i64, String> {
    let counted = async {
        let mut administrator = ground.fixture.administrator().await?;
        let sql = format!(
            "SELECT COUNT(*) FROM payments
             WHERE order_id >= ? AND order_id < ? AND status = 'succeeded' {condition}"
        );
        let query = sqlx::query_scalar(AssertSqlSafe(sql));
        let query = query.bind(first).bind(first + CLIENTS);
        let ended = query.fetch_one(&mut administrator).await?;
        administrator.close().await?;
        Ok::<i64, sqlx::Error>(ended)
    };
    told(counted.await)
}

fn told<T, E: std::fmt::Display>(outcome: Result<T, E>) -> Result<T, String> {
    outcome.map_err(|error| error.to_string())
}

/// A client that is connected to one node and waits there for its replies.
struct Asker {
    connection: Connection,
    channel: Channel,
    reply_to: String,
    replies: Consumer,
    order: i64,
}

impl Asker {
    async fn connect_all(url: &str, first: i64) -> lapin::Result<Vec<Self>> {
        try_join_all((first..first + CLIENTS).map(|order| Self::connect(url, order))).await
    }

    async fn connect(url: &str, order: i64) -> lapin::Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await?;
        let reply_to = if order % 2 == 0 {
            "amq.rabbitmq.reply-to".to_owned()
        } else {
            let exclusive = QueueDeclareOptions {
                exclusive: true,
                ..QueueDeclareOptions::default()
            };
            let name = format!("{}.replies-{order}", STORE.0);
            let arguments = FieldTable::default();
            let declared = channel.queue_declare(name.as_str().into(), exclusive, arguments);
            declared.await.map(drop)?;
            name
        };
        let no_ack = BasicConsumeOptions {
            no_ack: true,
            ..BasicConsumeOptions::default()
        };
        let arguments = FieldTable::default();
        let consuming =
            channel.basic_consume(reply_to.as_str().into(), "".into(), no_ack, arguments);
        let replies = consuming.await?;
        Ok(Self {
            connection,
            channel,
            reply_to,
            replies,
            order,
        })
    }

    /// Returns when the broker has confirmed it.
    async fn ask(&self, order: i64, card: &str) -> lapin::Result<()> {
        let body = json!({
            "order_id": order, "user_id": 4, "total_amount": "20.00", "card_token": card,
        });
        let body = body.to_string();
        let properties = BasicProperties::default()
            .with_message_id(format!("asked-{order}").into())
            .with_reply_to(self.reply_to.as_str().into())
            .with_delivery_mode(2);
        let published = self.channel.basic_publish(
            "payments.requests".into(),
            "order.payment".into(),
            BasicPublishOptions::default(),
            body.as_bytes(),
            properties,
        );
        published.await?.await.map(drop)
    }

    /// Whether the reply to its order comes in time and says that the payment has succeeded.
    async fn reply(&mut self) -> bool {
        let order = self.order;
        let replied = async {
            while let Some(Ok(reply)) = self.replies.next().await {
                let event: Value = serde_json::from_slice(&reply.data).unwrap_or_default();
                let data = &event["data"];
                // A reply may come twice: one to an order before is passed over.
                if data["order_id"] == order {
                    return data["status"] == "succeeded";
                }
            }
            false
        };
        timeout(PROMPT, replied).await.unwrap_or_default()
    }

    async fn close(&self) -> lapin::Result<()> {
        self.connection.close(200, "done".into()).await
    }
}
