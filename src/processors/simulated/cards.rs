//! The table of test cards and reusable test tokens. The issuer's behaviour, the lists in the documents and the
//! expectations of the demonstration all come from it.
//!
//! Cards that approve or decline have the numbers that people know from other test systems. Cards with faults have their
//! own range, 4000 0099 0000 …; their digits before the check digit identify the fault.

use crate::domain::{Brand, OperationKind};

/// A card that the issuer knows, and its token for use where a card must not be sent in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TestCard {
    /// The digits. Any future month and any code are valid with them.
    pub number: &'static str,
    /// The scheme, as [`crate::domain::CardNumber::brand`] returns it.
    pub brand: Brand,
    /// Reusable, by every client, for any number of payments.
    pub token: &'static str,
    /// What the issuer does with it.
    pub behaviour: Behaviour,
    /// A one-line description for the documents.
    pub line: &'static str,
}

/// What the issuer does with a card.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Behaviour {
    /// Charges and approves.
    Approve,
    /// Refuses with this decline code.
    Decline(&'static str),
    /// Charges, and approves two seconds late.
    ApproveSlowly,
    /// Reports that it is down for this many tries of each attempt; then approves.
    DownFor(u32),
    /// Always reports that it is down.
    AlwaysDown,
    /// Charges at once, but the connection breaks before the answer to the first try; later tries get the answer.
    LoseFirstAnswer,
    /// Charges at once, but the connection breaks before every answer.
    LoseEveryAnswer,
    /// Neither charges nor answers: the call stays open until its caller times out.
    StaySilent,
    /// As [`Self::LoseEveryAnswer`]; then the reversal, too, is not answered this many times.
    LoseReversals(u32),
    /// Charges the first call for an attempt, two seconds late. Any other call for it gets a different answer at once, even
    /// while the first is running: as if a worker was held up inside its call.
    OnlyFirstCallCharges(LaterCalls),
    /// Charges and approves; what goes wrong is a later operation.
    ApproveThen(OperationFault),
    /// Asks the shopper to approve (3-D Secure).
    NeedsShopper(AfterApproval),
}

/// What happens once the shopper has approved.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AfterApproval {
    /// Charged.
    Charge,
    /// Refused with this decline code.
    Decline(&'static str),
    /// Charged, but the shopper closes the tab: the service is not told, and has to ask.
    ChargeUntold,
    /// Charged, and the service is told twice.
    ChargeToldTwice,
    /// The approval reaches the issuer only when the shopper's time is over and the attempt is closed.
    ChargeTooLate,
}

/// What goes wrong with a capture, void or refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationFault {
    /// A refund is accepted, and carried out two seconds later.
    RefundSucceedsLate,
    /// A refund is carried out, and returned two seconds later.
    RefundFailsAfterwards,
    /// The issuer is down for this many calls of each operation of the kind.
    DownFor(OperationKind, u32),
    /// Carried out, but the first answer is lost.
    LoseFirstAnswer(OperationKind),
    /// Neither carried out nor answered.
    StaySilent(OperationKind),
    /// Permanently refused.
    Refuse(OperationKind),
    /// The authorization no longer exists when it is to be captured.
    AuthorizationGone,
}

impl OperationFault {
    /// The operation that goes wrong.
    pub fn of_kind(self) -> OperationKind {
        match self {
            Self::RefundSucceedsLate | Self::RefundFailsAfterwards => OperationKind::Refund,
            Self::AuthorizationGone => OperationKind::Capture,
            Self::DownFor(kind, _)
            | Self::LoseFirstAnswer(kind)
            | Self::StaySilent(kind)
            | Self::Refuse(kind) => kind,
        }
    }
}

/// What [`Behaviour::OnlyFirstCallCharges`] does with calls after the first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum LaterCalls {
    /// Refused, with this decline code.
    Declined(&'static str),
    /// The issuer reports that it is down.
    Unavailable,
    /// Never answered.
    Silent,
}

/// The card with these digits.
pub fn by_number(digits: &str) -> Option<&'static TestCard> {
    TEST_CARDS.iter().find(|card| card.number == digits)
}

/// The token of the card with these digits, if a later operation goes wrong with it.
pub fn faulty_later_token(digits: &str) -> Option<&'static str> {
    let listed = by_number(digits)?;
    matches!(listed.behaviour, Behaviour::ApproveThen(_)).then_some(listed.token)
}

/// What goes wrong with the operations on the card behind a token.
pub fn operation_fault(token: &str) -> Option<OperationFault> {
    match by_token(token)?.behaviour {
        Behaviour::ApproveThen(fault) => Some(fault),
        _ => None,
    }
}

/// The card behind a token.
pub fn by_token(token: &str) -> Option<&'static TestCard> {
    TEST_CARDS.iter().find(|card| card.token == token)
}

const fn card(
    number: &'static str,
    brand: Brand,
    token: &'static str,
    behaviour: Behaviour,
    line: &'static str,
) -> TestCard {
    TestCard {
        number,
        brand,
        token,
        behaviour,
        line,
    }
}

const fn declined(
    number: &'static str,
    token: &'static str,
    code: &'static str,
    line: &'static str,
) -> TestCard {
    card(number, Brand::Visa, token, Behaviour::Decline(code), line)
}

const fn faulty(
    number: &'static str,
    token: &'static str,
    behaviour: Behaviour,
    line: &'static str,
) -> TestCard {
    card(number, Brand::Visa, token, behaviour, line)
}

const fn faulty_later(
    number: &'static str,
    token: &'static str,
    fault: OperationFault,
    line: &'static str,
) -> TestCard {
    let behaviour = Behaviour::ApproveThen(fault);
    card(number, Brand::Visa, token, behaviour, line)
}

/// All test cards: approvals, declines, faults.
#[rustfmt::skip] // one card, one line: this is a table
pub const TEST_CARDS: &[TestCard] = &[
    card("4242424242424242", Brand::Visa, "tok_visa", Behaviour::Approve, "Approved."),
    card("5555555555554444", Brand::Mastercard, "tok_mastercard", Behaviour::Approve, "Approved."),
    card("378282246310005", Brand::Amex, "tok_amex", Behaviour::Approve, "Approved."),
    card("6011111111111117", Brand::Discover, "tok_discover", Behaviour::Approve, "Approved."),
    card("4000056655665556", Brand::Visa, "tok_visa_debit", Behaviour::Approve, "Approved: a debit card."),
    card("5200828282828210", Brand::Mastercard, "tok_mastercard_debit", Behaviour::Approve, "Approved: a debit card."),
    card("5105105105105100", Brand::Mastercard, "tok_mastercard_prepaid", Behaviour::Approve, "Approved: a prepaid card."),
    card("9999999999999", Brand::Unknown, "tok_all_nines", Behaviour::Approve,
        "Approved, although its check digit is wrong: existing callers use it."),

    declined("4000000000000002", "tok_generic_decline", "generic_decline", "Declined without a reason."),
    declined("4000000000009995", "tok_insufficient_funds", "insufficient_funds", "Declined: not enough money."),
    declined("4000000000009987", "tok_lost_card", "lost_card", "Declined: reported lost."),
    declined("4000000000009979", "tok_stolen_card", "stolen_card", "Declined: reported stolen."),
    declined("4000000000000069", "tok_expired_card", "expired_card", "Declined as expired, whatever its month."),
    declined("4000000000000127", "tok_incorrect_cvc", "incorrect_cvc", "Declined: wrong code, whatever its code."),
    declined("4000000000000119", "tok_processing_error", "processing_error", "Declined: the issuer made an error."),
    declined("4000000000006975", "tok_card_velocity_exceeded", "card_velocity_exceeded", "Declined: used too often."),
    declined("4242424242424241", "tok_incorrect_number", "incorrect_number", "Declined: its check digit is wrong."),
    declined("4100000000000019", "tok_fraudulent", "fraudulent", "Declined: blocked as fraudulent."),

    faulty("4000009900000509", "tok_issuer_slow", Behaviour::ApproveSlowly, "Approved after two seconds."),
    faulty("4000009900000012", "tok_issuer_down_1", Behaviour::DownFor(1), "The issuer is down once, then approves."),
    faulty("4000009900000020", "tok_issuer_down_2", Behaviour::DownFor(2), "The issuer is down twice, then approves."),
    faulty("4000009900000038", "tok_issuer_down_3", Behaviour::DownFor(3), "The issuer is down for three tries, then approves."),
    faulty("4000009900000046", "tok_issuer_down_4", Behaviour::DownFor(4), "The issuer is down for four tries, then approves."),
    faulty("4000009900000103", "tok_issuer_down", Behaviour::AlwaysDown, "The issuer is never reachable: failed, nothing charged."),
    faulty("4000009900000202", "tok_answer_lost_once", Behaviour::LoseFirstAnswer, "Charged, but the first answer is lost; the next try gets it: succeeded, one charge."),
    faulty("4000009900000301", "tok_answer_lost", Behaviour::LoseEveryAnswer, "Charged, but every answer is lost: reversed, failed."),
    faulty("4000009900000400", "tok_issuer_silent", Behaviour::StaySilent, "Never answers and never charges; because the service cannot know that: reversed, failed."),
    faulty("4000009900000319", "tok_reversal_lost_2", Behaviour::LoseReversals(2), "Charged, every answer is lost, and so are the first two of the reversal: reversed in the end, failed."),
    faulty("4000009900006001", "tok_later_calls_declined", Behaviour::OnlyFirstCallCharges(LaterCalls::Declined("do_not_honor")),
        "Approved after two seconds; if it is called again in the meantime, as after a worker's death, that call is declined: the charge is reversed, declined."),
    faulty("4000009900006100", "tok_later_calls_down", Behaviour::OnlyFirstCallCharges(LaterCalls::Unavailable),
        "Approved after two seconds; if it is called again in the meantime, the issuer is down: the charge is reversed, failed."),
    faulty("4000009900006209", "tok_later_calls_silent", Behaviour::OnlyFirstCallCharges(LaterCalls::Silent),
        "Approved after two seconds; if it is called again in the meantime, no answer comes: the charge is reversed, failed."),

    faulty("4000002500003155", "tok_3ds", Behaviour::NeedsShopper(AfterApproval::Charge), "The shopper has to approve (3-D Secure); then approved."),
    faulty("4000002760003184", "tok_3ds_always", Behaviour::NeedsShopper(AfterApproval::Charge), "The shopper has to approve (3-D Secure), for every payment; then approved."),
    faulty("4000008260003178", "tok_3ds_insufficient_funds", Behaviour::NeedsShopper(AfterApproval::Decline("insufficient_funds")),
        "The shopper has to approve (3-D Secure); then declined: not enough money."),
    faulty("4000008400001629", "tok_3ds_declined", Behaviour::NeedsShopper(AfterApproval::Decline("generic_decline")),
        "The shopper has to approve (3-D Secure); then declined without a reason."),
    faulty("4000009900081103", "tok_3ds_tab_closed", Behaviour::NeedsShopper(AfterApproval::ChargeUntold),
        "The shopper approves (3-D Secure) and closes the tab: the service finds out by asking: approved."),
    faulty("4000009900081202", "tok_3ds_told_twice", Behaviour::NeedsShopper(AfterApproval::ChargeToldTwice),
        "The shopper approves (3-D Secure), and the issuer says so twice: approved, one charge."),
    faulty("4000009900081301", "tok_3ds_too_late", Behaviour::NeedsShopper(AfterApproval::ChargeTooLate),
        "The approval (3-D Secure) arrives when the time is over: failed, nothing charged."),

    faulty_later("4000000000007726", "tok_refund_pending", OperationFault::RefundSucceedsLate,
        "Approved; its refunds are pending for two seconds, then they succeed."),
    faulty_later("4000000000005126", "tok_refund_fails", OperationFault::RefundFailsAfterwards,
        "Approved; its refunds succeed, and fail two seconds later."),
    faulty_later("4000009900071104", "tok_capture_down_2", OperationFault::DownFor(OperationKind::Capture, 2),
        "Approved; the issuer is down for the first two tries of a capture, then carries it out."),
    faulty_later("4000009900071203", "tok_capture_answer_lost", OperationFault::LoseFirstAnswer(OperationKind::Capture),
        "Approved; a capture is carried out, but its first answer is lost: the next try gets it."),
    faulty_later("4000009900071302", "tok_capture_silent", OperationFault::StaySilent(OperationKind::Capture),
        "Approved; a capture is never answered and never carried out: closed, failed."),
    faulty_later("4000009900071401", "tok_capture_refused", OperationFault::Refuse(OperationKind::Capture),
        "Approved; a capture is refused."),
    faulty_later("4000009900072102", "tok_void_down_2", OperationFault::DownFor(OperationKind::Void, 2),
        "Approved; the issuer is down for the first two tries of a void, then carries it out."),
    faulty_later("4000009900072201", "tok_void_answer_lost", OperationFault::LoseFirstAnswer(OperationKind::Void),
        "Approved; a void is carried out, but its first answer is lost: the next try gets it."),
    faulty_later("4000009900072300", "tok_void_silent", OperationFault::StaySilent(OperationKind::Void),
        "Approved; a void is never answered and never carried out: closed, failed."),
    faulty_later("4000009900072409", "tok_void_refused", OperationFault::Refuse(OperationKind::Void),
        "Approved; a void is refused."),
    faulty_later("4000009900073100", "tok_refund_down_2", OperationFault::DownFor(OperationKind::Refund, 2),
        "Approved; the issuer is down for the first two tries of a refund, then carries it out."),
    faulty_later("4000009900073209", "tok_refund_answer_lost", OperationFault::LoseFirstAnswer(OperationKind::Refund),
        "Approved; a refund is carried out, but its first answer is lost: the next try gets it."),
    faulty_later("4000009900073308", "tok_refund_silent", OperationFault::StaySilent(OperationKind::Refund),
        "Approved; a refund is never answered and never carried out: closed, failed."),
    faulty_later("4000009900073407", "tok_refund_refused", OperationFault::Refuse(OperationKind::Refund),
        "Approved; a refund is refused."),
    faulty_later("4000009900071500", "tok_authorization_gone", OperationFault::AuthorizationGone,
        "Approved; the authorization is gone when it is to be captured: canceled."),
];

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;
    use crate::domain::{CardNumber, Funding, card::holds_card_number};

    #[test]
    fn each_test_card_is_valid_and_only_two_have_a_wrong_check_digit() {
        for card in TEST_CARDS {
            let number = CardNumber::parse(card.number).unwrap();
            assert_eq!(number.brand(), card.brand, "{}", card.token);
            let wrong_by_intent = ["tok_all_nines", "tok_incorrect_number"].contains(&card.token);
            assert_eq!(number.passes_luhn(), !wrong_by_intent, "{}", card.token);
            let is_in_no_range = number.funding() == Funding::Unknown;
            assert_eq!(
                is_in_no_range,
                card.brand == Brand::Unknown,
                "{}",
                card.token
            );
        }
    }

    #[test]
    fn every_decline_code_of_a_card_is_listed() {
        let codes = TEST_CARDS.iter().filter_map(|card| match card.behaviour {
            Behaviour::Decline(code)
            | Behaviour::OnlyFirstCallCharges(LaterCalls::Declined(code))
            | Behaviour::NeedsShopper(AfterApproval::Decline(code)) => Some(code),
            _ => None,
        });
        // What shoppers cause.
        let codes = codes.chain([
            "abandoned_by_shopper",
            "authentication_failed",
            "authentication_required",
        ]);
        let known: HashSet<&str> = super::super::DECLINE_CODES.into();
        assert_eq!(codes.collect::<HashSet<_>>(), known);
    }

    #[test]
    fn numbers_and_tokens_are_unique_and_can_be_looked_up() {
        let numbers: HashSet<_> = TEST_CARDS.iter().map(|card| card.number).collect();
        let tokens: HashSet<_> = TEST_CARDS.iter().map(|card| card.token).collect();
        assert_eq!(
            (numbers.len(), tokens.len()),
            (TEST_CARDS.len(), TEST_CARDS.len())
        );
        for card in TEST_CARDS {
            assert_eq!(by_number(card.number), Some(card));
            assert_eq!(by_token(card.token), Some(card));
        }
        assert_eq!(by_token("tok_unheard_of"), None);
    }

    #[test]
    fn cards_for_faults_have_a_separate_range() {
        for card in TEST_CARDS {
            let fault = !matches!(card.behaviour, Behaviour::Approve | Behaviour::Decline(_));
            // Known from other test systems.
            let known = [
                "tok_refund_pending",
                "tok_refund_fails",
                "tok_3ds",
                "tok_3ds_always",
                "tok_3ds_insufficient_funds",
                "tok_3ds_declined",
            ];
            if known.contains(&card.token) {
                continue;
            }
            assert_eq!(card.number.starts_with("40000099"), fault, "{}", card.token);
        }
    }

    #[test]
    fn tokens_and_descriptions_are_plain_ascii() {
        for card in TEST_CARDS {
            assert!(card.token.starts_with("tok_") && card.token.len() <= 36);
            assert!(!holds_card_number(card.token) && !holds_card_number(card.line));
            assert!(card.line.ends_with('.'));
        }
    }
}
