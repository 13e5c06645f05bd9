//! A stand-in for PayPal's API: access tokens, orders with a shopper, captures, authorizations and refunds, disputes, and the
//! search of transactions (`books`). It stores answers under request ids, refuses a request whose id is in use, and fails on
//! demand.

mod books;

use std::collections::{BTreeMap, HashSet};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::Notify;
use tokio::sync::mpsc::UnboundedSender;

pub use super::super::unreliable::Fault;
use super::super::unreliable::{Book, Faults, Keys, Reply, Reports, Stored, respond};

pub use books::Search;

pub const CLIENT_ID: &str = "AZ-client";
pub const CLIENT_SECRET: &str = "EC-secret";
pub const WEBHOOK_ID: &str = "WH-ID-1";

/// The only signature that the stand-in calls genuine.
pub const GENUINE: &str = "genuine";

/// How a request fails at random, unless a test says otherwise. Without `StoredError`: what it stops stays undecided, which is
/// documented.
const FAULTS: [Fault; 10] = [
    Fault::ErrorBefore,
    Fault::ErrorAfter,
    Fault::Silent,
    Fault::Busy,
    Fault::Html,
    Fault::Half,
    Fault::Cut,
    Fault::Endless,
    Fault::Redirect,
    Fault::OtherAmount,
];

/// What the shopper pays with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Pays {
    Well,
    /// The instrument is declined when it is charged.
    Declined,
    /// The payer cannot pay.
    Never,
    /// The capture stays pending.
    Later,
}

/// A stand-in on a free port.
#[derive(Clone)]
pub struct StandIn {
    pub address: SocketAddr,
    state: Arc<Mutex<Account>>,
    release: Arc<Notify>,
}

#[derive(Default)]
struct Account {
    orders: BTreeMap<String, Order>,
    tokens: HashSet<String>,
    tokens_made: usize,
    token_life: Option<u64>,
    unauthorized: usize,
    /// The answers stored under request ids.
    ids: Keys,
    faults: Faults,
    reports: Reports,
    /// Events that were made.
    events: usize,
    /// Method, path and request id.
    requests: Vec<(String, String)>,
    created: usize,
    refunds_are: Option<&'static str>,
    search: Search,
    /// When all transactions were made.
    made: Option<OffsetDateTime>,
    disputes: BTreeMap<String, Value>,
}

struct Order {
    body: Value,
    pays: Pays,
}

impl StandIn {
    pub async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stand_in = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
            release: Arc::default(),
        };
        let router = Router::new().fallback(serve).with_state(stand_in.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        stand_in
    }

    fn account(&self) -> MutexGuard<'_, Account> {
        self.state.lock().unwrap()
    }

    /// The next request whose path ends like this fails.
    pub fn fail(&self, path: &'static str, fault: Fault) {
        self.account().faults.fail(path, fault);
    }

    /// Somebody refunds a payment in the dashboard.
    pub fn refund_in_the_dashboard(&self, payment: i64, value: &str) -> Value {
        let capture = &self.orders(payment)[0]["purchase_units"][0]["payments"]["captures"][0];
        let path = format!(
            "/v2/payments/captures/{}/refund",
            capture["id"].as_str().unwrap()
        );
        let body = json!({"amount": {"currency_code": "CAD", "value": value}});
        let (status, refund) = self
            .account()
            .execute(&path, &body.to_string(), &Method::POST);
        assert_eq!(status, 201, "{refund}");
        refund
    }

    /// From now on one request in so many fails, as the seed decides.
    pub fn fail_at_random(&self, seed: u64, one_in: u32) {
        self.fail_in_ways(seed, one_in, &FAULTS);
    }

    /// From now on one request in so many fails in one of these ways, as the seed decides.
    pub fn fail_in_ways(&self, seed: u64, one_in: u32, faults: &'static [Fault]) {
        self.account().faults.fail_at_random(seed, one_in, faults);
    }

    /// From now on no request fails.
    pub fn fail_never(&self) {
        self.account().faults.fail_never();
    }

    /// How many requests have failed.
    pub fn faults_so_far(&self) -> usize {
        self.account().faults.so_far()
    }

    /// Requests that were delayed go on.
    pub fn release(&self) {
        self.release.notify_waiters();
    }

    /// The orders of a payment, in the order of their creation.
    pub fn orders(&self, payment: i64) -> Vec<Value> {
        let account = self.account();
        let orders = account.orders.values().map(|order| &order.body);
        orders
            .filter(|order| payment_of(order) == payment)
            .cloned()
            .collect()
    }

    /// What a payment has moved, in minor units: captured and refunded.
    pub fn moved(&self, payment: i64) -> (i64, i64) {
        let orders = self.orders(payment);
        let sum = |list: &str, statuses: &[&str]| -> i64 {
            let payments = orders
                .iter()
                .filter_map(|order| order["purchase_units"][0]["payments"][list].as_array());
            let counted = payments
                .flatten()
                .filter(|it| statuses.iter().any(|status| it["status"] == *status));
            counted.map(|it| minor(&it["amount"])).sum()
        };
        (
            sum("captures", &CAPTURED),
            sum("refunds", &["COMPLETED", "PENDING"]),
        )
    }

    /// The request ids of requests whose path ends like this.
    pub fn requests(&self, path: &str) -> Vec<String> {
        let account = self.account();
        let requests = account.requests.iter();
        let ended = requests.filter(|(request, _)| request.ends_with(path));
        ended.map(|(_, id)| id.clone()).collect()
    }

    /// The shopper of a payment's last order approves it, if it waits for that.
    pub fn shopper(&self, payment: i64, pays: Pays) -> bool {
        let mut account = self.account();
        let mut orders = account.orders.values_mut();
        let order = orders.rfind(|order| payment_of(&order.body) == payment);
        let order = order.unwrap();
        if order.body["status"] != "PAYER_ACTION_REQUIRED" {
            return false;
        }
        order.body["status"] = json!("APPROVED");
        order.body["links"] = json!([]);
        order.pays = pays;
        let order = order.body.clone();
        account.report("CHECKOUT.ORDER.APPROVED", &order);
        true
    }

    /// From now on what happens is reported by webhooks with these bodies.
    pub fn report_to(&self, courier: UnboundedSender<String>) {
        self.account().reports.go_to(courier);
    }

    /// What is here for a payment.
    pub fn book(&self, payment: i64) -> Book {
        let orders = self.orders(payment);
        let all = |list: &str, statuses: &[&str]| -> Vec<i64> {
            let lists = orders
                .iter()
                .filter_map(|order| order["purchase_units"][0]["payments"][list].as_array());
            let found = lists
                .flatten()
                .filter(|it| statuses.iter().any(|status| it["status"] == *status));
            found.map(|it| minor(&it["amount"])).collect()
        };
        let captured = all("captures", &CAPTURED);
        let authorized = all("authorizations", &["CREATED", "CAPTURED"]);
        let mut refunds = all("refunds", &["COMPLETED", "PENDING"]);
        refunds.sort_unstable();
        Book {
            // The capture of an authorization is no other charge.
            charges: captured.len().max(authorized.len()),
            held: all("authorizations", &["CREATED"]).iter().sum(),
            captured: captured.iter().sum(),
            refunds,
        }
    }

    /// A bank takes a capture back; there is no refund of it.
    pub fn take_back(&self, payment: i64) {
        for order in self.account().orders.values_mut() {
            if payment_of(&order.body) == payment {
                for capture in listed(&mut order.body, "captures") {
                    capture["status"] = json!("REFUNDED");
                }
            }
        }
    }

    /// Captures of a payment that are pending end.
    pub fn decide_captures(&self, status: &str) {
        for order in self.account().orders.values_mut() {
            for capture in listed(&mut order.body, "captures") {
                if capture["status"] == "PENDING" {
                    capture["status"] = json!(status);
                }
            }
        }
    }

    /// Refunds get this status from now on, and those that are pending, too.
    pub fn refunds_are(&self, status: &'static str) {
        let mut account = self.account();
        account.refunds_are = Some(status);
        for order in account.orders.values_mut() {
            for refund in listed(&mut order.body, "refunds") {
                if refund["status"] == "PENDING" {
                    refund["status"] = json!(status);
                }
            }
        }
    }

    /// All access tokens end before their time.
    pub fn end_tokens(&self) {
        self.account().tokens.clear();
    }

    /// Access tokens live so many seconds.
    pub fn tokens_live(&self, seconds: u64) {
        self.account().token_life = Some(seconds);
    }

    /// The instrument of a payment's approved order is declined, although nobody has heard of it yet.
    pub fn declines(&self, payment: i64) {
        let mut account = self.account();
        let mut orders = account.orders.values_mut();
        let order = orders.rfind(|order| payment_of(&order.body) == payment);
        order.unwrap().pays = Pays::Declined;
    }

    /// How many requests had no valid token.
    pub fn unauthorized(&self) -> usize {
        self.account().unauthorized
    }

    /// How many access tokens were given out.
    pub fn tokens_made(&self) -> usize {
        self.account().tokens_made
    }
}

/// The statuses of a capture that has moved money.
const CAPTURED: [&str; 3] = ["COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"];

/// Our payment: `{installation}-{payment}-{attempt}`; 0 if it is not ours.
fn payment_of(order: &Value) -> i64 {
    let ours = order["purchase_units"][0]["custom_id"].as_str().unwrap();
    let payment = ours.split('-').nth(1).map(str::parse);
    payment.and_then(Result::ok).unwrap_or(0)
}

/// In the units of its last decimal.
fn minor(amount: &Value) -> i64 {
    let value = amount["value"].as_str().unwrap();
    value.replace('.', "").parse().unwrap()
}

fn listed<'o>(order: &'o mut Value, list: &str) -> impl Iterator<Item = &'o mut Value> {
    let payments = order["purchase_units"][0]["payments"][list].as_array_mut();
    payments.into_iter().flatten()
}

async fn serve(
    State(stand_in): State<StandIn>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
    let path = uri.path().to_owned();
    let body = match uri.query() {
        Some(query) => query.to_owned(),
        None => String::from_utf8(body.to_vec()).unwrap(),
    };
    let id = text("paypal-request-id");
    let authorization = text("authorization").unwrap();
    // Before the request can be seen.
    let released = stand_in.release.notified();
    let fault = {
        let mut account = stand_in.account();
        let request = format!("{method} {path}");
        account
            .requests
            .push((request, id.clone().unwrap_or_default()));
        account.faults.of(&path, |_| true)
    };
    match fault {
        Some(Fault::Delayed) => released.await,
        Some(Fault::InProgress) => {
            let key = id.clone().unwrap();
            let begun = format!("{path} {body}");
            stand_in.account().ids.begin(key.clone(), begun);
            released.await;
            stand_in.account().ids.forget(&key);
        }
        _ => {}
    }
    let reply = {
        let mut account = stand_in.account();
        if path == "/v1/oauth2/token" {
            account.token(&authorization, &body, fault)
        } else if !account.knows(&authorization) {
            account.unauthorized += 1;
            (401, json!({"error": "invalid_token"}))
        } else {
            account.answer(&path, &body, (&method, id), fault)
        }
    };
    respond(reply, fault).await
}

impl Account {
    fn report(&mut self, kind: &str, resource: &Value) {
        self.events += 1;
        let id = format!("WH-{}", self.events);
        let event = json!({"id": id, "event_type": kind, "resource": resource});
        self.reports.send(event.to_string());
    }

    /// Reports what a call has created or changed, if PayPal does.
    fn report_call(&mut self, path: &str, object: &Value) {
        let payments = &object["purchase_units"][0]["payments"];
        let end = path.rsplit('/').next().unwrap_or_default();
        let (kind, resource) = match end {
            "capture" if payments.is_object() => {
                ("PAYMENT.CAPTURE.COMPLETED", &payments["captures"][0])
            }
            "capture" => ("PAYMENT.CAPTURE.COMPLETED", object),
            "authorize" => (
                "PAYMENT.AUTHORIZATION.CREATED",
                &payments["authorizations"][0],
            ),
            "refund" => ("PAYMENT.CAPTURE.REFUNDED", object),
            _ => return,
        };
        let resource = resource.clone();
        self.report(kind, &resource);
    }

    fn token(&mut self, authorization: &str, body: &str, fault: Option<Fault>) -> Reply {
        match fault {
            Some(Fault::Busy | Fault::BusyFor(_)) => return error(429, "RATE_LIMIT_REACHED"),
            Some(Fault::ErrorBefore | Fault::ErrorAfter | Fault::StoredError) => {
                return error(500, "INTERNAL_SERVER_ERROR");
            }
            _ => {}
        }
        let pair = STANDARD.encode(format!("{CLIENT_ID}:{CLIENT_SECRET}"));
        if authorization != format!("Basic {pair}") {
            return (401, json!({"error": "invalid_client"}));
        }
        assert!(body.contains("grant_type=client_credentials"), "{body}");
        self.tokens_made += 1;
        let token = format!("A21AA-{}", self.tokens_made);
        self.tokens.insert(token.clone());
        let life = self.token_life.unwrap_or(32_400);
        (
            200,
            json!({"access_token": token, "token_type": "Bearer", "expires_in": life}),
        )
    }

    fn knows(&self, authorization: &str) -> bool {
        let token = authorization.strip_prefix("Bearer ").unwrap();
        self.tokens.contains(token)
    }

    fn answer(
        &mut self,
        path: &str,
        body: &str,
        (method, id): (&Method, Option<String>),
        fault: Option<Fault>,
    ) -> Reply {
        match fault {
            Some(Fault::Busy | Fault::BusyFor(_)) => return error(429, "RATE_LIMIT_REACHED"),
            Some(Fault::Lost) => return (200, Value::Null),
            _ => {}
        }
        let request = format!("{path} {body}");
        match self.ids.stored(id.as_ref(), &request) {
            Stored::InProgress => return error(422, "PREVIOUS_REQUEST_IN_PROGRESS"),
            Stored::Answer(reply) => return reply,
            Stored::Other => panic!("another request with the same id: {request}"),
            Stored::Nothing => {}
        }
        let executed = match fault {
            Some(Fault::ErrorBefore) => return error(500, "INTERNAL_SERVER_ERROR"),
            Some(Fault::StoredError) => error(500, "INTERNAL_SERVER_ERROR"),
            _ => self.execute(path, body, method),
        };
        if executed.0 == 201 {
            self.report_call(path, &executed.1);
        }
        let mut reply = match fault {
            // A stored 500 in place of a refusal stays undecided for ever, which is documented.
            Some(Fault::ErrorAfter) if executed.0 < 400 => error(500, "INTERNAL_SERVER_ERROR"),
            Some(Fault::RefusedAfter(issue)) => error(422, issue),
            _ => executed,
        };
        if let Some(id) = id {
            assert!(id.len() <= 108, "too long for PayPal: {id}");
            self.ids.store(id, request, reply.clone());
        }
        match fault {
            Some(Fault::OtherAmount) => falsify(&mut reply.1),
            Some(Fault::OtherPayment) => reply.1 = of_another(&reply.1),
            Some(Fault::SaysDeclined) => say_declined(&mut reply.1),
            Some(Fault::Short) => reply.1["purchase_units"] = Value::Null,
            _ => {}
        }
        reply
    }

    fn execute(&mut self, path: &str, body: &str, method: &Method) -> Reply {
        if let Some(id) = path.strip_prefix("/v1/customer/disputes/") {
            return self.dispute(id);
        }
        if path == "/v1/reporting/transactions" {
            return self.transactions(body);
        }
        let body: Value = serde_json::from_str(body).unwrap_or_default();
        let words: Vec<&str> = path.split('/').skip(2).collect();
        match (method.as_str(), words.as_slice()) {
            ("POST", ["checkout", "orders"]) => self.create(&body),
            ("GET", ["checkout", "orders", id]) => match self.orders.get(*id) {
                Some(order) => (200, order.body.clone()),
                None => error(404, "RESOURCE_NOT_FOUND"),
            },
            ("POST", ["checkout", "orders", id, verb @ ("capture" | "authorize")]) => {
                self.created += 1;
                let number = self.created;
                match self.orders.get_mut(*id) {
                    Some(order) => charge(order, verb, number),
                    None => error(404, "RESOURCE_NOT_FOUND"),
                }
            }
            ("GET", ["payments", list, id]) => match self.payment(list, id) {
                Some((order, place)) => {
                    let payments = &self.orders[&order].body["purchase_units"][0]["payments"];
                    (200, payments[*list][place].clone())
                }
                None => error(404, "RESOURCE_NOT_FOUND"),
            },
            ("POST", ["notifications", "verify-webhook-signature"]) => {
                let genuine =
                    body["webhook_id"] == WEBHOOK_ID && body["transmission_sig"] == GENUINE;
                let status = if genuine { "SUCCESS" } else { "FAILURE" };
                (200, json!({ "verification_status": status }))
            }
            ("POST", ["payments", list, id, verb]) => {
                self.created += 1;
                let Some((order, place)) = self.payment(list, id) else {
                    return error(404, "RESOURCE_NOT_FOUND");
                };
                let number = self.created;
                let status = self.refunds_are.unwrap_or("COMPLETED");
                let order = &mut self.orders.get_mut(&order).unwrap().body;
                match *verb {
                    "capture" => capture(order, place, &body, number),
                    "void" => void(order, place),
                    "refund" => refund(order, place, &body, (number, status)),
                    verb => panic!("the stand-in does not know {verb}"),
                }
            }
            other => panic!("the stand-in does not know {other:?}"),
        }
    }

    /// The order of a payment, and its place in the list.
    fn payment(&self, list: &str, id: &str) -> Option<(String, usize)> {
        self.orders.iter().find_map(|(order, it)| {
            let payments = it.body["purchase_units"][0]["payments"][list].as_array()?;
            let place = payments.iter().position(|payment| payment["id"] == id)?;
            Some((order.clone(), place))
        })
    }

    fn create(&mut self, body: &Value) -> Reply {
        self.created += 1;
        let unit = &body["purchase_units"][0];
        if unit["amount"]["value"] == "0.01" {
            return error(422, "MIN_AMOUNT_REQUIRED");
        }
        let id = format!("{:06}T", self.created);
        let page = format!("https://www.sandbox.paypal.example/checkoutnow?token={id}");
        let order = json!({
            "id": id, "intent": body["intent"], "status": "PAYER_ACTION_REQUIRED",
            "payment_source": {"paypal": {}},
            "context": body["payment_source"]["paypal"]["experience_context"],
            "purchase_units": [{
                "reference_id": "default", "custom_id": unit["custom_id"], "invoice_id": unit["invoice_id"],
                "amount": unit["amount"], "payments": {"captures": [], "authorizations": [], "refunds": []},
            }],
            "links": [
                {"rel": "self", "method": "GET", "href": "https://api.example/self"},
                {"rel": "payer-action", "method": "GET", "href": page},
            ],
        });
        let (body, pays) = (order.clone(), Pays::Well);
        self.orders.insert(id, Order { body, pays });
        (200, order)
    }
}

/// Captures or authorizes an order.
fn charge(order: &mut Order, verb: &str, number: usize) -> Reply {
    let Order { body, pays } = order;
    let captures = verb == "capture";
    let intent = if captures { "CAPTURE" } else { "AUTHORIZE" };
    if body["intent"] != intent {
        return error(422, "ACTION_DOES_NOT_MATCH_INTENT");
    }
    match body["status"].as_str().unwrap() {
        "APPROVED" => {}
        "COMPLETED" if captures => return error(422, "ORDER_ALREADY_CAPTURED"),
        "COMPLETED" => return error(422, "ORDER_ALREADY_AUTHORIZED"),
        _ => return error(422, "ORDER_NOT_APPROVED"),
    }
    let status = match pays {
        Pays::Declined => {
            let id = body["id"].as_str().unwrap();
            let page = format!("https://www.sandbox.paypal.example/checkoutnow?token={id}");
            body["links"] = json!([{"rel": "payer-action", "method": "GET", "href": page}]);
            body["status"] = json!("PAYER_ACTION_REQUIRED");
            return error(422, "INSTRUMENT_DECLINED");
        }
        Pays::Never => return error(422, "PAYER_CANNOT_PAY"),
        Pays::Later => "PENDING",
        Pays::Well if captures => "COMPLETED",
        Pays::Well => "CREATED",
    };
    body["status"] = json!("COMPLETED");
    let unit = &mut body["purchase_units"][0];
    let list = if captures {
        "captures"
    } else {
        "authorizations"
    };
    let payment = json!({
        "id": format!("{number:06}C"), "status": status, "amount": unit["amount"],
        "custom_id": unit["custom_id"], "invoice_id": unit["invoice_id"], "final_capture": true,
    });
    unit["payments"][list].as_array_mut().unwrap().push(payment);
    (201, body.clone())
}

/// Captures an authorization, or a part of it.
fn capture(order: &mut Value, place: usize, body: &Value, number: usize) -> Reply {
    let payments = &mut order["purchase_units"][0]["payments"];
    let authorization = &mut payments["authorizations"][place];
    match authorization["status"].as_str().unwrap() {
        "CREATED" => {}
        "VOIDED" => return error(422, "AUTHORIZATION_VOIDED"),
        _ => return error(422, "AUTHORIZATION_ALREADY_CAPTURED"),
    }
    assert_eq!(body["final_capture"], true);
    let amount = match &body["amount"] {
        Value::Null => authorization["amount"].clone(),
        amount => amount.clone(),
    };
    assert!(minor(&amount) <= minor(&authorization["amount"]));
    authorization["status"] = json!("CAPTURED");
    let capture = json!({
        "id": format!("{number:06}C"), "status": "COMPLETED", "amount": amount,
        "custom_id": authorization["custom_id"], "invoice_id": body["invoice_id"], "final_capture": true,
    });
    let captures = payments["captures"].as_array_mut().unwrap();
    captures.push(capture.clone());
    (201, capture)
}

fn void(order: &mut Value, place: usize) -> Reply {
    let authorization = &mut order["purchase_units"][0]["payments"]["authorizations"][place];
    match authorization["status"].as_str().unwrap() {
        "CREATED" => {
            authorization["status"] = json!("VOIDED");
            (204, Value::Null)
        }
        "VOIDED" => error(422, "PREVIOUSLY_VOIDED"),
        _ => error(422, "PREVIOUSLY_CAPTURED"),
    }
}

fn refund(order: &mut Value, place: usize, body: &Value, made: (usize, &str)) -> Reply {
    let payments = &mut order["purchase_units"][0]["payments"];
    let capture = payments["captures"][place].clone();
    let refunds = payments["refunds"].as_array_mut().unwrap();
    let standing = refunds.iter().filter(|refund| {
        refund["capture"] == capture["id"]
            && (refund["status"] == "COMPLETED" || refund["status"] == "PENDING")
    });
    let returned: i64 = standing.map(|refund| minor(&refund["amount"])).sum();
    let rest = minor(&capture["amount"]) - returned;
    let amount = match &body["amount"] {
        Value::Null => {
            let mut amount = capture["amount"].clone();
            amount["value"] = json!(format!("{}.{:02}", rest / 100, rest % 100));
            amount
        }
        amount => amount.clone(),
    };
    match rest - minor(&amount) {
        _ if rest == 0 => error(422, "CAPTURE_FULLY_REFUNDED"),
        left if left < 0 => error(422, "REFUND_AMOUNT_EXCEEDED"),
        left => {
            let (number, status) = made;
            let refund = json!({
                "id": format!("{number:06}R"), "status": status, "amount": amount,
                "invoice_id": body["invoice_id"], "custom_id": body["custom_id"], "capture": capture["id"],
                "status_details": {"reason": "ECHECK"}, "create_time": "2026-11-27T03:00:00Z",
                "links": [{"rel": "up", "method": "GET", "href": format!("https://api.example/v2/payments/captures/{}", capture["id"].as_str().unwrap())}],
            });
            refunds.push(refund.clone());
            if status == "COMPLETED" {
                let status = if left == 0 {
                    "REFUNDED"
                } else {
                    "PARTIALLY_REFUNDED"
                };
                payments["captures"][place]["status"] = json!(status);
            }
            (201, refund)
        }
    }
}

fn falsify(answer: &mut Value) {
    let other = json!({"currency_code": "CAD", "value": "1.00"});
    if answer["purchase_units"][0].is_object() {
        answer["purchase_units"][0]["amount"] = other.clone();
        for list in ["captures", "authorizations"] {
            for payment in listed(answer, list) {
                payment["amount"] = other.clone();
            }
        }
    }
    if answer["amount"].is_object() {
        answer["amount"] = other;
    }
}

/// The same, with other ids and another payment.
fn of_another(answer: &Value) -> Value {
    let mut other = answer.clone();
    other["id"] = json!("999999X");
    other["invoice_id"] = json!("elsewhere-1-1");
    if let Some(unit) = other["purchase_units"].get_mut(0) {
        unit["custom_id"] = json!("elsewhere-1-1");
        unit["invoice_id"] = json!("elsewhere-1-1");
    }
    other["links"] =
        json!([{"rel": "payer-action", "href": "https://www.sandbox.paypal.example/another"}]);
    other
}

fn say_declined(answer: &mut Value) {
    if !answer["purchase_units"].is_array() {
        answer["status"] = json!("DECLINED");
        return;
    }
    for list in ["captures", "authorizations"] {
        for payment in listed(answer, list) {
            payment["status"] = json!("DECLINED");
        }
    }
}

fn error(status: u16, issue: &str) -> Reply {
    let details = json!([{"issue": issue, "description": "What is wrong."}]);
    let error =
        json!({"name": "UNPROCESSABLE_ENTITY", "details": details, "debug_id": "90957fca61718"});
    (status, error)
}
