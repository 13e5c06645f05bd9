//! Whether what we say of an attempt is what the platform says.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Value, json};

use super::Refunds;
use crate::domain::{Currency, OperationStatus, PaymentId, Timestamp, rfc3339};
use crate::processors::AttemptKey;
use crate::processors::books::{RefundState, TheirCharge, TheirRefund};
use crate::store::rows::StoredOperation;

/// The most characters that are kept of what a platform says.
const LONGEST_REASON: usize = 500;

/// What we say of an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Standing {
    /// There is no such payment here.
    Unknown,
    /// It is not decided yet.
    UnderWay,
    /// It has not been decided since then, and will not be.
    Stuck(Timestamp),
    /// This amount was captured.
    Charged(i64),
    /// This amount is held.
    Held(i64),
    /// Nothing was charged, with the reason.
    Nothing(&'static str),
}

/// One attempt here and there.
pub(super) struct Compared<'a> {
    pub key: AttemptKey,
    /// Ours, if the payment is known.
    pub currency: Option<Currency>,
    pub standing: Standing,
    pub theirs: Option<&'a TheirCharge>,
    /// The platform's charge is another one than that of the attempt which it names.
    pub is_another: bool,
    pub refunds: &'a Refunds,
    pub now: Timestamp,
    /// After how long a result will not be found out any more.
    pub patience: Option<Duration>,
    /// What changed less long ago is still under way.
    pub settle: Duration,
}

/// The result of a comparison.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    Agrees,
    UnderWay,
    Differs(Vec<Difference>),
}

/// What differs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Kind {
    /// Charged there, and not paid here.
    ChargedOnlyThere,
    /// Charged there a second time, under another reference than ours.
    ChargedTwice,
    /// Held there, and neither authorized nor paid here.
    HeldOnlyThere,
    /// Paid or authorized here, and not there.
    PaidOnlyHere,
    /// Another amount.
    Amount,
    /// Another currency.
    Currency,
    /// A refund that we do not know.
    RefundOnlyThere,
    /// One of our refunds that the platform has executed more than once.
    RefundedTwice,
    /// A refund that the platform does not know.
    RefundOnlyHere,
    /// A refund of another amount.
    RefundAmount,
    /// A refund that is decided differently.
    RefundState,
    /// We do not know the result, and will not find it out.
    Unresolved,
    /// It cannot be expressed here, or does not say which payment it belongs to.
    Unreadable,
}

/// A difference.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Difference {
    /// What differs.
    pub kind: Kind,
    /// Our payment, if it is about one.
    #[serde(rename = "payment_id")]
    pub payment: Option<PaymentId>,
    /// The platform's reference, if it has one.
    pub reference: Option<String>,
    /// What we say.
    pub ours: String,
    /// What the platform says.
    pub theirs: String,
}

impl Kind {
    /// In snake case: `charged_only_there`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ChargedOnlyThere => "charged_only_there",
            Self::ChargedTwice => "charged_twice",
            Self::HeldOnlyThere => "held_only_there",
            Self::PaidOnlyHere => "paid_only_here",
            Self::Amount => "amount",
            Self::Currency => "currency",
            Self::RefundOnlyThere => "refund_only_there",
            Self::RefundedTwice => "refunded_twice",
            Self::RefundOnlyHere => "refund_only_here",
            Self::RefundAmount => "refund_amount",
            Self::RefundState => "refund_state",
            Self::Unresolved => "unresolved",
            Self::Unreadable => "unreadable",
        }
    }

    /// What to do.
    pub fn what_to_do(self) -> &'static str {
        match self {
            Self::ChargedOnlyThere => {
                "read the payment's history; unless the shop has delivered, refund the charge at the platform"
            }
            Self::ChargedTwice => {
                "the shopper has paid twice: refund this charge at the platform, and report the fault"
            }
            Self::HeldOnlyThere => "release the amount at the platform",
            Self::PaidOnlyHere => {
                "deliver nothing for it; look at the platform's log of this reference, and report the fault"
            }
            Self::Amount | Self::Currency => {
                "find out at the platform who changed it, and correct the amount there"
            }
            Self::RefundOnlyThere => {
                "somebody refunded at the platform: book it in the shop; a refund here would fail"
            }
            Self::RefundedTwice => {
                "the shopper has got the money twice: book it in the shop, and report the fault"
            }
            Self::RefundOnlyHere => {
                "the shopper has not got the money: refund it at the platform, and report the fault"
            }
            Self::RefundAmount => "correct the difference at the platform",
            Self::RefundState => {
                "what the platform says counts: tell the shop, and refund again if nothing was returned"
            }
            Self::Unresolved => {
                "look at the payment at the platform: docs/runbook.md, Needs a person"
            }
            Self::Unreadable => "look at this reference at the platform",
        }
    }
}

impl Difference {
    /// In a few words, with what the platform says as it says it: `pi_1: charged_only_there: here not charged (declined), there 25.00 CAD captured`.
    pub fn in_words(&self) -> String {
        let reference = self.reference.as_deref().unwrap_or("-");
        let kind = self.kind.as_str();
        let (ours, theirs) = (&self.ours, &self.theirs);
        format!("{reference}: {kind}: here {ours}, there {theirs}")
    }

    /// With what to do about it.
    pub fn to_json(&self) -> Value {
        let mut json = json!(self);
        json["what_to_do"] = json!(self.kind.what_to_do());
        json
    }

    pub(super) fn unreadable(payment: Option<PaymentId>, reference: String, why: &str) -> Self {
        Self {
            kind: Kind::Unreadable,
            payment,
            reference: Some(reference),
            ours: "-".to_owned(),
            theirs: why.chars().take(LONGEST_REASON).collect(),
        }
    }

    pub(super) fn without_key(theirs: &TheirCharge) -> Self {
        let why = "its metadata names no payment and attempt";
        Self::unreadable(None, theirs.reference.clone(), why)
    }
}

/// An amount with its currency, zero and less included.
fn amount(minor: i64, currency: Currency) -> String {
    let unit = 10_u64.pow(currency.exponent());
    let (sign, minor) = (if minor < 0 { "-" } else { "" }, minor.unsigned_abs());
    let code = currency.code();
    match currency.exponent() as usize {
        0 => format!("{sign}{minor} {code}"),
        width => format!("{sign}{}.{:0width$} {code}", minor / unit, minor % unit),
    }
}

impl Compared<'_> {
    pub(super) fn verdict(&self) -> Verdict {
        if self.standing == Standing::UnderWay {
            return Verdict::UnderWay;
        }
        let Some(theirs) = self.theirs else {
            return match self.standing {
                Standing::Charged(_) | Standing::Held(_) => {
                    self.differs(Kind::PaidOnlyHere, "nothing")
                }
                Standing::Stuck(_) => self.differs(Kind::Unresolved, "nothing"),
                _ => Verdict::Agrees,
            };
        };
        if theirs.is_moving {
            return Verdict::UnderWay;
        }
        let moved = theirs.captured > 0 || theirs.held > 0;
        if moved && self.currency.is_some_and(|ours| ours != theirs.currency) {
            return self.differs(Kind::Currency, &state(theirs));
        }
        match self.standing {
            Standing::Charged(_) | Standing::Held(_) if self.is_another => self.not_charged(theirs),
            Standing::Charged(captured) => self.charged(theirs, captured),
            Standing::Held(held) if theirs.held == held => Verdict::Agrees,
            Standing::Held(_) if moved => self.differs(Kind::Amount, &state(theirs)),
            Standing::Held(_) => self.differs(Kind::PaidOnlyHere, "nothing"),
            Standing::Stuck(_) => self.differs(Kind::Unresolved, &state(theirs)),
            Standing::Nothing(_) | Standing::Unknown => self.not_charged(theirs),
            Standing::UnderWay => Verdict::UnderWay,
        }
    }

    fn differs(&self, kind: Kind, theirs: &str) -> Verdict {
        let reference = self.theirs.map(|theirs| theirs.reference.clone());
        Verdict::Differs(vec![Difference {
            kind,
            payment: Some(self.key.payment),
            reference,
            ours: self.ours(),
            theirs: theirs.to_owned(),
        }])
    }

    fn ours(&self) -> String {
        let amount = |minor| match self.currency {
            Some(currency) => amount(minor, currency),
            None => minor.to_string(),
        };
        match self.standing {
            Standing::Unknown => "no such payment".to_owned(),
            Standing::UnderWay => "processing".to_owned(),
            Standing::Stuck(since) => format!("processing since {}", rfc3339(since)),
            Standing::Charged(captured) => format!("{} captured", amount(captured)),
            Standing::Held(held) => format!("{} held", amount(held)),
            Standing::Nothing(why) => format!("not charged ({why})"),
        }
    }

    /// The attempt is charged here.
    fn charged(&self, theirs: &TheirCharge, captured: i64) -> Verdict {
        if theirs.captured == 0 {
            return self.differs(Kind::PaidOnlyHere, &state(theirs));
        }
        if theirs.captured != captured {
            return self.differs(Kind::Amount, &state(theirs));
        }
        let mut under_way = false;
        let mut differences = Vec::new();
        for ours in &self.refunds.ours {
            let (found, again) = self.theirs_of(ours);
            match self.refund(ours, found) {
                Verdict::Agrees => {}
                Verdict::UnderWay => under_way = true,
                Verdict::Differs(more) => differences.extend(more),
            }
            let twice = |it| self.refund_differs(Kind::RefundedTwice, Some(ours), Some(it));
            differences.extend(again.into_iter().map(twice));
        }
        let known = |it: &TheirRefund| {
            let mut ours = self.refunds.ours.iter();
            it.operation.is_some() && ours.any(|ours| it.operation == Some(ours.operation.id))
        };
        let only_there = self.refunds.theirs.iter().filter(|it| !known(it));
        let only_there = only_there.filter(|it| it.state != RefundState::Failed);
        differences.extend(
            only_there.map(|it| self.refund_differs(Kind::RefundOnlyThere, None, Some(it))),
        );
        match (differences.is_empty(), under_way) {
            (false, _) => Verdict::Differs(differences),
            (true, true) => Verdict::UnderWay,
            (true, false) => Verdict::Agrees,
        }
    }

    /// What the platform has of one of our refunds, and what it has executed beyond that.
    fn theirs_of(&self, ours: &StoredOperation) -> (Option<&TheirRefund>, Vec<&TheirRefund>) {
        let id = Some(ours.operation.id);
        let theirs = self.refunds.theirs.iter().filter(|it| it.operation == id);
        let (failed, executed): (Vec<_>, Vec<_>) =
            theirs.partition(|it| it.state == RefundState::Failed);
        let mut executed = executed.into_iter();
        let found = executed.next().or(failed.first().copied());
        (found, executed.collect())
    }

    /// One of our refunds.
    fn refund(&self, ours: &StoredOperation, theirs: Option<&TheirRefund>) -> Verdict {
        use OperationStatus::{Failed, Pending, Succeeded};
        let operation = &ours.operation;
        let differs = |kind| Verdict::Differs(vec![self.refund_differs(kind, Some(ours), theirs)]);
        let age = self.now - operation.created_at;
        let may_be_found_out = self.patience.is_none_or(|patience| age < patience);
        if self.now - operation.updated_at < self.settle && may_be_found_out {
            return Verdict::UnderWay;
        }
        match (operation.status, theirs.map(|it| it.state)) {
            (Pending, Some(RefundState::Pending)) => Verdict::UnderWay,
            (Pending, _) if may_be_found_out => Verdict::UnderWay,
            (Pending, _) => differs(Kind::RefundState),
            (Succeeded, None) => differs(Kind::RefundOnlyHere),
            (Succeeded | Failed, Some(RefundState::Succeeded))
                if theirs.is_some_and(|it| it.amount != operation.amount.minor()) =>
            {
                differs(Kind::RefundAmount)
            }
            (Succeeded, Some(RefundState::Succeeded)) => Verdict::Agrees,
            (Failed, None | Some(RefundState::Failed)) => Verdict::Agrees,
            (Succeeded | Failed, _) => differs(Kind::RefundState),
        }
    }

    fn refund_differs(
        &self,
        kind: Kind,
        ours: Option<&StoredOperation>,
        theirs: Option<&TheirRefund>,
    ) -> Difference {
        let ours = ours.map(|row| {
            let operation = &row.operation;
            format!(
                "refund of {} {}",
                operation.amount,
                operation.status.as_str()
            )
        });
        let currency = self.theirs.map(|it| it.currency).or(self.currency);
        let said = theirs.zip(currency).map(|(refund, currency)| {
            let state = match refund.state {
                RefundState::Pending => "pending",
                RefundState::Succeeded => "succeeded",
                RefundState::Failed => "failed",
            };
            format!("refund of {} {state}", amount(refund.amount, currency))
        });
        let of_charge = || self.theirs.map(|it| it.reference.clone());
        Difference {
            kind,
            payment: Some(self.key.payment),
            reference: theirs.map(|it| it.reference.clone()).or_else(of_charge),
            ours: ours.unwrap_or_else(|| "no such refund".to_owned()),
            theirs: said.unwrap_or_else(|| "no such refund".to_owned()),
        }
    }

    /// The attempt is not charged here, or not by this charge: whatever was captured must have been returned.
    fn not_charged(&self, theirs: &TheirCharge) -> Verdict {
        if theirs.held > 0 {
            return self.differs(Kind::HeldOnlyThere, &state(theirs));
        }
        let sum = |state| -> i64 {
            let refunds = self.refunds.theirs.iter();
            let refunds = refunds.filter(|it| it.state == state);
            refunds.map(|it| it.amount).sum()
        };
        let rest = theirs.captured - sum(RefundState::Succeeded);
        let kind = match self.standing {
            Standing::Charged(_) => Kind::ChargedTwice,
            _ => Kind::ChargedOnlyThere,
        };
        match rest {
            ..=0 => Verdict::Agrees,
            rest if rest <= sum(RefundState::Pending) => Verdict::UnderWay,
            _ => self.differs(kind, &state(theirs)),
        }
    }
}

/// What was moved.
fn state(theirs: &TheirCharge) -> String {
    let amount = |minor| amount(minor, theirs.currency);
    match (theirs.captured, theirs.held) {
        (0, 0) => "nothing".to_owned(),
        (0, held) => format!("{} held", amount(held)),
        (captured, 0) => format!("{} captured", amount(captured)),
        (captured, held) => format!("{} captured, {} held", amount(captured), amount(held)),
    }
}
