//! A platform's own record of what it has charged, to be compared with ours. Only reads.

use std::time::Duration;

use async_trait::async_trait;

use super::AttemptKey;
use crate::domain::{Currency, OperationId, Timestamp};

/// A platform whose charges can be listed. Its caller adds the time-out, and waits when there were too many calls.
#[async_trait]
pub trait Books: Send + Sync {
    /// How its list of charges is used.
    fn list(&self) -> List;

    /// A page of the charges of this installation that were made in this time.
    async fn charges(&self, wanted: &Wanted) -> Result<Page, NoBooks>;

    /// One charge by the reference that is stored for its attempt; none if the platform does not have it.
    async fn charge(
        &self,
        key: AttemptKey,
        reference: &str,
    ) -> Result<Option<TheirCharge>, NoBooks>;

    /// Whether a listed charge, by its own reference, is the one of the attempt with this stored reference.
    async fn is_of(&self, _key: AttemptKey, stored: &str, charge: &str) -> Result<bool, NoBooks> {
        Ok(stored == charge)
    }

    /// A charge of a [late](List::Late) list, as it stands now.
    async fn current(&self, listed: &TheirCharge) -> Result<TheirCharge, NoBooks> {
        Ok(listed.clone())
    }

    /// All refunds of a charge.
    async fn refunds(&self, charge: &TheirCharge) -> Result<Vec<TheirRefund>, NoBooks>;

    /// A refund that [`Self::refunds`] has not returned, by the reference that is stored for it; none if the platform does not
    /// have it. By default there is none.
    async fn refund(&self, _reference: &str) -> Result<Option<TheirRefund>, NoBooks> {
        Ok(None)
    }
}

/// How a list of charges is used.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum List {
    /// It is complete and current: our payments are compared with it, and only what it lacks is asked about.
    Complete,
    /// What was made less long ago than this may be missing, and what it says may be out of date. So each of our payments is
    /// asked about by its reference, and the list only shows what is not known here.
    Late(Duration),
}

/// Follows the pages of a list, and notices if it has no end.
#[derive(Debug, Default)]
pub struct Pages {
    after: Option<String>,
    /// A page from before. With each power of two it is a later one, so that a cycle of any length is noticed.
    mark: Option<String>,
    turned: u64,
}

impl Pages {
    /// The [`Page::next`] of the page before.
    pub fn after(&self) -> Option<&str> {
        self.after.as_deref()
    }

    /// Goes to the next page, if there is one. The list has at most so many.
    pub fn turn(&mut self, next: Option<String>, most: u64) -> Result<bool, NoBooks> {
        let Some(next) = next else {
            return Ok(false);
        };
        self.turned += 1;
        let is_known = |page: &Option<String>| page.as_ref() == Some(&next);
        if is_known(&self.after) || is_known(&self.mark) {
            let why = format!("it repeats the page after {next}");
            return Err(NoBooks::Endless(why));
        }
        if self.turned >= most {
            let why = format!("it has more than {most} pages");
            return Err(NoBooks::Endless(why));
        }
        if self.turned.is_power_of_two() {
            self.mark = Some(next.clone());
        }
        self.after = Some(next);
        Ok(true)
    }
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
    /// The account or its key may not read this.
    #[error("{0}")]
    Forbidden(String),
    /// Its list has no end.
    #[error("its list does not end: {0}")]
    Endless(String),
    /// Anything else.
    #[error("{0}")]
    Failed(String),
}

#[cfg(test)]
mod tests {
    use super::*;

    /// How many pages are read of a list whose pages follow each other like this, and why no more.
    fn turned(next: impl Fn(u64) -> Option<u64>, most: u64) -> (u64, Option<String>) {
        let mut pages = Pages::default();
        for page in 1.. {
            let next = next(page).map(|next| next.to_string());
            match pages.turn(next, most) {
                Ok(true) => {}
                Ok(false) => return (page, None),
                Err(error) => return (page, Some(error.to_string())),
            }
        }
        unreachable!()
    }

    #[test]
    fn a_list_is_read_to_its_end() {
        assert_eq!(turned(|_| None, 10), (1, None));
        assert_eq!(turned(|page| (page < 9).then_some(page), 10), (9, None));
    }

    #[test]
    fn a_list_without_an_end_is_noticed() {
        let (read, why) = turned(|_| Some(7), 1000);
        assert_eq!(read, 2);
        let expected = "its list does not end: it repeats the page after 7";
        assert_eq!(why.as_deref(), Some(expected));
        for length in [2, 3, 10, 100] {
            let (read, why) = turned(|page| Some(page % length), 1000);
            assert!(why.unwrap().contains("repeats"), "{length}");
            assert!(read <= 4 * length, "{read} of {length}");
        }
        let (read, why) = turned(Some, 1000);
        assert_eq!(read, 1000);
        assert!(why.unwrap().contains("more than 1000 pages"));
    }
}
