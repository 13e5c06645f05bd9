//! The rules for reading a request: settings of the service, the current time, and what its client may send.

pub use super::fields::UnknownFields;
pub use super::methods::CardsAllowed;
use super::methods::{Methods, Reading};
use crate::domain::{Currency, Funding, ReturnUrl, Timestamp, WebOrigin};

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

impl Rules<'_> {
    /// The rules for reading a payment method.
    pub(super) fn reading(&self) -> Reading {
        Reading {
            now: self.now,
            cards: self.cards,
            unknown_fields: self.client.unknown_fields,
        }
    }
}

/// What one client may send.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct ClientRules {
    /// `unknown_fields` of `CLIENTS_FILE`.
    pub unknown_fields: UnknownFields,
    /// `return_origins` of `CLIENTS_FILE`.
    pub return_origins: ReturnOrigins,
    /// The payment methods that the service knows.
    pub methods: Methods,
    /// `payment_methods` of `CLIENTS_FILE`: the allowed ones; all if it is absent.
    pub payment_methods: Option<Vec<String>>,
    /// `card_funding` of `CLIENTS_FILE`: the allowed ones, exactly as listed; all if it is absent.
    pub card_funding: Option<Vec<Funding>>,
}

/// A payment method, or a card, that the client may not use.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotAllowed {
    /// `payment_methods` does not list it.
    #[error("is the payment method {method}, which this client may not use: it may use {}", listed(.allowed))]
    Method {
        /// Its name.
        method: String,
        /// Those that are listed.
        allowed: Vec<String>,
    },
    /// Shoppers cannot reach this service.
    #[error(
        "is the payment method {method}, which needs the shopper, who cannot reach this service: its operator has to set PUBLIC_URL, and not ISSUER_LEDGER=off"
    )]
    Unreachable {
        /// Its name.
        method: String,
    },
    /// Shoppers could not come back from the platform's page.
    #[error(
        "is the payment method {method}, whose shopper has to come back to this service: its operator has to set PUBLIC_URL"
    )]
    NoWayBack {
        /// Its name.
        method: String,
    },
    /// The platform does not take it.
    #[error("names the processor {processor}, which {why}")]
    Platform {
        /// The platform's name.
        processor: String,
        /// What it does not take.
        why: String,
    },
    /// The processor of its route does not take it.
    #[error("is left to the operator's routes, whose processor {processor} {why}")]
    Routed {
        /// The processor's name.
        processor: String,
        /// What it does not take.
        why: String,
    },
    /// The client has to name a processor.
    #[error("is required, because no route of this service chooses a processor: {}", one_of(.known))]
    NoRoute {
        /// Those that are configured.
        known: Vec<String>,
    },
    /// `card_funding` does not list it.
    #[error("is of a card whose funding is {funding}, which this client may not use: it may use {}", listed(.allowed))]
    Funding {
        /// The card's.
        funding: Funding,
        /// Those that are listed.
        allowed: Vec<Funding>,
    },
}

fn one_of(known: &[String]) -> String {
    match known {
        [] => "its operator has to list one in PROCESSORS_FILE".to_owned(),
        known => format!("send one of {}", known.join(", ")),
    }
}

fn listed<T: ToString>(allowed: &[T]) -> String {
    let names: Vec<String> = allowed.iter().map(ToString::to_string).collect();
    names.join(", ")
}

impl NotAllowed {
    /// For programs.
    pub fn code(&self) -> &'static str {
        match self {
            Self::Method { .. } => "method_not_allowed",
            Self::Unreachable { .. } | Self::NoWayBack { .. } => "method_not_available",
            Self::Platform { .. } | Self::Routed { .. } | Self::NoRoute { .. } => {
                "processor_not_available"
            }
            Self::Funding { .. } => "funding_not_allowed",
        }
    }
}

impl ClientRules {
    /// Whether the client may use a payment method.
    pub fn check_method(&self, name: &str) -> Result<(), NotAllowed> {
        match &self.payment_methods {
            Some(allowed) if !allowed.iter().any(|it| it == name) => Err(NotAllowed::Method {
                method: name.to_owned(),
                allowed: allowed.clone(),
            }),
            _ => Ok(()),
        }
    }

    /// Whether the client may use a card with this funding.
    pub fn check_card(&self, funding: Funding) -> Result<(), NotAllowed> {
        self.check_method("card")?;
        match &self.card_funding {
            Some(allowed) if !allowed.contains(&funding) => Err(NotAllowed::Funding {
                funding,
                allowed: allowed.clone(),
            }),
            _ => Ok(()),
        }
    }
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
