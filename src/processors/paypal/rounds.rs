//! Charging an order, and closing one that PayPal cannot cancel.
//!
//! A round is one call that captures or authorizes an order, under a request id of its own; after a declined one, the shopper
//! can choose another way to pay, and the next round follows. The references decide each round once: it is begun, or it is
//! closed, whichever is first. Only a round that is begun is called, and the next one only after this one was refused. So when
//! the next round is closed and all before it were refused, nothing can be charged any more.
//!
//! A round that was begun may have been called: its call is repeated, under the same request id, until its result is definite.
//! When PayPal may have forgotten the request id, the order is only read.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{self, NoObject};
use super::order::{Asked, CANCELED_THERE, Charge, Order, Status, code};
use super::{PayPal, Unclear};
use crate::domain::{ActionAnswer, AttemptCloseAnswer, DeclineCode};
use crate::processors::AttemptKey;
use crate::processors::references::Known;

/// How long PayPal keeps the request ids of orders. Afterwards a repeated request is a new one.
pub(super) const REQUEST_LIFE: Duration = Duration::from_secs(6 * 60 * 60);

/// PayPal allows fewer, and then refuses for good: this only bounds the loops.
const MOST_ROUNDS: u32 = 30;

/// The shopper can choose another way to pay.
const SHOPPER_CAN_GO_ON: [&str; 4] = [
    "INSTRUMENT_DECLINED",
    "ORDER_NOT_APPROVED",
    "PAYER_ACTION_REQUIRED",
    "REDIRECT_PAYER_FOR_ALTERNATE_FUNDING",
];

/// Nothing was charged in this round, and the next would end in the same way. Whatever is in neither list is unknown.
const FINAL: [&str; 16] = [
    "CARD_EXPIRED",
    "COMPLIANCE_VIOLATION",
    "DECLINED_DUE_TO_RELATED_TXN",
    "DOMESTIC_TRANSACTION_REQUIRED",
    "MAX_NUMBER_OF_PAYMENT_ATTEMPTS_EXCEEDED",
    "ORDER_EXPIRED",
    "PAYEE_ACCOUNT_LOCKED_OR_CLOSED",
    "PAYEE_ACCOUNT_RESTRICTED",
    "PAYEE_BLOCKED_TRANSACTION",
    "PAYER_ACCOUNT_LOCKED_OR_CLOSED",
    "PAYER_ACCOUNT_RESTRICTED",
    "PAYER_CANNOT_PAY",
    "TRANSACTION_BLOCKED_BY_PAYEE",
    "TRANSACTION_LIMIT_EXCEEDED",
    "TRANSACTION_RECEIVING_LIMIT_EXCEEDED",
    "TRANSACTION_REFUSED",
];

/// A round that was begun.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Round {
    number: u32,
    /// When it was begun, in seconds since 1970.
    begun: u64,
}

/// How a round ended.
enum Ended {
    /// What the order says.
    Charge(Charge),
    /// Nothing was charged; the shopper can go on.
    Refused,
    /// Nothing was charged, and nothing will be.
    RefusedForGood(DeclineCode),
}

/// What the references say of the round that is next.
enum Next {
    Begun(Round),
    Closed,
}

fn round_key(key: AttemptKey, number: u32) -> String {
    format!("{key}-capture-{number}")
}

impl Round {
    fn written(self) -> String {
        format!("begun {}", self.begun)
    }

    fn read(number: u32, reference: &str) -> Option<Self> {
        let begun = reference.strip_prefix("begun ")?.parse().ok()?;
        Some(Self { number, begun })
    }
}

impl PayPal {
    /// Charges an approved order: finds out what became of the last round, and begins another if that was refused.
    pub(super) async fn charge(
        &self,
        key: AttemptKey,
        asked: &Asked,
    ) -> Result<ActionAnswer, Unclear> {
        let (last, is_closed) = self.last_round(key).await?;
        let next = last.map_or(1, |round| round.number + 1);
        if let Some(round) = last {
            // Also if the next one is closed: the call that closed it, because this one was refused, may have been cut off
            // before the refusal was recorded.
            match self.run(key, asked, round).await? {
                Ended::Refused => {}
                ended => return self.answer(key, asked, (round, ended)).await,
            }
        }
        if is_closed {
            return Err(Unclear::closed());
        }
        if next > MOST_ROUNDS {
            return Ok(ActionAnswer::Waiting);
        }
        let Next::Begun(round) = self.begin(key, next).await? else {
            return Err(Unclear::closed());
        };
        let ended = self.run(key, asked, round).await?;
        self.answer(key, asked, (round, ended)).await
    }

    async fn answer(
        &self,
        key: AttemptKey,
        asked: &Asked,
        (round, ended): (Round, Ended),
    ) -> Result<ActionAnswer, Unclear> {
        match ended {
            Ended::Charge(charge) => self.charged(key, asked, charge).await,
            Ended::Refused => Ok(ActionAnswer::Waiting),
            Ended::RefusedForGood(code) => {
                // Another call may have had another answer.
                match self.close_round(key, round.number + 1).await? {
                    Next::Closed => Ok(ActionAnswer::Declined { code }),
                    Next::Begun(_) => Err(Unclear::Unknown),
                }
            }
        }
    }

    /// The last round that was begun, and whether the one after it is closed.
    async fn last_round(&self, key: AttemptKey) -> Result<(Option<Round>, bool), Unclear> {
        let mut last = None;
        for number in 1..=MOST_ROUNDS {
            match self.references.known(&round_key(key, number)).await? {
                Known::As(reference) => last = Some(begun(number, &reference)?),
                Known::Closed => return Ok((last, true)),
                Known::Nothing => break,
            }
        }
        Ok((last, false))
    }

    async fn begin(&self, key: AttemptKey, number: u32) -> Result<Next, Unclear> {
        let begun = self.keys.seconds().await?;
        let reference = Round { number, begun }.written();
        let key = round_key(key, number);
        next(number, self.references.keep(&key, &reference).await?)
    }

    async fn close_round(&self, key: AttemptKey, number: u32) -> Result<Next, Unclear> {
        let key = round_key(key, number);
        next(number, self.references.close(&key).await?)
    }

    /// Calls a round that was begun, or calls it again.
    async fn run(&self, key: AttemptKey, asked: &Asked, round: Round) -> Result<Ended, Unclear> {
        let age = self.keys.seconds().await?.saturating_sub(round.begun);
        if age >= REQUEST_LIFE.as_secs() / 2 {
            return self.look(asked, None).await;
        }
        let path = format!("/v2/checkout/orders/{}/{}", asked.order, asked.verb());
        let once = self.keys.unique(&round_key(key, round.number)).await?;
        match self.api.post(&path, &once, &json!({})).await {
            Ok(object) => {
                let order = Order::read(&object).filter(|order| order.id == asked.order);
                match order.and_then(|order| order.charge(asked)) {
                    Some(Charge::Made(id)) => Ok(Ended::Charge(Charge::Made(id))),
                    declined @ Some(Charge::Declined(_)) => {
                        self.look(asked, declined.map(Ended::Charge)).await
                    }
                    // A stored answer may be older than what the order says.
                    Some(Charge::Pending | Charge::OtherAmount) | None => {
                        self.look(asked, None).await
                    }
                }
            }
            Err(NoObject::Refused(error)) => self.look(asked, refusal(key, &error)).await,
            Err(NoObject::Unknown(_)) => self.look(asked, None).await,
            Err(other) => Err(other.into()),
        }
    }

    /// What the order says. If it says nothing, the call was refused; without a refusal it may still be on its way. A refusal
    /// alone is not believed: a call before it may have been executed, and its answer lost.
    async fn look(&self, asked: &Asked, refused: Option<Ended>) -> Result<Ended, Unclear> {
        let order = self.read(asked).await.map_err(Unclear::after_a_call)?;
        if let Some(charge) = order.charge(asked) {
            return Ok(Ended::Charge(charge));
        }
        match order.status {
            Status::Voided => Ok(Ended::RefusedForGood(CANCELED_THERE)),
            // It was charged, or not, and does not say which.
            Status::Completed => Err(Unclear::Unknown),
            Status::Waiting | Status::Approved => refused.ok_or(Unclear::Unknown),
        }
    }

    /// Closes an attempt, or finds it charged.
    pub(super) async fn close_or_find_charged(
        &self,
        key: AttemptKey,
    ) -> Result<AttemptCloseAnswer, Unclear> {
        let asked = match self.references.close(&key.to_string()).await? {
            Known::As(reference) => Asked::read(&reference).ok_or(Unclear::Unknown)?,
            // There is no order that anybody would charge.
            Known::Closed | Known::Nothing => return Ok(AttemptCloseAnswer::Closed),
        };
        for number in 1..=MOST_ROUNDS {
            let Next::Begun(round) = self.close_round(key, number).await? else {
                break;
            };
            match self.run(key, &asked, round).await? {
                Ended::Refused | Ended::RefusedForGood(_) | Ended::Charge(Charge::Declined(_)) => {}
                Ended::Charge(charge) => return self.closed(key, &asked, charge).await,
            }
        }
        Ok(AttemptCloseAnswer::Closed)
    }

    async fn closed(
        &self,
        key: AttemptKey,
        asked: &Asked,
        charge: Charge,
    ) -> Result<AttemptCloseAnswer, Unclear> {
        match self.charged(key, asked, charge).await? {
            ActionAnswer::Approved { authorization_code } => {
                Ok(AttemptCloseAnswer::Charged { authorization_code })
            }
            _ => Err(Unclear::Unknown),
        }
    }
}

fn next(number: u32, known: Known) -> Result<Next, Unclear> {
    match known {
        Known::As(reference) => begun(number, &reference).map(Next::Begun),
        Known::Closed => Ok(Next::Closed),
        Known::Nothing => Err(Unclear::Unknown),
    }
}

/// What a refused round means if the order does not show that it was charged; none if the refusal is not a known one.
fn refusal(key: AttemptKey, error: &Value) -> Option<Ended> {
    let issue = api::issue(error).unwrap_or_default();
    tracing::info!(
        payment.id = key.payment.0,
        issue,
        "PayPal refused to charge an order"
    );
    if SHOPPER_CAN_GO_ON.contains(&issue) {
        return Some(Ended::Refused);
    }
    let is_final = FINAL.contains(&issue);
    is_final.then(|| Ended::RefusedForGood(code(Some(issue))))
}

fn begun(number: u32, reference: &str) -> Result<Round, Unclear> {
    Round::read(number, reference).ok_or(Unclear::Unknown)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_round_is_read_as_it_was_written() {
        let round = Round {
            number: 3,
            begun: 1_795_000_000,
        };
        assert_eq!(Round::read(3, &round.written()), Some(round));
        for odd in ["", "begun", "begun x", "5O1 capture 1.00 CAD"] {
            assert_eq!(Round::read(1, odd), None, "{odd}");
        }
    }
}
