//! Clients in Python, and the Postman collection.

use super::fixture::{Fixture, KEY, tool};

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
    let listed = fixture.client().get("/payments?order_id=1").await.is(200);
    assert_eq!(listed["data"][0]["is_paid"], true);
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
    // It has sent at least one request.
    let payments = fixture.client().get("/payments?limit=100").await.is(200);
    assert_eq!(payments["data"].as_array().unwrap().len(), 4, "{said}");
}
