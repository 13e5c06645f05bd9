//! Many payments of every kind while Stripe fails at random: in the end our books and theirs agree to the minor unit.

use std::collections::BTreeMap;
use std::time::Duration;

use futures::stream::{self, StreamExt};
use serde_json::{Value, json};
use tokio::time::Instant;

use super::reconcile::reconciled;
use super::stand_in::StandIn;
use super::{on_each, order, processor, refund, sessions};
use crate::app::{Api, field};

/// `PLATFORM_PAYMENTS`: how many.
pub fn payments() -> u64 {
    let given = std::env::var("PLATFORM_PAYMENTS");
    given.map_or(150, |text| text.parse().expect("a number"))
}

/// `FAULT_SEED` repeats the choices of a run.
pub fn seed() -> u64 {
    let given = std::env::var("FAULT_SEED");
    given.map_or_else(
        |_| rand::random_range(0..1_000_000),
        |text| text.parse().expect("a number"),
    )
}

const KINDS: [(&str, &str); 10] = [
    ("pm_card_visa", "automatic"),
    ("pm_card_visa", "refunded"),
    ("pm_card_visa", "captured"),
    ("pm_card_visa", "voided"),
    ("pm_card_chargeDeclinedInsufficientFunds", "automatic"),
    ("pm_card_authenticationRequired", "approved"),
    ("pm_card_authenticationRequired", "refused"),
    (PAGE, "paid"),
    (PAGE, "left"),
    (PAGE, "hurried"),
];

/// Not a token: the shopper pays on Stripe's page.
const PAGE: &str = "page";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn our_books_and_theirs_agree_whatever_fails() {
    let (payments, seed) = (payments(), seed());
    println!("FAULT_SEED={seed} PLATFORM_PAYMENTS={payments}");
    on_each(
        |setup| setup.with("MAX_TRIES", "4"),
        |app, stripe| async move {
            stripe.fail_at_random(seed, 12);
            let kinds = KINDS.iter().cycle().zip(0..payments);
            let living = kinds.map(|((token, kind), _)| life(&app.api, &stripe, token, kind));
            let ids: Vec<i64> = stream::iter(living).buffer_unordered(24).collect().await;
            let mut counted = BTreeMap::new();
            for id in ids {
                let payment = left(&app.api, id, &["processing", "requires_action"]).await;
                agrees(&payment, stripe.moved(id));
                let status = field(&payment, "status").to_owned();
                *counted.entry(status).or_insert(0) += 1;
            }
            println!("{counted:?}, {} faults", stripe.faults_so_far());
            stripe.fail_never();
            let (counts, found) = reconciled(&app, &processor(&app, &stripe)).await;
            println!("{counts:?}");
            assert_eq!(found, []);
            assert!(counts.compared >= payments && counts.under_way == 0);
            assert!(stripe.faults_so_far() > 0, "nothing has failed");
            assert!(counted.contains_key("succeeded") && counted.contains_key("declined"));
        },
    )
    .await;
}

/// One payment, from its creation to what its kind does with it; each step only if the one before it went well.
async fn life(api: &Api, stripe: &StandIn, token: &str, kind: &str) -> i64 {
    let mut order = match token {
        PAGE => sessions::order(),
        token => order(token),
    };
    if matches!(kind, "captured" | "voided") {
        order["capture_method"] = json!("manual");
    }
    let id = api.post("/payments", order).await.is(202).id();
    let payment = left(api, id, &["processing"]).await;
    match (kind, field(&payment, "status")) {
        ("refunded", "succeeded") => {
            for amount in [3, 4] {
                refund(api, id, amount).await;
            }
        }
        ("captured", "requires_capture") => {
            let capture = format!("/payments/{id}/capture");
            api.post(&capture, json!({"amount": 12.5})).await.is(202);
        }
        ("voided", "requires_capture") => {
            let cancel = format!("/payments/{id}/cancel");
            api.post(&cancel, json!({})).await.is(202);
        }
        ("paid", "requires_action") => stripe.pay_on_page(id, "pm_card_visa"),
        ("left" | "hurried", "requires_action") => {
            if kind == "hurried" {
                stripe.pay_in_a_hurry(id);
            }
            let cancel = format!("/payments/{id}/cancel");
            api.post(&cancel, json!({})).await.is(202);
        }
        ("approved" | "refused", "requires_action") => stripe.shopper(id, kind == "approved"),
        _ => {}
    }
    id
}

/// The payment once it has one of the statuses that are not listed here, and no refund is pending.
pub async fn left(api: &Api, id: i64, moving: &[&str]) -> Value {
    let path = format!("/payments/{id}");
    let mut last = Value::Null;
    let deadline = Instant::now() + Duration::from_secs(120);
    while Instant::now() < deadline {
        let payment = api.get(&path).await.is(200).body.clone();
        let refunds = api
            .get(&format!("{path}/refunds"))
            .await
            .is(200)
            .body
            .clone();
        let pending = refunds.to_string().contains(r#""status":"pending""#);
        if !pending && !moving.contains(&field(&payment, "status")) {
            return payment;
        }
        last = json!([payment, refunds]);
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("not in time: {last}, {:?}", api.events(id).await);
}

pub fn agrees(payment: &Value, (received, refunded): (i64, i64)) {
    let minor = |name: &str| -> i64 {
        let amount = payment[name].as_f64().unwrap_or(0.0);
        let digits = format!("{amount:.2}").replace('.', "");
        digits.parse().unwrap()
    };
    match field(payment, "status") {
        "succeeded" => {
            assert_eq!(minor("amount_captured"), received, "{payment}");
            assert_eq!(minor("amount_refunded"), refunded, "{payment}");
        }
        _ => assert_eq!(received, refunded, "charged without being paid: {payment}"),
    }
}
