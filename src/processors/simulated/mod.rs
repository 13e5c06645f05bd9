//! The simulated issuer: known test cards, faults on demand, and a ledger that shows what was charged.

pub mod cards;
pub mod decision;
pub mod issuer;
pub mod ledger;
pub mod test_tokens;

/// The codes with which it declines.
pub const DECLINE_CODES: [&str; 11] = [
    "card_velocity_exceeded",
    "do_not_honor",
    "expired_card",
    "fraudulent",
    "generic_decline",
    "incorrect_cvc",
    "incorrect_number",
    "insufficient_funds",
    "lost_card",
    "processing_error",
    "stolen_card",
];

pub use cards::{Behaviour, LaterCalls, OperationFault, TEST_CARDS, TestCard};
pub use issuer::{Latency, Options, SimulatedIssuer};
pub use ledger::Ledger;
pub use test_tokens::TestTokens;
