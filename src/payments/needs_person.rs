//! What only a person can find out: payments and operations at a processor of `PROCESSORS_FILE` whose result will not become
//! known any more by repeating a call or asking about it.

use std::collections::HashMap;

use serde_json::{Value, json};

use crate::domain::{OperationKind, PaymentId, Timestamp, rfc3339};
use crate::processors::Processor;
use crate::processors::named::Processors;
use crate::processors::references::{Known, References};
use crate::store::{Store, StoreError, Undecided};

/// A payment, or an operation on it, that needs a person.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Case {
    /// What is not decided.
    pub about: Undecided,
    /// Why it needs a person.
    pub why: Why,
}

/// Why something needs a person.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Why {
    /// `PROCESSORS_FILE` does not list the processor.
    ProcessorMissing,
    /// The platform was asked for so long that its answer would mean nothing, or it has another amount or currency.
    NotFoundOut,
}

impl Why {
    /// In snake case: `not_found_out`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::ProcessorMissing => "processor_missing",
            Self::NotFoundOut => "not_found_out",
        }
    }

    /// What to do.
    pub fn what_to_do(self) -> &'static str {
        match self {
            Self::ProcessorMissing => {
                "list the processor in PROCESSORS_FILE again, and restart the processes"
            }
            Self::NotFoundOut => {
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
        format!(
            "payment {}: {} at {} since {} ({})",
            about.payment,
            self.what(),
            about.processor,
            rfc3339(about.since),
            self.why.as_str()
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
            "what_to_do": self.why.what_to_do(),
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
            cases.push(Case { about, why });
        }
    }
    cases.sort_by_key(|case| (case.about.payment, case.about.since));
    Ok(cases)
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
