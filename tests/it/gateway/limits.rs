//! Too many or too large requests, and a slow or missing service: the right status, quickly.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use axum::body::Bytes;
use futures::future::join_all;
use hyper::body::{Body, Frame};
use reqwest::Method;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use super::fixture::{Answer, Caller, Fixture, order};
use super::krakend::Krakend;
use super::stand_in::{StandIn, nowhere, silent};

const ROUTE: &str = "/payments-api/payments";

#[tokio::test]
async fn a_burst_is_answered_with_429_and_does_not_affect_other_clients() {
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
    // Five at once, up to as many again when the bucket is filled, and one for each second that the burst took.
    assert!((5..=15).contains(&passed), "{statuses:?}");
    send("203.0.113.2").await.is(200);
}

#[tokio::test]
async fn a_body_that_is_too_large_is_refused_with_413() {
    let fixture = Fixture::start().await;
    let mut body = order(1);
    body["metadata"] = serde_json::json!({ "note": "x".repeat(100 * 1024) });
    let refused = fixture.gateway.post(ROUTE, &body).await.is(413);
    assert_eq!(refused.header("content-type"), "application/problem+json");
}

#[tokio::test]
async fn a_service_that_is_down_gives_an_error_at_once_until_it_is_back() {
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
async fn a_hanging_service_times_out_and_the_next_caller_tries_again() {
    let (address, listener) = silent().await;
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
    join_all((0..20).map(|_| send())).await;
    // As soon as it answers, every caller is served.
    drop(listener);
    let _service = StandIn::start_at(address).await;
    caller.post(ROUTE, &order(1)).await.is(200);
}

/// A caller's broken request does not close the route for others.
#[tokio::test]
async fn incomplete_bodies_do_not_close_the_route_for_others() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    for number in 0..40 {
        let mut stream = TcpStream::connect(krakend.address).await.unwrap();
        let framing = ["Content-Length: 100", "Transfer-Encoding: chunked"][number % 2];
        let begun = format!(
            "POST {ROUTE} HTTP/1.1\r\nHost: gateway\r\nContent-Type: application/json\r\n{framing}\r\n\r\n5\r\n{{\"a\"\r\nno chunk"
        );
        stream.write_all(begun.as_bytes()).await.unwrap();
        stream.shutdown().await.unwrap();
        // The gateway has finished with it.
        let mut rest = Vec::new();
        let _ = stream.read_to_end(&mut rest).await;
    }
    let caller = Caller::new(krakend.address);
    for number in 0..20 {
        caller.post(ROUTE, &order(number)).await.is(200);
    }
}

/// A body that goes out chunked, in several writes: it does not say how long it is.
struct Pieces(Vec<u8>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = std::convert::Infallible;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        _: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Self::Error>>> {
        let length = self.0.len().min(8192);
        let piece: Vec<u8> = self.0.drain(..length).collect();
        Poll::Ready((length > 0).then(|| Ok(Frame::data(piece.into()))))
    }
}

/// Refusals of the service arrive, and the connections behind the gateway stay usable for others.
#[tokio::test]
async fn early_refusals_reach_the_caller_and_affect_no_other_request() {
    let fixture = Fixture::start().await;
    let large = |number: i64| {
        let mut body = order(number);
        body["metadata"] = serde_json::json!({ "note": "x".repeat(1 << (10 + number % 12)) });
        body.to_string()
    };
    let (mut lost, mut hurt) = (0, Vec::new());
    for round in 0..40 {
        let refusals = (0..10).map(|at| {
            let number = round * 10 + at;
            let body = large(number);
            let (path, kind, status) = match number % 4 {
                0 => ("/payments-api/payments", "text/plain", 415),
                1 => ("/payments-api/payments/999999", "text/plain", 415),
                2 => ("/payments-api/payments/seven", "application/json", 404),
                _ if body.len() > 64 * 1024 => (ROUTE, "application/json", 413),
                _ => (ROUTE, "application/json", 422),
            };
            let body = reqwest::Body::wrap(Pieces(body.into_bytes()));
            let request = fixture
                .gateway
                .request(Method::POST, path)
                .header("Content-Type", kind)
                .body(body);
            // Not from one address: limits are not the matter here.
            let request = request.header("X-Forwarded-For", format!("203.0.113.{}", number % 200));
            async move {
                request
                    .send()
                    .await
                    .map(|answer| answer.status().as_u16())
                    .ok()
                    == Some(status)
            }
        });
        lost += join_all(refusals)
            .await
            .into_iter()
            .filter(|arrived| !arrived)
            .count();
        let next = fixture.gateway.post(ROUTE, &order(round + 1)).await;
        if next.status != 202 {
            hurt.push((round, next.status, next.body));
        }
    }
    assert_eq!(lost, 0, "of 400 refusals");
    assert!(hurt.is_empty(), "of 40 other requests: {hurt:?}");
}

#[tokio::test]
async fn spaces_among_the_trusted_proxies_do_not_matter() {
    let service = StandIn::start().await;
    let variables = [
        ("GATEWAY_TRUSTED_PROXIES", "10.9.9.9, 127.0.0.1 ,10.0.0.0/8"),
        ("GATEWAY_CLIENT_RATE", "1"),
        ("GATEWAY_CLIENT_BURST", "1"),
    ];
    let krakend = Krakend::start(service.address, &variables).await;
    let caller = Caller::new(krakend.address);
    for client in 1..=20 {
        let request = caller.request(Method::POST, ROUTE).json(&order(1));
        let request = request.header("X-Forwarded-For", format!("203.0.113.{client}"));
        Answer::to(request).await.is(200);
    }
}
