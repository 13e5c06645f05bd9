//! Tests that only servers allow: concurrent transactions.

use std::time::Duration;

use futures::future::join_all;
use payment_service::broker::Lane;
use payment_service::domain::PaymentId;
use payment_service::payments::claim::Claim;
use payment_service::payments::commands::Commands;
use payment_service::payments::leases::Leases;
use payment_service::store::ids::IdSpace;
use payment_service::store::mysql::parse_url;
use payment_service::store::rows::{OutboxId, OutboxRow};
use payment_service::store::{Store, StoreError};
use payment_service::wire::work::WorkMessage;
use sqlx::{Connection, MySqlConnection};
use tokio::time::timeout;

use super::samples::*;
use crate::support::servers::fresh_database;

async fn ready() -> (Store, String) {
    let url = fresh_database().await.unwrap().to_string();
    let database = Store::mysql(parse_url(&url).unwrap(), 10);
    database.migrate().await.unwrap();
    (database, url)
}

#[tokio::test]
async fn the_second_transaction_under_one_key_waits_and_finds_the_payment_of_the_first() {
    let (database, _) = ready().await;
    let mut first = begin(&database).await;
    first.insert_payments(&[with_key(1, "race")]).await.unwrap();
    let second = tokio::spawn({
        let database = database.clone();
        async move {
            let mut tx = begin(&database).await;
            tx.insert_payments(&[with_key(2, "race"), payment(3)])
                .await
                .unwrap();
            let key = (client("store-manager"), "race".to_owned());
            let found = tx.payments_by_key(&[key]).await.unwrap();
            tx.commit().await.unwrap();
            ids(&found)
        }
    });
    becomes_blocked(&second).await;
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap(), [1]);
    assert!(read(&database, 3).await.is_some());
}

#[tokio::test]
async fn a_lock_covers_its_rows_and_no_others() {
    let (database, _) = ready().await;
    let rows: Vec<_> = (1..=10).map(payment).collect();
    keep(&database, &rows).await;
    let mut first = begin(&database).await;
    first
        .lock_payments(&[PaymentId(2), PaymentId(3)])
        .await
        .unwrap();
    let mut others = begin(&database).await;
    let neighbours = [1, 4, 5, 6, 7, 8, 9, 10].map(PaymentId);
    let locked = timeout(Duration::from_secs(3), others.lock_payments(&neighbours)).await;
    assert_eq!(locked.unwrap().unwrap().len(), 8);
    drop(others);

    let second = tokio::spawn({
        let database = database.clone();
        async move {
            let mut tx = begin(&database).await;
            tx.lock_payments(&[PaymentId(3), PaymentId(4)])
                .await
                .unwrap()
        }
    });
    becomes_blocked(&second).await;
    first.update_payments(&[processing(3, NOON)]).await.unwrap();
    first.commit().await.unwrap();
    assert_eq!(second.await.unwrap()[0], processing(3, NOON));
}

#[tokio::test]
async fn a_deadlock_is_a_conflict_that_can_be_retried() {
    let (database, _) = ready().await;
    keep(&database, &[payment(1), payment(2)]).await;
    let mut first = begin(&database).await;
    let mut second = begin(&database).await;
    first.lock_payments(&[PaymentId(1)]).await.unwrap();
    second.lock_payments(&[PaymentId(2)]).await.unwrap();
    let (one, other) = ([PaymentId(2)], [PaymentId(1)]);
    let results = tokio::join!(first.lock_payments(&one), async {
        let result = second.lock_payments(&other).await;
        // The transaction chosen as the victim is rolled back.
        drop(second);
        result
    });
    let conflicts = [results.0.is_err(), results.1.is_err()];
    assert!(conflicts.contains(&true));
    for result in [results.0, results.1] {
        assert!(matches!(result, Ok(_) | Err(StoreError::Conflict(_))));
    }
}

#[tokio::test]
async fn two_sweepers_take_different_rows_without_waiting() {
    let (database, _) = ready().await;
    let rows: Vec<_> = (1..=20).map(|at| outbox(Some(at), seconds(at))).collect();
    keep_outbox(&database, &rows).await;
    let id = |row: &OutboxRow| row.id;
    let mut first = begin(&database).await;
    let mut second = begin(&database).await;
    let taken = first
        .lock_due_outbox(Lane::Work, seconds(60), 5)
        .await
        .unwrap();
    let rest = timeout(
        Duration::from_secs(3),
        second.lock_due_outbox(Lane::Work, seconds(60), 100),
    );
    let rest = rest.await.unwrap().unwrap();
    let expected: Vec<OutboxId> = rows.iter().map(id).collect();
    assert_eq!(taken.iter().map(id).collect::<Vec<_>>(), expected[..5]);
    assert_eq!(rest.iter().map(id).collect::<Vec<_>>(), expected[5..]);
    // What one has published is deleted while the other still holds its rows.
    second.delete_outbox(&expected[5..]).await.unwrap();
    second.commit().await.unwrap();
    first
        .postpone_outbox(&expected[..5], seconds(90))
        .await
        .unwrap();
    first.commit().await.unwrap();
    assert_eq!(database.outbox_depth().await.unwrap().total, 5);
}

#[tokio::test]
async fn a_forgotten_payment_that_is_locked_is_skipped() {
    let (database, _) = ready().await;
    keep(&database, &[processing(1, NOON), processing(2, NOON)]).await;
    let mut worker = begin(&database).await;
    worker.lock_payments(&[PaymentId(1)]).await.unwrap();
    let mut net = begin(&database).await;
    let found = timeout(
        Duration::from_secs(3),
        net.lock_forgotten_payments(seconds(1), 10),
    );
    assert_eq!(ids(&found.await.unwrap().unwrap()), [2]);
}

/// Every join of a statement with its rows must look each row up: a scan would lock the whole table.
#[tokio::test]
async fn joins_with_the_given_rows_never_scan_a_table_small_or_large() {
    let (database, url) = ready().await;
    let mut connection = MySqlConnection::connect(&url).await.unwrap();
    for rows in [0, 1, 3000] {
        let payments: Vec<_> = (1..=rows).map(|id| processing(id, NOON)).collect();
        let messages: Vec<_> = (1..=rows).map(|id| outbox(Some(id), NOON)).collect();
        keep(&database, &payments).await;
        keep_outbox(&database, &messages).await;
        sqlx::raw_sql("ANALYZE TABLE payments, outbox")
            .execute(&mut connection)
            .await
            .unwrap();
        // All rows but one are locked by one transaction; the other must reach its row without touching them.
        let (last_payment, last_row) = (processing(rows + 1, NOON), outbox(None, NOON));
        keep(&database, std::slice::from_ref(&last_payment)).await;
        keep_outbox(&database, std::slice::from_ref(&last_row)).await;
        let mut holder = begin(&database).await;
        let held: Vec<_> = payments.iter().map(|row| row.payment.id).collect();
        holder.lock_payments(&held).await.unwrap();
        let held: Vec<_> = messages.iter().map(|row| row.id).collect();
        holder.postpone_outbox(&held, seconds(5)).await.unwrap();

        let mut tx = begin(&database).await;
        let id = [last_payment.payment.id];
        let free = async {
            tx.lock_payments(&id).await?;
            tx.update_payments(std::slice::from_ref(&last_payment))
                .await?;
            tx.end_payments(&[last_payment]).await?;
            tx.claim_payments(&id, NOON).await?;
            tx.postpone_outbox(&[last_row.id], NOON).await?;
            tx.delete_outbox(&[last_row.id]).await
        };
        let free = timeout(Duration::from_secs(3), free).await;
        free.unwrap_or_else(|_| panic!("blocked by {rows} other rows"))
            .unwrap();
        drop((tx, holder));
        sqlx::raw_sql("DELETE FROM payments; DELETE FROM outbox")
            .execute(&mut connection)
            .await
            .unwrap();
    }
}

/// Blocking can be seen only by waiting; a machine that is too slow to get there makes the test pass, not fail.
async fn becomes_blocked<T>(task: &tokio::task::JoinHandle<T>) {
    for _ in 0..30 {
        assert!(!task.is_finished(), "it did not wait");
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

/// As by a process that was stopped in the middle of a transaction: its connection stays, and so do its locks.
#[tokio::test]
async fn a_payment_locked_by_another_process_delays_no_claim_of_others() {
    let (database, _) = ready().await;
    let rows: Vec<_> = (1..=60).map(|id| processing(id, NOON)).collect();
    keep(&database, &rows).await;
    let hour = Duration::from_secs(3600);
    let leases = Leases {
        outbox: hour,
        claim: hour,
        check: hour,
    };
    let ids = IdSpace {
        first: 100,
        last: 200,
    };
    let (commands, _) = Commands::new(database.clone(), ids, leases);
    let mut stopped = begin(&database).await;
    stopped.lock_payments(&[PaymentId(7)]).await.unwrap();
    let claim = |id: i64| {
        let (commands, row) = (commands.clone(), &rows[0]);
        let work = WorkMessage {
            payment_id: PaymentId(id),
            attempt: row.payment.attempt,
            try_number: row.try_number,
        };
        async move { commands.claim(work).await.unwrap() }
    };
    let waits = tokio::spawn(claim(7));
    let others = (1..=50).filter(|id| *id != 7).map(claim);
    // One wait for the lock, which lasts five seconds, and what 49 transactions take.
    let claimed = timeout(Duration::from_secs(15), join_all(others)).await;
    let claimed = claimed.expect("nobody waits for the locked one");
    assert!(claimed.iter().all(|it| matches!(it, Claim::Taken(_))));
    for id in 51..=60 {
        let later = timeout(Duration::from_secs(3), claim(id)).await;
        assert!(matches!(later, Ok(Claim::Taken(_))), "{later:?}");
    }
    assert!(!waits.is_finished(), "it is locked");
    drop(stopped);
    let claimed = timeout(Duration::from_secs(20), waits).await;
    assert!(matches!(claimed, Ok(Ok(Claim::Taken(_)))), "{claimed:?}");
}
