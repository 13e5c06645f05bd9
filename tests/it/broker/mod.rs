//! The broker seam: one contract, kept by both implementations, and what only RabbitMQ can do.

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
