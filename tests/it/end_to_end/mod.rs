//! The whole service from outside, embedded and on servers.

mod idempotency;
mod old_callers;
