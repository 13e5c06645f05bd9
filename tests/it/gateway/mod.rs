//! The gateway's configuration, krakend.json, in the real KrakenD: in front of separate api and worker processes on
//! real servers, and in front of stand-ins where a test has to see or to break what is behind the gateway.

mod callers;
mod fixture;
mod krakend;
mod limits;
mod page;
mod passes;
mod routes;
mod stand_in;

pub use stand_in::StandIn;
