//! Who may open the pages, and what they show, over an embedded store.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::header::{COOKIE, HOST, ORIGIN, SET_COOKIE};
use axum::http::request::Builder;
use axum::http::{Request, Response};
use serde_json::Value;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tower::ServiceExt;

use super::access::Entry;
use super::dead_letters::SomeDeadLetters;
use super::sessions::LASTS;
use super::throttle::WINDOW;
use super::*;
use crate::clients::new_api_key;
use crate::clients::operators::Operators;
use crate::http::health::{Liveness, Readiness};
use crate::http::server::Peer;
use crate::processors::simulated::{Latency, Options, SimulatedIssuer};

const HOST_NAME: &str = "127.0.0.1:9009";

struct NoDeadLetters;

#[async_trait::async_trait]
impl ReadDeadLetters for NoDeadLetters {
    async fn read(&self, _: u16) -> Result<SomeDeadLetters, String> {
        Ok(SomeDeadLetters::default())
    }
}

struct Pages {
    router: Router,
    _folder: TempDir,
}

impl Pages {
    fn new(entry: Entry) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let address: SocketAddr = HOST_NAME.parse().expect("an address");
        let options = Options {
            latency: Latency {
                mean: Duration::ZERO,
                seed: 0,
            },
            now: time::OffsetDateTime::now_utc,
        };
        let issuer = SimulatedIssuer::new(options, None);
        let admin = Admin {
            access: Access::new(address, &[], entry),
            health: Health::new(|| Liveness::Live, || Readiness::Ready),
            stages: Stages::default(),
            database: Store::sqlite(&folder.path().join("payments.db")),
            processors: Processors::new(Arc::new(issuer)),
            clients: Clients::single(),
            dead_letters: Arc::new(NoDeadLetters),
            live: Live::new(CancellationToken::new(), 8),
            counted: Counted::default(),
            acceptor: None,
            currency: Currency::parse("CAD").expect("CAD"),
            limits: vec![("WORK_TRIES", "8".to_owned())],
        };
        Self {
            router: routes(admin),
            _folder: folder,
        }
    }

    /// With one operator; returns the token, too.
    fn with_login() -> (Self, String) {
        let (token, digest) = new_api_key();
        let file =
            format!(r#"{{"operators": [{{"name": "maria", "token_sha256": ["{digest}"]}}]}}"#);
        let operators = Operators::parse(file.as_bytes()).expect("a good file");
        (Self::new(Entry::Login(operators)), token)
    }

    async fn send(&self, request: Request<Body>) -> Response<Body> {
        self.router
            .clone()
            .oneshot(request)
            .await
            .expect("an answer")
    }

    async fn status(&self, request: Request<Body>) -> u16 {
        self.send(request).await.status().as_u16()
    }

    /// The cookie of a new session.
    async fn log_in(&self, token: &str) -> String {
        let response = self.send(login(token, "192.0.2.1")).await;
        assert_eq!(response.status(), 204);
        let cookie = response.headers()[SET_COOKIE].to_str().expect("text");
        for part in [
            "; HttpOnly",
            "; SameSite=Strict",
            "; Path=/",
            "; Max-Age=28800",
        ] {
            assert!(cookie.contains(part), "{cookie}");
        }
        let (pair, _) = cookie.split_once(';').expect("attributes");
        assert_eq!(pair.len(), "operator_session=".len() + 64);
        pair.to_owned()
    }
}

fn request(method: &str, path: &str) -> Builder {
    let request = Request::builder().method(method).uri(path);
    request.header(HOST, HOST_NAME)
}

fn get(path: &str) -> Request<Body> {
    request("GET", path).body(Body::empty()).expect("a request")
}

fn with_cookie(path: &str, cookie: &str) -> Request<Body> {
    let request = request("GET", path).header(COOKIE, cookie);
    request.body(Body::empty()).expect("a request")
}

/// From the page's own script, at this address.
fn post(path: &str, body: &Value, from: &str) -> Request<Body> {
    let request = request("POST", path)
        .header(ORIGIN, format!("http://{HOST_NAME}"))
        .header("content-type", "application/json");
    let ip: IpAddr = from.parse().expect("an address");
    let mut request = request.body(body.to_string().into()).expect("a request");
    request.extensions_mut().insert(Peer(ip));
    request
}

fn login(token: &str, from: &str) -> Request<Body> {
    post("/login", &serde_json::json!({ "token": token }), from)
}

async fn text(response: Response<Body>) -> String {
    let bytes = to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    String::from_utf8(bytes.to_vec()).expect("text")
}

#[tokio::test]
async fn without_operators_every_page_says_how_it_is_switched_on() {
    let pages = Pages::new(Entry::Closed);
    for path in [
        "/",
        "/charts",
        "/payments",
        "/payments/1",
        "/try",
        "/dead-letters",
    ] {
        let response = pages.send(get(path)).await;
        assert_eq!(response.status(), 404, "{path}");
        assert!(text(response).await.contains("ADMIN_FILE"), "{path}");
    }
    for path in ["/api/overview", "/api/payments", "/api/events"] {
        assert_eq!(pages.status(get(path)).await, 404, "{path}");
    }
    assert_eq!(pages.status(login("x", "192.0.2.1")).await, 404);
}

#[tokio::test]
async fn every_answer_has_a_strict_policy() {
    let (pages, _) = Pages::with_login();
    let foreign = Request::get("/").header(HOST, "rebound.example:9009");
    let foreign = foreign.body(Body::empty()).expect("a request");
    for request in [
        get("/"),
        get("/assets/admin.js"),
        get("/api/overview"),
        foreign,
    ] {
        let response = pages.send(request).await;
        let header = |name: &str| response.headers()[name].to_str().expect("text").to_owned();
        let policy = header("content-security-policy");
        assert!(policy.starts_with("default-src 'none'; script-src 'self'; style-src 'self'"));
        assert!(policy.ends_with("frame-ancestors 'none'") && !policy.contains("unsafe"));
        assert_eq!(header("x-content-type-options"), "nosniff");
        assert_eq!(header("referrer-policy"), "no-referrer");
    }
}

#[tokio::test]
async fn a_foreign_host_origin_or_port_is_refused_even_with_a_session() {
    let (pages, token) = Pages::with_login();
    let cookie = pages.log_in(&token).await;
    let from = |host: &str, origin: Option<&str>| {
        let mut request = Request::get("/api/overview").header(HOST, host);
        if let Some(origin) = origin {
            request = request.header(ORIGIN, origin);
        }
        let request = request.header(COOKIE, &cookie);
        request.body(Body::empty()).expect("a request")
    };
    assert_eq!(pages.status(from(HOST_NAME, None)).await, 200);
    assert_eq!(
        pages
            .status(from("localhost:9009", Some("http://localhost:9009")))
            .await,
        200
    );
    for (host, origin) in [
        ("rebound.example:9009", None),
        ("127.0.0.1:5009", None),
        (HOST_NAME, Some("http://127.0.0.1:5009")),
        (HOST_NAME, Some("http://localhost:9009")),
        (HOST_NAME, Some("null")),
        (HOST_NAME, Some("https://evil.example")),
    ] {
        assert_eq!(
            pages.status(from(host, origin)).await,
            403,
            "{host} {origin:?}"
        );
    }
    let without_origin = request("POST", "/logout").header(COOKIE, &cookie);
    let without_origin = without_origin.body(Body::empty()).expect("a request");
    assert_eq!(pages.status(without_origin).await, 403);
    assert_eq!(
        pages.status(with_cookie("/", &cookie)).await,
        200,
        "still logged in"
    );
}

#[tokio::test(start_paused = true)]
async fn a_session_gives_access_until_it_is_ended_or_eight_hours_are_over() {
    let (pages, token) = Pages::with_login();
    let asked = pages.send(get("/payments")).await;
    assert_eq!(asked.status(), 401);
    assert!(text(asked).await.contains("id=\"login\""));
    assert_eq!(pages.status(get("/api/overview")).await, 401);
    assert_eq!(pages.status(get("/api/events")).await, 401);
    assert_eq!(pages.status(get("/assets/admin.css")).await, 200);
    let wrong = "operator_session=0000";
    assert_eq!(pages.status(with_cookie("/", wrong)).await, 401);

    let (first, second) = (pages.log_in(&token).await, pages.log_in(&token).await);
    let page = text(pages.send(with_cookie("/", &first)).await).await;
    assert!(page.contains("maria"), "{page}");
    let mut out = post("/logout", &Value::Null, "192.0.2.1");
    out.headers_mut()
        .insert(COOKIE, second.parse().expect("text"));
    assert_eq!(pages.status(out).await, 204);
    assert_eq!(pages.status(with_cookie("/", &second)).await, 401);

    tokio::time::advance(LASTS - Duration::from_secs(1)).await;
    assert_eq!(pages.status(with_cookie("/", &first)).await, 200);
    tokio::time::advance(Duration::from_secs(1)).await;
    assert_eq!(pages.status(with_cookie("/", &first)).await, 401);
}

#[tokio::test(start_paused = true)]
async fn wrong_tokens_are_refused_and_after_five_the_right_one_waits_a_minute() {
    let (pages, token) = Pages::with_login();
    for wrong in [
        "",
        "maria",
        &token[1..],
        &format!("{token} "),
        &"x".repeat(1000),
    ] {
        assert_eq!(
            pages.status(login(wrong, "192.0.2.1")).await,
            401,
            "{wrong}"
        );
    }
    let throttled = pages.send(login(&token, "192.0.2.1")).await;
    assert_eq!(throttled.status(), 429);
    assert_eq!(throttled.headers()["retry-after"], "60");
    assert_eq!(pages.status(login(&token, "192.0.2.2")).await, 204);
    tokio::time::advance(WINDOW).await;
    assert_eq!(pages.status(login(&token, "192.0.2.1")).await, 204);
}

#[tokio::test]
async fn pages_are_in_the_readers_language_and_without_a_way_to_try_where_nothing_is_accepted() {
    let pages = Pages::new(Entry::Open);
    let french = request("GET", "/").header("accept-language", "fr-CA,fr");
    let french = french.body(Body::empty()).expect("a request");
    let page = text(pages.send(french).await).await;
    assert!(
        page.contains("<html lang=\"fr\">") && page.contains("Vue d’ensemble"),
        "{page}"
    );
    let page = text(pages.send(get("/")).await).await;
    assert!(
        page.contains("<html lang=\"en\">") && !page.contains("href=\"/try\""),
        "{page}"
    );
    assert_eq!(pages.status(get("/try")).await, 404);
    let create = post(
        "/api/try",
        &serde_json::json!({ "card": "tok_visa" }),
        "127.0.0.1",
    );
    assert_eq!(pages.status(create).await, 404);
}

#[tokio::test]
async fn an_id_that_is_no_text_has_a_page_and_a_problem_like_any_unknown_one() {
    let pages = Pages::new(Entry::Open);
    let response = pages.send(get("/payments/%ff")).await;
    assert_eq!(response.status(), 404);
    assert!(text(response).await.contains("<html"));
    let response = pages.send(get("/api/payments/%ff")).await;
    assert_eq!(response.status(), 400);
    assert!(text(response).await.starts_with('{'));
}

#[tokio::test]
async fn a_database_that_cannot_be_read_is_reported_on_the_page() {
    let pages = Pages::new(Entry::Open);
    // There is no schema.
    for path in ["/payments", "/payments/1"] {
        let response = pages.send(get(path)).await;
        assert_eq!(response.status(), 503, "{path}");
        assert!(
            text(response).await.contains("payment-service check"),
            "{path}"
        );
    }
    assert_eq!(pages.status(get("/api/payments")).await, 503);
    assert_eq!(pages.status(get("/api/payments/1")).await, 503);
    assert_eq!(pages.status(get("/")).await, 200);
}
