//! Why a callback was not delivered, and what that says about its receiver.

/// Why a call did not deliver its event.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// Snake case, for metrics and dead letters: `timeout`, `server_error`.
    pub reason: String,
    /// One sentence.
    pub error: String,
    /// Another call would change nothing.
    pub is_final: bool,
    /// What it says about the receiver.
    pub evidence: Evidence,
}

/// What a call says about the receiver, apart from its event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Evidence {
    /// It works: it has answered, if only that it cannot use this event.
    Answers,
    /// It does not work.
    Fails,
    /// There was no call.
    Nothing,
}

impl Failure {
    /// To be tried again.
    pub fn again(reason: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            reason: reason.into(),
            error: error.into(),
            is_final: false,
            evidence: Evidence::Fails,
        }
    }

    /// The receiver has answered, and what it says is about this event alone.
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

    /// Not to be tried again.
    pub fn last(reason: impl Into<String>, error: impl Into<String>) -> Self {
        Self {
            is_final: true,
            ..Self::again(reason, error)
        }
    }
}
