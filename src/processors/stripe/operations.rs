//! Captures, voids and refunds at Stripe.
//!
//! A capture or void shows in the intent, which is what is asked about. A refund is an object of its own, whose id is stored.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::NoObject;
use super::intent::{Intent, Status, decline_code};
use super::{Stripe, Unclear, amount};
use crate::domain::{CloseAnswer, DeclineCode, OperationAnswer, OperationKind};
use crate::processors::OperationCall;
use crate::processors::references::Known;

/// When a refund that Stripe has only accepted is asked about.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// How long Stripe keeps an idempotency key. Afterwards a repeated request is a new one.
pub(super) const KEY_LIFE: Duration = Duration::from_secs(24 * 60 * 60);

/// Where a refund carries our id.
const REFUND_ID: &str = "metadata[refund_id]";

/// Somebody has canceled the authorization.
const AUTHORIZATION_GONE: DeclineCode = DeclineCode::from_static("authorization_gone");

pub(super) fn answer(result: Result<OperationAnswer, Unclear>) -> OperationAnswer {
    match result {
        Ok(answer) => answer,
        Err(Unclear::NotExecuted(reason)) => OperationAnswer::NotExecuted { reason },
        Err(Unclear::Unknown) => OperationAnswer::Unknown,
    }
}

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
        match self.api.change(&path, &fields).await {
            Ok(object) => {
                let intent = Intent::read(&object).ok_or(Unclear::Unknown)?;
                captured(&intent, amount).ok_or(Unclear::Unknown)
            }
            Err(NoObject::Refused(error)) => {
                let now = self.read(&intent.id).await?;
                match (captured(&now, amount), now.status) {
                    (Some(answer), _) => Ok(answer),
                    // It can still be captured, and Stripe says why not.
                    (None, Status::RequiresCapture) => Ok(refused(&error)),
                    (None, _) => Err(Unclear::Unknown),
                }
            }
            Err(other) => Err(other.into()),
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
        if !self.may_repeat(call).await? {
            return self.refund_in_list(&intent, &key).await;
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
        let once = self.unique(&key).await?;
        match self.api.create("refunds", &fields, &once).await {
            Ok(refund) if is_this(&refund, &key, &amount) => self.kept(&key, &refund).await,
            // An answer about something else.
            Ok(_) => self.refund_in_list(&intent, &key).await,
            // It counts only if there is no such refund.
            Err(NoObject::Refused(error)) => match self.look_for_refund(&intent, &key).await? {
                Some(refund) => self.kept(&key, &refund).await,
                None => Ok(refused(&error)),
            },
            // It may have been created all the same, and a stored 500 would be repeated.
            Err(NoObject::Unknown(_)) => self.refund_in_list(&intent, &key).await,
            Err(other) => Err(other.into()),
        }
    }

    async fn kept(&self, key: &str, refund: &Value) -> Result<OperationAnswer, Unclear> {
        let id = refund["id"].as_str().ok_or(Unclear::Unknown)?;
        self.references.keep(key, id).await?;
        refunded(refund)
    }

    /// Whether Stripe still knows the key of an operation, whose id contains the time when it was made.
    async fn may_repeat(&self, call: &OperationCall) -> Result<bool, Unclear> {
        let made = call.key.0.get_timestamp().ok_or(Unclear::Unknown)?;
        let (seconds, _) = made.to_unix();
        let now = self.database.now().await?.unix_timestamp();
        let age = u64::try_from(now).unwrap_or(0).saturating_sub(seconds);
        Ok(age < KEY_LIFE.as_secs() / 2)
    }

    /// The refunds of an intent.
    pub(super) async fn refunds_of(&self, intent: &str) -> Result<Vec<Value>, Unclear> {
        let list = format!("refunds?payment_intent={intent}&limit=100");
        let mut list = self.api.get(&list).await?;
        match list["data"].take() {
            Value::Array(refunds) => Ok(refunds),
            _ => Err(Unclear::Unknown),
        }
    }

    /// Finds a refund by our id among those of its intent. If it is not there, it may still be on its way.
    async fn refund_in_list(&self, intent: &str, key: &str) -> Result<OperationAnswer, Unclear> {
        match self.look_for_refund(intent, key).await? {
            Some(refund) => self.kept(key, &refund).await,
            None => Err(Unclear::Unknown),
        }
    }

    async fn look_for_refund(&self, intent: &str, key: &str) -> Result<Option<Value>, Unclear> {
        let refunds = self.refunds_of(intent).await?;
        let is_ours = |refund: &Value| refund["metadata"]["refund_id"] == key;
        Ok(refunds.into_iter().find(is_ours))
    }

    async fn refund_as_it_stands(&self, id: &str) -> Result<OperationAnswer, Unclear> {
        refunded(&self.api.get(&format!("refunds/{id}")).await?)
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
                        self.refund_in_list(&intent, &key).await
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
    pub(super) async fn close_operation(&self, call: &OperationCall) -> CloseAnswer {
        let repeated = match call.kind {
            OperationKind::Capture => self.capture_held(call).await,
            OperationKind::Void => self.void_held(call).await,
            OperationKind::Refund => self.refund_captured(call).await,
        };
        match repeated {
            Ok(OperationAnswer::Done { .. } | OperationAnswer::Accepted { .. }) => {
                CloseAnswer::Executed
            }
            Ok(OperationAnswer::Refused { .. }) => CloseAnswer::NotExecuted,
            Ok(_) | Err(_) => CloseAnswer::Unknown,
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

/// Whether a refund is the one that was asked for, as far as its fields tell.
fn is_this(refund: &Value, key: &str, amount: &str) -> bool {
    let id = refund["metadata"]["refund_id"].as_str();
    let is = refund["amount"].as_i64();
    id.is_none_or(|id| id == key) && is.is_none_or(|is| id.is_none() || is.to_string() == amount)
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
