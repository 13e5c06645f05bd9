//! One deployment on a separate database and virtual host: its processes, and payments by REST and by message.

use std::time::{Duration, Instant};

use futures::{StreamExt, stream};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};
use serde_json::json;

use crate::support::process::{Process, Settings};
use crate::support::servers::{AmqpUrl, DatabaseUrl, fresh_servers};

pub const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// Requests under way at the same time.
const CONCURRENT: usize = 64;

pub struct Fleet {
    pub database: DatabaseUrl,
    pub amqp: AmqpUrl,
    pub settings: Settings,
}

impl Fleet {
    /// Set up, with nothing running yet.
    pub async fn new(variables: &[(&str, &str)]) -> Self {
        let (database, amqp) = fresh_servers().await.unwrap();
        let mut settings = Settings::servers(&database, &amqp).with("LOG", "warn");
        for (name, value) in variables {
            settings = settings.with(name, value);
        }
        let mut setup = Process::spawn(PROGRAM, "setup", &settings);
        assert!(setup.wait(), "setup failed");
        Self {
            database,
            amqp,
            settings,
        }
    }

    /// Starts a role and waits until it is ready.
    pub async fn start(&self, role: &str) -> Process {
        Process::start(PROGRAM, role, &self.settings).await
    }

    /// Starts an api that can never reach the broker; it accepts payments nevertheless.
    pub async fn start_api_without_broker(&self) -> Process {
        let settings = self
            .settings
            .clone()
            .with("AMQP_URL", "amqp://127.0.0.1:1/nowhere")
            // Its rows stay with it until the test makes them due.
            .with("OUTBOX_LEASE", "1h");
        let api = Process::spawn(PROGRAM, "api", &settings);
        let deadline = Instant::now() + Duration::from_secs(60);
        let ready = format!("http://{}/health/ready", api.admin);
        let http = client();
        while !matches!(http.get(&ready).send().await, Ok(answer) if answer.status() == 200) {
            assert!(Instant::now() < deadline, "the api does not answer");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        api
    }

    /// Posts this many payments, one in ten with a card that is declined.
    pub async fn post(&self, api: &Process, number: usize) {
        let (http, url) = (client(), api.url("/payments"));
        let posts = (0..number).map(|order| {
            let card_number = if order.is_multiple_of(10) {
                "4000000000009995"
            } else {
                "4242424242424242"
            };
            let body = json!({
                "order_id": order + 1, "user_id": 7, "total_amount": 99.53,
                "card": {"cardNumber": card_number, "cardCode": "123", "expirationDate": "2040-01"},
            });
            let post = http.post(&url).json(&body).send();
            async move { assert_eq!(post.await.unwrap().status(), 202) }
        });
        let mut posting = stream::iter(posts).buffer_unordered(CONCURRENT);
        while posting.next().await.is_some() {}
    }

    /// Sends this many orders by message, one in ten with a card that is declined.
    pub async fn order(&self, number: usize) {
        let connection = Connection::connect(&self.amqp, ConnectionProperties::default())
            .await
            .unwrap();
        let channel = connection.create_channel().await.unwrap();
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await
            .unwrap();
        let channel = &channel;
        let orders = (0..number).map(|order| publish(channel, order));
        let mut sending = stream::iter(orders).buffer_unordered(CONCURRENT);
        while sending.next().await.is_some() {}
    }
}

async fn publish(channel: &Channel, order: usize) {
    let token = if order.is_multiple_of(10) {
        "tok_insufficient_funds"
    } else {
        "tok_visa"
    };
    let body = json!({
        "order_id": order + 1, "user_id": 8, "total_amount": "99.53", "card_token": token,
    });
    let confirmed = channel
        .basic_publish(
            "payments.requests".into(),
            "order.payment".into(),
            BasicPublishOptions::default(),
            body.to_string().as_bytes(),
            BasicProperties::default()
                .with_message_id(format!("order-{order}").into())
                .with_content_type("application/json".into()),
        )
        .await
        .unwrap()
        .await
        .unwrap();
    assert!(confirmed.is_ack());
}

fn client() -> reqwest::Client {
    reqwest::Client::builder().no_proxy().build().unwrap()
}
