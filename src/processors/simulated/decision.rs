//! What the issuer does with a call: one pure function. What some cards do depends on the number of the call, which the
//! issuer counts for each attempt.

use std::time::Duration;

use super::cards::{self, Behaviour, LaterCalls};
use crate::domain::{Card, Timestamp};

/// What the issuer does with one call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decision {
    /// Charges the card, unless it is already charged or the attempt has been reversed.
    Charge {
        /// How much longer than usual it takes.
        extra_delay: Duration,
        /// Whether the connection breaks before the answer.
        answer_lost: bool,
    },
    /// Refuses, with this decline code.
    Decline(&'static str),
    /// Refuses because the month has passed; an earlier try, before midnight, may have charged.
    Expired,
    /// Reports that it is down, and certainly charges nothing.
    Unavailable,
    /// Asks the shopper to approve.
    NeedsShopper,
    /// Neither charges nor answers, for as long as the caller waits.
    Silence,
}

/// How much longer a slow issuer takes.
pub const SLOW: Duration = Duration::from_secs(2);

/// Decides about a call (counted from 1 within its attempt) at the given time.
///
/// Listed cards do what the table says, so that 9999999999999 is approved; any other card is declined if its check
/// digit is wrong and approved otherwise. A card that would be charged is declined once its month has ended
/// everywhere on earth.
pub fn decide(card: &Card, now: Timestamp, call: u32) -> Decision {
    let charge = Decision::Charge {
        extra_delay: Duration::ZERO,
        answer_lost: false,
    };
    let unheard_charge = Decision::Charge {
        extra_delay: Duration::ZERO,
        answer_lost: true,
    };
    match behaviour(card) {
        Behaviour::Decline(code) => Decision::Decline(code),
        _ if card.expiration.is_past(now) => Decision::Expired,
        Behaviour::DownFor(tries) if call <= tries => Decision::Unavailable,
        Behaviour::AlwaysDown => Decision::Unavailable,
        Behaviour::NeedsShopper(_) => Decision::NeedsShopper,
        Behaviour::StaySilent => Decision::Silence,
        Behaviour::OnlyFirstCallCharges(_) if call == 1 => Decision::LATE_CHARGE,
        Behaviour::OnlyFirstCallCharges(LaterCalls::Declined(code)) => Decision::Decline(code),
        Behaviour::OnlyFirstCallCharges(LaterCalls::Unavailable) => Decision::Unavailable,
        Behaviour::OnlyFirstCallCharges(LaterCalls::Silent) => Decision::Silence,
        Behaviour::LoseFirstAnswer if call == 1 => unheard_charge,
        Behaviour::LoseEveryAnswer | Behaviour::LoseReversals(_) => unheard_charge,
        Behaviour::ApproveSlowly => Decision::LATE_CHARGE,
        Behaviour::Approve
        | Behaviour::ApproveThen(_)
        | Behaviour::DownFor(_)
        | Behaviour::LoseFirstAnswer => charge,
    }
}

/// Whether what the issuer does with the card depends on the number of the call.
pub fn depends_on_call(card: &Card) -> bool {
    match behaviour(card) {
        Behaviour::DownFor(_) | Behaviour::LoseFirstAnswer | Behaviour::OnlyFirstCallCharges(_) => {
            true
        }
        Behaviour::Approve
        | Behaviour::Decline(_)
        | Behaviour::ApproveSlowly
        | Behaviour::AlwaysDown
        | Behaviour::LoseEveryAnswer
        | Behaviour::StaySilent
        | Behaviour::LoseReversals(_)
        | Behaviour::ApproveThen(_)
        | Behaviour::NeedsShopper(_) => false,
    }
}

fn behaviour(card: &Card) -> Behaviour {
    match cards::by_number(card.number.expose()) {
        Some(listed) => listed.behaviour,
        None if card.number.passes_luhn() => Behaviour::Approve,
        None => Behaviour::Decline("incorrect_number"),
    }
}

impl Decision {
    const LATE_CHARGE: Self = Self::Charge {
        extra_delay: SLOW,
        answer_lost: false,
    };

    /// How much longer than usual it takes.
    pub fn extra_delay(self) -> Duration {
        match self {
            Self::Charge { extra_delay, .. } => extra_delay,
            Self::Decline(_)
            | Self::Expired
            | Self::Unavailable
            | Self::NeedsShopper
            | Self::Silence => Duration::ZERO,
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use time::macros::datetime;

    use super::super::TEST_CARDS;
    use super::*;
    use crate::domain::{CardCode, CardNumber, Expiration};

    const NOW: Timestamp = datetime!(2026-11-22 00:00 UTC);

    fn card(number: &str, expiration: &str) -> Card {
        Card {
            number: CardNumber::parse(number).unwrap(),
            code: CardCode::parse("123").unwrap(),
            expiration: Expiration::parse(expiration).unwrap(),
        }
    }

    const fn charge(answer_lost: bool) -> Decision {
        let extra_delay = Duration::ZERO;
        Decision::Charge {
            extra_delay,
            answer_lost,
        }
    }

    /// Number, and what becomes of calls 1 to 5.
    #[rustfmt::skip]
    const EXPECTED: &[(&str, [Decision; 5])] = {
        const OK: Decision = charge(false);
        const LOST: Decision = charge(true);
        const LATE: Decision = Decision::Charge { extra_delay: SLOW, answer_lost: false };
        const DOWN: Decision = Decision::Unavailable;
        const ASK: Decision = Decision::NeedsShopper;
        const fn first(first: Decision, later: Decision) -> [Decision; 5] { [first, later, later, later, later] }
        const fn no(code: &'static str) -> [Decision; 5] { [Decision::Decline(code); 5] }
        &[
            ("4242424242424242", [OK; 5]), ("5555555555554444", [OK; 5]), ("378282246310005", [OK; 5]),
            ("6011111111111117", [OK; 5]), ("9999999999999", [OK; 5]), ("4000056655665556", [OK; 5]),
            ("5200828282828210", [OK; 5]), ("5105105105105100", [OK; 5]),
            ("4000000000000002", no("generic_decline")), ("4000000000009995", no("insufficient_funds")),
            ("4000000000009987", no("lost_card")), ("4000000000009979", no("stolen_card")),
            ("4000000000000069", no("expired_card")), ("4000000000000127", no("incorrect_cvc")),
            ("4000000000000119", no("processing_error")), ("4000000000006975", no("card_velocity_exceeded")),
            ("4242424242424241", no("incorrect_number")), ("4100000000000019", no("fraudulent")),
            ("4000009900000509", [LATE; 5]),
            ("4000009900000012", [DOWN, OK, OK, OK, OK]), ("4000009900000020", [DOWN, DOWN, OK, OK, OK]),
            ("4000009900000038", [DOWN, DOWN, DOWN, OK, OK]), ("4000009900000046", [DOWN, DOWN, DOWN, DOWN, OK]),
            ("4000009900000103", [DOWN; 5]), ("4000009900000202", [LOST, OK, OK, OK, OK]),
            ("4000009900000301", [LOST; 5]), ("4000009900000400", [Decision::Silence; 5]),
            ("4000009900000319", [LOST; 5]),
            ("4000009900006001", first(LATE, Decision::Decline("do_not_honor"))),
            ("4000009900006100", first(LATE, DOWN)), ("4000009900006209", first(LATE, Decision::Silence)),
            ("4000002500003155", [ASK; 5]), ("4000002760003184", [ASK; 5]), ("4000008260003178", [ASK; 5]),
            ("4000008400001629", [ASK; 5]), ("4000009900081103", [ASK; 5]), ("4000009900081202", [ASK; 5]),
            ("4000009900081301", [ASK; 5]),
            ("4000000000007726", [OK; 5]),
            ("4000000000005126", [OK; 5]),
            ("4000009900071104", [OK; 5]),
            ("4000009900071203", [OK; 5]),
            ("4000009900071302", [OK; 5]),
            ("4000009900071401", [OK; 5]),
            ("4000009900072102", [OK; 5]),
            ("4000009900072201", [OK; 5]),
            ("4000009900072300", [OK; 5]),
            ("4000009900072409", [OK; 5]),
            ("4000009900073100", [OK; 5]),
            ("4000009900073209", [OK; 5]),
            ("4000009900073308", [OK; 5]),
            ("4000009900073407", [OK; 5]),
            ("4000009900071500", [OK; 5]),
            // Not listed: any card with a right check digit, and one with a wrong one.
            ("4111111111111111", [OK; 5]), ("4111111111111112", no("incorrect_number")),
        ]
    };

    #[test]
    fn every_test_card_behaves_as_listed_on_every_call() {
        for card in TEST_CARDS {
            assert!(
                EXPECTED.iter().any(|(number, _)| *number == card.number),
                "{}",
                card.token
            );
        }
        for (number, calls) in EXPECTED {
            let card = card(number, "2026-11");
            let differ = calls.iter().any(|call| call != &calls[0]);
            assert_eq!(depends_on_call(&card), differ, "{number}");
            for (call, expected) in (1..).zip(calls) {
                assert_eq!(decide(&card, NOW, call), *expected, "{number}, call {call}");
            }
        }
    }

    #[test]
    fn a_card_is_valid_until_the_end_of_its_month() {
        let at = |now| decide(&card("4242424242424242", "2026-11"), now, 1);
        // Baker Island has November until noon of 1 December in UTC.
        assert_eq!(at(datetime!(2026-11-30 23:59:59 UTC)), charge(false));
        assert_eq!(at(datetime!(2026-12-01 11:59:59.999999 UTC)), charge(false));
        assert_eq!(at(datetime!(2026-12-01 12:00 UTC)), Decision::Expired);
        let december = |now| decide(&card("4242424242424242", "2026-12"), now, 1);
        assert_eq!(december(datetime!(2027-01-01 11:59 UTC)), charge(false));
        assert_eq!(december(datetime!(2027-01-01 12:00 UTC)), Decision::Expired);
        assert_eq!(
            decide(&card("9999999999999", "2026-10"), NOW, 1),
            Decision::Expired
        );
        let wrong = decide(&card("4111111111111112", "2026-10"), NOW, 1);
        assert_eq!(wrong, Decision::Decline("incorrect_number"));
    }

    proptest! {
        /// Once charged, an attempt is charged on every later call, so that a repeat can only confirm. The exception are the
        /// cards whose purpose is that later calls contradict the first.
        #[test]
        fn a_later_call_never_reverses_an_earlier_charge(
            index in 0..TEST_CARDS.len(), earlier in 1_u32..40, more in 0_u32..40,
        ) {
            let card = card(TEST_CARDS[index].number, "2030-01");
            let (first, second) = (decide(&card, NOW, earlier), decide(&card, NOW, earlier + more));
            if matches!(TEST_CARDS[index].behaviour, Behaviour::OnlyFirstCallCharges(_)) {
                return Ok(());
            }
            let charges = |decision| matches!(decision, Decision::Charge { .. });
            prop_assert!(!charges(first) || charges(second));
        }
    }
}
