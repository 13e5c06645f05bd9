//! The client application's own list: what was sent, what was accepted, and which outcomes it was told. Nothing of it
//! comes from the service's database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use payment_service::domain::OperationKind;

use super::drill::AFTERMATH;
use super::method::Method;
use super::operations::Operation;
use crate::app::{KIOSK, STORE};

/// How a payment or an operation was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Rest,
    Message,
}

impl Way {
    /// The total of every payment that is requested in this way, in minor units.
    pub fn total_minor(self) -> i64 {
        match self {
            Self::Rest => 1_050,
            Self::Message => 2_000,
        }
    }
}

/// A client of the service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Payer {
    /// Has the load.
    Store,
    /// Has what one strike makes.
    Kiosk,
}

impl Payer {
    pub fn name(self) -> &'static str {
        match self {
            Self::Store => STORE.0,
            Self::Kiosk => KIOSK.0,
        }
    }

    pub fn api_key(self) -> &'static str {
        match self {
            Self::Store => STORE.1,
            Self::Kiosk => KIOSK.1,
        }
    }
}

/// One payment of the client's.
#[derive(Debug, Clone)]
pub struct Entry {
    pub way: Way,
    /// Its client.
    pub payer: Payer,
    pub method: Method,
    /// Whether it is paid with a one-time card token.
    pub one_time: bool,
    /// That token, as soon as there is one.
    pub token: Option<String>,
    pub submitted: Instant,
    /// Part of the steady load, not of a fault.
    pub steady: bool,
    /// When the client had its answer: 202, or the broker's confirm.
    pub accepted: Option<Instant>,
    /// Payments that answers and events named for it: one, however often it was sent.
    pub ids: BTreeSet<i64>,
    /// Outcomes by the id of their event: one, however often it was delivered.
    pub outcomes: BTreeMap<String, String>,
    /// When the first outcome came.
    pub heard: Option<Instant>,
    /// The page on which its shopper approves, once somebody has named it.
    pub page: Option<String>,
    /// What the client requests once the payment is authorized or paid.
    pub operations: Vec<Operation>,
    /// Answers that a caller must never get.
    pub odd: Vec<String>,
}

/// How long the service may put off a try of a client that wants more than its share.
const POSTPONED: Duration = Duration::from_secs(60);

impl Entry {
    /// How long after a fault's healing it may take.
    pub fn patience(&self) -> Duration {
        match self.payer {
            Payer::Store => self.method.patience(),
            Payer::Kiosk => self.method.patience() + POSTPONED,
        }
    }

    /// Whether the payment is only authorized at first.
    pub fn is_captured_later(&self) -> bool {
        let mut operations = self.operations.iter();
        operations.any(|operation| operation.kind != OperationKind::Refund)
    }

    /// The outcomes of its authorization, one of which its events must report.
    pub fn promised_outcomes(&self) -> &'static [&'static str] {
        if self.is_captured_later() && self.method.is_at_platform() {
            &["requires_capture", "failed"]
        } else if self.is_captured_later() {
            &["requires_capture"]
        } else {
            self.method.outcomes()
        }
    }

    /// The statuses, one of which it must have when everything has ended.
    pub fn promised_statuses(&self) -> &'static [&'static str] {
        let kinds: Vec<_> = self.operations.iter().map(|it| it.kind).collect();
        if self.method.is_at_platform() && self.is_captured_later() {
            // A capture or void that failed leaves it authorized.
            match kinds.contains(&OperationKind::Void) {
                true => &["canceled", "requires_capture", "failed"],
                false => &["succeeded", "requires_capture", "failed"],
            }
        } else if kinds.contains(&OperationKind::Void) {
            &["canceled"]
        } else {
            self.method.outcomes()
        }
    }

    /// Kind and amount of what the issuer must have carried out when everything has ended, sorted.
    pub fn promised_operations(&self) -> Vec<(String, i64)> {
        let total = self.way.total_minor();
        let capture = self
            .operations
            .iter()
            .find(|it| it.kind == OperationKind::Capture);
        let captured = capture.and_then(|it| it.amount).unwrap_or(total);
        let carried_out = self.operations.iter().filter(|operation| {
            let results = self.method.results(operation.kind);
            results.iter().all(|it| it.last() == Some(&"succeeded"))
        });
        let mut promised: Vec<_> = carried_out
            .map(|operation| {
                let amount = operation.amount.unwrap_or(captured);
                (operation.kind.as_str().to_owned(), amount)
            })
            .collect();
        promised.sort();
        promised
    }

    /// The capture or void whose result a payment's status is.
    fn ended_by(&mut self, status: &str) -> Option<&mut Operation> {
        let kind = match status {
            "succeeded" => OperationKind::Capture,
            "canceled" => OperationKind::Void,
            _ => return None,
        };
        self.operations.iter_mut().find(|it| it.kind == kind)
    }

    /// The capture or void that has failed, if a payment at a platform is still authorized.
    fn left_authorized(&mut self, event: &str, status: &str) -> Option<&mut Operation> {
        let is_other = self.heard.is_some() && !self.outcomes.contains_key(event);
        let has_failed = self.method.is_at_platform() && status == "requires_capture" && is_other;
        let mut operations = self.operations.iter_mut().filter(|_| has_failed);
        operations.find(|it| it.kind != OperationKind::Refund)
    }

    /// Operations that have not all of their results yet: a refund that fails afterwards has two.
    fn awaited_operations(&self) -> usize {
        let is_awaited = |operation: &&Operation| {
            let promised = self.method.results(operation.kind)[0].len();
            let is_open = !operation.needs_person && operation.heard.is_none();
            is_open || (promised > 1 && operation.results.len() < promised)
        };
        self.operations.iter().filter(is_awaited).count()
    }

    fn open_operations(&self) -> impl Iterator<Item = (usize, &Operation)> {
        let numbered = self.operations.iter().enumerate();
        numbered.filter(|(_, it)| it.heard.is_none() && !it.needs_person)
    }
}

/// By the client's order number, which is in every answer and event.
#[derive(Debug, Default)]
pub struct Notes {
    entries: Mutex<BTreeMap<i64, Entry>>,
    /// Whether new payments use no one-time tokens.
    without_tokens: AtomicBool,
}

impl Notes {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<i64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A new one is about to be sent; its order number.
    pub fn submit(&self, way: Way, method: Method) -> i64 {
        self.add(way, method, Payer::Store, false)
    }

    /// As [`Self::submit`], for one of the steady load, with what is requested for it afterwards.
    pub fn submit_steady(&self, way: Way, method: Method, operations: Vec<Operation>) -> i64 {
        let order = self.add(way, method, Payer::Store, true);
        self.change(order, |entry| entry.operations = operations);
        order
    }

    /// As [`Self::submit_steady`], for one of a fault.
    pub fn submit_with(&self, way: Way, method: Method, operations: Vec<Operation>) -> i64 {
        let order = self.add(way, method, Payer::Store, false);
        self.change(order, |entry| entry.operations = operations);
        order
    }

    /// As [`Self::submit`], for one of another client's, which sends no messages.
    pub fn submit_for(&self, payer: Payer, method: Method) -> i64 {
        self.add(Way::Rest, method, payer, false)
    }

    fn add(&self, way: Way, method: Method, payer: Payer, steady: bool) -> i64 {
        let mut entries = self.lock();
        let order = entries.last_key_value().map_or(1, |(order, _)| order + 1);
        let by_card = !method.is_at_platform();
        let one_time =
            by_card && order / 2 % 2 == 0 && !self.without_tokens.load(Ordering::Relaxed);
        let entry = Entry {
            way,
            payer,
            method,
            one_time,
            token: None,
            submitted: Instant::now(),
            steady,
            accepted: None,
            ids: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            heard: None,
            page: None,
            operations: Vec::new(),
            odd: Vec::new(),
        };
        entries.insert(order, entry);
        order
    }

    pub fn payer(&self, order: i64) -> Payer {
        self.lock()[&order].payer
    }

    pub fn is_one_time(&self, order: i64) -> bool {
        self.lock()[&order].one_time
    }

    /// Sets whether new payments use no one-time tokens.
    pub fn do_without_tokens(&self, without: bool) {
        self.without_tokens.store(without, Ordering::Relaxed);
    }

    pub fn token(&self, order: i64) -> Option<String> {
        self.lock()[&order].token.clone()
    }

    pub fn token_made(&self, order: i64, token: &str) {
        self.change(order, |entry| {
            entry.token.get_or_insert_with(|| token.to_owned());
        });
    }

    fn change(&self, order: i64, change: impl FnOnce(&mut Entry)) {
        if let Some(entry) = self.lock().get_mut(&order) {
            change(entry);
        }
    }

    /// The answer to a request (with its payment) or the confirm of a message (without).
    pub fn accepted(&self, order: i64, payment: Option<i64>) {
        self.change(order, |entry| {
            entry.accepted.get_or_insert_with(Instant::now);
            entry.ids.extend(payment);
        });
    }

    pub fn odd(&self, order: i64, what: String) {
        self.change(order, |entry| entry.odd.push(what));
    }

    /// An event of a payment: the outcome of its authorization, or the result of its capture or void.
    pub fn outcome(&self, order: i64, payment: i64, event: &str, status: &str) {
        self.change(order, |entry| {
            entry.ids.insert(payment);
            let (event, status) = (event.to_owned(), status.to_owned());
            if let Some(operation) = entry.ended_by(&status) {
                operation.heard.get_or_insert_with(Instant::now);
                operation.results.insert(event, "succeeded".to_owned());
            } else if let Some(operation) = entry.left_authorized(&event, &status) {
                operation.heard.get_or_insert_with(Instant::now);
                operation.results.insert(event, "failed".to_owned());
            } else {
                entry.heard.get_or_insert_with(Instant::now);
                entry.outcomes.insert(event, status);
            }
        });
    }

    /// Forgets what was to be requested for a payment at a platform that has failed, or whose capture has: what was not
    /// requested yet.
    pub fn give_up_operations(&self, order: i64) {
        self.change(order, |entry| {
            let failed = |it: &Operation| it.results.values().any(|status| status == "failed");
            let mut ends = entry.outcomes.values();
            let is_paid = ends.all(|it| it == "succeeded" || it == "requires_capture");
            let capture = entry
                .operations
                .iter()
                .find(|it| it.kind != OperationKind::Refund);
            if entry.method.is_at_platform() && (!is_paid || capture.is_some_and(failed)) {
                entry.operations.retain(|it| it.submitted.is_some());
            }
        });
    }

    /// Nobody will ever say what became of an operation.
    pub fn needs_person(&self, order: i64, number: usize) {
        self.change_operation(order, number, |operation| operation.needs_person = true);
    }

    /// An event or an answer that names the page for the shopper.
    pub fn shopper_is_asked(&self, order: i64, payment: i64, page: &str) {
        self.change(order, |entry| {
            entry.ids.insert(payment);
            entry.page.get_or_insert_with(|| page.to_owned());
        });
    }

    /// The page for the shopper of an order.
    pub fn page(&self, order: i64) -> Option<String> {
        self.lock()[&order].page.clone()
    }

    /// An event of a refund.
    pub fn refund_result(&self, order: i64, number: usize, event: &str, status: &str) {
        self.change_operation(order, number, |operation| {
            operation.heard.get_or_insert_with(Instant::now);
            operation
                .results
                .insert(event.to_owned(), status.to_owned());
        });
    }

    fn change_operation(&self, order: i64, number: usize, change: impl FnOnce(&mut Operation)) {
        self.change(order, |entry| {
            if let Some(operation) = entry.operations.get_mut(number) {
                change(operation);
            }
        });
    }

    /// An operation is about to be requested.
    pub fn operation_submitted(&self, order: i64, number: usize) {
        self.change_operation(order, number, |operation| {
            operation.submitted.get_or_insert_with(Instant::now);
        });
    }

    /// The answer to the request of an operation, or the confirm of its message.
    pub fn operation_accepted(&self, order: i64, number: usize) {
        self.change_operation(order, number, |operation| {
            operation.accepted.get_or_insert_with(Instant::now);
        });
    }

    /// The operations of a payment.
    pub fn operations(&self, order: i64) -> Vec<Operation> {
        self.lock()[&order].operations.clone()
    }

    /// The payment of an order, once somebody has named it.
    pub fn payment(&self, order: i64) -> Option<i64> {
        self.lock()[&order].ids.first().copied()
    }

    pub fn is_captured_later(&self, order: i64) -> bool {
        self.lock()[&order].is_captured_later()
    }

    /// Operations that were requested by message, confirmed, and have no result.
    pub fn unanswered_operations(&self) -> Vec<(i64, usize)> {
        let entries = self.lock();
        let all = entries.iter().flat_map(|(order, entry)| {
            let open = entry.open_operations();
            let open = open.filter(|(_, it)| it.way == Way::Message && it.accepted.is_some());
            open.map(|(number, _)| (*order, number))
        });
        all.collect()
    }

    /// Sent, or about to be, and without all of their outcomes: payments, and operations that a payment's outcome lets the client
    /// request.
    pub fn in_flight(&self) -> usize {
        let entries = self.lock();
        let open = |entry: &Entry| match entry.heard {
            Some(_) => entry.awaited_operations(),
            None => 1,
        };
        entries.values().map(open).sum()
    }

    /// The longest time that one without an outcome may take, its operations included.
    pub fn longest_patience(&self) -> Duration {
        let entries = self.lock();
        let left = |entry: &Entry| {
            let payment = entry.heard.is_none().then(|| entry.patience());
            // A capture and the refunds after it.
            let operations = entry.open_operations().next().map(|_| 2 * AFTERMATH);
            payment.unwrap_or_default() + operations.unwrap_or_default()
        };
        entries.values().map(left).max().unwrap_or_default()
    }

    pub fn is_heard(&self, order: i64) -> bool {
        let entries = self.lock();
        entries.get(&order).is_some_and(|it| it.heard.is_some())
    }

    /// Messages that the broker has confirmed and that have no outcome.
    pub fn unanswered_messages(&self) -> Vec<(i64, Method)> {
        let entries = self.lock();
        let open = entries.iter().filter(|(_, entry)| {
            entry.way == Way::Message && entry.accepted.is_some() && entry.heard.is_none()
        });
        open.map(|(order, entry)| (*order, entry.method)).collect()
    }

    /// Messages that the broker has confirmed, whose payment nobody has named yet.
    pub fn unknown_messages(&self) -> Vec<i64> {
        let entries = self.lock();
        let unknown = entries
            .iter()
            .filter(|(_, entry)| entry.accepted.is_some() && entry.ids.is_empty());
        unknown.map(|(order, _)| *order).collect()
    }

    /// Orders with a one-time token that are not accepted so far.
    pub fn tokens_on_their_way(&self) -> usize {
        let entries = self.lock();
        let open = entries
            .values()
            .filter(|entry| entry.one_time && entry.accepted.is_none());
        open.count()
    }

    /// Whether one of these tokens is an order's.
    pub fn have_token_of(&self, tokens: &[String]) -> bool {
        let entries = self.lock();
        let mut own = entries.values().filter_map(|entry| entry.token.as_ref());
        own.any(|token| tokens.contains(token))
    }

    pub fn all(&self) -> BTreeMap<i64, Entry> {
        self.lock().clone()
    }

    pub fn number(&self) -> usize {
        self.lock().len()
    }
}
