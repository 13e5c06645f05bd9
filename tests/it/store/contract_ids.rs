//! The contract of both databases for blocks of ids and the schema.

use std::collections::BTreeSet;

use futures::future::join_all;
use payment_service::store::{Store, StoreError};

use super::samples::{keep, payment};

pub async fn blocks_of_ids_start_at_the_first_id_and_follow_each_other(database: Store) {
    assert_eq!(database.reserve_ids(10, 1000).await.unwrap(), 1000);
    assert_eq!(database.reserve_ids(5, 7).await.unwrap(), 1010);
    assert_eq!(database.reserve_ids(1, 1000).await.unwrap(), 1015);
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
