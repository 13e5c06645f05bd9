//! Our payments at PayPal against PayPal's own record: each by its reference, and what only PayPal has by its search.

use std::collections::BTreeSet;
use std::time::Duration;

use payment_service::payments::reconcile::{Counts, Difference, Kind, Looked, Reconciliation};
use payment_service::processors::paypal::PayPal;
use serde_json::{Value, json};

use super::stand_in::{Fault, Pays, Search, StandIn};
use super::{Platform, asked, on_each, order, processor, refund, refunded};
use crate::app::{Api, TestApp, becomes};
use crate::tools::fixture::Fixture;

/// Old enough to be listed.
const FOUND: Search = Search {
    age: time::Duration::hours(4),
    forbidden: false,
    most: 0,
    page: 0,
    endless: false,
};

/// Compares everything of two days, however young it is.
async fn reconciled(app: &TestApp, paypal: &PayPal) -> (Counts, Vec<Difference>, Looked) {
    let mut found = Vec::new();
    let since = app.database.now().await.unwrap() - Duration::from_secs(48 * 60 * 60);
    let report = |difference: &Difference| found.push(difference.clone());
    let since = (since, Duration::ZERO);
    let comparison = Reconciliation::new(&app.database, ("paypal", paypal), since, report);
    let mut comparison = comparison.in_parts_of(3);
    comparison.run().await.unwrap();
    let (counts, looked) = (comparison.counts, comparison.looked.clone());
    assert_eq!(counts.differences, found.len() as u64);
    (counts, found, looked)
}

async fn paid(api: &Api, paypal: &StandIn) -> i64 {
    let id = asked(api, order()).await;
    assert!(paypal.shopper(id, Pays::Well));
    becomes(api, id, "succeeded").await;
    id
}

async fn held(api: &Api, paypal: &StandIn) -> i64 {
    let mut order = order();
    order["capture_method"] = json!("manual");
    let id = asked(api, order).await;
    assert!(paypal.shopper(id, Pays::Well));
    becomes(api, id, "requires_capture").await;
    id
}

async fn paid_and_refunded(api: &Api, paypal: &StandIn) -> i64 {
    let id = paid(api, paypal).await;
    refund(api, id, 5).await;
    refunded(api, id, 5.0).await;
    id
}

async fn declined(api: &Api, paypal: &StandIn) -> i64 {
    let id = asked(api, order()).await;
    assert!(paypal.shopper(id, Pays::Never));
    becomes(api, id, "declined").await;
    id
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn books_that_agree_with_paypal_s_have_no_differences() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let api = &app.api;
            held(api, &paypal).await;
            paid_and_refunded(api, &paypal).await;
            declined(api, &paypal).await;
            let canceled = held(api, &paypal).await;
            let cancel = format!("/payments/{canceled}/cancel");
            api.post(&cancel, json!({})).await.is(202);
            becomes(api, canceled, "canceled").await;
            let captured = held(api, &paypal).await;
            let capture = format!("/payments/{captured}/capture");
            api.post(&capture, json!({"amount": 15})).await.is(202);
            becomes(api, captured, "succeeded").await;
            refund(api, captured, 5).await;
            refunded(api, captured, 5.0).await;
            paypal.charge_of("another-1-1");
            paypal.charge_of("something else");
            // Two in a page, and no more than seven at once.
            paypal.search(Search {
                page: 2,
                most: 7,
                ..FOUND
            });
            let connector = processor(&app, &paypal);
            let (counts, found, looked) = reconciled(&app, &connector).await;
            assert_eq!(found, []);
            let expected = Counts {
                compared: 5,
                others: 2,
                ..Counts::default()
            };
            assert_eq!(counts, expected);
            assert!(matches!(looked, Looked::Until(_)));
        },
    )
    .await;
}

/// A payment for each kind of difference.
async fn differing(app: &TestApp, paypal: &StandIn) -> BTreeSet<(Kind, i64)> {
    let api = &app.api;
    let mut expected = BTreeSet::new();
    let mut differs = |kind, id| assert!(expected.insert((kind, id)));
    let ours = app.database.installation().await.unwrap();
    let set = |field: &'static str, value: Value| move |it: &mut Value| it[field] = value.clone();
    let money = |code: &str, value: &str| json!({"currency_code": code, "value": value});

    // Nobody here knows these: they are found by the search.
    paypal.charge_of(&format!("{ours}-999999999-1"));
    differs(Kind::ChargedOnlyThere, 999_999_999);
    let id = paid(api, paypal).await;
    paypal.charge_of(&format!("{ours}-{id}-1"));
    differs(Kind::ChargedTwice, id);
    let id = paid(api, paypal).await;
    paypal.charge_of(&format!("{ours}-{id}-2"));
    differs(Kind::ChargedOnlyThere, id);
    let id = declined(api, paypal).await;
    paypal.charge_of(&format!("{ours}-{id}-1"));
    differs(Kind::ChargedOnlyThere, id);

    let id = held(api, paypal).await;
    let cancel = format!("/payments/{id}/cancel");
    api.post(&cancel, json!({})).await.is(202);
    becomes(api, id, "canceled").await;
    paypal.change(id, "authorizations", set("status", json!("CREATED")));
    differs(Kind::HeldOnlyThere, id);
    for id in [paid(api, paypal).await, held(api, paypal).await] {
        paypal.forget(id);
        differs(Kind::PaidOnlyHere, id);
    }
    let id = held(api, paypal).await;
    paypal.change(id, "authorizations", set("status", json!("VOIDED")));
    differs(Kind::PaidOnlyHere, id);
    let id = paid(api, paypal).await;
    paypal.change(id, "captures", set("amount", money("CAD", "19.99")));
    differs(Kind::Amount, id);
    let id = paid(api, paypal).await;
    paypal.change(id, "captures", set("amount", money("USD", "20.00")));
    differs(Kind::Currency, id);
    let id = paid(api, paypal).await;
    paypal.change(id, "captures", set("amount", money("CAD", "20.001")));
    differs(Kind::Unreadable, id);
    let id = paid(api, paypal).await;
    paypal.refund_in_the_dashboard(id, "1.00");
    differs(Kind::RefundOnlyThere, id);
    let id = paid_and_refunded(api, paypal).await;
    paypal.forget_refunds(id);
    differs(Kind::RefundOnlyHere, id);
    let id = paid_and_refunded(api, paypal).await;
    paypal.change(id, "refunds", set("amount", money("CAD", "4.99")));
    differs(Kind::RefundAmount, id);
    let id = paid_and_refunded(api, paypal).await;
    paypal.change(id, "refunds", set("status", json!("FAILED")));
    differs(Kind::RefundState, id);
    expected
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_kind_of_difference_to_paypal_is_found() {
    on_each(
        |setup| setup,
        |app, paypal| async move {
            let expected = differing(&app, &paypal).await;
            // It was returned, so that it is none.
            let ours = app.database.installation().await.unwrap();
            let id = paid(&app.api, &paypal).await;
            let twice = paypal.charge_of(&format!("{ours}-{id}-1"));
            paypal.change(id, "captures", |capture| {
                if capture["id"] == twice.as_str() {
                    capture["status"] = json!("REFUNDED");
                }
            });
            paypal.search(Search { page: 3, ..FOUND });
            let connector = processor(&app, &paypal);
            let (_, found, _) = reconciled(&app, &connector).await;
            let listed: Vec<(Kind, i64)> = found
                .iter()
                .map(|it| (it.kind, it.payment.unwrap().0))
                .collect();
            assert_eq!(listed.len(), expected.len(), "{found:#?}");
            assert_eq!(BTreeSet::from_iter(listed), expected, "{found:#?}");

            // The newest hours are not listed yet, but each payment of ours is asked about.
            paypal.search(Search {
                age: time::Duration::hours(2),
                ..FOUND
            });
            let (_, found, looked) = reconciled(&app, &connector).await;
            assert_eq!(found.len(), expected.len() - 4, "{found:#?}");
            let now = app.database.now().await.unwrap();
            let Looked::Until(until) = looked else {
                panic!("{looked:?}");
            };
            let lag = now - until;
            assert!(
                lag >= time::Duration::hours(3) && lag < time::Duration::hours(4),
                "{lag}"
            );

            paypal.search(Search {
                forbidden: true,
                ..FOUND
            });
            let (_, found, looked) = reconciled(&app, &connector).await;
            assert_eq!(found.len(), expected.len() - 4, "{found:#?}");
            assert!(matches!(looked, Looked::Not(why) if why.contains("Transaction Search")));
        },
    )
    .await;
}

const COMMAND: [&str; 6] = [
    "payments",
    "reconcile",
    "--processor",
    "paypal",
    "--since",
    "2026-01-01",
];

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_command_says_how_far_paypal_s_list_goes() {
    for mut fixture in Fixture::both().await {
        let platform = Platform::start().await;
        let paypal = &platform.paypal;
        let file = platform.file.path().display().to_string();
        fixture.also("PROCESSORS_FILE", file);
        let json = [COMMAND.as_slice(), &["--json"]].concat();
        paypal.search(FOUND);
        // The platform has too many requests at first.
        paypal.fail("/reporting/transactions", Fault::Busy);
        let equal = fixture.run(&json).await.with(0).json();
        assert_eq!(equal["complete"], true, "{equal}");
        assert!(equal["looked_until"].is_string(), "{equal}");
        let words = fixture.run(&COMMAND).await.with(0).out;
        assert!(
            words.contains("What is charged only there was looked for until"),
            "{words}"
        );

        let installation = fixture.database().installation().await.unwrap();
        let transaction = paypal.charge_of(&format!("{installation}-77-1"));
        let different = fixture.run(&json).await.with(1).json();
        assert_eq!(different["found"], 1, "{different}");
        let difference = &different["differences"][0];
        assert_eq!(difference["payment_id"], 77);
        assert_eq!(difference["kind"], "charged_only_there");
        assert_eq!(difference["reference"], transaction.as_str());

        // Without the permission nothing like that is found, and the command says so.
        paypal.search(Search {
            forbidden: true,
            ..FOUND
        });
        let unknown = fixture.run(&json).await.with(69).json();
        assert_eq!(unknown["complete"], false, "{unknown}");
        assert!(
            unknown["not_looked"]
                .as_str()
                .unwrap()
                .contains("Transaction Search"),
            "{unknown}"
        );
        let words = fixture.run(&COMMAND).await.with(69).err;
        assert!(words.contains("select it in the app's features"), "{words}");

        // A list without an end.
        paypal.search(Search {
            endless: true,
            ..FOUND
        });
        let stopped = fixture.run(&json).await.with(69).json();
        let why = stopped["stopped"].as_str().unwrap();
        assert!(why.contains("its list does not end"), "{stopped}");
        assert!(paypal.requests("/reporting/transactions").len() < 300);
    }
}
