//! Which addresses exist, and above all which do not: the gateway adds a key, so everything that it forwards is
//! open to everyone who can reach it.

use std::net::SocketAddr;

use reqwest::Method;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{Answer, Caller, order};
use super::krakend::{self, Krakend};
use super::stand_in::StandIn;

#[test]
fn krakend_accepts_the_configuration() {
    let checked = krakend::check(&[]);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn without_store_managers_key_the_gateway_does_not_start() {
    let checked = krakend::check(&[("STORE_MANAGER_API_KEY", "")]);
    assert!(!checked.status.success(), "{checked:?}");
}

#[test]
fn with_names_among_the_trusted_proxies_the_gateway_does_not_start() {
    let with = |proxies| krakend::check(&[("GATEWAY_TRUSTED_PROXIES", proxies)]);
    for good in ["10.0.0.1", " 10.0.0.1 , 10.1.0.0/16", "::1,fd00::/8"] {
        let checked = with(good);
        assert!(checked.status.success(), "{good}: {checked:?}");
    }
    for bad in [
        "proxy",
        "10.0.0.1, proxy",
        "beef",
        "10.0.0.1,",
        "10.0.0.1;10.0.0.2",
    ] {
        let checked = with(bad);
        assert!(!checked.status.success(), "{bad}: {checked:?}");
    }
}

#[tokio::test]
async fn the_gateway_listens_only_on_the_configured_address() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[("GATEWAY_LISTEN_IP", "127.0.0.1")]).await;
    let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), krakend.address.port());
    assert!(TcpStream::connect(elsewhere).await.is_err());
    let krakend = Krakend::start(service.address, &[]).await;
    let elsewhere = SocketAddr::new([127, 0, 0, 2].into(), krakend.address.port());
    assert!(TcpStream::connect(elsewhere).await.is_ok());
}

#[tokio::test]
async fn every_route_reaches_its_endpoint() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    let routes = [
        (Method::POST, "/payments-api/payments", "/payments"),
        (
            Method::POST,
            "/payments-api/payments/7",
            "/payments/7/process",
        ),
        (Method::GET, "/payments-api/payments/7", "/payments/7"),
        (
            Method::POST,
            "/payments-api/payments/process/7",
            "/payments/process/7",
        ),
        (
            Method::GET,
            "/payments-api/payments/process/7",
            "/payments/process/7",
        ),
        (Method::GET, "/payments/7", "/payments/7"),
        (Method::POST, "/payments-api/card-tokens", "/card-tokens"),
        (
            Method::POST,
            "/payments-api/simulator/actions/yMH5",
            "/simulator/actions/yMH5",
        ),
        (
            Method::GET,
            "/payments-api/simulator/actions/yMH5",
            "/simulator/actions/yMH5",
        ),
        (Method::POST, "/webhooks/stripe", "/webhooks/stripe"),
        (Method::GET, "/payments-api/health", "/health/ready"),
    ];
    for (method, at_the_gateway, _) in &routes {
        Answer::to(caller.request(method.clone(), at_the_gateway))
            .await
            .is(200);
    }
    let expected = routes.map(|(method, _, at_the_service)| format!("{method} {at_the_service}"));
    let lines: Vec<_> = service.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(lines, expected);
    // Health checks, the pages on which shoppers approve, and webhooks need no key.
    for seen in service.seen() {
        let open = [" /health/", " /simulator/", " /webhooks/"];
        let is_open = open.iter().any(|path| seen.line.contains(path));
        assert_eq!(seen.header("authorization").is_none(), is_open, "{seen:?}");
    }
}

#[tokio::test]
async fn lists_histories_and_cancellations_are_not_available_through_the_gateway() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    for (method, path, status) in [
        (Method::GET, "/payments-api/payments", 405),
        (Method::GET, "/payments-api/payments?order_id=1", 405),
        (Method::DELETE, "/payments-api/payments/7", 405),
        (Method::GET, "/payments-api/card-tokens", 405),
        (Method::POST, "/payments/7", 405),
        (Method::GET, "/payments-api/simulator/actions", 404),
        (Method::GET, "/payments-api/payments/7/events", 404),
        (Method::POST, "/payments-api/payments/7/cancel", 404),
        (Method::POST, "/payments-api/payments/7/process", 404),
        (Method::GET, "/payments", 404),
        (Method::GET, "/payments/7/events", 404),
        (Method::GET, "/payments-api/", 404),
        (Method::GET, "/webhooks/stripe", 405),
        (Method::POST, "/webhooks", 404),
        (Method::POST, "/webhooks/stripe/x", 404),
        (Method::POST, "/payments-api/webhooks/stripe", 404),
        (Method::GET, "/metrics", 404),
        (Method::GET, "/", 404),
    ] {
        let answer = Answer::to(caller.request(method.clone(), path)).await;
        assert_eq!(answer.status, status, "{method} {path}: {answer:?}");
        let sentence = answer.body["error"].as_str().unwrap_or("");
        assert!(sentence.ends_with('.'), "{method} {path}: {answer:?}");
    }
    assert_eq!(service.seen().len(), 0);
}

#[tokio::test]
async fn a_path_cannot_be_manipulated_to_reach_another_endpoint() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    for id in [
        "7%2Fevents",
        "%2e%2e",
        "..",
        ".%2e",
        "%2E%2E%2F",
        "..%2F..%2Fmetrics",
        "7%3Flimit=100",
        "7%23",
        "7%00",
        "7%0d%0aX:%201",
        "7%5c..",
    ] {
        // An HTTP client would resolve the dots before it sends them.
        raw(krakend.address, &format!("/payments-api/payments/{id}")).await;
    }
    for seen in service.seen() {
        let path = seen.line.split(['?', '#']).next().unwrap();
        let id = path.strip_prefix("GET /payments/").unwrap_or("/");
        // Dots and backslashes arrive as they are. The service resolves neither, so they are an id that does not exist.
        let id = id.replace("%5C", "");
        assert!(!id.contains(['/', '%']), "{}", seen.line);
    }
    let before = service.seen().len();
    // A query is not forwarded: nothing behind these routes takes one.
    caller
        .get("/payments-api/payments/7?limit=100")
        .await
        .is(200);
    assert_eq!(service.seen()[before].line, "GET /payments/7");
}

/// The configuration with its defaults, as JSON.
fn configuration() -> Value {
    let path = concat!(env!("CARGO_MANIFEST_DIR"), "/krakend.json");
    let text = std::fs::read_to_string(path).unwrap();
    let mut parts = text.split("{{");
    let mut json = parts.next().unwrap().to_owned();
    for part in parts {
        let (expression, rest) = part.split_once("}}").unwrap();
        let default = expression.split_once("default \"");
        let default = default.map(|(_, rest)| rest.split('"').next().unwrap());
        match expression.contains("toJson") {
            true => json.push_str("[]"),
            false => json.push_str(
                default
                    .filter(|_| !expression.starts_with('-'))
                    .unwrap_or(""),
            ),
        }
        json.push_str(rest);
    }
    serde_json::from_str(&json).unwrap()
}

#[test]
fn webhooks_pass_unparsed_and_without_a_key() {
    let configuration = configuration();
    let endpoints = configuration["endpoints"].as_array().unwrap();
    let of_webhooks: Vec<_> = endpoints
        .iter()
        .filter(|it| it["endpoint"].as_str().unwrap().contains("webhook"))
        .collect();
    let [route] = of_webhooks.as_slice() else {
        panic!("{of_webhooks:?}")
    };
    assert_eq!(route["endpoint"], "/webhooks/{processor}");
    assert_eq!(route["method"], "POST");
    assert_eq!(route["output_encoding"], "no-op");
    let headers = route["input_headers"].as_array().unwrap();
    assert!(headers.contains(&json!("Stripe-Signature")));
    assert!(!headers.contains(&json!("Authorization")) && !headers.contains(&json!("*")));
    let limit = &route["extra_config"]["qos/ratelimit/router"];
    assert_eq!(limit["client_max_rate"], 500);
    let backend = &route["backend"][0];
    assert_eq!(backend["encoding"], "no-op");
    assert_eq!(backend["url_pattern"], "/webhooks/{processor}");
    assert_eq!(backend["extra_config"], Value::Null, "no key is added");
}

/// The whole answer to a `GET` of exactly this target.
async fn raw(gateway: SocketAddr, target: &str) -> String {
    let mut stream = TcpStream::connect(gateway).await.unwrap();
    let request = format!("GET {target} HTTP/1.1\r\nHost: gateway\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with("HTTP/1.1 "), "{target}: {answer}");
    answer
}

#[tokio::test]
async fn a_webhook_arrives_byte_by_byte_with_its_signature_and_without_a_key() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    let body = "{ \"id\" : \"evt_1\",\n\"amount\": 1e2, \"name\": \"\\u00e9\" }";
    let sent = caller
        .request(Method::POST, "/webhooks/stripe")
        .header("Content-Type", "application/json; charset=utf-8")
        .header("Stripe-Signature", "t=1,v1=ab,v1=cd")
        .header("Paypal-Transmission-Sig", "ef==")
        .bearer_auth("somebody's")
        .body(body);
    Answer::to(sent).await.is(200);
    let seen = &service.seen()[0];
    assert_eq!(seen.body, body);
    assert_eq!(seen.header("stripe-signature"), Some("t=1,v1=ab,v1=cd"));
    assert_eq!(seen.header("paypal-transmission-sig"), Some("ef=="));
    assert_eq!(seen.header("authorization"), None);
}

#[tokio::test]
async fn an_id_with_a_zero_byte_gets_the_gateways_500() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let answer = raw(krakend.address, "/payments-api/payments/7%00").await;
    assert!(answer.starts_with("HTTP/1.1 500 "), "{answer}");
    assert_eq!(service.seen().len(), 0);
}

#[tokio::test]
async fn orders_go_to_store_manager_without_the_payment_services_key() {
    let (service, store) = (StandIn::start().await, StandIn::start().await);
    let url = format!("http://{}", store.address);
    let krakend = Krakend::start(service.address, &[("STORE_MANAGER_URL", &url)]).await;
    let caller = Caller::new(krakend.address);
    let body = json!({ "order_id": 1, "is_paid": true });
    let put = caller.request(Method::PUT, "/store-api/orders").json(&body);
    let answer = Answer::to(put.bearer_auth("somebody's")).await.is(200);
    assert_eq!(answer.body, json!({ "updated": true }));
    caller.post("/store-api/orders", &order(1)).await.is(200);
    caller.get("/store-api/orders").await.is(405);

    let seen = store.seen();
    let lines: Vec<_> = seen.iter().map(|seen| seen.line.as_str()).collect();
    assert_eq!(lines, ["PUT /orders", "POST /orders"]);
    assert_eq!(seen[0].body, body.to_string());
    assert!(
        seen.iter()
            .all(|seen| seen.header("authorization").is_none())
    );
    assert_eq!(service.seen().len(), 0);
}
