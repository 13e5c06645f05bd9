//! The contract of both databases for lists.

use payment_service::domain::{CaptureMethod, OrderId, PaymentStatus, UserId};
use payment_service::store::Store;
use payment_service::store::rows::{PaymentFilter, StoredPayment};

use super::samples::*;

fn everything() -> PaymentFilter {
    PaymentFilter {
        client: client("store-manager"),
        order_id: None,
        user_id: None,
        status: None,
        before: None,
        limit: 101,
    }
}

/// Ids 1 to 60: three of each second, orders 0 to 3, users 0 to 4, every fifth one declined, every seventh another
/// client's.
fn sixty() -> Vec<StoredPayment> {
    let row = |id: i64| {
        let mut row = payment(id);
        row.payment.created_at = seconds(id / 3);
        row.payment.order_id = OrderId(id % 4);
        row.payment.user_id = UserId(id % 5);
        if id % 5 == 0 {
            row.payment.status = PaymentStatus::Declined;
        }
        if id % 7 == 0 {
            row.payment.client = client("other");
        }
        row
    };
    (1..=60).map(row).collect()
}

fn expected(keep: impl Fn(i64) -> bool) -> Vec<i64> {
    (1..=60)
        .rev()
        .filter(|id| id % 7 != 0 && keep(*id))
        .collect()
}

pub async fn lists_are_filtered_and_sorted_newest_first(database: Store) {
    keep(&database, &sixty()).await;
    let list = async |filter: PaymentFilter| ids(&database.payments(&filter).await.unwrap());
    let all = everything;
    assert_eq!(list(all()).await, expected(|_| true));
    let order_id = Some(OrderId(3));
    let user_id = Some(UserId(2));
    let status = Some(PaymentStatus::Declined);
    let by_order = list(PaymentFilter { order_id, ..all() }).await;
    assert_eq!(by_order, expected(|id| id % 4 == 3));
    let by_user = list(PaymentFilter { user_id, ..all() }).await;
    assert_eq!(by_user, expected(|id| id % 5 == 2));
    let by_status = list(PaymentFilter { status, ..all() }).await;
    assert_eq!(by_status, expected(|id| id % 5 == 0));
    let by_both = PaymentFilter {
        order_id,
        user_id,
        ..all()
    };
    assert_eq!(list(by_both).await, expected(|id| id % 20 == 7));
    let by_order_and_status = PaymentFilter {
        order_id,
        status,
        ..all()
    };
    assert_eq!(
        list(by_order_and_status).await,
        expected(|id| id % 20 == 15)
    );
    let client = client("nobody");
    assert!(list(PaymentFilter { client, ..all() }).await.is_empty());
}

pub async fn payments_that_are_kept_apart_are_listed_by_status_with_all_others(database: Store) {
    let mut rows = sixty();
    for row in rows.iter_mut().filter(|row| row.payment.id.0 % 2 == 0) {
        row.payment.funds.capture_method = CaptureMethod::Manual;
    }
    keep(&database, &rows).await;
    let mut filter = PaymentFilter {
        status: Some(PaymentStatus::Declined),
        limit: 3,
        ..everything()
    };
    let mut seen = Vec::new();
    loop {
        let page = database.payments(&filter).await.unwrap();
        let Some(last) = page.last() else { break };
        filter.before = Some((last.payment.created_at, last.payment.id));
        seen.extend(ids(&page));
    }
    assert_eq!(seen, expected(|id| id % 5 == 0));
}

pub async fn pages_have_no_gaps_and_no_repeats(database: Store) {
    keep(&database, &sixty()).await;
    for (order, limit) in [(None, 1), (None, 7), (Some(2), 2), (None, 100)] {
        let mut filter = PaymentFilter {
            order_id: order.map(OrderId),
            limit,
            ..everything()
        };
        let mut seen = Vec::new();
        loop {
            let page = database.payments(&filter).await.unwrap();
            assert!(page.len() <= limit as usize);
            let Some(last) = page.last() else { break };
            filter.before = Some((last.payment.created_at, last.payment.id));
            seen.extend(ids(&page));
        }
        let of_order = |id: i64| order.is_none_or(|order| id % 4 == order);
        assert_eq!(seen, expected(of_order), "{limit} at a time");
    }
}

pub async fn it_can_be_told_whether_other_clients_have_payments(database: Store) {
    let ours = client("store-manager");
    assert!(!database.holds_others_than(&ours).await.unwrap());
    keep(&database, &[payment(1)]).await;
    assert!(!database.holds_others_than(&ours).await.unwrap());
    for name in ["a", "z"] {
        assert!(database.holds_others_than(&client(name)).await.unwrap());
    }
}
