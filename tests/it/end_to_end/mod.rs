//! The whole service from outside, embedded and on servers.

mod bad_input;
mod clients;
mod clocks;
mod faults;
mod hostile_messages;
mod idempotency;
mod last_net;
mod liveness;
mod messages;
mod old_callers;
mod processes;
mod reading;
mod refused_messages;
mod rest;
mod secrets;
mod start;
mod tokens;
