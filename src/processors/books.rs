//! A platform's own record of what it has charged, to be compared with ours. Only reads.

use std::time::Duration;

use async_trait::async_trait;

use super::AttemptKey;
use crate::domain::{Currency, OperationId, Timestamp};

/// A platform whose charges can be listed. Its caller adds the time-out, and waits when there were too many calls.
#[async_trait]
pub trait Books: Send + Sync {
    /// A page of the charges of this installation that were made in this time. A platform that cannot list them returns an
    /// empty page: then each of our payments is asked about by its reference, and what is only there is not found.
    async fn charges(&self, wanted: &Wanted) -> Result<Page, NoBooks>;

    /// One charge by the reference that is stored for its attempt; none if the platform does not have it.
    async fn charge(&self, reference: &str) -> Result<Option<TheirCharge>, NoBooks>;

    /// All refunds of a charge, by the charge's own reference.
    async fn refunds(&self, charge: &str) -> Result<Vec<TheirRefund>, NoBooks>;
}

/// Which charges.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Wanted {
    /// Made at this time or later, by the platform's clock, in whole seconds.
    pub from: Timestamp,
    /// Made before this time, if there is an end.
    pub until: Option<Timestamp>,
    /// [`Page::next`] of the page before.
    pub after: Option<String>,
}

/// Some charges.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Page {
    /// Those of this installation.
    pub charges: Vec<TheirCharge>,
    /// Those of this installation that cannot be expressed here.
    pub unreadable: Vec<UnreadableCharge>,
    /// How many belong to somebody else.
    pub others: u64,
    /// Where the next page begins, if there is one.
    pub next: Option<String>,
}

/// A charge that cannot be expressed here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UnreadableCharge {
    /// The platform's reference.
    pub reference: String,
    /// The attempt that it says it belongs to.
    pub key: Option<AttemptKey>,
    /// Why.
    pub why: String,
}

/// What a platform has on record of an attempt. Amounts are in the minor units of the currency.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirCharge {
    /// The platform's reference.
    pub reference: String,
    /// The attempt that it says it belongs to.
    pub key: Option<AttemptKey>,
    /// The currency.
    pub currency: Currency,
    /// What is held for a later capture.
    pub held: i64,
    /// What was captured.
    pub captured: i64,
    /// Whether the platform knows of refunds, whatever became of them.
    pub has_refunds: bool,
    /// The platform has not decided yet.
    pub is_moving: bool,
}

/// What a platform has on record of a refund.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TheirRefund {
    /// The platform's reference.
    pub reference: String,
    /// Our refund, if it names one.
    pub operation: Option<OperationId>,
    /// In minor units.
    pub amount: i64,
    /// Its state.
    pub state: RefundState,
}

/// What became of a refund.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RefundState {
    /// Not decided yet.
    Pending,
    /// The amount was returned.
    Succeeded,
    /// Nothing was returned.
    Failed,
}

/// Why there is no answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NoBooks {
    /// Too many calls: the platform may say how long to wait.
    #[error("it has received too many requests")]
    Busy {
        /// The platform's own wish.
        retry_after: Option<Duration>,
    },
    /// There is an answer, and a charge or refund in it cannot be expressed here.
    #[error("{0}")]
    Unreadable(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}
