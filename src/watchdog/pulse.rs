//! Whether a busy task makes progress.
//!
//! A task marks when it becomes busy and when it is done; in between it may beat. A task that is not busy may rest for
//! any time. Busy must therefore never include waiting for a dependency that may be down for ever: an outage is not a
//! reason to restart a process.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use tokio::time::Instant;

/// The pulse of one task, or of a group of tasks that do the same. Clones share it.
#[derive(Debug, Clone)]
pub struct Pulse(Arc<State>);

#[derive(Debug)]
struct State {
    name: &'static str,
    begin: Instant,
    in_hand: AtomicUsize,
    /// Milliseconds from `begin` to the last beat.
    last_beat: AtomicU64,
}

/// A task is busy until this is dropped, which counts as a beat.
#[derive(Debug)]
pub struct InHand(Pulse);

/// All pulses of a process.
#[derive(Debug)]
pub struct Pulses {
    all: Vec<Pulse>,
    /// Maximum time that a task may be busy without a beat.
    longest: Duration,
}

impl Pulse {
    /// The pulse of a task that is not busy yet.
    pub fn new(name: &'static str) -> Self {
        Self(Arc::new(State {
            name,
            begin: Instant::now(),
            in_hand: AtomicUsize::new(0),
            last_beat: AtomicU64::new(0),
        }))
    }

    /// Marks the task as busy.
    #[must_use = "the task is busy until this is dropped"]
    pub fn take(&self) -> InHand {
        // The beat comes first: an old one must not be seen together with the new work.
        self.beat();
        self.0.in_hand.fetch_add(1, Ordering::SeqCst);
        InHand(self.clone())
    }

    /// The task makes progress.
    pub fn beat(&self) {
        let now = self.0.begin.elapsed().as_millis();
        let now = u64::try_from(now).unwrap_or(u64::MAX);
        self.0.last_beat.fetch_max(now, Ordering::SeqCst);
    }

    /// How long a busy task has made no progress; none if it is not busy.
    fn still_for(&self) -> Option<Duration> {
        if self.0.in_hand.load(Ordering::SeqCst) == 0 {
            return None;
        }
        let last_beat = Duration::from_millis(self.0.last_beat.load(Ordering::SeqCst));
        Some(self.0.begin.elapsed().saturating_sub(last_beat))
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        self.0.beat();
        self.0.0.in_hand.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Pulses {
    /// A task that is busy for longer than `longest` without a beat hangs.
    pub fn new(all: Vec<Pulse>, longest: Duration) -> Self {
        Self { all, longest }
    }

    /// The tasks that hang, each with its time without a beat.
    pub fn hanging(&self) -> Vec<(&'static str, Duration)> {
        self.all
            .iter()
            .filter_map(|pulse| Some((pulse.0.name, pulse.still_for()?)))
            .filter(|(_, still_for)| *still_for > self.longest)
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);

    #[tokio::test(start_paused = true)]
    async fn a_task_hangs_when_the_item_it_works_on_makes_no_progress() {
        let (idle, busy) = (Pulse::new("idle"), Pulse::new("busy"));
        let pulses = Pulses::new(vec![idle.clone(), busy.clone()], MINUTE);
        tokio::time::advance(10 * MINUTE).await;
        assert_eq!(pulses.hanging(), [], "both rest by choice");

        let one = busy.take();
        let another = busy.take();
        tokio::time::advance(MINUTE).await;
        assert_eq!(pulses.hanging(), []);
        busy.beat();
        tokio::time::advance(MINUTE).await;
        drop(one);
        tokio::time::advance(MINUTE).await;
        assert_eq!(pulses.hanging(), [], "it has moved within the time");
        tokio::time::advance(Duration::from_secs(1)).await;
        assert_eq!(
            pulses.hanging(),
            [("busy", MINUTE + Duration::from_secs(1))]
        );
        drop(another);
        assert_eq!(pulses.hanging(), []);
    }
}
