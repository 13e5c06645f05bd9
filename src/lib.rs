//! A message-driven payment service.
//!
//! An application delegates a payment by REST or by message; the service answers at once, authorizes the card through
//! a queue and workers, and tells how it ended. The way of a payment, with the file of each step:
//!
//! 1. A request is read and checked: [`http`] (`POST /payments`) or [`messages`] (`order.payment`).
//! 2. Both ways meet in [`accept`], which writes payment, history and an outbox row in one transaction ([`store`]).
//! 3. [`relay`] publishes the outbox row to the work queue ([`broker`]) and forgets it when it is confirmed.
//! 4. A [`worker`] takes the message and claims the try for one lease.
//! 5. It opens the card ([`card_seal`]) and asks the [`processor`].
//! 6. It records the answer: outcome, history and an outbox row in one transaction, which also erases the card.
//! 7. [`relay`] publishes the result to the topic, and to whoever asked for a reply.
//! 8. A request that waits is woken and reads the outcome ([`http::wait`]).
//!
//! A client that asked for it is told by HTTP as well, see [`callbacks`].
//!
//! What may happen to a payment is decided in [`domain`], by one pure function, [`domain::next`]. [`app`] starts and
//! stops the tasks that a role needs, [`config`] says which, [`tools`] has the commands around them.

// They panic when the reader has closed the pipe, or the disk is full; `tools::output` does not.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod accept;
pub mod app;
pub mod broker;
pub mod callbacks;
pub mod card_seal;
pub mod clients;
pub mod config;
pub mod domain;
pub mod http;
pub mod messages;
pub mod processor;
pub mod pulse;
pub mod relay;
pub mod sockets;
pub mod stages;
pub mod store;
pub mod telemetry;
pub mod tools;
pub mod vital;
pub mod worker;
