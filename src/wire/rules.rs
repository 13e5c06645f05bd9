//! The rules for reading a request: settings of the service, the current time, and what its client may send.

use crate::domain::{Currency, ReturnUrl, Timestamp, WebOrigin};

/// The rules for reading a request.
#[derive(Debug, Clone, Copy)]
pub struct Rules<'r> {
    /// The currency of requests without one.
    pub default_currency: Currency,
    /// The current time; limits how far ahead a card may expire.
    pub now: Timestamp,
    /// Whether a card in clear is allowed.
    pub cards: CardsAllowed,
    /// What its client may send.
    pub client: &'r ClientRules,
}

/// Whether a request may carry a card in clear.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CardsAllowed {
    /// Over HTTP.
    Yes,
    /// In a message: a broker writes messages to disk.
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

/// What happens to unknown fields.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum UnknownFields {
    /// They are reported as errors, with a hint.
    #[default]
    Refuse,
    /// They are dropped, unless one looks like a known field that was misspelt or put in the wrong place.
    Ignore,
}

/// Where a client may send its shoppers back to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ReturnOrigins {
    /// To these origins.
    Listed(Vec<WebOrigin>),
    /// To any address of this machine: without a clients file the service itself can only be reached from here.
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
