//! A processor that keeps only the promises that ADR 004 requires.

use std::collections::BTreeMap;

use crate::domain::{ActionAnswer, Answer, AttemptCloseAnswer, DeclineCode, ReversalAnswer};

/// What the processor does with a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    Approve,
    /// Possible even under a key that is charged: a decline says nothing about other calls.
    Decline,
    NotCharged,
    /// The shopper has to approve.
    NeedsShopper,
    /// Executed, but the answer is lost.
    UnknownDone,
    /// Neither executed nor answered.
    UnknownNotDone,
}

#[derive(Debug, Default, Clone, Copy)]
struct Account {
    charged: bool,
    reversed: bool,
    /// Its shopper has a page.
    asks: bool,
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
                approved()
            }
            Verdict::Decline => declined,
            // A charge is never forgotten, and a closed attempt asks nobody any more.
            Verdict::NeedsShopper if account.charged => approved(),
            Verdict::NeedsShopper if account.reversed => declined,
            Verdict::NeedsShopper => {
                account.asks = true;
                Answer::ActionRequired {
                    url: "https://issuer.example/".to_owned(),
                    expires_at: time::macros::datetime!(2026-11-26 12:05 UTC),
                }
            }
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
            _ => {}
        }
        match verdict {
            Verdict::Approve => ReversalAnswer::Confirmed,
            _ => ReversalAnswer::Unknown,
        }
    }

    /// The shopper of an attempt approves.
    pub fn approve(&mut self, attempt: u32) {
        let account = self.0.entry(attempt).or_default();
        account.charged |= account.asks && !account.reversed;
    }

    /// Says whether the shopper has approved.
    pub fn ask(&mut self, attempt: u32, verdict: Verdict) -> ActionAnswer {
        let account = self.0.entry(attempt).or_default();
        match verdict {
            Verdict::UnknownDone | Verdict::UnknownNotDone => ActionAnswer::Unknown,
            _ if account.charged => ActionAnswer::Approved {
                authorization_code: code(),
            },
            // The shopper declines, or the time is over: nothing is charged any more.
            Verdict::Decline => {
                account.reversed = true;
                ActionAnswer::Declined {
                    code: DeclineCode::AUTHENTICATION_FAILED,
                }
            }
            Verdict::NotCharged => ActionAnswer::Expired,
            Verdict::Approve | Verdict::NeedsShopper => ActionAnswer::Waiting,
        }
    }

    pub fn close(&mut self, attempt: u32, verdict: Verdict) -> AttemptCloseAnswer {
        let account = self.0.entry(attempt).or_default();
        let executed = matches!(verdict, Verdict::Approve | Verdict::UnknownDone);
        account.reversed |= executed && !account.charged;
        match verdict {
            Verdict::Approve if account.charged => AttemptCloseAnswer::Charged {
                authorization_code: code(),
            },
            Verdict::Approve => AttemptCloseAnswer::Closed,
            _ => AttemptCloseAnswer::Unknown,
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

fn code() -> String {
    "A1B2C3".to_owned()
}

fn approved() -> Answer {
    Answer::Approved {
        authorization_code: code(),
    }
}
