//! Calls of a platform that wait when there were too many, and are repeated a few times when they fail.

use std::time::Duration;

use super::Stopped;
use crate::processors::AttemptKey;
use crate::processors::books::{Books, List, NoBooks, Page, TheirCharge, TheirRefund, Wanted};

/// How long a call may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// The longest pause before a call is repeated.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A platform's record, read with patience. Reading changes nothing, so every call can be repeated.
pub(super) struct Patient<'b> {
    books: &'b dyn Books,
    patience: Patience,
}

/// How often a call is repeated.
struct Patience {
    /// That the platform refuses because there were too many.
    waits: u32,
    /// That failed.
    repeats: u32,
}

/// What was asked for, or why it cannot be expressed here.
pub(super) type Readable<T> = Result<T, String>;

impl<'b> Patient<'b> {
    pub(super) fn new(books: &'b dyn Books) -> Self {
        let patience = Patience::MUCH;
        Self { books, patience }
    }

    /// For a caller that comes again later.
    pub(super) fn without_repeats(books: &'b dyn Books) -> Self {
        let patience = Patience::NONE;
        Self { books, patience }
    }

    pub(super) fn list(&self) -> List {
        self.books.list()
    }

    pub(super) async fn charges(&self, wanted: &Wanted) -> Result<Page, Stopped> {
        let page = self
            .patience
            .repeated(|| self.books.charges(wanted))
            .await?;
        page.map_err(Stopped::Platform)
    }

    pub(super) async fn charge(
        &self,
        key: AttemptKey,
        reference: &str,
    ) -> Result<Readable<Option<TheirCharge>>, Stopped> {
        self.patience
            .repeated(|| self.books.charge(key, reference))
            .await
    }

    pub(super) async fn is_of(
        &self,
        key: AttemptKey,
        stored: &str,
        charge: &str,
    ) -> Result<bool, Stopped> {
        let is_of = self
            .patience
            .repeated(|| self.books.is_of(key, stored, charge))
            .await?;
        is_of.map_err(Stopped::Platform)
    }

    pub(super) async fn current(
        &self,
        listed: &TheirCharge,
    ) -> Result<Readable<TheirCharge>, Stopped> {
        self.patience.repeated(|| self.books.current(listed)).await
    }

    pub(super) async fn refunds(
        &self,
        charge: &TheirCharge,
    ) -> Result<Readable<Vec<TheirRefund>>, Stopped> {
        self.patience.repeated(|| self.books.refunds(charge)).await
    }

    pub(super) async fn refund(
        &self,
        reference: &str,
    ) -> Result<Readable<Option<TheirRefund>>, Stopped> {
        self.patience
            .repeated(|| self.books.refund(reference))
            .await
    }
}

impl Patience {
    const MUCH: Self = Self {
        waits: 8,
        repeats: 2,
    };

    const NONE: Self = Self {
        waits: 0,
        repeats: 0,
    };

    async fn repeated<T, F: Future<Output = Result<T, NoBooks>>>(
        &self,
        call: impl Fn() -> F,
    ) -> Result<Readable<T>, Stopped> {
        let (mut waits, mut repeats) = (0, 0);
        loop {
            let answer = tokio::time::timeout(TIME_LIMIT, call()).await;
            let answer = answer.unwrap_or_else(|_| Err(NoBooks::Failed("it is silent".to_owned())));
            let why = match answer {
                Ok(answer) => return Ok(Ok(answer)),
                Err(NoBooks::Unreadable(why)) => return Ok(Err(why)),
                Err(why) => why,
            };
            let pause = match &why {
                NoBooks::Busy { retry_after } if waits < self.waits => {
                    waits += 1;
                    retry_after.unwrap_or(Duration::from_secs(1 << waits.min(6)))
                }
                NoBooks::Failed(_) if repeats < self.repeats => {
                    repeats += 1;
                    Duration::from_millis(500) * repeats
                }
                NoBooks::Forbidden(why) => return Err(Stopped::Forbidden(why.clone())),
                _ => return Err(Stopped::Platform(why.to_string())),
            };
            tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::Mutex;

    use tokio::time::Instant;

    use super::*;

    /// The result of a call that first gets these answers, and how many seconds it took.
    async fn after(answers: Vec<NoBooks>) -> (Result<(), String>, u64) {
        let answers = Mutex::new(answers);
        let started = Instant::now();
        let called = Patience::MUCH.repeated(|| {
            let next = answers.lock().unwrap().pop();
            async move { next.map_or(Ok(()), Err) }
        });
        let called = called
            .await
            .map(|_| ())
            .map_err(|stopped| stopped.to_string());
        (called, started.elapsed().as_secs())
    }

    fn busy(seconds: Option<u64>) -> NoBooks {
        NoBooks::Busy {
            retry_after: seconds.map(Duration::from_secs),
        }
    }

    #[tokio::test(start_paused = true)]
    async fn too_many_requests_wait_as_the_platform_says_but_not_for_ever() {
        assert_eq!(after(vec![busy(Some(7)); 2]).await, (Ok(()), 14));
        assert_eq!(after(vec![busy(Some(3600))]).await, (Ok(()), 60));
        assert_eq!(after(vec![busy(None); 2]).await, (Ok(()), 2 + 4));
        let (stopped, _) = after(vec![busy(None); 9]).await;
        assert!(stopped.unwrap_err().contains("too many requests"));
    }

    #[tokio::test(start_paused = true)]
    async fn a_failed_call_is_repeated_twice() {
        let failed = || NoBooks::Failed("broken".to_owned());
        assert_eq!(after(vec![failed(), failed()]).await, (Ok(()), 1));
        let (stopped, _) = after(vec![failed(), failed(), failed()]).await;
        assert!(stopped.unwrap_err().ends_with("broken"));
    }
}
