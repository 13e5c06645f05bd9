//! Rows that are damaged directly in the database, while ordinary payments continue.

use std::time::{Duration, Instant};

use serde_json::json;

use crate::app::{Setup, TestApp, eventually, field, on_both};

/// Damaged rows are set aside within milliseconds; if they blocked others, it would be for ever.
const AT_ONCE: Duration = Duration::from_secs(5);

/// Ordinary payments, a retry among them, which only the sweep of the work lane publishes.
async fn ordinary_payments_succeed(app: &TestApp) {
    let began = Instant::now();
    for order_id in 1..=5 {
        let id = app.api.pay(order_id, "tok_visa").await;
        assert_eq!(app.api.outcome(id).await["status"], "succeeded");
    }
    let took = began.elapsed();
    assert!(took < AT_ONCE, "five payments took {took:?}");
    let id = app.api.pay(6, "tok_issuer_down_1").await;
    assert_eq!(app.api.outcome(id).await["status"], "succeeded");
    assert!(app.api.history(id).await.contains(&"try_failed".to_owned()));
}

#[tokio::test]
async fn unreadable_outbox_rows_do_not_stop_retries() {
    on_both(Setup::new(), |app| async move {
        let id = "x'00000000000070008000000000000001', x'00000000000070008000000000000002'";
        for (id, lane) in id.split(", ").zip(["work", "results"]) {
            let sql = format!(
                "INSERT INTO outbox (id, payment_id, due_at, publication, lane)
                 VALUES ({id}, NULL, '2026-01-01 00:00:00.000000', '{{', '{lane}')"
            );
            app.execute(&sql).await;
        }
        ordinary_payments_succeed(&app).await;
        eventually("both are set aside", || async {
            app.database.outbox_depth().await.unwrap().quarantined == 2
        })
        .await;
        app.execute("DELETE FROM outbox WHERE quarantined IS NOT NULL")
            .await;
    })
    .await;
}

#[tokio::test]
async fn an_unreadable_payment_is_reported_and_does_not_affect_others() {
    let setup = Setup::new()
        .with("CHECK_AFTER", "1s")
        .with("CHECK_EVERY", "200ms");
    on_both(setup, |app| async move {
        let broken = app.api.create(7).await;
        let sql = format!(
            "UPDATE payments SET status = 'processing', attempt = 1, try_number = 1, origin = '{{',
             check_at = '2026-01-01 00:00:00.000000' WHERE id = {broken}"
        );
        assert_eq!(app.execute(&sql).await, 1);
        ordinary_payments_succeed(&app).await;
        // The rescue also finds one whose message is lost.
        let lost = app.api.create(8).await;
        let sql = format!(
            "UPDATE payments SET status = 'processing', attempt = 1, try_number = 1,
             check_at = '2026-01-01 00:00:00.000000' WHERE id = {lost}"
        );
        app.execute(&sql).await;
        // It has no card, so its one try ends it.
        eventually("the rescue finds it", || async {
            app.api.get(&format!("/payments/{lost}")).await.body["status"] != "processing"
        })
        .await;

        let answer = app.api.get(&format!("/payments/{broken}")).await.is(500);
        let kind = "urn:problem-type:payment-service:payment-quarantined";
        assert_eq!(answer["type"], kind);
        let sentence = field(&answer.body, "error");
        assert!(sentence.contains(&broken.to_string()), "{sentence}");
        app.api
            .post(&format!("/payments/{broken}/cancel"), json!({}))
            .await
            .is(500);
        let list = app.api.get("/payments?limit=100").await.is(200);
        let listed = list["data"].as_array().unwrap();
        assert_eq!(listed.len(), 7);
        assert!(listed.iter().all(|payment| payment["id"] != broken));

        eventually("it is marked", || async {
            let sql = "UPDATE payments SET quarantined = 'seen' WHERE quarantined LIKE 'origin%'";
            app.execute(sql).await == 1
        })
        .await;
        let mend =
            "UPDATE payments SET origin = '{}', quarantined = NULL WHERE quarantined = 'seen'";
        assert_eq!(app.execute(mend).await, 1);
        eventually("released, it goes on", || async {
            app.api.get(&format!("/payments/{broken}")).await.body["status"] != "processing"
        })
        .await;
    })
    .await;
}
