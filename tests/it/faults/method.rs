//! What a payment of the load is paid with: a test card of the simulated issuer, or a way to pay at a platform.

use std::time::Duration;

use payment_service::domain::OperationKind;
use payment_service::processors::simulated::TestCard;
use serde_json::{Value, json};

use super::drill::AFTERMATH;
use super::random::Random;
use super::{cards, operations};
use crate::platforms::paypal::stand_in::Pays;

/// For so long a platform that did not answer is not called.
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// What a payment is paid with.
#[derive(Debug, Clone, Copy)]
pub enum Method {
    Card(&'static TestCard),
    At(AtPlatform),
}

/// A way to pay at a platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum AtPlatform {
    /// A token of Stripe's that is approved at once.
    StripeToken,
    /// A token that Stripe's issuer declines.
    StripeDeclined,
    /// A token whose shopper has to approve.
    StripeShopper,
    /// The shopper pays on Stripe's page.
    StripePage,
    /// The shopper approves on PayPal's page, and pays like this.
    PayPal(Pays),
}

/// A platform.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Platform {
    Stripe,
    PayPal,
}

impl Platform {
    pub const ALL: [Self; 2] = [Self::Stripe, Self::PayPal];

    /// In `PROCESSORS_FILE`.
    pub fn name(self) -> &'static str {
        match self {
            Self::Stripe => "stripe",
            Self::PayPal => "paypal",
        }
    }
}

impl AtPlatform {
    pub fn platform(self) -> Platform {
        match self {
            Self::PayPal(_) => Platform::PayPal,
            _ => Platform::Stripe,
        }
    }

    /// A request's `payment_method`.
    pub fn body(self) -> Value {
        let token = |token| json!({"type": "token", "processor": "stripe", "token": token});
        let redirect = |to: Platform| json!({"type": "redirect", "processor": to.name()});
        match self {
            Self::StripeToken => token("pm_card_visa"),
            Self::StripeDeclined => token("pm_card_chargeDeclinedInsufficientFunds"),
            Self::StripeShopper => token("pm_card_authenticationRequired"),
            Self::StripePage | Self::PayPal(_) => redirect(self.platform()),
        }
    }

    /// How it ends at a platform that works.
    pub fn usual(self) -> &'static str {
        match self {
            Self::StripeDeclined | Self::PayPal(Pays::Never) => "declined",
            _ => "succeeded",
        }
    }

    /// As [`Method::outcomes`]. A platform in trouble can make any payment fail: whether it has charged something then is
    /// what its book says.
    fn outcomes(self) -> &'static [&'static str] {
        match self.usual() {
            "declined" => &["declined", "failed"],
            _ => &["succeeded", "failed"],
        }
    }

    /// One of the load. With operations it is one that is paid.
    pub fn any(random: &mut Random, is_paid: bool) -> Self {
        let ways: &[Self] = match is_paid {
            true => &[
                Self::StripeToken,
                Self::StripeShopper,
                Self::StripePage,
                Self::PayPal(Pays::Well),
                Self::PayPal(Pays::Well),
                Self::PayPal(Pays::Declined),
            ],
            false => &[
                Self::StripeToken,
                Self::StripeDeclined,
                Self::StripeShopper,
                Self::StripePage,
                Self::PayPal(Pays::Well),
                Self::PayPal(Pays::Well),
                Self::PayPal(Pays::Declined),
                Self::PayPal(Pays::Never),
            ],
        };
        random.pick(ways)
    }
}

impl Method {
    pub fn name(self) -> String {
        match self {
            Self::Card(card) => card.token.to_owned(),
            Self::At(way) => format!("{way:?}"),
        }
    }

    /// The outcomes of its authorization, one of which it must have.
    pub fn outcomes(self) -> &'static [&'static str] {
        match self {
            Self::Card(card) => cards::promised(card),
            Self::At(way) => way.outcomes(),
        }
    }

    /// The statuses that the results of an operation report: one of these lists.
    pub fn results(self, kind: OperationKind) -> &'static [&'static [&'static str]] {
        match self {
            Self::Card(card) => operations::promised(card, kind),
            Self::At(_) => &[&["succeeded"], &["failed"]],
        }
    }

    /// How long a payment may take after a fault has ended.
    pub fn patience(self) -> Duration {
        match self {
            Self::Card(card) => cards::patience(card),
            Self::At(_) => AFTERMATH + LONGEST_PAUSE,
        }
    }

    /// Whether its shopper has to do something.
    pub fn needs_shopper(self) -> bool {
        match self {
            Self::Card(card) => cards::needs_shopper(card),
            Self::At(way) => !matches!(way, AtPlatform::StripeToken | AtPlatform::StripeDeclined),
        }
    }

    /// Whether the simulated issuer approves or declines it at the first call.
    pub fn is_answered_at_once(self) -> bool {
        matches!(self, Self::Card(card) if cards::is_answered_at_once(card))
    }

    /// Whether a platform decides, which can fail.
    pub fn is_at_platform(self) -> bool {
        matches!(self, Self::At(_))
    }
}
