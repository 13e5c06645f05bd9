//! Why a callback was not delivered, and what that shows about its receiver.

/// Every reason of a [`Failure`].
pub const REASONS: [&str; 14] = [
    "address_refused",
    "client_error",
    "event_unreadable",
    "gone",
    "not_reached",
    "not_trusted",
    "not_understood",
    "not_updated",
    "order_id_too_large",
    "receiver_away",
    "redirect",
    "server_error",
    "timeout",
    "tls_unusable",
];

/// Why a call did not deliver its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Snake case, for metrics and dead letters: `timeout`, `server_error`.
    pub reason: String,
    /// One sentence for people.
    pub error: String,
    /// Another call would not help.
    pub is_final: bool,
    /// What it shows about the receiver.
    pub evidence: Evidence,
}

/// What a call shows about the receiver, apart from its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It works: it answered, even if it cannot use this event.
    Answers,
    /// It does not work.
    Fails,
    /// No call was made.
    Nothing,
}

impl Failure {
    /// A failure that is tried again.
    pub fn again(reason: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            error: error.into(),
            is_final: false,
            evidence: Evidence::Fails,
        }
    }

    /// The receiver answered, and its answer is only about this event.
    #[must_use]
    pub fn about_the_event(self) -> Self {
        Self {
            evidence: Evidence::Answers,
            ..self
        }
    }

    /// The event cannot be put into a call.
    #[must_use]
    pub fn without_a_call(self) -> Self {
        Self {
            evidence: Evidence::Nothing,
            ..self
        }
    }

    /// A failure that is not tried again.
    pub fn last(reason: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            is_final: true,
            ..Self::again(reason, error)
        }
    }
}
