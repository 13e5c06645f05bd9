//! Counts of a minute, on either database.

use payment_service::store::{MinuteCounts, Store};

fn counts(status: &str, count: u64) -> MinuteCounts {
    MinuteCounts {
        outcomes: [(status.to_owned(), count)].into(),
        ..MinuteCounts::default()
    }
}

pub async fn counts_of_a_minute_are_summed_over_processes(database: Store) {
    // Two processes.
    database
        .write_minute(&counts("succeeded", 3))
        .await
        .unwrap();
    database
        .write_minute(&counts("succeeded", 4))
        .await
        .unwrap();
    let now = database.current_minute().await.unwrap();
    let minutes = database.minutes_since(now - 1).await.unwrap();
    let succeeded: u64 = minutes.values().map(|it| it.outcomes["succeeded"]).sum();
    assert_eq!(succeeded, 7);
    assert!(
        minutes
            .keys()
            .all(|minute| (now - 1..=now).contains(minute))
    );
    // Only the asked ones are read.
    let minutes = database.minutes_since(now + 2).await.unwrap();
    assert!(minutes.is_empty());
}
