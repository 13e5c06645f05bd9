//! Captures, voids and refunds at Stripe.
//!
//! A capture or void shows in the intent, which is what is asked about. A refund is an object of its own, whose id is stored.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::NoObject;
use super::books::next;
use super::intent::{Intent, Status, decline_code};
use super::{Stripe, Unclear, amount};
use crate::domain::{DeclineCode, OperationAnswer, OperationKind};
use crate::processors::OperationCall;
use crate::processors::books::Pages;
use crate::processors::references::Known;

/// When a refund that Stripe has only accepted is asked about.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// How long Stripe keeps an idempotency key. Afterwards a repeated request is a new one.
pub(super) const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// This only bounds a loop: nobody returns an amount in so many parts.
const MOST_PAGES: u64 = 50;

/// Where a refund carries our id.
const REFUND_ID: &str = "metadata[refund_id]";

/// Somebody has canceled the authorization.
const AUTHORIZATION_GONE: DeclineCode = DeclineCode::from_static("authorization_gone");

const DONE: OperationAnswer = OperationAnswer::Done {
    confirm_after: None,
};

impl Stripe {
    pub(super) async fn capture_held(
        &self,
        call: &OperationCall,
    ) -> Result<OperationAnswer, Unclear> {
        let intent = self.intent_of(call).await?;
        let amount = amount::counted(call.amount).map_err(|_| Unclear::Unknown)?;
        if let Some(answer) = captured(&intent, amount) {
            return Ok(answer);
        }
        let path = format!("payment_intents/{}/capture", intent.id);
        let text = amount.to_string();
        let fields = [("amount_to_capture", text.as_str())];
        let refusal = match self.api.change(&path, &fields).await {
            Ok(object) => {
                let now = Intent::read(&object).filter(|now| now.id == intent.id);
                let answer = now.and_then(|now| captured(&now, amount));
                if let Some(OperationAnswer::Done { .. }) = answer {
                    return Ok(DONE);
                }
                None
            }
            Err(NoObject::Refused(error)) => Some(refused(&error)),
            Err(other) => return Err(other.into()),
        };
        // Only the intent itself can say that nothing was captured.
        let now = self.read(&intent.id).await;
        let now = now.map_err(Unclear::after_a_call)?;
        match (captured(&now, amount), now.status) {
            (Some(answer), _) => Ok(answer),
            // It can still be captured, and Stripe says why not.
            (None, Status::RequiresCapture) => refusal.ok_or(Unclear::Unknown),
            (None, _) => Err(Unclear::Unknown),
        }
    }

    pub(super) async fn void_held(&self, call: &OperationCall) -> Result<OperationAnswer, Unclear> {
        let intent = self.intent_of(call).await?;
        if let Some(answer) = voided(&intent) {
            return Ok(answer);
        }
        let intent = self.canceled(&intent.id).await?;
        voided(&intent).ok_or(Unclear::Unknown)
    }

    pub(super) async fn refund_captured(
        &self,
        call: &OperationCall,
    ) -> Result<OperationAnswer, Unclear> {
        let key = call.key.0.to_string();
        if let Known::As(refund) = self.references.known(&key).await? {
            return self.refund_as_it_stands(&refund).await;
        }
        let intent = self.intent_id(call).await?;
        if !self.keys.is_kept(call, KEY_LIFE).await? {
            return self.refund_in_list(&intent, &key, None).await;
        }
        let amount = amount::counted(call.amount).map_err(|_| Unclear::Unknown)?;
        let (amount, payment) = (amount.to_string(), call.authorization.payment.to_string());
        let fields = [
            ("payment_intent", intent.as_str()),
            ("amount", &amount),
            ("metadata[installation]", self.installation().await?),
            ("metadata[payment_id]", &payment),
            (REFUND_ID, &key),
        ];
        let once = self.keys.unique(&key).await?;
        let refusal = match self.api.create("refunds", &fields, &once).await {
            Ok(refund) if is_this(&refund, &key, &amount) && stands(&refund) => {
                return self.kept(&key, &refund).await;
            }
            // About something else, or not carried out.
            Ok(_) => None,
            // It counts only if there is no such refund.
            Err(NoObject::Refused(error)) => Some(refused(&error)),
            // It may have been created all the same, and a stored 500 would be repeated.
            Err(NoObject::Unknown(_)) => None,
            Err(other) => return Err(other.into()),
        };
        let found = self.refund_in_list(&intent, &key, refusal).await;
        found.map_err(Unclear::after_a_call)
    }

    async fn kept(&self, key: &str, refund: &Value) -> Result<OperationAnswer, Unclear> {
        let id = refund["id"].as_str().ok_or(Unclear::Unknown)?;
        match self.references.keep(key, id).await? {
            Known::As(known) if known == id => refunded(refund),
            known => {
                tracing::error!(
                    key,
                    id,
                    ?known,
                    "Stripe has two refunds under one key: the refund waits until somebody finds out why"
                );
                Err(Unclear::Unknown)
            }
        }
    }

    /// The refunds of an intent: all of them, because one that is missing here may be made again.
    pub(super) async fn refunds_of(&self, intent: &str) -> Result<Vec<Value>, Unclear> {
        let mut all: Vec<Value> = Vec::new();
        let mut pages = Pages::default();
        loop {
            let after = pages.after();
            let after = after.map_or_else(String::new, |id| format!("&starting_after={id}"));
            let path = format!("refunds?payment_intent={intent}&limit=100{after}");
            let mut list = self.api.get(&path).await?;
            let turned = next(&list).and_then(|next| pages.turn(next, MOST_PAGES));
            let Value::Array(refunds) = list["data"].take() else {
                return Err(Unclear::Unknown);
            };
            all.extend(refunds);
            if !turned.map_err(|_| Unclear::Unknown)? {
                all.retain(|refund| refund["payment_intent"] == intent);
                return Ok(all);
            }
        }
    }

    /// Finds a refund by our id among those of its intent. If it is not there, the call was refused; without a refusal it may
    /// still be on its way.
    async fn refund_in_list(
        &self,
        intent: &str,
        key: &str,
        refused: Option<OperationAnswer>,
    ) -> Result<OperationAnswer, Unclear> {
        let refunds = self.refunds_of(intent).await?;
        let is_ours = |refund: &&Value| refund["metadata"]["refund_id"] == key;
        let found = refunds.iter().filter(is_ours);
        // What was carried out counts, whatever else was tried.
        match found.max_by_key(|refund| stands(refund)) {
            Some(refund) => self.kept(key, refund).await,
            None => refused.ok_or(Unclear::Unknown),
        }
    }

    async fn refund_as_it_stands(&self, id: &str) -> Result<OperationAnswer, Unclear> {
        let refund = self.api.get(&format!("refunds/{id}")).await?;
        match refund["id"] == id {
            true => refunded(&refund),
            false => Err(Unclear::Unknown),
        }
    }

    /// What became of an operation.
    pub(super) async fn find_out(&self, call: &OperationCall) -> Result<OperationAnswer, Unclear> {
        match call.kind {
            OperationKind::Refund => {
                let key = call.key.0.to_string();
                match self.references.known(&key).await? {
                    Known::As(refund) => self.refund_as_it_stands(&refund).await,
                    Known::Closed | Known::Nothing => {
                        let intent = self.intent_id(call).await?;
                        self.refund_in_list(&intent, &key, None).await
                    }
                }
            }
            OperationKind::Capture => {
                let amount = amount::counted(call.amount).map_err(|_| Unclear::Unknown)?;
                let intent = self.intent_of(call).await?;
                captured(&intent, amount).ok_or(Unclear::Unknown)
            }
            OperationKind::Void => voided(&self.intent_of(call).await?).ok_or(Unclear::Unknown),
        }
    }

    /// Repeats the operation until the answer is definite: it is carried out at most once.
    pub(super) async fn repeat(&self, call: &OperationCall) -> Result<OperationAnswer, Unclear> {
        match call.kind {
            OperationKind::Capture => self.capture_held(call).await,
            OperationKind::Void => self.void_held(call).await,
            OperationKind::Refund => self.refund_captured(call).await,
        }
    }

    async fn intent_of(&self, call: &OperationCall) -> Result<Intent, Unclear> {
        let id = self.intent_id(call).await?;
        self.read(&id).await
    }

    async fn intent_id(&self, call: &OperationCall) -> Result<String, Unclear> {
        match self
            .references
            .known(&call.authorization.to_string())
            .await?
        {
            Known::As(id) => self.intent_behind(call.authorization, id).await,
            Known::Closed | Known::Nothing => {
                tracing::error!(
                    payment.id = call.authorization.payment.0,
                    "an authorized payment has no reference of Stripe's"
                );
                Err(Unclear::Unknown)
            }
        }
    }
}

/// Whether a refund is the one that was asked for.
fn is_this(refund: &Value, key: &str, amount: &str) -> bool {
    let is = refund["amount"].as_i64();
    refund["metadata"]["refund_id"] == key && is.is_some_and(|is| is.to_string() == amount)
}

/// Whether a refund is carried out, or will be.
fn stands(refund: &Value) -> bool {
    let status = refund["status"].as_str();
    matches!(status, Some("succeeded" | "pending" | "requires_action"))
}

/// What an intent says of a capture; none if it is not decided.
fn captured(intent: &Intent, amount: i64) -> Option<OperationAnswer> {
    match intent.status {
        Status::Succeeded if intent.received == Some(amount) => Some(DONE),
        Status::Succeeded => {
            // Neither paid as asked nor unpaid.
            tracing::error!(
                intent = intent.id,
                received = ?intent.received,
                wanted = amount,
                "another amount was captured at Stripe: the payment waits until somebody finds out why"
            );
            None
        }
        Status::Canceled => Some(gone()),
        _ => None,
    }
}

/// What an intent says of a void; none if it is not decided.
fn voided(intent: &Intent) -> Option<OperationAnswer> {
    match intent.status {
        Status::Canceled => Some(DONE),
        Status::Succeeded => Some(OperationAnswer::Refused {
            code: DeclineCode::from_static("captured_at_processor"),
            authorization_gone: false,
        }),
        _ => None,
    }
}

fn gone() -> OperationAnswer {
    OperationAnswer::Refused {
        code: AUTHORIZATION_GONE,
        authorization_gone: true,
    }
}

fn refused(error: &Value) -> OperationAnswer {
    OperationAnswer::Refused {
        code: decline_code(error),
        authorization_gone: false,
    }
}

/// What a refund's `status` means.
fn refunded(refund: &Value) -> Result<OperationAnswer, Unclear> {
    match refund["status"].as_str() {
        // A bank can return it weeks later, which only a webhook tells.
        Some("succeeded") => Ok(DONE),
        Some("pending" | "requires_action") => Ok(OperationAnswer::Accepted {
            ask_after: ASK_AFTER,
        }),
        Some("failed" | "canceled") => Ok(refused(&json!({ "code": refund["failure_reason"] }))),
        _ => Err(Unclear::Unknown),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_of_another_amount_is_neither_done_nor_refused() {
        let intent = |received| {
            Intent::read(&json!({
                "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 2000, "currency": "cad",
                "amount_received": received,
            }))
            .unwrap()
        };
        assert_eq!(captured(&intent(json!(1500)), 1500), Some(DONE));
        assert_eq!(captured(&intent(json!(2000)), 1500), None);
        assert_eq!(captured(&intent(Value::Null), 1500), None);
    }
}
