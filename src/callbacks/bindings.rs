//! Binds the callbacks queue to the results that clients subscribed to, and to no others: without callbacks the broker
//! has no extra work.

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio_util::sync::CancellationToken;

use crate::broker::{Broker, BrokerError, Queue};
use crate::clients::Clients;
use crate::clients::callback::EVENTS;

/// How often the clients are checked: their file may have changed.
const LOOK: Duration = Duration::from_secs(1);

/// A queue that was deleted and created again has no bindings, so they are declared again at this interval.
const AGAIN: Duration = Duration::from_secs(60);

/// Binding keys of results.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Keys {
    /// Keys that clients subscribed to.
    pub wanted: Vec<String>,
    /// All other keys of the clients in the file.
    pub unwanted: Vec<String>,
}

/// Updates the bindings whenever the clients or the session have changed, until `stop`.
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
                // The session reports this; it is tried again in a moment.
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
    /// The keys according to the current client file.
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
