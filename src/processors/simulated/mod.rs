//! The simulated issuer: known test cards, faults on demand, and a ledger that shows what was charged.

pub mod cards;
pub mod decision;
pub mod issuer;
pub mod ledger;
pub mod test_tokens;

pub use cards::{Behaviour, LaterCalls, OperationFault, TEST_CARDS, TestCard};
pub use issuer::{Latency, Options, SimulatedIssuer};
pub use ledger::Ledger;
pub use test_tokens::TestTokens;
