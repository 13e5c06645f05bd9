//! The store's contract, which both databases pass, and tests that only servers allow.

mod contract_ids;
mod contract_lists;
mod contract_minutes;
mod contract_outbox;
mod contract_payments;
mod contract_tokens;
mod facts;
mod isolation;
mod mysql;
mod mysql_faults;
mod mysql_locks;
mod mysql_migrations;
mod mysql_network;
pub mod samples;
mod sqlite;
