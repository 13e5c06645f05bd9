//! The issuer with its ledger: what is charged for each answer.

use std::time::Duration;

use futures::future::join_all;
use time::macros::datetime;

use super::memory::{Failure, Memory};
use super::*;
use crate::domain::{
    Answer, CaptureMethod, Card, Currency, DeclineCode, Money, PaymentId, ReversalAnswer, Timestamp,
};
use crate::processors::simulated::{Latency, Options, SimulatedIssuer, TestTokens};
use crate::processors::{AttemptKey, Authorization, Processor};

const KEY: AttemptKey = AttemptKey {
    payment: PaymentId(3),
    attempt: 1,
};

struct Bank {
    memory: Memory,
    ledger: Ledger,
    issuer: SimulatedIssuer,
}

impl Bank {
    /// An issuer whose ledger fails at once, so that each failure shows.
    fn open() -> Self {
        Self::with_patience(Duration::ZERO)
    }

    fn with_patience(patience: Duration) -> Self {
        let memory = Memory::default();
        let limits = Limits {
            patience: Some(patience),
            ..Limits::default()
        };
        let ledger = Ledger::with(Arc::new(memory.clone()), limits);
        let issuer = issuer(&ledger, || datetime!(2026-11-22 00:00 UTC));
        Self {
            memory,
            ledger,
            issuer,
        }
    }

    async fn authorize(&self, token: &str) -> Answer {
        self.issuer.authorize(&authorization(&card(token))).await
    }

    fn fails_with(&self, failure: Failure) {
        self.memory.failures.lock().unwrap().push_back(failure);
    }

    /// Charged, reversed.
    fn entry(&self) -> (bool, bool) {
        let entries = self.memory.entries.lock().unwrap();
        entries.get("3-1").map_or((false, false), |entry| {
            (entry.charged_at.is_some(), entry.reversed_at.is_some())
        })
    }
}

fn card(token: &str) -> Card {
    let now = || datetime!(2026-11-22 00:00 UTC);
    TestTokens { now }.card(token).unwrap()
}

fn authorization(card: &Card) -> Authorization<'_> {
    Authorization {
        key: KEY,
        amount: amount(),
        capture: CaptureMethod::Automatic,
        method: card,
        return_to: None,
    }
}

fn issuer(ledger: &Ledger, now: fn() -> Timestamp) -> SimulatedIssuer {
    let latency = Latency {
        mean: Duration::ZERO,
        seed: 0,
    };
    SimulatedIssuer::new(Options { latency, now }, Some(ledger.clone()))
}

fn amount() -> Money {
    Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap()
}

fn declined(code: &'static str) -> Answer {
    Answer::Declined {
        code: DeclineCode::from_static(code),
    }
}

fn database_error() -> Arc<sqlx::Error> {
    Arc::new(sqlx::Error::PoolTimedOut)
}

#[tokio::test]
async fn an_approval_is_recorded_in_the_ledger_and_a_decline_is_not() {
    let bank = Bank::open();
    assert_eq!(
        bank.authorize("tok_insufficient_funds").await,
        declined("insufficient_funds")
    );
    assert_eq!(bank.entry(), (false, false));
    assert!(matches!(
        bank.authorize("tok_visa").await,
        Answer::Approved { .. }
    ));
    assert_eq!(bank.entry(), (true, false));
}

#[tokio::test]
async fn the_next_try_gets_an_answer_that_was_lost_after_the_charge() {
    let bank = Bank::open();
    assert_eq!(
        bank.authorize("tok_answer_lost_once").await,
        Answer::Unknown
    );
    assert_eq!(bank.entry(), (true, false));
    assert!(matches!(
        bank.authorize("tok_answer_lost_once").await,
        Answer::Approved { .. }
    ));
}

#[tokio::test]
async fn a_reversal_undoes_a_charge_and_blocks_later_ones() {
    let bank = Bank::open();
    for _ in 1..=3 {
        assert_eq!(bank.authorize("tok_answer_lost").await, Answer::Unknown);
    }
    for _ in 0..2 {
        assert_eq!(
            bank.issuer.reverse(KEY, amount()).await,
            ReversalAnswer::Confirmed
        );
        assert_eq!(bank.entry(), (true, true));
    }
    assert_eq!(
        bank.authorize("tok_visa").await,
        declined("attempt_reversed")
    );
}

#[tokio::test]
async fn a_key_that_was_never_charged_can_be_reversed() {
    let bank = Bank::open();
    assert_eq!(
        bank.issuer.reverse(KEY, amount()).await,
        ReversalAnswer::Confirmed
    );
    assert_eq!(
        bank.authorize("tok_visa").await,
        declined("attempt_reversed")
    );
    assert_eq!(bank.authorize("tok_answer_lost").await, Answer::Unknown);
    assert_eq!(bank.entry(), (false, true));
}

#[tokio::test]
async fn a_charge_that_may_be_recorded_is_unknown_and_a_refused_one_is_not_charged() {
    let bank = Bank::open();
    bank.fails_with(Failure::AtBegin(StoreError::Unavailable(database_error())));
    assert_eq!(bank.authorize("tok_visa").await, Answer::Unknown);
    bank.fails_with(Failure::AfterCommit);
    assert_eq!(bank.authorize("tok_visa").await, Answer::Unknown);
    assert_eq!(bank.entry(), (true, false));
    bank.fails_with(Failure::AtBegin(StoreError::Rejected(database_error())));
    let reason = DeclineCode::ISSUER_UNAVAILABLE;
    assert_eq!(
        bank.authorize("tok_visa").await,
        Answer::NotCharged { reason }
    );
    bank.fails_with(Failure::AtBegin(StoreError::Unavailable(database_error())));
    assert_eq!(
        bank.issuer.reverse(KEY, amount()).await,
        ReversalAnswer::Unknown
    );
}

#[tokio::test(start_paused = true)]
async fn a_lost_commit_is_resolved_by_writing_the_same_again() {
    let bank = Bank::with_patience(Duration::from_secs(8));
    bank.fails_with(Failure::AfterCommit);
    assert!(matches!(
        bank.authorize("tok_visa").await,
        Answer::Approved { .. }
    ));
    assert_eq!(
        (bank.entry(), *bank.memory.begun.lock().unwrap()),
        ((true, false), 2)
    );
}

#[tokio::test]
async fn a_card_that_expires_between_tries_keeps_its_approval() {
    let bank = Bank::open();
    let later = issuer(&bank.ledger, || datetime!(2050-01-01 00:00 UTC));
    let card = card("tok_answer_lost");
    let authorization = authorization(&card);
    assert_eq!(
        later.authorize(&authorization).await,
        declined("expired_card")
    );
    assert_eq!(bank.issuer.authorize(&authorization).await, Answer::Unknown);
    assert!(matches!(
        later.authorize(&authorization).await,
        Answer::Approved { .. }
    ));
    bank.fails_with(Failure::AtBegin(StoreError::Unavailable(database_error())));
    assert_eq!(later.authorize(&authorization).await, Answer::Unknown);
}

#[tokio::test(start_paused = true)]
async fn a_delayed_call_gets_its_own_answer_until_the_key_is_reversed() {
    let bank = Bank::open();
    let first = bank.authorize("tok_later_calls_declined");
    let later = async {
        tokio::time::sleep(Duration::from_millis(100)).await;
        bank.authorize("tok_later_calls_declined").await
    };
    // A processor need not remember a decline: the first call may still charge.
    let (first, later) = tokio::join!(first, later);
    assert!(matches!(first, Answer::Approved { .. }), "{first:?}");
    assert_eq!(later, declined("do_not_honor"));
    assert_eq!(bank.entry(), (true, false));
    assert_eq!(
        bank.issuer.reverse(KEY, amount()).await,
        ReversalAnswer::Confirmed
    );
    assert_eq!(bank.entry(), (true, true));
}

#[tokio::test]
async fn waiting_charges_are_written_together() {
    let bank = Bank::open();
    let charges = (0..100).map(|payment| {
        let issuer = &bank.issuer;
        async move {
            let card = card("tok_visa");
            let mut authorization = authorization(&card);
            authorization.key.payment = PaymentId(payment % 50);
            issuer.authorize(&authorization).await
        }
    });
    let answers = join_all(charges).await;
    assert!(
        answers
            .iter()
            .all(|answer| matches!(answer, Answer::Approved { .. }))
    );
    assert_eq!(bank.memory.entries.lock().unwrap().len(), 50);
    assert!(*bank.memory.begun.lock().unwrap() < 10);
}

#[tokio::test]
async fn a_concurrent_charge_and_reversal_end_reversed() {
    let bank = Bank::open();
    let line = LedgerLine {
        key: KEY.to_string(),
        payment: KEY.payment,
        amount: Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap(),
        held: false,
        test_card: None,
    };
    let (reversed, charged) =
        tokio::join!(bank.ledger.reverse(line.clone()), bank.ledger.charge(line));
    assert_eq!(
        (reversed.unwrap(), charged.unwrap()),
        (Standing::Reversed, Standing::Reversed)
    );
}

#[tokio::test]
async fn calls_are_counted_by_key_also_those_that_wait_together() {
    let bank = Bank::open();
    let count = |key: &str| bank.ledger.count_call(key.to_owned());
    let (first, second, other) = tokio::join!(count("3-1"), count("3-1"), count("4-1"));
    assert_eq!((first.unwrap(), second.unwrap(), other.unwrap()), (1, 2, 1));
    assert_eq!(count("3-1").await.unwrap(), 3);
}
