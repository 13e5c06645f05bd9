//! The load: connections that post payments one after the other, and a subscriber that counts the results.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use futures::StreamExt;
use lapin::options::{BasicConsumeOptions, QueueBindOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Connection, ConnectionProperties};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

/// Payments under way at most: a client that posts faster than payments end would measure the queue's growth.
const UNDER_WAY: u64 = 2_000;

/// What was sent.
pub struct Sent {
    pub accepted: u64,
    pub failed: u64,
    /// In order.
    latencies: Vec<Duration>,
}

impl Sent {
    /// Milliseconds, at this share of all answers.
    pub fn latency(&self, share: f64) -> f64 {
        let last = self.latencies.len().saturating_sub(1);
        let place = ((self.latencies.len() as f64 * share) as usize).min(last);
        let found = self.latencies.get(place);
        found.map_or(0.0, |latency| latency.as_secs_f64() * 1000.0)
    }
}

/// Results as they are published.
#[derive(Clone)]
pub struct Results {
    ended: Arc<AtomicU64>,
    _connection: Arc<Connection>,
}

impl Results {
    pub async fn subscribe(amqp_url: &str) -> Self {
        let connection = Connection::connect(amqp_url, ConnectionProperties::default())
            .await
            .expect("a broker");
        let channel = connection.create_channel().await.expect("a channel");
        let options = QueueDeclareOptions {
            exclusive: true,
            auto_delete: true,
            ..Default::default()
        };
        let queue = channel
            .queue_declare("".into(), options, FieldTable::default())
            .await
            .expect("a queue");
        let name = queue.name().clone();
        channel
            .queue_bind(
                name.clone(),
                "payments.results".into(),
                "payment.#".into(),
                QueueBindOptions::default(),
                FieldTable::default(),
            )
            .await
            .expect("a binding");
        let options = BasicConsumeOptions {
            no_ack: true,
            ..Default::default()
        };
        let mut deliveries = channel
            .basic_consume(name, "".into(), options, FieldTable::default())
            .await
            .expect("a consumer");
        let ended = Arc::new(AtomicU64::new(0));
        let counter = Arc::clone(&ended);
        tokio::spawn(async move {
            while let Some(Ok(_)) = deliveries.next().await {
                counter.fetch_add(1, Ordering::Relaxed);
            }
            drop(channel);
        });
        Self {
            ended,
            _connection: Arc::new(connection),
        }
    }

    pub fn ended(&self) -> u64 {
        self.ended.load(Ordering::Relaxed)
    }

    pub async fn until(&self, number: u64, longest: Duration) -> bool {
        let deadline = Instant::now() + longest;
        while self.ended() < number {
            if Instant::now() > deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        true
    }
}

/// Posts payments on every connection for so long.
pub async fn run(
    api: SocketAddr,
    connections: usize,
    longest: Duration,
    results: &Results,
) -> Sent {
    let deadline = Instant::now() + longest;
    let accepted = Arc::new(AtomicU64::new(0));
    let mut running = tokio::task::JoinSet::new();
    for number in 0..connections {
        let (accepted, results) = (Arc::clone(&accepted), results.clone());
        running.spawn(async move { post(api, number, deadline, accepted, results).await });
    }
    let mut sent = Sent {
        accepted: 0,
        failed: 0,
        latencies: Vec::new(),
    };
    while let Some(Ok((latencies, failed))) = running.join_next().await {
        sent.accepted += latencies.len() as u64;
        sent.failed += failed;
        sent.latencies.extend(latencies);
    }
    sent.latencies.sort_unstable();
    sent
}

async fn post(
    api: SocketAddr,
    number: usize,
    deadline: Instant,
    accepted: Arc<AtomicU64>,
    results: Results,
) -> (Vec<Duration>, u64) {
    let body = format!(
        r#"{{"order_id": {}, "user_id": 7, "total_amount": 99.53, "card": {{"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2030-01"}}}}"#,
        number + 1
    );
    let request = format!(
        "POST /payments HTTP/1.1\r\nHost: {api}\r\nContent-Type: application/json\r\nContent-Length: {}\r\n\r\n{body}",
        body.len()
    );
    let mut stream = TcpStream::connect(api).await.expect("the api");
    stream.set_nodelay(true).expect("no delay");
    let (mut latencies, mut failed) = (Vec::new(), 0);
    let mut buffer = Vec::with_capacity(4096);
    while Instant::now() < deadline {
        if accepted.load(Ordering::Relaxed) > results.ended() + UNDER_WAY {
            tokio::time::sleep(Duration::from_millis(2)).await;
            continue;
        }
        let began = Instant::now();
        stream
            .write_all(request.as_bytes())
            .await
            .expect("a request");
        if answered_202(&mut stream, &mut buffer).await {
            accepted.fetch_add(1, Ordering::Relaxed);
            latencies.push(began.elapsed());
        } else {
            failed += 1;
        }
    }
    (latencies, failed)
}

/// Reads one answer with a Content-Length.
async fn answered_202(stream: &mut TcpStream, buffer: &mut Vec<u8>) -> bool {
    buffer.clear();
    loop {
        assert!(
            stream.read_buf(buffer).await.expect("an answer") > 0,
            "the api closed the connection"
        );
        let Some(head) = buffer.windows(4).position(|window| window == b"\r\n\r\n") else {
            continue;
        };
        let headers = String::from_utf8_lossy(&buffer[..head]).to_lowercase();
        let length = headers.lines().find_map(|line| {
            line.strip_prefix("content-length:")?
                .trim()
                .parse::<usize>()
                .ok()
        });
        if buffer.len() >= head + 4 + length.expect("a length") {
            return headers.starts_with("http/1.1 202");
        }
    }
}
