//! The simulated issuer: known test cards, faults on demand, and a ledger that shows what was charged.

pub mod cards;
pub mod decision;
pub mod issuer;
pub mod ledger;
pub mod shopper;
pub mod test_tokens;

/// The codes with which it declines.
pub const DECLINE_CODES: [&str; 14] = [
    "abandoned_by_shopper",
    "authentication_failed",
    "authentication_required",
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

pub use cards::{AfterApproval, Behaviour, LaterCalls, OperationFault, TEST_CARDS, TestCard};
pub use issuer::{Latency, Options, SimulatedIssuer};
pub use ledger::Ledger;
pub use shopper::{Choice, PageState, ShopperPage, Shoppers, Told};
pub use test_tokens::TestTokens;
