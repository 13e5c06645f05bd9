//! Publishes outbox rows so that a bad row does not stop the others.
//!
//! A message can make the broker close the connection, and then what was published together with it gets no confirm
//! either. So rows without a confirm are published again in small groups, then one by one, while nothing else uses their
//! lane. A row that breaks the connection when published alone, several times while the broker is up, is set aside.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::future::join_all;
use tokio::sync::RwLock;
use tokio::time::{Instant, sleep, timeout};

use super::groups::Groups;
use super::reply_addresses::Addresses;
use super::{Pulses, RelayStages};
use crate::broker::{Broker, ConnectionState, Lane, Publication, PublishError, Queue};
use crate::metric;
use crate::payments::commands::Commands;
use crate::payments::outgoing::Outgoing;
use crate::store::quarantine::{Key, SetAside};
use crate::store::rows::OutboxId;
use crate::watchdog::vital::caught;

/// Size of the groups; rows of a group that breaks the connection are published one by one.
const GROUP: usize = 16;
/// How often a row must break the connection when published alone before it is set aside, at most once per sweep.
const BREAKS: u32 = 3;
/// If a connection breaks later than this after a message was written, the cause is another one.
const AT_ONCE: Duration = Duration::from_secs(2);
/// If the connection is down for longer than this, it is an outage, which a row cannot cause.
const AWAY: Duration = Duration::from_secs(2);
/// Pause between two checks whether the connection is back.
const LOOK: Duration = Duration::from_millis(25);
/// How long the lane may be held to find the row that breaks the connection; the sweep publishes the rest.
const SEARCH: Duration = Duration::from_secs(5);
/// Rows remembered as having broken the connection.
const MOST_SUSPECTS: usize = 1000;

/// Publishes outbox rows and deletes those that are confirmed.
#[derive(Clone)]
pub(super) struct Publisher {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) commands: Commands,
    pub(super) pulses: Pulses,
    pub(super) stages: RelayStages,
    pub(super) groups: Groups,
    pub(super) addresses: Addresses,
    suspects: Arc<Mutex<HashMap<OutboxId, u32>>>,
    lanes: Arc<[LaneState; 3]>,
}

/// A row and the broker's answer.
pub(super) type Outcome = (Outgoing, Result<(), PublishError>);

#[derive(Default)]
struct LaneState {
    /// Shared by publishers; held exclusively during the search for the row that breaks the connection.
    in_use: RwLock<()>,
    away_since: Mutex<Option<Instant>>,
}

/// The result of publishing several rows together.
#[derive(Default)]
struct Published {
    confirmed: Vec<OutboxId>,
    /// Neither confirmed nor refused: one of them may have broken the connection.
    unconfirmed: Vec<Outgoing>,
    /// Not sent, because there is no connection.
    unsent: Vec<Outgoing>,
    /// How long it took.
    took: Duration,
}

impl Publisher {
    pub(super) fn new(
        broker: Arc<dyn Broker>,
        commands: Commands,
        (stages, groups): (RelayStages, Groups),
        pulses: Pulses,
    ) -> Self {
        Self {
            broker,
            commands,
            pulses,
            stages,
            groups,
            addresses: Addresses::default(),
            suspects: Arc::default(),
            lanes: Arc::default(),
        }
    }

    /// Publishes rows of one lane; returns those that the broker confirmed. The sweep tries the others again.
    pub(super) async fn publish(&self, rows: Vec<Outgoing>) -> Vec<OutboxId> {
        let Some(first) = rows.first() else {
            return Vec::new();
        };
        let lane = match first.publication.lane() {
            Lane::Work => &self.lanes[0],
            Lane::Results => &self.lanes[1],
            Lane::Replies => &self.lanes[2],
        };
        let (suspects, others) = self.suspects_among(rows);
        let in_use = lane.in_use.read().await;
        let mut published = self.publish_connected(lane, others).await;
        drop(in_use);
        // No confirm for a long time means that a queue accepts messages but does not confirm. A row that breaks the
        // connection does so sooner.
        let broke = !published.unconfirmed.is_empty() && published.took < AT_ONCE;
        if broke || !suspects.is_empty() {
            let _alone = lane.in_use.write().await;
            self.isolate(lane, &mut published, suspects).await;
        }
        published.confirmed
    }

    /// Publishes rows without a confirm again, until the row that causes it is known, or it is clear that the broker is
    /// down.
    async fn isolate(
        &self,
        lane: &LaneState,
        published: &mut Published,
        mut suspects: Vec<Outgoing>,
    ) {
        let began = Instant::now();
        let mut unconfirmed = std::mem::take(&mut published.unconfirmed);
        while !unconfirmed.is_empty() && began.elapsed() < SEARCH {
            let group = unconfirmed.split_off(unconfirmed.len().saturating_sub(GROUP));
            let again = self.publish_connected(lane, group).await;
            published.confirmed.extend(again.confirmed);
            if !again.unsent.is_empty() || again.took >= AT_ONCE {
                return;
            }
            suspects.extend(again.unconfirmed);
        }
        for row in suspects {
            let (id, payment) = (row.id, row.payment);
            let again = self.publish_connected(lane, vec![row]).await;
            published.confirmed.extend(again.confirmed);
            if !again.unsent.is_empty() || again.took >= AT_ONCE || began.elapsed() >= SEARCH {
                return;
            }
            if again.unconfirmed.is_empty() {
                self.known().remove(&id);
            } else if self.answers().await {
                tracing::warn!(outbox.id = %id.0, payment.id = payment.map(|id| id.0), "an outbox row breaks the connection to the broker");
                self.suspect(id).await;
            }
        }
    }

    /// Publishes rows as soon as there is a connection, which a message may just have broken. In an outage it does not
    /// wait.
    async fn publish_connected(&self, lane: &LaneState, rows: Vec<Outgoing>) -> Published {
        let mut published = self.publish_together(rows).await;
        while !published.unsent.is_empty() && !lane.is_away_for_long() {
            sleep(LOOK).await;
            let unsent = std::mem::take(&mut published.unsent);
            let again = self.publish_together(unsent).await;
            published.confirmed.extend(again.confirmed);
            published.unconfirmed.extend(again.unconfirmed);
            (published.unsent, published.took) = (again.unsent, again.took);
        }
        if published.unsent.is_empty() {
            lane.is_back();
        }
        published
    }

    async fn suspect(&self, id: OutboxId) {
        let breaks = {
            let mut known = self.known();
            if known.len() >= MOST_SUSPECTS {
                known.clear();
            }
            let breaks = known.entry(id).or_default();
            *breaks += 1;
            *breaks
        };
        if breaks >= BREAKS {
            self.set_aside(id, "the broker closes the connection on it")
                .await;
            self.known().remove(&id);
        }
    }

    async fn set_aside(&self, id: OutboxId, reason: &str) {
        let row = SetAside::new(Key::Outbox(id), reason);
        if let Err(error) = self.commands.quarantine(&[row]).await {
            tracing::warn!(%error, "an outbox row could not be set aside: it will be published again");
        }
    }

    /// Publishes rows together.
    async fn publish_together(&self, rows: Vec<Outgoing>) -> Published {
        let mut published = Published::default();
        let began = Instant::now();
        let outcomes = self.attempt(rows).await;
        published.took = began.elapsed();
        for (row, outcome) in outcomes {
            match outcome {
                Ok(()) => published.confirmed.push(row.id),
                Err(PublishError::NotConfirmed | PublishError::Closed(_)) => {
                    published.unconfirmed.push(row);
                }
                Err(PublishError::NotConnected) => published.unsent.push(row),
                Err(PublishError::Unwritable(reason)) => {
                    let reason = format!("the broker's protocol cannot transport it: {reason}");
                    self.set_aside(row.id, &reason).await;
                }
                Err(PublishError::Refused | PublishError::Unroutable { .. }) => {}
            }
        }
        published
    }

    /// Publishes rows together and returns the outcome of each. If publishing panics, all of them count as unconfirmed.
    pub(super) async fn attempt(&self, rows: Vec<Outgoing>) -> Vec<Outcome> {
        if rows.is_empty() {
            return Vec::new();
        }
        let (rows, publications): (Vec<_>, Vec<Publication>) = rows
            .into_iter()
            .map(|row| ((row.id, row.payment, row.due_at), row.publication))
            .unzip();
        let spans: Vec<tracing::Span> = rows
            .iter()
            .zip(&publications)
            .map(|((_, payment, _), publication)| step_span(payment.map(|id| id.0), publication))
            .collect();
        let in_hand = self.pulses.publish.take();
        let entered = self.stages.enter(&publications);
        let results = match self.groups.put_together(&publications) {
            None => self.send(&publications).await,
            Some(grouped) => {
                let sent = self.send(&grouped.messages).await;
                let outcome = |index: usize| match &sent[index] {
                    // One of its tries is the cause: found when they are published alone.
                    Err(PublishError::Unwritable(_)) if index < grouped.groups => {
                        Err(PublishError::NotConfirmed)
                    }
                    outcome => outcome.clone(),
                };
                grouped
                    .carriers
                    .iter()
                    .map(|index| outcome(*index))
                    .collect()
            }
        };
        self.stages.leave(entered, &publications, &results);
        drop((in_hand, spans));
        let outcomes: Vec<Outcome> = rows
            .into_iter()
            .zip(publications)
            .map(|((id, payment, due_at), publication)| Outgoing {
                id,
                payment,
                due_at,
                publication,
            })
            .zip(results)
            .collect();
        count(&outcomes);
        outcomes
    }

    async fn send(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        let results = caught("relay", self.broker.publish(messages)).await;
        results.unwrap_or_else(|| vec![Err(PublishError::NotConfirmed); messages.len()])
    }

    /// Deletes published rows.
    pub(super) async fn forget(&self, published: Vec<OutboxId>) {
        let deletions = published.into_iter().map(|id| self.commands.published(id));
        for deleted in join_all(deletions).await {
            if let Err(error) = deleted {
                tracing::warn!(%error, "a published outbox row was not deleted: it will be published again");
            }
        }
    }

    pub(super) fn connected(&self) -> bool {
        matches!(
            *self.broker.connection().borrow(),
            ConnectionState::Up | ConnectionState::Mismatch(_)
        )
    }

    /// Whether the broker answers, at once or soon: then the connection did not break because of an outage.
    async fn answers(&self) -> bool {
        let answer = async {
            while self.broker.depth(Queue::Work).await.is_err() {
                sleep(LOOK).await;
            }
        };
        timeout(AWAY, answer).await.is_ok()
    }

    fn suspects_among(&self, rows: Vec<Outgoing>) -> (Vec<Outgoing>, Vec<Outgoing>) {
        let known = self.known();
        if known.is_empty() {
            return (Vec::new(), rows);
        }
        rows.into_iter()
            .partition(|row| known.contains_key(&row.id))
    }

    fn known(&self) -> MutexGuard<'_, HashMap<OutboxId, u32>> {
        self.suspects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LaneState {
    /// Whether the connection has been down so long that this is an outage.
    fn is_away_for_long(&self) -> bool {
        let since = *self.away_since().get_or_insert_with(Instant::now);
        since.elapsed() >= AWAY
    }

    fn is_back(&self) {
        *self.away_since() = None;
    }

    fn away_since(&self) -> MutexGuard<'_, Option<Instant>> {
        self.away_since
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

fn count(outcomes: &[Outcome]) {
    let mut confirmed = 0;
    for (row, outcome) in outcomes {
        match outcome {
            Ok(()) => confirmed += 1,
            Err(error) => {
                metrics::counter!(metric::RELAY_FAILURES).increment(1);
                tracing::debug!(payment.id = row.payment.map(|id| id.0), routing_key = row.publication.routing_key,
                    %error, "an outbox row was not published; the sweep will try again");
            }
        }
    }
    metrics::counter!(metric::RELAY_PUBLISHED).increment(confirmed);
}

fn step_span(payment: Option<i64>, publication: &Publication) -> tracing::Span {
    let kind = publication.properties.kind.as_deref().unwrap_or("");
    tracing::debug_span!(
        "relay",
        payment.id = payment,
        messaging.destination = publication.exchange.name(),
        kind
    )
}

#[cfg(test)]
mod tests;
