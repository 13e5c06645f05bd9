//! What only a person can find out: payments and operations at a processor of `PROCESSORS_FILE` whose result will not become
//! known any more by repeating a call or asking about it, and those that are decided differently there, by an event of the
//! platform.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::domain::{OperationKind, PaymentId, Timestamp, rfc3339};
use crate::payments::reconcile::Difference;
use crate::processors::Processor;
use crate::processors::named::Processors;
use crate::processors::references::{Known, References};
use crate::store::{Store, StoreError, Undecided, WaitingEvent};

/// A payment, or an operation on it, that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What it is about.
    pub about: Undecided,
    /// Why it needs a person.
    pub why: Why,
    /// What differs, if that is why.
    pub difference: Option<Difference>,
}

/// Why something needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `PROCESSORS_FILE` does not list the processor.
    ProcessorMissing,
    /// The platform was asked for so long that its answer would mean nothing, or it has another amount or currency.
    NotFoundOut,
    /// The platform has sent an event, and says something else than we do about what is decided here.
    Differs,
}

impl Why {
    /// In snake case: `not_found_out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProcessorMissing => "processor_missing",
            Self::NotFoundOut => "not_found_out",
            Self::Differs => "differs",
        }
    }

    /// What to do.
    pub fn what_to_do(self) -> &'static str {
        match self {
            Self::ProcessorMissing => {
                "list the processor in PROCESSORS_FILE again, and restart the processes"
            }
            Self::NotFoundOut | Self::Differs => {
                "look at the payment at the platform: docs/runbook.md, Needs a person"
            }
        }
    }
}

impl Case {
    /// `payment`, `capture`, `void` or `refund`.
    pub fn what(&self) -> &'static str {
        let kind = self.about.operation.map(|(_, kind)| kind.as_str());
        kind.unwrap_or("payment")
    }

    /// In a few words: `payment 5: refund at stripe since … (not_found_out)`.
    pub fn in_words(&self) -> String {
        let about = &self.about;
        let why = match &self.difference {
            Some(difference) => format!("{}: {}", self.why.as_str(), difference.in_words()),
            None => self.why.as_str().to_owned(),
        };
        format!(
            "payment {}: {} at {} since {} ({why})",
            about.payment,
            self.what(),
            about.processor,
            rfc3339(about.since),
        )
    }

    /// What to do.
    pub fn what_to_do(&self) -> &'static str {
        let difference = self.difference.as_ref();
        difference.map_or(self.why.what_to_do(), |it| it.kind.what_to_do())
    }

    fn is_about_the_same(&self, other: &Self) -> bool {
        let ours = (self.about.payment, &self.about.processor, &self.difference);
        ours == (
            other.about.payment,
            &other.about.processor,
            &other.difference,
        )
    }

    /// As `payments list --needs-person --json` prints it.
    pub fn to_json(&self) -> Value {
        json!({
            "what": self.what(),
            "refund_id": self.about.operation.map(|(id, _)| id.to_string()),
            "processor": self.about.processor,
            "since": rfc3339(self.about.since),
            "why": self.why.as_str(),
            "difference": self.difference,
            "what_to_do": self.what_to_do(),
        })
    }
}

/// Everything that needs a person, the oldest payments first; a few thousand at most.
pub async fn find(database: &Store, processors: &Processors) -> Result<Vec<Case>, StoreError> {
    let now = database.now().await?;
    let mut undecided = database.undecided_attempts().await?;
    undecided.extend(database.undecided_operations().await?);
    let mut cases = Vec::new();
    for about in undecided {
        let Some(why) = why(&about, processors, now) else {
            continue;
        };
        if why == Why::ProcessorMissing || !has_trace(database, &about).await? {
            cases.push(Case {
                about,
                why,
                difference: None,
            });
        }
    }
    let different = database.different_platform_events().await?;
    for case in different.iter().filter_map(different_case) {
        // Several events may be about the same.
        if !cases.iter().any(|it| it.is_about_the_same(&case)) {
            cases.push(case);
        }
    }
    cases.sort_by_key(|case| (case.about.payment, case.about.since));
    Ok(cases)
}

/// Takes the differences of a payment off the list: a person has dealt with them. Returns what they were.
pub async fn dismiss(database: &Store, payment: PaymentId) -> Result<Vec<Case>, StoreError> {
    let mut dismissed = Vec::new();
    for event in database.different_platform_events().await? {
        let Some(case) = different_case(&event).filter(|it| it.about.payment == payment) else {
            continue;
        };
        if database.dismiss_platform_event(&event).await? {
            dismissed.push(case);
        }
    }
    Ok(dismissed)
}

/// None if it cannot be read, or names no payment.
fn different_case(event: &WaitingEvent) -> Option<Case> {
    let difference: Difference = serde_json::from_str(event.difference.as_deref()?).ok()?;
    let about = Undecided {
        payment: difference.payment?,
        operation: None,
        processor: event.processor.clone(),
        since: event.received_at,
    };
    Some(Case {
        about,
        why: Why::Differs,
        difference: Some(difference),
    })
}

/// The same by payment.
pub async fn by_payment(
    database: &Store,
    processors: &Processors,
) -> Result<HashMap<PaymentId, Vec<Case>>, StoreError> {
    let mut by_payment: HashMap<PaymentId, Vec<Case>> = HashMap::new();
    for case in find(database, processors).await? {
        by_payment.entry(case.about.payment).or_default().push(case);
    }
    Ok(by_payment)
}

fn why(about: &Undecided, processors: &Processors, now: Timestamp) -> Option<Why> {
    let Some(platform) = processors.named(&about.processor) else {
        return Some(Why::ProcessorMissing);
    };
    let within = Processor::finds_out_within(platform.as_ref())?;
    (now - about.since > within).then_some(Why::NotFoundOut)
}

/// Whether it is a refund that the platform has accepted: banks take days, and its state can be asked for at any time.
async fn has_trace(database: &Store, about: &Undecided) -> Result<bool, StoreError> {
    let Some((id, OperationKind::Refund)) = about.operation else {
        return Ok(false);
    };
    let references = References::new(database.clone(), &about.processor);
    let known = references.known(&id.0.to_string()).await?;
    Ok(matches!(known, Known::As(_)))
}
