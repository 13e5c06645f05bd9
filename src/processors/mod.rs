//! The interface to payment processors. The simulated issuer is the only implementation so far; real platforms come next.

pub mod simulated;

use async_trait::async_trait;

use crate::domain::{Answer, Card, Money, PaymentId, ReversalAnswer};

/// One try to charge a card.
#[derive(Debug, Clone)]
pub struct Authorization {
    /// Which attempt of which payment: the idempotency key.
    pub key: AttemptKey,
    /// Which try within the attempt, from 1. For simulation and logs; it must not change whether a charge is made.
    pub try_number: u32,
    /// The amount.
    pub amount: Money,
    /// The card in clear.
    pub card: Card,
}

/// `{payment_id}-{attempt}`: every try of an attempt has the same key, so that a processor charges it at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The payment.
    pub payment: PaymentId,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// A processor. Its caller adds the time-out and treats it as [`Answer::Unknown`]. Calls with one key may run at the same
/// time, from several processes, and reach the platform in any order; docs/adr/adr004-never-charged-twice.md says what
/// must hold even then.
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Charges a card, or returns why not. The same key never charges twice, and never after its reversal was confirmed, not
    /// even by an earlier call. [`Answer::NotCharged`] only if this call provably was not executed; a server error (HTTP
    /// 5xx) and an answer that cannot be read are [`Answer::Unknown`]. A decline need not be remembered.
    async fn authorize(&self, authorization: &Authorization) -> Answer;

    /// Reverses any charge under a key and refuses any later charge under it. Idempotent. Confirmed only when that is
    /// certain for every call under the key, including calls that have not arrived yet.
    async fn reverse(&self, key: AttemptKey, amount: Money) -> ReversalAnswer;

    /// The card behind one of the processor's reusable test tokens (`tok_visa`), if it has such tokens.
    fn test_card(&self, token: &str) -> Option<Card>;
}

impl std::fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.payment, self.attempt)
    }
}
