//! Remembers which reply addresses had problems.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::payments::outgoing::Outgoing;

/// How long a problem of an address is remembered.
const REMEMBERED: Duration = Duration::from_secs(60);
/// How many addresses are remembered; further ones are treated like any other.
const ADDRESSES: usize = 4096;
/// Publications to slow addresses at the same time; further ones wait for a sweep.
const APART: usize = 16;

/// The outcome of the last reply to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// It was not confirmed, perhaps because of another reply.
    Slow,
    /// Again not confirmed, although published separately from addresses without problems.
    Silent,
    /// The broker closed the connection, with this reason.
    Closes(String),
}

/// The remembered addresses, and permits for slow ones.
#[derive(Clone)]
pub(super) struct Addresses {
    troubles: Arc<Mutex<HashMap<String, (Trouble, Instant)>>>,
    pub(super) apart: Arc<Semaphore>,
}

impl Default for Addresses {
    fn default() -> Self {
        Self {
            troubles: Arc::default(),
            apart: Arc::new(Semaphore::new(APART)),
        }
    }
}

impl Addresses {
    pub(super) fn trouble(&self, row: &Outgoing) -> Option<Trouble> {
        let troubles = self.lock();
        let (trouble, since) = troubles.get(&row.publication.routing_key)?;
        // It is then tried again, but not yet together with others.
        let over = since.elapsed() > REMEMBERED;
        Some(if over { Trouble::Slow } else { trouble.clone() })
    }

    pub(super) fn note(&self, row: &Outgoing, trouble: Trouble) {
        let mut troubles = self.lock();
        if troubles.len() >= ADDRESSES {
            troubles.retain(|_, (_, since)| since.elapsed() <= REMEMBERED);
        }
        if troubles.len() < ADDRESSES {
            let address = row.publication.routing_key.clone();
            troubles.insert(address, (trouble, Instant::now()));
        }
    }

    pub(super) fn forget(&self, row: &Outgoing) {
        let mut troubles = self.lock();
        if !troubles.is_empty() {
            troubles.remove(&row.publication.routing_key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Trouble, Instant)>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
