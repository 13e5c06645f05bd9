//! PayPal's webhooks: PayPal itself is asked whether one is genuine, and later what it was about. No address that a header
//! names is ever called.

use std::time::Duration;

use axum::http::Uri;
use axum::http::uri::Authority;
use serde::Deserialize;
use serde::de::IgnoredAny;
use serde_json::{Value, json};
use time::format_description::well_known::Rfc3339;

use super::order::is_id;
use super::{PayPal, Unclear, amount, order};
use crate::domain::{OperationId, PaymentId, Timestamp};
use crate::processors::AttemptKey;
use crate::processors::notifications::{
    Claim, Found, Notification, NotificationRefused, PlatformEvent, RefundState, RefundThere,
    Subject,
};

/// The headers that PayPal signs, by their names in its question.
const SIGNED: [(&str, &str); 5] = [
    ("auth_algo", "paypal-auth-algo"),
    ("cert_url", "paypal-cert-url"),
    ("transmission_id", "paypal-transmission-id"),
    ("transmission_sig", "paypal-transmission-sig"),
    ("transmission_time", "paypal-transmission-time"),
];

/// How old the time of a webhook may be: PayPal sends one again for three days.
const OLDEST: Duration = Duration::from_secs(4 * 24 * 60 * 60);

/// How far ahead it may be: clocks differ.
const SOONEST: Duration = Duration::from_secs(10 * 60);

impl PayPal {
    pub(super) async fn take_webhook(
        &self,
        notification: &Notification<'_>,
    ) -> Result<PlatformEvent, NotificationRefused> {
        let Some(webhook) = &self.webhook_id else {
            return Err(NotificationRefused::NotConfigured);
        };
        // Anybody can send something here, and each question is a call of PayPal.
        let question = question(webhook, notification)?;
        if self.is_stored(notification.body).await? {
            return Err(NotificationRefused::Repeated);
        }
        let answer = self.api.verify(question).await;
        let answer = answer.map_err(|_| NotificationRefused::Unavailable)?;
        if answer["verification_status"] != "SUCCESS" {
            return Err(NotificationRefused::NotGenuine("wrong_signature"));
        }
        let installation = self.installation().await;
        let installation = installation.map_err(|_| NotificationRefused::Unavailable)?;
        event(notification.body, installation).map_err(NotificationRefused::Malformed)
    }

    /// Whether an event with this id was verified and stored before. PayPal sends one until it is answered in time.
    async fn is_stored(&self, body: &[u8]) -> Result<bool, NotificationRefused> {
        let event: Named = serde_json::from_slice(body)
            .map_err(|_| NotificationRefused::NotGenuine("no_event"))?;
        if !is_id(&event.id) {
            return Err(NotificationRefused::NotGenuine("no_event"));
        }
        let processor = self.availability.processor();
        let known = self.database.knows_platform_event(processor, &event.id);
        known.await.map_err(|_| NotificationRefused::Unavailable)
    }

    pub(super) async fn find(&self, subject: &Subject) -> Result<Found, Unclear> {
        match subject {
            Subject::Attempt(key) => Ok(Found::Attempt(*key)),
            Subject::Refund(id) => self.find_refund(id).await,
            Subject::Dispute(id) => self.find_dispute(id).await,
            Subject::OtherInstallation | Subject::Unused => Ok(Found::NotOurs),
        }
    }

    async fn find_refund(&self, id: &str) -> Result<Found, Unclear> {
        let refund = self.api.get(&format!("/v2/payments/refunds/{id}")).await?;
        let capture = up(&refund).ok_or(Unclear::Unknown)?;
        let path = format!("/v2/payments/captures/{capture}");
        let capture = self.api.get(&path).await?;
        let installation = self.installation().await?;
        let Some(Subject::Attempt(authorization)) = attempt(&capture, installation) else {
            return Ok(Found::NotOurs);
        };
        let state = state(&refund).ok_or(Unclear::Unknown)?;
        let ours = refund["invoice_id"].as_str().unwrap_or_default();
        let ours = ours
            .strip_prefix(installation)
            .and_then(|it| it.strip_prefix('-'));
        if let Some(refund) = ours.and_then(|id| id.parse().ok()).map(OperationId) {
            let payment = authorization.payment;
            return Ok(Found::OurRefund {
                payment,
                refund,
                state,
            });
        }
        Ok(Found::RefundThere(RefundThere {
            reference: id.to_owned(),
            authorization,
            amount: amount::read(&refund["amount"]).ok_or(Unclear::Unknown)?,
            made_at: made_at(&refund).ok_or(Unclear::Unknown)?,
            state,
        }))
    }
}

/// The id of an event.
#[derive(Deserialize)]
struct Named {
    id: String,
}

/// What PayPal is asked, with the event's body as it arrived: any other form of it would have another signature. What PayPal
/// would never send is refused without asking.
fn question(webhook: &str, notification: &Notification<'_>) -> Result<String, NotificationRefused> {
    let body = notification.body;
    let mut signed = json!({ "webhook_id": webhook });
    for (name, header) in SIGNED {
        let value = notification.headers.get(header);
        let value = value.and_then(|it| it.to_str().ok());
        let value = value.ok_or(NotificationRefused::NotGenuine("no_signature"))?;
        signed[name] = json!(value);
    }
    check(&signed, notification.now).map_err(NotificationRefused::NotGenuine)?;
    // Only one whole document cannot change the fields around it.
    serde_json::from_slice::<IgnoredAny>(body)
        .map_err(|_| NotificationRefused::NotGenuine("not_json"))?;
    let body = std::str::from_utf8(body);
    let body = body.map_err(|_| NotificationRefused::NotGenuine("not_json"))?;
    let mut question = signed.to_string();
    question.truncate(question.len() - 1);
    Ok(format!("{question},\"webhook_event\":{body}}}"))
}

fn check(signed: &Value, now: Timestamp) -> Result<(), &'static str> {
    let text = |name: &str| signed[name].as_str().unwrap_or_default();
    let algorithm = text("auth_algo");
    if !algorithm.starts_with("SHA") || !algorithm.ends_with("withRSA") {
        return Err("other_algorithm");
    }
    if !is_at_paypal(text("cert_url")) {
        return Err("other_certificate");
    }
    let sent = Timestamp::parse(text("transmission_time"), &Rfc3339);
    let sent = sent.map_err(|_| "unreadable_signature")?;
    match now - sent > OLDEST || sent - now > SOONEST {
        true => Err("too_old"),
        false => Ok(()),
    }
}

/// Whether an address is on one of PayPal's servers.
fn is_at_paypal(address: &str) -> bool {
    let Ok(address) = address.parse::<Uri>() else {
        return false;
    };
    let authority = address.authority().map(Authority::as_str);
    let host = address.host().unwrap_or_default().to_ascii_lowercase();
    address.scheme_str() == Some("https")
        && !authority.unwrap_or_default().contains('@')
        && (host == "paypal.com" || host.ends_with(".paypal.com"))
}

/// Reads an event, as far as it matters here.
fn event(body: &[u8], installation: &str) -> Result<PlatformEvent, &'static str> {
    let event: Value = serde_json::from_slice(body).map_err(|_| "not_json")?;
    let id = event["id"].as_str().filter(|id| is_id(id)).ok_or("no_id")?;
    let kind = event["event_type"].as_str().ok_or("no_type")?;
    let resource = &event["resource"];
    let subject = match kind {
        "CHECKOUT.ORDER.APPROVED" | "CHECKOUT.PAYMENT-APPROVAL.REVERSED" => {
            attempt(&resource["purchase_units"][0], installation)
        }
        "PAYMENT.CAPTURE.COMPLETED"
        | "PAYMENT.CAPTURE.DECLINED"
        | "PAYMENT.CAPTURE.DENIED"
        | "PAYMENT.CAPTURE.REVERSED"
        | "PAYMENT.AUTHORIZATION.CREATED"
        | "PAYMENT.AUTHORIZATION.VOIDED" => attempt(resource, installation),
        "PAYMENT.CAPTURE.REFUNDED" | "PAYMENT.REFUND.PENDING" | "PAYMENT.REFUND.FAILED" => {
            let id = resource["id"].as_str().filter(|id| is_id(id));
            id.map(|id| Subject::Refund(id.to_owned()))
        }
        "CUSTOMER.DISPUTE.CREATED" | "CUSTOMER.DISPUTE.UPDATED" | "CUSTOMER.DISPUTE.RESOLVED" => {
            let id = resource["dispute_id"].as_str().filter(|id| is_id(id));
            id.map(|id| Subject::Dispute(id.to_owned()))
        }
        _ => None,
    };
    let kind = kind.chars().filter(char::is_ascii_graphic).take(64);
    Ok(PlatformEvent {
        id: id.to_owned(),
        kind: kind.collect(),
        subject: subject.unwrap_or(Subject::Unused),
    })
}

/// What the name of an event says about its attempt.
pub(super) fn claim(kind: &str) -> Claim {
    match kind {
        "PAYMENT.CAPTURE.COMPLETED" => Claim::Charged,
        "PAYMENT.AUTHORIZATION.CREATED" => Claim::Held,
        "PAYMENT.CAPTURE.DECLINED" | "PAYMENT.CAPTURE.DENIED" | "PAYMENT.AUTHORIZATION.VOIDED" => {
            Claim::NotCharged
        }
        _ => Claim::Other,
    }
}

/// The attempt that an object names in its custom id.
pub(super) fn attempt(object: &Value, installation: &str) -> Option<Subject> {
    attempt_in(object["custom_id"].as_str()?, installation)
}

/// The attempt that is named in a custom id: `{installation}-{payment}-{attempt}`.
pub(super) fn attempt_in(custom_id: &str, installation: &str) -> Option<Subject> {
    let words: Vec<&str> = custom_id.split('-').collect();
    let [of, payment, attempt] = words.as_slice() else {
        return None;
    };
    if *of != installation {
        return Some(Subject::OtherInstallation);
    }
    Some(Subject::Attempt(AttemptKey {
        payment: PaymentId(payment.parse().ok()?),
        attempt: attempt.parse().ok()?,
    }))
}

/// The capture that a refund belongs to.
fn up(refund: &Value) -> Option<&str> {
    let links = refund["links"].as_array()?;
    let up = links.iter().find(|link| link["rel"] == "up")?;
    let id = up["href"].as_str()?.rsplit('/').next()?;
    is_id(id).then_some(id)
}

fn state(refund: &Value) -> Option<RefundState> {
    Some(match refund["status"].as_str()? {
        "COMPLETED" => RefundState::Succeeded,
        "PENDING" => RefundState::Pending,
        "FAILED" | "CANCELLED" => RefundState::Failed(order::reason(refund)),
        _ => return None,
    })
}

fn made_at(refund: &Value) -> Option<Timestamp> {
    let text = refund["create_time"].as_str()?;
    Timestamp::parse(text, &Rfc3339).ok()
}

#[cfg(test)]
mod tests {
    use axum::http::HeaderMap;

    use super::*;

    fn about(kind: &str, resource: &Value) -> Subject {
        let body = json!({"id": "WH-1", "event_type": kind, "resource": resource});
        event(body.to_string().as_bytes(), "ours").unwrap().subject
    }

    #[test]
    fn an_event_says_what_it_is_about() {
        let key = AttemptKey {
            payment: PaymentId(7),
            attempt: 2,
        };
        let order = json!({"purchase_units": [{"custom_id": "ours-7-2"}]});
        assert_eq!(
            about("CHECKOUT.ORDER.APPROVED", &order),
            Subject::Attempt(key)
        );
        let capture = json!({"custom_id": "ours-7-2"});
        for kind in ["PAYMENT.CAPTURE.COMPLETED", "PAYMENT.CAPTURE.REVERSED"] {
            assert_eq!(about(kind, &capture), Subject::Attempt(key));
        }
        let other = json!({"custom_id": "theirs-7-2"});
        let subject = about("PAYMENT.CAPTURE.COMPLETED", &other);
        assert_eq!(subject, Subject::OtherInstallation);
        let refund = about("PAYMENT.CAPTURE.REFUNDED", &json!({"id": "0K35"}));
        assert_eq!(refund, Subject::Refund("0K35".to_owned()));
        let dispute = about(
            "CUSTOMER.DISPUTE.UPDATED",
            &json!({"dispute_id": "PP-000-1"}),
        );
        assert_eq!(dispute, Subject::Dispute("PP-000-1".to_owned()));
        for (kind, resource) in [
            ("PAYMENT.CAPTURE.REFUNDED", json!({"id": "../orders/1"})),
            ("CUSTOMER.DISPUTE.CREATED", json!({"dispute_id": "../x"})),
            ("CUSTOMER.DISPUTE.CREATED", json!({"id": "PP-1"})),
            (
                "PAYMENT.CAPTURE.COMPLETED",
                json!({"custom_id": "ours-x-2"}),
            ),
            ("PAYMENT.CAPTURE.COMPLETED", json!({})),
            ("CATALOG.PRODUCT.CREATED", json!({"id": "1"})),
        ] {
            assert_eq!(about(kind, &resource), Subject::Unused, "{kind}");
        }
    }

    const SENT: &str = "2026-11-27T03:00:00Z";

    fn headers() -> HeaderMap {
        let mut headers = HeaderMap::new();
        for (_, header) in SIGNED {
            headers.insert(header, "x".parse().unwrap());
        }
        let cert = "https://api.sandbox.paypal.com/v1/notifications/certs/CERT-1";
        for (header, value) in [
            ("paypal-auth-algo", "SHA256withRSA"),
            ("paypal-cert-url", cert),
            ("paypal-transmission-time", SENT),
        ] {
            headers.insert(header, value.parse().unwrap());
        }
        headers
    }

    fn asked(headers: &HeaderMap, body: &str, seconds: i64) -> Result<String, NotificationRefused> {
        let sent = Timestamp::parse(SENT, &Rfc3339).unwrap();
        let notification = Notification {
            headers,
            body: body.as_bytes(),
            now: sent + time::Duration::seconds(seconds),
        };
        question("WH", &notification)
    }

    #[test]
    fn a_body_cannot_change_the_question() {
        let mut headers = headers();
        let ask = |body: &str| asked(&headers, body, 0);
        let question = ask(r#"{"id":  "WH-1"}"#).unwrap();
        assert!(
            question.ends_with(r#","webhook_event":{"id":  "WH-1"}}"#),
            "{question}"
        );
        assert!(serde_json::from_str::<Value>(&question).is_ok());
        let forged = r#"{"id": "WH-1"},"webhook_id":"mine""#;
        assert_eq!(
            ask(forged),
            Err(NotificationRefused::NotGenuine("not_json"))
        );
        headers.remove("paypal-transmission-sig");
        let unsigned = asked(&headers, "{}", 0);
        assert_eq!(
            unsigned,
            Err(NotificationRefused::NotGenuine("no_signature"))
        );
    }

    #[test]
    fn what_paypal_would_never_send_is_refused_without_asking() {
        let refused = |header: &'static str, value: &str| {
            let mut headers = headers();
            headers.insert(header, value.parse().unwrap());
            asked(&headers, "{}", 0).err()
        };
        let not_genuine = |reason| Some(NotificationRefused::NotGenuine(reason));
        for (header, value, reason) in [
            ("paypal-auth-algo", "none", "other_algorithm"),
            ("paypal-auth-algo", "HS256", "other_algorithm"),
            (
                "paypal-cert-url",
                "https://paypal.com.example/c",
                "other_certificate",
            ),
            (
                "paypal-cert-url",
                "https://evilpaypal.com/c",
                "other_certificate",
            ),
            (
                "paypal-cert-url",
                "https://api.paypal.com@a.example/c",
                "other_certificate",
            ),
            (
                "paypal-cert-url",
                "https://a@api.paypal.com/c",
                "other_certificate",
            ),
            (
                "paypal-cert-url",
                "http://api.paypal.com/c",
                "other_certificate",
            ),
            ("paypal-cert-url", "", "other_certificate"),
            (
                "paypal-transmission-time",
                "yesterday",
                "unreadable_signature",
            ),
        ] {
            assert_eq!(refused(header, value), not_genuine(reason), "{value}");
        }
        assert_eq!(refused("paypal-cert-url", "https://API.PayPal.com/c"), None);
        assert_eq!(refused("paypal-auth-algo", "SHA512withRSA"), None);
        let day = 24 * 60 * 60;
        for (seconds, expected) in [
            (4 * day, None),
            (4 * day + 1, not_genuine("too_old")),
            (-600, None),
            (-601, not_genuine("too_old")),
        ] {
            let refused = asked(&headers(), "{}", seconds).err();
            assert_eq!(refused, expected, "{seconds}");
        }
    }
}
