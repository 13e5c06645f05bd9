//! Starts tries as permits become free, with a fair share for each client (docs/adr/adr023-fair-shares.md has the reasons
//! and the method).
//!
//! One task owns the lanes. It takes deliveries up to the prefetch, starts the tries whose turn it is, and postpones
//! those that would hide the tries behind them in the queue.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use super::open_groups::{GroupId, Membership, OpenGroups};
use super::shares::{Limits, Postponed, Shares, Ticket, Whose};
use super::{Consumers, WorkDelivery, Worker, group};
use crate::broker::{Delivery, Queue};
use crate::metric;
use crate::wire::work::{Work, WorkGroup, WorkMessage};

/// How often postponed tries of one client are logged.
const TELL_AGAIN: Duration = Duration::from_secs(60);

/// A received try, with its delivery.
#[derive(Debug)]
pub(super) struct Received {
    pub work: Work,
    /// How often it was postponed before.
    pub postponed: u32,
    pub delivery: Delivery,
    /// The group that it came with.
    pub membership: Option<Membership>,
    /// Counts as received until it is dropped.
    pub place: Place,
}

/// A place among the deliveries that a process holds.
#[derive(Debug)]
pub(super) struct Place {
    group: Option<GroupId>,
    events: mpsc::UnboundedSender<Event>,
}

/// Permission to claim one try and to call the processor for it. Dropping it ends the call and lets the next try start.
#[derive(Debug)]
pub(super) struct Permit {
    ticket: Ticket,
    group: Option<GroupId>,
    events: mpsc::UnboundedSender<Event>,
}

#[derive(Debug)]
pub(super) enum Event {
    /// The client of a try is now known.
    Found(Whose, Box<Received>),
    Asked(Ticket, Option<GroupId>),
    Ended(Ticket, Option<GroupId>),
    /// A delivery, or its part of a group, was settled.
    Settled(Option<GroupId>),
    /// About this many tries wait in the queues.
    Behind(u64),
}

/// Which tries a dispatcher starts. Each has permits of its own, so that slow refunds delay no authorization.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Takes {
    /// Of payments that are captured at once.
    Authorizations,
    /// Of captures, voids and refunds, and of payments that are captured later.
    Operations,
}

pub(super) struct Dispatcher {
    worker: Arc<Worker>,
    takes: Takes,
    tasks: TaskTracker,
    stop: CancellationToken,
    shares: Shares<Received>,
    groups: OpenGroups,
    prefetch: usize,
    /// Deliveries that are not settled yet.
    held: usize,
    behind: u64,
    look_again: Instant,
    told: HashMap<Whose, Instant>,
    sender: mpsc::UnboundedSender<Event>,
    events: mpsc::UnboundedReceiver<Event>,
}

impl Drop for Place {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Settled(self.group));
    }
}

impl Received {
    /// Waits until it should leave its group; for ever if there is none.
    pub async fn should_leave(&self) {
        match &self.membership {
            Some(membership) => membership.leave.cancelled().await,
            None => std::future::pending().await,
        }
    }
}

impl Permit {
    /// The call to the processor begins.
    pub fn asked(&self) {
        let _ = self.events.send(Event::Asked(self.ticket, self.group));
    }
}

impl Drop for Permit {
    fn drop(&mut self) {
        let _ = self.events.send(Event::Ended(self.ticket, self.group));
    }
}

impl Dispatcher {
    pub(super) fn new(
        (worker, takes): (Arc<Worker>, Takes),
        tasks: TaskTracker,
        stop: CancellationToken,
    ) -> Self {
        let (sender, events) = mpsc::unbounded_channel();
        let prefetch = usize::from(worker.prefetch());
        let limits = Limits {
            permits: worker.permits,
            room: prefetch.saturating_sub(worker.permits).max(1),
            horizon: worker.horizon(),
        };
        let groups = OpenGroups::new(worker.groups().into(), worker.tries_in_group);
        let now = Instant::now();
        Self {
            worker,
            takes,
            tasks,
            stop,
            shares: Shares::new(limits, now),
            groups,
            prefetch,
            held: 0,
            behind: 0,
            look_again: now,
            told: HashMap::new(),
            sender,
            events,
        }
    }

    /// Runs until it is time to stop, or nothing more arrives; gives back what waits.
    pub(super) async fn run(mut self, consumers: &mut Consumers) {
        loop {
            self.start();
            if self.held >= self.prefetch {
                self.make_room();
            }
            let free_permits = self.shares.free_permits();
            tokio::select! {
                biased;
                () = self.stop.cancelled() => break,
                Some(event) = self.events.recv() => self.note(event),
                received = consumers.next(), if self.held < self.prefetch => match received {
                    Some(WorkDelivery::Try(delivery)) => self.receive(delivery),
                    Some(WorkDelivery::Group(delivery)) => self.receive_group(delivery),
                    None => break,
                },
                () = sleep_until(self.look_again), if self.shares.waiting() > 0 && self.has_several_clients() => {
                    self.look_again = Instant::now() + self.look_every();
                    self.look();
                    self.make_room();
                }
                () = reached(self.groups.slow_at(free_permits)) => {
                    self.groups.leave_slow(free_permits, Instant::now());
                }
            }
        }
        for received in self.shares.take_all() {
            received.delivery.settle.give_back().await;
        }
        // Tries whose client is still being looked up have no permit: a dropped delivery is redelivered, but later.
        while let Ok(event) = self.events.try_recv() {
            if let Event::Found(_, received) = event {
                received.delivery.settle.give_back().await;
            }
        }
    }

    fn note(&mut self, event: Event) {
        let now = Instant::now();
        match event {
            Event::Found(whose, received) => self.wait(whose, *received),
            Event::Asked(ticket, group) => {
                self.shares.asked(ticket, now);
                if let Some(group) = group {
                    self.groups.asked(group, ticket, now);
                }
            }
            Event::Ended(ticket, group) => {
                self.shares.ended(ticket, now);
                if let Some(group) = group {
                    self.groups.answered(group, ticket);
                }
            }
            Event::Settled(group) => {
                self.held -= 1;
                if let Some(group) = group {
                    self.groups.settled(group);
                }
            }
            Event::Behind(behind) => self.behind = behind,
        }
    }

    fn receive(&mut self, delivery: Delivery) {
        match Work::parse(&delivery.body) {
            Ok(work) => {
                let whose = WorkMessage::client(&delivery.properties);
                let postponed = WorkMessage::postponed(&delivery.properties);
                let received = Received {
                    work,
                    postponed,
                    delivery,
                    membership: None,
                    place: self.place(None),
                };
                self.take(whose, received);
            }
            Err(error) => self.reject(delivery, &error),
        }
    }

    fn receive_group(&mut self, mut delivery: Delivery) {
        let tries = match WorkGroup::parse(&delivery.body) {
            Ok(group) => group.tries,
            Err(error) => return self.reject(delivery, &error),
        };
        if delivery.redelivered || tries.is_empty() {
            let membership = self.groups.open(1);
            let place = self.place(Some(membership.group));
            let (worker, stop) = (Arc::clone(&self.worker), self.stop.clone());
            let unsettled = delivery.keep_settlement();
            self.tasks.spawn(async move {
                let work = worker.separate(delivery, tries, &stop);
                unsettled.reject_if_it_panics(work).await;
                drop(place);
            });
            return;
        }
        let membership = self.groups.open(tries.len());
        for (try_, delivery) in tries.iter().zip(group::split(delivery, tries.len())) {
            let received = Received {
                work: Work::Authorization(try_.work),
                postponed: try_.postponed,
                delivery,
                place: self.place(Some(membership.group)),
                membership: Some(membership.clone()),
            };
            self.take(try_.client(), received);
        }
    }

    fn place(&mut self, group: Option<GroupId>) -> Place {
        self.held += 1;
        let events = self.sender.clone();
        Place { group, events }
    }

    /// Only the relay publishes to the work queues, so a message that cannot be read is foreign: it becomes a dead letter.
    fn reject(&mut self, delivery: Delivery, error: &serde_json::Error) {
        tracing::warn!(%error, "a work message cannot be read");
        let place = self.place(None);
        self.tasks.spawn(async move {
            delivery.settle.reject().await;
            drop(place);
        });
    }

    fn take(&mut self, whose: Whose, received: Received) {
        if whose.is_some() || !self.has_several_clients() {
            return self.wait(whose, received);
        }
        // From an earlier release, without a client. The payment's row has it.
        let (worker, sender) = (Arc::clone(&self.worker), self.sender.clone());
        self.tasks.spawn(async move {
            let payment = worker.database.payment(received.work.payment()).await;
            let whose = payment.ok().flatten().map(|it| it.payment.client);
            let _ = sender.send(Event::Found(whose, Box::new(received)));
        });
    }

    fn wait(&mut self, whose: Whose, received: Received) {
        if self.shares.waiting() == 0 {
            // The tries that waited until now are gone, so the last count of the queue is no longer valid.
            self.behind = 0;
        }
        let clients = &self.worker.clients;
        let weight = whose.as_ref().map_or(1, |client| clients.weight(client));
        let try_ = (received.postponed, received);
        self.shares.add(whose, weight, try_, Instant::now());
    }

    fn start(&mut self) {
        while let Some((ticket, mut received)) = self.shares.next(Instant::now()) {
            let membership = received.membership.as_ref();
            let permit = Permit {
                ticket,
                group: membership.map(|membership| membership.group),
                events: self.sender.clone(),
            };
            let (worker, stop) = (Arc::clone(&self.worker), self.stop.clone());
            let unsettled = received.delivery.keep_settlement();
            self.tasks.spawn(async move {
                let work = worker.work_off(received, permit, &stop);
                unsettled.reject_if_it_panics(work).await;
            });
        }
    }

    /// A client is never postponed when it is the only one: no other client would gain.
    fn has_several_clients(&self) -> bool {
        self.worker.clients.number() > 1 || self.shares.clients() > 1
    }

    fn look_every(&self) -> Duration {
        (self.worker.horizon() / 4).clamp(Duration::from_millis(20), Duration::from_secs(1))
    }

    /// Queries how many tries wait behind the tries that wait here.
    fn look(&self) {
        let (worker, sender) = (Arc::clone(&self.worker), self.sender.clone());
        let takes = self.takes;
        self.tasks.spawn(async move {
            let depth = async |queue| worker.broker.depth(queue).await.unwrap_or(0);
            let behind = match takes {
                Takes::Authorizations => {
                    let groups = depth(Queue::WorkGroups).await;
                    depth(Queue::Work).await + groups * worker.tries_in_group as u64
                }
                Takes::Operations => depth(Queue::Operations).await,
            };
            let _ = sender.send(Event::Behind(behind));
        });
    }

    fn make_room(&mut self) {
        if !self.has_several_clients() || self.worker.backlog.is_half_full() {
            return;
        }
        let now = Instant::now();
        for (whose, postponed) in self.shares.beyond_the_horizon(self.behind, now) {
            self.tell(&whose, now);
            let (worker, stop) = (Arc::clone(&self.worker), self.stop.clone());
            let Postponed {
                mut item,
                times,
                delay,
            } = postponed;
            let times = times.saturating_add(1);
            let unsettled = item.delivery.keep_settlement();
            self.tasks.spawn(async move {
                let work = worker.postpone(item, times, delay, &stop);
                unsettled.reject_if_it_panics(work).await;
            });
        }
    }

    fn tell(&mut self, whose: &Whose, now: Instant) {
        let client = whose.as_ref().map_or("unknown", |client| client.as_str());
        metrics::counter!(metric::TRIES_POSTPONED, "client" => client.to_owned()).increment(1);
        let told = self.told.get(whose);
        if told.is_none_or(|told| now.duration_since(*told) >= TELL_AGAIN) {
            self.told.insert(whose.clone(), now);
            tracing::warn!(
                client,
                "more tries wait than this worker can soon start in the client's share: they wait in the outbox \
                 until their turn comes, and do not delay other clients"
            );
        }
    }
}

/// Waits until then; for ever if there is no such time.
async fn reached(then: Option<Instant>) {
    match then {
        Some(then) => sleep_until(then).await,
        None => std::future::pending().await,
    }
}
