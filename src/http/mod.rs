//! REST: one way in, and the way to see how a payment stands.
//!
//! Parses requests, asks the accepting side or the store's queries, and words the answers. It decides nothing about
//! payments and publishes nothing.

mod about;
pub mod admission;
mod answer;
pub mod auth;
pub mod body;
mod card_tokens;
mod docs;
mod events;
mod headers;
pub mod health;
mod list;
pub mod openapi;
mod page;
mod payments;
pub mod prefer;
pub mod problem;
mod process;
mod router;
pub mod server;
pub mod wait;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::clients::Clients;
use crate::domain::{Currency, Timestamp};
use crate::payments::Acceptor;
use crate::processors::simulated::TestCard;
use crate::store::queries::Queries;
use crate::wire::rules::{CardsAllowed, ClientRules, Rules};
use admission::Admission;
use health::Health;
use wait::Waiters;

pub use router::{admin_router, router};

/// What the handlers work with.
pub struct Api {
    /// Where both ways in meet.
    pub acceptor: Arc<Acceptor>,
    /// Reads of the store.
    pub queries: Queries,
    /// Who may call.
    pub clients: Clients,
    /// How many requests one client may have under way.
    pub admission: Arc<Admission>,
    /// Requests that wait for an outcome.
    pub waiters: Arc<Waiters>,
    /// How this process is.
    pub health: Health,
    /// For requests that name no currency.
    pub default_currency: Currency,
    /// Answers a create without a card: 202, or 201 for callers behind a gateway that takes no 202.
    pub created_status: StatusCode,
    /// The longest `Prefer: wait` that is granted.
    pub max_wait: Duration,
    /// How long `process` waits unless told otherwise: its callers are synchronous.
    pub process_wait: Duration,
    /// What the page offers to try; none where cards are real.
    pub test_cards: &'static [TestCard],
    /// The clock, for telling how far ahead a card may expire and how old a form is.
    pub now: fn() -> Timestamp,
}

impl Api {
    /// Default of [`Self::max_wait`].
    pub const MAX_WAIT: Duration = Duration::from_secs(30);
    /// Default of [`Self::process_wait`].
    pub const PROCESS_WAIT: Duration = Duration::from_secs(4);

    /// What a request of a client is read with.
    fn rules<'r>(&self, client: &'r ClientRules) -> Rules<'r> {
        Rules {
            default_currency: self.default_currency,
            now: (self.now)(),
            cards: CardsAllowed::Yes,
            client,
        }
    }
}

#[cfg(test)]
mod tests;
