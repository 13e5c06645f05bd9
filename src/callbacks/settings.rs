//! How patient the service is with receivers of callbacks.

use std::time::Duration;

use super::authorities::Authorities;
use crate::retry::RetrySchedule;

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
