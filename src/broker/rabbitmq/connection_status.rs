//! The status of all connections, combined into the one [`ConnectionState`] that other code watches.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::broker::ConnectionState;

/// The purpose of a connection. A broker short of memory or disk stops reading from connections that publish, so
/// acknowledgements must not wait behind publications. It also stops reading from a connection if a queue does not
/// accept its messages, so work must not wait behind results. And it closes a connection on which a reply has an address
/// that it cannot handle, so results must not wait behind replies (see [`crate::broker::Lane`]). Messages of clients are
/// received on a separate connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Results,
    Replies,
    /// A single call, see [`crate::broker::Broker::publish_alone`].
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
    combined: watch::Sender<ConnectionState>,
    /// The host that missed a confirm last.
    doubted: watch::Sender<Option<String>>,
}

struct Parts {
    publish: ConnectionState,
    results: ConnectionState,
    replies: ConnectionState,
    /// None until something is consumed.
    consume: Option<ConnectionState>,
    /// None until requests are consumed.
    requests: Option<ConnectionState>,
}

impl ConnectionStatus {
    pub(super) fn new() -> Self {
        let connecting = ConnectionState::Down("connecting".to_owned());
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

    pub(super) fn watch(&self) -> watch::Receiver<ConnectionState> {
        self.combined.subscribe()
    }

    /// Records that the host did not confirm a message in time.
    pub(super) fn doubt(&self, host: &str) {
        self.doubted.send_replace(Some(host.to_owned()));
    }

    /// Follows the host in doubt from now on.
    pub(super) fn doubts(&self) -> watch::Receiver<Option<String>> {
        self.doubted.subscribe()
    }

    pub(super) fn set(&self, purpose: Purpose, state: ConnectionState) {
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
    /// The worst status of all connections.
    fn combined(&self) -> ConnectionState {
        let rank = |state: &ConnectionState| match state {
            ConnectionState::Down(_) => 3,
            ConnectionState::Blocked => 2,
            ConnectionState::Mismatch(_) => 1,
            ConnectionState::Up => 0,
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
