//! What is known of the connections, put together into the one [`Connection`] that others watch.

use std::sync::{Mutex, PoisonError};

use tokio::sync::watch;

use crate::broker::Connection;

/// What a connection is for. Two, because a broker short of memory or disk stops reading from connections that
/// publish: acknowledgements must not wait behind them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Purpose {
    Publish,
    Consume,
}

impl Purpose {
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Publish => "publish",
            Self::Consume => "consume",
        }
    }
}

pub(super) struct Board {
    parts: Mutex<Parts>,
    combined: watch::Sender<Connection>,
}

struct Parts {
    publish: Connection,
    /// None until something is consumed.
    consume: Option<Connection>,
}

impl Board {
    pub(super) fn new() -> Self {
        let connecting = Connection::Down("connecting".to_owned());
        let parts = Parts {
            publish: connecting.clone(),
            consume: None,
        };
        Self {
            parts: Mutex::new(parts),
            combined: watch::Sender::new(connecting),
        }
    }

    pub(super) fn watch(&self) -> watch::Receiver<Connection> {
        self.combined.subscribe()
    }

    pub(super) fn set(&self, purpose: Purpose, state: Connection) {
        let mut parts = self.parts.lock().unwrap_or_else(PoisonError::into_inner);
        match purpose {
            Purpose::Publish => parts.publish = state,
            Purpose::Consume => parts.consume = Some(state),
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
    /// The worse of the two.
    fn combined(&self) -> Connection {
        let consume = self.consume.as_ref().unwrap_or(&Connection::Up);
        let rank = |state: &Connection| match state {
            Connection::Down(_) => 3,
            Connection::Blocked => 2,
            Connection::Mismatch(_) => 1,
            Connection::Up => 0,
        };
        if rank(consume) > rank(&self.publish) {
            consume.clone()
        } else {
            self.publish.clone()
        }
    }
}
