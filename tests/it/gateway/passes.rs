//! What must pass unchanged: statuses, headers and bodies in both directions, and never a stale answer.

use std::time::Instant;

use reqwest::Method;
use serde_json::json;

use super::fixture::{Answer, Caller, Fixture, old_card, order, order_paid_with};
use super::krakend::{API_KEY, Krakend};
use super::stand_in::StandIn;

#[tokio::test]
async fn a_202_comes_with_a_location_that_leads_to_the_payment() {
    let fixture = Fixture::start().await;
    let body = order_paid_with(1, "tok_issuer_slow");
    let created = fixture
        .gateway
        .post("/payments-api/payments", &body)
        .await
        .is(202);
    let id = created.payment_id();
    assert_eq!(created.body["status"], "processing");
    assert_eq!(created.header("location"), format!("/payments/{id}"));
    assert_eq!(created.header("retry-after"), "1");
    assert_eq!(created.header("content-type"), "application/json");
    let followed = fixture
        .gateway
        .get(created.header("location"))
        .await
        .is(200);
    assert_eq!(followed.payment_id(), id);
}

#[tokio::test]
async fn a_caller_that_prefers_to_wait_gets_the_outcome_after_more_than_the_gateways_own_two_seconds()
 {
    let fixture = Fixture::start().await;
    let begin = Instant::now();
    let body = order_paid_with(1, "tok_issuer_slow");
    let paid = fixture
        .gateway
        .post_with("/payments-api/payments", ("Prefer", "wait=20"), &body)
        .await
        .is(200);
    assert_eq!(paid.body["status"], "succeeded");
    assert_eq!(paid.header("preference-applied"), "wait=20");
    assert!(begin.elapsed().as_secs() >= 2, "{:?}", begin.elapsed());
}

#[tokio::test]
async fn a_caller_that_prefers_not_to_wait_does_not() {
    let fixture = Fixture::start().await;
    let route = format!("/payments-api/payments/{}", fixture.payment().await);
    let answer = fixture
        .gateway
        .post_with(&route, ("Prefer", "respond-async"), &old_card())
        .await
        .is(202);
    assert_eq!(answer.header("preference-applied"), "respond-async");
}

#[tokio::test]
async fn a_known_version_is_answered_with_304_and_nothing_else() {
    let fixture = Fixture::start().await;
    let route = format!("/payments-api/payments/{}", fixture.payment().await);
    let tag = fixture.gateway.get(&route).await.is(200);
    let tag = tag.header("etag").to_owned();
    assert!(!tag.is_empty());
    let again = || {
        let request = fixture.gateway.request(Method::GET, &route);
        Answer::to(request.header("If-None-Match", &tag))
    };
    let unchanged = again().await.is(304);
    assert_eq!(unchanged.header("etag"), tag);
    fixture.gateway.post(&route, &old_card()).await.is(200);
    assert_eq!(again().await.is(200).body["is_paid"], true);
}

#[tokio::test]
async fn a_repeated_request_is_recognized_by_its_idempotency_key() {
    let fixture = Fixture::start().await;
    let send = || {
        let header = ("Idempotency-Key", "order-1");
        let body = order(1);
        let gateway = &fixture.gateway;
        async move {
            gateway
                .post_with("/payments-api/payments", header, &body)
                .await
        }
    };
    let (first, second) = (send().await.is(202), send().await.is(202));
    assert_eq!(first.payment_id(), second.payment_id());
    assert_eq!(first.header("idempotent-replayed"), "");
    assert_eq!(second.header("idempotent-replayed"), "true");
}

#[tokio::test]
async fn a_state_read_through_the_gateway_is_never_stale() {
    let fixture = Fixture::start().await;
    for order_id in 1..=20 {
        let created = fixture
            .gateway
            .post("/payments-api/payments", &order(order_id))
            .await
            .is(202);
        let route = format!("/payments-api/payments/{}", created.payment_id());
        let before = fixture.gateway.get(&route).await.is(200);
        assert_eq!(before.body["status"], "requires_payment_method");
        assert_eq!(before.header("cache-control"), "no-store");
        fixture.gateway.post(&route, &old_card()).await.is(200);
        let after = fixture.gateway.get(&route).await.is(200);
        assert_eq!(after.body["status"], "succeeded");
    }
}

#[tokio::test]
async fn a_card_is_exchanged_for_a_token_that_pays() {
    let fixture = Fixture::start().await;
    let card =
        json!({ "cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "2035-01" });
    let handed_in = fixture
        .gateway
        .post("/payments-api/card-tokens", &card)
        .await
        .is(201);
    let token = handed_in.body["card_token"].as_str().expect("a token");
    let paid = fixture
        .gateway
        .post_with(
            "/payments-api/payments",
            ("Prefer", "wait=20"),
            &order_paid_with(1, token),
        )
        .await
        .is(200);
    assert_eq!(paid.body["is_paid"], true);
}

#[tokio::test]
async fn only_the_headers_that_matter_are_forwarded() {
    let service = StandIn::start().await;
    let krakend = Krakend::start(service.address, &[]).await;
    let forwarded = [
        ("Prefer", "wait=7"),
        ("Idempotency-Key", "order-1"),
        ("Accept", "application/json"),
        ("Accept-Language", "fr"),
        (
            "traceparent",
            "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        ),
        ("tracestate", "a=b"),
        ("X-Request-Id", "checkout-7"),
    ];
    let kept_back = [
        ("Authorization", "Bearer stolen"),
        ("Cookie", "a=b"),
        ("X-Other", "1"),
    ];
    let mut request = Caller::new(krakend.address)
        .request(Method::POST, "/payments-api/payments")
        .json(&order(1));
    for (name, value) in forwarded.into_iter().chain(kept_back) {
        request = request.header(name, value);
    }
    Answer::to(request).await.is(200);

    let seen = service.only();
    assert_eq!(seen.line, "POST /payments");
    assert_eq!(seen.body, order(1).to_string());
    assert_eq!(seen.header("content-type"), Some("application/json"));
    for (name, value) in forwarded {
        assert_eq!(seen.header(name), Some(value), "{name}");
    }
    let keys: Vec<_> = seen.headers.get_all("authorization").iter().collect();
    assert_eq!(keys, [&format!("Bearer {API_KEY}")]);
    assert_eq!(seen.header("cookie"), None);
    assert_eq!(seen.header("x-other"), None);
}
