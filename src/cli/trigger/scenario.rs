//! The scenarios: every test card of the simulated issuer, the wallet, and the operations in which it can go wrong. All are
//! derived from its table of test cards.

use crate::cli::promise::Promise;
use crate::domain::{OperationKind, OperationStatus, PaymentStatus, WALLET};
use crate::processors::simulated::{
    AfterApproval, Behaviour, OperationFault, TEST_CARDS, TestCard,
};
use crate::wire::did_you_mean::closest;

/// The card of the scenarios in which nothing goes wrong.
const GOOD_CARD: &str = "tok_visa";

/// The card that needs its shopper, as a wallet does.
const APPROVED_CARD: &str = "tok_3ds";

/// A payment with a test card, and what is requested once it is authorized.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Scenario {
    /// The token of the card without `tok_`, with hyphens; or the operation.
    pub name: String,
    pub card: &'static TestCard,
    /// Whether the shopper pays with the wallet, which behaves as the card would.
    pub wallet: bool,
    /// What is requested after the authorization.
    pub operation: Option<OperationKind>,
    /// What happens, in words.
    pub line: String,
}

/// All of them: the cards in the order of their table, then the operations.
pub(super) fn all() -> Vec<Scenario> {
    let good = TEST_CARDS.iter().find(|card| card.token == GOOD_CARD);
    let operation = |(card, kind): (&'static TestCard, OperationKind)| Scenario {
        name: kind.as_str().to_owned(),
        card,
        wallet: false,
        operation: Some(kind),
        line: match kind {
            OperationKind::Capture => "Authorized, then captured.".to_owned(),
            OperationKind::Void => "Authorized, then canceled.".to_owned(),
            OperationKind::Refund => "Approved, then refunded.".to_owned(),
        },
    };
    let operations = OperationKind::ALL.into_iter();
    let operations = operations.filter_map(|kind| Some(operation((good?, kind))));
    let approved = TEST_CARDS.iter().find(|card| card.token == APPROVED_CARD);
    let wallet = approved.map(|card| Scenario {
        name: WALLET.to_owned(),
        card,
        wallet: true,
        operation: None,
        line: "Paid with a wallet, which the shopper approves.".to_owned(),
    });
    TEST_CARDS
        .iter()
        .map(Scenario::of)
        .chain(wallet)
        .chain(operations)
        .collect()
}

/// The scenario with this name; a token of a test card is a name, too.
pub(super) fn by_name(name: &str) -> Option<Scenario> {
    let of_card = |it: &Scenario| it.card.token == name && !it.wallet;
    let known = |scenario: &Scenario| scenario.name == name || of_card(scenario);
    all().into_iter().find(known)
}

/// The name that was probably meant.
pub(super) fn meant(name: &str) -> Option<String> {
    let all = all();
    let names = || all.iter().map(|scenario| scenario.name.as_str());
    let closest = closest(name, names());
    // `refund-fails-later` means `refund-fails`.
    let begun = names()
        .filter(|known| name.starts_with(known))
        .max_by_key(|known| known.len());
    closest.or(begun).map(str::to_owned)
}

impl Scenario {
    fn of(card: &'static TestCard) -> Self {
        let operation = match card.behaviour {
            Behaviour::ApproveThen(fault) => Some(fault.of_kind()),
            _ => None,
        };
        let token = card.token;
        Self {
            name: token
                .strip_prefix("tok_")
                .unwrap_or(token)
                .replace('_', "-"),
            card,
            wallet: false,
            operation,
            line: card.line.to_owned(),
        }
    }

    /// Whether the amount is captured later than it is authorized.
    pub(super) fn is_captured_later(&self) -> bool {
        matches!(
            self.operation,
            Some(OperationKind::Capture | OperationKind::Void)
        )
    }

    /// How the authorization ends, and why; `tries` is how many calls it took.
    pub(super) fn authorized(&self, tries: u32) -> (PaymentStatus, Option<String>) {
        if self.is_captured_later() {
            return (PaymentStatus::RequiresCapture, None);
        }
        // The service's own MAX_TRIES decides how often it called.
        let promise = Promise::of(self.card.behaviour, tries.max(1));
        (promise.status, promise.reason)
    }

    /// Whether nothing happens until the shopper's time is over.
    pub(super) fn ends_when_the_time_is_over(&self) -> bool {
        let behaviour = self.card.behaviour;
        behaviour == Behaviour::NeedsShopper(AfterApproval::ChargeTooLate)
    }

    /// The payment's status after its capture or void.
    pub(super) fn operated(&self, kind: OperationKind) -> PaymentStatus {
        match self.fault() {
            Some(OperationFault::StaySilent(its) | OperationFault::Refuse(its)) if its == kind => {
                PaymentStatus::RequiresCapture
            }
            Some(OperationFault::AuthorizationGone) => PaymentStatus::Canceled,
            _ if kind == OperationKind::Void => PaymentStatus::Canceled,
            _ => PaymentStatus::Succeeded,
        }
    }

    /// The final status of the refund.
    pub(super) fn refunded(&self) -> OperationStatus {
        match self.fault() {
            Some(
                OperationFault::RefundFailsAfterwards
                | OperationFault::StaySilent(OperationKind::Refund)
                | OperationFault::Refuse(OperationKind::Refund),
            ) => OperationStatus::Failed,
            _ => OperationStatus::Succeeded,
        }
    }

    fn fault(&self) -> Option<OperationFault> {
        match self.card.behaviour {
            Behaviour::ApproveThen(fault) => Some(fault),
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn every_test_card_is_a_scenario_and_names_are_unique() {
        let all = all();
        assert_eq!(all.len(), TEST_CARDS.len() + 1 + OperationKind::ALL.len());
        let names: HashSet<&str> = all.iter().map(|it| it.name.as_str()).collect();
        assert_eq!(names.len(), all.len());
        for scenario in &all {
            assert_eq!(by_name(&scenario.name).as_ref(), Some(scenario));
        }
        let refund = by_name("refund-fails").unwrap();
        assert_eq!(refund.operation, Some(OperationKind::Refund));
        assert_eq!(by_name("tok_refund_fails"), Some(refund));
    }

    #[test]
    fn a_misspelled_scenario_is_recognized() {
        assert_eq!(meant("refund-fails-later").as_deref(), Some("refund-fails"));
        assert_eq!(meant("isuer-down").as_deref(), Some("issuer-down"));
        assert_eq!(meant("captur").as_deref(), Some("capture"));
        assert_eq!(meant("bankruptcy"), None);
    }
}
