//! What the connector sends, judged by stripe-mock against Stripe's own description of its API. stripe-mock keeps no state: a
//! proxy in front of it notes how it judges, and gives intents the state that the next call expects.

use std::collections::HashMap;
use std::io::{BufRead, BufReader};
use std::net::SocketAddr;
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use payment_service::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, OperationAnswer, OperationId,
    OperationKind, ReversalAnswer,
};
use payment_service::processors::books::Wanted;
use payment_service::processors::stripe::Stripe;
use payment_service::processors::{Authorization, OperationCall, Processor};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use uuid::Uuid;

use super::sessions::page;
use super::{Visa, attempt, connector, money};
use crate::app::{Backend, Setup};

/// Stripe's own program.
struct StripeMock {
    address: SocketAddr,
    process: Child,
}

impl StripeMock {
    fn start() -> Self {
        let program = std::env::var("TEST_STRIPE_MOCK").expect(
            "TEST_STRIPE_MOCK: the program of `go install github.com/stripe/stripe-mock@latest`; scripts/test sets it",
        );
        let mut process = Command::new(&program)
            .args(["-http-addr", "127.0.0.1:", "-https-addr", "127.0.0.1:"])
            .stdout(Stdio::piped())
            .spawn()
            .unwrap_or_else(|error| panic!("{program}: {error}"));
        let output = BufReader::new(process.stdout.take().unwrap());
        let mut lines = output.lines().map_while(Result::ok);
        let line = lines
            .find(|line| line.contains("Listening"))
            .expect("an address");
        let address = line.rsplit(' ').next().unwrap().parse().unwrap();
        // Its output must go somewhere.
        std::thread::spawn(move || lines.for_each(drop));
        Self { address, process }
    }
}

impl Drop for StripeMock {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[derive(Clone)]
struct Proxy {
    behind: SocketAddr,
    address: SocketAddr,
    http: reqwest::Client,
    /// The status that intents are given.
    status: Arc<Mutex<&'static str>>,
    /// Method, path and status of each request.
    judged: Arc<Mutex<Vec<(String, u16)>>>,
}

impl Proxy {
    async fn start(behind: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let proxy = Self {
            behind,
            address: listener.local_addr().unwrap(),
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            status: Arc::new(Mutex::new("requires_payment_method")),
            judged: Arc::default(),
        };
        let router = Router::new().fallback(forward).with_state(proxy.clone());
        tokio::spawn(async move { axum::serve(listener, router).await.unwrap() });
        proxy
    }

    fn intents_are(&self, status: &'static str) {
        *self.status.lock().unwrap() = status;
    }

    /// The requests since the last call; none may have been refused.
    fn accepted(&self) -> Vec<String> {
        let judged = std::mem::take(&mut *self.judged.lock().unwrap());
        let refused: Vec<_> = judged.iter().filter(|(_, status)| *status != 200).collect();
        assert!(refused.is_empty(), "stripe-mock refused {refused:?}");
        judged.into_iter().map(|(request, _)| request).collect()
    }
}

async fn forward(
    State(proxy): State<Proxy>,
    method: Method,
    uri: Uri,
    mut headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    headers.remove("host");
    let path = uri.path_and_query().unwrap();
    let metadata = metadata(&body);
    let request = proxy
        .http
        .request(method.clone(), format!("http://{}{path}", proxy.behind))
        .headers(headers)
        .body(body);
    let answer = request.send().await.unwrap();
    let status = answer.status().as_u16();
    let text = answer.text().await.unwrap();
    // Ids differ from run to run.
    let words = uri
        .path()
        .split('/')
        .map(|word| match word.split_once('_') {
            Some(("pi" | "re" | "cs", _)) => "ID",
            _ => word,
        });
    let words: Vec<&str> = words.collect();
    let judged = (format!("{method} {}", words.join("/")), status);
    if status != 200 {
        println!("{judged:?}: {text}");
    }
    proxy.judged.lock().unwrap().push(judged);
    let mut object: Value = serde_json::from_str(&text).unwrap();
    // stripe-mock does not repeat it.
    if !metadata.is_empty() {
        object["metadata"] = json!(metadata);
    }
    if object["object"] == "payment_intent" {
        object["status"] = json!(*proxy.status.lock().unwrap());
        object["amount"] = json!(2000);
        object["amount_received"] = json!(2000);
        object["currency"] = json!("cad");
        object["last_payment_error"] = Value::Null;
    }
    if object["object"] == "checkout.session" {
        object["status"] = match *proxy.status.lock().unwrap() {
            "requires_payment_method" => json!("open"),
            "canceled" => json!("expired"),
            _ => json!("complete"),
        };
        object["amount_total"] = json!(2000);
        object["currency"] = json!("cad");
        object["url"] = json!("https://checkout.stripe.example/c/pay/cs_1");
        object["payment_intent"] = match object["status"] == "complete" {
            true => json!("pi_1"),
            false => Value::Null,
        };
    }
    // The list says that everything has been returned.
    if object["object"] == "list" && uri.path().ends_with("/refunds") {
        let query = uri.query().unwrap_or_default();
        let intent = query
            .split('&')
            .find_map(|it| it.strip_prefix("payment_intent="));
        object["data"] = json!([{"object": "refund", "status": "succeeded", "amount": 2000, "payment_intent": intent}]);
        object["has_more"] = json!(false);
    }
    let response = Response::builder().status(status);
    response.body(Body::from(object.to_string())).unwrap()
}

fn metadata(form: &[u8]) -> HashMap<String, String> {
    let fields = form_urlencoded::parse(form);
    let own = fields.filter_map(|(name, value)| {
        let name = name.strip_prefix("metadata[")?.strip_suffix(']')?;
        Some((name.to_owned(), value.into_owned()))
    });
    own.collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stripe_mock_refuses_no_request() {
    let mock = StripeMock::start();
    let proxy = Proxy::start(mock.address).await;
    let app = Setup::new().start(Backend::Embedded).await;
    let stripe = connector(&app, proxy.address);
    let authorization = |payment, return_to| Authorization {
        key: attempt(payment),
        amount: money(2000),
        capture: CaptureMethod::Manual,
        method: &Visa,
        return_to,
    };
    const INTENT: &str = "/v1/payment_intents";
    let intent = |end: &str| format!("{INTENT}/ID{end}");
    let (post, get) = (
        |path: String| format!("POST {path}"),
        |path: String| format!("GET {path}"),
    );
    let create = post(INTENT.to_owned());

    for (payment, return_to) in [
        (1, Some("https://shop.example/back?payment_id=1")),
        (2, None),
    ] {
        // What the next test line cannot tell: the intent is still unconfirmed afterwards.
        let answer = stripe.authorize(&authorization(payment, return_to)).await;
        assert_eq!(answer, Answer::Unknown);
        let expected = [create.clone(), post(intent("/confirm"))];
        assert_eq!(proxy.accepted(), expected);
    }
    proxy.intents_are("requires_capture");
    let approved = stripe.authorize(&authorization(1, None)).await;
    assert!(matches!(approved, Answer::Approved { .. }), "{approved:?}");
    let asked = stripe.ask(attempt(1)).await;
    assert!(matches!(asked, ActionAnswer::Approved { .. }), "{asked:?}");
    assert_eq!(proxy.accepted(), [get(intent("")), get(intent(""))]);

    let call = |kind| OperationCall {
        key: OperationId(Uuid::now_v7()),
        kind,
        authorization: attempt(1),
        authorized: money(2000),
        amount: money(1500),
    };
    stripe.capture(&call(OperationKind::Capture)).await;
    assert_eq!(
        proxy.accepted(),
        [get(intent("")), post(intent("/capture"))]
    );
    stripe.void(&call(OperationKind::Void)).await;
    let expected = [get(intent("")), post(intent("/cancel")), get(intent(""))];
    assert_eq!(proxy.accepted(), expected);

    proxy.intents_are("succeeded");
    let refund = call(OperationKind::Refund);
    let refunded = stripe.refund(&refund).await;
    assert!(
        matches!(refunded, OperationAnswer::Done { .. }),
        "{refunded:?}"
    );
    stripe.query(&refund).await;
    let refunds = "/v1/refunds".to_owned();
    let expected = [post(refunds.clone()), get(format!("{refunds}/ID"))];
    assert_eq!(proxy.accepted(), expected);
    stripe.query(&call(OperationKind::Refund)).await;
    assert_eq!(proxy.accepted(), [get(refunds.clone())]);
    let reversed = stripe.reverse(attempt(1), money(2000)).await;
    assert_eq!(reversed, ReversalAnswer::Confirmed);
    let expected = [get(intent("")), post(refunds.clone()), get(refunds)];
    assert_eq!(proxy.accepted(), expected);

    proxy.intents_are("requires_action");
    let open = stripe.close_attempt(attempt(2), money(2000)).await;
    assert_eq!(open, AttemptCloseAnswer::Unknown);
    let expected = [get(intent("")), post(intent("/cancel")), get(intent(""))];
    assert_eq!(proxy.accepted(), expected);

    pages_are_described(&proxy, &stripe).await;
    books_are_described(&proxy, &stripe).await;
    app.finish().await;
}

const PAGES: &str = "/v1/checkout/sessions";

async fn pages_are_described(proxy: &Proxy, stripe: &Stripe) {
    proxy.intents_are("requires_payment_method");
    let back = Some("https://shop.example/back?payment_id=3");
    let opened = stripe.authorize(&page(3, back)).await;
    assert!(
        matches!(opened, Answer::ActionRequired { .. }),
        "{opened:?}"
    );
    assert_eq!(proxy.accepted(), [format!("POST {PAGES}")]);
    let read = format!("GET {PAGES}/ID");
    assert_eq!(stripe.ask(attempt(3)).await, ActionAnswer::Waiting);
    assert_eq!(proxy.accepted().join(" "), read);
    let open = stripe.close_attempt(attempt(3), money(2000)).await;
    // stripe-mock keeps no state: the session is still open.
    assert_eq!(open, AttemptCloseAnswer::Unknown);
    let expire = format!("POST {PAGES}/ID/expire");
    assert_eq!(proxy.accepted(), [read.clone(), expire, read.clone()]);
    proxy.intents_are("succeeded");
    let asked = stripe.ask(attempt(3)).await;
    assert!(matches!(asked, ActionAnswer::Approved { .. }), "{asked:?}");
    assert_eq!(
        proxy.accepted(),
        [read, "GET /v1/payment_intents/ID".to_owned()]
    );
}

async fn books_are_described(proxy: &Proxy, stripe: &Stripe) {
    let books = stripe.books().unwrap();
    let now = time::OffsetDateTime::now_utc();
    for after in [None, Some("pi_1".to_owned())] {
        let wanted = Wanted {
            from: now - Duration::from_secs(86_400),
            until: Some(now),
            after,
        };
        books.charges(&wanted).await.unwrap();
    }
    books.charge("pi_1").await.unwrap();
    books.charge("cs_1").await.unwrap();
    // stripe-mock's refund is not one of ours, and is read all the same.
    books.refunds("pi_1").await.unwrap_or_default();
    let intents = "GET /v1/payment_intents";
    let intent = format!("{intents}/ID");
    let expected = [
        intents.to_owned(),
        intents.to_owned(),
        intent.clone(),
        format!("GET {PAGES}/ID"),
        intent,
        "GET /v1/refunds".to_owned(),
    ];
    assert_eq!(proxy.accepted(), expected);
}
