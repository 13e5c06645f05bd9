//! Limits the connections of a listener, and chooses which connection is closed for a new one: first one that never had a
//! request, then the one that has been without a request for longest.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio_util::sync::CancellationToken;

use crate::metric;

/// All slots of a listener.
#[derive(Debug)]
pub(super) struct ConnectionLimit {
    free: Arc<Semaphore>,
    /// Connections without a request, the first to be closed comes first.
    quiet: Mutex<BTreeMap<Rank, CancellationToken>>,
    next: AtomicU64,
}

/// Whether it ever had a request, and since when it has none.
type Rank = (bool, u64);

/// One connection's slot; free again when dropped.
#[derive(Debug)]
pub(super) struct Slot {
    limit: Arc<ConnectionLimit>,
    had_requests: AtomicBool,
    quiet_since: AtomicU64,
    busy: AtomicBool,
    wanted: CancellationToken,
    _permit: OwnedSemaphorePermit,
}

/// A request that is being answered; dropping it ends it.
#[derive(Debug)]
pub(super) struct Busy(Arc<Slot>);

impl ConnectionLimit {
    pub(super) fn new(number: usize) -> Arc<Self> {
        Arc::new(Self {
            free: Arc::new(Semaphore::new(number)),
            quiet: Mutex::default(),
            next: AtomicU64::new(0),
        })
    }

    /// A free slot, or the slot of the connection that is closed for it. None if all have requests.
    pub(super) async fn take(self: &Arc<Self>) -> Option<Arc<Slot>> {
        if let Some(slot) = self.take_free() {
            return Some(slot);
        }
        let (_, wanted) = self.quiet().pop_first()?;
        wanted.cancel();
        // It ends as soon as its task is scheduled.
        metrics::counter!(metric::HTTP_CONNECTIONS_CLOSED_FOR_OTHERS).increment(1);
        let permit = Arc::clone(&self.free).acquire_owned().await.ok()?;
        Some(self.slot(permit))
    }

    /// A free slot.
    pub(super) fn take_free(self: &Arc<Self>) -> Option<Arc<Slot>> {
        let permit = Arc::clone(&self.free).try_acquire_owned().ok()?;
        Some(self.slot(permit))
    }

    fn slot(self: &Arc<Self>, permit: OwnedSemaphorePermit) -> Arc<Slot> {
        let slot = Arc::new(Slot {
            limit: Arc::clone(self),
            had_requests: AtomicBool::new(false),
            quiet_since: AtomicU64::new(0),
            busy: AtomicBool::new(false),
            wanted: CancellationToken::new(),
            _permit: permit,
        });
        slot.now_quiet();
        slot
    }

    fn quiet(&self) -> MutexGuard<'_, BTreeMap<Rank, CancellationToken>> {
        self.quiet.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Slot {
    /// Marks the connection as having a request.
    pub(super) fn busy(self: &Arc<Self>) -> Busy {
        self.busy.store(true, Ordering::Relaxed);
        self.no_longer_quiet();
        self.had_requests.store(true, Ordering::Relaxed);
        Busy(Arc::clone(self))
    }

    pub(super) fn is_busy(&self) -> bool {
        self.busy.load(Ordering::Relaxed)
    }

    /// Waits until another connection needs this slot.
    pub(super) async fn wanted(&self) {
        self.wanted.cancelled().await;
    }

    fn now_quiet(&self) {
        self.no_longer_quiet();
        let since = self.limit.next.fetch_add(1, Ordering::Relaxed);
        self.quiet_since.store(since, Ordering::Relaxed);
        let wanted = self.wanted.clone();
        self.limit.quiet().insert(self.rank(), wanted);
    }

    fn no_longer_quiet(&self) {
        self.limit.quiet().remove(&self.rank());
    }

    fn rank(&self) -> Rank {
        (
            self.had_requests.load(Ordering::Relaxed),
            self.quiet_since.load(Ordering::Relaxed),
        )
    }
}

impl Busy {
    /// The request's work is done, and only its caller keeps it open: from now on the connection may be closed for
    /// another one, like one without a request.
    pub(super) fn may_make_room(&self) {
        self.0.now_quiet();
    }
}

impl Drop for Busy {
    fn drop(&mut self) {
        self.0.busy.store(false, Ordering::Relaxed);
        self.0.now_quiet();
    }
}

impl Drop for Slot {
    fn drop(&mut self) {
        self.no_longer_quiet();
    }
}
