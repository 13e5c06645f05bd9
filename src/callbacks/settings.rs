//! Time-outs, retries and limits of callbacks.

use std::time::Duration;

use super::authorities::Authorities;
use crate::retry::Backoff;

/// Time-outs, retries and limits of callbacks, and the CA certificates to trust.
#[derive(Debug, Clone)]
pub struct CallbackSettings {
    /// `CALLBACK_CA_FILE`: extra CA certificates for receivers by `https`.
    pub authorities: Authorities,
    /// `CALLBACK_TIMEOUT`: for one call, from connecting to the end of the answer.
    pub timeout: Duration,
    /// `CALLBACK_RETRY_INITIAL`, `CALLBACK_RETRY_MAX_INTERVAL`: delays between calls.
    pub retry: Backoff,
    /// `CALLBACK_GIVE_UP_AFTER`: an event that is older becomes a dead letter.
    pub give_up_after: Duration,
    /// `CALLBACK_CONCURRENCY`: calls to one client under way at the same time, in each worker.
    pub concurrency: usize,
    /// `CALLBACK_BACKLOG_LIMIT`: events that may wait for another call. Above it, each event is sent only once.
    pub backlog_limit: u64,
}
