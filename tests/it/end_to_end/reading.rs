//! Reading payments: lists, histories, versions.

use std::sync::Arc;

use reqwest::Method;
use serde_json::Value;

use crate::app::{Setup, TestApp, card, field, on_both};

#[tokio::test]
async fn the_list_is_paged_newest_first_and_can_be_filtered() {
    on_both(Setup::new(), pages).await;
}

async fn pages(app: Arc<TestApp>) {
    let mut ids = Vec::new();
    for order_id in [1, 2, 1, 2, 1] {
        ids.push(app.api.create(order_id).await);
    }
    let declined = app.api.pay(3, "tok_generic_decline").await;
    app.api.outcome(declined).await;
    ids.push(declined);
    ids.reverse();

    let mut seen = Vec::new();
    let mut path = "/payments?limit=4".to_owned();
    loop {
        let page = app.api.get(&path).await.is(200);
        seen.extend(
            page["data"]
                .as_array()
                .unwrap()
                .iter()
                .map(|it| it["id"].as_i64().unwrap()),
        );
        match page["next_cursor"].as_str() {
            Some(cursor) => path = format!("/payments?limit=4&cursor={cursor}"),
            None => break,
        }
    }
    assert_eq!(seen, ids);
    for (query, number) in [
        ("order_id=1", 3),
        ("order_id=1&user_id=2", 0),
        ("user_id=1", 6),
        ("status=declined", 1),
        ("status=requires_payment_method&order_id=2", 2),
    ] {
        let page = app.api.get(&format!("/payments?{query}")).await.is(200);
        assert_eq!(page["data"].as_array().unwrap().len(), number, "{query}");
    }
    let wrong = app
        .api
        .get("/payments?limit=101&status=paid&colour=red&cursor=x")
        .await
        .is(400);
    let expected = [
        ("colour", "unknown_parameter"),
        ("cursor", "invalid_cursor"),
        ("limit", "invalid_limit"),
        ("status", "unknown_status"),
    ];
    assert_eq!(wrong.faults(), expected);
}

#[tokio::test]
async fn the_history_has_acceptance_attempts_tries_and_outcome() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.pay(1, "tok_issuer_down_1").await;
        app.api.outcome(id).await;
        let events = app.api.events(id).await;
        let told: Vec<(&str, u64, u64, u64)> = events
            .iter()
            .map(|event| {
                let number = |name: &str| event[name].as_u64().unwrap();
                (
                    field(event, "type"),
                    number("sequence"),
                    number("attempt"),
                    number("try"),
                )
            })
            .collect();
        let expected = [
            ("accepted", 1, 0, 0),
            ("attempt_started", 2, 1, 0),
            ("try_failed", 3, 1, 1),
            ("succeeded", 4, 1, 2),
        ];
        assert_eq!(told, expected);
        for event in &events {
            let uuid: uuid::Uuid = field(event, "id").parse().unwrap();
            assert_eq!(uuid.get_version_num(), 7);
        }
        app.api.get("/payments/2000000000/events").await.is(404);
    })
    .await;
}

#[tokio::test]
async fn a_caller_that_knows_the_version_gets_304_until_it_changes() {
    on_both(Setup::new(), |app| async move {
        let id = app.api.create(1).await;
        let path = format!("/payments/{id}");
        let shown = app.api.get(&path).await.is(200);
        let etag = shown.header("ETag").to_owned();
        assert_eq!(shown.header("Cache-Control"), "no-store");
        let again = || {
            app.api
                .request(Method::GET, &path)
                .header("If-None-Match", &etag)
        };
        let unchanged = app.api.send(again()).await.is(304);
        assert_eq!(unchanged.header("ETag"), etag);
        assert_eq!(unchanged.body, Value::Null);
        app.api
            .post(&format!("{path}/process"), card("4242424242424242"))
            .await
            .is(200);
        assert_ne!(app.api.send(again()).await.is(200).header("ETag"), etag);
    })
    .await;
}
