use serde_json::json;

use super::*;
use crate::clients::new_api_key;

fn header<'r>(response: &'r Response<Body>, name: &str) -> Option<&'r str> {
    response
        .headers()
        .get(name)
        .map(|value| value.to_str().expect("text"))
}

#[tokio::test]
async fn a_payment_is_accepted_and_can_be_seen() {
    let served = Served::start().await;
    let (response, payment) = served.answer(post("/payments", PAYMENT)).await;
    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "location"), Some("/payments/1"));
    assert_eq!(
        header(&response, "retry-after"),
        None,
        "nothing happens before a card comes"
    );
    assert_eq!(payment["payment_id"], 1);
    assert_eq!(payment["id"], 1);
    assert_eq!(payment["total_amount"], 99.53);
    assert_eq!(payment["status"], "requires_payment_method");
    assert_eq!(payment["is_paid"], false);
    assert_eq!(payment["payment_method"], json!(null));
    let (response, seen) = served.answer(get("/payments/1")).await;
    assert_eq!((response.status().as_u16(), seen), (200, payment));
    assert_eq!(served.status(get("/payments/2")).await, 404);
}

#[tokio::test]
async fn a_payment_with_a_card_is_processing_until_it_has_an_outcome() {
    let served = Served::start().await;
    let (response, payment) = served.answer(post("/payments", WITH_CARD)).await;
    assert_eq!(response.status(), 202);
    assert_eq!(header(&response, "retry-after"), Some("1"));
    assert_eq!(payment["status"], "processing");
    let card = json!({"type": "card", "brand": "visa", "last4": "4242", "expiration": "2030-01", "funding": "credit"});
    assert_eq!(payment["payment_method"], card);

    let waiting = with(get("/payments/1"), "prefer", "wait=20");
    let (response, payment) = served.answer_with_outcome(waiting, 1).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "preference-applied"), Some("wait=20"));
    assert_eq!(header(&response, "retry-after"), None);
    assert_eq!(payment["status"], "succeeded");
    assert_eq!(payment["is_paid"], true);
}

#[tokio::test]
async fn a_waiting_request_gets_the_outcome_in_its_response() {
    let served = Served::start().await;
    let request = with(post("/payments", WITH_CARD), "prefer", "wait=99");
    let (response, payment) = served.answer_with_outcome(request, 1).await;
    assert_eq!(response.status(), 200);
    assert_eq!(header(&response, "preference-applied"), Some("wait=30"));
    assert_eq!(header(&response, "location"), Some("/payments/1"));
    assert_eq!(payment["is_paid"], true);
}

#[tokio::test]
async fn process_waits_by_default_at_both_addresses() {
    for path in ["/payments/1/process", "/payments/process/1"] {
        let served = Served::start().await;
        served.answer(post("/payments", PAYMENT)).await;
        let (response, payment) = served.answer_with_outcome(post(path, CARD), 1).await;
        assert_eq!(response.status(), 200);
        assert_eq!(
            (&payment["is_paid"], &payment["order_id"]),
            (&json!(true), &json!(1))
        );
        // A second click on the same link gets the current state.
        let (response, payment) = served.answer(post(path, CARD)).await;
        assert_eq!(
            (response.status().as_u16(), &payment["attempt"]),
            (200, &json!(1))
        );
    }
}

#[tokio::test]
async fn process_answers_202_when_the_outcome_is_late_or_not_wanted() {
    let served = Served::start().await;
    served.answer(post("/payments", PAYMENT)).await;
    served.answer(post("/payments", PAYMENT)).await;
    let (response, payment) = served.answer(post("/payments/1/process", CARD)).await;
    assert_eq!(
        (response.status().as_u16(), &payment["status"]),
        (202, &json!("processing"))
    );
    assert_eq!(header(&response, "preference-applied"), None);
    let (response, payment) = served.answer(post("/payments/1/process", CARD)).await;
    assert_eq!(
        (response.status().as_u16(), &payment["attempt"]),
        (202, &json!(1))
    );
    let request = with(post("/payments/2/process", CARD), "prefer", "respond-async");
    let (response, _) = served.answer(request).await;
    assert_eq!(response.status(), 202);
    assert_eq!(
        header(&response, "preference-applied"),
        Some("respond-async")
    );
    assert_eq!(served.status(post("/payments/3/process", CARD)).await, 404);
}

#[tokio::test]
async fn a_repeated_request_gets_the_same_payment() {
    let served = Served::start().await;
    let keyed = |body: &'static str, key| with(post("/payments", body), "idempotency-key", key);
    let (first, one) = served.answer(keyed(WITH_CARD, "order-1")).await;
    assert_eq!(header(&first, "idempotent-replayed"), None);
    let (again, two) = served.answer(keyed(WITH_CARD, "\"order-1\"")).await;
    assert_eq!(header(&again, "idempotent-replayed"), Some("true"));
    assert_eq!((again.status().as_u16(), two), (202, one));
    served.approve(1, 1).await;
    let (later, three) = served.answer(keyed(WITH_CARD, "order-1")).await;
    assert_eq!(
        (later.status().as_u16(), &three["status"]),
        (200, &json!("succeeded"))
    );

    let (other, problem) = served.answer(keyed(PAYMENT, "order-1")).await;
    assert_eq!(other.status(), 422);
    assert_eq!(problem["errors"][0]["field"], "Idempotency-Key");
    let (other, _) = served.answer(keyed(PAYMENT, "order-2")).await;
    assert_eq!(header(&other, "location"), Some("/payments/2"));
}

#[tokio::test]
async fn a_version_that_the_caller_knows_is_not_sent_again() {
    let served = Served::start().await;
    served.answer(post("/payments", WITH_CARD)).await;
    let (response, _) = served.answer(get("/payments/1")).await;
    let etag = header(&response, "etag").expect("an ETag").to_owned();
    let known = || with(get("/payments/1"), "if-none-match", &etag);
    let (response, document) = served.answer(known()).await;
    assert_eq!((response.status().as_u16(), document), (304, json!(null)));
    assert_eq!(header(&response, "etag"), Some(etag.as_str()));
    served.approve(1, 1).await;
    let (response, _) = served.answer(known()).await;
    assert_eq!(response.status(), 200);
    assert_ne!(header(&response, "etag"), Some(etag.as_str()));
    let mut head = get("/payments/1");
    *head.method_mut() = axum::http::Method::HEAD;
    let (response, document) = served.answer(head).await;
    assert_eq!((response.status().as_u16(), document), (200, json!(null)));
}

#[tokio::test]
async fn a_payment_can_be_canceled_while_it_waits_for_a_card() {
    let served = Served::start().await;
    served.answer(post("/payments", PAYMENT)).await;
    served.answer(post("/payments", WITH_CARD)).await;
    let cancel = |id| post(&format!("/payments/{id}/cancel"), "");
    for _ in 0..2 {
        let (response, payment) = served.answer(cancel(1)).await;
        assert_eq!(
            (response.status().as_u16(), &payment["status"]),
            (200, &json!("canceled"))
        );
    }
    assert_eq!(served.status(post("/payments/1/process", CARD)).await, 409);
    assert_eq!(served.status(cancel(2)).await, 409);
    served.approve(2, 1).await;
    assert_eq!(served.status(cancel(2)).await, 409);
    assert_eq!(served.status(cancel(3)).await, 404);
}

#[tokio::test]
async fn a_history_is_complete_and_in_order() {
    let served = Served::start().await;
    served.answer(post("/payments", WITH_CARD)).await;
    served.approve(1, 1).await;
    let (response, history) = served.answer(get("/payments/1/events")).await;
    assert_eq!(response.status(), 200);
    let events = history["data"].as_array().expect("events");
    let told: Vec<_> = events
        .iter()
        .map(|event| (&event["sequence"], &event["type"]))
        .collect();
    let expected = [
        json!("accepted"),
        json!("attempt_started"),
        json!("succeeded"),
    ];
    assert_eq!(
        told,
        [
            (&json!(1), &expected[0]),
            (&json!(2), &expected[1]),
            (&json!(3), &expected[2])
        ]
    );
    assert_eq!(served.status(get("/payments/2/events")).await, 404);
}

#[tokio::test]
async fn a_list_can_be_read_page_by_page() {
    let served = Served::start().await;
    for _ in 0..5 {
        served.answer(post("/payments", PAYMENT)).await;
    }
    let mut seen = Vec::new();
    let mut path = "/payments?limit=2&order_id=1".to_owned();
    loop {
        let (response, page) = served.answer(get(&path)).await;
        assert_eq!(response.status(), 200);
        let data = page["data"].as_array().expect("a page");
        seen.push(
            data.iter()
                .filter_map(|payment| payment["id"].as_i64())
                .collect::<Vec<_>>(),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/payments?limit=2&order_id=1&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, [vec![5, 4], vec![3, 2], vec![1]]);
    let (_, none) = served.answer(get("/payments?status=succeeded")).await;
    assert_eq!(none, json!({"data": [], "next_cursor": null}));
}

#[tokio::test]
async fn a_card_token_can_be_used_for_one_payment() {
    let served = Served::start().await;
    let (response, token) = served.answer(post("/card-tokens", CARD)).await;
    assert_eq!(response.status(), 201);
    assert_eq!(
        (&token["last4"], &token["brand"]),
        (&json!("9999"), &json!("unknown"))
    );
    let body =
        json!({"order_id": 1, "user_id": 1, "total_amount": 1, "card_token": token["card_token"]});
    assert_eq!(
        served.status(post("/payments", body.to_string())).await,
        202
    );
    let (response, problem) = served.answer(post("/payments", body.to_string())).await;
    assert_eq!(response.status(), 422);
    assert_eq!(problem["errors"][0]["field"], "card_token");
}

#[tokio::test]
async fn a_client_sees_only_its_own_payments() {
    let (one, one_digest) = crate::clients::new_api_key();
    let (two, two_digest) = crate::clients::new_api_key();
    let file = json!({"clients": [
        {"name": "one", "api_key_sha256": [one_digest]},
        {"name": "two", "api_key_sha256": [two_digest]},
    ]});
    let clients = Clients::parse(file.to_string().as_bytes()).expect("a good file");
    let served = Served::with(clients, now).await;
    let by = |key: &str, request| with(request, "authorization", &format!("Bearer {key}"));
    assert_eq!(
        served.status(by(&one, post("/payments", PAYMENT))).await,
        202
    );
    assert_eq!(served.status(by(&one, get("/payments/1"))).await, 200);
    for request in [
        get("/payments/1"),
        get("/payments/1/events"),
        post("/payments/1/process", CARD),
        post("/payments/1/cancel", ""),
    ] {
        assert_eq!(served.status(by(&two, request)).await, 404);
    }
    let (_, list) = served.answer(by(&two, get("/payments"))).await;
    assert_eq!(list["data"], json!([]));
}

#[tokio::test]
async fn the_configured_status_answers_only_creates_without_a_card() {
    let created = StatusCode::CREATED;
    let served = Served::with_status(Clients::single(), now, created).await;
    let keyed = || with(post("/payments", PAYMENT), "idempotency-key", "order-1");
    for replayed in [None, Some("true")] {
        let (response, payment) = served.answer(keyed()).await;
        assert_eq!(response.status(), 201);
        assert_eq!(payment["payment_id"], 1);
        assert_eq!(header(&response, "location"), Some("/payments/1"));
        assert_eq!(header(&response, "idempotent-replayed"), replayed);
    }
    // Everything else is unchanged.
    assert_eq!(served.status(post("/payments", WITH_CARD)).await, 202);
    let late = with(post("/payments/1/process", CARD), "prefer", "respond-async");
    assert_eq!(served.status(late).await, 202);
    assert_eq!(served.status(keyed()).await, 202);
    served.approve(1, 1).await;
    assert_eq!(served.status(keyed()).await, 200);
    let without = Served::start().await;
    assert_eq!(without.status(post("/payments", PAYMENT)).await, 202);
}

#[tokio::test]
async fn a_client_may_be_allowed_to_send_unknown_fields() {
    let clients = [new_api_key(), new_api_key()];
    let file = json!({"clients": [
        {"name": "old", "api_key_sha256": [clients[0].1], "unknown_fields": "ignore"},
        {"name": "new", "api_key_sha256": [clients[1].1]},
    ]});
    let parsed = Clients::parse(file.to_string().as_bytes()).expect("a good file");
    let served = Served::with(parsed, now).await;
    let order = r#"{"order_id": "1", "user_id": 1, "total_amount": 1, "items": [{"pan": "4242424242424242"}]}"#;
    let card = r#"{"cardNumber": "4242424242424242", "cardCode": "123", "expirationDate": "1/30", "holder": "X"}"#;
    for ((key, _), answers) in clients.iter().zip([[202, 201, 202], [422; 3]]) {
        for ((path, body), status) in [
            ("/payments", order),
            ("/card-tokens", card),
            ("/payments/1/process", card),
        ]
        .into_iter()
        .zip(answers)
        {
            let request = with(post(path, body), "authorization", &format!("Bearer {key}"));
            let request = with(request, "prefer", "respond-async");
            let (response, document) = served.answer(request).await;
            assert_eq!(response.status(), status, "{path}: {document}");
            assert!(!document.to_string().contains("424242"), "{document}");
        }
    }
    let misspelt = r#"{"order_id": 1, "user_id": 1, "total_amount": 1, "currancy": "USD"}"#;
    let request = with(
        post("/payments", misspelt),
        "authorization",
        &format!("Bearer {}", clients[0].0),
    );
    let (response, document) = served.answer(request).await;
    assert_eq!(response.status(), 422);
    assert_eq!(document["errors"][0]["field"], "currancy");
}
