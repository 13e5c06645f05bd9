use std::collections::BTreeMap;

use super::*;
use crate::broker::{Delivery, Properties, Settle};
use crate::callbacks::failure::Evidence;

#[derive(Debug)]
struct Nobody;

#[async_trait::async_trait]
impl Settle for Nobody {
    async fn acknowledge(self: Box<Self>) {}
    async fn reject(self: Box<Self>) {}
    async fn give_back(self: Box<Self>) {}
}

fn event(order_id: &Value) -> Event {
    let delivery = Delivery {
        routing_key: "payment.succeeded.shop".to_owned(),
        properties: Properties {
            message_id: Some("an-id".to_owned()),
            kind: Some("payment.succeeded".to_owned()),
            headers: BTreeMap::from([("client".to_owned(), "shop".to_owned())]),
            ..Properties::default()
        },
        body: json!({ "data": { "order_id": order_id, "payment_id": 7 } })
            .to_string()
            .into(),
        redelivered: false,
        settle: Box::new(Nobody),
    };
    Event::read(&delivery, OffsetDateTime::UNIX_EPOCH).expect("an event")
}

#[test]
fn store_manager_gets_numbers_and_booleans_that_fit_its_columns() {
    assert_eq!(
        order_paid(&event(&json!(2_147_483_647))).as_deref(),
        Ok(r#"{"is_paid":true,"order_id":2147483647,"payment_id":7}"#)
    );
    for order_id in [json!(2_147_483_648_u32), json!("1"), Value::Null] {
        let failure = order_paid(&event(&order_id)).expect_err("no such order");
        let expected = ("order_id_too_large", true);
        assert_eq!((failure.reason.as_str(), failure.is_final), expected);
    }
}

fn failed(reason: &str, is_final: bool) -> Result<(), (String, bool)> {
    Err((reason.to_owned(), is_final))
}

#[test]
fn every_answer_is_classified() {
    let reason = |format, status: u16, body: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        let judged = judge(format, status, body.as_bytes());
        judged.map_err(|failure| (failure.reason, failure.is_final))
    };
    let webhook = |status| reason(Format::StandardWebhooks, status, "<html>");
    for status in [200, 201, 202, 204, 299] {
        assert_eq!(webhook(status), Ok(()), "{status}");
    }
    for status in [300, 301, 302, 303, 304, 307, 308] {
        assert_eq!(webhook(status), failed("redirect", false), "{status}");
    }
    for status in [400, 401, 404, 408, 422, 429] {
        assert_eq!(webhook(status), failed("client_error", false), "{status}");
    }
    for status in [500, 502, 503, 504] {
        assert_eq!(webhook(status), failed("server_error", false), "{status}");
    }
    assert_eq!(webhook(410), failed("gone", true));

    let store = |status, body| reason(Format::StoreManager, status, body);
    assert_eq!(store(200, r#"{"updated": true}"#), Ok(()));
    for body in [
        "",
        "<html>",
        "{}",
        r#"{"updated": fal"#,
        r#"{"updated": "true"}"#,
    ] {
        assert_eq!(store(200, body), failed("not_understood", false), "{body}");
    }
    let unknown = r#"{"updated": false}"#;
    assert_eq!(store(200, unknown), failed("not_updated", false));
    let broken = store(500, r#"{"updated": true}"#);
    assert_eq!(broken, failed("server_error", false));
}

#[test]
fn every_answer_tells_whether_the_receiver_works() {
    let evidence = |format, status: u16, body: &str| {
        let status = StatusCode::from_u16(status).expect("a status");
        let judged = judge(format, status, body.as_bytes());
        judged.map_or_else(|failure| failure.evidence, |()| Evidence::Answers)
    };
    let webhook = |status| evidence(Format::StandardWebhooks, status, "");
    for status in [200, 400, 401, 403, 404, 405, 409, 410, 413, 422, 451, 499] {
        assert_eq!(webhook(status), Evidence::Answers, "{status}");
    }
    for status in [307, 408, 425, 429, 500, 502, 503, 504, 599] {
        assert_eq!(webhook(status), Evidence::Fails, "{status}");
    }
    let store = |body| evidence(Format::StoreManager, 200, body);
    assert_eq!(store(r#"{"updated": false}"#), Evidence::Answers);
    assert_eq!(store("<html>"), Evidence::Fails);
    let unknown = order_paid(&event(&json!(2_147_483_648_u32))).expect_err("no such order");
    assert_eq!(unknown.evidence, Evidence::Nothing);
}
