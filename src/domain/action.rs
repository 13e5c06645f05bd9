//! What only the shopper can do: approve a payment on a page of the processor.

use super::{MethodSummary, Timestamp};

/// An attempt that waits, or has waited, for its shopper.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Action {
    /// The page of the processor.
    pub url: String,
    /// Afterwards the attempt is closed.
    pub expires_at: Timestamp,
    /// Where it stands.
    pub state: ActionState,
    /// The payment method of the attempt, while another one that was presented meanwhile waits for its end.
    pub replaced: Option<MethodSummary>,
    /// The shopper approved when it was over: that is in the history.
    pub late: bool,
}

/// Where an action stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum ActionState {
    /// The shopper can act.
    Open,
    /// The processor is asked to close the attempt.
    Closing,
    /// The attempt has ended, or is being reversed.
    Over,
}

impl ActionState {
    const ALL: [Self; 3] = [Self::Open, Self::Closing, Self::Over];

    /// As in rows: `open`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Open => "open",
            Self::Closing => "closing",
            Self::Over => "over",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|state| state.as_str() == text)
    }
}

/// The processor's answer when it is asked what became of an action.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ActionAnswer {
    /// The shopper has approved, and the attempt is charged.
    Approved {
        /// The issuer's authorization code.
        authorization_code: String,
    },
    /// The shopper or the issuer has refused: the attempt is not charged, and never will be.
    Declined {
        /// The reason.
        code: super::DeclineCode,
    },
    /// The shopper has not acted yet.
    Waiting,
    /// The shopper's time is over.
    Expired,
    /// No answer: ask again.
    Unknown,
}

/// The processor's answer when it is told to close an attempt.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum AttemptCloseAnswer {
    /// The attempt was charged before, and stays so.
    Charged {
        /// The issuer's authorization code.
        authorization_code: String,
    },
    /// The attempt is not charged, and never will be.
    Closed,
    /// No answer: call again.
    Unknown,
}
