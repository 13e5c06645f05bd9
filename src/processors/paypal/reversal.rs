//! Reversals: an attempt is closed, and what was charged is returned or released.

use serde_json::{Value, json};

use super::api::NoObject;
use super::{PayPal, Unclear};
use crate::domain::{AttemptCloseAnswer, CaptureMethod, ReversalAnswer};
use crate::processors::AttemptKey;

impl PayPal {
    /// Confirmed when PayPal says that all of the amount has been returned or released: a refund can be pending, and then fail.
    pub(super) async fn reverse_attempt(&self, key: AttemptKey) -> Result<ReversalAnswer, Unclear> {
        let id = match self.close_or_find_charged(key).await? {
            AttemptCloseAnswer::Closed => return Ok(ReversalAnswer::Confirmed),
            AttemptCloseAnswer::Charged { authorization_code } => authorization_code,
            AttemptCloseAnswer::Unknown => return Err(Unclear::Unknown),
        };
        let (object, verb, wanted) = match self.asked(key).await?.capture {
            CaptureMethod::Automatic => {
                (format!("/v2/payments/captures/{id}"), "refund", "REFUNDED")
            }
            CaptureMethod::Manual => (
                format!("/v2/payments/authorizations/{id}"),
                "void",
                "VOIDED",
            ),
        };
        let stands = |object: &Value| object["id"] != id.as_str() || object["status"] != wanted;
        if !stands(&self.api.get(&object).await?) {
            return Ok(ReversalAnswer::Confirmed);
        }
        let once = self.keys.unique(&format!("{key}-reverse")).await?;
        let path = format!("{object}/{verb}");
        // Without an amount it returns all that is left, which it can do only once.
        match self.api.post(&path, &once, &json!({})).await {
            Ok(_) | Err(NoObject::Refused(_) | NoObject::Unknown(_)) => {}
            Err(other) => return Err(other.into()),
        }
        match stands(&self.api.get(&object).await?) {
            false => Ok(ReversalAnswer::Confirmed),
            true => Err(Unclear::Unknown),
        }
    }
}
