//! Too much, too large, too slow, not there: the right status, quickly.

use std::time::{Duration, Instant};

use futures::future::join_all;
use reqwest::Method;

use super::krakend::Krakend;
use super::place::{Answer, Caller, Place, order};
use super::stand_in::{StandIn, nowhere, silent};

const ROUTE: &str = "/payments-api/payments";

#[tokio::test]
async fn a_burst_is_answered_with_429_and_spares_other_clients() {
    let service = StandIn::start().await;
    let limits = [("GATEWAY_CLIENT_RATE", "1"), ("GATEWAY_CLIENT_BURST", "5")];
    let krakend = Krakend::start(service.address, &limits).await;
    let caller = Caller::new(krakend.address);
    // From loopback, which is a trusted proxy by default, the header names the client.
    let send = |client: &'static str| {
        let request = caller.request(Method::POST, ROUTE).json(&order(1));
        Answer::to(request.header("X-Forwarded-For", client))
    };
    let statuses: Vec<u16> = join_all((0..30).map(|_| send("203.0.113.1")))
        .await
        .into_iter()
        .map(|answer| answer.status)
        .collect();
    let refused = statuses.iter().filter(|status| **status == 429).count();
    let passed = statuses.iter().filter(|status| **status == 200).count();
    assert_eq!(refused + passed, 30, "{statuses:?}");
    // Five at once, and one for each second that the burst took.
    assert!((5..=10).contains(&passed), "{statuses:?}");
    send("203.0.113.2").await.is(200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_413() {
    let place = Place::start().await;
    let mut body = order(1);
    body["metadata"] = serde_json::json!({ "note": "x".repeat(100 * 1024) });
    let refused = place.gateway.post(ROUTE, &body).await.is(413);
    assert_eq!(refused.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn a_service_that_is_down_gives_an_error_at_once_and_is_found_again_when_it_is_back() {
    let address = nowhere().await;
    let krakend = Krakend::start(address, &[]).await;
    let caller = Caller::new(krakend.address);
    let begin = Instant::now();
    let answer = caller.post(ROUTE, &order(1)).await;
    assert!((500..600).contains(&answer.status), "{answer:?}");
    assert!(begin.elapsed() < Duration::from_secs(2));
    let _service = StandIn::start_at(address).await;
    caller.post(ROUTE, &order(1)).await.is(200);
}

#[tokio::test]
async fn a_service_that_hangs_is_given_up_and_then_left_alone_for_a_while() {
    let (address, _listener) = silent().await;
    let krakend = Krakend::start(address, &[("GATEWAY_TIMEOUT", "1s")]).await;
    let caller = Caller::new(krakend.address);
    let send = || async {
        let begin = Instant::now();
        let answer = caller.post(ROUTE, &order(1)).await;
        assert!((500..600).contains(&answer.status), "{answer:?}");
        begin.elapsed()
    };
    let waited = send().await;
    assert!(waited >= Duration::from_secs(1), "{waited:?}");
    assert!(waited < Duration::from_secs(3), "{waited:?}");
    // Ten faults in a row open the circuit breaker: from then on nobody waits.
    join_all((0..12).map(|_| send())).await;
    let refused = send().await;
    assert!(refused < Duration::from_millis(500), "{refused:?}");
}
