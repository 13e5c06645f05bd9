//! The groups whose messages are not settled yet, and which of them wait for slow calls only. This module only decides; it
//! does not wait.
//!
//! A worker holds a limited number of groups, and a group is settled with the last of its tries. If every place is used
//! while permits are free, slow calls of a few tries keep others from being delivered. Those slow tries then leave their
//! groups (docs/adr/adr026-facts-and-groups.md says how).

use std::collections::HashMap;
use std::time::Duration;

use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::shares::Ticket;

/// A call that takes this long is slow. Faster ones are not worth a row: places that are used for less than this pass on
/// more tries per second than a worker can make.
const SLOW: Duration = Duration::from_millis(100);

/// Identifies a group of this worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct GroupId(u64);

/// What a try knows about its group.
#[derive(Debug, Clone)]
pub(super) struct Membership {
    pub group: GroupId,
    /// Canceled when a try whose call is under way should leave the group.
    pub leave: CancellationToken,
}

/// The groups that a worker holds.
#[derive(Debug)]
pub(super) struct OpenGroups {
    /// How many groups the broker delivers before one has to be settled.
    places: usize,
    /// Tries in a group.
    tries: usize,
    groups: HashMap<GroupId, Open>,
    last: u64,
}

#[derive(Debug)]
struct Open {
    unsettled: usize,
    /// Calls to the processor that are under way, with their beginnings.
    calls: Vec<(Ticket, Instant)>,
    leave: CancellationToken,
}

impl OpenGroups {
    pub(super) fn new(places: usize, tries: usize) -> Self {
        Self {
            places,
            tries: tries.max(1),
            groups: HashMap::new(),
            last: 0,
        }
    }

    /// Adds a group with this many tries.
    pub(super) fn open(&mut self, tries: usize) -> Membership {
        self.last += 1;
        let group = GroupId(self.last);
        let leave = CancellationToken::new();
        let open = Open {
            unsettled: tries,
            calls: Vec::new(),
            leave: leave.clone(),
        };
        self.groups.insert(group, open);
        Membership { group, leave }
    }

    /// The call for one of its tries begins.
    pub(super) fn asked(&mut self, group: GroupId, ticket: Ticket, now: Instant) {
        if let Some(open) = self.groups.get_mut(&group) {
            open.calls.push((ticket, now));
        }
    }

    /// The call has ended, if there was one.
    pub(super) fn answered(&mut self, group: GroupId, ticket: Ticket) {
        if let Some(open) = self.groups.get_mut(&group) {
            open.calls.retain(|(call, _)| *call != ticket);
        }
    }

    /// One of its tries is settled.
    pub(super) fn settled(&mut self, group: GroupId) {
        if let Some(open) = self.groups.get_mut(&group) {
            open.unsettled = open.unsettled.saturating_sub(1);
            if open.unsettled == 0 {
                self.groups.remove(&group);
            }
        }
    }

    /// When the next group will consist of slow calls only; none if no place is wanted.
    pub(super) fn slow_at(&self, free_permits: usize) -> Option<Instant> {
        if self.wanted(free_permits) == 0 {
            return None;
        }
        self.groups.values().filter_map(Open::slow_at).min()
    }

    /// Tells tries to leave their groups: as few as make room for the tries that could run.
    pub(super) fn leave_slow(&mut self, free_permits: usize, now: Instant) {
        let wanted = self.wanted(free_permits);
        let is_slow = |open: &&mut Open| open.slow_at().is_some_and(|at| at <= now);
        let mut slow: Vec<&mut Open> = self.groups.values_mut().filter(is_slow).collect();
        slow.sort_unstable_by_key(|open| open.calls.len());
        for open in slow.into_iter().take(wanted) {
            open.leave.cancel();
        }
    }

    /// How many more places must become free, so that all permits can be used.
    fn wanted(&self, free_permits: usize) -> usize {
        if self.groups.len() < self.places {
            return 0;
        }
        let leaving = self
            .groups
            .values()
            .filter(|open| open.leave.is_cancelled());
        let wanted = free_permits.div_ceil(self.tries);
        wanted.saturating_sub(leaving.count())
    }
}

impl Open {
    /// When the youngest of its calls counts as slow, if nothing but calls keeps the group open.
    fn slow_at(&self) -> Option<Instant> {
        if self.leave.is_cancelled() || self.calls.len() < self.unsettled {
            return None;
        }
        let youngest = self.calls.iter().map(|(_, began)| *began).max();
        youngest.map(|began| began + SLOW)
    }
}

#[cfg(test)]
mod tests {
    use super::super::shares::{Limits, Shares};
    use super::*;

    /// Tickets of running tries.
    fn tickets(number: u32) -> Vec<Ticket> {
        let limits = Limits {
            permits: 100,
            room: 100,
            horizon: SLOW,
        };
        let now = Instant::now();
        let mut shares = Shares::new(limits, now);
        for _ in 0..number {
            shares.add(None, 1, (0, ()), now);
        }
        std::iter::from_fn(|| shares.next(now).map(|(ticket, ())| ticket)).collect()
    }

    /// Groups of two, of which one try is settled and the other one has just called.
    fn waiting(groups: &mut OpenGroups, number: u32, now: Instant) -> Vec<Membership> {
        let open = |ticket: Ticket| {
            let member = groups.open(2);
            groups.settled(member.group);
            groups.asked(member.group, ticket, now);
            member
        };
        tickets(number).into_iter().map(open).collect()
    }

    fn leaving(members: &[Membership]) -> usize {
        let told = members.iter().filter(|it| it.leave.is_cancelled());
        told.count()
    }

    #[test]
    fn slow_calls_leave_as_many_groups_as_the_free_permits_need() {
        let now = Instant::now();
        let mut groups = OpenGroups::new(3, 2);
        let members = waiting(&mut groups, 3, now);
        assert_eq!(groups.slow_at(4), Some(now + SLOW));
        groups.leave_slow(4, now);
        assert_eq!(leaving(&members), 0, "not slow yet");
        groups.leave_slow(3, now + SLOW);
        assert_eq!(leaving(&members), 2, "two groups have four tries");
        assert_eq!(groups.slow_at(3), None, "their places are about to be free");
        groups.leave_slow(4, now + SLOW);
        assert_eq!(leaving(&members), 2);
        groups.leave_slow(5, now + SLOW);
        assert_eq!(leaving(&members), 3);
    }

    #[test]
    fn nothing_leaves_while_there_is_a_place_or_no_permit() {
        let now = Instant::now();
        let mut groups = OpenGroups::new(3, 2);
        let members = waiting(&mut groups, 3, now);
        assert_eq!(groups.slow_at(0), None);
        groups.settled(members[0].group);
        assert_eq!(groups.slow_at(9), None);
        groups.leave_slow(9, now + SLOW);
        assert_eq!(leaving(&members), 0);
    }

    #[test]
    fn a_group_that_waits_for_more_than_calls_is_left_alone() {
        let now = Instant::now();
        let mut groups = OpenGroups::new(1, 2);
        let member = groups.open(2);
        let tickets = tickets(2);
        groups.asked(member.group, tickets[0], now);
        assert_eq!(groups.slow_at(1), None, "a try is about to start");
        groups.asked(member.group, tickets[1], now + SLOW);
        assert_eq!(groups.slow_at(1), Some(now + SLOW * 2));
        groups.answered(member.group, tickets[1]);
        assert_eq!(groups.slow_at(1), None, "an answer is being recorded");
        groups.settled(member.group);
        assert_eq!(groups.slow_at(1), Some(now + SLOW));
    }
}
