//! The cards of the load, and the outcome that each must have, whatever fails meanwhile.

use std::time::Duration;

use payment_service::processors::simulated::{
    AfterApproval, Behaviour, LaterCalls, TEST_CARDS, TestCard,
};

use super::drill::AFTERMATH;
use super::fleet::{PROCESSOR_TIMEOUT, TRIES};
use super::random::Random;

/// The outcome that the card promises, with as many tries as the processes have. Two are possible if it depends on whether a worker is delayed in its
/// call, or if the card needs all the tries: a worker that is killed in its call has used up one.
pub fn promised(card: &TestCard) -> &'static [&'static str] {
    match card.behaviour {
        Behaviour::OnlyFirstCallCharges(LaterCalls::Declined(_)) => &["succeeded", "declined"],
        Behaviour::OnlyFirstCallCharges(_) => &["succeeded", "failed"],
        Behaviour::DownFor(calls) if calls + 1 >= TRIES => &["succeeded", "failed"],
        Behaviour::NeedsShopper(AfterApproval::Decline(_)) => &["declined"],
        Behaviour::NeedsShopper(AfterApproval::ChargeTooLate) => &["failed"],
        Behaviour::NeedsShopper(_)
        | Behaviour::Approve
        | Behaviour::ApproveThen(_)
        | Behaviour::ApproveSlowly
        | Behaviour::DownFor(_)
        | Behaviour::LoseFirstAnswer => &["succeeded"],
        Behaviour::Decline(_) => &["declined"],
        Behaviour::AlwaysDown
        | Behaviour::LoseEveryAnswer
        | Behaviour::StaySilent
        | Behaviour::LoseReversals(_) => &["failed"],
    }
}

/// How long it may take after a fault has ended. A payment without answers is not stuck while its tries go on.
pub fn patience(card: &TestCard) -> Duration {
    match card.behaviour {
        Behaviour::StaySilent | Behaviour::OnlyFirstCallCharges(LaterCalls::Silent) => {
            AFTERMATH + TRIES * PROCESSOR_TIMEOUT
        }
        _ => AFTERMATH,
    }
}

/// Whether its shopper has to approve.
pub fn needs_shopper(card: &TestCard) -> bool {
    matches!(card.behaviour, Behaviour::NeedsShopper(_))
}

/// Approved or declined by the first call.
pub fn is_answered_at_once(card: &TestCard) -> bool {
    matches!(card.behaviour, Behaviour::Approve | Behaviour::Decline(_))
}

pub fn by_token(token: &str) -> &'static TestCard {
    let card = TEST_CARDS.iter().find(|card| card.token == token);
    card.expect("a card of the table")
}

/// Test cards that the release before this one does not have: its apis refuse their tokens.
const ADDED: [&str; 3] = [
    "tok_visa_debit",
    "tok_mastercard_debit",
    "tok_mastercard_prepaid",
];

/// A card of the steady load: most are approved, one in ten is declined, one in ten has trouble with its issuer, one in twelve
/// needs its shopper. Beside the
/// previous release only cards that it has, too.
pub fn any(random: &mut Random, beside_previous: bool) -> &'static TestCard {
    const TROUBLE: [&str; 6] = [
        "tok_issuer_down_1",
        "tok_issuer_down_2",
        "tok_answer_lost_once",
        "tok_answer_lost",
        "tok_issuer_down",
        "tok_issuer_slow",
    ];
    const SHOPPER: [&str; 5] = [
        "tok_3ds",
        "tok_3ds_always",
        "tok_3ds_declined",
        "tok_3ds_tab_closed",
        "tok_3ds_told_twice",
    ];
    if random.below(12) == 0 && !beside_previous {
        return by_token(random.pick(&SHOPPER));
    }
    let fits: fn(&TestCard) -> bool = match random.below(10) {
        0 => |card| matches!(card.behaviour, Behaviour::Decline(_)),
        1 => return by_token(random.pick(&TROUBLE)),
        _ => |card| card.behaviour == Behaviour::Approve,
    };
    let is_known = |card: &&TestCard| !(beside_previous && ADDED.contains(&card.token));
    let cards = TEST_CARDS.iter().filter(|card| fits(card));
    let cards: Vec<_> = cards.filter(is_known).collect();
    random.pick(&cards)
}
