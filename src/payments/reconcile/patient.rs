//! Calls of a platform that wait when there were too many, and are repeated a few times when they fail.

use std::time::Duration;

use super::Stopped;
use crate::processors::AttemptKey;
use crate::processors::books::{Books, List, NoBooks, Page, TheirCharge, TheirRefund, Wanted};

/// How long a call may take.
const TIME_LIMIT: Duration = Duration::from_secs(30);

/// How often a call is repeated that the platform refuses because there were too many.
const WAITS: u32 = 8;

/// How often a call that failed is repeated.
const REPEATS: u32 = 2;

/// The longest pause before a call is repeated.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// A platform's record, read with patience. Reading changes nothing, so every call can be repeated.
pub(super) struct Patient<'b>(pub &'b dyn Books);

/// What was asked for, or why it cannot be expressed here.
pub(super) type Readable<T> = Result<T, String>;

impl Patient<'_> {
    pub(super) fn list(&self) -> List {
        self.0.list()
    }

    pub(super) async fn charges(&self, wanted: &Wanted) -> Result<Page, Stopped> {
        let page = repeated(|| self.0.charges(wanted)).await?;
        page.map_err(Stopped::Platform)
    }

    pub(super) async fn charge(
        &self,
        key: AttemptKey,
        reference: &str,
    ) -> Result<Readable<Option<TheirCharge>>, Stopped> {
        repeated(|| self.0.charge(key, reference)).await
    }

    pub(super) async fn is_of(
        &self,
        key: AttemptKey,
        stored: &str,
        charge: &str,
    ) -> Result<bool, Stopped> {
        let is_of = repeated(|| self.0.is_of(key, stored, charge)).await?;
        is_of.map_err(Stopped::Platform)
    }

    pub(super) async fn current(
        &self,
        listed: &TheirCharge,
    ) -> Result<Readable<TheirCharge>, Stopped> {
        repeated(|| self.0.current(listed)).await
    }

    pub(super) async fn refunds(
        &self,
        charge: &TheirCharge,
    ) -> Result<Readable<Vec<TheirRefund>>, Stopped> {
        repeated(|| self.0.refunds(charge)).await
    }

    pub(super) async fn refund(
        &self,
        reference: &str,
    ) -> Result<Readable<Option<TheirRefund>>, Stopped> {
        repeated(|| self.0.refund(reference)).await
    }
}

async fn repeated<T, F: Future<Output = Result<T, NoBooks>>>(
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
            NoBooks::Busy { retry_after } if waits < WAITS => {
                waits += 1;
                retry_after.unwrap_or(Duration::from_secs(1 << waits.min(6)))
            }
            NoBooks::Failed(_) if repeats < REPEATS => {
                repeats += 1;
                Duration::from_millis(500) * repeats
            }
            NoBooks::Forbidden(why) => return Err(Stopped::Forbidden(why.clone())),
            _ => return Err(Stopped::Platform(why.to_string())),
        };
        tokio::time::sleep(pause.min(LONGEST_PAUSE)).await;
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
        let called = repeated(|| {
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
