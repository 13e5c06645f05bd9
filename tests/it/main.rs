//! The tests of the whole service, one binary: it starts its servers once.

#![allow(
    clippy::unwrap_used,
    clippy::expect_used,
    clippy::panic,
    reason = "a test says so when something is wrong"
)]

#[path = "../support/mod.rs"]
mod support;

mod app;
mod broker;
mod callbacks;
mod contracts;
mod demo;
mod deployment;
mod documents;
mod end_to_end;
mod examples;
mod faults;
mod floors;
mod gateway;
mod hostile;
mod monitoring;
mod page;
mod platforms;
mod proxy;
mod raw_amqp;
mod relay;
mod scale;
mod servers;
mod servers_clusters;
mod servers_end;
mod sockets;
mod store;
mod tls;
mod tools;
