//! Which waiting try starts next, and which ones have to wait in the outbox. This module only decides; it does not wait.
//!
//! Each client has a lane. A free permit goes to the lane with the fewest calls under way for its weight; if equal, to
//! the lane that has used the permits least. If only one client has tries, it gets all permits. A client with slow calls
//! cannot fill the room in which tries wait: a try that would not start within the horizon is to be postponed.

use std::cmp::Ordering;
use std::collections::{BTreeMap, HashMap, VecDeque};
use std::time::Duration;

use tokio::time::Instant;

use crate::domain::ClientName;

/// The longest delay of a postponed try, in seconds: the processor may work again by then. Below the longest delay
/// between two tries of a payment in the default schedule, so that the row is not taken for one written by a wrong clock.
const LONGEST: f64 = 60.0;

/// A lane that was empty for this long forgets its earlier postponed tries.
const FORGET_AFTER: Duration = Duration::from_secs(180);

/// Empty lanes that are kept for what they know about their clients' calls.
const EMPTY_LANES: usize = 256;

/// Weight of a new measurement in the mean duration of calls.
const NEWEST: f64 = 1.0 / 16.0;

/// The client of a try; `None` while it is not known.
pub type Whose = Option<ClientName>;

/// How many tries may run and wait.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Tries that run at the same time.
    pub permits: usize,
    /// Tries that wait in this process.
    pub room: usize,
    /// A try that would start later than this is postponed.
    pub horizon: Duration,
}

/// The lanes.
#[derive(Debug)]
pub struct Shares<T> {
    limits: Limits,
    lanes: BTreeMap<Whose, Lane<T>>,
    running: HashMap<u64, Running>,
    /// Tries that wait, in all lanes.
    waiting: usize,
    last_ticket: u64,
    epoch: Instant,
}

/// Identifies a running try.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u64);

/// A try that has to wait in the outbox, and for how long.
#[derive(Debug, PartialEq)]
pub struct Postponed<T> {
    /// The try.
    pub item: T,
    /// How often it was postponed before.
    pub times: u32,
    /// How long it is to wait.
    pub delay: Duration,
}

#[derive(Debug)]
struct Running {
    whose: Whose,
    since: f64,
    /// When the call to the processor began; `None` before and after it.
    asked: Option<f64>,
}

#[derive(Debug)]
struct Lane<T> {
    weight: f64,
    /// Tries that were postponed most often come first, then in order of arrival.
    waiting: VecDeque<(u32, T)>,
    running: usize,
    /// The sum of the start times of the running tries.
    started: f64,
    /// Permit seconds used by ended calls, divided by the weight.
    used: f64,
    calls: Calls,
    /// Tries that wait in the outbox, as far as this worker knows.
    away: f64,
    last_used: f64,
}

/// How long the calls of one client take, in seconds.
#[derive(Debug, Default)]
struct Calls {
    mean: f64,
    under_way: usize,
    /// The sum of the start times of the calls under way.
    began: f64,
}

impl<T> Shares<T> {
    /// Starts without clients.
    pub fn new(limits: Limits, now: Instant) -> Self {
        Self {
            limits,
            lanes: BTreeMap::new(),
            running: HashMap::new(),
            waiting: 0,
            last_ticket: 0,
            epoch: now,
        }
    }

    /// Adds a received try; `times` is how often it was postponed before.
    pub fn add(&mut self, whose: Whose, weight: u32, (times, item): (u32, T), now: Instant) {
        let now = self.seconds(now);
        let others = self.lanes.values().filter(|lane| !lane.is_empty());
        // A lane that starts again gets no credit for the time in which it had no tries.
        let least = others.map(|lane| lane.used_by(now)).min_by(f64::total_cmp);
        if self.lanes.len() > EMPTY_LANES {
            self.lanes.retain(|_, lane| !lane.is_empty());
        }
        let lane = self.lanes.entry(whose).or_insert_with(|| Lane::new(now));
        if lane.is_empty() {
            lane.used = lane.used.max(least.unwrap_or(lane.used));
            if now - lane.last_used > FORGET_AFTER.as_secs_f64() {
                lane.away = 0.0;
            }
        }
        lane.last_used = now;
        lane.weight = f64::from(weight.max(1));
        if times > 0 {
            lane.away = (lane.away - 1.0).max(0.0);
        }
        let place = lane.waiting.partition_point(|(before, _)| *before >= times);
        lane.waiting.insert(place, (times, item));
        self.waiting += 1;
    }

    /// Returns the try that starts now, if any may.
    pub fn next(&mut self, now: Instant) -> Option<(Ticket, T)> {
        if self.running.len() >= self.limits.permits {
            return None;
        }
        let now = self.seconds(now);
        let waiting = self.lanes.iter_mut();
        let (whose, lane) = waiting
            .filter(|(_, lane)| !lane.waiting.is_empty())
            .min_by(|(_, one), (_, another)| one.order(another, now))?;
        let (_, item) = lane.waiting.pop_front()?;
        lane.running += 1;
        lane.started += now;
        lane.last_used = now;
        self.last_ticket += 1;
        let running = Running {
            whose: whose.clone(),
            since: now,
            asked: None,
        };
        self.running.insert(self.last_ticket, running);
        self.waiting -= 1;
        Some((Ticket(self.last_ticket), item))
    }

    /// The call to the processor begins.
    pub fn asked(&mut self, ticket: Ticket, now: Instant) {
        let now = self.seconds(now);
        let Some(running) = self.running.get_mut(&ticket.0) else {
            return;
        };
        running.asked = Some(now);
        if let Some(lane) = self.lanes.get_mut(&running.whose) {
            lane.calls.under_way += 1;
            lane.calls.began += now;
        }
    }

    /// The call to the processor has ended.
    pub fn answered(&mut self, ticket: Ticket, now: Instant) {
        let now = self.seconds(now);
        let Some(running) = self.running.get_mut(&ticket.0) else {
            return;
        };
        let lane = self.lanes.get_mut(&running.whose);
        if let Some((began, lane)) = running.asked.take().zip(lane) {
            lane.calls.end(began, now);
        }
    }

    /// A try has ended, with a call or without.
    pub fn ended(&mut self, ticket: Ticket, now: Instant) {
        self.answered(ticket, now);
        let now = self.seconds(now);
        let Some(running) = self.running.remove(&ticket.0) else {
            return;
        };
        if let Some(lane) = self.lanes.get_mut(&running.whose) {
            lane.running -= 1;
            lane.started -= running.since;
            lane.used += (now - running.since) / lane.weight;
            lane.last_used = now;
        }
    }

    /// Returns the tries to be postponed. `behind` is how many wait in the queue behind those here.
    pub fn beyond_the_horizon(&mut self, behind: u64, now: Instant) -> Vec<(Whose, Postponed<T>)> {
        let now = self.seconds(now);
        let horizon = self.limits.horizon.as_secs_f64();
        let active = self.lanes.values().filter(|lane| !lane.is_empty());
        let (clients, weights) = active.fold((0_u32, 0.0), |(clients, weights), lane| {
            (clients + 1, weights + lane.weight)
        });
        let permits = number(self.limits.permits);
        let share = |lane: &Lane<T>| permits * lane.weight / weights;
        let pace: f64 = self
            .lanes
            .values()
            .filter(|lane| !lane.is_empty())
            .map(|lane| lane.pace(share(lane), now))
            .sum();
        let behind = number(usize::try_from(behind).unwrap_or(usize::MAX));
        let is_long = behind / pace > horizon;
        // Postponed tries make room for those behind them, whichever client they belong to.
        let room = number(self.limits.room) / f64::from(clients + 1);
        let mut postponed = Vec::new();
        for (whose, lane) in &mut self.lanes {
            let pace = lane.pace(permits * lane.weight / weights, now);
            if !is_long && number(lane.waiting.len()) / pace <= horizon {
                continue;
            }
            let keep = whole((pace * horizon).min(room).max(1.0)).min(lane.waiting.len());
            for (times, item) in lane.waiting.split_off(keep) {
                let delay = lane.turn(number(keep), pace).max(horizon);
                let delay = Duration::try_from_secs_f64(delay).unwrap_or(self.limits.horizon);
                let try_ = Postponed { item, times, delay };
                postponed.push((whose.clone(), try_));
            }
        }
        self.waiting -= postponed.len();
        postponed
    }

    /// Returns everything that waits, to be given back.
    pub fn take_all(&mut self) -> Vec<T> {
        self.waiting = 0;
        let lanes = self.lanes.values_mut();
        lanes
            .flat_map(|lane| std::mem::take(&mut lane.waiting))
            .map(|(_, item)| item)
            .collect()
    }

    /// How many more tries could run.
    pub fn free_permits(&self) -> usize {
        self.limits.permits.saturating_sub(self.running.len())
    }

    /// Tries that wait here.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Clients seen recently.
    pub fn clients(&self) -> usize {
        self.lanes.len()
    }

    fn seconds(&self, now: Instant) -> f64 {
        now.saturating_duration_since(self.epoch).as_secs_f64()
    }
}

impl<T> Lane<T> {
    fn new(now: f64) -> Self {
        Self {
            weight: 1.0,
            waiting: VecDeque::new(),
            running: 0,
            started: 0.0,
            used: 0.0,
            calls: Calls::default(),
            away: 0.0,
            last_used: now,
        }
    }

    fn is_empty(&self) -> bool {
        self.waiting.is_empty() && self.running == 0
    }

    /// Permit seconds used so far, including running tries, divided by the weight.
    fn used_by(&self, now: f64) -> f64 {
        self.used + (number(self.running) * now - self.started) / self.weight
    }

    /// Orders lanes by their claim to the next permit: the smaller one gets it.
    fn order(&self, other: &Self, now: f64) -> Ordering {
        let running = |lane: &Self| number(lane.running) / lane.weight;
        running(self)
            .total_cmp(&running(other))
            .then_with(|| self.used_by(now).total_cmp(&other.used_by(now)))
    }

    /// Tries that start per second with this many permits. Without a measured call, nothing counts as slow.
    fn pace(&self, permits: f64, now: f64) -> f64 {
        permits / self.calls.duration(now).max(1e-6)
    }

    /// The seconds until the next postponed try gets its turn, after those that wait here and those that were postponed
    /// before.
    fn turn(&mut self, waiting: f64, pace: f64) -> f64 {
        self.away += 1.0;
        let expected = (waiting + self.away) / pace;
        if expected <= LONGEST {
            expected
        } else {
            // Spread out, so that they do not all come back at once.
            LONGEST * rand::random_range(0.5..1.0)
        }
    }
}

impl Calls {
    fn end(&mut self, began: f64, now: f64) {
        let took = now - began;
        self.under_way -= 1;
        self.began -= began;
        self.mean = if self.mean > 0.0 {
            self.mean + (took - self.mean) * NEWEST
        } else {
            took
        };
    }

    /// How long one call takes: as long as those that ended, or longer if those under way are older on average.
    fn duration(&self, now: f64) -> f64 {
        if self.under_way == 0 {
            return self.mean;
        }
        self.mean.max(now - self.began / number(self.under_way))
    }
}

/// A number of tries as a float. Exact up to four thousand million, which is more than there are.
fn number(count: usize) -> f64 {
    f64::from(u32::try_from(count).unwrap_or(u32::MAX))
}

/// The whole tries in a number.
#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "a cast from a float saturates, and the number is at least 1 and at most the room"
)]
fn whole(number: f64) -> usize {
    number as usize
}

#[cfg(test)]
mod tests;
