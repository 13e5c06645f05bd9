//! The issuer without its ledger: answers, codes and times.

use time::macros::datetime;

use super::super::{TEST_CARDS, TestTokens};
use super::*;
use crate::domain::{CaptureMethod, Currency, PaymentId};

fn issuer(mean: Duration) -> SimulatedIssuer {
    let options = Options {
        latency: Latency { mean, seed: 1 },
        now: || datetime!(2026-11-22 00:00 UTC),
    };
    SimulatedIssuer::new(options, None)
}

fn amount() -> Money {
    Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap()
}

const TOKENS: TestTokens = TestTokens {
    now: || datetime!(2026-11-22 00:00 UTC),
};

fn card(token: &str) -> Card {
    TOKENS.card(token).unwrap()
}

fn attempt(card: &Card) -> Authorization<'_> {
    Authorization {
        key: AttemptKey {
            payment: PaymentId(3),
            attempt: 1,
        },
        amount: amount(),
        capture: CaptureMethod::Automatic,
        method: card,
        return_to: None,
    }
}

#[tokio::test]
async fn a_repeated_try_has_the_same_authorization_code_and_another_attempt_a_new_one() {
    let issuer = issuer(Duration::ZERO);
    let card = card("tok_visa");
    let mut authorization = attempt(&card);
    let first = issuer.authorize(&authorization).await;
    assert_eq!(issuer.authorize(&authorization).await, first);
    authorization.key.attempt = 2;
    assert_ne!(issuer.authorize(&authorization).await, first);
    let Answer::Approved { authorization_code } = first else {
        panic!("{first:?}");
    };
    assert_eq!(authorization_code.len(), 6);
    assert!(
        authorization_code
            .bytes()
            .all(|b| b.is_ascii_uppercase() || b.is_ascii_digit())
    );
}

#[tokio::test(start_paused = true)]
async fn a_silent_issuer_never_answers_before_the_time_out() {
    let issuer = issuer(Duration::ZERO);
    let card = card("tok_issuer_silent");
    let authorization = attempt(&card);
    let hour = Duration::from_secs(3600);
    assert!(
        tokio::time::timeout(hour, issuer.authorize(&authorization))
            .await
            .is_err()
    );
}

#[tokio::test(start_paused = true)]
async fn latency_varies_around_its_mean_and_is_fixed_for_each_key() {
    let issuer = issuer(Duration::from_millis(200));
    let latency = issuer.options.latency;
    let mut times = std::collections::HashSet::new();
    for payment in 1..200 {
        let key = AttemptKey {
            payment: PaymentId(payment),
            attempt: 1,
        };
        let time = latency.of(key);
        assert_eq!(time, latency.of(key));
        assert!((100..=300).contains(&time.as_millis()), "{time:?}");
        times.insert(time);
    }
    assert!(times.len() > 150);
    let start = tokio::time::Instant::now();
    issuer.authorize(&attempt(&card("tok_issuer_slow"))).await;
    let taken = start.elapsed().as_millis();
    assert!((2100..=2302).contains(&taken), "{taken}");
}

#[tokio::test]
async fn without_latency_no_timer_is_used() {
    // A runtime without a timer would panic at the first sleep.
    let issuer = issuer(Duration::ZERO);
    let runtime = std::thread::spawn(move || {
        tokio::runtime::Builder::new_current_thread()
            .build()
            .unwrap()
            .block_on(issuer.authorize(&attempt(&card("tok_visa"))))
    });
    assert!(matches!(runtime.join().unwrap(), Answer::Approved { .. }));
}

#[tokio::test]
async fn a_reversal_that_is_lost_twice_is_confirmed_the_third_time() {
    let issuer = issuer(Duration::ZERO);
    let card = card("tok_reversal_lost_2");
    let authorization = attempt(&card);
    assert_eq!(issuer.authorize(&authorization).await, Answer::Unknown);
    for expected in [
        ReversalAnswer::Unknown,
        ReversalAnswer::Unknown,
        ReversalAnswer::Confirmed,
    ] {
        assert_eq!(issuer.reverse(authorization.key, amount()).await, expected);
    }
    assert!(lock(&issuer.unanswered_reversals).is_empty());
}

#[tokio::test]
async fn every_test_token_has_a_card_that_has_not_expired() {
    for listed in TEST_CARDS {
        let card = card(listed.token);
        assert_eq!(card.number.expose(), listed.number);
        assert!(!card.expiration.is_past(datetime!(2026-12-31 00:00 UTC)));
    }
    assert!(
        TOKENS
            .card("tok_0123456789abcdef0123456789abcdef")
            .is_none()
    );
}
