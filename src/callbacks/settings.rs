//! What a client wants to be told of and how, and how patient the service is with it.

use std::time::Duration;

use axum::http::Uri;

use super::authorities::Authorities;
use super::signature::Secret;
use crate::worker::retry::RetrySchedule;

/// What a client may be told of: the types of results.
pub const EVENTS: [&str; 6] = [
    "payment.succeeded",
    "payment.declined",
    "payment.failed",
    "payment.canceled",
    "payment.requires_payment_method",
    "payment.request_rejected",
];

/// Those that end something: what a client is told of unless it says otherwise.
pub const OUTCOMES: [&str; 4] = [EVENTS[0], EVENTS[1], EVENTS[2], EVENTS[3]];

/// `callback` of a client in `CLIENTS_FILE`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Callback {
    /// Where to: `https`, or `http` where private addresses are allowed.
    pub url: Uri,
    /// Each signs.
    pub secrets: Vec<Secret>,
    /// What is sent.
    pub format: Format,
    /// Loopback, private and link-local addresses will do as well.
    pub allow_private_addresses: bool,
    /// Which results, of [`EVENTS`].
    pub events: Vec<&'static str>,
}

/// What is sent, and what answer says that it was understood.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `POST` of the result as it is on the topic.
    StandardWebhooks,
    /// `PUT` of `{"order_id", "is_paid": true}`.
    StoreManager,
}

impl Format {
    /// As in the file.
    pub fn name(self) -> &'static str {
        match self {
            Self::StandardWebhooks => "standard-webhooks",
            Self::StoreManager => "store-manager",
        }
    }
}

/// How patient the service is with receivers, and whom it believes to be one.
#[derive(Debug, Clone)]
pub struct CallbackSettings {
    /// `CALLBACK_CA_FILE`: who vouches for receivers by `https`.
    pub authorities: Authorities,
    /// `CALLBACK_TIMEOUT`: for one call, from connecting to the end of the answer.
    pub timeout: Duration,
    /// `CALLBACK_RETRY_INITIAL`, `CALLBACK_RETRY_MAX_INTERVAL`: when a call follows another.
    pub retry: RetrySchedule,
    /// `CALLBACK_GIVE_UP_AFTER`: an event that is older becomes a dead letter.
    pub give_up_after: Duration,
    /// `CALLBACK_CONCURRENCY`: calls to one client under way at the same time, in each worker.
    pub concurrency: usize,
    /// `CALLBACK_BACKLOG_LIMIT`: events that may wait for another call. Further ones are called for once.
    pub backlog_limit: u64,
}
