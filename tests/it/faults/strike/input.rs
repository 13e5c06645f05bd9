//! What others write into the database and into the queues, and a `setup` that is broken off.

use std::sync::PoisonError;
use std::time::Duration;

use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Connection, ConnectionProperties};
use serde_json::json;
use tokio::io::AsyncWriteExt;
use tokio::net::TcpStream;
use tokio::time::{Instant, sleep};

use super::Ground;
use crate::broker::rabbitmq_replies::foreign_address;
use crate::faults::drill::AFTERMATH;
use crate::faults::random::Random;
use crate::raw_amqp::{MESSAGE_ID, RawPublisher, short};

const REQUESTS: (&str, &str) = ("payments.requests", "order.payment");
/// Beyond the client's own order numbers: nobody counts these.
const FIRST_ORDER: i64 = 1_000_000_000;
/// To each api.
const HALF_REQUESTS: usize = 150;
const HALVES: [&str; 3] = [
    "POST /payments HTTP/1.1\r\nHost: a\r\nContent-Le",
    "POST /payments HTTP/1.1\r\nHost: a\r\nContent-Type: application/json\r\nContent-Length: 400\r\n\r\n{\"order_id\": ",
    "GET /pay",
];
/// Rows that cannot be read are set aside by the next sweep.
const SET_ASIDE: Duration = Duration::from_secs(20);

/// Two outbox rows of each lane that nobody can decode, due at once. They must be set aside, and nothing else with them.
pub async fn break_rows(ground: &Ground, random: &mut Random) -> Result<(), String> {
    let fixture = &ground.fixture;
    for lane in ["work", "results"] {
        for body in ["{", "{\"exchange\": 7}"] {
            let id = random.below(1_000_000_000);
            let sql = format!(
                "INSERT INTO outbox (id, payment_id, due_at, publication, lane) VALUES \
                 (UNHEX('0000000000007000800000{id:010}'), NULL, '2026-01-01 00:00:00', '{body}', '{lane}')"
            );
            fixture.sql(&sql).await?;
        }
    }
    let deadline = Instant::now() + SET_ASIDE;
    let mut aside = 0_i64;
    while aside < 4 && Instant::now() < deadline {
        sleep(Duration::from_millis(200)).await;
        aside = set_aside(ground).await.map_err(|error| error.to_string())?;
    }
    fixture
        .sql("DELETE FROM outbox WHERE LEFT(id, 10) = UNHEX('00000000000070008000')")
        .await?;
    if aside < 4 {
        return Err(format!(
            "of 4 rows that cannot be read {aside} were set aside"
        ));
    }
    Ok(())
}

async fn set_aside(ground: &Ground) -> sqlx::Result<i64> {
    let mut administrator = ground.fixture.administrator().await?;
    let sql = "SELECT COUNT(*) FROM outbox WHERE quarantined IS NOT NULL";
    let count = sqlx::query_scalar(sql)
        .fetch_one(&mut administrator)
        .await?;
    sqlx::Connection::close(administrator).await?;
    Ok(count)
}

/// One of 15 MB, thirty whose properties are no text, thirty that are no order, and one with a header of 66,000 bytes.
pub async fn send_bad_messages(ground: &Ground) -> Result<(), String> {
    let mut raw = RawPublisher::connect(&ground.fixture.amqp_url).await;
    for number in 0..30 {
        let no_text = short(&[0xff, 0xfe, number]);
        raw.publish(REQUESTS, MESSAGE_ID, &no_text, b"{}").await;
    }
    raw.close().await;
    let long = vec![b'x'; 15_000_000];
    let sent = async {
        let sender = Sender::open(&ground.fixture.amqp_url).await?;
        let plain = BasicProperties::default;
        sender.send(REQUESTS, &long, plain()).await?;
        for _ in 0..30 {
            sender.send(REQUESTS, b"{\"order_id\": ", plain()).await?;
        }
        let mut headers = FieldTable::default();
        let trace = AMQPValue::LongString("0".repeat(66_000).into());
        headers.insert("traceparent".into(), trace);
        let order = order(0);
        sender
            .send(REQUESTS, &order, plain().with_headers(headers))
            .await?;
        // A work message that is none.
        sender.send(("", "payments.work"), b"{}", plain()).await?;
        sender.close().await
    };
    sent.await.map_err(|error: lapin::Error| error.to_string())
}

/// Twenty orders whose answers are wanted at an address that another broker has made.
pub async fn ask_for_foreign_replies(ground: &Ground) -> Result<(), String> {
    let address = foreign_address().await;
    let sent = async {
        let sender = Sender::open(&ground.fixture.amqp_url).await?;
        for number in 0..20 {
            let properties = BasicProperties::default()
                .with_reply_to(address.as_str().into())
                .with_correlation_id(format!("foreign-{number}").into());
            sender.send(REQUESTS, &order(number), properties).await?;
        }
        sender.close().await
    };
    sent.await
        .map_err(|error: lapin::Error| error.to_string())?;
    // Until the results are there, which is when replies are sent.
    sleep(Duration::from_secs(3)).await;
    Ok(())
}

fn order(number: i64) -> Vec<u8> {
    let order = json!({
        "order_id": FIRST_ORDER + number, "user_id": 3, "total_amount": "20.00", "card_token": "tok_visa",
    });
    order.to_string().into_bytes()
}

/// Publishes a message, and waits until the broker has confirmed it.
struct Sender {
    connection: Connection,
    channel: lapin::Channel,
}

impl Sender {
    async fn open(amqp_url: &str) -> lapin::Result<Self> {
        let properties = ConnectionProperties::default();
        let connection = Connection::connect(amqp_url, properties).await?;
        let channel = connection.create_channel().await?;
        let options = ConfirmSelectOptions::default();
        channel.confirm_select(options).await?;
        Ok(Self {
            connection,
            channel,
        })
    }

    async fn send(
        &self,
        (exchange, key): (&str, &str),
        body: &[u8],
        properties: BasicProperties,
    ) -> lapin::Result<()> {
        let options = BasicPublishOptions::default();
        let published =
            self.channel
                .basic_publish(exchange.into(), key.into(), options, body, properties);
        published.await?.await.map(drop)
    }

    async fn close(self) -> lapin::Result<()> {
        self.channel.close(200, "done".into()).await?;
        self.connection.close(200, "done".into()).await
    }
}

/// As many connections to each api as a careless caller opens, none of which ever completes its request.
pub async fn send_half_requests(ground: &Ground) -> Result<(), String> {
    let apis = ground.fleet.apis.lock();
    let apis = apis.unwrap_or_else(PoisonError::into_inner).clone();
    let mut halves = Vec::new();
    for api in apis {
        for half in HALVES.iter().cycle().take(HALF_REQUESTS) {
            let connected = TcpStream::connect(api).await;
            let mut connection = connected.map_err(|error| error.to_string())?;
            let sent = connection.write_all(half.as_bytes()).await;
            sent.map_err(|error| error.to_string())?;
            halves.push(connection);
        }
    }
    let flows = ground.until_flowing(AFTERMATH).await;
    sleep(Duration::from_secs(2)).await;
    drop(halves);
    let flows = flows.ok_or("no work flows beside half requests");
    flows.map(drop).map_err(str::to_owned)
}

/// Five times, each at another moment; then it must complete.
pub async fn kill_setup(ground: &Ground, random: &mut Random) -> Result<(), String> {
    for _ in 0..5 {
        ground.fleet.kill_setup(random.millis(20, 600)).await;
    }
    ground.fleet.set_up().await
}
