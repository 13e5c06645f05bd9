//! Requests by message: `order.payment` from the requests queue, read, accepted or refused; and replays of dead letters.

pub mod accept;
pub mod consumer;
pub mod order_reader;
pub mod replay;
pub mod request;
mod signed_replay;
