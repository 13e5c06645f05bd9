//! Operations on an authorized payment: captures, voids and refunds. [`next_operation`] decides how one moves.

use std::fmt;
use std::time::Duration;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{ClientName, DeclineCode, Money, PaymentId, Timestamp};

/// A UUIDv7; of a refund, its public id. Also the idempotency key for the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct OperationId(pub Uuid);

/// What an operation does.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize, JsonSchema,
)]
#[serde(rename_all = "snake_case")]
pub enum OperationKind {
    /// Takes the authorized amount, or a part of it; the rest is released.
    Capture,
    /// Releases an authorized amount.
    Void,
    /// Returns a captured amount, or a part of it.
    Refund,
}

/// The state of an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum OperationStatus {
    /// The processor has not decided yet.
    Pending,
    /// Carried out, exactly once. A refund can still fail afterwards.
    Succeeded,
    /// Not carried out.
    Failed,
}

/// An operation as its client may see it.
#[derive(Debug, Clone, PartialEq)]
pub struct Operation {
    /// Its id.
    pub id: OperationId,
    /// The payment.
    pub payment: PaymentId,
    /// The client that the payment belongs to.
    pub client: ClientName,
    /// What it does.
    pub kind: OperationKind,
    /// The amount.
    pub amount: Money,
    /// Its current state.
    pub status: OperationStatus,
    /// Why it failed.
    pub failure_code: Option<DeclineCode>,
    /// The client's reason for a refund.
    pub reason: Option<String>,
    /// The client's own reference of a refund.
    pub client_reference: Option<String>,
    /// When it was accepted.
    pub created_at: Timestamp,
    /// When it last changed.
    pub updated_at: Timestamp,
}

/// What a try of an operation requests from the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationPhase {
    /// Carry it out.
    Execute,
    /// Say what became of it: the processor has accepted it without a result.
    Query,
    /// Make sure that it is carried out or never will be.
    Close,
    /// Say whether it still stands: a refund that succeeded can fail later.
    Confirm,
}

/// The exact state of an operation, including its current try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct OperationProgress {
    /// Its status.
    pub status: OperationStatus,
    /// The try that is under way or due, from 1.
    pub try_number: u32,
    /// What that try requests.
    pub phase: OperationPhase,
    /// A call has not answered: it may have been carried out, or may still be.
    pub uncertain: bool,
    /// Why it failed, or, while it is being closed, why it will fail if it was not carried out.
    pub failure: Option<DeclineCode>,
}

/// The processor's answer to a call about an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationAnswer {
    /// Carried out.
    Done {
        /// When to ask whether it still stands, if it can fail later.
        confirm_after: Option<Duration>,
    },
    /// Accepted; the result comes later.
    Accepted {
        /// When to ask for it.
        ask_after: Duration,
    },
    /// Permanently refused in this call. This says nothing about other calls under the same key.
    Refused {
        /// The processor's reason.
        code: DeclineCode,
        /// The authorization no longer exists, so that no other operation on it can succeed.
        authorization_gone: bool,
    },
    /// This call was provably not executed.
    NotExecuted {
        /// What was wrong.
        reason: DeclineCode,
    },
    /// No answer in time, a broken one, or a server error.
    Unknown,
}

/// The processor's answer to closing an operation.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum CloseAnswer {
    /// It was carried out.
    Executed,
    /// It was not carried out, and never will be.
    NotExecuted,
    /// No answer: call again.
    Unknown,
}

/// What a try of an operation came to.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationTrigger {
    /// The answer to carrying it out, to a query, or to a request to confirm it.
    Answered {
        /// The try of the call.
        asked: u32,
        /// The processor's answer.
        answer: OperationAnswer,
        /// How many tries the schedule allows before the operation is closed.
        max_tries: u32,
    },
    /// The processor cannot be called now: nothing was sent.
    NotCalled {
        /// The try of the call.
        asked: u32,
    },
    /// The answer to closing it.
    Closed {
        /// The try of the call.
        asked: u32,
        /// The processor's answer.
        answer: CloseAnswer,
    },
}

/// The next state of an operation.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum OperationNext {
    /// Another try follows.
    TryAgain {
        /// The new position.
        progress: OperationProgress,
        /// The result of the last try; none if the processor only needs time.
        reason: Option<DeclineCode>,
        /// When, if not after the schedule's delay.
        after: Option<Duration>,
    },
    /// It was carried out.
    Succeeded {
        /// The new position.
        progress: OperationProgress,
        /// When to ask whether it still stands.
        confirm_after: Option<Duration>,
    },
    /// It was not carried out.
    Failed {
        /// The new position.
        progress: OperationProgress,
        /// Why.
        code: DeclineCode,
        /// The authorization no longer exists.
        authorization_gone: bool,
    },
    /// A refund that succeeded has not changed; nothing more is asked.
    Confirmed(OperationProgress),
    /// The processor cannot be called: the same try is made later. Nothing has happened.
    Waits(OperationProgress),
}

/// The answer belongs to a try that is no longer the current one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the operation has moved on since this was requested")]
pub struct StaleTry;

/// Decides how an operation moves when the processor has answered.
///
/// All calls of an operation have the same key, under which the processor carries it out at most once. So a call that
/// did not answer is repeated; a refusal ends the operation only if every call has answered. Otherwise another call may
/// still be carried out, and the operation is closed: the processor says which of the two it is, and keeps it that way.
pub fn next_operation(
    now: OperationProgress,
    trigger: OperationTrigger,
) -> Result<OperationNext, StaleTry> {
    match trigger {
        OperationTrigger::Answered {
            asked,
            answer,
            max_tries,
        } => {
            let is_asked = now.try_number == asked && now.awaits_answer();
            match now.phase {
                _ if !is_asked => Err(StaleTry),
                OperationPhase::Close => Err(StaleTry),
                OperationPhase::Execute => Ok(after_execute(now, answer, max_tries)),
                OperationPhase::Query => Ok(after_query(now, answer)),
                OperationPhase::Confirm => Ok(after_confirm(now, answer)),
            }
        }
        OperationTrigger::NotCalled { asked } => {
            let is_asked = now.try_number == asked && now.awaits_answer();
            is_asked
                .then_some(OperationNext::Waits(now))
                .ok_or(StaleTry)
        }
        OperationTrigger::Closed { asked, answer } => {
            let is_asked = now.try_number == asked && now.awaits_answer();
            if !is_asked || now.phase != OperationPhase::Close {
                return Err(StaleTry);
            }
            Ok(match answer {
                CloseAnswer::Executed => succeeded(now, None),
                CloseAnswer::NotExecuted => {
                    let no_answer = DeclineCode::ISSUER_NO_ANSWER;
                    let code = now.failure.clone().unwrap_or(no_answer);
                    failed(now, code, false)
                }
                CloseAnswer::Unknown => again(now, Some(DeclineCode::ISSUER_NO_ANSWER), None),
            })
        }
    }
}

fn after_execute(now: OperationProgress, answer: OperationAnswer, max_tries: u32) -> OperationNext {
    let is_last = now.try_number >= max_tries;
    match answer {
        OperationAnswer::Done { confirm_after } => succeeded(now, confirm_after),
        OperationAnswer::Accepted { ask_after } => {
            let phase = OperationPhase::Query;
            again(OperationProgress { phase, ..now }, None, Some(ask_after))
        }
        OperationAnswer::Refused {
            code,
            authorization_gone,
        } if !now.uncertain => failed(now, code, authorization_gone),
        OperationAnswer::Refused { code, .. } => close(now, code),
        OperationAnswer::NotExecuted { reason } if !is_last => again(now, Some(reason), None),
        OperationAnswer::NotExecuted { reason } if now.uncertain => close(now, reason),
        OperationAnswer::NotExecuted { reason } => failed(now, reason, false),
        OperationAnswer::Unknown => {
            let now = now.unanswered();
            let reason = DeclineCode::ISSUER_NO_ANSWER;
            match is_last {
                true => close(now, reason),
                false => again(now, Some(reason), None),
            }
        }
    }
}

fn after_query(now: OperationProgress, answer: OperationAnswer) -> OperationNext {
    match answer {
        OperationAnswer::Done { confirm_after } => succeeded(now, confirm_after),
        OperationAnswer::Refused {
            code,
            authorization_gone,
        } => failed(now, code, authorization_gone),
        OperationAnswer::Accepted { ask_after } => again(now, None, Some(ask_after)),
        OperationAnswer::NotExecuted { reason } => again(now, Some(reason), None),
        OperationAnswer::Unknown => again(now, Some(DeclineCode::ISSUER_NO_ANSWER), None),
    }
}

fn after_confirm(now: OperationProgress, answer: OperationAnswer) -> OperationNext {
    match answer {
        OperationAnswer::Done {
            confirm_after: None,
        } => {
            let phase = OperationPhase::Execute;
            OperationNext::Confirmed(OperationProgress { phase, ..now })
        }
        OperationAnswer::Refused { code, .. } => failed(now, code, false),
        OperationAnswer::Done {
            confirm_after: Some(after),
        }
        | OperationAnswer::Accepted { ask_after: after } => again(now, None, Some(after)),
        OperationAnswer::NotExecuted { reason } => again(now, Some(reason), None),
        OperationAnswer::Unknown => again(now, Some(DeclineCode::ISSUER_NO_ANSWER), None),
    }
}

fn close(now: OperationProgress, code: DeclineCode) -> OperationNext {
    let closing = OperationProgress {
        phase: OperationPhase::Close,
        failure: Some(code.clone()),
        ..now
    };
    again(closing, Some(code), None)
}

fn again(
    now: OperationProgress,
    reason: Option<DeclineCode>,
    after: Option<Duration>,
) -> OperationNext {
    OperationNext::TryAgain {
        progress: OperationProgress {
            try_number: now.try_number + 1,
            ..now
        },
        reason,
        after,
    }
}

fn succeeded(now: OperationProgress, confirm_after: Option<Duration>) -> OperationNext {
    let (phase, try_number) = match confirm_after {
        Some(_) => (OperationPhase::Confirm, now.try_number + 1),
        None => (OperationPhase::Execute, now.try_number),
    };
    OperationNext::Succeeded {
        progress: OperationProgress {
            status: OperationStatus::Succeeded,
            phase,
            try_number,
            failure: None,
            ..now
        },
        confirm_after,
    }
}

fn failed(now: OperationProgress, code: DeclineCode, authorization_gone: bool) -> OperationNext {
    OperationNext::Failed {
        progress: OperationProgress {
            status: OperationStatus::Failed,
            phase: OperationPhase::Execute,
            failure: Some(code.clone()),
            ..now
        },
        code,
        authorization_gone,
    }
}

impl OperationProgress {
    /// A new operation.
    pub const NEW: Self = Self {
        status: OperationStatus::Pending,
        try_number: 1,
        phase: OperationPhase::Execute,
        uncertain: false,
        failure: None,
    };

    /// A call has not answered.
    pub fn unanswered(self) -> Self {
        Self {
            uncertain: true,
            ..self
        }
    }

    /// Whether a call to the processor is under way or due.
    pub fn awaits_answer(&self) -> bool {
        match self.status {
            OperationStatus::Pending => true,
            OperationStatus::Succeeded => self.phase == OperationPhase::Confirm,
            OperationStatus::Failed => false,
        }
    }
}

impl OperationKind {
    /// All kinds.
    pub const ALL: [Self; 3] = [Self::Capture, Self::Void, Self::Refund];

    /// As in rows and answers: `capture`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Capture => "capture",
            Self::Void => "void",
            Self::Refund => "refund",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| kind.as_str() == text)
    }
}

impl OperationStatus {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::Pending, Self::Succeeded, Self::Failed];

    /// As in rows and answers: `pending`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Succeeded => "succeeded",
            Self::Failed => "failed",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|status| status.as_str() == text)
    }
}

impl OperationPhase {
    /// As in rows: `execute`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Execute => "execute",
            Self::Query => "query",
            Self::Close => "close",
            Self::Confirm => "confirm",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Execute, Self::Query, Self::Close, Self::Confirm]
            .into_iter()
            .find(|phase| phase.as_str() == text)
    }
}

impl fmt::Display for OperationKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl fmt::Display for OperationId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

#[cfg(test)]
mod tests;
