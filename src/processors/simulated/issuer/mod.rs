//! The issuer: calls [`decide`], writes its ledger, and answers after some latency, or not at all.

mod operations;

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use sha2::{Digest, Sha256};

use super::cards::{self, Behaviour};
use super::decision::{Decision, decide, depends_on_call};
use super::ledger::{Ledger, Standing};
use super::shopper::{Shoppers, Wanted};
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, Card, CloseAnswer, DeclineCode, Money,
    OperationAnswer, REDIRECT, ReversalAnswer, TOKEN, Timestamp, WALLET,
};
use crate::processors::availability::Availability;
use crate::processors::{
    AttemptKey, Authorization, OpenedMethod, OperationCall, Processor, Unsupported,
};
use crate::store::StoreError;
use crate::store::rows::LedgerLine;

/// Settings of the issuer.
#[derive(Debug, Clone, Copy)]
pub struct Options {
    /// How long an answer takes.
    pub latency: Latency,
    /// The clock, for expiry.
    pub now: fn() -> Timestamp,
}

/// How long an answer takes: 0.5 to 1.5 times the mean, the same for every call with the same key.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Latency {
    /// The mean; zero answers at once.
    pub mean: Duration,
    /// Another seed gives other times.
    pub seed: u64,
}

impl Default for Latency {
    fn default() -> Self {
        Self {
            mean: Duration::from_millis(25),
            seed: 0,
        }
    }
}

/// A processor that runs inside this service only.
#[derive(Debug)]
pub struct SimulatedIssuer {
    options: Options,
    ledger: Option<Ledger>,
    /// Its pages for shoppers; without them it declines what needs one.
    shoppers: Option<Shoppers>,
    /// Attempts whose reversal will still not be answered, and how often. Only in the memory of this process: another
    /// process answers the reversal at once.
    unanswered_reversals: Mutex<HashMap<AttemptKey, u32>>,
    /// Calls of attempts whose card needs the number, without a ledger.
    calls: Mutex<HashMap<AttemptKey, u32>>,
    /// Of one that `PROCESSORS_FILE` lists.
    availability: Option<Availability>,
}

impl SimulatedIssuer {
    /// How the service names it to callers.
    pub const NAME: &'static str = "simulated";

    /// Maximum number of attempts that the process remembers: reversals that are not answered, and calls.
    const MAX_REMEMBERED: usize = 10_000;

    /// Without a ledger the issuer remembers nothing: it confirms every reversal and refuses no charge after one.
    pub fn new(options: Options, ledger: Option<Ledger>) -> Self {
        Self {
            options,
            ledger,
            shoppers: None,
            unanswered_reversals: Mutex::default(),
            calls: Mutex::default(),
            availability: None,
        }
    }

    /// With an availability.
    #[must_use]
    pub fn with_availability(self, availability: Availability) -> Self {
        Self {
            availability: Some(availability),
            ..self
        }
    }

    /// With pages for shoppers.
    #[must_use]
    pub fn with_shoppers(self, shoppers: Shoppers) -> Self {
        Self {
            shoppers: Some(shoppers),
            ..self
        }
    }

    async fn take_time(&self, key: AttemptKey, extra: Duration) {
        let duration = self.options.latency.of(key) + extra;
        if !duration.is_zero() {
            tokio::time::sleep(duration).await;
        }
    }

    /// Writes a charge to the ledger before answering.
    async fn charge(
        &self,
        authorization: &Authorization<'_>,
        card: &Card,
    ) -> Result<Standing, StoreError> {
        let line = LedgerLine {
            held: authorization.capture == CaptureMethod::Manual,
            test_card: cards::faulty_later_token(card.number.expose()),
            ..line(authorization.key, authorization.amount)
        };
        match &self.ledger {
            Some(ledger) => ledger.charge(line).await,
            None => Ok(Standing::Charged),
        }
    }

    async fn answer_after_charge(&self, authorization: &Authorization<'_>, card: &Card) -> Answer {
        match self.charge(authorization, card).await {
            Ok(Standing::Charged) => approved(authorization.key),
            Ok(Standing::Reversed) => declined(DeclineCode::from_static("attempt_reversed")),
            Ok(Standing::Blank) => Answer::Unknown,
            Err(error) => not_recorded(&error),
        }
    }

    /// Asks the shopper, on a page for this card or, without one, on the wallet's.
    async fn need_shopper(&self, authorization: &Authorization<'_>, card: Option<&Card>) -> Answer {
        let Some(shoppers) = &self.shoppers else {
            return declined(DeclineCode::AUTHENTICATION_REQUIRED);
        };
        let listed = card.and_then(|card| cards::by_number(card.number.expose()));
        let wanted = Wanted {
            key: authorization.key,
            amount: authorization.amount,
            held: authorization.capture == CaptureMethod::Manual,
            test_card: listed.map(|card| card.token),
            return_to: authorization.return_to,
        };
        // Nothing is charged by opening a page.
        let opened = shoppers.open(wanted).await;
        opened.unwrap_or(Answer::NotCharged {
            reason: DeclineCode::ISSUER_UNAVAILABLE,
        })
    }

    /// The card's month has ended since it was presented, perhaps since an earlier try charged it.
    async fn answer_expired(&self, key: AttemptKey) -> Answer {
        let standing = match &self.ledger {
            Some(ledger) => ledger.standing(key.to_string()).await,
            None => Ok(Standing::Blank),
        };
        match standing {
            Ok(Standing::Charged) => approved(key),
            Ok(Standing::Blank | Standing::Reversed) => {
                declined(DeclineCode::from_static("expired_card"))
            }
            Err(_) => Answer::Unknown,
        }
    }

    /// The number of this call within its attempt, if the card needs it; otherwise 1. Counted in the ledger, because other
    /// processes make other calls.
    async fn count_call(&self, key: AttemptKey, card: &Card) -> Result<u32, StoreError> {
        if !depends_on_call(card) {
            return Ok(1);
        }
        if let Some(ledger) = &self.ledger {
            return ledger.count_call(key.to_string()).await;
        }
        let mut calls = lock(&self.calls);
        if calls.len() >= Self::MAX_REMEMBERED {
            calls.clear();
        }
        let count = calls.entry(key).or_insert(0);
        *count += 1;
        Ok(*count)
    }

    fn expect_reversal(&self, key: AttemptKey, card: &Card) {
        let listed = cards::by_number(card.number.expose());
        if let Some(Behaviour::LoseReversals(times)) = listed.map(|card| card.behaviour) {
            let mut unanswered = lock(&self.unanswered_reversals);
            if unanswered.len() < Self::MAX_REMEMBERED {
                unanswered.entry(key).or_insert(times);
            }
        }
    }

    fn loses_reversal(&self, key: AttemptKey) -> bool {
        let mut unanswered = lock(&self.unanswered_reversals);
        match unanswered.get_mut(&key) {
            Some(0) => {
                unanswered.remove(&key);
                false
            }
            Some(left) => {
                *left -= 1;
                true
            }
            None => false,
        }
    }
}

#[async_trait]
impl Processor for SimulatedIssuer {
    fn check(&self, method: &str, _: Money) -> Result<(), Unsupported> {
        // It takes any method that is added later: its secret decides.
        if [TOKEN, REDIRECT].contains(&method) {
            return Err(Unsupported::Method {
                method: method.to_owned(),
                taken: &["card", WALLET],
            });
        }
        Ok(())
    }

    fn availability(&self) -> Option<&Availability> {
        self.availability.as_ref()
    }

    async fn authorize(&self, authorization: &Authorization<'_>) -> Answer {
        let key = authorization.key;
        let card = match authorization.method.open() {
            Ok(OpenedMethod::Card(card)) => card,
            Ok(OpenedMethod::Other { name, .. }) if name == WALLET => {
                self.take_time(key, Duration::ZERO).await;
                return self.need_shopper(authorization, None).await;
            }
            Ok(OpenedMethod::Other { .. }) => return declined(DeclineCode::METHOD_NOT_SUPPORTED),
            Err(unreadable) => return unreadable.into(),
        };
        self.expect_reversal(key, &card);
        let call = match self.count_call(key, &card).await {
            Ok(call) => call,
            Err(error) => return not_recorded(&error),
        };
        let decision = decide(&card, (self.options.now)(), call);
        self.take_time(key, decision.extra_delay()).await;
        match decision {
            Decision::Charge { answer_lost, .. } => {
                let answer = self.answer_after_charge(authorization, &card).await;
                if answer_lost { Answer::Unknown } else { answer }
            }
            Decision::Decline(code) => declined(DeclineCode::from_static(code)),
            Decision::NeedsShopper => self.need_shopper(authorization, Some(&card)).await,
            Decision::Expired => self.answer_expired(key).await,
            Decision::Unavailable => Answer::NotCharged {
                reason: DeclineCode::ISSUER_UNAVAILABLE,
            },
            // Never returns: the caller's time-out ends it.
            Decision::Silence => std::future::pending().await,
        }
    }

    async fn reverse(&self, key: AttemptKey, amount: Money) -> ReversalAnswer {
        self.take_time(key, Duration::ZERO).await;
        if self.loses_reversal(key) {
            return ReversalAnswer::Unknown;
        }
        match &self.ledger {
            None => ReversalAnswer::Confirmed,
            Some(ledger) => match ledger.reverse(line(key, amount)).await {
                Ok(Standing::Reversed) => ReversalAnswer::Confirmed,
                Ok(_) | Err(_) => ReversalAnswer::Unknown,
            },
        }
    }

    async fn ask(&self, key: AttemptKey) -> ActionAnswer {
        self.take_time(key, Duration::ZERO).await;
        let Some(shoppers) = &self.shoppers else {
            return ActionAnswer::Unknown;
        };
        let answer = shoppers.answer(key, || authorization_code(key)).await;
        answer.unwrap_or(ActionAnswer::Unknown)
    }

    async fn close_attempt(&self, key: AttemptKey, amount: Money) -> AttemptCloseAnswer {
        self.take_time(key, Duration::ZERO).await;
        // Whoever has a page may still approve when the ledger is on again.
        let Some(ledger) = &self.ledger else {
            return AttemptCloseAnswer::Unknown;
        };
        match ledger.close(line(key, amount)).await {
            Ok(Standing::Charged) => AttemptCloseAnswer::Charged {
                authorization_code: authorization_code(key),
            },
            Ok(Standing::Reversed) => AttemptCloseAnswer::Closed,
            Ok(Standing::Blank) | Err(_) => AttemptCloseAnswer::Unknown,
        }
    }

    async fn capture(&self, call: &OperationCall) -> OperationAnswer {
        self.execute(call).await
    }

    async fn void(&self, call: &OperationCall) -> OperationAnswer {
        self.execute(call).await
    }

    async fn refund(&self, call: &OperationCall) -> OperationAnswer {
        self.execute(call).await
    }

    async fn query(&self, call: &OperationCall) -> OperationAnswer {
        self.look(call).await
    }

    async fn close(&self, call: &OperationCall) -> CloseAnswer {
        self.close_operation(call).await
    }
}

impl Latency {
    /// How long a call with this key takes.
    fn of(self, key: AttemptKey) -> Duration {
        if self.mean.is_zero() {
            return Duration::ZERO;
        }
        let digest = digest("latency", key, &[self.seed]);
        let draw = f64::from(u16::from_be_bytes([digest[0], digest[1]])) / f64::from(u16::MAX);
        self.mean.mul_f64(0.5 + draw)
    }
}

/// Six capitals and digits derived from the key, so that a repeated call returns the same code.
fn authorization_code(key: AttemptKey) -> String {
    const SIGNS: &[u8; 36] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    digest("authorization code", key, &[])
        .iter()
        .take(6)
        .map(|byte| char::from(SIGNS[usize::from(*byte) % SIGNS.len()]))
        .collect()
}

fn digest(purpose: &str, key: AttemptKey, numbers: &[u64]) -> [u8; 32] {
    let mut hash = Sha256::new();
    hash.update(purpose);
    hash.update(key.payment.0.to_be_bytes());
    hash.update(key.attempt.to_be_bytes());
    for number in numbers {
        hash.update(number.to_be_bytes());
    }
    hash.finalize().into()
}

fn line(key: AttemptKey, amount: Money) -> LedgerLine {
    LedgerLine {
        key: key.to_string(),
        payment: key.payment,
        amount,
        held: false,
        test_card: None,
    }
}

fn approved(key: AttemptKey) -> Answer {
    Answer::Approved {
        authorization_code: authorization_code(key),
    }
}

fn declined(code: DeclineCode) -> Answer {
    Answer::Declined { code }
}

/// The answer if the ledger fails. Only a row that the database refused is certainly not in it: a batch that ended with
/// "unavailable" may have been committed by an earlier run.
fn not_recorded(error: &StoreError) -> Answer {
    match error {
        StoreError::Rejected(_) => Answer::NotCharged {
            reason: DeclineCode::ISSUER_UNAVAILABLE,
        },
        _ => Answer::Unknown,
    }
}

fn lock(
    map: &Mutex<HashMap<AttemptKey, u32>>,
) -> std::sync::MutexGuard<'_, HashMap<AttemptKey, u32>> {
    map.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests;
