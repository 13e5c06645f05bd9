//! Finds new payments and changed ones by polling, through indexes that exist for other purposes.
//!
//! A poll looks for payments that it does not follow yet: those created lately (the index of the lists), and those with a
//! try, a capture or a void in progress (the indexes of the rescue). Of each payment that it follows it looks up the next
//! event of the history by its primary key. The history keeps every change, so a payment that changes several times
//! between two polls loses none, and the number of the last event that was shown keeps a change from being repeated.

use std::collections::HashMap;
use std::time::Duration;

use crate::domain::{
    ClientName, Event, EventKind, Money, OrderId, PaymentId, PaymentStatus, Timestamp,
};
use crate::store::rows::{PaymentFilter, StoredPayment};
use crate::store::{Store, StoreError};

/// Rows become visible at their commit, but have the time at which their transaction began: a poll goes back this far.
const LONGEST_TRANSACTION: Duration = Duration::from_secs(10);

/// How many of the newest payments are followed from the start.
const NEWEST: u32 = 1000;

/// How many payments in progress a poll looks at, those that began last.
const IN_PROGRESS: u32 = 1000;

/// How many payments are followed that only their client can change, by presenting another card or canceling.
const MOST_IDLE: usize = 5000;

/// Rows in a page of new payments.
const PAGE: u32 = 1000;

/// A new payment, or a change of a payment's status.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Change {
    pub at: Timestamp,
    pub payment: PaymentId,
    pub sequence: u32,
    pub client: ClientName,
    pub order: OrderId,
    pub amount: Money,
    /// From now on.
    pub status: PaymentStatus,
    /// Why.
    pub reason: Option<String>,
}

/// A payment whose changes are looked for.
struct Followed {
    client: ClientName,
    order: OrderId,
    amount: Money,
    /// The last event that was read.
    sequence: u32,
    status: PaymentStatus,
    changed_at: Timestamp,
}

/// What happened since it was created.
pub(super) struct Changes {
    database: Store,
    /// By the database's clock.
    started: Timestamp,
    /// Events of payments that are not followed yet are new if they are not older than this.
    since: Timestamp,
    followed: HashMap<PaymentId, Followed>,
    /// Found, but not returned yet: a poll that fails halfway loses none.
    found: Vec<Change>,
}

impl Changes {
    /// Begins now, by the database's clock.
    pub(super) async fn start(database: Store) -> Result<Self, StoreError> {
        let started = database.now().await?;
        let mut changes = Self {
            database,
            started,
            since: started,
            followed: HashMap::new(),
            found: Vec::new(),
        };
        let newest = changes.newest().await?;
        changes.follow(newest).await?;
        Ok(changes)
    }

    /// The changes since the last poll, in the order of their times. After an error the next poll finds them.
    pub(super) async fn poll(&mut self) -> Result<Vec<Change>, StoreError> {
        let now = self.database.now().await?;
        let mut payments = self.created().await?;
        payments.extend(self.database.payments_in_progress(IN_PROGRESS).await?);
        payments.extend(self.database.payments_being_operated(IN_PROGRESS).await?);
        self.next_events().await?;
        self.follow(payments).await?;
        self.since = self.started.max(now - LONGEST_TRANSACTION);
        self.forget();
        let mut changes = std::mem::take(&mut self.found);
        changes.sort_by_key(|change| (change.at, change.payment, change.sequence));
        Ok(changes)
    }

    /// The newest payments of all clients.
    async fn newest(&self) -> Result<Vec<PaymentId>, StoreError> {
        let clients = self.database.clients().await?;
        let share = NEWEST / u32::try_from(clients.len().max(1)).unwrap_or(NEWEST);
        let mut newest = Vec::new();
        for client in clients {
            let filter = PaymentFilter {
                client,
                order_id: None,
                user_id: None,
                status: None,
                before: None,
                limit: share.max(10),
            };
            let page = self.database.payments(&filter).await?;
            newest.extend(page.into_iter().map(|row| row.payment.id));
        }
        Ok(newest)
    }

    /// Payments that were created lately.
    async fn created(&self) -> Result<Vec<PaymentId>, StoreError> {
        let mut created = Vec::new();
        for client in self.database.clients().await? {
            let mut position = (self.since, PaymentId(0));
            loop {
                let page = self
                    .database
                    .payments_since(&client, position, PAGE)
                    .await?;
                created.extend(page.iter().map(|(id, _)| *id));
                match page.last() {
                    Some((id, at)) if page.len() == PAGE as usize => position = (*at, *id),
                    _ => break,
                }
            }
        }
        Ok(created)
    }

    /// Follows those that are not followed yet, and finds their changes.
    async fn follow(&mut self, payments: Vec<PaymentId>) -> Result<(), StoreError> {
        let unknown = |id: &PaymentId| !self.followed.contains_key(id);
        let mut ids: Vec<PaymentId> = payments.into_iter().filter(unknown).collect();
        ids.sort_unstable();
        ids.dedup();
        for ids in ids.chunks(PAGE as usize) {
            let rows = self.database.payments_by_id(ids).await?;
            let numbers = rows.iter().flat_map(|row| {
                let id = row.payment.id;
                (1..=row.payment.sequence).map(move |sequence| (id, sequence))
            });
            let numbers: Vec<_> = numbers.collect();
            let events = by_payment(self.database.events_at(&numbers).await?);
            for row in rows {
                let events = events.get(&row.payment.id).map_or(&[][..], Vec::as_slice);
                let followed = Followed::of(&row);
                self.found
                    .extend(followed.changes(events, Some(self.since)));
                self.followed.insert(row.payment.id, followed);
            }
        }
        Ok(())
    }

    /// Finds the changes of payments that are followed already.
    async fn next_events(&mut self) -> Result<(), StoreError> {
        let open = self.followed.iter().filter(|(_, it)| !is_final(it.status));
        let mut numbers: Vec<(PaymentId, u32)> =
            open.map(|(id, it)| (*id, it.sequence + 1)).collect();
        let mut found = Vec::new();
        while !numbers.is_empty() {
            let events = self.database.events_at(&numbers).await?;
            let next = events.iter().map(|it| (it.payment, it.sequence + 1));
            numbers = next.collect();
            found.extend(events);
        }
        for (id, events) in by_payment(found) {
            let Some(followed) = self.followed.get_mut(&id) else {
                continue;
            };
            self.found.extend(followed.changes(&events, None));
            followed.read(&events);
        }
        Ok(())
    }

    /// Drops payments that cannot change any more, and those of the others that changed longest ago, if there are too many.
    /// A payment that is dropped is not found again by its creation.
    fn forget(&mut self) {
        let since = self.since;
        self.followed
            .retain(|_, it| it.changed_at >= since || !is_final(it.status));
        let idle = self
            .followed
            .iter()
            .filter(|(_, it)| it.changed_at < since && is_idle(it.status));
        let mut idle: Vec<_> = idle.map(|(id, it)| (it.changed_at, *id)).collect();
        if idle.len() > MOST_IDLE {
            idle.sort_unstable();
            for (_, id) in &idle[..idle.len() - MOST_IDLE] {
                self.followed.remove(id);
            }
        }
    }
}

impl Followed {
    fn of(row: &StoredPayment) -> Self {
        let payment = &row.payment;
        Self {
            client: payment.client.clone(),
            order: payment.order_id,
            amount: payment.amount,
            sequence: payment.sequence,
            status: payment.status,
            changed_at: payment.updated_at,
        }
    }

    /// The events that change the status, without those before `since`. A payment that is created with a card is
    /// processing at once.
    fn changes(&self, events: &[Event], since: Option<Timestamp>) -> Vec<Change> {
        let with_card = events.iter().any(|event| {
            event.sequence == 2
                && event.kind == EventKind::AttemptStarted
                && events
                    .iter()
                    .any(|it| it.sequence == 1 && it.at == event.at)
        });
        let skipped = |event: &&Event| event.sequence == 1 && with_card;
        let shown = events
            .iter()
            .filter(|event| since.is_none_or(|since| event.at >= since));
        shown
            .filter(|event| !skipped(event))
            .filter_map(|event| {
                Some(Change {
                    at: event.at,
                    payment: event.payment,
                    sequence: event.sequence,
                    client: self.client.clone(),
                    order: self.order,
                    amount: self.amount,
                    status: event.kind.status()?,
                    reason: event.reason.clone(),
                })
            })
            .collect()
    }

    fn read(&mut self, events: &[Event]) {
        for event in events {
            self.sequence = self.sequence.max(event.sequence);
            self.changed_at = self.changed_at.max(event.at);
            self.status = event.kind.status().unwrap_or(self.status);
        }
    }
}

/// Events by payment, in the order of their numbers.
fn by_payment(events: Vec<Event>) -> HashMap<PaymentId, Vec<Event>> {
    let mut sorted: HashMap<PaymentId, Vec<Event>> = HashMap::new();
    for event in events {
        sorted.entry(event.payment).or_default().push(event);
    }
    for events in sorted.values_mut() {
        events.sort_unstable_by_key(|event| event.sequence);
    }
    sorted
}

/// Whether the status never changes again.
fn is_final(status: PaymentStatus) -> bool {
    matches!(status, PaymentStatus::Succeeded | PaymentStatus::Canceled)
}

/// Whether only a request changes the status.
fn is_idle(status: PaymentStatus) -> bool {
    match status {
        PaymentStatus::RequiresPaymentMethod | PaymentStatus::Declined | PaymentStatus::Failed => {
            true
        }
        PaymentStatus::Processing
        | PaymentStatus::RequiresAction
        | PaymentStatus::RequiresCapture
        | PaymentStatus::Succeeded
        | PaymentStatus::Canceled => false,
    }
}
