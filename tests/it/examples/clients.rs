//! Clients in Python, and the Postman collection.

use super::fixture::{Fixture, KEY, tool};
use crate::app::{eventually, field};

const EXAMPLES: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/docs/examples");

pub fn python() -> String {
    tool(
        "TEST_PYTHON",
        "python/bin/python",
        "a Python with tests/requirements.txt",
    )
}

#[tokio::test]
async fn the_python_client_pays_by_rest_and_prints_the_outcome() {
    let fixture = Fixture::start(&[]).await;
    let script = format!("{EXAMPLES}/rest_client.py");
    let run = async |arguments: &[&str]| {
        let arguments = [&[script.as_str()], arguments].concat();
        fixture.run(&python(), &arguments, &[]).await
    };
    let paid = run(&["--order", "1", "--key", "order-1"]).await.ended(0);
    assert!(
        paid.contains(" succeeded, decline code: none\n  1. accepted"),
        "{paid}"
    );
    // The same key again makes no second payment.
    let again = run(&["--order", "1", "--key", "order-1"]).await.ended(0);
    assert_eq!(paid.lines().nth(1), again.lines().nth(1));
    let declined = run(&["--order", "2", "--card", "4000000000009995"])
        .await
        .ended(2);
    assert!(
        declined.contains("declined, decline code: insufficient_funds"),
        "{declined}"
    );
    let refused = run(&["--order", "0", "--card", "1"]).await.ended(1);
    assert!(
        refused.contains("order_id: order_id must be 1 or more."),
        "{refused}"
    );
    assert!(refused.contains("card.cardNumber"), "{refused}");
    assert!(run(&["--help"]).await.ended(0).contains("PAYMENTS_KEY"));
    let listed = fixture.client().get("/payments").await.is(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 2);
}

#[tokio::test]
async fn the_python_client_captures_a_part_and_refunds_by_rest() {
    let fixture = Fixture::start(&[]).await;
    let script = format!("{EXAMPLES}/rest_client.py");
    let run = async |arguments: &[&str]| {
        let arguments = [&[script.as_str()], arguments].concat();
        fixture.run(&python(), &arguments, &[]).await
    };
    let order = ["--order", "1", "--key", "order-1", "--capture", "60.00"];
    let paid = run(&order).await.ended(0);
    assert!(paid.contains(" authorized until "), "{paid}");
    assert!(paid.contains("captured: 60.0 of 99.53 CAD"), "{paid}");
    // The same keys again capture nothing more.
    let again = run(&order).await.ended(0);
    assert!(again.contains("captured: 60.0 of 99.53 CAD"), "{again}");
    let api = fixture.client();
    let listed = api.get("/payments").await.is(200);
    assert_eq!(listed["data"].as_array().unwrap().len(), 1);
    let id = listed["data"][0]["payment_id"].to_string();
    let payment = async || api.get(&format!("/payments/{id}")).await.is(200).body;
    assert_eq!(payment().await["capture_method"], "manual");
    assert_eq!(payment().await["amount_captured"], 60.0);

    let refund = ["--refund", &id, "--amount", "5.00", "--key", "refund-1"];
    let refunded = run(&refund).await.ended(0);
    assert!(
        refunded.contains(" succeeded, failure code: none\nrefunded: 5.0 of 60.0 CAD"),
        "{refunded}"
    );
    // The same key again makes no second refund.
    let again = run(&refund).await.ended(0);
    assert_eq!(refunded, again);
    let refunds = async || {
        let listed = api.get(&format!("/payments/{id}/refunds")).await.is(200);
        let listed = listed["data"].as_array().unwrap().iter();
        listed
            .map(|it| (it["amount"].as_f64().unwrap(), it["status"].to_string()))
            .collect::<Vec<_>>()
    };
    let done = "\"succeeded\"".to_owned();
    assert_eq!(refunds().await, [(5.0, done.clone())]);
    let too_much = run(&["--refund", &id, "--amount", "55.01"]).await.ended(1);
    assert!(too_much.contains("  amount: "), "{too_much}");
    // Without an amount: all that is left.
    run(&["--refund", &id]).await.ended(0);
    assert_eq!(refunds().await, [(5.0, done.clone()), (55.0, done)]);
    assert_eq!(payment().await["amount_refunded"], 60.0);
    assert_eq!(payment().await["is_paid"], true);
}

#[tokio::test]
async fn the_python_client_waits_for_the_shopper() {
    let fixture = Fixture::start(&[]).await;
    let script = format!("{EXAMPLES}/rest_client.py");
    let api = fixture.client();
    let newest = async || api.get("/payments?limit=1").await.is(200)["data"][0].clone();
    for (order, choice, code, ends) in [
        (1, "approve", 0, "succeeded, decline code: none"),
        (
            2,
            "decline",
            2,
            "declined, decline code: authentication_failed",
        ),
    ] {
        let number = order.to_string();
        let arguments = [script.as_str(), "--order", &number, "--wallet"];
        let python = python();
        let shopper = async {
            eventually("the shopper is asked", || async {
                let payment = newest().await;
                payment["order_id"] == order && payment["status"] == "requires_action"
            })
            .await;
            let payment = newest().await;
            let page = field(&payment["next_action"], "url").to_owned();
            let browser = reqwest::Client::builder().no_proxy().build().unwrap();
            let form = browser.post(&page).body(format!("choice={choice}"));
            let form_type = "application/x-www-form-urlencoded";
            let answer = form.header("Content-Type", form_type).send().await;
            assert_eq!(answer.unwrap().status().as_u16(), 200);
            page
        };
        let (ran, page) = tokio::join!(fixture.run(&python, &arguments, &[]), shopper);
        let said = ran.ended(code);
        assert!(said.contains(&page), "{said}");
        assert!(said.contains(ends), "{said}");
    }
}

#[tokio::test]
async fn a_refund_that_fails_is_told_by_the_python_clients() {
    let fixture = Fixture::start(&[]).await;
    let run = async |name: &str, arguments: &[&str]| {
        let script = format!("{EXAMPLES}/{name}");
        let arguments = [&[script.as_str()], arguments].concat();
        fixture.run(&python(), &arguments, &[]).await
    };
    let api = fixture.client();
    let id = api.pay(1, "tok_refund_refused").await;
    assert_eq!(api.outcome(id).await["status"], "succeeded");
    let id = id.to_string();
    let refused = run("rest_client.py", &["--refund", &id]).await.ended(2);
    assert!(
        refused.contains(" failed, failure code: refused\nrefunded: 0.0 of "),
        "{refused}"
    );
    let refused = run("message_client.py", &["--refund", &id]).await.ended(2);
    assert_eq!(refused.matches(" failed\n").count(), 2, "{refused}");
}

#[tokio::test]
async fn the_python_client_pays_by_message_and_follows_reply_and_topic() {
    let fixture = Fixture::start(&[]).await;
    let script = format!("{EXAMPLES}/message_client.py");
    let run = async |arguments: &[&str]| {
        let arguments = [&[script.as_str()], arguments].concat();
        fixture.run(&python(), &arguments, &[]).await
    };
    let paid = run(&["--order", "1", "--message-id", "order-1"])
        .await
        .ended(0);
    for queue in ["store-manager.results", "store-manager.replies"] {
        assert!(paid.contains(&format!("{queue}: payments/")), "{paid}");
    }
    let declined = run(&["--order", "2", "--card-token", "tok_insufficient_funds"])
        .await
        .ended(2);
    assert_eq!(declined.matches(" declined\n").count(), 2, "{declined}");
    // The sender of an unusable order is informed, too.
    let refused = run(&["--order", "0"]).await.ended(2);
    assert_eq!(
        refused.matches(" request_rejected\n").count(),
        2,
        "{refused}"
    );
    assert!(
        run(&["--help"])
            .await
            .ended(0)
            .contains("PAYMENTS_AMQP_URL")
    );
    let api = fixture.client();
    let listed = api.get("/payments?order_id=1").await.is(200);
    assert_eq!(listed["data"][0]["is_paid"], true);

    let id = listed["data"][0]["payment_id"].to_string();
    let amount = ["--amount", "5.00", "--message-id", "refund-1"];
    let refund = [&["--refund", id.as_str()], amount.as_slice()].concat();
    let refunded = run(&refund).await.ended(0);
    for queue in ["store-manager.results", "store-manager.replies"] {
        let line = format!("{queue}: refunds/");
        let line = refunded.lines().find(|it| it.starts_with(&line));
        assert!(line.unwrap().ends_with(" succeeded"), "{refunded}");
    }
    // The same message id again makes no second refund, and therefore no second event.
    let again = [refund.as_slice(), &["--seconds", "1"]].concat();
    assert!(run(&again).await.ended(1).contains("no result in"));
    // More than what is left: the sender is informed.
    let too_much = run(&["--refund", &id, "--amount", "94.54"]).await.ended(2);
    assert_eq!(
        too_much.matches(" request_rejected\n").count(),
        2,
        "{too_much}"
    );
    let refunds = api.get(&format!("/payments/{id}/refunds")).await.is(200);
    let refunds = refunds["data"].as_array().unwrap().clone();
    assert_eq!(refunds.len(), 1, "{refunds:?}");
    assert_eq!(refunds[0]["amount"], 5.0);
    assert_eq!(refunds[0]["status"], "succeeded");
    let payment = api.get(&format!("/payments/{id}")).await.is(200);
    assert_eq!(payment["amount_refunded"], 5.0);
}

#[tokio::test]
async fn the_postman_collection_passes() {
    let fixture = Fixture::start(&[]).await;
    let newman = tool("TEST_NEWMAN", "newman/node_modules/.bin/newman", "a newman");
    let collection = format!("{EXAMPLES}/payment-service.postman_collection.json");
    let (url, key) = (
        format!("base_url={}", fixture.url()),
        format!("api_key={KEY}"),
    );
    let arguments = [
        "run",
        &collection,
        "--env-var",
        &url,
        "--env-var",
        &key,
        "--color",
        "off",
    ];
    let said = fixture.run(&newman, &arguments, &[]).await.ended(0);
    // It has sent its requests.
    let api = fixture.client();
    let payments = api.get("/payments?limit=100").await.is(200);
    assert_eq!(payments["data"].as_array().unwrap().len(), 8, "{said}");
    let of_order = async |order: u32| {
        let listed = api.get(&format!("/payments?order_id={order}")).await;
        listed.is(200)["data"][0].clone()
    };
    let captured = of_order(1007).await;
    assert_eq!(captured["amount_captured"], 60.0, "{said}");
    assert_eq!(captured["amount_refunded"], 25.0, "{said}");
    let path = format!("/payments/{}/refunds", captured["payment_id"]);
    let refunds = api.get(&path).await.is(200);
    assert_eq!(refunds["data"].as_array().unwrap().len(), 1, "{said}");
    let canceled = of_order(1008).await;
    assert_eq!(canceled["status"], "canceled", "{said}");
    assert_eq!(canceled["cancellation_reason"], "requested_by_client");
    for approved in [1009, 1010] {
        assert_eq!(of_order(approved).await["status"], "succeeded", "{said}");
    }
}
