//! Which items share a transaction, and what happens to those that fail.

use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use super::*;

/// Answers each item with the number of items in its transaction.
struct Counted;

#[async_trait]
impl Batch for Counted {
    const NAME: &'static str = "counted";
    type Item = ();
    type Outcome = usize;

    async fn run(&self, items: &[()]) -> Result<Vec<usize>, StoreError> {
        Ok(vec![items.len(); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        true
    }
}

async fn sizes(linger: Duration) -> Vec<usize> {
    let limits = Limits {
        linger,
        rows: 4,
        ..Limits::default()
    };
    let batcher = Batcher::spawn(Counted, limits);
    let submit = async |after| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        batcher.submit(()).await.expect("an outcome")
    };
    let items = [0, 10, 20, 30, 40, 200].map(submit);
    futures::future::join_all(items).await
}

#[test]
fn large_groups_wait_as_long_as_the_last_transaction_and_small_ones_do_not() {
    let limits = Limits::default();
    let wait = |items, took| limits.wait(items, Duration::from_millis(took)).as_millis();
    assert_eq!(wait(CROWD - 1, 5), 0);
    assert_eq!(wait(CROWD, 0), 0);
    assert_eq!(wait(CROWD, 5), 5);
    assert_eq!(wait(CROWD, 5_000), limits.pause.as_millis());
    assert_eq!(wait(limits.rows, 5), 0);
}

#[tokio::test(start_paused = true)]
async fn items_that_are_not_urgent_wait_to_share_a_transaction() {
    assert_eq!(sizes(Duration::ZERO).await, [1; 6]);
    let together = sizes(Duration::from_millis(50)).await;
    assert_eq!(together, [4, 4, 4, 4, 1, 1]);
}

/// A database that is far away.
#[derive(Default)]
struct Far {
    under_way: AtomicUsize,
}

const ROUND_TRIPS: Duration = Duration::from_millis(100);

#[async_trait]
impl Batch for Far {
    const NAME: &'static str = "far";
    type Item = ();
    /// Transactions under way when its own began, and its own items.
    type Outcome = (usize, usize);

    async fn run(&self, items: &[()]) -> Result<Vec<(usize, usize)>, StoreError> {
        let before = self.under_way.fetch_add(1, Ordering::SeqCst);
        tokio::time::sleep(ROUND_TRIPS).await;
        self.under_way.fetch_sub(1, Ordering::SeqCst);
        Ok(vec![(before, items.len()); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        true
    }
}

#[tokio::test(start_paused = true)]
async fn only_a_full_batch_starts_while_another_runs_and_only_in_a_free_lane() {
    let limits = Limits {
        rows: 4,
        lanes: 2,
        ..Limits::default()
    };
    let batcher = Batcher::spawn(Far::default(), limits);
    let submit = async |after| {
        tokio::time::sleep(Duration::from_millis(after)).await;
        batcher.submit(()).await.expect("an outcome")
    };
    // One alone; three that are no full batch until a fourth comes; four more have no lane until the first has ended.
    let items = [0, 10, 10, 10, 20, 30, 30, 30, 30].map(submit);
    let began = Instant::now();
    let outcomes = futures::future::join_all(items).await;
    assert_eq!(outcomes[0], (0, 1));
    assert_eq!(outcomes[1..5], [(1, 4); 4]);
    assert_eq!(outcomes[5..], [(1, 4); 4]);
    assert_eq!(began.elapsed(), ROUND_TRIPS * 2);
}

#[tokio::test(start_paused = true)]
async fn a_batch_that_is_not_full_waits_for_the_running_one() {
    let limits = Limits {
        rows: 4,
        lanes: 2,
        ..Limits::default()
    };
    let batcher = Batcher::spawn(Far::default(), limits);
    let submitted = (0..8).map(|_| batcher.submit(()));
    let mut outcomes = futures::future::join_all(submitted).await;
    let few = (0..3).map(|_| batcher.submit(()));
    outcomes.extend(futures::future::join_all(few).await);
    let outcomes: Vec<_> = outcomes.into_iter().map(Result::unwrap).collect();
    let expected = [[(0, 4); 4].as_slice(), &[(1, 4); 4], &[(0, 3); 3]].concat();
    assert_eq!(outcomes, expected);
}

/// What running an item does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Item {
    Succeeds,
    IsRefused,
    CannotBeRead,
    Panics,
    BreaksTheConnection,
    IsLocked,
}

/// A database that may be away.
#[derive(Clone, Default)]
struct Treacherous {
    is_away: Arc<AtomicBool>,
    has_unlocked: Arc<AtomicBool>,
    runs: Arc<AtomicUsize>,
}

fn reset() -> StoreError {
    let reset = std::io::ErrorKind::ConnectionReset;
    StoreError::Unavailable(Arc::new(sqlx::Error::Io(reset.into())))
}

#[async_trait]
impl Batch for Treacherous {
    const NAME: &'static str = "treacherous";
    type Item = Item;
    type Outcome = ();

    async fn run(&self, items: &[Item]) -> Result<Vec<()>, StoreError> {
        self.runs.fetch_add(1, Ordering::SeqCst);
        if self.is_away.load(Ordering::SeqCst) || items.contains(&Item::BreaksTheConnection) {
            return Err(reset());
        }
        assert!(!items.contains(&Item::Panics), "as the test wants it");
        if items.contains(&Item::IsLocked) && !self.has_unlocked.load(Ordering::SeqCst) {
            // As innodb_lock_wait_timeout has it.
            tokio::time::sleep(Duration::from_secs(5)).await;
            return Err(StoreError::Locked(Arc::new(sqlx::Error::RowNotFound)));
        }
        if items.contains(&Item::CannotBeRead) {
            return Err(StoreError::Corrupt("a column".to_owned()));
        }
        if items.contains(&Item::IsRefused) {
            return Err(StoreError::Rejected(Arc::new(sqlx::Error::RowNotFound)));
        }
        Ok(vec![(); items.len()])
    }

    async fn succeeds_without_items(&self) -> bool {
        !self.is_away.load(Ordering::SeqCst)
    }
}

/// Items without a time limit, as those of workers.
fn endless() -> Limits {
    Limits {
        patience: None,
        linger: Duration::from_millis(1),
        ..Limits::default()
    }
}

#[tokio::test(start_paused = true)]
async fn an_item_that_fails_does_not_affect_others() {
    for bad in [
        Item::IsRefused,
        Item::CannotBeRead,
        Item::Panics,
        Item::BreaksTheConnection,
    ] {
        let batcher = Batcher::spawn(Treacherous::default(), endless());
        let item = |index| {
            if index % 97 == 50 {
                bad
            } else {
                Item::Succeeds
            }
        };
        let began = Instant::now();
        let submitted = (0..200).map(|index| batcher.submit(item(index)));
        let outcomes = futures::future::join_all(submitted).await;
        for (index, outcome) in outcomes.iter().enumerate() {
            assert_eq!(outcome.is_ok(), item(index) == Item::Succeeds, "{index}");
        }
        let error = outcomes[50].as_ref().unwrap_err();
        assert!(error.is_of_the_rows(), "{bad:?}: {error}");
        assert!(error.reason_to_set_aside().is_some(), "{bad:?}: {error}");
        assert!(began.elapsed() < Duration::from_secs(1), "{bad:?}");
        // The batcher itself still works.
        assert!(batcher.submit(Item::Succeeds).await.is_ok());
    }
}

#[tokio::test(start_paused = true)]
async fn an_outage_fails_no_item() {
    let database = Treacherous::default();
    database.is_away.store(true, Ordering::SeqCst);
    let batcher = Batcher::spawn(database.clone(), endless());
    let submitted = (0..20).map(|_| batcher.submit(Item::Succeeds));
    let all = futures::future::join_all(submitted);
    let comes_back = async {
        tokio::time::sleep(Duration::from_secs(600)).await;
        database.is_away.store(false, Ordering::SeqCst);
    };
    let (outcomes, ()) = tokio::join!(all, comes_back);
    assert!(database.runs.load(Ordering::SeqCst) > 100);
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
}

#[tokio::test(start_paused = true)]
async fn an_item_is_refused_only_after_it_breaks_the_connection_repeatedly() {
    let database = Treacherous::default();
    let batcher = Batcher::spawn(database.clone(), endless());
    let refused = batcher.submit(Item::BreaksTheConnection).await;
    assert!(
        matches!(refused, Err(StoreError::Rejected(_))),
        "{refused:?}"
    );
    assert_eq!(database.runs.load(Ordering::SeqCst), BREAKS_ALONE as usize);
}

#[tokio::test(start_paused = true)]
async fn a_locked_item_delays_its_batch_once_and_later_items_not_at_all() {
    let database = Treacherous::default();
    let batcher = Batcher::spawn(database.clone(), endless());
    let began = Instant::now();
    let locked = [batcher.clone(), batcher.clone()].map(|batcher| {
        tokio::spawn(async move {
            batcher
                .submit(Item::IsLocked)
                .await
                .map(|()| began.elapsed())
        })
    });
    let neighbours = (0..200).map(|_| batcher.submit(Item::Succeeds));
    let outcomes = futures::future::join_all(neighbours).await;
    assert!(outcomes.iter().all(Result::is_ok), "{outcomes:?}");
    assert!(
        began.elapsed() < Duration::from_secs(6),
        "{:?}",
        began.elapsed()
    );
    for _ in 0..10 {
        let later = Instant::now();
        assert!(batcher.submit(Item::Succeeds).await.is_ok());
        assert!(later.elapsed() < Duration::from_millis(100));
    }
    tokio::time::sleep(Duration::from_secs(600)).await;
    database.has_unlocked.store(true, Ordering::SeqCst);
    for waiting in locked {
        let took = waiting.await.unwrap().expect("it is done in the end");
        assert!(
            took > Duration::from_secs(600) && took < Duration::from_secs(620),
            "{took:?}"
        );
    }
}
