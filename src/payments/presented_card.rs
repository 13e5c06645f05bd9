//! A card on its way into a row.

use crate::domain::CardSummary;
use crate::vault::SealedCard;

/// A card as it goes into a row.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PresentedCard {
    /// What may be shown.
    pub summary: CardSummary,
    /// Sealed for its payment and attempt.
    pub sealed: SealedCard,
}
