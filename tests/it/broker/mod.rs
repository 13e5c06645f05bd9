//! The broker's contract, which both implementations pass, and tests that only RabbitMQ allows.

mod contract;
mod embedded;
pub mod fixture;
mod rabbitmq;
mod rabbitmq_faults;
mod rabbitmq_idle;
mod rabbitmq_lanes;
mod rabbitmq_network;
mod rabbitmq_permissions;
pub mod rabbitmq_replies;
mod rabbitmq_unreadable;
mod rates;
