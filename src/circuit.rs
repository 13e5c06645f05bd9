//! The circuit breaker of one server that is called: a receiver of callbacks, or a payment platform. After several failures
//! in a row the receiver is not called for a while, longer each time; then one call tests it. This module only decides; it
//! does not wait.
//!
//! An event that failed before is weak evidence about the receiver: the event itself may be wrong. So only first calls of
//! events open the circuit, and they are the first to test whether the receiver is back.

use std::time::Duration;

use tokio::time::Instant;

/// Failures in a row after which a receiver counts as down.
const FAILURES: u32 = 5;

/// Whether the receiver was called for an event before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Calls {
    /// Never.
    None,
    /// At least one failed call.
    Some,
}

/// What to do with an event.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Verdict {
    /// Make the call.
    Call,
    /// Leave it for later, without a call.
    Wait,
}

/// How the result of a call changed the circuit.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Change {
    /// The receiver counts as down from now on.
    Opened,
    /// The receiver is back.
    Closed,
}

/// The recent history of one receiver.
#[derive(Debug, Default)]
pub struct Circuit {
    /// Failures in a row, counting only first calls of events.
    failures: u32,
    /// Set while the receiver counts as down.
    open: Option<Open>,
}

/// A receiver that counts as down.
#[derive(Debug)]
struct Open {
    /// When the first call of an event may test the receiver.
    fresh: Probe,
    /// When an event that failed before may test it. This is later: it is used only if there is no new event.
    again: Probe,
}

#[derive(Debug, Clone, Copy)]
struct Probe {
    at: Instant,
    /// Calls in a row that found the receiver still down.
    times: u32,
}

impl Circuit {
    /// Whether to call now. While the receiver counts as down, one call at a time may test it.
    pub fn ask(&mut self, now: Instant, calls: Calls, call: Duration) -> Verdict {
        match self.open.as_mut().map(|open| open.probe(calls)) {
            Some(probe) if now < probe.at => Verdict::Wait,
            Some(probe) => {
                probe.at = now + call;
                Verdict::Call
            }
            None => Verdict::Call,
        }
    }

    /// Whether to make no call for an event now.
    pub fn is_open(&mut self, now: Instant, calls: Calls) -> bool {
        let open = self.open.as_mut();
        open.is_some_and(|open| now < open.probe(calls).at)
    }

    /// How long to make no call for an event from now on; none if one may be made.
    pub fn open_for(&mut self, now: Instant, calls: Calls) -> Option<Duration> {
        let probe = self.open.as_mut()?.probe(calls);
        probe.at.checked_duration_since(now)
    }

    /// Whether the receiver counts as down, although a call may test it.
    pub fn counts_as_down(&self) -> bool {
        self.open.is_some()
    }

    /// How often in a row the receiver was found down, as a number of tries: the delays of waiting events grow with it.
    pub fn times(&self) -> u32 {
        let open = self.open.as_ref();
        open.map_or(1, |open| open.fresh.times.max(open.again.times))
    }

    /// The receiver answered, whatever its answer to the event.
    pub fn answered(&mut self) -> Option<Change> {
        self.failures = 0;
        self.open.take().map(|_| Change::Closed)
    }

    /// A call showed that the receiver does not work. `pause` returns how long not to call it after this many failed
    /// tests.
    pub fn failed(
        &mut self,
        now: Instant,
        calls: Calls,
        pause: impl Fn(u32) -> Duration,
    ) -> Option<Change> {
        if calls == Calls::None {
            self.failures = self.failures.saturating_add(1);
        }
        let Some(open) = &mut self.open else {
            if self.failures < FAILURES {
                return None;
            }
            let probe = |at| Probe { at, times: 1 };
            self.open = Some(Open {
                fresh: probe(now + pause(1)),
                again: probe(now + 2 * pause(1)),
            });
            return Some(Change::Opened);
        };
        let probe = open.probe(calls);
        probe.times = probe.times.saturating_add(1);
        probe.at = now + pause(probe.times);
        if calls == Calls::None {
            open.again.at = open.again.at.max(open.fresh.at + pause(open.fresh.times));
        }
        None
    }
}

impl Open {
    fn probe(&mut self, calls: Calls) -> &mut Probe {
        match calls {
            Calls::None => &mut self.fresh,
            Calls::Some => &mut self.again,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const CALL: Duration = Duration::from_secs(10);
    const FRESH: Calls = Calls::None;

    fn pause(times: u32) -> Duration {
        Duration::from_secs(u64::from(times) * 60)
    }

    fn opened(now: Instant) -> Circuit {
        let mut circuit = Circuit::default();
        for _ in 1..FAILURES {
            assert_eq!(circuit.failed(now, FRESH, pause), None);
            assert_eq!(circuit.ask(now, FRESH, CALL), Verdict::Call);
        }
        assert_eq!(circuit.failed(now, FRESH, pause), Some(Change::Opened));
        circuit
    }

    #[test]
    fn the_circuit_opens_after_failures_in_a_row_and_then_allows_one_probe() {
        let now = Instant::now();
        let mut circuit = opened(now);
        assert_eq!(circuit.ask(now + pause(1) / 2, FRESH, CALL), Verdict::Wait);
        let later = now + pause(1);
        assert_eq!(circuit.ask(later, FRESH, CALL), Verdict::Call);
        assert_eq!(circuit.ask(later, FRESH, CALL), Verdict::Wait);
        assert_eq!(circuit.failed(later, FRESH, pause), None);
        assert_eq!(circuit.times(), 2);
        assert_eq!(circuit.ask(later + pause(1), FRESH, CALL), Verdict::Wait);
        assert_eq!(circuit.ask(later + pause(2), FRESH, CALL), Verdict::Call);
        assert_eq!(circuit.answered(), Some(Change::Closed));
        assert_eq!(circuit.ask(later, FRESH, CALL), Verdict::Call);
        assert_eq!(circuit.answered(), None);
    }

    #[test]
    fn a_lost_probe_is_followed_by_another() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + pause(1);
        assert_eq!(circuit.ask(later, FRESH, CALL), Verdict::Call);
        assert_eq!(circuit.ask(later + CALL, FRESH, CALL), Verdict::Call);
    }

    #[test]
    fn a_success_resets_the_count_of_failures() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..3 {
            for _ in 1..FAILURES {
                assert_eq!(circuit.failed(now, FRESH, pause), None);
            }
            assert_eq!(circuit.answered(), None);
        }
    }

    #[test]
    fn failures_of_repeated_events_do_not_open_the_circuit() {
        let now = Instant::now();
        let mut circuit = Circuit::default();
        for _ in 0..100 {
            assert_eq!(circuit.failed(now, Calls::Some, pause), None);
        }
        assert_eq!(circuit.ask(now, FRESH, CALL), Verdict::Call);
    }

    #[test]
    fn a_half_open_circuit_probes_with_a_new_event() {
        let now = Instant::now();
        let mut circuit = opened(now);
        let later = now + pause(1);
        assert_eq!(circuit.ask(later, Calls::Some, CALL), Verdict::Wait);
        // There is no fresh one for a while.
        let much_later = now + 2 * pause(1);
        assert_eq!(circuit.ask(much_later, Calls::Some, CALL), Verdict::Call);
        assert_eq!(circuit.failed(much_later, Calls::Some, pause), None);
        assert_eq!(circuit.ask(much_later, Calls::Some, CALL), Verdict::Wait);
        assert_eq!(circuit.ask(much_later, FRESH, CALL), Verdict::Call);
        assert_eq!(circuit.answered(), Some(Change::Closed));
    }
}
