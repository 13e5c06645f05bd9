//! Which addresses there are, and above all which there are not: the gateway adds a key, so whatever it forwards is
//! open to everyone who reaches it.

use reqwest::Method;
use serde_json::json;

use super::krakend::{self, API_KEY, Krakend};
use super::place::{Answer, Caller, order};
use super::stand_in::StandIn;

#[test]
fn krakend_itself_finds_no_fault_in_the_configuration() {
    let checked = krakend::check(API_KEY);
    assert!(checked.status.success(), "{checked:?}");
}

#[test]
fn without_store_managers_key_the_gateway_does_not_start() {
    let checked = krakend::check("");
    assert!(!checked.status.success(), "{checked:?}");
}

#[tokio::test]
async fn every_route_leads_where_it_should() {
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
        (Method::GET, "/payments-api/health", "/health/ready"),
    ];
    for (method, at_the_gateway, _) in &routes {
        Answer::to(caller.request(method.clone(), at_the_gateway))
            .await
            .is(200);
    }
    let expected = routes.map(|(method, _, at_the_service)| format!("{method} {at_the_service}"));
    let seen: Vec<_> = service.seen().into_iter().map(|seen| seen.line).collect();
    assert_eq!(seen, expected);
    // A question about health is nobody's in particular.
    let health = service.seen().pop().unwrap();
    assert_eq!(health.header("authorization"), None);
}

#[tokio::test]
async fn lists_histories_and_cancellations_are_not_to_be_had_through_the_gateway() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    for (method, path, status) in [
        (Method::GET, "/payments-api/payments", 405),
        (Method::GET, "/payments-api/payments?order_id=1", 405),
        (Method::DELETE, "/payments-api/payments/7", 405),
        (Method::GET, "/payments-api/card-tokens", 405),
        (Method::POST, "/payments/7", 405),
        (Method::GET, "/payments-api/payments/7/events", 404),
        (Method::POST, "/payments-api/payments/7/cancel", 404),
        (Method::POST, "/payments-api/payments/7/process", 404),
        (Method::GET, "/payments", 404),
        (Method::GET, "/payments/7/events", 404),
        (Method::GET, "/payments-api/", 404),
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
async fn a_path_cannot_be_bent_to_another_address_of_the_service() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let caller = Caller::new(krakend.address);
    for id in ["7%2Fevents", "%2e%2e", "..%2F..%2Fmetrics", "7%3Flimit=100"] {
        caller.get(&format!("/payments-api/payments/{id}")).await;
    }
    for seen in service.seen() {
        let path = seen.line.split(['?', '#']).next().unwrap();
        let id = path.strip_prefix("GET /payments/").unwrap_or("/");
        assert!(!id.contains(['/', '%']) && id != "..", "{}", seen.line);
    }
    let before = service.seen().len();
    // A query is not forwarded: nothing behind these routes takes one.
    caller
        .get("/payments-api/payments/7?limit=100")
        .await
        .is(200);
    assert_eq!(service.seen()[before].line, "GET /payments/7");
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
