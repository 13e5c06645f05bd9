//! The one function that decides how a payment moves. Every write to a payment passes through [`next`].

use super::{Answer, DeclineCode, Outcome, PaymentStatus, ReversalAnswer};

/// Where a payment stands, to the try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Progress {
    /// Where it stands.
    pub status: PaymentStatus,
    /// Cards presented so far; the current one has this number.
    pub attempt: u32,
    /// The try that is under way or due, from 1; 0 before the first attempt.
    pub try_number: u32,
    /// What the current try asks of the processor.
    pub phase: Phase,
    /// Some try of this attempt ended without an answer: it may have charged.
    pub uncertain: bool,
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
    /// The client gives up.
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
                ReversalAnswer::Confirmed => ended(
                    current,
                    Outcome::Failed {
                        reason: DeclineCode::ISSUER_NO_ANSWER,
                    },
                ),
                ReversalAnswer::Unknown => {
                    again(current, Phase::Reverse, true, DeclineCode::ISSUER_NO_ANSWER)
                }
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
        // A decline speaks for the key: the issuer would have repeated an approval.
        Answer::Declined { code } => ended(now, Outcome::Declined { code: code.clone() }),
        Answer::NotCharged { reason } if now.try_number < max_tries => {
            again(now, Phase::Authorize, now.uncertain, reason.clone())
        }
        // This try charged nothing, but an earlier one that never answered may have.
        Answer::NotCharged { reason } if now.uncertain => {
            again(now, Phase::Reverse, true, reason.clone())
        }
        Answer::NotCharged { reason } => ended(
            now,
            Outcome::Failed {
                reason: reason.clone(),
            },
        ),
        Answer::Unknown if now.try_number < max_tries => {
            again(now, Phase::Authorize, true, DeclineCode::ISSUER_NO_ANSWER)
        }
        Answer::Unknown => again(now, Phase::Reverse, true, DeclineCode::ISSUER_NO_ANSWER),
    }
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
    Next::Ended(now.moved_to(status), outcome)
}

fn again(now: Progress, phase: Phase, uncertain: bool, reason: DeclineCode) -> Next {
    Next::TryAgain {
        progress: Progress {
            try_number: now.try_number + 1,
            phase,
            uncertain,
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
    };

    /// The try is made once more because whoever made it first never told what came of it: that call may have charged,
    /// whatever the next one answers.
    pub fn asked_again(self) -> Self {
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
