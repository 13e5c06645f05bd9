//! A payment method to be written to a payment's row.

use crate::domain::{Card, MethodSummary, OtherMethod};
use crate::vault::SealedCard;

/// A payment method in clear.
pub(super) enum Clear {
    Card(Card),
    Other(OtherMethod),
}

/// A payment method in clear, with the processor that a route has chosen for it.
pub(super) struct Chosen {
    pub method: Clear,
    /// None: what the method itself names, otherwise the simulated issuer.
    pub processor: Option<String>,
}

/// A card, or another payment method, as it is written to a payment's row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCard {
    /// The parts that may be shown.
    pub summary: MethodSummary,
    /// Sealed for its payment and attempt.
    pub sealed: SealedCard,
}
