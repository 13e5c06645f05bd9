//! A processor whose code panics has given no answer; one that is away is waited for.

use async_trait::async_trait;
use time::macros::datetime;

use super::*;
use crate::domain::{
    Card, CardCode, CardNumber, ClientName, Currency, Expiration, Metadata, Money, OrderId,
    Payment, PaymentId, PaymentStatus, UserId,
};
use crate::domain::{CloseAnswer, Funds, OperationAnswer, Origin};
use crate::processors::OperationCall;
use crate::processors::availability::Why;

/// Panics when it is called.
#[derive(Default)]
struct Panics(Option<Availability>);

#[async_trait]
impl Processor for Panics {
    async fn authorize(&self, _: &Authorization<'_>) -> Answer {
        panic!("as the test wants it");
    }

    async fn reverse(&self, _: AttemptKey, _: Money) -> ReversalAnswer {
        panic!("as the test wants it");
    }

    async fn capture(&self, _: &OperationCall) -> OperationAnswer {
        panic!("as the test wants it");
    }

    async fn void(&self, _: &OperationCall) -> OperationAnswer {
        panic!("as the test wants it");
    }

    async fn refund(&self, _: &OperationCall) -> OperationAnswer {
        panic!("as the test wants it");
    }

    async fn query(&self, _: &OperationCall) -> OperationAnswer {
        panic!("as the test wants it");
    }

    async fn close(&self, _: &OperationCall) -> CloseAnswer {
        panic!("as the test wants it");
    }

    fn availability(&self) -> Option<&Availability> {
        self.0.as_ref()
    }
}

fn processing(seal: &SealKeys, phase: Phase) -> StoredPayment {
    let now = datetime!(2026-11-22 12:00 UTC);
    let card = Card {
        number: CardNumber::parse("4242424242424242").expect("a number"),
        code: CardCode::parse("123").expect("a code"),
        expiration: Expiration::parse("2035-01").expect("a month"),
    };
    let owner = Owner::Payment(PaymentId(7), 1);
    StoredPayment {
        payment: Payment {
            id: PaymentId(7),
            client: ClientName::parse("shop").expect("a name"),
            order_id: OrderId(1),
            user_id: UserId(1),
            amount: Money::from_minor(100, Currency::parse("CAD").expect("a currency"))
                .expect("an amount"),
            status: PaymentStatus::Processing,
            decline_code: None,
            authorization_code: None,
            method: Some(card.summary().into()),
            attempt: 1,
            metadata: Metadata::default(),
            action: None,
            return_url: None,
            disputes: Vec::new(),
            funds: Funds::default(),
            sequence: 2,
            created_at: now,
            updated_at: now,
        },
        try_number: 1,
        phase,
        uncertain: false,
        pending: None,
        staged: false,
        sealed_card: Some(seal.seal(&card, owner).expect("sealed")),
        claimed_until: None,
        check_at: Some(now),
        idempotency: None,
        origin: Origin::default(),
    }
}

fn authorizer(processor: Panics, seal: &Arc<SealKeys>) -> Authorizer {
    Authorizer {
        processors: Processors::new(Arc::new(processor)),
        seal: Arc::clone(seal),
        schedule: RetrySchedule::default(),
        timeout: Duration::from_secs(1),
        claim: Duration::from_secs(10),
        calls: ProcessorCalls::new(),
        public_url: None,
    }
}

#[tokio::test]
async fn how_long_a_payment_waits_for_its_platform_is_not_decided_by_the_clock_of_this_machine() {
    let seal = Arc::new(SealKeys::generate());
    let away = Availability::never("away", Why::NoAnswer);
    let authorizer = authorizer(Panics(Some(away)), &seal);
    // By the clock of this machine it has waited for days.
    let mut stored = processing(&seal, Phase::Authorize);
    let waits = stored.payment.updated_at + authorizer.claim;
    stored.claimed_until = Some(waits);
    let trigger = authorizer.ask(&stored).await.trigger;
    assert!(matches!(trigger, Trigger::NotCalled { .. }), "{trigger:?}");

    stored.claimed_until = Some(waits + LONGEST_OUTAGE + Duration::from_secs(1));
    let trigger = authorizer.ask(&stored).await.trigger;
    let is_over = matches!(
        trigger,
        Trigger::Answered {
            answer: Answer::NotCharged { .. },
            ..
        }
    );
    assert!(is_over, "{trigger:?}");
}

#[tokio::test]
async fn a_panic_in_a_call_counts_as_no_answer_and_ends_no_worker() {
    let seal = Arc::new(SealKeys::generate());
    let authorizer = authorizer(Panics::default(), &seal);
    let trigger = authorizer
        .ask(&processing(&seal, Phase::Authorize))
        .await
        .trigger;
    assert!(
        matches!(
            trigger,
            Trigger::Answered {
                answer: Answer::Unknown,
                ..
            }
        ),
        "{trigger:?}"
    );
    let trigger = authorizer
        .ask(&processing(&seal, Phase::Reverse))
        .await
        .trigger;
    assert!(
        matches!(
            trigger,
            Trigger::Reversal {
                answer: ReversalAnswer::Unknown,
                ..
            }
        ),
        "{trigger:?}"
    );
}
