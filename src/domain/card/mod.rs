//! Card data. In clear it exists only in these types; their `Debug` shows nothing, and they do not serialize.

mod digits;
mod expiration;
mod funding;
mod search;

use std::fmt;

use schemars::JsonSchema;
use secrecy::{ExposeSecret, SecretString};
use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

pub use digits::{HYPHENS, SPACES};
pub use expiration::Expiration;
pub use funding::Funding;
pub use search::{MASK, holds_card_number, without_card_number};

/// A card as it is presented: number, code and expiry month.
#[derive(Debug, Clone)]
pub struct Card {
    /// 12 to 19 digits (ISO/IEC 7812).
    pub number: CardNumber,
    /// 3 or 4 digits.
    pub code: CardCode,
    /// Expiry month.
    pub expiration: Expiration,
}

/// A card number (PAN) in clear.
#[derive(Clone)]
pub struct CardNumber(SecretString);

/// A card verification code in clear.
#[derive(Clone)]
pub struct CardCode(SecretString);

/// The card scheme, derived from the first digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Brand {
    /// 4…
    Visa,
    /// 51 to 55, 2221 to 2720
    Mastercard,
    /// 34, 37
    Amex,
    /// 6011, 644 to 649, 65
    Discover,
    /// Anything else
    Unknown,
}

/// The parts of a card that may be stored and shown.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct CardSummary {
    /// The scheme.
    pub brand: Brand,
    /// The last four digits.
    pub last4: String,
    /// `YYYY-MM`.
    pub expiration: Expiration,
    /// What stands behind it. Absent in what earlier releases stored.
    #[serde(default)]
    pub funding: Funding,
    /// The processor that a route has chosen; none for the simulated issuer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub processor: Option<String>,
}

impl CardSummary {
    /// Whether it has four digits of the number and no more: a damaged row must not show the others.
    pub fn has_four_digits(&self) -> bool {
        self.last4.len() == 4 && self.last4.bytes().all(|byte| byte.is_ascii_digit())
    }
}

/// Why card data is invalid. A valid card that an issuer refuses is a decline, not an error.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidCard {
    /// Letters, or fewer than 12 or more than 19 digits.
    #[error("must be 12 to 19 digits")]
    Number,
    /// Letters, or not 3 or 4 digits.
    #[error("must be 3 or 4 digits")]
    Code,
    /// Not a month in one of the forms that [`Expiration::parse`] reads.
    #[error("must be a month and a year such as 01/30, 2030-01 or 2030-01-05")]
    Expiration,
    /// Further ahead than cards are issued for.
    #[error("must not be more than 20 years ahead")]
    TooFarAhead,
}

impl Card {
    /// The parts that may be stored and shown.
    pub fn summary(&self) -> CardSummary {
        CardSummary {
            brand: self.number.brand(),
            last4: self.number.last4().to_owned(),
            expiration: self.expiration,
            funding: self.number.funding(),
            processor: None,
        }
    }
}

impl CardNumber {
    /// Fewest digits.
    pub const MIN_DIGITS: usize = 12;
    /// Most digits.
    pub const MAX_DIGITS: usize = 19;

    /// Reads 12 to 19 digits; spaces and hyphens between them are left out, including non-breaking ones.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        // Room for the longest number from the start: a buffer that grows leaves copies in memory.
        let mut digits = Zeroizing::new(String::with_capacity(Self::MAX_DIGITS));
        for c in text.chars().filter(|c| !digits::separates(*c)) {
            if !c.is_ascii_digit() || digits.len() == Self::MAX_DIGITS {
                return Err(InvalidCard::Number);
            }
            digits.push(c);
        }
        if digits.len() < Self::MIN_DIGITS {
            return Err(InvalidCard::Number);
        }
        Ok(Self(SecretString::from(digits.as_str())))
    }

    /// The digits, for the processor and the seal only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }

    /// The last four digits.
    pub fn last4(&self) -> &str {
        let digits = self.expose();
        &digits[digits.len() - 4..]
    }

    /// Whether the check digit is right (ISO/IEC 7812-1, annex B).
    pub fn passes_luhn(&self) -> bool {
        digits::luhn(self.expose())
    }

    /// The scheme, from the first digits.
    pub fn brand(&self) -> Brand {
        let digits = self.expose();
        let prefix = |length: usize| digits[..length].parse::<u32>().unwrap_or(0);
        match (prefix(2), prefix(3), prefix(4)) {
            (40..=49, _, _) => Brand::Visa,
            (51..=55, _, _) | (_, _, 2221..=2720) => Brand::Mastercard,
            (34 | 37, _, _) => Brand::Amex,
            (65, _, _) | (_, 644..=649, _) | (_, _, 6011) => Brand::Discover,
            _ => Brand::Unknown,
        }
    }

    /// What stands behind the card, by its number range.
    pub fn funding(&self) -> Funding {
        let first_eight = &self.expose()[..8];
        Funding::of_range(first_eight.parse().unwrap_or(0))
    }
}

impl CardCode {
    /// Takes 3 or 4 digits.
    pub fn parse(text: &str) -> Result<Self, InvalidCard> {
        if !(3..=4).contains(&text.len()) || !text.bytes().all(|b| b.is_ascii_digit()) {
            return Err(InvalidCard::Code);
        }
        Ok(Self(SecretString::from(text)))
    }

    /// The digits, for the processor and the seal only.
    pub fn expose(&self) -> &str {
        self.0.expose_secret()
    }
}

impl fmt::Debug for CardNumber {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardNumber(…)")
    }
}

impl fmt::Debug for CardCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("CardCode(…)")
    }
}

impl fmt::Display for Brand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Visa => "visa",
            Self::Mastercard => "mastercard",
            Self::Amex => "amex",
            Self::Discover => "discover",
            Self::Unknown => "unknown",
        })
    }
}

#[cfg(test)]
mod tests;
