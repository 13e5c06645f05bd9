//! The contract of both databases for blocks of ids and the schema.

use std::collections::BTreeSet;

use futures::future::join_all;
use payment_service::store::ids::IdSpace;
use payment_service::store::{Store, StoreError};

use super::samples::{keep, payment};

pub async fn blocks_of_ids_start_at_the_first_id_and_follow_each_other(database: Store) {
    assert_eq!(database.reserve_ids(10, 1000).await.unwrap(), 1000);
    assert_eq!(database.reserve_ids(5, 7).await.unwrap(), 1010);
    assert_eq!(database.reserve_ids(1, 1000).await.unwrap(), 1015);
}

/// As after a restore of a backup.
pub async fn ids_can_be_left_out(database: Store) {
    let space = IdSpace {
        first: 100,
        last: 9_999,
    };
    assert_eq!(database.skip_ids(1000, space).await.unwrap(), 1100);
    assert_eq!(database.reserve_ids(10, 100).await.unwrap(), 1100);
    keep(&database, &[payment(5000)]).await;
    let too_many = database.skip_ids(5000, space).await;
    assert!(
        matches!(too_many, Err(StoreError::IdsExhausted)),
        "{too_many:?}"
    );
    assert_eq!(database.skip_ids(4000, space).await.unwrap(), 9001);
    assert_eq!(database.reserve_ids(10, 100).await.unwrap(), 9001);
}

pub async fn a_processor_has_the_type_that_was_noted_last(database: Store) {
    assert_eq!(database.processor_type("one").await.unwrap(), None);
    for kind in ["stripe", "paypal"] {
        database.note_processor_type("one", kind).await.unwrap();
        let first = Some("stripe".to_owned());
        assert_eq!(database.processor_type("one").await.unwrap(), first);
    }
    database
        .change_processor_type("one", "paypal")
        .await
        .unwrap();
    database
        .change_processor_type("two", "paypal")
        .await
        .unwrap();
    let other = Some("paypal".to_owned());
    assert_eq!(database.processor_type("one").await.unwrap(), other);
    assert_eq!(database.processor_type("two").await.unwrap(), None);
}

/// As when several processes start for the first time.
pub async fn what_many_tasks_note_first_is_noted_once(database: Store) {
    let installations = join_all((0..10).map(|_| database.installation())).await;
    let installations: BTreeSet<String> = installations.into_iter().map(Result::unwrap).collect();
    assert_eq!(installations.len(), 1, "{installations:?}");
    for round in 0..20 {
        let name = format!("processor-{round}");
        let noting = (0..10).map(|_| database.note_processor_type(&name, "stripe"));
        for noted in join_all(noting).await {
            noted.unwrap();
        }
        let kind = database.processor_type(&name).await.unwrap();
        assert_eq!(kind.as_deref(), Some("stripe"));
    }
}

/// As after a restore of some tables only.
pub async fn a_block_of_ids_begins_after_the_largest_payment_id(database: Store) {
    assert_eq!(database.reserve_ids(10, 1).await.unwrap(), 1);
    keep(&database, &[payment(5), payment(77)]).await;
    assert_eq!(database.reserve_ids(10, 1).await.unwrap(), 78);
    assert_eq!(database.reserve_ids(10, 1).await.unwrap(), 88);
}

pub async fn blocks_of_ids_that_many_tasks_reserve_are_disjoint(database: Store) {
    let tasks = (0..20).map(|task| {
        let database = database.clone();
        tokio::spawn(async move {
            let mut blocks = Vec::new();
            for count in 1..=5 {
                let count = count + task;
                let first = database.reserve_ids(count, 100).await.unwrap();
                blocks.push(first..first + count);
            }
            blocks
        })
    });
    let mut ids = BTreeSet::new();
    let mut number = 0;
    for blocks in join_all(tasks).await {
        for id in blocks.unwrap().into_iter().flatten() {
            assert!(ids.insert(id), "{id} was given twice");
            number += 1;
        }
    }
    assert_eq!(ids.first(), Some(&100));
    assert_eq!(ids.last(), Some(&(99 + number)), "no gaps either");
}

/// Takes a database without a schema.
pub async fn migrating_repeatedly_creates_the_schema_once(database: Store) {
    let missing = database.check().await;
    assert!(
        matches!(missing, Err(StoreError::Migration(_))),
        "{missing:?}"
    );
    let several = (0..4).map(|_| database.migrate());
    for result in join_all(several).await {
        result.unwrap();
    }
    database.migrate().await.unwrap();
    database.check().await.unwrap();
}
