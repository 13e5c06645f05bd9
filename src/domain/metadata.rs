//! Up to 20 short texts that a client attaches to a payment and gets back unchanged.

use std::collections::BTreeMap;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Keys of 1 to 40 characters, values of at most 500; sorted by key.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(transparent)]
#[schemars(inline)]
pub struct Metadata(BTreeMap<String, String>);

/// Why a set of texts cannot be attached.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum InvalidMetadata {
    /// More entries than [`Metadata::MAX_ENTRIES`].
    #[error("at most {} entries are kept", Metadata::MAX_ENTRIES)]
    TooMany,
    /// A key that is empty or longer than [`Metadata::MAX_KEY`].
    #[error("a key has 1 to {} characters", Metadata::MAX_KEY)]
    Key,
    /// A value longer than [`Metadata::MAX_VALUE`].
    #[error("a value has at most {} characters", Metadata::MAX_VALUE)]
    Value,
    /// Digits that could be a card number; metadata is stored and published in clear.
    #[error("metadata must not contain a card number, because it is stored and published in clear")]
    CardNumber,
}

impl Metadata {
    /// Maximum number of entries of one payment.
    pub const MAX_ENTRIES: usize = 20;
    /// Longest key, in characters.
    pub const MAX_KEY: usize = 40;
    /// Longest value, in characters.
    pub const MAX_VALUE: usize = 500;

    /// Checks the number of entries, their lengths, and that none looks like a card number.
    pub fn parse(entries: BTreeMap<String, String>) -> Result<Self, InvalidMetadata> {
        if entries.len() > Self::MAX_ENTRIES {
            return Err(InvalidMetadata::TooMany);
        }
        for (key, value) in &entries {
            if key.is_empty() || key.chars().count() > Self::MAX_KEY {
                return Err(InvalidMetadata::Key);
            }
            if value.chars().count() > Self::MAX_VALUE {
                return Err(InvalidMetadata::Value);
            }
            if super::card::holds_card_number(key) || super::card::holds_card_number(value) {
                return Err(InvalidMetadata::CardNumber);
            }
        }
        Ok(Self(entries))
    }

    /// The entries, sorted by key.
    pub fn entries(&self) -> &BTreeMap<String, String> {
        &self.0
    }
}
