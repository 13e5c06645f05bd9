//! The whole service from outside, embedded and on servers.

mod added_method;
mod bad_input;
mod clients;
mod clocks;
mod deaf;
mod duplicates;
mod fairness;
mod faults;
mod groups;
mod health;
mod hostile_messages;
mod idempotency;
mod isolation;
mod liveness;
mod messages;
mod methods;
mod old_callers;
mod operations;
pub mod processes;
mod reading;
mod refused_messages;
mod rescue;
mod rest;
mod secrets;
mod start;
mod tokens;
mod wrong_database;
