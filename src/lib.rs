//! A message-driven payment service.
//!
//! An application delegates a payment by REST or by message; the service answers at once, authorizes the card through
//! a queue and workers, and reports the outcome. The steps of a payment, with the module of each:
//!
//! 1. A request is read and checked: [`http`] (`POST /payments`) or [`intake`] (`order.payment`).
//! 2. Both use [`payments`], which writes payment, history and an outbox row in one transaction ([`store`]).
//! 3. [`relay`] publishes the outbox row to the work queue ([`broker`]) and deletes it when it is confirmed.
//! 4. A [`worker`] takes the message and claims the try for one lease.
//! 5. It opens the card ([`vault`]) and calls the processor ([`processors`]).
//! 6. It records the answer: outcome, history and an outbox row in one transaction, which also erases the card.
//! 7. [`relay`] publishes the result to the topic, and to the reply queue that the request named.
//! 8. A waiting request is woken and reads the outcome ([`http::wait`]).
//!
//! Clients can also be called by HTTP, see [`callbacks`]. Payment platforms call this service, see [`platform_events`].
//!
//! One pure function, [`domain::next`], decides what may happen to a payment. [`app`] starts and stops the tasks that
//! a role needs, [`config`] holds the settings, [`cli`] has the commands.
//!
//! # Floors
//!
//! A module imports only from the floors below its own; modules on the same floor do not import each other. A test
//! checks this table.
//!
//! | floor | modules | what they are |
//! |--:|---|---|
//! | 11 | [`cli`] | the commands |
//! | 10 | [`app`], [`telemetry`] | starts and stops the tasks of a role; logs and metrics |
//! | 9 | [`config`] | settings from the environment |
//! | 8 | [`http`], [`intake`], [`worker`], [`callbacks`], [`relay`], [`platform_events`] | the edges: REST, request messages, work messages, webhooks, publishing, events of platforms |
//! | 7 | [`payments`] | the use cases |
//! | 6 | [`processors`] | what authorizes: the simulated issuer, Stripe, and PayPal |
//! | 5 | [`clients`] | who may use the service, and how |
//! | 4 | [`store`], [`wire`] | the tables; JSON of requests, answers and messages |
//! | 3 | [`vault`] | seals cards |
//! | 2 | [`domain`], [`broker`] | what a payment is and how it moves; transport of messages |
//! | 1 | [`watchdog`], [`retry`], [`circuit`], [`sockets`], [`file_changes`] | tasks that die or hang; delays before another try; whom not to call for a while; socket options; files that are read again |
//! | 0 | [`metric`] | the catalogue of metrics |

// They panic when the reader has closed the pipe, or the disk is full; `cli::output` does not.
#![cfg_attr(not(test), warn(clippy::print_stdout, clippy::print_stderr))]

pub mod app;
pub mod broker;
pub mod callbacks;
pub mod circuit;
pub mod cli;
pub mod clients;
pub mod config;
pub mod domain;
pub mod file_changes;
pub mod http;
pub mod intake;
pub mod metric;
pub mod payments;
pub mod platform_events;
pub mod processors;
pub mod relay;
pub mod retry;
pub mod sockets;
pub mod store;
pub mod telemetry;
pub mod vault;
pub mod watchdog;
pub mod wire;
pub mod worker;
