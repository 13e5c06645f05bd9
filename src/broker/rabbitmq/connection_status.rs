//! What is known of the connections, put together into the one [`Connection`] that others watch.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::broker::Connection;

/// What a connection is for. A broker short of memory or disk stops reading from connections that publish:
/// acknowledgements must not wait behind them. It also stops reading from one whose messages some queue does not take:
/// work must not wait behind results. And it closes one on which a reply has an address that it cannot deal with: results
/// must not wait behind replies (see [`crate::broker::Lane`]). What clients send comes on a separate connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Results,
    Replies,
    /// One call alone, see [`crate::broker::Broker::publish_alone`].
    Alone,
    Consume,
    Requests,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Results => "results",
            Self::Replies => "replies",
            Self::Alone => "alone",
            Self::Consume => "consume",
            Self::Requests => "requests",
        }
    }
}

pub(super) struct ConnectionStatus {
    parts: Mutex<Parts>,
    combined: watch::Sender<Connection>,
    /// The host at which a confirm was missed last.
    doubted: watch::Sender<Option<String>>,
}

struct Parts {
    publish: Connection,
    results: Connection,
    replies: Connection,
    /// None until something is consumed.
    consume: Option<Connection>,
    /// None until requests are consumed.
    requests: Option<Connection>,
}

impl ConnectionStatus {
    pub(super) fn new() -> Self {
        let connecting = Connection::Down("connecting".to_owned());
        let parts = Parts {
            publish: connecting.clone(),
            results: connecting.clone(),
            replies: connecting.clone(),
            consume: None,
            requests: None,
        };
        Self {
            parts: Mutex::new(parts),
            combined: watch::Sender::new(connecting),
            doubted: watch::Sender::new(None),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Connection> {
        self.combined.subscribe()
    }

    /// A message got no confirm in time at that host.
    pub(super) fn doubt(&self, host: &str) {
        self.doubted.send_replace(Some(host.to_owned()));
    }

    /// What is doubted from now on.
    pub(super) fn doubts(&self) -> watch::Receiver<Option<String>> {
        self.doubted.subscribe()
    }

    pub(super) fn set(&self, purpose: Purpose, state: Connection) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        match purpose {
            Purpose::Publish => parts.publish = state,
            Purpose::Results => parts.results = state,
            Purpose::Replies => parts.replies = state,
            Purpose::Alone => {}
            Purpose::Consume => parts.consume = Some(state),
            Purpose::Requests => parts.requests = Some(state),
        }
        let combined = parts.combined();
        self.combined.send_if_modified(|current| {
            let changed = *current != combined;
            *current = combined;
            changed
        });
    }
}

impl Parts {
    /// The worst of them.
    fn combined(&self) -> Connection {
        let rank = |state: &Connection| match state {
            Connection::Down(_) => 3,
            Connection::Blocked => 2,
            Connection::Mismatch(_) => 1,
            Connection::Up => 0,
        };
        let mut worst = &self.publish;
        let consuming = self.consume.iter().chain(&self.requests);
        for state in [&self.results, &self.replies].into_iter().chain(consuming) {
            if rank(state) > rank(worst) {
                worst = state;
            }
        }
        worst.clone()
    }
}
