//! Whatever workers and processor do: never two standing charges, never an unpaid status with a charge, always an end.

use super::*;
use crate::domain::Funds;
use crate::domain::Origin;
use crate::domain::{
    Brand, CardSummary, ClientName, Currency, Expiration, Funding, Metadata, Money, OrderId,
    Payment, PaymentId, UserId,
};
use crate::payments::presented_card::PresentedCard;
use crate::vault::SealedCard;

fn any_verdict() -> impl Strategy<Value = Verdict> {
    prop::sample::select(vec![
        Verdict::Approve,
        Verdict::Approve,
        Verdict::Decline,
        Verdict::Decline,
        Verdict::NotCharged,
        Verdict::NeedsShopper,
        Verdict::NeedsShopper,
        Verdict::UnknownDone,
        Verdict::UnknownNotDone,
    ])
}

fn any_step() -> impl Strategy<Value = Step> {
    let index = any::<prop::sample::Index>;
    prop_oneof![
        6 => Just(Step::Deliver(None)),
        2 => index().prop_map(|index| Step::Deliver(Some(index))),
        6 => (index(), any_verdict()).prop_map(|(index, verdict)| Step::Execute(index, verdict)),
        6 => index().prop_map(Step::Answer),
        1 => index().prop_map(Step::Die),
        3 => Just(Step::ClaimsEnd),
        3 => Just(Step::PresentCard),
        1 => Just(Step::Cancel),
        3 => (0_u32..3).prop_map(|attempts_ago| Step::Approve { attempts_ago }),
        1 => Just(Step::ShopperReturns),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(cases()))]

    #[test]
    fn at_most_one_charge_stands_and_the_status_agrees_with_it(
        workers in 2_usize..=3, max_tries in 1_u32..5, steps in prop::collection::vec(any_step(), 1..60),
        last in any_verdict(),
    ) {
        let mut world = World::new(workers, max_tries);
        for step in &steps {
            world.step(step);
            world.check_money()?;
        }
        // The calls that are still on their way are executed after everything else, and a reversal is confirmed.
        world.come_to_rest(last);
        let taken = world.come_to_rest(Verdict::Approve);
        prop_assert!(taken < 200, "it never ends: {:?}", world.progress());
        world.check_money()?;
    }
}

/// More for a long run: `MODEL_CASES=1000000`.
fn cases() -> u32 {
    let asked = std::env::var("MODEL_CASES").ok();
    asked.and_then(|cases| cases.parse().ok()).unwrap_or(5_000)
}

pub fn payment() -> StoredPayment {
    let at = datetime!(2026-11-26 12:00 UTC);
    StoredPayment {
        payment: Payment {
            id: PaymentId(7),
            client: ClientName::parse("store").unwrap(),
            order_id: OrderId(1),
            user_id: UserId(1),
            amount: Money::from_minor(9953, Currency::parse("CAD").unwrap()).unwrap(),
            status: RequiresPaymentMethod,
            decline_code: None,
            authorization_code: None,
            method: None,
            attempt: 0,
            metadata: Metadata::default(),
            action: None,
            return_url: None,
            funds: Funds::default(),
            sequence: 1,
            created_at: at,
            updated_at: at,
        },
        try_number: 0,
        phase: Phase::Authorize,
        uncertain: false,
        pending: None,
        staged: false,
        sealed_card: None,
        claimed_until: None,
        check_at: None,
        idempotency: None,
        origin: Origin::default(),
    }
}

pub fn card() -> PresentedCard {
    PresentedCard {
        summary: CardSummary {
            brand: Brand::Visa,
            last4: "4242".to_owned(),
            expiration: Expiration::parse("2030-01").unwrap(),
            funding: Funding::Credit,
            processor: None,
        }
        .into(),
        sealed: SealedCard(vec![1]),
    }
}
