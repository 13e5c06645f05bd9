use std::sync::atomic::{AtomicUsize, Ordering};

use time::OffsetDateTime;
use tokio::task::JoinHandle;

use super::*;
use crate::domain::{ClientName, Currency, Funds, Metadata, Money, OrderId, UserId};

const ID: PaymentId = PaymentId(7);
const LONG: Duration = Duration::from_secs(30);

fn payment(status: PaymentStatus) -> Payment {
    Payment {
        id: ID,
        client: ClientName::parse("default").expect("a name"),
        order_id: OrderId(1),
        user_id: UserId(1),
        amount: Money::from_minor(100, Currency::parse("CAD").expect("CAD")).expect("an amount"),
        status,
        decline_code: None,
        authorization_code: None,
        method: None,
        attempt: 1,
        metadata: Metadata::default(),
        action: None,
        return_url: None,
        disputes: Vec::new(),
        funds: Funds::default(),
        sequence: 2,
        created_at: OffsetDateTime::UNIX_EPOCH,
        updated_at: OffsetDateTime::UNIX_EPOCH,
    }
}

/// A store that answers `processing` until the given read.
struct Store {
    reads: AtomicUsize,
    succeeded_from: usize,
}

impl Store {
    fn new(succeeded_from: usize) -> Arc<Self> {
        Arc::new(Self {
            reads: AtomicUsize::new(0),
            succeeded_from,
        })
    }

    async fn read(&self) -> Result<Option<Payment>, ()> {
        let read = self.reads.fetch_add(1, Ordering::SeqCst) + 1;
        let status = if read >= self.succeeded_from {
            PaymentStatus::Succeeded
        } else {
            PaymentStatus::Processing
        };
        Ok(Some(payment(status)))
    }
}

fn start(waiters: &Arc<Waiters>, store: &Arc<Store>) -> JoinHandle<PaymentStatus> {
    let (waiters, store) = (Arc::clone(waiters), Arc::clone(store));
    tokio::spawn(async move {
        let processing = payment(PaymentStatus::Processing);
        for_outcome(&waiters, processing, LONG, || store.read())
            .await
            .status
    })
}

/// Lets spawned tasks run until they wait.
async fn settle() {
    for _ in 0..10 {
        tokio::task::yield_now().await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_notification_ends_the_wait_and_the_store_decides() {
    let (waiters, store) = (Waiters::new(10), Store::new(3));
    let began = Instant::now();
    let answer = start(&waiters, &store);
    settle().await;
    waiters.wake(PaymentId(8));
    waiters.wake(ID);
    settle().await;
    assert!(!answer.is_finished(), "the second read said processing");
    waiters.wake_all();
    assert_eq!(answer.await.expect("an answer"), PaymentStatus::Succeeded);
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert_eq!(waiters.number(), 0);
}

#[tokio::test(start_paused = true)]
async fn an_outcome_before_the_wait_begins_is_not_missed() {
    let (waiters, store) = (Waiters::new(10), Store::new(1));
    let began = Instant::now();
    let answer = start(&waiters, &store).await.expect("an answer");
    assert_eq!(answer, PaymentStatus::Succeeded);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn a_notification_during_the_read_is_not_missed() {
    let waiters = Waiters::new(10);
    let store = Store::new(2);
    let began = Instant::now();
    let answer = for_outcome(
        &waiters,
        payment(PaymentStatus::Processing),
        LONG,
        || async {
            let read = store.read().await;
            waiters.wake(ID);
            read
        },
    );
    assert_eq!(answer.await.status, PaymentStatus::Succeeded);
    assert_eq!(began.elapsed(), Duration::ZERO);
}

#[tokio::test(start_paused = true)]
async fn the_deadline_ends_the_wait_after_a_last_read() {
    let began = Instant::now();
    let (waiters, store) = (Waiters::new(10), Store::new(2));
    let answer = start(&waiters, &store).await.expect("an answer");
    assert_eq!(
        answer,
        PaymentStatus::Succeeded,
        "a missed hint costs time only"
    );
    assert_eq!(began.elapsed(), LONG);

    let store = Store::new(usize::MAX);
    let answer = start(&waiters, &store).await.expect("an answer");
    assert_eq!(answer, PaymentStatus::Processing);
    assert_eq!(store.reads.load(Ordering::SeqCst), 2);
}

#[tokio::test(start_paused = true)]
async fn closing_answers_every_waiting_request_with_the_current_state() {
    let (waiters, store) = (Waiters::new(10), Store::new(usize::MAX));
    let began = Instant::now();
    let answers = [start(&waiters, &store), start(&waiters, &store)];
    settle().await;
    assert_eq!(waiters.number(), 2);
    waiters.close();
    for answer in answers {
        assert_eq!(answer.await.expect("an answer"), PaymentStatus::Processing);
    }
    assert_eq!(began.elapsed(), Duration::ZERO);
    assert!(waiters.register(ID).is_none());
}

#[tokio::test]
async fn an_unreadable_store_ends_the_wait_with_the_known_state() {
    let waiters = Waiters::new(10);
    let answer = for_outcome(
        &waiters,
        payment(PaymentStatus::Processing),
        LONG,
        || async { Err::<Option<Payment>, ()>(()) },
    );
    assert_eq!(answer.await.status, PaymentStatus::Processing);
}

#[test]
fn the_number_of_waiters_is_limited_and_their_entries_are_removed() {
    let waiters = Waiters::new(2);
    let first = waiters.register(ID);
    let second = waiters.register(ID);
    assert!(first.is_some() && second.is_some());
    assert!(waiters.register(PaymentId(8)).is_none());
    drop(first);
    assert!(waiters.lock().payments.contains_key(&ID));
    drop(second);
    assert_eq!(waiters.number(), 0);
    assert!(waiters.lock().payments.is_empty());
}

#[tokio::test(start_paused = true)]
async fn long_waits_are_polled_in_turn() {
    let waiters = Waiters::new(10);
    let second = Duration::from_secs(1);
    let _waiting = [1, 2, 3].map(|id| waiters.register(PaymentId(id)));
    assert_eq!(waiters.waiting_for(second, None, 10), []);
    tokio::time::advance(second).await;
    let _late = waiters.register(PaymentId(4));
    let ids = |last, most| {
        let found = waiters.waiting_for(second, last, most);
        found.into_iter().map(|id| id.0).collect::<Vec<_>>()
    };
    assert_eq!(ids(None, 2), [1, 2]);
    assert_eq!(ids(Some(PaymentId(2)), 2), [3, 1]);
    assert_eq!(ids(Some(PaymentId(3)), 10), [1, 2, 3]);
    assert_eq!(ids(Some(PaymentId(7)), 10), [1, 2, 3]);
}
