//! The examples and the guide in docs/, run as a user would: against api and worker in
//! separate processes, on real servers.

mod clients;
pub mod fixture;
mod generated;
pub mod guide;
