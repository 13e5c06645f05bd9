//! A processor that keeps only the promises that ADR 004 requires.

use std::collections::BTreeMap;

use crate::domain::{Answer, DeclineCode, ReversalAnswer};

/// What the processor does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    /// Possible even under a key that is charged: a decline says nothing about other calls.
    Decline,
    NotCharged,
    /// Executed, but the answer is lost.
    UnknownDone,
    /// Neither executed nor answered.
    UnknownNotDone,
}

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    charged: bool,
    reversed: bool,
}

/// Accounts by attempt, that is, by key.
#[derive(Debug, Default)]
pub struct Processor(BTreeMap<u32, Account>);

impl Processor {
    /// Charges a key at most once, and never after its reversal.
    pub fn authorize(&mut self, attempt: u32, verdict: Verdict) -> Answer {
        let account = self.0.entry(attempt).or_default();
        let declined = Answer::Declined {
            code: DeclineCode::from_static("generic_decline"),
        };
        match verdict {
            Verdict::Approve if account.reversed => declined,
            Verdict::Approve => {
                account.charged = true;
                Answer::Approved {
                    authorization_code: "A1B2C3".to_owned(),
                }
            }
            Verdict::Decline => declined,
            Verdict::NotCharged => Answer::NotCharged {
                reason: DeclineCode::ISSUER_UNAVAILABLE,
            },
            Verdict::UnknownDone => {
                account.charged |= !account.reversed;
                Answer::Unknown
            }
            Verdict::UnknownNotDone => Answer::Unknown,
        }
    }

    pub fn reverse(&mut self, attempt: u32, verdict: Verdict) -> ReversalAnswer {
        let account = self.0.entry(attempt).or_default();
        match verdict {
            Verdict::Approve | Verdict::UnknownDone => account.reversed = true,
            Verdict::Decline | Verdict::NotCharged | Verdict::UnknownNotDone => {}
        }
        match verdict {
            Verdict::Approve => ReversalAnswer::Confirmed,
            _ => ReversalAnswer::Unknown,
        }
    }

    /// Attempts with a charge that was not reversed.
    pub fn standing(&self) -> Vec<u32> {
        let standing = self.0.iter();
        standing
            .filter(|(_, account)| account.charged && !account.reversed)
            .map(|(attempt, _)| *attempt)
            .collect()
    }
}
