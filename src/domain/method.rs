//! How an attempt pays: by card, or by another payment method.

use std::collections::BTreeMap;
use std::fmt;

use serde::{Deserialize, Serialize};
use zeroize::Zeroizing;

use super::CardSummary;
use super::card::holds_card_number;

/// The `type` of an electronic wallet: its shopper approves on the wallet's own page.
pub const WALLET: &str = "wallet";

/// The `type` of a payment method that a platform keeps: only the platform can open its token.
pub const TOKEN: &str = "token";

/// The `type` of a payment method that is chosen on a platform's own page, where its shopper pays.
pub const REDIRECT: &str = "redirect";

/// The shown field that names the platform of a payment method, if it is not the processor of cards.
pub const PROCESSOR: &str = "processor";

/// What may be stored in clear and shown of a payment method.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum MethodSummary {
    /// A card.
    Card(CardSummary),
    /// Another method.
    #[serde(rename = "method")]
    Other(OtherSummary),
}

/// What may be stored in clear and shown of a payment method that is not a card.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct OtherSummary {
    /// Its `type`: `voucher`.
    pub name: String,
    /// The fields that are shown beside `type`.
    pub shown: BTreeMap<String, String>,
}

/// A payment method that is not a card, as a request presents it. Only its processor knows what the secret means.
#[derive(Clone, PartialEq, Eq)]
pub struct OtherMethod {
    summary: OtherSummary,
    secret: Zeroizing<Vec<u8>>,
}

/// Why a payment method cannot be stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMethod {
    /// Not the name of a method.
    #[error("its name must be 1 to 32 of a-z, 0-9 and _, begin with a letter, and not be card")]
    Name,
    /// Nothing, or too much.
    #[error("its secret must have 1 to 512 bytes")]
    Secret,
    /// Too long, named `type`, or it looks like a card number.
    #[error(
        "what is shown of it must be short, must not be named type and must not look like a card number"
    )]
    Shown,
}

impl MethodSummary {
    /// The `type` of a card.
    pub const CARD: &'static str = "card";

    /// Its `type`.
    pub fn name(&self) -> &str {
        match self {
            Self::Card(_) => Self::CARD,
            Self::Other(other) => &other.name,
        }
    }

    /// The card, if it is one.
    pub fn card(&self) -> Option<&CardSummary> {
        match self {
            Self::Card(card) => Some(card),
            Self::Other(_) => None,
        }
    }

    /// Its processor, if that is not the simulated issuer.
    pub fn processor(&self) -> Option<&str> {
        match self {
            Self::Card(card) => card.processor.as_deref(),
            Self::Other(other) => other.processor(),
        }
    }

    /// The same at another processor; none for the simulated issuer.
    #[must_use]
    pub fn at(mut self, processor: Option<String>) -> Self {
        match &mut self {
            Self::Card(card) => card.processor = processor,
            Self::Other(other) => {
                other.shown.remove(PROCESSOR);
                let shown = processor.map(|name| (PROCESSOR.to_owned(), name));
                other.shown.extend(shown);
            }
        }
        self
    }

    /// Whether it can be shown: a damaged row must not show more of a card than four digits.
    pub fn is_showable(&self) -> bool {
        self.card().is_none_or(CardSummary::has_four_digits)
    }
}

impl OtherSummary {
    /// The platform that keeps it, if one does.
    pub fn processor(&self) -> Option<&str> {
        self.shown.get(PROCESSOR).map(String::as_str)
    }
}

impl From<CardSummary> for MethodSummary {
    fn from(card: CardSummary) -> Self {
        Self::Card(card)
    }
}

impl OtherMethod {
    /// Longest name.
    const LONGEST_NAME: usize = 32;
    /// Longest secret, in bytes: sealed, it still fits into its column.
    pub const LONGEST_SECRET: usize = 512;
    /// Longest text of all shown fields, in bytes: with names and quotes it still fits into its column.
    const LONGEST_SHOWN: usize = 256;
    /// Most shown fields.
    const MOST_SHOWN: usize = 10;

    /// A method with its secret, which is sealed, and the fields that are stored in clear and shown.
    pub fn new(
        name: &str,
        secret: Zeroizing<Vec<u8>>,
        shown: BTreeMap<String, String>,
    ) -> Result<Self, InvalidMethod> {
        let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
        let is_name = name.starts_with(|first: char| first.is_ascii_lowercase())
            && name.bytes().all(allowed)
            && name.len() <= Self::LONGEST_NAME;
        if !is_name || name == MethodSummary::CARD {
            return Err(InvalidMethod::Name);
        }
        if secret.is_empty() || secret.len() > Self::LONGEST_SECRET {
            return Err(InvalidMethod::Secret);
        }
        let length: usize = shown.iter().map(|(key, text)| key.len() + text.len()).sum();
        let is_bad = |(key, text): (&String, &String)| {
            let control = key.chars().chain(text.chars()).any(char::is_control);
            key == "type" || control || holds_card_number(key) || holds_card_number(text)
        };
        let too_much = length > Self::LONGEST_SHOWN || shown.len() > Self::MOST_SHOWN;
        if too_much || shown.iter().any(is_bad) {
            return Err(InvalidMethod::Shown);
        }
        let name = name.to_owned();
        Ok(Self {
            summary: OtherSummary { name, shown },
            secret,
        })
    }

    /// What may be stored in clear and shown.
    pub fn summary(&self) -> &OtherSummary {
        &self.summary
    }

    /// The secret, for the seal and the processor only.
    pub fn expose(&self) -> &[u8] {
        &self.secret
    }
}

impl fmt::Debug for OtherMethod {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "OtherMethod({})", self.summary.name)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn method(
        name: &str,
        secret: &str,
        shown: &[(&str, &str)],
    ) -> Result<OtherMethod, InvalidMethod> {
        let secret = Zeroizing::new(secret.as_bytes().to_vec());
        let shown = shown
            .iter()
            .map(|(key, text)| ((*key).to_owned(), (*text).to_owned()));
        OtherMethod::new(name, secret, shown.collect())
    }

    #[test]
    fn a_method_keeps_its_secret_to_itself_and_shows_nothing_that_it_must_not() {
        let voucher = method("voucher", "GIFT-1234", &[("code_ends", "1234")]).unwrap();
        assert!(!format!("{voucher:?} {:?}", voucher.summary()).contains("GIFT"));
        assert_eq!(voucher.expose(), b"GIFT-1234");
        for name in ["", "card", "Voucher", "4242", "_x", "a b", &"x".repeat(33)] {
            assert_eq!(method(name, "x", &[]), Err(InvalidMethod::Name), "{name}");
        }
        for secret in ["", &"x".repeat(513)] {
            assert_eq!(method("voucher", secret, &[]), Err(InvalidMethod::Secret));
        }
        let long = "x".repeat(257);
        for shown in [
            ("type", "x"),
            ("a", "4242424242424242"),
            ("a", "\n"),
            ("a", &long),
        ] {
            assert_eq!(
                method("voucher", "x", &[shown]),
                Err(InvalidMethod::Shown),
                "{shown:?}"
            );
        }
    }

    #[test]
    fn a_card_is_written_as_releases_without_other_methods_wrote_it() {
        let card =
            r#"{"card":{"brand":"visa","last4":"4242","expiration":"2030-01","funding":"credit"}}"#;
        let read: MethodSummary = serde_json::from_str(card).unwrap();
        assert_eq!(serde_json::to_string(&read).unwrap(), card);
    }
}
