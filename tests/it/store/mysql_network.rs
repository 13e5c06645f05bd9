//! Network faults between the service and the database, by a proxy.

use std::sync::Arc;
use std::time::{Duration, Instant};

use payment_service::domain::CaptureMethod;
use payment_service::domain::Origin;
use payment_service::domain::{ClientName, Currency, Metadata, Money, OrderId, PaymentId, UserId};
use payment_service::payments::accept::AcceptOutcome;
use payment_service::payments::commands::Commands;
use payment_service::payments::draft::NewPayment;
use payment_service::payments::leases::Leases;
use payment_service::payments::presented_card::PresentedCard;
use payment_service::payments::row_ids::RowIds;
use payment_service::store::ids::IdSpace;
use payment_service::store::mysql::parse_url;
use payment_service::store::rows::Idempotency;
use payment_service::store::{Store, StoreError};
use payment_service::vault::SealedCard;

use super::samples::{self, begin, read};
use crate::support::proxy::{Mode, Proxy, Trigger};
use crate::support::servers::fresh_database;

const LEASE: Duration = Duration::from_secs(60);

const LEASES: Leases = Leases {
    outbox: LEASE,
    claim: LEASE,
    check: LEASE,
};

async fn ready() -> (Proxy, Store) {
    // The proxy looks into what passes.
    let url = format!("{}?ssl-mode=DISABLED", &*fresh_database().await.unwrap());
    let proxy = Proxy::before(&url).unwrap();
    let database = Store::mysql(parse_url(&proxy.url(&url)).unwrap(), 5);
    database.migrate().await.unwrap();
    (proxy, database)
}

fn new_payment(id: PaymentId, key: &str) -> NewPayment {
    NewPayment {
        id,
        client: ClientName::parse("store-manager").unwrap(),
        order_id: OrderId(1),
        user_id: UserId(1),
        amount: Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap(),
        metadata: Metadata::default(),
        return_url: None,
        capture_method: CaptureMethod::Automatic,
        card: Some(PresentedCard {
            summary: samples::card().into(),
            sealed: SealedCard(vec![1, 2, 3]),
        }),
        token: None,
        idempotency: Some(Idempotency {
            key: key.to_owned(),
            fingerprint: [7; 32],
        }),
        origin: Origin::default(),
        announce: false,
        ids: RowIds::draw(),
    }
}

#[tokio::test]
async fn an_uncertain_commit_is_resolved_by_writing_again_and_written_once() {
    let (proxy, database) = ready().await;
    let space = IdSpace {
        first: 1,
        last: i64::from(i32::MAX),
    };
    let (commands, mut handed_over) = Commands::new(database.clone(), space, LEASES);
    let triggers = [
        Trigger::commit_not_answered(),
        Trigger::commit_not_delivered(),
    ];
    for (trigger, key) in triggers.into_iter().zip(["not answered", "not delivered"]) {
        let id = commands.next_payment_id().await.unwrap();
        let before = database.outbox_depth().await.unwrap().total;
        let tripped = proxy.cut_at(trigger);
        let accepted = commands.accept(new_payment(id, key)).await.unwrap();
        assert!(tripped.wait().await, "{key}");
        let AcceptOutcome::Accepted(payment) = accepted else {
            panic!("{key}: {accepted:?}")
        };
        assert_eq!(payment.id, id, "{key}");
        let work = handed_over.work.try_recv().expect("its work, handed over");
        assert_eq!(work.payment, Some(id), "{key}");
        let client = ClientName::parse("store-manager").unwrap();
        let kept = database
            .payment_by_key(&client, key)
            .await
            .unwrap()
            .unwrap();
        assert_eq!(kept.payment.id, id, "{key}");
        assert_eq!(database.events(id).await.unwrap().len(), 2, "{key}");
        let after = database.outbox_depth().await.unwrap().total;
        assert_eq!(after - before, 1, "{key}");
    }
}

#[tokio::test]
async fn splitting_or_delaying_the_traffic_changes_nothing() {
    let (proxy, database) = ready().await;
    proxy.set(Mode::ByteByByte);
    samples::keep(&database, &[samples::full(1)]).await;
    proxy.set(Mode::Delay(Duration::from_millis(50)));
    assert_eq!(read(&database, 1).await, Some(samples::full(1)));
}

#[tokio::test]
async fn silent_connections_are_closed_together() {
    let (proxy, database) = ready().await;
    // As many as the pool holds, idle.
    let open = futures::future::join_all((0..5).map(|_| begin(&database))).await;
    drop(open);
    samples::keep(&database, &[samples::payment(1)]).await;
    proxy.silence_all();
    let begun = Instant::now();
    while let Err(error) = write(&database, 2).await {
        assert!(
            matches!(
                error,
                StoreError::Unavailable(_) | StoreError::CommitUnknown(_)
            ),
            "{error:?}"
        );
        assert!(begun.elapsed() < Duration::from_secs(8), "{error:?}");
    }
    println!(
        "written {:.1} s after the silence began",
        begun.elapsed().as_secs_f32()
    );
    assert!(read(&database, 2).await.is_some());
}

/// Like the group commit: canceled by its caller if it takes too long.
async fn write(database: &Store, id: i64) -> Result<(), StoreError> {
    let writing = async {
        let mut tx = database.begin().await?;
        tx.insert_payments(&[samples::payment(id)]).await?;
        tx.commit().await
    };
    tokio::time::timeout(Duration::from_secs(2), writing)
        .await
        .unwrap_or_else(|_| Err(StoreError::Unavailable(Arc::new(sqlx::Error::PoolTimedOut))))
}
