//! What one runs from the command line: the service in its roles, and what goes with it.

pub mod check;
pub mod cli;
pub mod dead_letters;
pub mod demo;
pub mod keys;
pub mod output;
pub mod payments;
pub mod place;
pub mod reach;
pub mod serve;
pub mod setup;
