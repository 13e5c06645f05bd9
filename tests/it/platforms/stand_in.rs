//! A stand-in for Stripe's API: keeps state, idempotency keys with the answers stored under them, and fails on demand.

use std::collections::{BTreeMap, HashMap};
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use serde_json::{Value, json};
use time::OffsetDateTime;
use tokio::net::TcpListener;
use tokio::sync::mpsc::UnboundedSender;

pub use super::unreliable::Fault;
use super::unreliable::{Book, Faults, Keys, Reply, Reports, Stored, respond};

pub const SECRET_KEY: &str = "sk_test_123";

/// The signing secret of its webhooks, and the one before.
pub const WEBHOOK_SECRET: &str = "whsec_of_the_stand_in";
pub const OLD_WEBHOOK_SECRET: &str = "whsec_before_the_rotation";

/// How a request fails at random, unless a test says otherwise.
const FAULTS: [Fault; 7] = [
    Fault::ErrorAfter,
    Fault::Silent,
    Fault::Busy,
    Fault::Html,
    Fault::Cut,
    Fault::OtherAmount,
    Fault::ErrorBefore,
];

/// A stand-in on a free port.
#[derive(Clone)]
pub struct StandIn {
    pub address: SocketAddr,
    state: Arc<Mutex<Account>>,
}

#[derive(Default)]
struct Account {
    intents: BTreeMap<String, Value>,
    sessions: BTreeMap<String, Value>,
    /// The shoppers of these sessions pay just before the sessions are expired.
    hurried: Vec<String>,
    /// What the shopper decides of an intent leads to.
    refunds: Vec<Value>,
    disputes: Vec<Value>,
    /// Events that were made.
    events: usize,
    keys: Keys,
    faults: Faults,
    reports: Reports,
    requests: Vec<String>,
    created: usize,
    /// Our ids of refunds that were not executed, and whose key has a stored 500 all the same.
    undecidable: Vec<String>,
    /// Whether there may be such refunds at random.
    leaves_undecided: bool,
    /// The account's key is not accepted.
    refuses_key: bool,
    endless: Option<Endless>,
}

/// How lists have no end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Endless {
    /// The first page again and again.
    SamePage,
    /// Two pages in turn.
    InTurn,
    /// New objects in each page.
    Growing,
    /// Empty pages.
    Empty,
}

impl StandIn {
    pub async fn start() -> Self {
        Self::start_on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    pub fn start_on(listener: TcpListener) -> Self {
        let stand_in = Self {
            address: listener.local_addr().unwrap(),
            state: Arc::default(),
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

    /// From now on lists have no end.
    pub fn never_end(&self, how: Endless) {
        self.account().endless = Some(how);
    }

    /// Whether the account's key is refused from now on.
    pub fn refuse_key(&self, refuses: bool) {
        self.account().refuses_key = refuses;
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

    /// The intents of a payment, in the order of their creation.
    pub fn intents(&self, payment: i64) -> Vec<Value> {
        let payment = payment.to_string();
        let account = self.account();
        let intents = account.intents.values();
        intents
            .filter(|intent| intent["metadata"]["payment_id"] == payment)
            .cloned()
            .collect()
    }

    /// What a payment has moved, in Stripe's units: captured and refunded.
    pub fn moved(&self, payment: i64) -> (i64, i64) {
        let intents = self.intents(payment);
        let sum = |field: &str| intents.iter().map(|it| it[field].as_i64().unwrap()).sum();
        (sum("amount_received"), sum("refunded"))
    }

    /// Requests whose path ends like this.
    pub fn requests(&self, path: &str) -> usize {
        let account = self.account();
        let requests = account.requests.iter();
        requests.filter(|request| request.ends_with(path)).count()
    }

    /// The shopper of a payment's only intent approves, or does not.
    pub fn shopper(&self, payment: i64, approves: bool) {
        let id = self.intents(payment)[0]["id"].as_str().unwrap().to_owned();
        let mut account = self.account();
        let intent = account.intents.get_mut(&id).unwrap();
        assert_eq!(intent["status"], "requires_action", "too late");
        match approves {
            true => authorize(intent),
            false => {
                let code = "payment_intent_authentication_failure";
                intent["status"] = json!("requires_payment_method");
                intent["last_payment_error"] =
                    json!({"type": "invalid_request_error", "code": code});
            }
        }
    }

    /// The refunds of a payment, in the order of their creation.
    pub fn refunds(&self, payment: i64) -> Vec<Value> {
        let intents = self.intents(payment);
        let is_of = |refund: &&Value| {
            intents
                .iter()
                .any(|it| it["id"] == refund["payment_intent"])
        };
        self.account()
            .refunds
            .iter()
            .filter(is_of)
            .cloned()
            .collect()
    }

    /// Somebody refunds a payment in the dashboard.
    pub fn refund_in_the_dashboard(&self, payment: i64, amount: i64) -> Value {
        let intent = self.intents(payment)[0]["id"].as_str().unwrap().to_owned();
        let form = [("payment_intent", intent), ("amount", amount.to_string())];
        let form = form.map(|(name, value)| (name.to_owned(), value));
        let (status, refund) = self.account().refund(&form.into());
        assert_eq!(status, 200, "{refund}");
        refund
    }

    /// A bank returns a refund that had succeeded.
    pub fn return_refund(&self, id: &str) -> Value {
        let mut account = self.account();
        let Account {
            refunds, intents, ..
        } = &mut *account;
        let refund = refunds.iter_mut().find(|it| it["id"] == id).unwrap();
        assert_ne!(refund["status"], "failed");
        refund["status"] = json!("failed");
        refund["failure_reason"] = json!("expired_or_canceled_card");
        let intent = refund["payment_intent"].as_str().unwrap();
        let intent = intents.get_mut(intent).unwrap();
        let left = intent["refunded"].as_i64().unwrap() - refund["amount"].as_i64().unwrap();
        intent["refunded"] = json!(left);
        refund.clone()
    }

    /// The shopper disputes a payment.
    pub fn dispute(&self, payment: i64) -> Value {
        let intent = self.intents(payment)[0].clone();
        let mut account = self.account();
        let dispute = json!({
            "id": format!("du_{}", account.disputes.len() + 1), "object": "dispute", "amount": intent["amount"],
            "currency": intent["currency"], "charge": intent["latest_charge"], "payment_intent": intent["id"],
            "reason": "fraudulent", "status": "needs_response", "metadata": {},
        });
        account.disputes.push(dispute.clone());
        dispute
    }

    /// A dispute ends.
    pub fn end_dispute(&self, id: &str, status: &str) -> Value {
        let mut account = self.account();
        let dispute = account.disputes.iter_mut().find(|it| it["id"] == id);
        let dispute = dispute.unwrap();
        dispute["status"] = json!(status);
        dispute.clone()
    }

    /// A new event about an object, as a webhook's body.
    pub fn event(&self, kind: &str, object: &Value) -> String {
        self.account().event(kind, object)
    }

    /// From now on what happens is reported by webhooks with these bodies.
    pub fn report_to(&self, courier: UnboundedSender<String>) {
        self.account().reports.go_to(courier);
    }

    /// From now on refunds can fail at random in a way that nobody can find out about: see [`Self::undecidable`].
    pub fn leave_undecided(&self) {
        self.account().leaves_undecided = true;
    }

    /// Our ids of refunds that nobody can find out about: they were not executed, and their keys have a stored 500.
    pub fn undecidable(&self) -> Vec<String> {
        self.account().undecidable.clone()
    }

    /// The shopper of a payment approves it, if Stripe waits for that.
    pub fn approve(&self, payment: i64) {
        let intents = self.intents(payment);
        let waiting = intents.iter().find(|it| it["status"] == "requires_action");
        if let Some(id) = waiting.and_then(|it| it["id"].as_str()) {
            let mut account = self.account();
            let intent = account.intents.get_mut(id).unwrap();
            authorize(intent);
            let intent = intent.clone();
            account.report(&intent);
        }
    }

    /// What is here for a payment.
    pub fn book(&self, payment: i64) -> Book {
        let intents = self.intents(payment);
        let number = |intent: &Value, field: &str| intent[field].as_i64().unwrap();
        let sum = |field: &str| intents.iter().map(|it| number(it, field)).sum();
        let is_charge =
            |it: &&Value| it["status"] == "requires_capture" || number(it, "amount_received") > 0;
        let refunds = self.refunds(payment);
        let standing = refunds
            .iter()
            .filter(|it| it["status"] != "failed" && it["status"] != "canceled");
        let mut refunds: Vec<i64> = standing.map(|it| number(it, "amount")).collect();
        refunds.sort_unstable();
        Book {
            charges: intents.iter().filter(is_charge).count(),
            held: sum("amount_capturable"),
            captured: sum("amount_received"),
            refunds,
        }
    }

    /// Somebody changes a payment's only intent.
    pub fn change(&self, payment: i64, change: impl FnOnce(&mut Value)) {
        let id = self.intents(payment)[0]["id"].as_str().unwrap().to_owned();
        change(self.account().intents.get_mut(&id).unwrap());
    }

    /// Somebody changes the refunds of a payment's only intent.
    pub fn change_refunds(&self, payment: i64, change: impl FnMut(&mut Value)) {
        let id = self.intents(payment)[0]["id"].clone();
        let mut account = self.account();
        let refunds = account.refunds.iter_mut();
        refunds
            .filter(|it| it["payment_intent"] == id)
            .for_each(change);
    }

    /// The intents of a payment and their refunds are gone.
    pub fn forget(&self, payment: i64) {
        let intents = self.intents(payment);
        let mut account = self.account();
        for intent in intents {
            account.intents.remove(intent["id"].as_str().unwrap());
            account
                .refunds
                .retain(|it| it["payment_intent"] != intent["id"]);
        }
    }

    /// Only the refunds of a payment are gone.
    pub fn forget_refunds(&self, payment: i64) {
        let id = self.intents(payment)[0]["id"].clone();
        self.account()
            .refunds
            .retain(|it| it["payment_intent"] != id);
        self.change(payment, |intent| intent["refunded"] = json!(0));
    }

    /// The refunds of a payment were executed once more each.
    pub fn repeat_refunds(&self, payment: i64) {
        let id = self.intents(payment)[0]["id"].clone();
        let mut account = self.account();
        let refunds = account.refunds.iter();
        let mut again: Vec<Value> = refunds
            .filter(|it| it["payment_intent"] == id)
            .cloned()
            .collect();
        for refund in &mut again {
            refund["id"] = json!(format!("{}_again", refund["id"].as_str().unwrap()));
        }
        account.refunds.extend(again);
    }

    /// Somebody refunds a payment's only intent in the dashboard.
    pub fn refund_in_dashboard(&self, payment: i64, amount: i64) {
        let id = self.intents(payment)[0]["id"].as_str().unwrap().to_owned();
        let form = [("payment_intent", id), ("amount", amount.to_string())];
        let form = form.map(|(name, value)| (name.to_owned(), value));
        let (status, _) = self.account().refund(&form.into());
        assert_eq!(status, 200);
    }

    /// A charge of an installation's payment, in some currency, without a request.
    pub fn charge_of(&self, installation: &str, payment: i64) {
        let id = format!("pi_{payment}");
        let intent = json!({
            "id": id, "object": "payment_intent", "status": "succeeded", "amount": 2000, "amount_received": 2000,
            "created": OffsetDateTime::now_utc().unix_timestamp(), "currency": "cad", "refunded": 0,
            "latest_charge": format!("ch_{payment}"),
            "metadata": {"payment_id": payment.to_string(), "attempt": "1", "installation": installation},
        });
        self.account().intents.insert(id, intent);
    }

    /// A copy of an intent with another id and changes.
    pub fn copy(&self, payment: i64, id: &str, change: impl FnOnce(&mut Value)) {
        let mut intent = self.intents(payment)[0].clone();
        intent["id"] = json!(id);
        change(&mut intent);
        self.account().intents.insert(id.to_owned(), intent);
    }

    /// The sessions of a payment, in the order of their creation.
    pub fn sessions(&self, payment: i64) -> Vec<Value> {
        let payment = payment.to_string();
        let account = self.account();
        let sessions = account.sessions.values();
        let of_payment = sessions.filter(|it| it["metadata"]["payment_id"] == payment);
        of_payment.cloned().collect()
    }

    /// The shopper of a payment's last session pays with this card, or tries to.
    pub fn pay_on_page(&self, payment: i64, card: &str) {
        let session = self.last_session(payment);
        self.account().pay_on_page(&session, card);
    }

    /// The shopper of a payment's last session pays just before the session is expired.
    pub fn pay_in_a_hurry(&self, payment: i64) {
        let session = self.last_session(payment);
        self.account().hurried.push(session);
    }

    fn last_session(&self, payment: i64) -> String {
        let sessions = self.sessions(payment);
        sessions.last().unwrap()["id"].as_str().unwrap().to_owned()
    }

    /// Somebody changes a payment's last session.
    pub fn change_session(&self, payment: i64, change: impl FnOnce(&mut Value)) {
        let id = self.last_session(payment);
        change(self.account().sessions.get_mut(&id).unwrap());
    }

    /// Refunds that are pending succeed or fail.
    pub fn decide_refunds(&self, status: &str) {
        let mut account = self.account();
        let Account {
            refunds, intents, ..
        } = &mut *account;
        for refund in refunds.iter_mut().filter(|it| it["status"] == "pending") {
            refund["status"] = json!(status);
            if status == "failed" {
                refund["failure_reason"] = json!("expired_or_canceled_card");
                let id = refund["payment_intent"].as_str().unwrap();
                let intent = intents.get_mut(id).unwrap();
                let rest =
                    intent["refunded"].as_i64().unwrap() - refund["amount"].as_i64().unwrap();
                intent["refunded"] = json!(rest);
            }
        }
    }
}

async fn serve(
    State(stand_in): State<StandIn>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let text = |name: &str| headers.get(name).map(|it| it.to_str().unwrap().to_owned());
    assert_eq!(
        text("authorization").unwrap(),
        format!("Bearer {SECRET_KEY}")
    );
    assert!(text("stripe-version").is_some());
    let body = String::from_utf8(body.to_vec()).unwrap();
    let (fault, reply) = {
        let mut account = stand_in.account();
        account.requests.push(format!("{method} {}", uri.path()));
        let fault = account.fault(&method, uri.path());
        let key = text("idempotency-key");
        (fault, account.answer(&uri, &body, (method, key), fault))
    };
    respond(reply, fault).await
}

impl Account {
    fn event(&mut self, kind: &str, object: &Value) -> String {
        self.events += 1;
        let event = json!({
            "id": format!("evt_{}", self.events), "object": "event", "type": kind, "api_version": "2024-06-20",
            "created": 1_700_000_000, "livemode": false, "data": {"object": object},
        });
        event.to_string()
    }

    /// Reports what has become of an object, if Stripe does.
    fn report(&mut self, object: &Value) {
        let is_refund = object["object"] == "refund";
        let kind = match object["status"].as_str() {
            _ if is_refund => "refund.created",
            Some("succeeded") => "payment_intent.succeeded",
            Some("requires_capture") => "payment_intent.amount_capturable_updated",
            Some("canceled") => "payment_intent.canceled",
            _ => return,
        };
        let event = self.event(kind, object);
        self.reports.send(event);
    }

    fn fault(&mut self, method: &Method, path: &str) -> Option<Fault> {
        let makes_refund = *method == Method::POST && path.ends_with("/refunds");
        // A refund whose key has a stored 500 stays undecided for ever, which is documented.
        let any = self.leaves_undecided || !makes_refund;
        self.faults
            .of(path, |fault| any || fault != Fault::ErrorBefore)
    }

    fn answer(
        &mut self,
        uri: &Uri,
        body: &str,
        (method, key): (Method, Option<String>),
        fault: Option<Fault>,
    ) -> Reply {
        if self.refuses_key {
            return refused(401, "invalid_request_error", "api_key_expired");
        }
        if matches!(fault, Some(Fault::Busy | Fault::BusyFor(_))) {
            return refused(429, "rate_limit_error", "rate_limit");
        }
        if fault == Some(Fault::Lost) {
            return (200, Value::Null);
        }
        match self.keys.stored(key.as_ref(), body) {
            // Whatever it was: also a 500.
            Stored::Answer(reply) => return reply,
            Stored::Other | Stored::InProgress => {
                return refused(400, "idempotency_error", "idempotency_key_reused");
            }
            Stored::Nothing => {}
        }
        let executed = match fault {
            Some(Fault::ErrorBefore) => {
                self.undecidable.extend(refund_of(uri, body));
                refused(500, "api_error", "unknown")
            }
            _ => self.execute(uri, body, &method),
        };
        if method == Method::POST && executed.0 == 200 {
            self.report(&executed.1);
        }
        let mut reply = match fault {
            Some(Fault::ErrorAfter) => refused(500, "api_error", "unknown"),
            Some(Fault::RefusedAfter(why)) => refused(400, "invalid_request_error", why),
            _ => executed,
        };
        if let Some(key) = key {
            self.keys.store(key, body.to_owned(), reply.clone());
        }
        if fault == Some(Fault::OtherAmount) {
            reply.1["amount"] = json!(1);
            reply.1["amount_total"] = json!(1);
        }
        if fault == Some(Fault::OtherPayment) {
            reply.1["id"] = json!(format!("{}x", reply.1["id"].as_str().unwrap()));
            reply.1["url"] = json!("https://checkout.stripe.example/c/pay/of_another");
            reply.1["metadata"] =
                json!({"installation": "another", "payment_id": "1", "attempt": "1"});
        }
        reply
    }

    fn execute(&mut self, uri: &Uri, body: &str, method: &Method) -> Reply {
        let form: HashMap<String, String> = form_urlencoded::parse(body.as_bytes())
            .into_owned()
            .collect();
        let path = uri.path().strip_prefix("/v1/").expect("a version");
        let words: Vec<&str> = path.split('/').collect();
        match (method.as_str(), words.as_slice()) {
            ("POST", ["payment_intents"]) => self.create(&form),
            ("GET", ["payment_intents" | "refunds"]) if self.endless.is_some() => {
                self.endless_page(words[0], &fields(uri))
            }
            ("GET", ["payment_intents"]) => self.listed(&fields(uri)),
            ("GET", ["payment_intents", id]) => {
                let expand = !fields(uri).is_empty();
                self.with(id, |intent| {
                    let intent = if expand {
                        expanded(intent)
                    } else {
                        intent.clone()
                    };
                    (200, intent)
                })
            }
            ("POST", ["payment_intents", id, "confirm"]) => {
                self.with(id, |intent| confirm(intent, &form))
            }
            ("POST", ["payment_intents", id, "capture"]) => {
                self.with(id, |intent| capture(intent, &form))
            }
            ("POST", ["payment_intents", id, "cancel"]) => self.with(id, cancel),
            ("POST", ["checkout", "sessions"]) => self.open_page(&form),
            ("GET", ["checkout", "sessions", id]) => {
                let found = self.sessions.get(*id);
                found.map_or_else(missing, |session| (200, session.clone()))
            }
            ("POST", ["checkout", "sessions", id, "expire"]) => self.expire(id),
            ("POST", ["refunds"]) => self.refund(&form),
            ("GET", ["refunds"]) => {
                let query = fields(uri);
                let refunds = self.refunds.iter().rev();
                let of_intent =
                    refunds.filter(|refund| refund["payment_intent"] == query["payment_intent"]);
                paged(of_intent.cloned().collect(), &query)
            }
            ("GET", ["disputes", id]) => {
                let found = self.disputes.iter().find(|dispute| dispute["id"] == *id);
                found.map_or_else(missing, |dispute| (200, dispute.clone()))
            }
            ("GET", ["refunds", id]) => {
                let found = self.refunds.iter().find(|refund| refund["id"] == *id);
                found.map_or_else(missing, |refund| (200, refund.clone()))
            }
            other => panic!("the stand-in does not know {other:?}"),
        }
    }

    /// A page of one object of somebody else, of which there are always more.
    fn endless_page(&mut self, list: &str, query: &HashMap<String, String>) -> Reply {
        self.created += 1;
        let id = match self.endless.unwrap() {
            Endless::SamePage => "x_0".to_owned(),
            Endless::InTurn if query.get("starting_after").is_some_and(|it| it == "x_0") => {
                "x_1".to_owned()
            }
            Endless::InTurn => "x_0".to_owned(),
            Endless::Growing => format!("x_{}", self.created),
            Endless::Empty => return (200, json!({"data": [], "has_more": true})),
        };
        let object = match list {
            "refunds" => json!({"id": id, "amount": 1, "currency": "cad", "status": "failed"}),
            _ => json!({"id": id, "metadata": {"installation": "somebody else"}}),
        };
        (
            200,
            json!({"object": "list", "data": [object], "has_more": true}),
        )
    }

    /// Newest first.
    fn listed(&self, query: &HashMap<String, String>) -> Reply {
        let bound = |name: &str| query.get(name).map(|it| it.parse::<i64>().unwrap());
        let (from, until) = (bound("created[gte]").unwrap(), bound("created[lt]"));
        let in_time = |intent: &&Value| {
            let created = intent["created"].as_i64().unwrap();
            created >= from && until.is_none_or(|until| created < until)
        };
        assert_eq!(query["expand[]"], "data.latest_charge");
        let intents = self.intents.values().rev().filter(in_time);
        paged(intents.map(expanded).collect(), query)
    }

    fn with(&mut self, id: &str, change: impl FnOnce(&mut Value) -> Reply) -> Reply {
        self.intents.get_mut(id).map_or_else(missing, change)
    }

    fn create(&mut self, form: &HashMap<String, String>) -> Reply {
        self.created += 1;
        let id = format!("pi_{:06}", self.created);
        let amount: i64 = form["amount"].parse().unwrap();
        if amount < 50 {
            return refused(400, "invalid_request_error", "amount_too_small");
        }
        if !form["payment_method"].starts_with("pm_card_") {
            return refused(400, "invalid_request_error", "resource_missing");
        }
        let metadata = |name: &str| form[&format!("metadata[{name}]")].clone();
        let intent = json!({
            "id": id, "object": "payment_intent", "status": "requires_confirmation",
            "created": OffsetDateTime::now_utc().unix_timestamp(),
            "amount": amount, "amount_received": 0, "amount_capturable": 0, "refunded": 0, "currency": form["currency"],
            "capture_method": form["capture_method"], "latest_charge": null, "next_action": null,
            "last_payment_error": null, "payment_method": form["payment_method"],
            "metadata": {
                "payment_id": metadata("payment_id"), "attempt": metadata("attempt"),
                "installation": metadata("installation"), "amount": metadata("amount"),
                "currency": metadata("currency"),
            },
        });
        self.intents.insert(id, intent.clone());
        (200, intent)
    }

    fn open_page(&mut self, form: &HashMap<String, String>) -> Reply {
        self.created += 1;
        let id = format!("cs_test_{:06}", self.created);
        let now = OffsetDateTime::now_utc().unix_timestamp();
        let lasts = form["expires_at"].parse::<i64>().unwrap() - now;
        assert!(
            (30 * 60..24 * 60 * 60).contains(&lasts),
            "refused by Stripe: {lasts} s"
        );
        let amount: i64 = form["line_items[0][price_data][unit_amount]"]
            .parse()
            .unwrap();
        if amount < 50 {
            return refused(400, "invalid_request_error", "amount_too_small");
        }
        let own = |name: &str| form[&format!("metadata[{name}]")].clone();
        let of_intent =
            |name: &str| form[&format!("payment_intent_data[metadata][{name}]")].clone();
        let session = json!({
            "id": id, "object": "checkout.session", "status": "open", "amount_total": amount,
            "currency": form["line_items[0][price_data][currency]"], "payment_intent": null,
            "url": format!("https://checkout.stripe.example/c/pay/{id}"),
            "success_url": form["success_url"], "cancel_url": form["cancel_url"],
            "capture_method": form["payment_intent_data[capture_method]"],
            "metadata": {
                "payment_id": own("payment_id"), "attempt": own("attempt"), "installation": own("installation"),
            },
            "metadata_of_intent": {
                "payment_id": of_intent("payment_id"), "attempt": of_intent("attempt"),
                "installation": of_intent("installation"),
            },
        });
        self.sessions.insert(id, session.clone());
        (200, session)
    }

    /// The first try makes the intent. A card that is declined can be replaced on the page.
    fn pay_on_page(&mut self, id: &str, card: &str) {
        let session = self.sessions.get_mut(id).unwrap();
        if session["status"] != "open" {
            return;
        }
        if session["payment_intent"].is_null() {
            let intent = json!({
                "id": id.replace("cs_test_", "pi_"), "object": "payment_intent", "status": "requires_confirmation",
                "created": OffsetDateTime::now_utc().unix_timestamp(),
                "amount": session["amount_total"], "amount_received": 0, "amount_capturable": 0, "refunded": 0,
                "currency": session["currency"], "capture_method": session["capture_method"],
                "latest_charge": null, "next_action": null, "last_payment_error": null, "payment_method": card,
                "metadata": session["metadata_of_intent"],
            });
            session["payment_intent"] = intent["id"].clone();
            let id = intent["id"].as_str().unwrap().to_owned();
            self.intents.insert(id, intent);
        }
        let intent = session["payment_intent"].as_str().unwrap();
        let intent = self.intents.get_mut(intent).unwrap();
        intent["status"] = json!("requires_confirmation");
        intent["payment_method"] = json!(card);
        if confirm(intent, &HashMap::new()).0 == 200 {
            session["status"] = json!("complete");
            session["url"] = Value::Null;
            let intent = intent.clone();
            self.report(&intent);
        }
    }

    fn expire(&mut self, id: &str) -> Reply {
        if let Some(place) = self.hurried.iter().position(|it| it == id) {
            self.hurried.remove(place);
            self.pay_on_page(id, "pm_card_visa");
        }
        let Some(session) = self.sessions.get_mut(id) else {
            return missing();
        };
        if session["status"] != "open" {
            return refused(400, "invalid_request_error", "checkout_session_not_open");
        }
        session["status"] = json!("expired");
        session["url"] = Value::Null;
        let session = session.clone();
        if let Some(intent) = session["payment_intent"].as_str() {
            cancel(self.intents.get_mut(intent).unwrap());
        }
        (200, session)
    }

    fn refund(&mut self, form: &HashMap<String, String>) -> Reply {
        let id = format!("re_{}", self.refunds.len() + 1);
        let Some(intent) = self.intents.get_mut(&form["payment_intent"]) else {
            return missing();
        };
        let of = |field: &str| intent[field].as_i64().unwrap();
        let rest = of("amount_received") - of("refunded");
        let amount = form.get("amount").map_or(rest, |it| it.parse().unwrap());
        if rest == 0 {
            return refused(400, "invalid_request_error", "charge_already_refunded");
        }
        if amount > rest {
            return refused(400, "invalid_request_error", "amount_too_large");
        }
        intent["refunded"] = json!(of("refunded") + amount);
        let pending = intent["payment_method"] == "pm_card_pendingRefund";
        let given = ["installation", "payment_id", "refund_id"].into_iter();
        let given = given.filter_map(|name| Some((name, form.get(&format!("metadata[{name}]"))?)));
        let metadata: HashMap<&str, &String> = given.collect();
        let refund = json!({
            "id": id, "object": "refund", "amount": amount, "payment_intent": intent["id"],
            "currency": intent["currency"],
            "status": if pending { "pending" } else { "succeeded" },
            "currency": intent["currency"], "created": 1_700_000_000, "metadata": metadata,
        });
        self.refunds.push(refund.clone());
        (200, refund)
    }
}

/// Our id of the refund that a request creates.
fn refund_of(uri: &Uri, body: &str) -> Option<String> {
    let mut form = form_urlencoded::parse(body.as_bytes());
    let id = form.find(|(name, _)| name == "metadata[refund_id]");
    id.filter(|_| uri.path() == "/v1/refunds")
        .map(|(_, id)| id.into_owned())
}

fn fields(uri: &Uri) -> HashMap<String, String> {
    let query = uri.query().unwrap_or_default().as_bytes();
    form_urlencoded::parse(query).into_owned().collect()
}

/// An intent with its charge.
fn expanded(intent: &Value) -> Value {
    let mut intent = intent.clone();
    if let Some(id) = intent["latest_charge"].as_str() {
        let (refunded, received) = (&intent["refunded"], &intent["amount_received"]);
        intent["latest_charge"] =
            json!({"id": id, "amount_refunded": refunded, "refunded": refunded == received});
    }
    intent
}

/// The part of a list that was asked for.
fn paged(all: Vec<Value>, query: &HashMap<String, String>) -> Reply {
    let limit = query.get("limit").map_or(10, |it| it.parse().unwrap());
    assert!(limit <= 100, "refused by Stripe");
    let mut rest = all.into_iter().peekable();
    if let Some(after) = query.get("starting_after") {
        let found = rest.find(|it| it["id"] == **after);
        assert!(found.is_some(), "{after} is not in the list");
    }
    let data: Vec<Value> = rest.by_ref().take(limit).collect();
    let has_more = rest.peek().is_some();
    (
        200,
        json!({"object": "list", "data": data, "has_more": has_more}),
    )
}

fn confirm(intent: &mut Value, form: &HashMap<String, String>) -> Reply {
    if intent["status"] != "requires_confirmation" {
        return unexpected(intent);
    }
    let decline = |intent: &mut Value, code: &str, decline_code: Option<&str>| {
        let error = json!({"type": "card_error", "code": code, "decline_code": decline_code});
        intent["status"] = json!("requires_payment_method");
        intent["last_payment_error"] = error.clone();
        (402, json!({ "error": error }))
    };
    let token = intent["payment_method"].as_str().unwrap().to_owned();
    match token.as_str() {
        "pm_card_visa" | "pm_card_pendingRefund" => authorize(intent),
        "pm_card_chargeDeclinedInsufficientFunds" => {
            return decline(intent, "card_declined", Some("insufficient_funds"));
        }
        "pm_card_chargeDeclinedExpiredCard" => return decline(intent, "expired_card", None),
        "pm_card_authenticationRequired" => {
            let Some(back) = form.get("return_url") else {
                assert_eq!(form["error_on_requires_action"], "true");
                return decline(intent, "authentication_required", None);
            };
            intent["status"] = json!("requires_action");
            let page = json!({"url": "https://hooks.stripe.example/3d", "return_url": back});
            intent["next_action"] = json!({"type": "redirect_to_url", "redirect_to_url": page});
        }
        _ => return refused(400, "invalid_request_error", "resource_missing"),
    }
    (200, intent.clone())
}

/// The issuer approves.
fn authorize(intent: &mut Value) {
    let charge = intent["id"].as_str().unwrap().replace("pi_", "ch_");
    intent["latest_charge"] = json!(charge);
    intent["next_action"] = Value::Null;
    if intent["capture_method"] == "manual" {
        intent["status"] = json!("requires_capture");
        intent["amount_capturable"] = intent["amount"].clone();
    } else {
        intent["status"] = json!("succeeded");
        intent["amount_received"] = intent["amount"].clone();
    }
}

fn capture(intent: &mut Value, form: &HashMap<String, String>) -> Reply {
    if intent["status"] != "requires_capture" {
        return unexpected(intent);
    }
    let amount: i64 = form["amount_to_capture"].parse().unwrap();
    assert!(amount <= intent["amount"].as_i64().unwrap());
    intent["status"] = json!("succeeded");
    intent["amount_received"] = json!(amount);
    intent["amount_capturable"] = json!(0);
    (200, intent.clone())
}

fn cancel(intent: &mut Value) -> Reply {
    if ["succeeded", "canceled", "processing"]
        .iter()
        .any(|it| intent["status"] == *it)
    {
        return unexpected(intent);
    }
    intent["status"] = json!("canceled");
    intent["amount_capturable"] = json!(0);
    intent["next_action"] = Value::Null;
    (200, intent.clone())
}

fn unexpected(intent: &Value) -> Reply {
    let (status, mut answer) = refused(
        400,
        "invalid_request_error",
        "payment_intent_unexpected_state",
    );
    answer["error"]["payment_intent"] = intent.clone();
    (status, answer)
}

fn missing() -> Reply {
    refused(404, "invalid_request_error", "resource_missing")
}

fn refused(status: u16, kind: &str, code: &str) -> Reply {
    (status, json!({"error": {"type": kind, "code": code}}))
}
