//! Stripe's webhooks: which event one reports, once its signature is verified.

use serde_json::Value;

use super::{Stripe, signature};
use crate::domain::PaymentId;
use crate::processors::AttemptKey;
use crate::processors::notifications::{
    Claim, Notification, NotificationRefused, PlatformEvent, Subject,
};

/// The longest id that is stored.
const LONGEST_ID: usize = 255;

impl Stripe {
    pub(super) async fn take_webhook(
        &self,
        notification: &Notification<'_>,
    ) -> Result<PlatformEvent, NotificationRefused> {
        if self.webhook_secrets.is_empty() {
            return Err(NotificationRefused::NotConfigured);
        }
        let header = notification.headers.get("stripe-signature");
        let header = header.map(axum::http::HeaderValue::as_bytes);
        let (body, now) = (notification.body, notification.now);
        signature::check(header, body, &self.webhook_secrets, now)
            .map_err(NotificationRefused::NotGenuine)?;
        let installation = self.installation().await;
        let installation = installation.map_err(|_| NotificationRefused::Unavailable)?;
        event(body, installation).map_err(NotificationRefused::Malformed)
    }
}

/// Reads an event, as far as it matters here.
fn event(body: &[u8], installation: &str) -> Result<PlatformEvent, &'static str> {
    let event: Value = serde_json::from_slice(body).map_err(|_| "not_json")?;
    if event["object"] != "event" {
        return Err("no_event");
    }
    let id = reference(&event["id"]).ok_or("no_id")?;
    let kind = event["type"].as_str().ok_or("no_type")?;
    let object = &event["data"]["object"];
    let subject = match kind {
        "payment_intent.succeeded"
        | "payment_intent.payment_failed"
        | "payment_intent.amount_capturable_updated"
        | "payment_intent.canceled" => attempt(object),
        "refund.created" | "refund.updated" | "refund.failed" | "charge.refund.updated" => {
            reference(&object["id"]).map(Subject::Refund)
        }
        "charge.dispute.created" | "charge.dispute.closed" => {
            reference(&object["id"]).map(Subject::Dispute)
        }
        _ => None,
    };
    let of = &object["metadata"]["installation"];
    let is_elsewhere = of.as_str().is_some_and(|of| of != installation);
    let subject = match subject {
        Some(_) if is_elsewhere => Subject::OtherInstallation,
        // Not made by this program.
        Some(Subject::Attempt(_)) if of.is_null() => Subject::Unused,
        Some(subject) => subject,
        None => Subject::Unused,
    };
    let kind = kind
        .chars()
        .filter(char::is_ascii_graphic)
        .take(64)
        .collect();
    Ok(PlatformEvent { id, kind, subject })
}

/// What the name of an event says about its attempt.
pub(super) fn claim(kind: &str) -> Claim {
    match kind {
        "payment_intent.succeeded" => Claim::Charged,
        "payment_intent.amount_capturable_updated" => Claim::Held,
        "payment_intent.payment_failed" | "payment_intent.canceled" => Claim::NotCharged,
        _ => Claim::Other,
    }
}

/// An id that can be stored, and put into an address.
fn reference(id: &Value) -> Option<String> {
    let allowed = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let id = id.as_str()?;
    let fits = (1..=LONGEST_ID).contains(&id.len()) && id.bytes().all(allowed);
    fits.then(|| id.to_owned())
}

/// The attempt that an intent belongs to, by its metadata.
fn attempt(intent: &Value) -> Option<Subject> {
    attempt_of(&intent["metadata"]).map(Subject::Attempt)
}

/// The attempt that is named in the metadata of an intent of ours.
pub(super) fn attempt_of(metadata: &Value) -> Option<AttemptKey> {
    let number = |name: &str| metadata[name].as_str();
    Some(AttemptKey {
        payment: PaymentId(number("payment_id")?.parse().ok()?),
        attempt: number("attempt")?.parse().ok()?,
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn subject(kind: &str, object: Value) -> Result<Subject, &'static str> {
        let body =
            json!({"object": "event", "id": "evt_1", "type": kind, "data": {"object": object}});
        event(body.to_string().as_bytes(), "ours").map(|event| event.subject)
    }

    #[test]
    fn an_event_says_what_it_is_about() {
        let metadata = json!({"installation": "ours", "payment_id": "7", "attempt": "2"});
        let intent = json!({"id": "pi_1", "metadata": metadata});
        let key = AttemptKey {
            payment: PaymentId(7),
            attempt: 2,
        };
        let about = subject("payment_intent.succeeded", intent.clone());
        assert_eq!(about, Ok(Subject::Attempt(key)));
        assert_eq!(
            subject("payment_intent.created", intent),
            Ok(Subject::Unused)
        );
        let other = json!({"id": "pi_1", "metadata": {"installation": "theirs", "payment_id": "7", "attempt": "2"}});
        let about = subject("payment_intent.succeeded", other);
        assert_eq!(about, Ok(Subject::OtherInstallation));
        let strange = json!({"id": "pi_1", "metadata": {}});
        assert_eq!(
            subject("payment_intent.succeeded", strange),
            Ok(Subject::Unused)
        );
        let refund = subject("refund.failed", json!({"id": "re_1", "metadata": null}));
        assert_eq!(refund, Ok(Subject::Refund("re_1".to_owned())));
        let dispute = subject("charge.dispute.closed", json!({"id": "du_1"}));
        assert_eq!(dispute, Ok(Subject::Dispute("du_1".to_owned())));
        for id in [
            json!("../v1/x"),
            json!("re_1?a=b"),
            json!(""),
            json!(1),
            Value::Null,
        ] {
            let about = subject("refund.failed", json!({ "id": id }));
            assert_eq!(about, Ok(Subject::Unused), "{id}");
        }
    }

    #[test]
    fn anything_but_an_event_is_refused() {
        for (body, expected) in [
            ("<html>", "not_json"),
            ("{\"object\": \"event\"", "not_json"),
            ("[]", "no_event"),
            (r#"{"object": "event", "id": 7}"#, "no_id"),
            (r#"{"object": "event", "id": "evt_1"}"#, "no_type"),
        ] {
            assert_eq!(event(body.as_bytes(), "ours"), Err(expected), "{body}");
        }
    }
}
