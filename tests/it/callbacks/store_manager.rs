//! Callbacks in Store Manager's format, to a stand-in as strict as the real one: only numbers and booleans, ids in
//! 32 bits.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use serde_json::{Value, json};

use super::receiver::{Call, Receiver, ready};
use super::{given_up, quick, with_receiver};
use crate::app::{STORE, Setup, eventually};

/// Its table of orders: id, is paid.
type Orders = Arc<Mutex<BTreeMap<i32, bool>>>;

/// Handles a call: status and answer.
fn put_order(orders: &Orders, call: &Call) -> (u16, &'static str) {
    let body: Value = serde_json::from_str(&call.text).unwrap_or_default();
    let fields = body.as_object().map_or(0, serde_json::Map::len);
    let (Some(id), Some(is_paid), Some(_), 3) = (
        body["order_id"].as_i64(),
        body["is_paid"].as_bool(),
        body["payment_id"].as_i64(),
        fields,
    ) else {
        return (400, r#"{"error": "wrong types"}"#);
    };
    if call.line != "PUT /orders" || call.header("content-type") != "application/json" {
        return (405, r#"{"error": "not like this"}"#);
    }
    let Ok(id) = i32::try_from(id) else {
        return (500, r#"{"error": "Out of range value for column 'id'"}"#);
    };
    match orders.lock().unwrap().get_mut(&id) {
        Some(order) => {
            *order = is_paid;
            (200, r#"{"updated": true}"#)
        }
        None => (200, r#"{"updated": false}"#),
    }
}

fn told_in_its_language(receiver: &Receiver) -> Setup {
    let callback = json!({
        "url": receiver.url("/orders"), "format": "store-manager", "allow_private_addresses": true,
    });
    quick().with_callback(STORE, callback)
}

#[tokio::test]
async fn an_order_is_marked_as_paid_only_after_its_payment_has_succeeded() {
    with_receiver(told_in_its_language, |app, receiver| async move {
        let orders: Orders = Arc::new(Mutex::new([(1, false), (2_147_483_647, false)].into()));
        let table = Arc::clone(&orders);
        receiver.answers(move |_, call| {
            let (status, body) = put_order(&table, &call);
            ready(status, body)
        });
        let store = app.api.with_key(STORE.1);
        let declined = store.pay(1, "tok_generic_decline").await;
        store.outcome(declined).await;
        store.pay(2_147_483_647, "tok_visa").await;
        receiver.called(1).await;
        assert_eq!(
            *orders.lock().unwrap(),
            [(1, false), (2_147_483_647, true)].into()
        );

        // It does not know this order yet, so its answer is not a success.
        store.pay(7, "tok_visa").await;
        eventually("it was asked twice", || async {
            receiver.calls().len() >= 3
        })
        .await;
        orders.lock().unwrap().insert(7, false);
        eventually("the order is paid", || async { orders.lock().unwrap()[&7] }).await;

        let mut letters = app.dead_letters();
        let before = receiver.calls().len();
        let id = store.pay(2_147_483_648, "tok_visa").await;
        let (letter, reason) = given_up(&app, &mut letters).await;
        assert_eq!(reason, "order_id_too_large");
        assert_eq!(letter["body"]["data"]["payment_id"], id);
        assert_eq!(receiver.calls().len(), before);
    })
    .await;
}
