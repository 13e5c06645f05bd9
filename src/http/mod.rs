//! REST: takes payment requests, and shows the state of payments.
//!
//! Parses requests, calls the use cases or the store's queries, and builds the answers. It decides nothing about payments
//! and publishes nothing.

mod about;
pub mod admin;
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
mod measure;
pub mod observed;
pub mod openapi;
mod operations;
mod page;
mod payments;
pub mod prefer;
pub mod problem;
mod process;
mod router;
pub mod server;
pub mod wait;
pub mod webhooks;

use std::sync::Arc;
use std::time::Duration;

use axum::http::StatusCode;

use crate::clients::Clients;
use crate::domain::{Currency, Timestamp};
use crate::payments::Acceptor;
use crate::processors::simulated::{Shoppers, TestCard};
use crate::store::queries::Queries;
use crate::wire::rules::{CardsAllowed, ClientRules, Rules};
use admission::Admission;
use health::Health;
use wait::Waiters;

pub use router::{admin_router, router};

/// What the handlers work with.
pub struct Api {
    /// Accepts requests, from REST and by message.
    pub acceptor: Arc<Acceptor>,
    /// Reads of the store.
    pub queries: Queries,
    /// The clients that may call.
    pub clients: Clients,
    /// How many requests one client may have under way.
    pub admission: Arc<Admission>,
    /// Requests that wait for an outcome.
    pub waiters: Arc<Waiters>,
    /// The health of this process.
    pub health: Health,
    /// Used for requests without a currency.
    pub default_currency: Currency,
    /// The status of a create without a card: 202, or 201 for callers behind a gateway that does not accept 202.
    pub created_status: StatusCode,
    /// The longest `Prefer: wait` that is granted.
    pub max_wait: Duration,
    /// How long `process` waits unless the request sets another time: its callers are synchronous.
    pub process_wait: Duration,
    /// What authorizes payments: `simulated`, or the name of a real processor.
    pub processor: &'static str,
    /// The test cards shown on the page; empty where cards are real.
    pub test_cards: &'static [TestCard],
    /// The shoppers' side of the simulated issuer, where payments are simulated.
    pub shoppers: Option<Shoppers>,
    /// Which webhooks of payment platforms are read now.
    pub webhooks: webhooks::Turns,
    /// The operators' page, where it can be opened from this machine without a token.
    pub operators_page: Option<std::net::SocketAddr>,
    /// The clock, to check how far ahead a card expires and how old a form is.
    pub now: fn() -> Timestamp,
}

impl Api {
    /// Default of [`Self::max_wait`].
    pub const MAX_WAIT: Duration = Duration::from_secs(30);
    /// Default of [`Self::process_wait`].
    pub const PROCESS_WAIT: Duration = Duration::from_secs(4);

    /// The rules for reading a request of this client.
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
