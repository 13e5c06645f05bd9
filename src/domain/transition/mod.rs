//! The one function that decides how a payment moves. Every write to a payment passes through [`next`].

use super::{Answer, DeclineCode, Outcome, PaymentStatus, PendingOutcome, ReversalAnswer};

/// Where a payment stands, to the try.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub status: PaymentStatus,
    /// Cards presented so far; the current one has this number.
    pub attempt: u32,
    /// The try that is under way or due, from 1; 0 before the first attempt.
    pub try_number: u32,
    /// What the current try asks of the processor.
    pub phase: Phase,
    /// Some call of this attempt has not answered: it timed out, or its claim was taken over. It may have charged, or
    /// may yet charge.
    pub uncertain: bool,
    /// While the attempt is being reversed: how it ends when that is confirmed.
    pub pending: Option<PendingOutcome>,
}

/// What a try asks of the processor.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Phase {
    /// Charge the card.
    Authorize,
    /// Take back whatever was charged, and refuse any later charge, under the attempt's key.
    Reverse,
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
        /// Attempt and try that were asked.
        asked: (u32, u32),
        /// What came back.
        answer: Answer,
        /// How many tries the schedule allows in an attempt.
        max_tries: u32,
    },
    /// The processor answered a reversal.
    Reversal {
        /// Attempt and try that were asked.
        asked: (u32, u32),
        /// What came back.
        answer: ReversalAnswer,
    },
}

/// Where it goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Next {
    /// A new attempt starts, at once.
    Attempt(Progress),
    /// The same attempt is tried again, after the schedule's delay.
    TryAgain {
        /// The new position.
        progress: Progress,
        /// What the last try came to.
        reason: DeclineCode,
    },
    /// The attempt is over.
    Ended(Progress, Outcome),
    /// The client gave up.
    Canceled(Progress),
}

/// Why it goes nowhere.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// The answer belongs to a try that is no longer the current one.
    #[error("the payment has moved on since this was asked")]
    Stale,
    /// A card is being authorized already.
    #[error("the payment is being processed")]
    Processing,
    /// It is paid.
    #[error("the payment has succeeded already")]
    Succeeded,
    /// It is canceled.
    #[error("the payment is canceled")]
    Canceled,
}

/// Decides where a payment goes when something happens to it.
///
/// An approval ends an attempt, because a processor charges a key once at most. A decline or a failure ends it only if
/// every call of the attempt has answered. Otherwise another call may still charge, whatever this one says: the attempt
/// is reversed, and ends with that code when the reversal is confirmed.
pub fn next(now: Progress, trigger: &Trigger) -> Result<Next, Refusal> {
    match trigger {
        Trigger::PresentCard => {
            let progress = Progress {
                attempt: now.attempt + 1,
                ..open(now)?.moved_to(PaymentStatus::Processing)
            };
            Ok(Next::Attempt(Progress {
                try_number: 1,
                phase: Phase::Authorize,
                uncertain: false,
                pending: None,
                ..progress
            }))
        }
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
    }
}

fn after_answer(now: Progress, answer: &Answer, max_tries: u32) -> Next {
    match answer {
        Answer::Approved { authorization_code } => ended(
            now,
            Outcome::Succeeded {
                authorization_code: authorization_code.clone(),
            },
        ),
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

/// Ends an attempt of which every call has answered, and reverses any other.
fn end_or_reverse(now: Progress, pending: PendingOutcome) -> Next {
    if !now.uncertain {
        return ended(now, pending.into());
    }
    let reason = pending.code().clone();
    let reversing = Progress {
        phase: Phase::Reverse,
        pending: Some(pending),
        ..now
    };
    again(reversing, reason)
}

/// Nothing is charged under the attempt's key, and nothing will be. Rows of earlier releases have no pending outcome.
fn reversed(now: Progress) -> Next {
    let no_answer = PendingOutcome::Failed {
        reason: DeclineCode::ISSUER_NO_ANSWER,
    };
    let pending = now.pending.clone().unwrap_or(no_answer);
    ended(now, pending.into())
}

/// A payment that its client may still move: it waits for a card.
fn open(now: Progress) -> Result<Progress, Refusal> {
    match now.status {
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Declined | PaymentStatus::Failed => {
            Ok(now)
        }
        PaymentStatus::Processing => Err(Refusal::Processing),
        PaymentStatus::Succeeded => Err(Refusal::Succeeded),
        PaymentStatus::Canceled => Err(Refusal::Canceled),
    }
}

/// A payment that waits for the answer to exactly this try.
fn awaiting(now: Progress, asked: (u32, u32), phase: Phase) -> Result<Progress, Refusal> {
    let current = now.status == PaymentStatus::Processing && (now.attempt, now.try_number) == asked;
    if current && now.phase == phase {
        Ok(now)
    } else {
        Err(Refusal::Stale)
    }
}

fn ended(now: Progress, outcome: Outcome) -> Next {
    let status = match outcome {
        Outcome::Succeeded { .. } => PaymentStatus::Succeeded,
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
    };

    /// A call has not answered, because it timed out or because another worker took its claim over. It may charge at any
    /// later moment, whatever other calls answer.
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
