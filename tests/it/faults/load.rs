//! A steady load by REST and by message, as of a careful client: every payment has a key, and is sent again under the
//! same key until it is accepted. Every second one is paid with a card token that can be used once, and every fourth is
//! sent twice at the same time, as by a caller whose own retry overtakes its first request. Four of ten are captured later,
//! canceled or refunded, and these requests are sent in the same way. One in six is paid at a platform.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use payment_service::domain::OperationKind;
use payment_service::processors::simulated::TestCard;
use serde_json::{Value, json};
use tokio::sync::Semaphore;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::cards;
use super::fleet::PUBLIC_URL;
use super::method::{AtPlatform, Method};
use super::notes::{Notes, Payer, Way};
use super::operations::{self, Operation};
use super::orders::{Orders, RequestMessage};
use super::platforms::Platforms;
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
    platforms: Arc<Platforms>,
    sending: TaskTracker,
    under_way: Arc<Semaphore>,
    /// Every fourth payment is sent twice at the same time.
    pub twice: bool,
    /// Some processes are of the release before this one: it has fewer test cards, and no captures, cancellations and
    /// refunds.
    pub beside_previous: bool,
}

/// A request by REST.
struct RestRequest {
    path: String,
    /// The same whenever it is sent again.
    key: String,
    body: Value,
}

impl Client {
    pub fn new(notes: Arc<Notes>, apis: Apis, orders: Orders, platforms: Arc<Platforms>) -> Self {
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
            platforms,
            sending: TaskTracker::new(),
            under_way: Arc::new(Semaphore::new(UNDER_WAY)),
            twice: true,
            beside_previous: false,
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
                let (method, operations) = client.choose(way, &mut random);
                let order = client.notes.submit_steady(way, method, operations);
                let sender = client.clone();
                client.sending.spawn(async move {
                    sender.send(way, order, method).await;
                    drop(permit);
                    sender.go_on(order, method).await;
                });
            }
        });
    }

    /// Begins a payment with everything that follows; its order number.
    pub fn begin(&self, way: Way, method: Method, operations: Vec<Operation>) -> i64 {
        let order = self.notes.submit_with(way, method, operations);
        let client = self.clone();
        self.sending.spawn(async move {
            client.send(way, order, method).await;
            client.go_on(order, method).await;
        });
        order
    }

    /// What follows once a payment is accepted.
    async fn go_on(&self, order: i64, method: Method) {
        if method.needs_shopper() {
            self.approve(order, method).await;
        }
        self.request_operations(order).await;
    }

    /// What a payment of the steady load is paid with, and what is requested for it afterwards. One in six is a platform's.
    fn choose(&self, way: Way, random: &mut Random) -> (Method, Vec<Operation>) {
        if self.beside_previous {
            return (Method::Card(cards::any(random, true)), Vec::new());
        }
        if random.below(6) == 0 {
            let operations = operations::chosen(random, way);
            let paid_at = AtPlatform::any(random, operations.is_some());
            return (Method::At(paid_at), operations.unwrap_or_default());
        }
        let operated = operations::any(random, way);
        let (card, operations) =
            operated.unwrap_or_else(|| (cards::any(random, false), Vec::new()));
        (Method::Card(card), operations)
    }

    /// Notes a payment and sends it in the background; its order number.
    pub fn pay(&self, way: Way, card: &'static TestCard) -> i64 {
        let method = Method::Card(card);
        let order = self.notes.submit(way, method);
        let client = self.clone();
        self.sending
            .spawn(async move { client.send(way, order, method).await });
        order
    }

    /// As [`Self::pay`], for another client.
    pub fn pay_for(&self, payer: Payer, card: &'static TestCard) -> i64 {
        let method = Method::Card(card);
        let order = self.notes.submit_for(payer, method);
        let client = self.clone();
        self.sending
            .spawn(async move { client.send(Way::Rest, order, method).await });
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
        let payments = self.notes.unanswered_messages().into_iter();
        let payments = payments.map(|(order, method)| async move {
            let message = self.payment_message(order, method).await;
            self.orders.send(&message).await;
        });
        let operations = self.notes.unanswered_operations().into_iter();
        let operations = operations.map(|(order, number)| self.request_operation(order, number));
        tokio::join!(join_all(payments), join_all(operations));
    }

    async fn send(&self, way: Way, order: i64, method: Method) {
        match way {
            Way::Message => {
                let message = self.payment_message(order, method).await;
                self.send_confirmed(order, &message).await;
                self.notes.accepted(order, None);
            }
            Way::Rest => {
                let request = self.payment_request(order, method).await;
                let accepted = |answer: &Value| {
                    let payment = answer["payment_id"].as_i64();
                    self.notes.accepted(order, payment);
                };
                self.post_until_taken(order, &request, accepted).await;
            }
        }
    }

    /// Approves a payment as its shopper, as soon as the page is known.
    async fn approve(&self, order: i64, method: Method) {
        until(|| self.notes.page(order).is_some() || self.notes.is_heard(order)).await;
        let Some(page) = self.notes.page(order) else {
            return;
        };
        match (method, self.notes.payment(order)) {
            (Method::At(way), Some(payment)) => {
                let is_over = || self.notes.is_heard(order);
                self.platforms.shop(way, payment, is_over).await;
            }
            _ => self.approve_here(order, &page).await,
        }
    }

    /// Approves a payment on the service's own page, until an api has taken it.
    async fn approve_here(&self, order: i64, page: &str) {
        // Every process listens somewhere else, and again somewhere else when it is started again.
        let path = page.strip_prefix(PUBLIC_URL).unwrap_or_default();
        for turn in first_turn(order).. {
            let post = self.http.post(format!("http://{}{path}", self.api(turn)));
            let post = post.header("Content-Type", "application/x-www-form-urlencoded");
            let answer = post.body("choice=approve").send().await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(200) => return,
                Ok(503) | Err(_) => sleep(PAUSE).await,
                Ok(status) => {
                    let what = format!("its shopper gets {status} from {page}");
                    return self.notes.odd(order, what);
                }
            }
        }
    }

    /// Requests the operations of a payment once it is authorized or paid: first its capture or void, then its refunds, all
    /// at the same time.
    async fn request_operations(&self, order: i64) {
        if self.notes.operations(order).is_empty() {
            return;
        }
        until(|| self.notes.is_heard(order)).await;
        self.notes.give_up_operations(order);
        let operations = self.notes.operations(order);
        let is_refund = |number: &usize| operations[*number].kind == OperationKind::Refund;
        let (refunds, first): (Vec<usize>, Vec<usize>) = (0..operations.len()).partition(is_refund);
        for number in first {
            self.request_operation(order, number).await;
            until(|| self.notes.operations(order)[number].heard.is_some()).await;
        }
        self.notes.give_up_operations(order);
        let left = self.notes.operations(order).len();
        let refunds = refunds.into_iter().filter(|number| *number < left);
        join_all(refunds.map(|number| self.request_operation(order, number))).await;
    }

    async fn request_operation(&self, order: i64, number: usize) {
        let Some(payment) = self.notes.payment(order) else {
            return;
        };
        let operation = &self.notes.operations(order)[number];
        let key = operations::key(order, number);
        let mut body = operation.body(&key);
        self.notes.operation_submitted(order, number);
        match operation.way {
            Way::Message => {
                body["payment_id"] = payment.into();
                let message = RequestMessage {
                    routing_key: operation.routing_key(),
                    id: key,
                    body,
                };
                self.send_confirmed(order, &message).await;
                self.notes.operation_accepted(order, number);
            }
            Way::Rest => {
                let request = RestRequest {
                    path: format!("/payments/{payment}/{}", operation.path()),
                    key,
                    body,
                };
                let accepted = |_: &Value| self.notes.operation_accepted(order, number);
                self.post_until_taken(order, &request, accepted).await;
            }
        }
    }

    async fn send_confirmed(&self, order: i64, message: &RequestMessage) {
        let sending = (0..self.copies(order)).map(|_| self.orders.send(message));
        join_all(sending).await;
    }

    async fn post_until_taken(&self, order: i64, request: &RestRequest, accepted: impl Fn(&Value)) {
        // A request is sent to the next process at every try, as by a load balancer.
        for turn in first_turn(order).. {
            let copies = (0..self.copies(order)).map(|copy| self.post(turn + copy, order, request));
            let mut taken = false;
            for answer in join_all(copies).await {
                match answer {
                    Some((200 | 202, answer)) => {
                        taken = true;
                        accepted(&answer);
                    }
                    // Not accepted now: 503, or a broken connection.
                    Some((503, _)) | None => {}
                    Some((status, answer)) => {
                        let what = format!("{}: {status}: {answer}", request.path);
                        return self.notes.odd(order, what);
                    }
                }
            }
            if taken {
                return;
            }
            sleep(PAUSE).await;
        }
    }

    async fn payment_request(&self, order: i64, method: Method) -> RestRequest {
        let mut body = json!({"order_id": order, "user_id": 1, "total_amount": 10.5});
        match method {
            Method::Card(card) if self.notes.is_one_time(order) => {
                body["card_token"] = self.token(order, card).await.into();
            }
            Method::Card(card) => body["card"] = in_clear(card),
            Method::At(way) => body["payment_method"] = way.body(),
        }
        RestRequest {
            path: "/payments".to_owned(),
            key: format!("rest-{order}"),
            body: self.with_capture_method(order, body),
        }
    }

    async fn payment_message(&self, order: i64, method: Method) -> RequestMessage {
        let mut body = json!({"order_id": order, "user_id": 2, "total_amount": "20.00"});
        match method {
            Method::Card(card) => body["card_token"] = self.token(order, card).await.into(),
            Method::At(way) => body["payment_method"] = way.body(),
        }
        RequestMessage {
            routing_key: "order.payment",
            id: format!("order-{order}"),
            body: self.with_capture_method(order, body),
        }
    }

    fn with_capture_method(&self, order: i64, mut body: Value) -> Value {
        if self.notes.is_captured_later(order) {
            body["capture_method"] = "manual".into();
        }
        body
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

    async fn post(&self, turn: usize, order: i64, request: &RestRequest) -> Option<(u16, Value)> {
        let url = format!("http://{}{}", self.api(turn), request.path);
        let post = self.http.post(url);
        let post = post
            .bearer_auth(self.notes.payer(order).api_key())
            .header("Idempotency-Key", &request.key);
        answer(post.json(&request.body)).await
    }
}

/// Waits until something is so.
async fn until(is_so: impl Fn() -> bool) {
    while !is_so() {
        sleep(LOOK).await;
    }
}

const PAUSE: Duration = Duration::from_millis(250);
const LOOK: Duration = Duration::from_millis(50);

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
