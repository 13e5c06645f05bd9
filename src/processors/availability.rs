//! Whether a platform can be called. After several calls in a row that it did not answer it is not called for a while,
//! longer each time; nor for as long as it asks for itself, or while it refuses the account's key.

use std::fmt;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::time::Instant;

use crate::circuit::{Calls, Change, Circuit, Verdict};
use crate::retry::Backoff;

/// How long a platform that fails is not called.
const PAUSES: Backoff = Backoff::doubling(Duration::from_secs(1), Duration::from_secs(30));

/// A call that tests whether the platform is back, and of which nothing is heard, is followed by another after this time.
const TEST_TAKES: Duration = Duration::from_secs(15);

/// While the key is refused, one call in this time tests whether it works now.
const REFUSED_PAUSE: Duration = Duration::from_secs(5);

/// A platform that asks for a longer pause is called again after this time all the same.
const LONGEST_PAUSE: Duration = Duration::from_secs(120);

/// When to look whether a processor that is switched off or not listed can be called now.
const LOOK_AGAIN: Duration = Duration::from_secs(2);

/// The pause after "too many requests" that says nothing of a time.
const BUSY_PAUSE: Duration = Duration::from_secs(1);

/// The availability of one platform, as this process sees it.
#[derive(Debug)]
pub struct Availability {
    processor: String,
    /// It is never called, for this reason.
    off: Option<Why>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    circuit: Circuit,
    /// What the platform asked for.
    busy_until: Option<Instant>,
    /// Since it refused the key: when the next call may test it.
    refused: Option<Instant>,
}

/// Why a platform is not called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// It did not answer.
    NoAnswer,
    /// It asked for a pause.
    Busy,
    /// It refuses the account's key.
    KeyRefused,
    /// The operator has switched it off.
    Off,
    /// `PROCESSORS_FILE` does not list it any more.
    NotListed,
    /// Whether payments need another type under its name is not known yet.
    NotChecked,
}

/// A platform is not called now.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Pause {
    /// Why.
    pub why: Why,
    /// For how long.
    pub left: Duration,
}

/// A call that is under way. If it is dropped before its result is known, it was not answered in time.
#[derive(Debug)]
pub struct UnderWay<'a> {
    availability: &'a Availability,
    is_known: bool,
}

impl Availability {
    /// Of a processor that has not been called yet.
    pub fn new(processor: &str) -> Self {
        Self {
            processor: processor.to_owned(),
            off: None,
            state: Mutex::default(),
        }
    }

    /// Of a processor that is never called.
    pub fn never(processor: &str, why: Why) -> Self {
        Self {
            off: Some(why),
            ..Self::new(processor)
        }
    }

    /// The processor's name, for the log.
    pub(super) fn processor(&self) -> &str {
        &self.processor
    }

    /// Begins a call, unless the platform is not to be called now.
    pub fn call(&self) -> Result<UnderWay<'_>, Pause> {
        if let Some(pause) = self.pause() {
            return Err(pause);
        }
        let now = Instant::now();
        let mut state = self.state();
        if let Some(test_at) = &mut state.refused {
            *test_at = now + REFUSED_PAUSE;
        }
        match state.circuit.ask(now, Calls::None, TEST_TAKES) {
            Verdict::Call => Ok(UnderWay {
                availability: self,
                is_known: false,
            }),
            Verdict::Wait => Err(Pause {
                why: Why::NoAnswer,
                left: PAUSES.initial,
            }),
        }
    }

    /// Why it is not called now, if so.
    pub fn pause(&self) -> Option<Pause> {
        let off = self.off.map(|why| Pause {
            why,
            left: LOOK_AGAIN,
        });
        off.or_else(|| self.state().pause(Instant::now()))
    }

    /// What is wrong, also while a call may test whether it still is.
    pub fn fault(&self) -> Option<Why> {
        if self.off.is_some() {
            return self.off;
        }
        let state = self.state();
        if state.refused.is_some() {
            return Some(Why::KeyRefused);
        }
        if state.circuit.counts_as_down() {
            return Some(Why::NoAnswer);
        }
        let is_busy = state.busy_until.is_some_and(|until| until > Instant::now());
        is_busy.then_some(Why::Busy)
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn failed(&self) {
        let pause = |times| PAUSES.delay_after(times);
        let change = self
            .state()
            .circuit
            .failed(Instant::now(), Calls::None, pause);
        if change == Some(Change::Opened) {
            let processor = &*self.processor;
            tracing::warn!(
                processor,
                "the processor does not answer: it is not called for a while"
            );
        }
    }
}

impl Why {
    /// Whether only the operator can end it.
    pub fn is_for_the_operator(self) -> bool {
        matches!(self, Self::KeyRefused | Self::NotListed | Self::NotChecked)
    }
}

impl State {
    fn pause(&mut self, now: Instant) -> Option<Pause> {
        let left = |until: Option<Instant>| until.and_then(|it| it.checked_duration_since(now));
        let pause = |why, left: Duration| (!left.is_zero()).then_some(Pause { why, left });
        if let Some(left) = left(self.refused) {
            return pause(Why::KeyRefused, left);
        }
        if let Some(left) = left(self.busy_until) {
            return pause(Why::Busy, left);
        }
        let left = self.circuit.open_for(now, Calls::None)?;
        pause(Why::NoAnswer, left)
    }
}

impl UnderWay<'_> {
    /// It has answered, whatever it said.
    pub fn answered(mut self) {
        self.is_known = true;
        let mut state = self.availability.state();
        let was_refused = state.refused.take().is_some();
        state.busy_until = None;
        if state.circuit.answered() == Some(Change::Closed) || was_refused {
            let processor = &*self.availability.processor;
            tracing::info!(processor, "the processor answers again");
        }
    }

    /// It does not work: no connection, a server error, or an answer that cannot be read.
    pub fn failed(mut self) {
        self.is_known = true;
        self.availability.failed();
    }

    /// Too many requests: it is to be called after this time.
    pub fn busy(mut self, retry_after: Option<Duration>) {
        self.is_known = true;
        let pause = retry_after.unwrap_or(BUSY_PAUSE).min(LONGEST_PAUSE);
        self.availability.state().busy_until = Some(Instant::now() + pause);
    }

    /// It refuses the account's key.
    pub fn key_refused(mut self) {
        self.is_known = true;
        let test_at = Instant::now() + REFUSED_PAUSE;
        if self.availability.state().refused.replace(test_at).is_none() {
            let processor = &*self.availability.processor;
            tracing::error!(
                processor,
                "the processor refuses the account's key: its payments wait until PROCESSORS_FILE has one that it accepts"
            );
        }
    }
}

impl Drop for UnderWay<'_> {
    fn drop(&mut self) {
        if !self.is_known {
            self.availability.failed();
        }
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::NoAnswer => "does not answer",
            Self::Busy => "has asked for a pause",
            Self::KeyRefused => "refuses the account's key",
            Self::Off => "is switched off",
            Self::NotListed => "is not listed in PROCESSORS_FILE",
            Self::NotChecked => "is not used before the database was asked which type it had",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn call(availability: &Availability) -> UnderWay<'_> {
        availability.call().expect("it can be called")
    }

    async fn later(seconds: u64) {
        tokio::time::advance(Duration::from_secs(seconds)).await;
    }

    #[tokio::test(start_paused = true)]
    async fn after_five_failures_one_call_at_a_time_tests_it() {
        let stripe = Availability::new("stripe");
        for _ in 0..4 {
            call(&stripe).failed();
        }
        // Nobody waited for it any longer.
        drop(call(&stripe));
        let pause = stripe.call().expect_err("it is not called");
        assert_eq!(
            (pause.why, stripe.fault()),
            (Why::NoAnswer, Some(Why::NoAnswer))
        );
        later(2).await;
        assert_eq!(
            (stripe.pause(), stripe.fault()),
            (None, Some(Why::NoAnswer))
        );
        let test = call(&stripe);
        assert!(stripe.call().is_err(), "another call tests it already");
        test.answered();
        assert_eq!((stripe.pause(), stripe.fault()), (None, None));
    }

    #[tokio::test(start_paused = true)]
    async fn a_pause_that_it_asks_for_is_kept_but_not_for_ever() {
        let stripe = Availability::new("stripe");
        call(&stripe).busy(Some(Duration::from_secs(7)));
        let left = stripe.pause().map(|pause| (pause.why, pause.left));
        assert_eq!(left, Some((Why::Busy, Duration::from_secs(7))));
        later(8).await;
        assert_eq!((stripe.pause(), stripe.fault()), (None, None));
        call(&stripe).busy(Some(Duration::MAX));
        later(121).await;
        call(&stripe).answered();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refused_key_is_tested_now_and_then() {
        let stripe = Availability::new("stripe");
        call(&stripe).key_refused();
        for _ in 0..3 {
            let pause = stripe.call().expect_err("it is not called");
            assert_eq!(pause.why, Why::KeyRefused);
            later(6).await;
            let test = call(&stripe);
            assert!(stripe.call().is_err(), "one test is enough");
            test.key_refused();
        }
        assert_eq!(stripe.fault(), Some(Why::KeyRefused));
        later(6).await;
        call(&stripe).answered();
        assert_eq!((stripe.pause(), stripe.fault()), (None, None));
    }
}
