//! The command line: the service in its roles, and the commands around it.

pub mod check;
pub mod configuration;
pub mod dead_letters;
pub mod demo;
pub mod keys;
mod main;
pub mod open;
pub mod output;
pub mod payments;
mod promise;
pub mod reach;
pub mod serve;
pub mod setup;
pub mod trigger;

pub use main::main;
