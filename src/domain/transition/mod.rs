//! The function that decides how a payment moves. Every write to a payment goes through [`next`].

use super::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, DeclineCode, OperationKind, Outcome,
    PaymentStatus, PendingOutcome, ReversalAnswer, Timestamp,
};

/// The exact state of a payment, including its current try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Its status.
    pub status: PaymentStatus,
    /// Cards presented so far; the current one has this number.
    pub attempt: u32,
    /// The try that is under way or due, from 1; 0 before the first attempt.
    pub try_number: u32,
    /// What the current try requests from the processor.
    pub phase: Phase,
    /// A call of this attempt has not answered: it timed out, or its claim was taken over. It may have charged, or may still
    /// charge.
    pub uncertain: bool,
    /// While the attempt is being reversed or closed: how it ends when that is confirmed.
    pub pending: Option<PendingOutcome>,
    /// When an authorized amount is captured.
    pub capture_method: CaptureMethod,
    /// The capture or void that is running.
    pub operation: Option<OperationKind>,
}

/// What a try requests from the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Charge the card.
    Authorize,
    /// Reverse any charge, and refuse any later charge, under the attempt's key.
    Reverse,
    /// Say whether the shopper has approved.
    Ask,
    /// Say whether the shopper has approved, and refuse any later approval.
    Close,
}

/// What happened to a payment.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Trigger {
    /// The client presents a card.
    PresentCard,
    /// The client cancels.
    Cancel,
    /// The processor answered a try.
    Answered {
        /// Attempt and try of the call.
        asked: (u32, u32),
        /// The processor's answer.
        answer: Answer,
        /// How many tries the schedule allows in an attempt.
        max_tries: u32,
    },
    /// The processor answered a reversal.
    Reversal {
        /// Attempt and try of the call.
        asked: (u32, u32),
        /// The processor's answer.
        answer: ReversalAnswer,
    },
    /// The processor answered whether the shopper has approved.
    ActionAnswered {
        /// Attempt and try of the call.
        asked: (u32, u32),
        /// The processor's answer.
        answer: ActionAnswer,
        /// Whether the shopper's time was over before the call.
        expired: bool,
    },
    /// The processor answered the request to close an attempt.
    AttemptClosed {
        /// Attempt and try of the call.
        asked: (u32, u32),
        /// The processor's answer.
        answer: AttemptCloseAnswer,
    },
    /// The processor cannot be called now: nothing was sent.
    NotCalled {
        /// Attempt and try of the call.
        asked: (u32, u32),
    },
    /// The processor cannot be called, or provably has not executed the call, and another one takes the payment over.
    FallBack {
        /// Attempt and try of the call.
        asked: (u32, u32),
        /// Why.
        reason: DeclineCode,
    },
    /// A capture or void of the authorized amount begins.
    OperationStarted(OperationKind),
    /// The capture or void that is running has ended.
    OperationEnded(OperationEnd),
}

/// How a capture or void ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OperationEnd {
    /// The amount is captured.
    Captured,
    /// The authorization is released, or the processor no longer has it.
    Released,
    /// Nothing has changed: the amount is still authorized.
    StillAuthorized,
}

/// The payment's next state.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A new attempt starts, at once.
    Attempt(Progress),
    /// A new attempt starts with another processor, at once.
    FellBack {
        /// The new position.
        progress: Progress,
        /// Why not with the one before.
        reason: DeclineCode,
    },
    /// The same attempt is tried again, after the schedule's delay.
    TryAgain {
        /// The new position.
        progress: Progress,
        /// The result of the last try.
        reason: DeclineCode,
    },
    /// The shopper has to approve on this page, until this time.
    ActionRequired {
        /// The new position.
        progress: Progress,
        /// The page.
        url: String,
        /// How long.
        expires_at: Timestamp,
    },
    /// The shopper has not approved yet, or the processor cannot be called: it is called again later. Nothing has happened.
    AskAgain(Progress),
    /// The attempt is being closed.
    Closing(Progress),
    /// The attempt is closed, and the one of the card that was presented meanwhile begins.
    Replaced(Progress),
    /// The attempt is over.
    Ended(Progress, Outcome),
    /// The payment is canceled.
    Canceled(Progress),
    /// A capture or void is running.
    Operating(Progress),
    /// The amount is captured.
    Captured(Progress),
    /// A capture or void failed; the amount is still authorized.
    StillAuthorized(Progress),
}

/// Why the payment does not move.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The answer belongs to a try that is no longer the current one.
    #[error("the payment has moved on since this was requested")]
    Stale,
    /// A card is already being authorized.
    #[error("the payment is being processed")]
    Processing,
    /// Its amount is authorized.
    #[error("the payment is authorized: capture it, or cancel it")]
    RequiresCapture,
    /// It is paid.
    #[error("the payment has already succeeded")]
    Succeeded,
    /// It is canceled.
    #[error("the payment is canceled")]
    Canceled,
    /// No amount is authorized.
    #[error("no amount is authorized yet")]
    NotAuthorized,
}

/// Decides how a payment moves when something happens to it.
///
/// At most one attempt can still charge: while the shopper can approve one, another card, a cancellation or the end of the
/// shopper's time first closes it. If it turns out to be charged, that is the outcome.
///
/// An approval ends an attempt, because a processor charges a key at most once. A decline or a failure ends it only if
/// every call of the attempt has answered. Otherwise another call may still charge, whatever this one returned: the
/// attempt is reversed, and ends with that code when the reversal is confirmed.
pub fn next(now: Progress, trigger: &Trigger) -> Result<Next, Refusal> {
    match trigger {
        Trigger::PresentCard | Trigger::Cancel if now.status == PaymentStatus::RequiresAction => {
            let pending = match trigger {
                Trigger::Cancel => PendingOutcome::Canceled,
                _ => PendingOutcome::Replaced,
            };
            Ok(closing(now, pending))
        }
        Trigger::PresentCard => Ok(Next::Attempt(next_attempt(open(now)?))),
        Trigger::Cancel => Ok(Next::Canceled(open(now)?.moved_to(PaymentStatus::Canceled))),
        Trigger::Answered {
            asked,
            answer,
            max_tries,
        } => {
            let current = awaiting(now, *asked, Phase::Authorize)?;
            Ok(after_answer(current, answer, *max_tries))
        }
        Trigger::Reversal { asked, answer } => {
            let current = awaiting(now, *asked, Phase::Reverse)?;
            Ok(match answer {
                ReversalAnswer::Confirmed => reversed(current),
                ReversalAnswer::Unknown => again(current, DeclineCode::ISSUER_NO_ANSWER),
            })
        }
        Trigger::ActionAnswered {
            asked,
            answer,
            expired,
        } => {
            let current = awaiting(now, *asked, Phase::Ask)?;
            Ok(after_action(current, answer, *expired))
        }
        Trigger::AttemptClosed { asked, answer } => {
            let current = awaiting(now, *asked, Phase::Close)?;
            Ok(after_closing(current, answer))
        }
        Trigger::NotCalled { asked } if now.awaits(*asked) => Ok(Next::AskAgain(now)),
        Trigger::NotCalled { .. } => Err(Refusal::Stale),
        Trigger::FallBack { asked, reason } => {
            let current = awaiting(now, *asked, Phase::Authorize)?;
            Ok(fall_back(current, reason.clone()))
        }
        Trigger::OperationStarted(kind) => authorized(now, *kind),
        Trigger::OperationEnded(end) => operation_ended(now, *end),
    }
}

/// The first try of another attempt.
fn next_attempt(now: Progress) -> Progress {
    Progress {
        attempt: now.attempt + 1,
        try_number: 1,
        phase: Phase::Authorize,
        uncertain: false,
        pending: None,
        ..now.moved_to(PaymentStatus::Processing)
    }
}

/// The processor is to close the attempt; then it ends like this, unless it was charged.
fn closing(now: Progress, pending: PendingOutcome) -> Next {
    Next::Closing(Progress {
        try_number: now.try_number + 1,
        phase: Phase::Close,
        pending: Some(pending),
        ..now.moved_to(PaymentStatus::Processing)
    })
}

fn after_action(now: Progress, answer: &ActionAnswer, expired: bool) -> Next {
    match answer {
        ActionAnswer::Approved { authorization_code } => charged(now, authorization_code),
        ActionAnswer::Declined { code } => end_or_reverse(
            now.moved_to(PaymentStatus::Processing),
            PendingOutcome::Declined { code: code.clone() },
        ),
        ActionAnswer::Expired => {
            let reason = DeclineCode::ACTION_EXPIRED;
            closing(now, PendingOutcome::Failed { reason })
        }
        ActionAnswer::Waiting | ActionAnswer::Unknown if expired => {
            let reason = DeclineCode::ACTION_EXPIRED;
            closing(now, PendingOutcome::Failed { reason })
        }
        ActionAnswer::Waiting | ActionAnswer::Unknown => Next::AskAgain(Progress {
            try_number: now.try_number + 1,
            ..now
        }),
    }
}

fn after_closing(now: Progress, answer: &AttemptCloseAnswer) -> Next {
    match answer {
        AttemptCloseAnswer::Charged { authorization_code } => charged(now, authorization_code),
        AttemptCloseAnswer::Closed => closed(now),
        AttemptCloseAnswer::Unknown => again(now, DeclineCode::ISSUER_NO_ANSWER),
    }
}

/// Starts a capture or void of an authorized amount.
fn authorized(now: Progress, kind: OperationKind) -> Result<Next, Refusal> {
    match now.status {
        PaymentStatus::RequiresCapture => Ok(Next::Operating(Progress {
            operation: Some(kind),
            ..now.moved_to(PaymentStatus::Processing)
        })),
        PaymentStatus::Processing => Err(Refusal::Processing),
        PaymentStatus::Succeeded => Err(Refusal::Succeeded),
        PaymentStatus::Canceled => Err(Refusal::Canceled),
        PaymentStatus::RequiresPaymentMethod
        | PaymentStatus::RequiresAction
        | PaymentStatus::Declined
        | PaymentStatus::Failed => Err(Refusal::NotAuthorized),
    }
}

fn operation_ended(now: Progress, end: OperationEnd) -> Result<Next, Refusal> {
    if now.status != PaymentStatus::Processing || now.operation.is_none() {
        return Err(Refusal::Stale);
    }
    let over = Progress {
        operation: None,
        ..now
    };
    Ok(match end {
        OperationEnd::Captured => Next::Captured(over.moved_to(PaymentStatus::Succeeded)),
        OperationEnd::Released => Next::Canceled(over.moved_to(PaymentStatus::Canceled)),
        OperationEnd::StillAuthorized => {
            Next::StillAuthorized(over.moved_to(PaymentStatus::RequiresCapture))
        }
    })
}

fn after_answer(now: Progress, answer: &Answer, max_tries: u32) -> Next {
    match answer {
        Answer::Approved { authorization_code } => charged(now, authorization_code),
        Answer::ActionRequired { url, expires_at } => Next::ActionRequired {
            progress: Progress {
                try_number: now.try_number + 1,
                phase: Phase::Ask,
                ..now.moved_to(PaymentStatus::RequiresAction)
            },
            url: url.clone(),
            expires_at: *expires_at,
        },
        Answer::Declined { code } => {
            end_or_reverse(now, PendingOutcome::Declined { code: code.clone() })
        }
        Answer::NotCharged { reason } if now.try_number < max_tries => again(now, reason.clone()),
        Answer::NotCharged { reason } => end_or_reverse(
            now,
            PendingOutcome::Failed {
                reason: reason.clone(),
            },
        ),
        Answer::Unknown => {
            let last = now.try_number >= max_tries;
            let reason = DeclineCode::ISSUER_NO_ANSWER;
            let uncertain = now.unanswered();
            if last {
                end_or_reverse(uncertain, PendingOutcome::Failed { reason })
            } else {
                again(uncertain, reason)
            }
        }
    }
}

/// Another processor gets a new attempt only if nothing can be charged under this one.
fn fall_back(now: Progress, reason: DeclineCode) -> Next {
    if now.uncertain {
        return Next::AskAgain(now);
    }
    let progress = next_attempt(now);
    Next::FellBack { progress, reason }
}

/// Ends an attempt that is charged or authorized.
fn charged(now: Progress, authorization_code: &str) -> Next {
    let authorization_code = authorization_code.to_owned();
    let outcome = match now.capture_method {
        CaptureMethod::Automatic => Outcome::Succeeded { authorization_code },
        CaptureMethod::Manual => Outcome::Authorized { authorization_code },
    };
    ended(now, outcome)
}

/// Ends an attempt if all of its calls have answered, and reverses it otherwise.
fn end_or_reverse(now: Progress, pending: PendingOutcome) -> Next {
    if !now.uncertain {
        return ended_with(now, pending);
    }
    let reason = pending.code();
    let reversing = Progress {
        phase: Phase::Reverse,
        pending: Some(pending),
        ..now
    };
    again(reversing, reason)
}

/// The state after a confirmed reversal: nothing is or will be charged under the attempt's key. Rows of earlier releases
/// have no pending outcome.
fn reversed(now: Progress) -> Next {
    let no_answer = PendingOutcome::Failed {
        reason: DeclineCode::ISSUER_NO_ANSWER,
    };
    let pending = now.pending.clone().unwrap_or(no_answer);
    ended_with(now, pending)
}

/// The state after an attempt was closed: nothing is or will be charged under its key.
fn closed(now: Progress) -> Next {
    let expired = PendingOutcome::Failed {
        reason: DeclineCode::ACTION_EXPIRED,
    };
    let pending = now.pending.clone().unwrap_or(expired);
    ended_with(now, pending)
}

fn ended_with(now: Progress, pending: PendingOutcome) -> Next {
    match pending {
        PendingOutcome::Declined { code } => ended(now, Outcome::Declined { code }),
        PendingOutcome::Failed { reason } => ended(now, Outcome::Failed { reason }),
        PendingOutcome::Canceled => {
            let over = Progress {
                pending: None,
                ..now
            };
            Next::Canceled(over.moved_to(PaymentStatus::Canceled))
        }
        PendingOutcome::Replaced => Next::Replaced(next_attempt(now)),
    }
}

/// A payment that its client may still move: it waits for a card.
fn open(now: Progress) -> Result<Progress, Refusal> {
    match now.status {
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Declined | PaymentStatus::Failed => {
            Ok(now)
        }
        PaymentStatus::Processing | PaymentStatus::RequiresAction => Err(Refusal::Processing),
        PaymentStatus::RequiresCapture => Err(Refusal::RequiresCapture),
        PaymentStatus::Succeeded => Err(Refusal::Succeeded),
        PaymentStatus::Canceled => Err(Refusal::Canceled),
    }
}

/// A payment that waits for the answer to exactly this try.
fn awaiting(now: Progress, asked: (u32, u32), phase: Phase) -> Result<Progress, Refusal> {
    if now.awaits(asked) && now.phase == phase {
        Ok(now)
    } else {
        Err(Refusal::Stale)
    }
}

fn ended(now: Progress, outcome: Outcome) -> Next {
    let status = match outcome {
        Outcome::Succeeded { .. } => PaymentStatus::Succeeded,
        Outcome::Authorized { .. } => PaymentStatus::RequiresCapture,
        Outcome::Declined { .. } => PaymentStatus::Declined,
        Outcome::Failed { .. } => PaymentStatus::Failed,
    };
    let over = Progress {
        pending: None,
        ..now
    };
    Next::Ended(over.moved_to(status), outcome)
}

fn again(now: Progress, reason: DeclineCode) -> Next {
    Next::TryAgain {
        progress: Progress {
            try_number: now.try_number + 1,
            ..now
        },
        reason,
    }
}

impl Progress {
    /// A payment that waits for its first card.
    pub const NEW: Self = Self {
        status: PaymentStatus::RequiresPaymentMethod,
        attempt: 0,
        try_number: 0,
        phase: Phase::Authorize,
        uncertain: false,
        pending: None,
        capture_method: CaptureMethod::Automatic,
        operation: None,
    };

    /// Whether the payment waits for the answer to this attempt and try. While a capture or void runs, it does not.
    pub fn awaits(&self, asked: (u32, u32)) -> bool {
        self.status.has_a_try()
            && self.operation.is_none()
            && (self.attempt, self.try_number) == asked
    }

    /// A call has not answered, because it timed out or because another worker took its claim over. It may charge at any
    /// later time, whatever other calls answer.
    pub fn unanswered(self) -> Self {
        Self {
            uncertain: true,
            ..self
        }
    }

    fn moved_to(self, status: PaymentStatus) -> Self {
        Self { status, ..self }
    }
}

#[cfg(test)]
mod model;
#[cfg(test)]
mod tests;
