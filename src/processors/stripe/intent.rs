//! A PaymentIntent: what Stripe says of an attempt.

use serde_json::Value;

use crate::domain::{Answer, DeclineCode};

/// A PaymentIntent, as far as it matters here.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Intent {
    pub id: String,
    pub status: Status,
    /// As Stripe counts it.
    pub amount: i64,
    /// In lower case.
    pub currency: String,
    /// What was captured, as Stripe counts it.
    pub received: Option<i64>,
    /// Identifies the charge.
    pub charge: Option<String>,
    /// The page where the shopper approves.
    pub redirect: Option<String>,
    /// Why the last confirmation failed.
    pub declined: Option<DeclineCode>,
    /// Its amount, its currency or what was captured is not what its metadata says that was asked for.
    pub differs: bool,
}

/// Where an intent's metadata has what was asked for: somebody can change an intent at Stripe.
pub(super) const ASKED_AMOUNT: &str = "amount";
pub(super) const ASKED_CURRENCY: &str = "currency";

/// Its `status`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Status {
    /// It can be confirmed: it is new, or the last confirmation failed.
    Unconfirmed,
    /// The shopper has to act.
    RequiresAction,
    /// Stripe has not decided yet.
    Processing,
    /// The amount is held.
    RequiresCapture,
    /// The amount is captured.
    Succeeded,
    /// Nothing is or will be charged.
    Canceled,
}

impl Intent {
    /// Reads Stripe's object; none if it is not a PaymentIntent, or has a status that this code does not know.
    pub(super) fn read(object: &Value) -> Option<Self> {
        let status = match object["status"].as_str()? {
            "requires_payment_method" | "requires_confirmation" => Status::Unconfirmed,
            "requires_action" => Status::RequiresAction,
            "processing" => Status::Processing,
            "requires_capture" => Status::RequiresCapture,
            "succeeded" => Status::Succeeded,
            "canceled" => Status::Canceled,
            _ => return None,
        };
        let charge = &object["latest_charge"];
        let charge = charge.as_str().or_else(|| charge["id"].as_str());
        let failure = &object["last_payment_error"];
        let redirect = &object["next_action"]["redirect_to_url"]["url"];
        let amount = object["amount"].as_i64()?;
        let currency = object["currency"].as_str()?.to_ascii_lowercase();
        let received = object["amount_received"].as_i64();
        let is_asked = |name: &str, is: &str| {
            let asked = object["metadata"][name].as_str();
            asked.is_none_or(|asked| asked == is)
        };
        let captures_at_once = object["capture_method"] == "automatic";
        let other_amount = !is_asked(ASKED_AMOUNT, &amount.to_string());
        let less = captures_at_once && received.is_some_and(|received| received != amount);
        let differs = other_amount
            || !is_asked(ASKED_CURRENCY, &currency)
            || (status == Status::Succeeded && less);
        let is_intent = object["object"] == "payment_intent";
        is_intent.then_some(())?;
        Some(Self {
            id: object["id"].as_str()?.to_owned(),
            status,
            amount,
            currency,
            received,
            charge: charge.map(str::to_owned),
            redirect: redirect.as_str().map(str::to_owned),
            declined: failure.is_object().then(|| decline_code(failure)),
            differs,
        })
    }

    /// The same, unless it is about another amount than was asked for.
    pub(super) fn unless_changed(self) -> Option<Self> {
        if self.differs {
            tracing::error!(
                intent = self.id,
                amount = self.amount,
                currency = self.currency,
                received = self.received,
                "Stripe has another amount or currency than was asked for: the payment waits until somebody finds out why"
            );
            return None;
        }
        Some(self)
    }

    /// Shown as the authorization code: the charge, which an operator finds at Stripe.
    pub(super) fn code(&self) -> String {
        let code = self.charge.as_ref().unwrap_or(&self.id);
        code.chars().take(64).collect()
    }

    /// The answer to an authorization, unless the shopper has to approve; none if the intent has to be confirmed first.
    pub(super) fn answer(&self) -> Option<Answer> {
        Some(match self.status {
            Status::Succeeded | Status::RequiresCapture => Answer::Approved {
                authorization_code: self.code(),
            },
            Status::RequiresAction => {
                if self.redirect.is_none() {
                    tracing::error!(intent = self.id, "Stripe wants an action without a page");
                }
                Answer::Unknown
            }
            Status::Unconfirmed => Answer::Declined {
                code: self.declined.clone()?,
            },
            Status::Canceled => Answer::Declined {
                code: CANCELED_THERE,
            },
            Status::Processing => Answer::Unknown,
        })
    }
}

/// Somebody has canceled it at Stripe.
pub(super) const CANCELED_THERE: DeclineCode = DeclineCode::from_static("canceled_at_processor");

/// Our code for Stripe's error: the issuer's reason, otherwise Stripe's. They are in snake case, like ours.
pub(super) fn decline_code(error: &Value) -> DeclineCode {
    let code = [&error["decline_code"], &error["code"]]
        .into_iter()
        .find_map(Value::as_str);
    match code {
        Some("payment_intent_authentication_failure") => DeclineCode::AUTHENTICATION_FAILED,
        Some("authentication_required") => DeclineCode::AUTHENTICATION_REQUIRED,
        Some(code) if is_a_code(code) => DeclineCode::new(code.to_owned()),
        _ => DeclineCode::from_static("declined_by_processor"),
    }
}

fn is_a_code(code: &str) -> bool {
    let allowed = |byte: u8| matches!(byte, b'a'..=b'z' | b'0'..=b'9' | b'_');
    (1..=64).contains(&code.len()) && code.bytes().all(allowed)
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn a_charge_is_read_and_anything_unknown_is_not() {
        let mut object = json!({
            "id": "pi_1", "object": "payment_intent", "status": "succeeded", "amount": 2000, "amount_received": 2000,
            "currency": "cad", "latest_charge": "ch_1", "last_payment_error": null, "next_action": null
        });
        let intent = Intent::read(&object).unwrap();
        assert_eq!(
            (intent.status, intent.received),
            (Status::Succeeded, Some(2000))
        );
        assert_eq!(intent.code(), "ch_1");
        object["latest_charge"] = json!({"id": "ch_2"});
        assert_eq!(Intent::read(&object).unwrap().code(), "ch_2");
        for (field, broken) in [
            ("status", json!("requires_love")),
            ("object", json!("charge")),
            ("amount", json!("2000")),
            ("id", json!(null)),
        ] {
            let mut object = object.clone();
            object[field] = broken;
            assert_eq!(Intent::read(&object), None, "{field}");
        }
    }

    #[test]
    fn codes_are_the_issuer_s_where_there_is_one() {
        let code = |error: Value| decline_code(&error).as_str().to_owned();
        let declined = json!({"code": "card_declined", "decline_code": "insufficient_funds"});
        assert_eq!(code(declined), "insufficient_funds");
        assert_eq!(code(json!({"code": "expired_card"})), "expired_card");
        let failed = json!({"code": "payment_intent_authentication_failure"});
        assert_eq!(code(failed), "authentication_failed");
        for odd in [json!({}), json!({"code": "<script>"}), json!({"code": ""})] {
            assert_eq!(code(odd), "declined_by_processor");
        }
    }
}
