//! The contract of both databases for the outbox and for forgotten payments.

use payment_service::broker::Lane;
use payment_service::domain::PaymentId;
use payment_service::store::rows::{Content, Fact, OutboxId, OutboxRow};
use payment_service::store::{OutboxDepth, Store};
use time::Duration;

use super::samples::*;

pub async fn an_outbox_row_is_read_as_it_was_written(database: Store) {
    let mut publication = message_in(&outbox(None, seconds(1))).clone();
    publication.body = "é\"\\😀".repeat(30_000);
    let long = OutboxRow {
        content: Content::Message(publication),
        ..outbox(None, seconds(1))
    };
    let due = Fact::Try {
        attempt: 2,
        try_number: 3,
        postponed: 1,
    };
    let rows = [outbox(Some(1), NOON), long, fact(2, NOON, due)];
    keep_outbox(&database, &rows).await;
    let mut tx = begin(&database).await;
    assert_eq!(
        tx.lock_due_outbox(Lane::Work, seconds(1), 10)
            .await
            .unwrap(),
        rows
    );
}

pub async fn due_rows_are_found_oldest_first_and_later_ones_are_not(database: Store) {
    let rows: Vec<_> = [3, 1, 2, 60].map(|at| outbox(Some(at), seconds(at))).into();
    keep_outbox(&database, &rows).await;
    let due = async |now, limit| -> Vec<OutboxId> {
        let mut tx = begin(&database).await;
        let due = tx.lock_due_outbox(Lane::Work, now, limit).await.unwrap();
        // A dropped transaction may hold its rows for a moment, and locked rows are skipped.
        tx.commit().await.unwrap();
        due.into_iter().map(|row| row.id).collect()
    };
    assert_eq!(due(seconds(0), 10).await, []);
    assert_eq!(
        due(seconds(3), 10).await,
        [rows[1].id, rows[2].id, rows[0].id]
    );
    assert_eq!(due(seconds(59), 2).await, [rows[1].id, rows[2].id]);
}

pub async fn postponed_rows_are_not_due(database: Store) {
    let rows = [outbox(Some(1), seconds(1)), outbox(Some(2), seconds(2))];
    keep_outbox(&database, &rows).await;
    let mut tx = begin(&database).await;
    let due = tx.lock_due_outbox(Lane::Work, seconds(5), 1).await.unwrap();
    tx.postpone_outbox(&[due[0].id], seconds(35)).await.unwrap();
    tx.commit().await.unwrap();

    let mut tx = begin(&database).await;
    let due = tx
        .lock_due_outbox(Lane::Work, seconds(5), 10)
        .await
        .unwrap();
    assert_eq!(due, [rows[1].clone()]);
    let all = tx
        .lock_due_outbox(Lane::Work, seconds(35), 10)
        .await
        .unwrap();
    assert_eq!(all.len(), 2);
    assert_eq!(all[1].due_at, seconds(35));
}

pub async fn deleting_rows_ignores_missing_ones(database: Store) {
    let rows: Vec<_> = (1..=5).map(|id| outbox(Some(id), NOON)).collect();
    keep_outbox(&database, &rows).await;
    let mut wanted: Vec<_> = rows[..4].iter().map(|row| row.id).collect();
    wanted.reverse();
    wanted.push(outbox(None, NOON).id);
    for _ in 0..2 {
        let mut tx = begin(&database).await;
        tx.delete_outbox(&wanted).await.unwrap();
        tx.delete_outbox(&[]).await.unwrap();
        tx.commit().await.unwrap();
    }
    let mut tx = begin(&database).await;
    let left = tx.lock_due_outbox(Lane::Work, NOON, 10).await.unwrap();
    assert_eq!(left, rows[4..]);
}

pub async fn the_depth_counts_due_rows_by_the_databases_clock(database: Store) {
    assert_eq!(
        database.outbox_depth().await.unwrap(),
        OutboxDepth::default()
    );
    let now = begin(&database).await.now();
    assert_eq!(now.nanosecond() % 1000, 0, "to the microsecond");
    let distance = (time::OffsetDateTime::now_utc() - now).abs();
    assert!(distance < Duration::minutes(1), "{now} is not UTC");
    let due_in = |minutes| outbox(None, now + Duration::minutes(minutes));
    let of_payment = outbox(Some(7), now + Duration::minutes(2));
    keep_outbox(&database, &[due_in(-60), due_in(-1), of_payment]).await;
    let expected = OutboxDepth {
        total: 3,
        due: 2,
        of_payments: 1,
        quarantined: 0,
    };
    assert_eq!(database.outbox_depth().await.unwrap(), expected);
}

pub async fn forgotten_payments_are_overdue_and_have_no_outbox_row(database: Store) {
    let rows = [
        processing(1, seconds(3)),
        processing(2, seconds(1)),
        processing(3, seconds(2)),
        processing(4, seconds(60)),
        payment(5),
    ];
    keep(&database, &rows).await;
    let delayed = outbox(Some(2), seconds(600));
    keep_outbox(&database, &[delayed.clone(), outbox(None, NOON)]).await;
    let forgotten = async |limit| {
        let mut tx = begin(&database).await;
        let found = tx.lock_forgotten_payments(seconds(10), limit).await;
        // A dropped transaction may hold its rows for a moment, and locked rows are skipped.
        tx.commit().await.unwrap();
        ids(&found.unwrap())
    };
    let mut found = forgotten(10).await;
    found.sort_unstable();
    assert_eq!(found, [1, 3]);
    assert_eq!(forgotten(1).await, [3], "the one that has waited longest");

    let mut tx = begin(&database).await;
    tx.delete_outbox(&[delayed.id]).await.unwrap();
    tx.commit().await.unwrap();
    assert_eq!(forgotten(1).await, [2]);
    assert_eq!(read(&database, 2).await.unwrap().payment.id, PaymentId(2));
}
