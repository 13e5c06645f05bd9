//! The database and hand-over that every command writes with.

use super::hand_over::HandOver;
use super::leases::Leases;
use crate::store::Store;

/// Where a command writes, and where it hands over the outbox rows that it has committed.
#[derive(Clone)]
pub(super) struct Writer {
    pub database: Store,
    pub leases: Leases,
    pub hand_over: HandOver,
}
