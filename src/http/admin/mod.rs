//! The operators' page: the stages, payments, dead letters and clients of the service, to read, at the admin listener.
//!
//! Every page is HTML that the server renders in the reader's language; a small script (`assets/admin.js`) fetches the same
//! page again and replaces what has changed. The same data is at `/api/…` as JSON. Nothing here changes a payment, except
//! that `try_it` creates new ones with test cards. ADR 030 has the decisions.

pub mod access;
mod assets;
mod charts;
mod clients;
pub mod counted;
pub mod dead_letters;
pub(super) mod guard;
pub mod live;
mod login;
pub mod overview;
mod payment;
mod payments;
mod refunds;
pub mod sample;
mod sessions;
mod shell;
mod throttle;
mod timeline;
mod try_it;

use std::sync::Arc;

use axum::Router;
use axum::middleware;
use axum::routing::{get, post};

use crate::clients::Clients;
use crate::domain::Currency;
use crate::http::health::Health;
use crate::payments::Acceptor;
use crate::processors::named::Processors;
use crate::store::Store;
use crate::watchdog::stages::Stages;
use access::Access;
use counted::Counted;
use dead_letters::ReadDeadLetters;
use live::Live;

/// What the pages show, and who may open them.
pub struct Admin {
    /// Who may open them.
    pub access: Access,
    /// The health of this process.
    pub health: Health,
    /// The stages of this process.
    pub stages: Stages,
    /// Every client's payments.
    pub database: Store,
    /// The platforms that this process knows.
    pub processors: Processors,
    /// Those of the clients file.
    pub clients: Clients,
    /// Messages that could not be used.
    pub dead_letters: Arc<dyn ReadDeadLetters>,
    /// What passes while somebody watches.
    pub live: Live,
    /// What was counted in each minute.
    pub counted: Counted,
    /// Creates payments with test cards; none where payments are not accepted, or cards are real.
    pub acceptor: Option<Arc<Acceptor>>,
    /// The currency of those payments.
    pub currency: Currency,
    /// Limits of this process, by the names of their variables.
    pub limits: Vec<(&'static str, String)>,
}

/// The pages and their JSON.
pub fn routes(admin: Admin) -> Router {
    let admin = Arc::new(admin);
    Router::new()
        .route("/", get(overview::page))
        .route("/payments", get(payments::page))
        .route("/payments/{payment_id}", get(payment::page))
        .route("/refunds", get(refunds::page))
        .route("/dead-letters", get(dead_letters::page))
        .route("/clients", get(clients::page))
        .route("/charts", get(charts::page))
        .route("/try", get(try_it::page))
        .route("/login", post(login::log_in))
        .route("/logout", post(login::log_out))
        .route("/assets/{name}", get(assets::asset))
        .route("/api/overview", get(overview::json))
        .route("/api/payments", get(payments::json))
        .route("/api/payments/{payment_id}", get(payment::json))
        .route("/api/refunds", get(refunds::json))
        .route("/api/dead-letters", get(dead_letters::json))
        .route("/api/clients", get(clients::json))
        .route("/api/charts", get(charts::json))
        .route("/api/events", get(live::events))
        .route("/api/try", post(try_it::create))
        .route_layer(middleware::from_fn_with_state(
            Arc::clone(&admin),
            guard::guard,
        ))
        .with_state(admin)
}

#[cfg(test)]
mod tests;
