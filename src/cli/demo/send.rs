//! Sends the payments, by real HTTP and through the broker, and waits for their outcomes.

use std::error::Error;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use reqwest::{Client, RequestBuilder};
use serde_json::{Value, json};

use super::payments::{Sent, Way};
use crate::broker::{Broker, Exchange, Properties, Publication};
use crate::cli::output;
use crate::cli::promise::Promise;
use crate::processors::simulated::cards;
use crate::wire::order::ORDER_PAYMENT;
use crate::wire::payment::PaymentObject;

/// No payment of the demonstration takes longer.
const LONGEST: Duration = Duration::from_secs(60);

/// A payment that has ended.
#[derive(Debug)]
pub(super) struct Ended {
    pub sent: Sent,
    pub payment: PaymentObject,
    /// Calls to the issuer, including the reversal.
    pub tries: u32,
    pub took: Duration,
    pub promise: Promise,
}

impl Ended {
    /// Whether the outcome is the one that the card promises.
    pub(super) fn kept(&self) -> bool {
        let found = Promise {
            status: self.payment.status,
            reason: self.payment.decline_code.clone(),
            tries: self.tries,
        };
        found == self.promise
    }
}

type Result<T> = std::result::Result<T, Box<dyn Error + Send + Sync>>;

/// Calls the service as its clients do.
#[derive(Clone)]
pub(super) struct Sender {
    http: Client,
    base: String,
    broker: Arc<dyn Broker>,
}

impl Sender {
    pub(super) fn new(api: SocketAddr, broker: Arc<dyn Broker>) -> Result<Self> {
        // No payment leaves this machine, whatever proxy the environment sets.
        let http = Client::builder().no_proxy().build()?;
        Ok(Self {
            http,
            base: format!("http://{api}"),
            broker,
        })
    }

    /// Waits until the service reports that it is ready.
    pub(super) async fn until_ready(&self) -> Result<()> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let answer = self
                .http
                .get(format!("{}/health/ready", self.base))
                .send()
                .await?;
            let body: Value = answer.json().await?;
            if body["status"] == "ready" {
                return Ok(());
            }
            if Instant::now() > deadline {
                return Err(format!("the service is not ready: {body}").into());
            }
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }

    /// Sends all at once, and notes on a terminal when each has ended.
    pub(super) async fn send_all(&self, sent: &[Sent], max_tries: u32) -> Result<Vec<Ended>> {
        let mut running = tokio::task::JoinSet::new();
        for payment in sent.iter().copied() {
            let sender = self.clone();
            running.spawn(async move { sender.send(payment, max_tries).await });
        }
        let mut ended = Vec::new();
        while let Some(finished) = running.join_next().await {
            let finished = finished??;
            output::note_on_terminal(&format!(
                "  {:>2} of {}  order {} {} after {}",
                ended.len() + 1,
                sent.len(),
                finished.sent.order_id,
                finished.payment.status,
                super::milliseconds(finished.took),
            ));
            ended.push(finished);
        }
        ended.sort_by_key(|ended| ended.sent.order_id);
        Ok(ended)
    }

    async fn send(&self, sent: Sent, max_tries: u32) -> Result<Ended> {
        let card = cards::by_token(sent.token).ok_or("no such test card")?;
        let started = Instant::now();
        let order = json!({ "order_id": sent.order_id, "user_id": 1, "total_amount": sent.amount });
        let details =
            json!({ "cardNumber": card.number, "cardCode": "123", "expirationDate": "2035-01" });
        let id = match sent.way {
            Way::Rest => self.create(with(&order, "card", details), None).await?,
            Way::RestRepeated => {
                let body = with(&order, "card", details);
                let key = format!("\"order-{}\"", sent.order_id);
                let first = self.create(body.clone(), Some(&key)).await?;
                let second = self.create(body, Some(&key)).await?;
                if first != second {
                    return Err(
                        format!("one key created two payments: {first} and {second}").into(),
                    );
                }
                first
            }
            Way::TwoSteps => {
                let id = self.create(order, None).await?;
                let process = self
                    .http
                    .post(format!("{}/payments/{id}/process", self.base))
                    .json(&details);
                answer(process).await?;
                id
            }
            Way::CardToken => {
                let token = answer(
                    self.http
                        .post(format!("{}/card-tokens", self.base))
                        .json(&details),
                )
                .await?;
                self.create(
                    with(&order, "card_token", token["card_token"].clone()),
                    None,
                )
                .await?
            }
            Way::Message => {
                self.publish(with(&order, "card_token", sent.token.into()), sent.order_id)
                    .await?;
                self.find(sent.order_id).await?
            }
        };
        let payment = self.outcome(id).await?;
        Ok(Ended {
            tries: self.tries(id).await?,
            took: started.elapsed(),
            promise: Promise::of(card.behaviour, max_tries),
            sent,
            payment,
        })
    }

    async fn create(&self, body: Value, key: Option<&str>) -> Result<i64> {
        let mut request = self
            .http
            .post(format!("{}/payments", self.base))
            .json(&body);
        if let Some(key) = key {
            request = request.header("Idempotency-Key", key);
        }
        answer(request).await?["payment_id"]
            .as_i64()
            .ok_or_else(|| "no payment_id".into())
    }

    async fn publish(&self, body: Value, order_id: i64) -> Result<()> {
        let message = Publication {
            exchange: Exchange::Requests,
            routing_key: ORDER_PAYMENT.to_owned(),
            properties: Properties {
                message_id: Some(format!("demo-{order_id}-{}", uuid::Uuid::now_v7())),
                content_type: Some("application/json".to_owned()),
                ..Properties::default()
            },
            body: body.to_string(),
            mandatory: true,
        };
        let results = self.broker.publish(&[message]).await;
        results
            .into_iter()
            .next()
            .ok_or("nothing was published")?
            .map_err(Into::into)
    }

    /// The newest payment of an order: a message gets no answer with an id.
    async fn find(&self, order_id: i64) -> Result<i64> {
        let deadline = Instant::now() + LONGEST;
        while Instant::now() < deadline {
            let url = format!("{}/payments?order_id={order_id}&limit=1", self.base);
            let page = answer(self.http.get(url)).await?;
            if let Some(id) = page["data"][0]["payment_id"].as_i64() {
                return Ok(id);
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        Err(format!("order {order_id} has no payment").into())
    }

    async fn outcome(&self, id: i64) -> Result<PaymentObject> {
        let deadline = Instant::now() + LONGEST;
        loop {
            let url = format!("{}/payments/{id}", self.base);
            let payment = answer(self.http.get(url).header("Prefer", "wait=20")).await?;
            let payment: PaymentObject = serde_json::from_value(payment)?;
            if payment.status != crate::domain::PaymentStatus::Processing {
                return Ok(payment);
            }
            if Instant::now() > deadline {
                return Err(format!("payment {id} has no outcome").into());
            }
        }
    }

    async fn tries(&self, id: i64) -> Result<u32> {
        let history = answer(self.http.get(format!("{}/payments/{id}/events", self.base))).await?;
        let events = history["data"].as_array().ok_or("no events")?;
        let tries = events
            .iter()
            .filter_map(|event| event["try"].as_u64())
            .max();
        Ok(u32::try_from(tries.unwrap_or(0))?)
    }
}

fn with(order: &Value, field: &str, value: Value) -> Value {
    let mut order = order.clone();
    order[field] = value;
    order
}

async fn answer(request: RequestBuilder) -> Result<Value> {
    let answer = request.send().await?;
    let (status, url) = (answer.status(), answer.url().clone());
    let body: Value = answer.json().await?;
    if status.is_success() {
        Ok(body)
    } else {
        Err(format!("{url} answered {status}: {body}").into())
    }
}
