//! The name of a client: the application on whose behalf a payment is made.

use std::fmt;
use std::sync::Arc;

use serde::{Deserialize, Serialize};

/// 1 to 64 characters of `a-z`, `0-9`, `-` and `_`: it is part of routing keys, where `.`, `*` and `#` are special.
#[derive(Debug, Clone, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct ClientName(Arc<str>);

/// Why a text is not a client name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a client name: use 1 to 64 of a-z, 0-9, - and _")]
pub struct InvalidClientName(String);

impl ClientName {
    /// Longest name, in characters; the database column has the same width.
    pub const MAX_LENGTH: usize = 64;

    /// Checks the characters and the length.
    pub fn parse(name: &str) -> Result<Self, InvalidClientName> {
        let allowed =
            |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-' || c == '_';
        if name.is_empty() || name.len() > Self::MAX_LENGTH || !name.chars().all(allowed) {
            return Err(InvalidClientName(name.to_owned()));
        }
        Ok(Self(name.into()))
    }

    /// The name as in routing keys and rows.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for ClientName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for ClientName {
    type Error = InvalidClientName;

    fn try_from(name: String) -> Result<Self, Self::Error> {
        Self::parse(&name)
    }
}

impl From<ClientName> for String {
    fn from(name: ClientName) -> Self {
        name.as_str().to_owned()
    }
}
