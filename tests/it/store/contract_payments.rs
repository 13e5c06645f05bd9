//! The contract of both databases for payments and their histories.

use payment_service::domain::{
    DeclineCode, EventKind, PaymentId, PaymentStatus, PendingOutcome, Phase,
};
use payment_service::store::rows::StoredPayment;
use payment_service::store::{Store, StoreError};
use payment_service::vault::SealedCard;

use super::samples::*;

pub async fn a_payment_is_read_as_it_was_written(database: Store) {
    let rows = [payment(1), full(2), processing(3, seconds(5))];
    keep(&database, &rows).await;
    for row in rows {
        assert_eq!(read(&database, row.payment.id.0).await, Some(row));
    }
    assert_eq!(read(&database, 4).await, None);
}

pub async fn an_update_writes_only_the_columns_that_can_change(database: Store) {
    keep(&database, &[payment(1), full(2), payment(3)]).await;
    // Everything of the other row, under this row's id.
    let taken_from = |id: i64, other: StoredPayment| {
        let mut row = other;
        row.payment.id = PaymentId(id);
        row
    };
    let (mut up, down) = (taken_from(1, full(2)), taken_from(2, payment(1)));
    up.pending = Some(PendingOutcome::Declined {
        code: DeclineCode::new("d".repeat(64)),
    });
    let mut tx = begin(&database).await;
    tx.lock_payments(&[PaymentId(1), PaymentId(2)])
        .await
        .unwrap();
    tx.update_payments(&[up.clone(), down.clone()])
        .await
        .unwrap();
    tx.commit().await.unwrap();
    for (changed, before) in [(up, payment(1)), (down, full(2))] {
        let kept = read(&database, before.payment.id.0).await.unwrap();
        let mut expected = changed;
        expected.payment.client = before.payment.client;
        expected.payment.order_id = before.payment.order_id;
        expected.payment.user_id = before.payment.user_id;
        expected.payment.amount = before.payment.amount;
        expected.payment.metadata = before.payment.metadata;
        expected.payment.return_url = before.payment.return_url;
        expected.payment.created_at = before.payment.created_at;
        expected.idempotency = before.idempotency;
        expected.origin = before.origin;
        assert_eq!(kept, expected);
    }
    assert_eq!(read(&database, 3).await, Some(payment(3)));
}

/// How this payment ends, by its number.
fn ended(number: i64) -> StoredPayment {
    let mut row = processing(number, NOON);
    row.sealed_card = None;
    row.check_at = None;
    let payment = &mut row.payment;
    payment.sequence = 3;
    payment.updated_at = seconds(number % 2);
    if number % 16 == 5 {
        // Nearly all of these end differently.
        payment.status = PaymentStatus::Declined;
        payment.decline_code = Some(DeclineCode::new(format!("code_{}", number % 48)));
        payment.attempt = u32::MAX / 2;
        row.try_number = 7;
        row.phase = Phase::Reverse;
        row.uncertain = true;
        row.pending = Some(PendingOutcome::Declined {
            code: DeclineCode::new("d".repeat(64)),
        });
    } else {
        payment.status = PaymentStatus::Succeeded;
        payment.authorization_code = Some(format!("'{number}\""));
    }
    row
}

pub async fn ended_payments_have_their_outcome_and_no_card(database: Store) {
    let neighbor = full(999);
    keep(&database, std::slice::from_ref(&neighbor)).await;
    for number in [0, 1, 2, 300] {
        let ids = 1000 * number..1000 * number + number;
        let mut before: Vec<_> = ids.clone().map(|id| processing(id, NOON)).collect();
        for row in &mut before {
            row.claimed_until = Some(seconds(30));
            row.payment.metadata = full(1).payment.metadata;
        }
        keep(&database, &before).await;
        let ended: Vec<_> = ids.clone().map(ended).collect();
        let mut tx = begin(&database).await;
        tx.lock_payments(&ids.clone().map(PaymentId).collect::<Vec<_>>())
            .await
            .unwrap();
        // Twice, as after a commit in doubt.
        tx.end_payments(&ended).await.unwrap();
        tx.end_payments(&ended).await.unwrap();
        tx.commit().await.unwrap();
        for (before, mut expected) in before.into_iter().zip(ended) {
            let id = before.payment.id.0;
            expected.payment.metadata = before.payment.metadata;
            if expected.payment.is_paid() {
                expected.payment.funds.captured = expected.payment.amount.minor();
            }
            assert_eq!(read(&database, id).await, Some(expected), "{number}: {id}");
        }
    }
    assert_eq!(read(&database, 999).await, Some(neighbor));
}

pub async fn values_that_are_too_long_are_rejected_and_never_cut(database: Store) {
    let spoil: [fn(&mut StoredPayment); 5] = [
        |row| row.payment.decline_code = Some(DeclineCode::new("d".repeat(65))),
        |row| row.payment.decline_code = Some(DeclineCode::new("d".repeat(10_000))),
        |row| row.payment.authorization_code = Some("a".repeat(65)),
        |row| row.sealed_card = Some(SealedCard(vec![0; 1025])),
        |row| row.origin.correlation_id = Some("c".repeat(70_000)),
    ];
    for (number, spoil) in spoil.into_iter().enumerate() {
        let mut bad = full(2);
        spoil(&mut bad);
        let mut tx = begin(&database).await;
        let refused = tx.insert_payments(&[payment(1), bad]).await;
        assert!(
            matches!(refused, Err(StoreError::Rejected(_))),
            "insert {number}: {refused:?}"
        );
        drop(tx);
        assert_eq!(read(&database, 1).await, None);
    }
    keep(&database, &[payment(1)]).await;
    for (number, spoil) in spoil[..4].iter().enumerate() {
        let mut bad = payment(1);
        spoil(&mut bad);
        let mut tx = begin(&database).await;
        let refused = tx.update_payments(&[bad]).await;
        assert!(
            matches!(refused, Err(StoreError::Rejected(_))),
            "update {number}: {refused:?}"
        );
    }
    for (number, spoil) in spoil[..3].iter().enumerate() {
        let mut bad = payment(1);
        spoil(&mut bad);
        let mut tx = begin(&database).await;
        let refused = tx.end_payments(&[bad]).await;
        assert!(
            matches!(refused, Err(StoreError::Rejected(_))),
            "end {number}: {refused:?}"
        );
    }
    assert_eq!(read(&database, 1).await, Some(payment(1)));
}

pub async fn a_dropped_transaction_is_rolled_back(database: Store) {
    keep(&database, &[payment(1)]).await;
    let mut tx = begin(&database).await;
    tx.insert_payments(&[payment(2)]).await.unwrap();
    tx.update_payments(&[processing(1, NOON)]).await.unwrap();
    tx.insert_events(&[event(1, 1)]).await.unwrap();
    drop(tx);
    // The next transaction waits for the locks of the dropped one, if it must.
    let mut tx = begin(&database).await;
    let locked = tx
        .lock_payments(&[PaymentId(1), PaymentId(2)])
        .await
        .unwrap();
    assert_eq!(locked, [payment(1)]);
    drop(tx);
    assert_eq!(database.events(PaymentId(1)).await.unwrap(), []);
}

pub async fn a_second_payment_under_a_key_is_skipped_and_the_first_can_be_read(database: Store) {
    keep(&database, &[with_key(1, "order-1")]).await;
    let mut foreign = with_key(4, "order-1");
    foreign.payment.client = client("other");
    let mut tx = begin(&database).await;
    let rows = [
        with_key(2, "order-1"),
        with_key(3, "ORDER-1"),
        foreign,
        payment(5),
        payment(6),
    ];
    tx.insert_payments(&rows).await.unwrap();
    let ours = client("store-manager");
    let keys = [
        (ours.clone(), "order-1".to_owned()),
        (ours.clone(), "ORDER-1".to_owned()),
        (client("other"), "order-1".to_owned()),
        (ours.clone(), "order-1 ".to_owned()),
        (ours.clone(), "unknown".to_owned()),
    ];
    let mut owners = tx.payment_ids_by_key(&keys).await.unwrap();
    let mut found = ids(&tx.payments_by_key(&keys).await.unwrap());
    found.sort_unstable();
    owners.sort_unstable();
    assert_eq!(found, [1, 3, 4]);
    assert_eq!(owners, [1, 3, 4].map(PaymentId));
    tx.commit().await.unwrap();

    assert_eq!(read(&database, 2).await, None);
    for id in [5, 6] {
        assert!(read(&database, id).await.is_some(), "no key, no conflict");
    }
    let by_key = database.payment_by_key(&ours, "order-1").await.unwrap();
    assert_eq!(by_key, Some(with_key(1, "order-1")));
    assert_eq!(
        database.payment_by_key(&ours, "order-1 ").await.unwrap(),
        None
    );
}

pub async fn writing_the_same_rows_again_changes_nothing(database: Store) {
    let (row, history) = (with_key(1, "again"), [event(1, 1), event(1, 2)]);
    let (message, card_token) = (outbox(Some(1), NOON), token("tok_again"));
    for _ in 0..2 {
        let mut tx = begin(&database).await;
        tx.insert_payments(std::slice::from_ref(&row))
            .await
            .unwrap();
        tx.insert_events(&history).await.unwrap();
        tx.insert_outbox(std::slice::from_ref(&message))
            .await
            .unwrap();
        tx.insert_tokens(std::slice::from_ref(&card_token))
            .await
            .unwrap();
        tx.commit().await.unwrap();
    }
    assert_eq!(read(&database, 1).await, Some(row));
    assert_eq!(database.events(PaymentId(1)).await.unwrap(), history);
    assert_eq!(database.outbox_depth().await.unwrap().total, 1);
}

pub async fn histories_are_read_by_sequence(database: Store) {
    let mut first = event(1, 1);
    first.kind = EventKind::Accepted;
    first.reason = None;
    let (second, other) = (event(1, 2), event(2, 1));
    let mut tx = begin(&database).await;
    tx.insert_events(&[second.clone(), other.clone(), first.clone()])
        .await
        .unwrap();
    let asked = [
        (PaymentId(1), second.id),
        (PaymentId(1), event(1, 3).id),
        (PaymentId(2), other.id),
    ];
    let mut existing = tx.existing_events(&asked).await.unwrap();
    existing.sort_unstable();
    let mut expected = [second.id, other.id];
    expected.sort_unstable();
    assert_eq!(existing, expected);
    tx.commit().await.unwrap();
    assert_eq!(
        database.events(PaymentId(1)).await.unwrap(),
        [first, second]
    );
    assert_eq!(database.events(PaymentId(3)).await.unwrap(), []);
}

pub async fn another_event_under_the_same_sequence_is_rejected(database: Store) {
    let kept = event(1, 1);
    for (refused, row) in [(false, kept.clone()), (true, event(1, 1))] {
        let mut tx = begin(&database).await;
        let result = tx.insert_events(&[row, event(2, 1)]).await;
        if refused {
            assert!(matches!(result, Err(StoreError::Rejected(_))), "{result:?}");
        } else {
            result.unwrap();
            let mut again = event(1, 1);
            again.id = kept.id;
            tx.insert_events(&[again]).await.unwrap();
            tx.commit().await.unwrap();
        }
    }
    assert_eq!(database.events(PaymentId(1)).await.unwrap(), [kept]);
}

pub async fn locked_payments_come_in_the_order_of_their_ids(database: Store) {
    keep(&database, &[payment(3), payment(1), payment(2)]).await;
    let mut tx = begin(&database).await;
    let wanted = [3, 9, 1, 2, 3].map(PaymentId);
    let locked = tx.lock_payments(&wanted).await.unwrap();
    assert_eq!(ids(&locked), [1, 2, 3]);
    assert_eq!(tx.lock_payments(&[]).await.unwrap(), []);
}

pub async fn a_claim_is_kept_until_it_expires(database: Store) {
    let rows = [processing(1, NOON), processing(2, NOON)];
    keep(&database, &rows).await;
    let mut tx = begin(&database).await;
    tx.lock_payments(&[PaymentId(2)]).await.unwrap();
    tx.claim_payments(&[PaymentId(2)], seconds(30))
        .await
        .unwrap();
    tx.commit().await.unwrap();
    let mut claimed = rows[1].clone();
    claimed.claimed_until = Some(seconds(30));
    assert_eq!(read(&database, 1).await, Some(rows[0].clone()));
    assert_eq!(read(&database, 2).await, Some(claimed));
}

pub async fn every_status_and_phase_can_be_stored(database: Store) {
    for (id, status) in (1..).zip(PaymentStatus::ALL) {
        for (offset, phase) in [(0, Phase::Authorize), (100, Phase::Reverse)] {
            let mut row = payment(id + offset);
            row.payment.status = status;
            if status == PaymentStatus::Succeeded {
                row.payment.funds.captured = row.payment.amount.minor();
            }
            row.phase = phase;
            keep(&database, std::slice::from_ref(&row)).await;
            assert_eq!(read(&database, id + offset).await, Some(row));
        }
    }
}
