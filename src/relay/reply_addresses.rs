//! What is remembered of the addresses that replies go to.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::sync::Semaphore;
use tokio::time::Instant;

use crate::store::rows::OutboxRow;

/// How long an address is remembered for what happened with it.
const REMEMBERED: Duration = Duration::from_secs(60);
/// Addresses that are remembered; more are treated like any other.
const ADDRESSES: usize = 4096;
/// Publications to slow addresses at the same time; what is more waits for a sweep.
const APART: usize = 16;

/// What happened with the last reply to an address.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Trouble {
    /// Nothing was confirmed, which may have been another's doing.
    Slow,
    /// The same again, apart from those without trouble.
    Silent,
    /// The broker closed the connection, with these words.
    Closes(String),
}

/// What is remembered of addresses, and room for those that are slow.
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
    pub(super) fn trouble(&self, row: &OutboxRow) -> Option<Trouble> {
        let troubles = self.lock();
        let (trouble, since) = troubles.get(&row.publication.routing_key)?;
        // It is then tried again, but not yet beside others.
        let over = since.elapsed() > REMEMBERED;
        Some(if over { Trouble::Slow } else { trouble.clone() })
    }

    pub(super) fn note(&self, row: &OutboxRow, trouble: Trouble) {
        let mut troubles = self.lock();
        if troubles.len() >= ADDRESSES {
            troubles.retain(|_, (_, since)| since.elapsed() <= REMEMBERED);
        }
        if troubles.len() < ADDRESSES {
            let address = row.publication.routing_key.clone();
            troubles.insert(address, (trouble, Instant::now()));
        }
    }

    pub(super) fn forget(&self, row: &OutboxRow) {
        let mut troubles = self.lock();
        if !troubles.is_empty() {
            troubles.remove(&row.publication.routing_key);
        }
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<String, (Trouble, Instant)>> {
        self.troubles.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
