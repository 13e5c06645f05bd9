//! Disputes: what PayPal says of one, asked with our own key.

use serde_json::Value;

use super::operations::charge_key;
use super::order::{code, is_id};
use super::webhook::attempt;
use super::{PayPal, Unclear};
use crate::domain::{CaptureMethod, DeclineCode};
use crate::processors::AttemptKey;
use crate::processors::notifications::{DisputeThere, Found, Subject};
use crate::processors::references::Known;

impl PayPal {
    pub(super) async fn find_dispute(&self, id: &str) -> Result<Found, Unclear> {
        let dispute = self.api.dispute(id).await?;
        if dispute["dispute_id"] != id {
            return Err(Unclear::Unknown);
        }
        let transactions = dispute["disputed_transactions"].as_array();
        for transaction in transactions.ok_or(Unclear::Unknown)? {
            let capture = transaction["seller_transaction_id"].as_str();
            let Some(capture) = capture.filter(|id| is_id(id)) else {
                continue;
            };
            if let Some(authorization) = self.attempt_of_capture(capture).await? {
                return Ok(Found::Dispute(DisputeThere {
                    reference: id.to_owned(),
                    authorization,
                    reason: code(dispute["reason"].as_str()),
                    ended: ended(&dispute)?,
                }));
            }
        }
        Ok(Found::NotOurs)
    }

    /// The attempt of a capture, if it is one of ours: its custom id says so, and its id is stored under the attempt's key.
    async fn attempt_of_capture(&self, id: &str) -> Result<Option<AttemptKey>, Unclear> {
        let capture = self
            .api
            .record(&format!("/v2/payments/captures/{id}"))
            .await;
        let capture = capture.map_err(|(no_object, _)| no_object)?;
        let Some(Subject::Attempt(key)) = attempt(&capture, self.installation().await?) else {
            return Ok(None);
        };
        let known = charge_key(key, CaptureMethod::Automatic);
        match self.references.known(&known).await? {
            Known::As(known) => Ok((known == id).then_some(key)),
            // It is captured, and that is not recorded yet.
            Known::Closed | Known::Nothing => Err(Unclear::Unknown),
        }
    }
}

/// How a dispute has ended, in the words of this service if it has one; none while it is open.
fn ended(dispute: &Value) -> Result<Option<DeclineCode>, Unclear> {
    match dispute["status"].as_str().ok_or(Unclear::Unknown)? {
        "RESOLVED" => {}
        _ => return Ok(None),
    }
    let outcome = dispute["dispute_outcome"]["outcome_code"].as_str();
    Ok(Some(match outcome {
        Some("RESOLVED_SELLER_FAVOUR") => DeclineCode::from_static("won"),
        Some("RESOLVED_BUYER_FAVOUR") => DeclineCode::from_static("lost"),
        None | Some("NONE") => DeclineCode::from_static("resolved"),
        other => code(other),
    }))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_dispute_ends_once_it_is_resolved() {
        let of = |status: &str, outcome: &str| {
            let dispute = json!({"status": status, "dispute_outcome": {"outcome_code": outcome}});
            ended(&dispute).ok().unwrap().map(|it| it.to_string())
        };
        for open in [
            "OPEN",
            "WAITING_FOR_SELLER_RESPONSE",
            "UNDER_REVIEW",
            "OTHER",
        ] {
            assert_eq!(of(open, "NONE"), None, "{open}");
        }
        for (outcome, expected) in [
            ("RESOLVED_SELLER_FAVOUR", "won"),
            ("RESOLVED_BUYER_FAVOUR", "lost"),
            ("CANCELED_BY_BUYER", "canceled_by_buyer"),
            ("NONE", "resolved"),
        ] {
            assert_eq!(of("RESOLVED", outcome).as_deref(), Some(expected));
        }
        assert!(ended(&json!({})).is_err());
        assert_eq!(
            ended(&json!({"status": "RESOLVED"}))
                .ok()
                .flatten()
                .unwrap()
                .as_str(),
            "resolved"
        );
    }
}
