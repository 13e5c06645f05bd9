//! What a request is read with: settings of the service, the moment, and what its client may send.

use crate::domain::{Currency, ReturnUrl, Timestamp, WebOrigin};

/// What a request is read with.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'r> {
    /// Of requests that name none.
    pub default_currency: Currency,
    /// Bounds how far ahead a card may expire.
    pub now: Timestamp,
    /// Whether there may be a card in clear.
    pub cards: CardsAllowed,
    /// What its client may send.
    pub client: &'r ClientRules,
}

/// Whether a request may carry a card in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardsAllowed {
    /// Over HTTP.
    Yes,
    /// In a message: a broker writes what it carries to disk.
    No,
}

/// What one client may send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientRules {
    /// `unknown_fields` of `CLIENTS_FILE`.
    pub unknown_fields: UnknownFields,
    /// `return_origins` of `CLIENTS_FILE`.
    pub return_origins: ReturnOrigins,
}

/// What happens to a field that is not known.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// It is named as an error, with a hint.
    #[default]
    Refuse,
    /// It is dropped, unless it looks like a known field that was misspelt or put in the wrong place.
    Ignore,
}

/// Where a client may send its shoppers back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnOrigins {
    /// To these.
    Listed(Vec<WebOrigin>),
    /// To any address of this machine: there is no clients file, so the service itself can be reached from here only.
    Loopback,
}

impl Default for ReturnOrigins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

impl ReturnOrigins {
    /// Whether an address may be used.
    pub fn allow(&self, url: &ReturnUrl) -> bool {
        match self {
            Self::Listed(origins) => origins.contains(url.origin()),
            Self::Loopback => url.origin().is_loopback(),
        }
    }
}
