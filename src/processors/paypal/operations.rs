//! Captures, voids and refunds at PayPal.
//!
//! A capture or a refund is an object with our operation's id as its invoice number. Its id is stored. If the answer was lost,
//! it is found among the payments of its order.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{self, NoObject};
use super::order::{code, is_id, reason};
use super::{PayPal, Unclear, amount};
use crate::domain::{CaptureMethod, DeclineCode, OperationAnswer, OperationKind};
use crate::processors::references::Known;
use crate::processors::{AttemptKey, OperationCall};

/// When an operation that PayPal has only accepted is asked about.
const ASK_AFTER: Duration = Duration::from_secs(60);

/// How long PayPal keeps the request ids of captures and refunds. Afterwards a repeated request is a new one.
const REQUEST_LIFE: Duration = Duration::from_secs(45 * 24 * 60 * 60);

/// Somebody has voided the authorization, or it has expired.
const AUTHORIZATION_GONE: DeclineCode = DeclineCode::from_static("authorization_gone");

/// Nothing can be captured any more.
const GONE: [&str; 4] = [
    "AUTHORIZATION_VOIDED",
    "AUTHORIZATION_EXPIRED",
    "AUTHORIZATION_DENIED",
    "PREVIOUSLY_VOIDED",
];

/// It was captured before: perhaps by this operation.
const CAPTURED_BEFORE: [&str; 3] = [
    "AUTHORIZATION_ALREADY_CAPTURED",
    "MAX_CAPTURE_AMOUNT_EXCEEDED",
    "MAX_CAPTURE_COUNT_EXCEEDED",
];

/// The amount of a capture or refund was moved.
const CARRIED_OUT: [&str; 3] = ["COMPLETED", "PARTIALLY_REFUNDED", "REFUNDED"];

const DONE: OperationAnswer = OperationAnswer::Done {
    confirm_after: None,
};

/// The key under which the id of an attempt's capture or authorization is stored.
pub(super) fn charge_key(key: AttemptKey, capture: CaptureMethod) -> String {
    match capture {
        CaptureMethod::Automatic => format!("{key}-captured"),
        CaptureMethod::Manual => format!("{key}-authorized"),
    }
}

/// What an operation creates at PayPal.
#[derive(Clone, Copy)]
struct Kind {
    /// The path of one.
    object: &'static str,
    /// Their list in an order.
    listed: &'static str,
}

const CAPTURE: Kind = Kind {
    object: "/v2/payments/captures",
    listed: "captures",
};

const REFUND: Kind = Kind {
    object: "/v2/payments/refunds",
    listed: "refunds",
};

impl PayPal {
    pub(super) async fn capture_held(
        &self,
        call: &OperationCall,
    ) -> Result<OperationAnswer, Unclear> {
        let authorization = self.charge_of(call, CaptureMethod::Manual).await?;
        let path = format!("/v2/payments/authorizations/{authorization}/capture");
        let body = json!({
            "amount": amount::object(call.amount).map_err(|_| Unclear::Unknown)?,
            "invoice_id": self.ours(call).await?,
            "final_capture": true,
        });
        self.create_once(call, CAPTURE, &path, &body).await
    }

    pub(super) async fn refund_captured(
        &self,
        call: &OperationCall,
    ) -> Result<OperationAnswer, Unclear> {
        let capture = self.charge_of(call, CaptureMethod::Automatic).await?;
        let path = format!("/v2/payments/captures/{capture}/refund");
        let ours = self.ours(call).await?;
        let body = json!({
            "amount": amount::object(call.amount).map_err(|_| Unclear::Unknown)?,
            "invoice_id": ours,
            "custom_id": ours,
        });
        self.create_once(call, REFUND, &path, &body).await
    }

    /// Creates a capture or a refund, unless it is there already.
    async fn create_once(
        &self,
        call: &OperationCall,
        kind: Kind,
        path: &str,
        body: &Value,
    ) -> Result<OperationAnswer, Unclear> {
        if let Known::As(id) = self.references.known(&call.key.0.to_string()).await? {
            return self.as_it_stands(call, kind, &id).await;
        }
        if !self.keys.is_kept(call, REQUEST_LIFE).await? {
            return self.in_order(call, kind, None).await;
        }
        let once = self.ours(call).await?;
        let refused = match self.api.post(path, &once, body).await {
            Ok(object) if object["invoice_id"] == once.as_str() && is_asked(&object, call) => {
                return self.stored(call, kind, &object).await;
            }
            // Of another operation, or not carried out as asked.
            Ok(_) | Err(NoObject::Unknown(_)) => None,
            Err(NoObject::Refused(error)) => refusal(&error),
            Err(other) => return Err(other.into()),
        };
        let found = self.in_order(call, kind, refused).await;
        found.map_err(Unclear::after_a_call)
    }

    /// Stores the id of what an operation has created.
    async fn stored(
        &self,
        call: &OperationCall,
        kind: Kind,
        object: &Value,
    ) -> Result<OperationAnswer, Unclear> {
        let id = object["id"].as_str().filter(|id| is_id(id));
        let id = id.ok_or(Unclear::Unknown)?;
        self.kept(&call.key.0.to_string(), id).await?;
        self.judged(call, kind, object).await
    }

    async fn as_it_stands(
        &self,
        call: &OperationCall,
        kind: Kind,
        id: &str,
    ) -> Result<OperationAnswer, Unclear> {
        let object = self.api.get(&format!("{}/{id}", kind.object)).await?;
        match object["id"] == id {
            true => self.judged(call, kind, &object).await,
            false => Err(Unclear::Unknown),
        }
    }

    /// What the `status` of a capture or refund means.
    async fn judged(
        &self,
        call: &OperationCall,
        kind: Kind,
        object: &Value,
    ) -> Result<OperationAnswer, Unclear> {
        match object["status"].as_str() {
            Some(status) if CARRIED_OUT.contains(&status) => {
                if amount::read(&object["amount"]) != Some(call.amount) {
                    super::tell_other_amount(&call.key.0.to_string());
                    return Err(Unclear::Unknown);
                }
                if let (OperationKind::Capture, Some(id)) = (call.kind, object["id"].as_str()) {
                    // What refunds are about.
                    let captured = charge_key(call.authorization, CaptureMethod::Automatic);
                    self.kept(&captured, id).await?;
                }
                Ok(DONE)
            }
            Some("PENDING") => Ok(OperationAnswer::Accepted {
                ask_after: ASK_AFTER,
            }),
            Some("DECLINED" | "FAILED" | "CANCELLED") => Ok(OperationAnswer::Refused {
                code: reason(object),
                authorization_gone: false,
            }),
            status => {
                tracing::warn!(kind = kind.listed, status, "PayPal has an unknown status");
                Err(Unclear::Unknown)
            }
        }
    }

    /// Finds a capture or refund by our id among the payments of its order. If it is not there, the call was refused; without a
    /// refusal it may still be on its way. A refusal alone is not believed: a call before it may have been executed, and its
    /// answer lost.
    async fn in_order(
        &self,
        call: &OperationCall,
        kind: Kind,
        refused: Option<OperationAnswer>,
    ) -> Result<OperationAnswer, Unclear> {
        let asked = self.asked(call.authorization).await?;
        let order = self.read(&asked).await?;
        let ours = self.ours(call).await?;
        let listed = order.payments[kind.listed].as_array();
        let is_ours = |payment: &&Value| payment["invoice_id"] == ours.as_str();
        let found = listed.into_iter().flatten().filter(is_ours);
        // What was carried out counts, whatever else was tried.
        if let Some(payment) = found.max_by_key(|payment| stands(payment)) {
            return self.stored(call, kind, payment).await;
        }
        let authorizations = order.payments["authorizations"].as_array();
        let mut authorizations = authorizations.into_iter().flatten();
        if call.kind == OperationKind::Capture && authorizations.any(is_captured) {
            tracing::error!(
                payment.id = call.authorization.payment.0,
                order = asked.order,
                "PayPal has captured an authorization, but not for this capture: it waits until somebody finds out why"
            );
            return Err(Unclear::Unknown);
        }
        refused.ok_or(Unclear::Unknown)
    }

    pub(super) async fn void_held(&self, call: &OperationCall) -> Result<OperationAnswer, Unclear> {
        let authorization = self.charge_of(call, CaptureMethod::Manual).await?;
        let object = format!("/v2/payments/authorizations/{authorization}");
        if let Some(answer) = voided(&self.api.get(&object).await?) {
            return Ok(answer);
        }
        let (path, once) = (format!("{object}/void"), self.ours(call).await?);
        match self.api.post(&path, &once, &json!({})).await {
            // It may be voided all the same, or captured.
            Ok(_) | Err(NoObject::Refused(_) | NoObject::Unknown(_)) => {}
            Err(other) => return Err(other.into()),
        }
        let now = self.api.get(&object).await.map_err(Unclear::from);
        voided(&now.map_err(Unclear::after_a_call)?).ok_or(Unclear::Unknown)
    }

    /// What became of an operation.
    pub(super) async fn find_out(&self, call: &OperationCall) -> Result<OperationAnswer, Unclear> {
        let kind = match call.kind {
            OperationKind::Capture => CAPTURE,
            OperationKind::Refund => REFUND,
            OperationKind::Void => {
                let authorization = self.charge_of(call, CaptureMethod::Manual).await?;
                let object = format!("/v2/payments/authorizations/{authorization}");
                return voided(&self.api.get(&object).await?).ok_or(Unclear::Unknown);
            }
        };
        match self.references.known(&call.key.0.to_string()).await? {
            Known::As(id) => self.as_it_stands(call, kind, &id).await,
            Known::Closed | Known::Nothing => self.in_order(call, kind, None).await,
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

    /// Our id of an operation, which no other installation uses: its request id, and its invoice number.
    async fn ours(&self, call: &OperationCall) -> Result<String, Unclear> {
        Ok(self.keys.unique(&call.key.0.to_string()).await?)
    }

    /// PayPal's id of the attempt's authorization or capture.
    async fn charge_of(
        &self,
        call: &OperationCall,
        capture: CaptureMethod,
    ) -> Result<String, Unclear> {
        let key = charge_key(call.authorization, capture);
        match self.references.known(&key).await? {
            Known::As(id) => Ok(id),
            Known::Closed | Known::Nothing => {
                tracing::error!(
                    payment.id = call.authorization.payment.0,
                    "an authorized payment has no reference of PayPal's"
                );
                Err(Unclear::Unknown)
            }
        }
    }
}

/// What an authorization says of a void; none if it is not decided.
fn voided(authorization: &Value) -> Option<OperationAnswer> {
    match authorization["status"].as_str()? {
        "VOIDED" | "EXPIRED" | "DENIED" => Some(DONE),
        "CAPTURED" | "PARTIALLY_CAPTURED" => Some(OperationAnswer::Refused {
            code: DeclineCode::from_static("captured_at_processor"),
            authorization_gone: false,
        }),
        _ => None,
    }
}

/// Whether a capture or refund is carried out, or will be.
fn stands(payment: &Value) -> bool {
    let status = payment["status"].as_str().unwrap_or_default();
    status == "PENDING" || CARRIED_OUT.contains(&status)
}

/// Whether an answer says that the operation is carried out, or will be.
fn is_asked(payment: &Value, call: &OperationCall) -> bool {
    stands(payment) && amount::read(&payment["amount"]) == Some(call.amount)
}

fn is_captured(authorization: &Value) -> bool {
    authorization["status"] == "CAPTURED" || authorization["status"] == "PARTIALLY_CAPTURED"
}

/// What a refused capture or refund means if it is not among the payments of its order; none if that is still open.
fn refusal(error: &Value) -> Option<OperationAnswer> {
    let issue = api::issue(error).unwrap_or_default();
    if CAPTURED_BEFORE.contains(&issue) {
        return None;
    }
    let authorization_gone = GONE.contains(&issue);
    let code = match authorization_gone {
        true => AUTHORIZATION_GONE,
        false => code(Some(issue)),
    };
    Some(OperationAnswer::Refused {
        code,
        authorization_gone,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_void_is_done_only_when_nothing_is_held_or_captured() {
        let of = |status: &str| voided(&json!({ "status": status }));
        for gone in ["VOIDED", "EXPIRED", "DENIED"] {
            assert_eq!(of(gone), Some(DONE));
        }
        for captured in ["CAPTURED", "PARTIALLY_CAPTURED"] {
            assert!(matches!(
                of(captured),
                Some(OperationAnswer::Refused { .. })
            ));
        }
        for held in ["CREATED", "PENDING", "SOMETHING"] {
            assert_eq!(of(held), None);
        }
    }

    #[test]
    fn an_authorization_that_is_gone_is_told_apart() {
        let gone = |issue: &str| {
            let refused = refusal(&json!({"details": [{ "issue": issue }]}));
            refused.map(|refused| {
                matches!(
                    refused,
                    OperationAnswer::Refused {
                        authorization_gone: true,
                        ..
                    }
                )
            })
        };
        assert_eq!(gone("AUTHORIZATION_VOIDED"), Some(true));
        assert_eq!(gone("REFUND_AMOUNT_EXCEEDED"), Some(false));
        assert_eq!(gone("AUTHORIZATION_ALREADY_CAPTURED"), None);
    }
}
