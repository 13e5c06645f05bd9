//! Payment Service
pub mod accept;
pub mod broker;
pub mod card_seal;
pub mod domain;
pub mod messages;
pub mod processor;
pub mod store;
