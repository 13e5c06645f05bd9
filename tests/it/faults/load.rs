//! A steady load by REST and by message, as of a careful client: every payment has a key, and is sent again under the
//! same key until it is accepted. Every second one is paid with a card token that can be used once, and every fourth is
//! sent twice at the same time, as by a caller whose own retry overtakes its first request.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use payment_service::processors::simulated::TestCard;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cards;
use super::notes::{Notes, Payer, Way};
use super::orders::Orders;
use super::random::Random;

/// Where the api processes listen now; changes when one is started again.
pub type Apis = Arc<Mutex<Vec<SocketAddr>>>;

/// Payments that are being sent at the same time; beyond, the load waits.
const UNDER_WAY: usize = 200;

/// The client application.
#[derive(Clone)]
pub struct Client {
    pub notes: Arc<Notes>,
    http: reqwest::Client,
    apis: Apis,
    orders: Orders,
    sending: TaskTracker,
    under_way: Arc<Semaphore>,
    /// Every fourth payment is sent twice at the same time.
    pub twice: bool,
}

impl Client {
    pub fn new(notes: Arc<Notes>, apis: Apis, orders: Orders) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            // An impatient caller: its request continues without it, and it sends it again.
            .timeout(Duration::from_secs(4))
            .build()
            .expect("a client");
        Self {
            notes,
            http,
            apis,
            orders,
            sending: TaskTracker::new(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            twice: true,
        }
    }

    /// Sends so many payments a second, half of them by each way, until `stop`.
    pub fn steady(&self, per_second: u32, mut random: Random, stop: CancellationToken) {
        let client = self.clone();
        tokio::spawn(async move {
            let mut ticks = interval(Duration::from_secs(1) / per_second);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Skip);
            let mut ways = [Way::Rest, Way::Message].into_iter().cycle();
            while !stop.is_cancelled() {
                ticks.tick().await;
                let Ok(permit) = Arc::clone(&client.under_way).acquire_owned().await else {
                    return;
                };
                let way = ways.next().unwrap_or(Way::Rest);
                let order = client.notes.submit_steady(way, cards::any(&mut random));
                let (sender, card) = (client.clone(), client.notes.card(order));
                client.sending.spawn(async move {
                    sender.send(way, order, card).await;
                    drop(permit);
                });
            }
        });
    }

    /// Notes a payment and sends it in the background; its order number.
    pub fn pay(&self, way: Way, card: &'static TestCard) -> i64 {
        let order = self.notes.submit(way, card);
        let client = self.clone();
        self.sending
            .spawn(async move { client.send(way, order, card).await });
        order
    }

    /// As [`Self::pay`], for another client.
    pub fn pay_for(&self, payer: Payer, card: &'static TestCard) -> i64 {
        let order = self.notes.submit_for(payer, card);
        let client = self.clone();
        self.sending
            .spawn(async move { client.send(Way::Rest, order, card).await });
        order
    }

    /// Waits until everything that was begun has been accepted.
    pub async fn all_sent(&self) {
        self.sending.close();
        self.sending.wait().await;
        self.sending.reopen();
    }

    /// Sends the messages again that were confirmed and have no outcome: a queue was deleted with messages in it, and
    /// a client that hears nothing asks again.
    pub async fn send_unanswered_again(&self) {
        let again = self.notes.unanswered_messages();
        let sending = again.into_iter().map(|(order, card)| async move {
            let token = self.token(order, card).await;
            self.orders.send(order, &token).await;
        });
        join_all(sending).await;
    }

    async fn send(&self, way: Way, order: i64, card: &'static TestCard) {
        match way {
            Way::Message => {
                let token = self.token(order, card).await;
                let sending = (0..self.copies(order)).map(|_| self.orders.send(order, &token));
                join_all(sending).await;
                self.notes.accepted(order, None);
            }
            Way::Rest => self.post_until_taken(order, card).await,
        }
    }

    async fn post_until_taken(&self, order: i64, card: &TestCard) {
        let mut body = json!({"order_id": order, "user_id": 1, "total_amount": 10.5});
        if self.notes.is_one_time(order) {
            body["card_token"] = self.token(order, card).await.into();
        } else {
            body["card"] = in_clear(card);
        }
        // A payment is sent to the next process at every try, as by a load balancer.
        for turn in first_turn(order).. {
            let copies = (0..self.copies(order)).map(|copy| self.post(turn + copy, order, &body));
            let mut taken = false;
            for answer in join_all(copies).await {
                match answer {
                    Some((200 | 202, answer)) => {
                        taken = true;
                        self.notes.accepted(order, answer["payment_id"].as_i64());
                    }
                    // Not accepted now: 503, or a broken connection.
                    Some((503, _)) | None => {}
                    Some((status, answer)) => {
                        return self.notes.odd(order, format!("{status}: {answer}"));
                    }
                }
            }
            if taken {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    /// The token that this order is paid with, the same whenever it is sent again.
    async fn token(&self, order: i64, card: &TestCard) -> String {
        if !self.notes.is_one_time(order) {
            return card.token.to_owned();
        }
        if let Some(token) = self.notes.token(order) {
            return token;
        }
        for turn in first_turn(order).. {
            let request = self
                .http
                .post(format!("http://{}/card-tokens", self.api(turn)))
                .bearer_auth(self.notes.payer(order).api_key());
            if let Some((201, answer)) = answer(request.json(&in_clear(card))).await
                && let Some(token) = answer["card_token"].as_str()
            {
                self.notes.token_made(order, token);
                break;
            }
            sleep(PAUSE).await;
        }
        self.notes.token(order).unwrap_or_default()
    }

    fn copies(&self, order: i64) -> usize {
        if self.twice && order / 2 % 4 == 0 {
            2
        } else {
            1
        }
    }

    fn api(&self, turn: usize) -> SocketAddr {
        let apis = self.apis.lock().unwrap_or_else(PoisonError::into_inner);
        apis[turn % apis.len()]
    }

    async fn post(&self, turn: usize, order: i64, body: &Value) -> Option<(u16, Value)> {
        let request = self
            .http
            .post(format!("http://{}/payments", self.api(turn)));
        let request = request
            .bearer_auth(self.notes.payer(order).api_key())
            .header("Idempotency-Key", format!("rest-{order}"));
        answer(request.json(body)).await
    }
}

const PAUSE: Duration = Duration::from_millis(250);

fn first_turn(order: i64) -> usize {
    usize::try_from(order).unwrap_or_default()
}

fn in_clear(card: &TestCard) -> Value {
    json!({"cardNumber": card.number, "cardCode": "123", "expirationDate": "2040-01"})
}

async fn answer(request: reqwest::RequestBuilder) -> Option<(u16, Value)> {
    let answer = request.send().await.ok()?;
    let status = answer.status().as_u16();
    Some((status, answer.json().await.ok()?))
}
