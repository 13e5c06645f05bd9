//! Delays between tries, of authorizations, callbacks, connections to the broker and transactions. The only file that uses
//! the crate `backoff`, so that it is easy to replace.

use std::time::Duration;

use backoff::SystemClock;
use backoff::backoff::Backoff as _;
use backoff::exponential::ExponentialBackoff;

/// Exponential backoff with jitter.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Backoff {
    /// Between the first try and the second.
    pub initial: Duration,
    /// Factor by which each interval is longer than the one before.
    pub multiplier: f64,
    /// Where the intervals stop growing.
    pub max_interval: Duration,
    /// 0 to 1: each delay varies at random by this fraction of its interval, so that tries that failed together are not
    /// repeated together.
    pub jitter: f64,
}

/// When the tries of an attempt are made. Authorizations stop at `max_tries`; reversals go on without limit, at most
/// [`Backoff::longest_delay`] apart.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct RetrySchedule {
    /// The delays between tries, for both charges and reversals.
    pub backoff: Backoff,
    /// Maximum number of authorization calls in one attempt.
    pub max_tries: u32,
}

impl Default for RetrySchedule {
    /// About 0.5, 1, 2 and 4 s between five tries; reversals at most a minute and a half apart.
    fn default() -> Self {
        Self {
            backoff: Backoff::doubling(Duration::from_millis(500), Duration::from_secs(60)),
            max_tries: 5,
        }
    }
}

/// Work that waits for a server comes back after this fraction of the time that it has waited already.
const AGAIN_AFTER: u32 = 4;

impl RetrySchedule {
    /// How long work waits for a server that is not called for `left`: longer, the longer it has waited, so that a backlog
    /// costs others little, but never longer than between two tries. Each for another time, so that not all of it comes back
    /// together.
    pub fn delay_of_pause(&self, left: Duration, waited: Duration) -> Duration {
        let delay = left
            .max(waited / AGAIN_AFTER)
            .min(self.backoff.max_interval);
        let extra = self.backoff.initial.mul_f64(rand::random_range(0.1..0.5));
        (delay + extra).min(self.backoff.longest_delay())
    }
}

impl Backoff {
    /// Intervals that double; each delay is 0.5 to 1.5 times its interval.
    pub const fn doubling(initial: Duration, max_interval: Duration) -> Self {
        Self {
            initial,
            multiplier: 2.0,
            max_interval,
            jitter: 0.5,
        }
    }

    /// How long to wait after the given try (from 1).
    pub fn delay_after(&self, try_number: u32) -> Duration {
        let interval = self.interval_after(try_number);
        let mut delays: ExponentialBackoff<SystemClock> = ExponentialBackoff {
            current_interval: interval,
            initial_interval: interval,
            randomization_factor: self.jitter.clamp(0.0, 1.0),
            multiplier: 1.0,
            max_interval: self.max_interval,
            // The number of tries is the limit, not the time since this value was created.
            max_elapsed_time: None,
            ..ExponentialBackoff::default()
        };
        delays.next_backoff().unwrap_or(interval)
    }

    /// The longest possible delay.
    pub fn longest_delay(&self) -> Duration {
        self.max_interval.mul_f64(1.0 + self.jitter.clamp(0.0, 1.0))
    }

    /// The interval around which the delay after a try varies. Calculated only from the number, because different workers
    /// may make the tries.
    fn interval_after(&self, try_number: u32) -> Duration {
        let steps = i32::try_from(try_number.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.multiplier.max(1.0).powi(steps);
        Duration::from_secs_f64(seconds.min(self.max_interval.as_secs_f64()))
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn work_that_waits_long_comes_back_seldom_but_within_the_longest_delay() {
        let schedule = RetrySchedule::default();
        let second = Duration::from_secs;
        let delay = |left, waited| {
            schedule
                .delay_of_pause(second(left), second(waited))
                .as_secs()
        };
        assert_eq!((delay(3, 0), delay(3, 40)), (3, 10));
        assert_eq!((delay(120, 0), delay(1, 100_000)), (60, 60));
        assert!(
            schedule.delay_of_pause(Duration::MAX, Duration::MAX)
                < schedule.backoff.longest_delay()
        );
    }

    #[test]
    fn intervals_double_up_to_the_maximum() {
        let backoff = Backoff {
            jitter: 0.0,
            ..RetrySchedule::default().backoff
        };
        let seconds: Vec<f64> = (1..=10)
            .map(|try_number| backoff.delay_after(try_number).as_secs_f64())
            .collect();
        assert_eq!(
            seconds,
            [0.5, 1.0, 2.0, 4.0, 8.0, 16.0, 32.0, 60.0, 60.0, 60.0]
        );
        assert_eq!(backoff.delay_after(u32::MAX), Duration::from_secs(60));
    }

    #[test]
    fn jitter_spreads_the_delays() {
        let delays: std::collections::HashSet<Duration> = (0..50)
            .map(|_| RetrySchedule::default().backoff.delay_after(1))
            .collect();
        assert!(delays.len() > 40, "{delays:?}");
    }

    proptest! {
        #[test]
        fn a_delay_is_within_its_jitter_and_the_longest_delay(
            initial in 0_u64..100_000, multiplier in 0.0..10.0_f64, max in 1_u64..1_000_000,
            jitter in 0.0..=1.0_f64, try_number: u32,
        ) {
            let backoff = Backoff {
                initial: Duration::from_millis(initial),
                multiplier,
                max_interval: Duration::from_millis(max),
                jitter,
            };
            let interval = backoff.interval_after(try_number);
            let delay = backoff.delay_after(try_number);
            let rounding = Duration::from_micros(1);
            prop_assert!(interval <= backoff.max_interval);
            prop_assert!(delay + rounding >= interval.mul_f64(1.0 - jitter));
            prop_assert!(delay <= interval.mul_f64(1.0 + jitter) + rounding);
            prop_assert!(delay <= backoff.longest_delay() + rounding);
        }

        #[test]
        fn a_later_try_never_has_a_shorter_interval(try_number in 1_u32..10_000) {
            let backoff = RetrySchedule::default().backoff;
            prop_assert!(backoff.interval_after(try_number) <= backoff.interval_after(try_number + 1));
        }
    }
}
