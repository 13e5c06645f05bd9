//! Tries that wait at the same time are published in one message, and each is made once.

use std::time::{Duration, Instant};

use futures::future::join_all;
use payment_service::broker::{Consumer, Delivery, Publication, Queue};
use payment_service::config::Role;
use payment_service::domain::{ClientName, PaymentId};
use payment_service::wire::work::{WorkGroup, WorkMessage};

use super::processes::PROGRAM;
use crate::app::{Backend, Setup, TestApp, eventually, eventually_within, on_both, run_on};
use crate::support::process::Process;

const TOGETHER: i64 = 32;

/// A busy machine must not make a try fail.
fn patient() -> Setup {
    Setup::new().with("PROCESSOR_TIMEOUT", "5s")
}

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
    let setup = patient().with("WORK_TRIES", "2");
    on_both(setup, |app| async move {
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
    let setup = patient().without_worker();
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

/// One slow try and seven fast ones.
const GROUPS: i64 = 8;

/// With four places for groups, and permits for all slow tries.
fn few_places() -> Setup {
    patient()
        .with("WORKER_CONCURRENCY", "12")
        .with("MAX_TRIES", "2")
        .with("RETRY_INITIAL", "1h")
        .with("RETRY_MAX_INTERVAL", "1h")
}

/// Payments whose first try has failed and whose second one waits for a message: slow ones and fast ones.
async fn due_for_a_second_try(app: &TestApp) -> (Vec<i64>, Vec<i64>) {
    let slow = (1..=GROUPS).map(|order| app.api.pay(order, "tok_issuer_silent"));
    let fast = (1..=7 * GROUPS).map(|order| app.api.pay(100 + order, "tok_issuer_down_1"));
    let (slow, fast) = tokio::join!(join_all(slow), join_all(fast));
    let failed = "DELETE FROM outbox WHERE publication LIKE '%\"try\":2%'";
    let mut waiting = 0;
    while waiting < 8 * GROUPS.unsigned_abs() {
        waiting += app.execute(failed).await;
        tokio::task::yield_now().await;
    }
    (slow, fast)
}

/// The second tries of these payments in one message.
fn group_of(ids: &[i64]) -> Publication {
    let work = |id: &i64| {
        let work = WorkMessage {
            payment_id: PaymentId(*id),
            attempt: 1,
            try_number: 2,
        };
        work.publication(&ClientName::parse("default").unwrap(), None)
    };
    let tries: Vec<Publication> = ids.iter().map(work).collect();
    let tries: Vec<&Publication> = tries.iter().collect();
    WorkGroup::publication(&tries).unwrap()
}

/// Publishes each of the slow ones in a message with seven of the fast ones.
async fn publish_groups(app: &TestApp, slow: &[i64], fast: &[i64]) {
    let groups: Vec<Publication> = slow
        .iter()
        .zip(fast.chunks_exact(7))
        .map(|(slow, fast)| group_of(&[&[*slow], fast].concat()))
        .collect();
    assert!(app.broker.publish(&groups).await.iter().all(Result::is_ok));
}

#[tokio::test]
async fn slow_tries_leave_their_groups_while_permits_are_free() {
    on_both(few_places(), |app| async move {
        let (slow, fast) = due_for_a_second_try(&app).await;
        publish_groups(&app, &slow, &fast).await;
        let paid = "UPDATE payments SET phase = phase WHERE status = 'succeeded'";
        eventually("the fast ones are paid", || async {
            app.execute(paid).await == 7 * GROUPS.unsigned_abs()
        })
        .await;
        for id in &slow {
            let expected = ["accepted", "attempt_started", "try_failed"];
            assert_eq!(app.api.history(*id).await, expected, "a slow one has ended");
        }

        // Long before the claims end, and with them the rows of the tries that have left.
        let soon = Duration::from_secs(9);
        eventually_within(soon, "each slow one has ended, and has one row", || async {
            let reversals =
                "UPDATE outbox SET due_at = due_at WHERE publication LIKE '%\"try\":3%'";
            let rows = app.database.outbox_depth().await.unwrap().total;
            rows == app.execute(reversals).await && rows == GROUPS.unsigned_abs()
        })
        .await;
        app.execute("UPDATE outbox SET due_at = '2020-01-01 00:00:00.000000'")
            .await;
        for id in slow {
            assert_eq!(app.api.outcome(id).await["status"], "failed");
            assert_eq!(app.standing_charges(id).await, 0);
        }
    })
    .await;
}

/// Rows of tries that have left their groups.
const LEFT: &str = "UPDATE outbox SET due_at = due_at WHERE publication LIKE '%\"try\":2%'";

/// A worker's process, with some tries that have left their groups; and the slow and the fast payments.
async fn a_worker_with_slow_tries(app: &TestApp) -> (Process, Vec<i64>, Vec<i64>) {
    let worker = Process::start(PROGRAM, "worker", &app.settings()).await;
    let (slow, fast) = due_for_a_second_try(app).await;
    publish_groups(app, &slow, &fast).await;
    eventually("some have left their groups", || async {
        app.execute(LEFT).await > 0
    })
    .await;
    (worker, slow, fast)
}

/// Another worker makes what is left to do. No try is made by the rescue, which would wait for an hour.
async fn another_worker_ends_them(app: &TestApp, slow: &[i64], fast: &[i64]) {
    app.another(Role::Worker).await;
    let hour_long = "UPDATE outbox SET due_at = UTC_TIMESTAMP(6) WHERE due_at > UTC_TIMESTAMP(6) + INTERVAL 1 MINUTE";
    let failed = "UPDATE payments SET phase = phase WHERE status = 'failed'";
    eventually("each slow one was reversed", || async {
        app.execute(hour_long).await;
        app.execute(failed).await == GROUPS.unsigned_abs()
    })
    .await;
    for id in slow {
        assert_eq!(app.standing_charges(*id).await, 0);
        let history = app.api.history(*id).await;
        let tries = history.iter().filter(|kind| *kind == "try_failed").count();
        assert_eq!(tries, 1, "{history:?}");
    }
    for id in fast {
        assert_eq!(app.api.outcome(*id).await["status"], "succeeded");
        assert_eq!(app.standing_charges(*id).await, 1);
    }
}

fn with_a_process() -> Setup {
    let setup = few_places().with("PROCESSOR_TIMEOUT", "2s");
    setup.without_worker()
}

#[tokio::test]
async fn a_try_that_has_left_its_group_is_repeated_if_its_worker_dies() {
    run_on(with_a_process(), Backend::Servers, |app| async move {
        let (mut worker, slow, fast) = a_worker_with_slow_tries(&app).await;
        worker.kill();
        another_worker_ends_them(&app, &slow, &fast).await;
    })
    .await;
}

#[tokio::test]
async fn a_worker_that_is_told_to_stop_records_tries_that_have_left_their_groups() {
    run_on(with_a_process(), Backend::Servers, |app| async move {
        let (mut worker, slow, fast) = a_worker_with_slow_tries(&app).await;
        assert!(worker.stop(), "it exits with 0");
        assert_eq!(app.execute(LEFT).await, 0, "they are not left to others");
        another_worker_ends_them(&app, &slow, &fast).await;
    })
    .await;
}
