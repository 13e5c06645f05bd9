//! Calls of Stripe's API: forms in, JSON out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use crate::processors::availability::Availability;
pub(super) use crate::processors::http::NoObject;
use crate::processors::http::{BUSY, Http, KEY_REFUSED, NOT_CALLED, NOT_SENT, secret, value};

/// The version of the API that this code was written for: an account's own version may differ.
const VERSION: &str = "2024-06-20";

/// The most that is read of a list, in bytes: a hundred intents with their charges have about 700 kB.
const LONGEST_LIST: usize = 4 * 1024 * 1024;

/// The API of one account.
pub(super) struct Api {
    http: Http,
    key: SecretString,
}

/// Why there is no list.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoPage {
    /// Too many requests: Stripe may say how long to wait.
    Busy { retry_after: Option<Duration> },
    /// As for an object.
    NoObject(NoObject),
}

/// A form's fields.
pub(super) type Fields<'a> = [(&'a str, &'a str)];

impl Api {
    /// `base` is `https://api.stripe.com`, or another server with the same API.
    pub(super) fn new(
        base: &str,
        key: SecretString,
        availability: Arc<Availability>,
    ) -> Result<Self, rustls::Error> {
        let http = Http::new(base, availability)?;
        Ok(Self { http, key })
    }

    /// Reads an object: `payment_intents/pi_…`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, NoObject> {
        let request = self.request(Method::GET, path, Body::empty())?;
        self.send(request).await
    }

    /// Reads a list, or an object with expanded parts.
    pub(super) async fn page(&self, path: &str, query: &Fields<'_>) -> Result<Value, NoPage> {
        let path = format!("{path}?{}", encoded(query));
        let request = self.request(Method::GET, &path, Body::empty());
        let request = request.map_err(NoPage::NoObject)?;
        let sent = self.http.send_within(request, LONGEST_LIST, judge).await;
        sent.map_err(|(no_object, retry_after)| match no_object {
            no_object if no_object == BUSY || no_object == NOT_CALLED => {
                NoPage::Busy { retry_after }
            }
            other => NoPage::NoObject(other),
        })
    }

    /// Changes an object, which its state allows only once.
    pub(super) async fn change(&self, path: &str, fields: &Fields<'_>) -> Result<Value, NoObject> {
        let request = self.form(path, fields)?;
        self.send(request).await
    }

    /// Creates an object, at most once under an idempotency key.
    pub(super) async fn create(
        &self,
        path: &str,
        fields: &Fields<'_>,
        idempotency_key: &str,
    ) -> Result<Value, NoObject> {
        let mut request = self.form(path, fields)?;
        let headers = request.headers_mut();
        headers.insert("idempotency-key", value(idempotency_key)?);
        self.send(request).await
    }

    fn form(&self, path: &str, fields: &Fields<'_>) -> Result<Request<Body>, NoObject> {
        let mut request = self.request(Method::POST, path, Body::from(encoded(fields)))?;
        let headers = request.headers_mut();
        let form = HeaderValue::from_static("application/x-www-form-urlencoded");
        headers.insert(header::CONTENT_TYPE, form);
        Ok(request)
    }

    fn request(&self, method: Method, path: &str, body: Body) -> Result<Request<Body>, NoObject> {
        let address = self.http.address(&format!("/v1/{path}"));
        let address = address.parse::<Uri>().map_err(|_| NOT_SENT)?;
        let mut request = Request::new(body);
        *request.method_mut() = method;
        *request.uri_mut() = address;
        let authorization = secret(&format!("Bearer {}", self.key.expose_secret()))?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, authorization);
        headers.insert("stripe-version", HeaderValue::from_static(VERSION));
        Ok(request)
    }

    async fn send(&self, request: Request<Body>) -> Result<Value, NoObject> {
        self.http.send(request, judge).await
    }
}

fn encoded(fields: &Fields<'_>) -> String {
    let mut form = form_urlencoded::Serializer::new(String::new());
    form.extend_pairs(fields);
    form.finish()
}

/// What an answer means. A server error is unknown even when it is a stored one: Stripe repeats a 500 under its key, whatever
/// became of the request.
fn judge(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let unknown = |what: &str| NoObject::Unknown(format!("{} {what}", status.as_u16()));
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        // Only this object is in use: others can go on.
        StatusCode::TOO_MANY_REQUESTS if object["error"]["code"] == "lock_timeout" => {
            Err(NoObject::NotExecuted("processor_object_locked"))
        }
        StatusCode::TOO_MANY_REQUESTS => Err(BUSY),
        StatusCode::UNAUTHORIZED => Err(KEY_REFUSED),
        // The key may not make this kind of call, but others.
        StatusCode::FORBIDDEN => Err(NoObject::NotExecuted("processor_forbids_call")),
        _ if status.is_success() => match object["id"].is_string() || object["data"].is_array() {
            true => Ok(object),
            false => Err(unknown("without an object")),
        },
        StatusCode::BAD_REQUEST | StatusCode::PAYMENT_REQUIRED | StatusCode::NOT_FOUND => {
            let error = &object["error"];
            match error["type"].as_str() {
                // The key was used with other fields, or is in use: that says nothing about the first request.
                None | Some("idempotency_error" | "api_error") => {
                    Err(unknown("that decides nothing"))
                }
                Some(_) => Err(NoObject::Refused(error.clone())),
            }
        }
        _ => Err(unknown("")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Result<Value, NoObject> {
        judge(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn only_an_object_or_a_clear_refusal_is_an_answer() {
        assert!(judged(200, r#"{"id": "pi_1"}"#).is_ok());
        assert!(judged(200, r#"{"data": []}"#).is_ok());
        let refused = r#"{"error": {"type": "card_error", "code": "card_declined"}}"#;
        assert!(matches!(judged(402, refused), Err(NoObject::Refused(_))));
        assert!(matches!(judged(400, refused), Err(NoObject::Refused(_))));
        let busy = Err(NoObject::NotExecuted("processor_busy"));
        assert_eq!(judged(429, refused), busy);
        assert_eq!(judged(401, refused), Err(KEY_REFUSED));
        let forbidden = Err(NoObject::NotExecuted("processor_forbids_call"));
        assert_eq!(judged(403, ""), forbidden);
        let locked = r#"{"error": {"type": "invalid_request_error", "code": "lock_timeout"}}"#;
        assert_eq!(
            judged(429, locked),
            Err(NoObject::NotExecuted("processor_object_locked"))
        );
        for (status, body) in [
            (200, "<html>"),
            (200, r#"{"id": "#),
            (200, "{}"),
            (302, ""),
            (400, "<html>"),
            (400, r#"{"error": {"type": "idempotency_error"}}"#),
            (409, refused),
            (500, refused),
            (503, ""),
        ] {
            let judged = judged(status, body);
            assert!(
                matches!(judged, Err(NoObject::Unknown(_))),
                "{status} {body}"
            );
        }
    }
}
