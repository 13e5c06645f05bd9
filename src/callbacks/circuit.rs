//! Whether a receiver is worth a call. After some failures in a row it is left alone for a while, longer each time; then
//! one call finds out. Decides; waits for nothing.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a receiver counts as away.
const FAILURES: u32 = 5;

/// What is to be done with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make the call.
    Call,
    /// Leave it for later, without a call.
    Wait,
}

/// What changed by the end of a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// It counts as away from now on.
    Opened,
    /// It is back.
    Closed,
}

/// The recent history of one receiver.
#[derive(Debug, Default)]
pub struct Circuit {
    /// In a row.
    failures: u32,
    /// Set while it counts as away.
    open: Option<Open>,
}

#[derive(Debug)]
struct Open {
    until: Instant,
    /// Calls that have found it still away.
    times: u32,
}

impl Circuit {
    /// Whether to call now. Who may, while the receiver counts as away, is the only one for the time of a call.
    pub fn ask(&mut self, now: Instant, call: Duration) -> Verdict {
        match &mut self.open {
            Some(open) if now < open.until => Verdict::Wait,
            Some(open) => {
                open.until = now + call;
                Verdict::Call
            }
            None => Verdict::Call,
        }
    }

    /// Whether it is to be left alone now.
    pub fn is_open(&self, now: Instant) -> bool {
        self.open.as_ref().is_some_and(|open| now < open.until)
    }

    /// How often it has been found away in a row, as a number of tries: what is left for later waits accordingly.
    pub fn times(&self) -> u32 {
        self.open.as_ref().map_or(1, |open| open.times)
    }

    /// A call delivered its event.
    pub fn succeeded(&mut self) -> Option<Change> {
        self.failures = 0;
        self.open.take().map(|_| Change::Closed)
    }

    /// A call did not; `pause` says how long the receiver is left alone when it has been found away so many times.
    pub fn failed(&mut self, now: Instant, pause: impl Fn(u32) -> Duration) -> Option<Change> {
        self.failures = self.failures.saturating_add(1);
        match &mut self.open {
            Some(open) => {
                open.times = open.times.saturating_add(1);
                open.until = now + pause(open.times);
                None
            }
            None if self.failures >= FAILURES => {
                self.open = Some(Open {
                    until: now + pause(1),
                    times: 1,
                });
                Some(Change::Opened)
            }
            None => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_secs(10);

    fn pause(times: u32) -> Duration {
        Duration::from_secs(u64::from(times) * 60)
    }

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 1..FAILURES {
            assert_eq!(circuit.failed(now, pause), None);
            assert_eq!(circuit.ask(now, CALL), Verdict::Call);
        }
        assert_eq!(circuit.failed(now, pause), Some(Change::Opened));
        circuit
    }

    #[test]
    fn a_receiver_that_fails_in_a_row_is_left_alone_and_then_asked_once() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.ask(now + pause(1) / 2, CALL), Verdict::Wait);
        let later = now + pause(1);
        assert_eq!(circuit.ask(later, CALL), Verdict::Call);
        assert_eq!(circuit.ask(later, CALL), Verdict::Wait);
        assert_eq!(circuit.failed(later, pause), None);
        assert_eq!(circuit.times(), 2);
        assert_eq!(circuit.ask(later + pause(1), CALL), Verdict::Wait);
        assert_eq!(circuit.ask(later + pause(2), CALL), Verdict::Call);
        assert_eq!(circuit.succeeded(), Some(Change::Closed));
        assert_eq!(circuit.ask(later, CALL), Verdict::Call);
        assert_eq!(circuit.succeeded(), None);
    }

    #[test]
    fn a_call_of_which_nothing_is_heard_any_more_does_not_end_the_asking() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + pause(1);
        assert_eq!(circuit.ask(later, CALL), Verdict::Call);
        assert_eq!(circuit.ask(later + CALL, CALL), Verdict::Call);
    }

    #[test]
    fn a_success_between_failures_begins_the_count_anew() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                assert_eq!(circuit.failed(now, pause), None);
            }
            assert_eq!(circuit.succeeded(), None);
        }
    }
}
