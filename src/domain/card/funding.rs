//! What stands behind a card: a line of credit, an account, or money paid in advance.

use std::fmt;
use std::ops::RangeInclusive;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// What stands behind a card, as far as its number tells.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Funding {
    /// A line of credit.
    Credit,
    /// A bank account.
    Debit,
    /// Money paid in advance.
    Prepaid,
    /// Its number is in no known range, or an earlier release stored the card.
    #[default]
    Unknown,
}

/// First eight digits (ISO/IEC 7812-1:2017) and what stands behind their cards. Only ranges of test cards: the tables of
/// the card schemes are not public.
const RANGES: [(RangeInclusive<u32>, Funding); 14] = [
    (37_828_224..=37_828_224, Funding::Credit),
    (40_000_000..=40_000_000, Funding::Credit),
    (40_000_025..=40_000_025, Funding::Credit),
    (40_000_027..=40_000_027, Funding::Credit),
    (40_000_082..=40_000_082, Funding::Credit),
    (40_000_084..=40_000_084, Funding::Credit),
    (40_000_099..=40_000_099, Funding::Credit),
    (40_000_566..=40_000_566, Funding::Debit),
    (41_000_000..=41_000_000, Funding::Credit),
    (42_424_242..=42_424_242, Funding::Credit),
    (51_051_051..=51_051_051, Funding::Prepaid),
    (52_008_282..=52_008_282, Funding::Debit),
    (55_555_555..=55_555_555, Funding::Credit),
    (60_111_111..=60_111_111, Funding::Credit),
];

impl Funding {
    /// All values.
    pub const ALL: [Self; 4] = [Self::Credit, Self::Debit, Self::Prepaid, Self::Unknown];

    /// By the first eight digits of a card number.
    pub(super) fn of_range(first_eight: u32) -> Self {
        RANGES
            .iter()
            .find(|(range, _)| range.contains(&first_eight))
            .map_or(Self::Unknown, |(_, funding)| *funding)
    }

    /// The name in rows, answers and settings: `debit`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Credit => "credit",
            Self::Debit => "debit",
            Self::Prepaid => "prepaid",
            Self::Unknown => "unknown",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        let mut all = Self::ALL.into_iter();
        all.find(|funding| funding.as_str() == text)
    }
}

impl fmt::Display for Funding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
