//! What the app hands to HTTP: its parts, its health, and connections until the stop.

use std::sync::Arc;

use axum::Router;
use axum::serve::ListenerExt;
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use super::parts::Parts;
use crate::broker::Connection;
use crate::config::{Config, Role};
use crate::http::Api;
use crate::http::health::{Health, Liveness, Readiness};
use crate::processor::simulated::TEST_CARDS;
use crate::store::queries::Queries;

/// What the watch over the store says: fine, or why not.
pub(super) type StoreState = watch::Receiver<Result<(), String>>;

/// Serves connections until `stop`, then finishes the requests in hand.
pub(super) async fn serve(listener: TcpListener, router: Router, stop: CancellationToken) {
    // An answer is not held back until the last packet of the one before is acknowledged.
    let listener = listener.tap_io(|connection| {
        if let Err(error) = connection.set_nodelay(true) {
            tracing::debug!(%error, "TCP_NODELAY is not set");
        }
    });
    let served = axum::serve(listener, router).with_graceful_shutdown(stop.cancelled_owned());
    if let Err(error) = served.await {
        tracing::error!(%error, "an HTTP listener has ended");
    }
}

pub(super) fn api(parts: &Parts, config: &Config, health: Health) -> Api {
    Api {
        acceptor: Arc::clone(&parts.acceptor),
        queries: Queries::new(Arc::clone(&parts.database)),
        clients: config.clients.clone(),
        waiters: Arc::clone(&parts.waiters),
        health,
        default_currency: config.default_currency,
        max_wait: config.max_wait,
        process_wait: Api::PROCESS_WAIT,
        test_cards: TEST_CARDS,
        now: time::OffsetDateTime::now_utc,
    }
}

/// An api can work while its store can; a worker needs its consumer, too.
pub(super) fn health(
    parts: &Parts,
    role: Role,
    store: StoreState,
    consumers: Vec<watch::Receiver<bool>>,
    stop: CancellationToken,
) -> Health {
    let connection = parts.broker.connection();
    let relay = parts.relay.clone();
    let ready = move || {
        if stop.is_cancelled() {
            return Readiness::NotReady("the service is stopping".to_owned());
        }
        if let Err(reason) = &*store.borrow() {
            return Readiness::NotReady(format!("the database cannot be used: {reason}"));
        }
        if relay.backlog_is_full() {
            return Readiness::NotReady("the outbox is at its limit (BACKLOG_LIMIT)".to_owned());
        }
        let consuming = consumers.iter().all(|registered| *registered.borrow());
        match &*connection.borrow() {
            Connection::Up if consuming => Readiness::Ready,
            _ if role == Role::Worker && !consuming => {
                Readiness::NotReady("the consumer is not registered".to_owned())
            }
            Connection::Up => Readiness::Degraded("a consumer is not registered".to_owned()),
            Connection::Down(reason) => Readiness::Degraded(format!("RabbitMQ is away: {reason}")),
            Connection::Blocked => {
                Readiness::Degraded("RabbitMQ takes no messages (resource alarm)".to_owned())
            }
            Connection::Mismatch(what) => {
                Readiness::Degraded(format!("RabbitMQ's topology differs: {what}"))
            }
        }
    };
    // A task that ends takes the process with it, so an answer at all says that the others go on.
    Health::new(|| Liveness::Live, ready)
}
