//! How long a row belongs to the process that took it, and how far in the future anything can be due.

use std::time::Duration;

use crate::store::rows::Horizons;

/// Allowed clock difference between database servers that become primary one after the other.
const CLOCKS_DIFFER: Duration = Duration::from_secs(60);

/// How long a card token lives.
pub const TOKEN_LIFE: Duration = Duration::from_secs(15 * 60);

/// How long a process keeps a row before others may take it over.
#[derive(Debug, Clone, Copy)]
pub struct Leases {
    /// For this long a committed outbox row belongs to the process that wrote it; then any sweeper may publish it.
    pub outbox: Duration,
    /// For this long a claimed payment belongs to its worker; longer than the processor's time-out.
    pub claim: Duration,
    /// After this long the rescue checks a payment that is still processing.
    pub check: Duration,
}

impl Leases {
    /// The longest time between two checks of one payment.
    pub fn longest_check(self) -> Duration {
        self.check * 10
    }

    /// The longest claim, even if another process allows its processor far more time.
    pub fn longest_claim(self) -> Duration {
        self.claim * 10 + CLOCKS_DIFFER
    }

    /// How far in the future anything can be due, given the longest delays before another try and another callback.
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
