//! A processor's answers, and how an attempt ends.

use std::borrow::Cow;
use std::fmt;

use serde::{Deserialize, Serialize};

use super::Timestamp;

/// Why a payment was declined or failed, in snake case: `insufficient_funds`, `issuer_no_answer`.
/// Processors bring their own codes, so this is an open set.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct DeclineCode(Cow<'static, str>);

/// The result of one call to a processor's `authorize`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// The card was charged.
    Approved {
        /// The issuer's authorization code.
        authorization_code: String,
    },
    /// The shopper has to approve on a page of the processor. Nothing is charged before.
    ActionRequired {
        /// The page.
        url: String,
        /// How long the shopper can approve.
        expires_at: Timestamp,
    },
    /// The issuer permanently refused the card in this call. This says nothing about other calls under the same key.
    Declined {
        /// Its reason.
        code: DeclineCode,
    },
    /// This call provably charged nothing and never will: it was not sent, or the processor says that it did not
    /// execute it.
    NotCharged {
        /// What was wrong.
        reason: DeclineCode,
    },
    /// No answer in time, a broken one, or a server error (HTTP 5xx): the call may have charged, or may still charge.
    Unknown,
}

/// The result of one call to a processor's `reverse`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ReversalAnswer {
    /// Nothing is charged under the key, and nothing ever will be.
    Confirmed,
    /// No answer: call again.
    Unknown,
}

/// How an attempt will end once its reversal is confirmed, or once it is closed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PendingOutcome {
    /// The client has canceled the payment.
    Canceled,
    /// Another card was presented; its attempt follows.
    Replaced,
    /// The issuer refused the card in one call, while another call of the attempt may still charge.
    Declined {
        /// Its reason.
        code: DeclineCode,
    },
    /// The tries are used up, and one of them may have charged.
    Failed {
        /// What went wrong in the last one.
        reason: DeclineCode,
    },
}

impl PendingOutcome {
    /// Why the attempt is being reversed or closed: the code that it will end with, if it ends with one.
    pub fn code(&self) -> DeclineCode {
        match self {
            Self::Declined { code } => code.clone(),
            Self::Failed { reason } => reason.clone(),
            Self::Canceled => DeclineCode::from_static("requested_by_client"),
            Self::Replaced => DeclineCode::from_static("replaced"),
        }
    }
}

/// How an attempt ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// Charged exactly once.
    Succeeded {
        /// The issuer's authorization code.
        authorization_code: String,
    },
    /// Authorized exactly once, for a later capture.
    Authorized {
        /// The issuer's authorization code.
        authorization_code: String,
    },
    /// Refused by the issuer; not charged.
    Declined {
        /// Its reason.
        code: DeclineCode,
    },
    /// No issuer decided; certainly not charged.
    Failed {
        /// What went wrong.
        reason: DeclineCode,
    },
}

impl DeclineCode {
    /// The processor could not be reached, or reported that it is down.
    pub const ISSUER_UNAVAILABLE: Self = Self(Cow::Borrowed("issuer_unavailable"));
    /// The processor never answered; any possible charge has been reversed.
    pub const ISSUER_NO_ANSWER: Self = Self(Cow::Borrowed("issuer_no_answer"));
    /// The shopper did not approve.
    pub const AUTHENTICATION_FAILED: Self = Self(Cow::Borrowed("authentication_failed"));
    /// The shopper did not act in time.
    pub const ACTION_EXPIRED: Self = Self(Cow::Borrowed("action_expired"));
    /// The issuer wants the shopper to approve, who cannot reach this service (`PUBLIC_URL`, `ISSUER_LEDGER`).
    pub const AUTHENTICATION_REQUIRED: Self = Self(Cow::Borrowed("authentication_required"));
    /// The sealed card could not be opened (its key is missing, or the row was changed).
    pub const CARD_UNREADABLE: Self = Self(Cow::Borrowed("card_unreadable"));

    /// The processor does not take this payment method.
    pub const METHOD_NOT_SUPPORTED: Self = Self(Cow::Borrowed("payment_method_not_supported"));

    /// A code known at compile time.
    pub const fn from_static(code: &'static str) -> Self {
        Self(Cow::Borrowed(code))
    }

    /// A code from a row or a processor.
    pub fn new(code: String) -> Self {
        Self(Cow::Owned(code))
    }

    /// The code in snake case.
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for DeclineCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}
