//! More refunds at the same time than the payment can return, while workers die and answers are lost.

use std::time::Duration;

use futures::future::join_all;
use payment_service::metric;
use serde_json::{Value, json};
use sqlx::{MySqlPool, query_as};
use tokio::time::{sleep, timeout};

use super::fleet::Fleet;
use crate::app::{Api, eventually};
use crate::support::process::Process;

const REFUNDS: usize = 200;
const MOST_KILLS: usize = 15;

/// 100.00 that are paid. The issuer loses the first answer to each refund.
async fn paid(api: &Api) -> i64 {
    let order = json!({
        "order_id": 1, "user_id": 1, "total_amount": 100, "card_token": "tok_refund_answer_lost",
    });
    let id = api.post("/payments", order).await.is(202).id();
    assert_eq!(api.outcome(id).await["status"], "succeeded");
    id
}

/// Sends a refund of 1.00 again and again under its key, as a caller that loses most answers, until it gets one; its status.
async fn refund(api: &Api, payment: i64, number: usize) -> u16 {
    let path = format!("/payments/{payment}/refunds");
    for patience in [1, 20, 20_000, 20_000] {
        let key = format!("race-{number}");
        let header = [("Idempotency-Key", key.as_str())];
        let asked = api.post_with(&path, &header, json!({"amount": 1}));
        // The first requests end in their middle: the answer reaches nobody.
        match timeout(Duration::from_millis(patience), asked).await {
            Ok(answer) if answer.status != 503 => return answer.status,
            Ok(_) | Err(_) => {}
        }
    }
    panic!("no answer to refund {number}");
}

async fn refunds(api: &Api, payment: i64) -> Vec<Value> {
    let listed = api.get(&format!("/payments/{payment}/refunds")).await;
    listed.is(200)["data"].as_array().unwrap().clone()
}

fn number_of(refunds: &[Value], status: &str) -> usize {
    refunds.iter().filter(|it| it["status"] == status).count()
}

/// Kills a worker in the middle of its calls and starts another one, while refunds are pending; how often.
async fn kill_workers(fleet: &Fleet, api: &Api, payment: i64) -> usize {
    let mut worker: Process = fleet.start("worker").await;
    for kills in 0..MOST_KILLS {
        let listed = refunds(api, payment).await;
        if !listed.is_empty() && number_of(&listed, "pending") == 0 {
            return kills;
        }
        // The issuer takes 100 ms for each call.
        sleep(Duration::from_millis(150)).await;
        worker.kill();
        worker = fleet.start("worker").await;
    }
    MOST_KILLS
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn racing_refunds_return_exactly_what_was_charged_while_workers_die_and_answers_are_lost() {
    let fleet = Fleet::new(&[
        ("ISSUER_LATENCY", "100ms"),
        ("PROCESSOR_TIMEOUT", "1s"),
        ("OUTBOX_LEASE", "1s"),
        ("CHECK_AFTER", "1s"),
        ("CHECK_EVERY", "500ms"),
        ("RETRY_INITIAL", "50ms"),
        ("MAX_TRIES", "50"),
        // A worker that dies has some of the refunds, not all of them.
        ("WORKER_CONCURRENCY", "16"),
    ])
    .await;
    let (api, steady) = tokio::join!(fleet.start("api"), fleet.start("worker"));
    let api = Api::new(api.api).beyond_the_description();
    let payment = paid(&api).await;
    let sent = join_all((0..REFUNDS).map(|number| refund(&api, payment, number)));
    let (statuses, kills) = tokio::join!(sent, kill_workers(&fleet, &api, payment));
    let accepted = statuses.iter().filter(|status| **status == 202).count();
    let refused = statuses
        .iter()
        .filter(|status| [409, 422].contains(*status));
    assert_eq!((accepted, refused.count()), (100, 100), "{statuses:?}");
    eventually("the last refund ends", || async {
        number_of(&refunds(&api, payment).await, "pending") == 0
    })
    .await;
    let listed = refunds(&api, payment).await;
    assert_eq!((listed.len(), number_of(&listed, "succeeded")), (100, 100));
    let shown = api.get(&format!("/payments/{payment}")).await;
    assert_eq!(shown["amount_refunded"], 100.0);
    let pool = MySqlPool::connect(&fleet.database).await.unwrap();
    let carried_out: Vec<(i64,)> = query_as(
        "SELECT amount_minor FROM issuer_operations WHERE kind = 'refund' AND executed_at IS NOT NULL",
    )
    .fetch_all(&pool)
    .await
    .unwrap();
    assert_eq!(carried_out, [(100,); 100]);
    assert!(kills > 0, "all refunds ended before a worker was killed");
    let survivor = steady.counter(metric::OPERATION_TRIES).await;
    println!("{kills} workers killed; the one that lived through it did {survivor} tries");
}
