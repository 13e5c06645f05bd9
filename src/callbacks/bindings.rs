//! Leads to the callbacks queue the results that some client wants to be called for, and no others: without callbacks
//! the broker has nothing to do for them.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, Queue};
use crate::clients::Clients;
use crate::clients::callback::EVENTS;

/// How often the clients are looked at: their file may have changed.
const LOOK: Duration = Duration::from_secs(1);

/// A queue that was deleted comes back without its bindings, so they are made again now and then.
const AGAIN: Duration = Duration::from_secs(60);

/// Binding keys of results.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// To be called for.
    pub wanted: Vec<String>,
    /// All others of the clients in the file.
    pub unwanted: Vec<String>,
}

/// Binds whenever the clients or the session have changed, until `stop`.
pub(super) async fn follow(
    broker: Arc<dyn Broker>,
    clients: Clients,
    mut registered: watch::Receiver<bool>,
    stop: CancellationToken,
) {
    let mut bound = None;
    let mut last = tokio::time::Instant::now();
    loop {
        let keys = Keys::of(&clients);
        let is_fresh = bound.as_ref() == Some(&keys) && last.elapsed() < AGAIN;
        if *registered.borrow_and_update() && !is_fresh {
            match broker
                .bind_results(Queue::Callbacks, &keys.wanted, &keys.unwanted)
                .await
            {
                Ok(()) => {
                    bound = Some(keys);
                    last = tokio::time::Instant::now();
                }
                // The session says so itself; this is tried again in a moment.
                Err(BrokerError::NotConnected) => {}
                Err(error) => tracing::warn!(%error, "callbacks are not bound to results"),
            }
        }
        tokio::select! {
            () = tokio::time::sleep(LOOK) => {}
            changed = registered.changed() => match changed {
                Ok(()) => bound = None,
                Err(_) => return stop.cancelled().await,
            },
            () = stop.cancelled() => return,
        }
    }
}

impl Keys {
    /// As the clients want it now.
    pub fn of(clients: &Clients) -> Self {
        let mut keys = Self::default();
        for (client, callback) in clients.callbacks() {
            for event in EVENTS {
                let key = format!("{event}.{client}");
                match &callback {
                    Some(callback) if callback.events.contains(&event) => keys.wanted.push(key),
                    _ => keys.unwanted.push(key),
                }
            }
        }
        keys
    }
}
