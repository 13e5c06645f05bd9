//! Many payments of every kind while PayPal fails at random: in the end our books and theirs agree to the minor unit.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde_json::json;
use tokio::time::Instant;

use super::super::agree::{agrees, left, payments, seed};
use super::super::refund;
use super::stand_in::{Pays, StandIn};
use super::{on_each, order};
use crate::app::{Api, field};

const KINDS: [(&str, Pays); 8] = [
    ("automatic", Pays::Well),
    ("refunded", Pays::Well),
    ("captured", Pays::Well),
    ("voided", Pays::Well),
    ("automatic", Pays::Never),
    ("declined, then paid", Pays::Declined),
    ("canceled", Pays::Well),
    ("left", Pays::Well),
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_books_and_paypal_s_agree_whatever_fails() {
    let (payments, seed) = (payments(), seed());
    println!("FAULT_SEED={seed} PLATFORM_PAYMENTS={payments}");
    on_each(
        // Those who leave are waited for no longer than this.
        |setup| {
            setup
                .with("MAX_TRIES", "4")
                .with("RETRY_MAX_INTERVAL", "2s")
                .with("PROCESSOR_TIMEOUT", "2s")
                .with("ISSUER_ACTION_LIFE", "5s")
        },
        |app, paypal| async move {
            paypal.fail_at_random(seed, 12);
            let kinds = KINDS.iter().cycle().zip(0..payments);
            let living = kinds.map(|((kind, pays), _)| life(&app.api, &paypal, kind, *pays));
            let ids: Vec<i64> = stream::iter(living).buffer_unordered(24).collect().await;
            let mut counted = BTreeMap::new();
            for id in ids {
                let payment = left(&app.api, id, &["processing", "requires_action"]).await;
                agrees(&payment, paypal.moved(id));
                let status = field(&payment, "status").to_owned();
                *counted.entry(status).or_insert(0) += 1;
            }
            println!("{counted:?}, {} faults", paypal.faults_so_far());
            assert!(paypal.faults_so_far() > 0, "nothing has failed");
            for status in ["succeeded", "declined", "canceled", "failed"] {
                assert!(counted.contains_key(status), "none is {status}");
            }
        },
    )
    .await;
}

/// One payment, from its creation to what its kind does with it; each step only if the one before it went well.
async fn life(api: &Api, paypal: &StandIn, kind: &str, pays: Pays) -> i64 {
    let mut order = order();
    if matches!(kind, "captured" | "voided") {
        order["capture_method"] = json!("manual");
    }
    let id = api.post("/payments", order).await.is(202).id();
    let asked = left(api, id, &["processing"]).await;
    if kind == "left" || field(&asked, "status") != "requires_action" {
        return id;
    }
    paypal.shopper(id, pays);
    if pays == Pays::Declined {
        // Pays in another way, once the first was declined. It can be too late for that.
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline && !paypal.shopper(id, Pays::Well) {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    }
    let path = format!("/payments/{id}");
    if kind == "canceled" {
        // At the same moment as the charge: one of them is first.
        api.post(&format!("{path}/cancel"), json!({})).await;
    }
    let payment = left(api, id, &["processing", "requires_action"]).await;
    match (kind, field(&payment, "status")) {
        ("refunded", "succeeded") => {
            for amount in [3, 4] {
                refund(api, id, amount).await;
            }
        }
        ("captured", "requires_capture") => {
            let capture = format!("{path}/capture");
            api.post(&capture, json!({"amount": 12.5})).await.is(202);
        }
        ("voided", "requires_capture") => {
            api.post(&format!("{path}/cancel"), json!({})).await.is(202);
        }
        _ => {}
    }
    id
}
