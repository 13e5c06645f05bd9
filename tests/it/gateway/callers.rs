//! Existing callers behind the gateway: they send no key, no idempotency key, and numbers for card data.

use super::fixture::{Fixture, old_card, order};

#[tokio::test]
async fn an_existing_caller_creates_and_pays_a_payment_by_its_two_routes() {
    let fixture = Fixture::start().await;
    let created = fixture
        .gateway
        .post("/payments-api/payments", &order(1))
        .await;
    assert!((200..300).contains(&created.status), "{created:?}");
    let id = i32::try_from(created.payment_id()).expect("fits an INT column");

    let route = format!("/payments-api/payments/{id}");
    let paid = fixture.gateway.post(&route, &old_card()).await.is(200);
    assert_eq!(paid.body["is_paid"], true);
    assert_eq!(paid.body["order_id"], 1);
    assert_eq!(paid.body["payment_id"], id);
}

#[tokio::test]
async fn the_link_for_shoppers_shows_the_payment_and_accepts_a_card() {
    let fixture = Fixture::start().await;
    let id = fixture.payment().await;
    let link = format!("/payments-api/payments/process/{id}");
    // As it is stored: VARCHAR(100), with the largest id.
    assert!("http://api-gateway:8080/payments-api/payments/process/2147483647".len() <= 100);

    let shown = fixture.gateway.get(&link).await.is(200);
    assert_eq!(shown.body["is_paid"], false);
    let paid = fixture.gateway.post(&link, &old_card()).await.is(200);
    assert_eq!(paid.body["is_paid"], true);
    let shown = fixture.gateway.get(&link).await.is(200);
    assert_eq!(shown.body["is_paid"], true);
}

#[tokio::test]
async fn a_refusal_arrives_with_its_status_and_its_one_plain_sentence() {
    let fixture = Fixture::start().await;
    let gateway = &fixture.gateway;
    let refusals = [
        gateway
            .get("/payments-api/payments/2000000000")
            .await
            .is(404),
        gateway
            .post("/payments-api/payments/2000000000", &old_card())
            .await
            .is(404),
        gateway
            .post(
                "/payments-api/payments",
                &serde_json::json!({ "order_id": 1 }),
            )
            .await
            .is(422),
    ];
    for refusal in refusals {
        assert_eq!(refusal.header("content-type"), "application/problem+json");
        let sentence = refusal.body["error"].as_str().expect("a sentence");
        assert!(sentence.ends_with('.'), "{sentence}");
    }
}

#[tokio::test]
async fn the_gateway_adds_the_key_of_store_manager_and_forwards_no_other() {
    let fixture = Fixture::start().await;
    let stolen = format!("Bearer {}", super::fixture::KIOSK_KEY);
    let created = fixture
        .gateway
        .post_with(
            "/payments-api/payments",
            ("Authorization", &stolen),
            &order(1),
        )
        .await
        .is(202);
    let path = format!("/payments/{}", created.payment_id());
    let read = async |key: &str| {
        let request = fixture.service.request(reqwest::Method::GET, &path);
        super::fixture::Answer::to(request.bearer_auth(key))
            .await
            .status
    };
    // The payment belongs to Store Manager, and without the gateway a key is needed.
    assert_eq!(read(super::krakend::API_KEY).await, 200);
    assert_eq!(read(super::fixture::KIOSK_KEY).await, 404);
    fixture.service.get(&path).await.is(401);
}
