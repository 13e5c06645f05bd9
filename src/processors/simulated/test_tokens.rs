//! The reusable test tokens: each stands for the test card with that token.

use super::cards;
use crate::domain::{Card, CardCode, CardNumber, Expiration, Timestamp};

/// Turns test tokens into cards. Configured only where cards are simulated.
#[derive(Debug, Clone, Copy)]
pub struct TestTokens {
    /// The clock: the cards expire at the end of next year.
    pub now: fn() -> Timestamp,
}

impl TestTokens {
    /// The card behind a reusable test token such as `tok_visa`.
    pub fn card(&self, token: &str) -> Option<Card> {
        let listed = cards::by_token(token)?;
        let next_year = (self.now)().year() + 1;
        Some(Card {
            number: CardNumber::parse(listed.number).ok()?,
            code: CardCode::parse("123").ok()?,
            expiration: Expiration::parse(&format!("{next_year:04}-12")).ok()?,
        })
    }
}
