//! What a test card promises: the outcome, its reason, and how many calls to the issuer it takes.

use crate::domain::{DeclineCode, PaymentStatus};
use crate::processors::simulated::{AfterApproval, Behaviour};

/// The outcome that a card promises.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Promise {
    pub status: PaymentStatus,
    pub reason: Option<String>,
    pub tries: u32,
}

impl Promise {
    /// The promise with this many tries per attempt.
    pub(super) fn of(behaviour: Behaviour, max_tries: u32) -> Self {
        let succeeded = |tries| Self {
            status: PaymentStatus::Succeeded,
            reason: None,
            tries,
        };
        let failed = |reason: DeclineCode, tries| Self {
            status: PaymentStatus::Failed,
            reason: Some(reason.to_string()),
            tries,
        };
        match behaviour {
            Behaviour::Approve
            | Behaviour::ApproveThen(_)
            | Behaviour::ApproveSlowly
            | Behaviour::OnlyFirstCallCharges(_) => succeeded(1),
            Behaviour::Decline(code) => Self {
                status: PaymentStatus::Declined,
                reason: Some(code.to_owned()),
                tries: 1,
            },
            Behaviour::DownFor(times) if times < max_tries => succeeded(times + 1),
            Behaviour::DownFor(_) | Behaviour::AlwaysDown => {
                failed(DeclineCode::ISSUER_UNAVAILABLE, max_tries)
            }
            // If the shopper approves.
            Behaviour::NeedsShopper(AfterApproval::Decline(code)) => Self {
                status: PaymentStatus::Declined,
                reason: Some(code.to_owned()),
                tries: 2,
            },
            // When the shopper's time is over.
            Behaviour::NeedsShopper(AfterApproval::ChargeTooLate) => {
                failed(DeclineCode::ACTION_EXPIRED, 2)
            }
            Behaviour::NeedsShopper(_) => succeeded(2),
            Behaviour::LoseFirstAnswer => succeeded(2),
            // One more call: the reversal.
            Behaviour::LoseEveryAnswer | Behaviour::StaySilent => {
                failed(DeclineCode::ISSUER_NO_ANSWER, max_tries + 1)
            }
            Behaviour::LoseReversals(times) => {
                failed(DeclineCode::ISSUER_NO_ANSWER, max_tries + times + 1)
            }
        }
    }
}
