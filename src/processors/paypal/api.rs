//! Calls of PayPal's API: JSON in, JSON out.

use std::sync::Arc;
use std::time::Duration;

use axum::body::Body;
use axum::http::{HeaderValue, Method, Request, StatusCode, Uri, header};
use secrecy::{ExposeSecret, SecretString};
use serde_json::Value;

use super::access::Access;
use crate::processors::availability::Availability;
pub(super) use crate::processors::http::NoObject;
use crate::processors::http::{BUSY, Http, LONGEST_ANSWER, NOT_SENT, secret, value};

/// The most that is read of a list, in bytes: 500 transactions have about 700 kB.
const LONGEST_LIST: usize = 4 * 1024 * 1024;

/// The API of one account.
pub(super) struct Api {
    http: Http,
    /// For verifying webhooks: anybody can cause such a call, so whatever comes of them must not hold up payments.
    verifying: Http,
    access: Access,
}

/// A call, which can be sent twice.
struct Call<'a> {
    path: &'a str,
    /// What is sent, and the request id if it is executed only once.
    sent: Option<(Option<&'a str>, String)>,
}

/// What the status and body of an answer mean.
type Judge = fn(StatusCode, &[u8]) -> Result<Value, NoObject>;

/// Why there is no answer, and for how long PayPal asks to wait.
pub(super) type NotRead = (NoObject, Option<Duration>);

impl Api {
    /// `base` is `https://api-m.sandbox.paypal.com`, or another server with the same API.
    pub(super) fn new(
        base: &str,
        client_id: &str,
        client_secret: SecretString,
        availability: Arc<Availability>,
    ) -> Result<Self, rustls::Error> {
        let verifying = format!("{} (webhooks)", availability.processor());
        let http = Http::new(base, availability)?;
        Ok(Self {
            verifying: http.apart(Arc::new(Availability::new(&verifying))),
            http,
            access: Access::new(client_id, client_secret),
        })
    }

    /// Reads an object: `/v2/checkout/orders/…`.
    pub(super) async fn get(&self, path: &str) -> Result<Value, NoObject> {
        let sent = None;
        self.call(&self.http, Call { path, sent }, judge).await
    }

    /// Creates or changes an object, at most once under a request id.
    pub(super) async fn post(
        &self,
        path: &str,
        request_id: &str,
        body: &Value,
    ) -> Result<Value, NoObject> {
        let sent = Some((Some(request_id), body.to_string()));
        self.call(&self.http, Call { path, sent }, judge).await
    }

    /// Asks whether a webhook is genuine; `body` has its headers and its own body. An answer says so in
    /// `verification_status`.
    pub(super) async fn verify(&self, body: String) -> Result<Value, NoObject> {
        let path = "/v1/notifications/verify-webhook-signature";
        let sent = Some((None, body));
        let call = Call { path, sent };
        self.call(&self.verifying, call, judge_verification).await
    }

    /// Reads an object that PayPal may not have: null if so.
    pub(super) async fn record(&self, path: &str) -> Result<Value, NotRead> {
        self.read(path, LONGEST_ANSWER, judge_record).await
    }

    /// Reads a dispute.
    pub(super) async fn dispute(&self, id: &str) -> Result<Value, NoObject> {
        let path = &format!("/v1/customer/disputes/{id}");
        let sent = None;
        self.call(&self.http, Call { path, sent }, judge_dispute)
            .await
    }

    /// Searches transactions: `start_date=…`. Refused with 403 too, which says that the app may not search.
    pub(super) async fn transactions(&self, query: &str) -> Result<Value, NotRead> {
        let path = format!("/v1/reporting/transactions?{query}");
        self.read(&path, LONGEST_LIST, judge_list).await
    }

    async fn read(&self, path: &str, longest: usize, judge: Judge) -> Result<Value, NotRead> {
        let sent = None;
        self.call_within(&self.http, Call { path, sent }, longest, judge)
            .await
    }

    async fn call(&self, http: &Http, call: Call<'_>, judge: Judge) -> Result<Value, NoObject> {
        let answer = self.call_within(http, call, LONGEST_ANSWER, judge).await;
        answer.map_err(|(no_object, _)| no_object)
    }

    async fn call_within(
        &self,
        http: &Http,
        call: Call<'_>,
        longest: usize,
        judge: Judge,
    ) -> Result<Value, NotRead> {
        let unsent = |no_object| (no_object, None);
        let token = self.access.token(http).await.map_err(unsent)?;
        let request = self.request(&call, &token).map_err(unsent)?;
        match http.send_within(request, longest, judge).await {
            Err((no_object, _)) if no_object == TOKEN_ENDED => {}
            answered => return answered,
        }
        // It ended earlier than announced, or somebody has ended it.
        self.access.forget(&token).await;
        let token = self.access.token(http).await.map_err(unsent)?;
        let request = self.request(&call, &token).map_err(unsent)?;
        http.send_within(request, longest, judge).await
    }

    fn request(&self, call: &Call<'_>, token: &SecretString) -> Result<Request<Body>, NoObject> {
        let address = self.http.address(call.path).parse::<Uri>();
        let bearer = secret(&format!("Bearer {}", token.expose_secret()))?;
        let mut request = Request::new(Body::empty());
        *request.uri_mut() = address.map_err(|_| NOT_SENT)?;
        let headers = request.headers_mut();
        headers.insert(header::AUTHORIZATION, bearer);
        let json = HeaderValue::from_static("application/json");
        headers.insert(header::ACCEPT, json.clone());
        if let Some((request_id, body)) = &call.sent {
            headers.insert(header::CONTENT_TYPE, json);
            if let Some(request_id) = request_id {
                headers.insert("paypal-request-id", value(request_id)?);
            }
            // Otherwise amounts are missing in the answer.
            let whole = HeaderValue::from_static("return=representation");
            headers.insert("prefer", whole);
            *request.method_mut() = Method::POST;
            *request.body_mut() = Body::from(body.clone());
        }
        Ok(request)
    }
}

/// PayPal refuses the access token.
const TOKEN_ENDED: NoObject = NoObject::NotExecuted("access_token_ended");

/// What an answer means. A server error is unknown even when it is a stored one. So is 404: with the credentials of another
/// account everything is missing.
fn judge(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let unknown = |what: &str| NoObject::Unknown(format!("{} {what}", status.as_u16()));
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        StatusCode::TOO_MANY_REQUESTS => Err(BUSY),
        StatusCode::UNAUTHORIZED => Err(TOKEN_ENDED),
        StatusCode::NO_CONTENT => Ok(Value::Null),
        _ if status.is_success() => match object["id"].is_string() {
            true => Ok(object),
            false => Err(unknown("without an object")),
        },
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => match issue(&object) {
            Some(issue) if !decides_nothing(issue) => Err(NoObject::Refused(object)),
            Some(issue) => Err(unknown(issue)),
            None => Err(unknown("that decides nothing")),
        },
        _ => Err(unknown("")),
    }
}

/// What the answer to [`Api::verify`] means. A request that PayPal cannot read is one whose headers are forged.
fn judge_verification(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY => Ok(Value::Null),
        _ if status.is_success() && object["verification_status"].is_string() => Ok(object),
        _ => judge(status, b""),
    }
}

/// What the answer to [`Api::record`] means.
fn judge_record(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let error: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_missing = says(&error, "RESOURCE_NOT_FOUND") || says(&error, "INVALID_RESOURCE_ID");
    match status {
        StatusCode::NOT_FOUND if is_missing => Ok(Value::Null),
        _ => judge(status, body),
    }
}

/// What the answer to [`Api::dispute`] means.
fn judge_dispute(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    match status {
        _ if status.is_success() && object["dispute_id"].is_string() => Ok(object),
        StatusCode::FORBIDDEN => Err(NoObject::Unknown(
            "403: the app may not read disputes; enable Disputes in its features".to_owned(),
        )),
        _ => judge(status, b""),
    }
}

/// What the answer to [`Api::transactions`] means.
fn judge_list(status: StatusCode, body: &[u8]) -> Result<Value, NoObject> {
    let object: Value = serde_json::from_slice(body).unwrap_or_default();
    let is_list = object["transaction_details"].is_array() || object["total_items"] == 0;
    match status {
        _ if status.is_success() && is_list => Ok(object),
        StatusCode::BAD_REQUEST | StatusCode::FORBIDDEN | StatusCode::UNPROCESSABLE_ENTITY
            if object["name"].is_string() =>
        {
            Err(NoObject::Refused(object))
        }
        _ => judge(status, b""),
    }
}

/// Whether an error is about this.
pub(super) fn says(error: &Value, what: &str) -> bool {
    error["name"] == what || issue(error) == Some(what)
}

/// PayPal's word for what is wrong: `INSTRUMENT_DECLINED`.
pub(super) fn issue(error: &Value) -> Option<&str> {
    error["details"][0]["issue"].as_str()
}

/// The request id or invoice number was used, or is in use: that says nothing about the first request.
fn decides_nothing(issue: &str) -> bool {
    let started = ["DUPLICATE_", "PREVIOUS_REQUEST"];
    issue == "ORDER_COMPLETION_IN_PROGRESS" || started.iter().any(|start| issue.starts_with(start))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(status: u16, body: &str) -> Result<Value, NoObject> {
        judge(StatusCode::from_u16(status).unwrap(), body.as_bytes())
    }

    #[test]
    fn what_is_missing_is_told_apart_from_what_cannot_be_read() {
        let record = |status, body: &str| {
            judge_record(StatusCode::from_u16(status).unwrap(), body.as_bytes())
        };
        let missing = r#"{"name": "RESOURCE_NOT_FOUND"}"#;
        assert_eq!(record(404, missing), Ok(Value::Null));
        assert!(record(200, r#"{"id": "5O1"}"#).is_ok());
        for (status, body) in [(404, "<html>"), (404, "{}"), (500, missing), (200, missing)] {
            assert!(record(status, body).is_err(), "{status} {body}");
        }
    }

    #[test]
    fn a_list_may_be_refused_in_words() {
        let list =
            |status, body: &str| judge_list(StatusCode::from_u16(status).unwrap(), body.as_bytes());
        assert!(list(200, r#"{"transaction_details": [], "total_pages": 1}"#).is_ok());
        let refused = r#"{"name": "NOT_AUTHORIZED", "message": "…"}"#;
        assert!(
            matches!(list(403, refused), Err(NoObject::Refused(error)) if says(&error, "NOT_AUTHORIZED"))
        );
        for (status, body) in [
            (403, "<html>"),
            (200, "{}"),
            (200, "<html>"),
            (500, refused),
        ] {
            assert!(
                matches!(list(status, body), Err(NoObject::Unknown(_))),
                "{status} {body}"
            );
        }
        assert_eq!(list(429, refused), Err(BUSY));
    }

    #[test]
    fn only_an_object_or_a_clear_refusal_is_an_answer() {
        assert!(judged(201, r#"{"id": "5O1"}"#).is_ok());
        assert_eq!(judged(204, ""), Ok(Value::Null));
        let refused = |issue: &str| {
            format!(r#"{{"name": "UNPROCESSABLE_ENTITY", "details": [{{"issue": "{issue}"}}]}}"#)
        };
        let declined = refused("INSTRUMENT_DECLINED");
        assert!(matches!(judged(422, &declined), Err(NoObject::Refused(_))));
        assert!(matches!(judged(400, &declined), Err(NoObject::Refused(_))));
        assert_eq!(judged(429, &declined), Err(BUSY));
        assert_eq!(judged(401, &declined), Err(TOKEN_ENDED));
        for (status, body) in [
            (200, "<html>"),
            (200, r#"{"id": "#),
            (200, "{}"),
            (302, ""),
            (400, "<html>"),
            (422, r#"{"details": []}"#),
            (422, &refused("DUPLICATE_REQUEST_ID")),
            (422, &refused("DUPLICATE_INVOICE_ID")),
            (422, &refused("PREVIOUS_REQUEST_IN_PROGRESS")),
            (422, &refused("ORDER_COMPLETION_IN_PROGRESS")),
            (403, &declined),
            (404, &declined),
            (409, &declined),
            (500, &declined),
            (503, ""),
        ] {
            let judged = judged(status, body);
            let unknown = matches!(judged, Err(NoObject::Unknown(_)));
            assert!(unknown, "{status} {body}");
        }
    }
}
