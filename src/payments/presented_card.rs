//! A card to be written to a row.

use crate::domain::CardSummary;
use crate::vault::SealedCard;

/// A card as it is written to a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCard {
    /// The parts that may be shown.
    pub summary: CardSummary,
    /// Sealed for its payment and attempt.
    pub sealed: SealedCard,
}
