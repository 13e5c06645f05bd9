//! Captures, voids and refunds at PayPal.
//!
//! A capture or a refund is an object with our operation's id as its invoice number. Its id is stored. If the answer was lost,
//! it is found among the payments of its order.

use std::time::Duration;

use serde_json::{Value, json};

use super::api::{self, NoObject};
use super::order::{code, is_id, reason};
use super::{PayPal, Unclear, amount};
use crate::domain::{CaptureMethod, CloseAnswer, DeclineCode, OperationAnswer, OperationKind};
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

const DONE: OperationAnswer = OperationAnswer::Done {
    confirm_after: None,
};

pub(super) fn answer(result: Result<OperationAnswer, Unclear>) -> OperationAnswer {
    match result {
        Ok(answer) => answer,
        Err(Unclear::NotExecuted(reason)) => OperationAnswer::NotExecuted { reason },
        Err(Unclear::Unknown) => OperationAnswer::Unknown,
    }
}

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
        if !self.may_repeat(call).await? {
            return self.in_order(call, kind).await;
        }
        let once = self.ours(call).await?;
        match self.api.post(path, &once, body).await {
            Ok(object) => self.stored(call, kind, &object).await,
            Err(NoObject::Refused(error)) => {
                let issue = api::issue(&error).unwrap_or_default();
                if CAPTURED_BEFORE.contains(&issue) {
                    return self.in_order(call, kind).await;
                }
                Ok(refused(issue))
            }
            Err(NoObject::Unknown(why)) => {
                tracing::warn!(why, "PayPal gave no usable answer");
                self.in_order(call, kind).await
            }
            Err(other) => Err(other.into()),
        }
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
            Some("COMPLETED" | "PARTIALLY_REFUNDED" | "REFUNDED") => {
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

    /// Finds a capture or refund by our id among the payments of its order. If it is not there, it may still be on its way.
    async fn in_order(&self, call: &OperationCall, kind: Kind) -> Result<OperationAnswer, Unclear> {
        let asked = self.asked(call.authorization).await?;
        let order = self.read(&asked).await?;
        let ours = self.ours(call).await?;
        let mut listed = order.payments[kind.listed].as_array().into_iter().flatten();
        match listed.find(|payment| payment["invoice_id"] == ours.as_str()) {
            Some(payment) => self.stored(call, kind, payment).await,
            None => Err(Unclear::Unknown),
        }
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
        voided(&self.api.get(&object).await?).ok_or(Unclear::Unknown)
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
            Known::Closed | Known::Nothing => self.in_order(call, kind).await,
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

    /// Our id of an operation, which no other installation uses: its request id, and its invoice number.
    async fn ours(&self, call: &OperationCall) -> Result<String, Unclear> {
        Ok(self.unique(&call.key.0.to_string()).await?)
    }

    /// Whether PayPal still knows the request id of an operation, whose id contains the time when it was made.
    async fn may_repeat(&self, call: &OperationCall) -> Result<bool, Unclear> {
        let made = call.key.0.get_timestamp().ok_or(Unclear::Unknown)?;
        let (seconds, _) = made.to_unix();
        let age = self.seconds().await?.saturating_sub(seconds);
        Ok(age < REQUEST_LIFE.as_secs() / 2)
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

fn refused(issue: &str) -> OperationAnswer {
    match GONE.contains(&issue) {
        true => OperationAnswer::Refused {
            code: AUTHORIZATION_GONE,
            authorization_gone: true,
        },
        false => OperationAnswer::Refused {
            code: code(Some(issue)),
            authorization_gone: false,
        },
    }
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
        let gone = |issue| {
            matches!(
                refused(issue),
                OperationAnswer::Refused {
                    authorization_gone: true,
                    ..
                }
            )
        };
        assert!(gone("AUTHORIZATION_VOIDED"));
        assert!(!gone("REFUND_AMOUNT_EXCEEDED"));
    }
}
