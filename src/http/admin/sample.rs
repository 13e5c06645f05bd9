//! The results of the last minute, read from the database: all of them while few pass, otherwise a sample.
//!
//! A reading takes the newest payments of each client, and those whose capture, void or refund is among the newest, and
//! reads their histories. Payments that have not ended are read again. So a reading costs the same at any load, and the
//! broker delivers nothing for it.

use std::collections::{BTreeMap, BTreeSet, HashMap, VecDeque};
use std::time::Duration;

use serde::Serialize;
use tokio::time::Instant;

use crate::clients::Clients;
use crate::domain::{ClientName, EventKind, PaymentId, PaymentStatus, Timestamp};
use crate::store::{PaymentEvent, Store, StoreError};

/// How long a result is shown.
pub const SHOWN_FOR: Duration = Duration::from_secs(60);

/// Payments that a reading takes of each client.
const NEWEST: u32 = 20;

/// Clients whose newest payments a reading takes; with more of them, they take turns.
const CLIENTS: usize = 16;

/// Payments whose operation is among the newest that a reading takes.
const OPERATIONS: u32 = 20;

/// Payments in progress that a reading takes while few results pass, those whose try began last: among them are older ones.
const IN_PROGRESS: u32 = 20;

/// Payments that have not ended and are read again.
const MOST_OPEN: usize = 100;

/// Results that are kept.
const MOST_RESULTS: usize = 500;

/// How many of the last results are shown.
const LAST: usize = 10;

/// How often the database is asked for its time; in between it is computed.
const TIME_ASKED_EVERY: Duration = Duration::from_secs(10);

/// The results of the last minute.
#[derive(Debug, Clone, Default, Serialize)]
pub struct Passed {
    /// How many, by event type; of the sample, if it is one.
    pub counts: BTreeMap<String, u64>,
    /// The last ones, the newest first.
    pub last: Vec<PassedResult>,
    /// Whether more have passed than were read.
    pub is_sample: bool,
    /// Whether the database could not be read the last time: these are older.
    pub is_old: bool,
}

/// A result that has passed.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct PassedResult {
    /// The event type, such as `payment.succeeded`.
    pub kind: String,
    /// The client.
    pub client: String,
    /// The payment.
    pub payment_id: i64,
}

/// A result's place in the order of time: an event's payment and number identify it.
type Place = (Timestamp, PaymentId, u32);

/// What the readings have found.
pub struct Sample {
    database: Store,
    clients: Clients,
    /// How many clients had their turn.
    turns: usize,
    /// The newest payment that was found, by client.
    newest: HashMap<ClientName, (Timestamp, PaymentId)>,
    /// Payments that have not ended, the ones found last at the end.
    open: VecDeque<PaymentId>,
    results: BTreeMap<Place, PassedResult>,
    /// The last time at which something was left out, by the database's clock.
    left_out: Option<Timestamp>,
    /// The database's time, and when it was asked for.
    clock: Option<(Timestamp, Instant)>,
}

impl Sample {
    pub fn new(database: Store, clients: Clients) -> Self {
        Self {
            database,
            clients,
            turns: 0,
            newest: HashMap::new(),
            open: VecDeque::new(),
            results: BTreeMap::new(),
            left_out: None,
            clock: None,
        }
    }

    /// Reads once more, and returns the results of the last minute.
    pub async fn read(&mut self) -> Result<Passed, StoreError> {
        let now = self.now().await?;
        let since = now - SHOWN_FOR;
        let is_sample = self.is_sample(since);
        let mut wanted: BTreeSet<PaymentId> = self.open.iter().copied().collect();
        for client in self.next_clients() {
            let page = self.database.newest_payments(&client, NEWEST).await?;
            if self.note_newest(client, &page, since) {
                self.left_out = Some(now);
            }
            wanted.extend(page.iter().map(|(id, _)| *id));
        }
        let operated = self.database.payments_of_newest_operations(OPERATIONS);
        wanted.extend(operated.await?);
        if !is_sample {
            wanted.extend(self.database.payments_in_progress(IN_PROGRESS).await?);
        }
        let wanted: Vec<PaymentId> = wanted.into_iter().collect();
        let events = self.database.histories(&wanted).await?;
        self.note(&events, (since, now));
        Ok(self.passed(since))
    }

    /// The database's time.
    async fn now(&mut self) -> Result<Timestamp, StoreError> {
        if let Some((then, asked)) = self.clock
            && asked.elapsed() < TIME_ASKED_EVERY
        {
            return Ok(then + asked.elapsed());
        }
        let asked = Instant::now();
        let now = self.database.now().await?;
        self.clock = Some((now, asked));
        Ok(now)
    }

    /// Whose turn it is.
    fn next_clients(&mut self) -> Vec<ClientName> {
        let mut names = self.clients.names();
        if names.len() <= CLIENTS {
            return names;
        }
        let first = self.turns % names.len();
        self.turns = first + CLIENTS;
        names.rotate_left(first);
        names.truncate(CLIENTS);
        names
    }

    /// Notes the newest payments of a client. Returns whether there may be further ones that no reading has taken.
    fn note_newest(
        &mut self,
        client: ClientName,
        page: &[(PaymentId, Timestamp)],
        since: Timestamp,
    ) -> bool {
        let (Some((first, first_at)), Some((last, last_at))) = (page.first(), page.last()) else {
            return false;
        };
        let before = self.newest.insert(client, (*first_at, *first));
        let known_to = before.unwrap_or((since, PaymentId(0)));
        page.len() >= NEWEST as usize && (*last_at, *last) > known_to
    }

    /// Keeps the results among the events, and the payments that have not ended.
    fn note(&mut self, events: &[PaymentEvent], (since, now): (Timestamp, Timestamp)) {
        let mut open: BTreeSet<PaymentId> = BTreeSet::new();
        for event in events {
            if is_open(event.status) {
                open.insert(event.payment);
            }
            let Some(kind) = result(event.kind).filter(|_| event.at >= since) else {
                continue;
            };
            let place = (event.at, event.payment, event.sequence);
            self.results.entry(place).or_insert_with(|| PassedResult {
                kind,
                client: event.client.clone(),
                payment_id: event.payment.0,
            });
        }
        self.open.retain(|id| open.remove(id));
        self.open.extend(open);
        while self.open.len() > MOST_OPEN {
            self.open.pop_front();
            self.left_out = Some(now);
        }
        self.results.retain(|(at, ..), _| *at >= since);
        while self.results.len() > MOST_RESULTS {
            self.results.pop_first();
            self.left_out = Some(now);
        }
    }

    fn is_sample(&self, since: Timestamp) -> bool {
        self.left_out.is_some_and(|at| at >= since)
    }

    fn passed(&self, since: Timestamp) -> Passed {
        let mut counts = BTreeMap::new();
        for result in self.results.values() {
            *counts.entry(result.kind.clone()).or_default() += 1;
        }
        Passed {
            counts,
            last: self.results.values().rev().take(LAST).cloned().collect(),
            is_sample: self.is_sample(since),
            is_old: false,
        }
    }
}

/// Whether a payment may get a further result by itself or by its shopper.
fn is_open(status: PaymentStatus) -> bool {
    matches!(
        status,
        PaymentStatus::RequiresPaymentMethod
            | PaymentStatus::Processing
            | PaymentStatus::RequiresAction
    )
}

/// The type of the event that is published for it; none if it is only kept in the history.
fn result(kind: EventKind) -> Option<String> {
    match kind {
        EventKind::RefundSucceeded => Some("refund.succeeded".to_owned()),
        EventKind::RefundFailed => Some("refund.failed".to_owned()),
        EventKind::DisputeOpened => Some("dispute.opened".to_owned()),
        EventKind::DisputeClosed => Some("dispute.closed".to_owned()),
        EventKind::Succeeded
        | EventKind::Declined
        | EventKind::Failed
        | EventKind::Canceled
        | EventKind::RequiresAction
        | EventKind::RequiresCapture => Some(format!("payment.{kind}")),
        EventKind::Accepted
        | EventKind::AttemptStarted
        | EventKind::TryFailed
        | EventKind::ReversalStarted
        | EventKind::CloseStarted
        | EventKind::LateApproval
        | EventKind::CaptureStarted
        | EventKind::VoidStarted
        | EventKind::OperationTryFailed
        | EventKind::RefundStarted => None,
    }
}

#[cfg(test)]
mod tests {
    use time::OffsetDateTime;

    use super::*;

    fn at(second: i64) -> Timestamp {
        OffsetDateTime::from_unix_timestamp(second).expect("a time")
    }

    fn sample() -> (Sample, tempfile::TempDir) {
        let folder = tempfile::tempdir().expect("a folder");
        let database = Store::sqlite(&folder.path().join("payments.db"));
        (Sample::new(database, Clients::single()), folder)
    }

    fn event(id: i64, second: i64, kind: EventKind, status: PaymentStatus) -> PaymentEvent {
        PaymentEvent {
            payment: PaymentId(id),
            client: "shop".to_owned(),
            status,
            sequence: 3,
            kind,
            at: at(second),
        }
    }

    fn newest(seconds: std::ops::Range<i64>) -> Vec<(PaymentId, Timestamp)> {
        seconds.rev().map(|it| (PaymentId(it), at(it))).collect()
    }

    #[tokio::test]
    async fn a_result_is_counted_once_and_for_a_minute() {
        let (mut sample, _folder) = sample();
        let paid = event(7, 100, EventKind::Succeeded, PaymentStatus::Succeeded);
        let refunded = PaymentEvent {
            sequence: 5,
            ..event(7, 130, EventKind::RefundFailed, PaymentStatus::Succeeded)
        };
        sample.note(std::slice::from_ref(&paid), (at(50), at(110)));
        sample.note(&[paid, refunded], (at(90), at(150)));
        let passed = sample.passed(at(90));
        assert_eq!(passed.counts["payment.succeeded"], 1);
        assert_eq!(passed.last[0].kind, "refund.failed");
        assert_eq!(passed.last.len(), 2);
        sample.note(&[], (at(101), at(161)));
        assert_eq!(sample.passed(at(101)).last.len(), 1);
        assert!(!sample.passed(at(101)).is_sample);
    }

    #[tokio::test]
    async fn payments_that_have_not_ended_are_read_again_but_not_too_many() {
        let (mut sample, _folder) = sample();
        let begun = |id| {
            event(
                id,
                100,
                EventKind::AttemptStarted,
                PaymentStatus::Processing,
            )
        };
        let ended = event(1, 101, EventKind::Declined, PaymentStatus::Declined);
        sample.note(&[begun(1), begun(2)], (at(50), at(100)));
        assert_eq!(sample.open, [PaymentId(1), PaymentId(2)]);
        sample.note(&[ended, begun(2)], (at(50), at(101)));
        assert_eq!(sample.open, [PaymentId(2)]);
        let many: Vec<PaymentEvent> = (2..200).map(begun).collect();
        sample.note(&many, (at(50), at(102)));
        assert_eq!(sample.open.len(), MOST_OPEN);
        assert_eq!(sample.open.back(), Some(&PaymentId(199)));
        assert!(sample.passed(at(50)).is_sample);
        assert!(!sample.passed(at(103)).is_sample, "a minute later");
    }

    #[tokio::test]
    async fn payments_between_two_readings_that_none_has_taken_make_it_a_sample() {
        let (mut sample, _folder) = sample();
        let shop = ClientName::parse("shop").expect("a name");
        let mut note =
            |page: std::ops::Range<i64>| sample.note_newest(shop.clone(), &newest(page), at(1000));
        assert!(!note(0..0));
        assert!(!note(990..1010), "before the last minute, all are known");
        assert!(!note(1005..1025), "they overlap");
        assert!(note(1026..1046), "1025 is missing");
        assert!(!note(1046..1050), "a page that is not full");
    }

    #[tokio::test]
    async fn clients_take_turns() {
        let (mut sample, _folder) = sample();
        let clients = (0..20).map(
            |number| serde_json::json!({ "name": format!("shop-{number}"), "api_key_sha256": [] }),
        );
        let file = serde_json::json!({ "clients": clients.collect::<Vec<_>>() });
        sample.clients = Clients::parse(file.to_string().as_bytes()).expect("a good file");
        let mut seen: BTreeSet<ClientName> = sample.next_clients().into_iter().collect();
        assert_eq!(seen.len(), CLIENTS);
        seen.extend(sample.next_clients());
        assert_eq!(seen.len(), 20);
    }
}
