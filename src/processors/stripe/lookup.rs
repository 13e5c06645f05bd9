//! What Stripe says, asked with our own key, about what an event was about.

use serde_json::Value;

use super::intent::decline_code;
use super::webhook::attempt_of;
use super::{Known, NoObject, Stripe, Unclear, amount};
use crate::domain::{DeclineCode, OperationId, PaymentId, Timestamp};
use crate::processors::AttemptKey;
use crate::processors::notifications::{DisputeThere, Found, RefundState, RefundThere, Subject};

impl Stripe {
    pub(super) async fn find(&self, subject: &Subject) -> Result<Found, Unclear> {
        match subject {
            Subject::Attempt(key) => Ok(Found::Attempt(*key)),
            Subject::Refund(id) => self.find_refund(id).await,
            Subject::Dispute(id) => self.find_dispute(id).await,
            Subject::OtherInstallation | Subject::Unused => Ok(Found::NotOurs),
        }
    }

    async fn find_refund(&self, id: &str) -> Result<Found, Unclear> {
        let Some(refund) = self.object(&format!("refunds/{id}"), id).await? else {
            return Ok(Found::NotOurs);
        };
        let metadata = &refund["metadata"];
        let state = refund_state(&refund).ok_or(Unclear::Unknown)?;
        if let Some(installation) = metadata["installation"].as_str() {
            if installation != self.installation().await? {
                return Ok(Found::NotOurs);
            }
            let ours = ours(metadata);
            return Ok(
                ours.map_or(Found::NotOurs, |(payment, refund)| Found::OurRefund {
                    payment,
                    refund,
                    state,
                }),
            );
        }
        let Some(authorization) = self.attempt_of_intent(&refund["payment_intent"]).await? else {
            return Ok(Found::NotOurs);
        };
        let number = refund["amount"].as_i64().ok_or(Unclear::Unknown)?;
        let currency = refund["currency"].as_str().ok_or(Unclear::Unknown)?;
        let Some(amount) = amount::meant(number, currency) else {
            tracing::error!(
                payment.id = authorization.payment.0,
                refund = id,
                "a refund made at Stripe has an amount that cannot be expressed here"
            );
            return Ok(Found::NotOurs);
        };
        Ok(Found::RefundThere(RefundThere {
            reference: id.to_owned(),
            authorization,
            amount,
            made_at: made_at(&refund).ok_or(Unclear::Unknown)?,
            state,
        }))
    }

    async fn find_dispute(&self, id: &str) -> Result<Found, Unclear> {
        let Some(dispute) = self.object(&format!("disputes/{id}"), id).await? else {
            return Ok(Found::NotOurs);
        };
        let Some(authorization) = self.attempt_of_intent(&dispute["payment_intent"]).await? else {
            return Ok(Found::NotOurs);
        };
        let ended = match dispute["status"].as_str() {
            Some(status @ ("won" | "lost" | "warning_closed")) => {
                Some(DeclineCode::new(status.to_owned()))
            }
            Some(_) => None,
            None => return Err(Unclear::Unknown),
        };
        let reason = serde_json::json!({ "code": dispute["reason"] });
        Ok(Found::Dispute(DisputeThere {
            reference: id.to_owned(),
            authorization,
            reason: decline_code(&reason),
            ended,
        }))
    }

    /// Reads an object; none if this account has no such object.
    async fn object(&self, path: &str, id: &str) -> Result<Option<Value>, Unclear> {
        match self.api.get(path).await {
            Ok(object) if object["id"] == id => Ok(Some(object)),
            Ok(_) => Err(Unclear::Unknown),
            Err(NoObject::Refused(error)) if error["code"] == "resource_missing" => Ok(None),
            Err(other) => Err(other.into()),
        }
    }

    /// The attempt of an intent, if it is one of ours: its metadata says so, and its id is stored under the attempt's key.
    async fn attempt_of_intent(&self, intent: &Value) -> Result<Option<AttemptKey>, Unclear> {
        let Some(id) = intent.as_str().or_else(|| intent["id"].as_str()) else {
            return Ok(None);
        };
        let Some(intent) = self.object(&format!("payment_intents/{id}"), id).await? else {
            return Ok(None);
        };
        let metadata = &intent["metadata"];
        let Some(key) = attempt_of(metadata) else {
            return Ok(None);
        };
        if metadata["installation"] != *self.installation().await? {
            return Ok(None);
        }
        let known = self.references.known(&key.to_string()).await?;
        Ok((known == Known::As(id.to_owned())).then_some(key))
    }
}

/// The payment and refund that are named in the metadata of a refund of ours.
fn ours(metadata: &Value) -> Option<(PaymentId, OperationId)> {
    let text = |name: &str| metadata[name].as_str();
    let payment = PaymentId(text("payment_id")?.parse().ok()?);
    let refund = OperationId(text("refund_id")?.parse().ok()?);
    Some((payment, refund))
}

fn made_at(refund: &Value) -> Option<Timestamp> {
    Timestamp::from_unix_timestamp(refund["created"].as_i64()?).ok()
}

fn refund_state(refund: &Value) -> Option<RefundState> {
    Some(match refund["status"].as_str()? {
        "succeeded" => RefundState::Succeeded,
        "pending" | "requires_action" => RefundState::Pending,
        "failed" | "canceled" => {
            let reason = serde_json::json!({ "code": refund["failure_reason"] });
            RefundState::Failed(decline_code(&reason))
        }
        _ => return None,
    })
}
