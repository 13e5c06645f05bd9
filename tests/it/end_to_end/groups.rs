//! Tries that wait at the same time are published in one message, and each is made once.

use std::time::{Duration, Instant};

use futures::future::join_all;
use payment_service::broker::{Consumer, Delivery, Queue};
use payment_service::config::Role;
use payment_service::wire::work::WorkGroup;

use crate::app::{Backend, Setup, TestApp, eventually, on_both, run_on};

const TOGETHER: i64 = 32;

async fn pay_together(app: &TestApp) -> Vec<i64> {
    let paying = (1..=TOGETHER).map(|order| app.api.pay(order, "tok_visa"));
    join_all(paying).await
}

async fn each_is_paid_once(app: &TestApp, ids: &[i64]) {
    for id in ids {
        assert_eq!(app.api.outcome(*id).await["status"], "succeeded");
        assert_eq!(app.ledger(*id).await.len(), 1);
        let expected = ["accepted", "attempt_started", "succeeded"];
        assert_eq!(app.api.history(*id).await, expected);
    }
}

#[tokio::test]
async fn payments_created_at_the_same_moment_are_charged_once_each() {
    on_both(Setup::new().with("WORK_TRIES", "2"), |app| async move {
        // The relay checks every two seconds whether a worker consumes groups.
        let begun = Instant::now();
        while begun.elapsed() < Duration::from_secs(5) {
            let ids = pay_together(&app).await;
            each_is_paid_once(&app, &ids).await;
        }
    })
    .await;
}

/// Consumed as by a worker that dies.
async fn a_group(app: &TestApp, ids: &mut Vec<i64>) -> (Consumer, Delivery) {
    let mut consumer = app.broker.consume(Queue::WorkGroups, 1);
    loop {
        ids.extend(pay_together(app).await);
        let next = tokio::time::timeout(Duration::from_secs(1), consumer.deliveries.recv());
        if let Ok(group) = next.await {
            return (consumer, group.expect("not closed"));
        }
        assert!(ids.len() < 5_000, "no group ever comes");
    }
}

#[tokio::test]
async fn tries_travel_alone_without_workers_for_groups_and_a_redelivered_group_is_split() {
    let setup = Setup::new().without_worker();
    run_on(setup, Backend::Servers, |app| async move {
        let mut ids = pay_together(&app).await;
        eventually("all wait, each alone", || async {
            app.broker.depth(Queue::Work).await.unwrap() == TOGETHER.unsigned_abs()
        })
        .await;
        assert_eq!(app.broker.depth(Queue::WorkGroups).await.unwrap(), 0);

        let (consumer, group) = a_group(&app, &mut ids).await;
        let tries = WorkGroup::parse(&group.body).unwrap().tries;
        assert_eq!(tries.len(), 8);
        assert!(tries.iter().all(|it| ids.contains(&it.work.payment_id.0)));
        drop(consumer);
        group.settle.give_back().await;

        app.another(Role::Worker).await;
        each_is_paid_once(&app, &ids).await;
    })
    .await;
}
