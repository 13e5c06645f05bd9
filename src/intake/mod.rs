//! Requests by message: `order.payment` from the requests queue, read, accepted or refused.

pub mod order;
pub mod orders;
pub mod replay;
