//! Requests by message: `order.payment` from the requests queue, read, accepted or refused.

pub mod consumer;
pub mod order_reader;
pub mod replay;
