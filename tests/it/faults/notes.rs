//! The client application's own list: what was sent, what was accepted, and which outcomes it was told. Nothing of it
//! comes from the service's database.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use payment_service::processors::simulated::TestCard;

use super::cards;
use crate::app::{KIOSK, STORE};

/// How a payment was requested.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Way {
    Rest,
    Message,
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
    pub card: &'static TestCard,
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
    /// Answers that a caller must never get.
    pub odd: Vec<String>,
}

/// How long the service may put off a try of a client that wants more than its share.
const POSTPONED: Duration = Duration::from_secs(60);

impl Entry {
    /// How long after a fault's healing it may take.
    pub fn patience(&self) -> Duration {
        match self.payer {
            Payer::Store => cards::patience(self.card),
            Payer::Kiosk => cards::patience(self.card) + POSTPONED,
        }
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
    pub fn submit(&self, way: Way, card: &'static TestCard) -> i64 {
        self.add(way, card, Payer::Store, false)
    }

    /// As [`Self::submit`], for one of the steady load.
    pub fn submit_steady(&self, way: Way, card: &'static TestCard) -> i64 {
        self.add(way, card, Payer::Store, true)
    }

    /// As [`Self::submit`], for one of another client's, which sends no messages.
    pub fn submit_for(&self, payer: Payer, card: &'static TestCard) -> i64 {
        self.add(Way::Rest, card, payer, false)
    }

    fn add(&self, way: Way, card: &'static TestCard, payer: Payer, steady: bool) -> i64 {
        let mut entries = self.lock();
        let order = entries.last_key_value().map_or(1, |(order, _)| order + 1);
        let one_time = order / 2 % 2 == 0 && !self.without_tokens.load(Ordering::Relaxed);
        let entry = Entry {
            way,
            payer,
            card,
            one_time,
            token: None,
            submitted: Instant::now(),
            steady,
            accepted: None,
            ids: BTreeSet::new(),
            outcomes: BTreeMap::new(),
            heard: None,
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

    pub fn card(&self, order: i64) -> &'static TestCard {
        self.lock()[&order].card
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

    pub fn outcome(&self, order: i64, payment: i64, event: &str, status: &str) {
        self.change(order, |entry| {
            entry.heard.get_or_insert_with(Instant::now);
            entry.ids.insert(payment);
            entry.outcomes.insert(event.to_owned(), status.to_owned());
        });
    }

    /// Sent, or about to be, and without an outcome.
    pub fn in_flight(&self) -> usize {
        let entries = self.lock();
        entries
            .values()
            .filter(|entry| entry.heard.is_none())
            .count()
    }

    /// The longest time that one without an outcome may take.
    pub fn longest_patience(&self) -> Duration {
        let entries = self.lock();
        let open = entries.values().filter(|entry| entry.heard.is_none());
        open.map(Entry::patience).max().unwrap_or_default()
    }

    pub fn is_heard(&self, order: i64) -> bool {
        let entries = self.lock();
        entries.get(&order).is_some_and(|it| it.heard.is_some())
    }

    /// Messages that the broker has confirmed and that have no outcome.
    pub fn unanswered_messages(&self) -> Vec<(i64, &'static TestCard)> {
        let entries = self.lock();
        let open = entries.iter().filter(|(_, entry)| {
            entry.way == Way::Message && entry.accepted.is_some() && entry.heard.is_none()
        });
        open.map(|(order, entry)| (*order, entry.card)).collect()
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
