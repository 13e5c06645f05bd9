//! How long a row belongs to the process that took it, and how far ahead anything is ever due.

use std::time::Duration;

use crate::store::rows::Horizons;

/// Servers that follow each other as primary need not agree to the second.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// How long a card token lives.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// How long things take before someone else looks after them.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// A committed outbox row belongs to the process that wrote it; then any sweeper may publish it.
    pub outbox: Duration,
    /// A claimed payment belongs to its worker; longer than the processor's time-out.
    pub claim: Duration,
    /// A payment that is processing is looked at by the rescue.
    pub check: Duration,
}

impl Leases {
    /// No two looks at one payment lie further apart.
    pub fn longest_check(self) -> Duration {
        self.check * 10
    }

    /// No claim ends later, also if another process allows its processor far more time.
    pub fn longest_claim(self) -> Duration {
        self.claim * 10 + CLOCKS_DIFFER
    }

    /// How far ahead anything is ever due, with the longest delays before another try and another callback.
    pub fn horizons(self, retry: Duration, callback: Duration) -> Horizons {
        let work = retry.max(self.longest_claim()).max(self.outbox);
        let check = self.longest_check().max(work + self.check);
        let beyond = |longest: Duration| longest + self.outbox + CLOCKS_DIFFER;
        Horizons {
            work: beyond(work),
            results: beyond(callback),
            check: beyond(check),
            token: beyond(TOKEN_LIFE),
        }
    }
}
