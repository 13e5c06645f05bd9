//! HTTP towards payment platforms: one client for every connector, and what an answer that is none means.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, to_bytes};
use axum::http::{HeaderMap, HeaderValue, Request, StatusCode, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

use super::availability::Availability;

/// The most that is read of an answer, in bytes.
const LONGEST_ANSWER: usize = 256 * 1024;

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);

/// How long a connection may take. A call that has no connection by then was not sent.
const CONNECT: Duration = Duration::from_secs(2);

/// Sends requests to one platform. Follows no redirects.
pub(super) struct Http {
    client: Client<HttpsConnector<HttpConnector>, Body>,
    base: String,
    availability: Arc<Availability>,
}

/// Why there is no object in the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoObject {
    /// The request was provably not executed: there was no connection, there are too many requests, or
    /// the key is refused.
    NotExecuted(&'static str),
    /// The platform has refused the request: its description of the error.
    Refused(Value),
    /// Anything may have happened.
    Unknown(String),
}

impl Http {
    /// `base` is `https://api.stripe.com`, or another server with the same API.
    pub(super) fn new(base: &str, availability: Arc<Availability>) -> Result<Self, rustls::Error> {
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(roots)
            .with_no_client_auth();
        let mut connector = HttpConnector::new();
        connector.enforce_http(false);
        connector.set_nodelay(true);
        connector.set_connect_timeout(Some(CONNECT));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(tls)
            .https_or_http()
            .enable_http1()
            .wrap_connector(connector);
        let client = Client::builder(TokioExecutor::new())
            .pool_timer(TokioTimer::new())
            .pool_idle_timeout(IDLE)
            .build(connector);
        let base = base.trim_end_matches('/').to_owned();
        Ok(Self {
            client,
            base,
            availability,
        })
    }

    /// The same platform, but calls through this one say nothing about calls through the other, and wait for none.
    pub(super) fn apart(&self, availability: Arc<Availability>) -> Self {
        Self {
            client: self.client.clone(),
            base: self.base.clone(),
            availability,
        }
    }

    /// The address of a path: `/v1/refunds`.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends a request, unless the platform is not to be called now; `judge` says what the answer's status and body mean.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
        judge: impl FnOnce(StatusCode, &[u8]) -> Result<Value, NoObject>,
    ) -> Result<Value, NoObject> {
        let sent = self.send_within(request, LONGEST_ANSWER, judge).await;
        sent.map_err(|(no_object, _)| no_object)
    }

    /// The same for an answer with at most so many bytes. If the platform is busy, it may say for how long.
    pub(super) async fn send_within(
        &self,
        request: Request<Body>,
        longest: usize,
        judge: impl FnOnce(StatusCode, &[u8]) -> Result<Value, NoObject>,
    ) -> Result<Value, (NoObject, Option<Duration>)> {
        let call = self.availability.call().map_err(|_| (NOT_CALLED, None))?;
        let answer = match self.client.request(request).await {
            Ok(answer) => answer,
            Err(error) => {
                call.failed();
                let no_object = if error.is_connect() {
                    NoObject::NotExecuted("processor_unreachable")
                } else {
                    NoObject::Unknown(error.to_string())
                };
                return Err((self.logged(no_object), None));
            }
        };
        let status = answer.status();
        let retry_after = retry_after(answer.headers());
        let body = match to_bytes(Body::new(answer.into_body()), longest).await {
            Ok(body) => body,
            Err(error) => {
                call.failed();
                let no_object = NoObject::Unknown(error.to_string());
                return Err((self.logged(no_object), None));
            }
        };
        let judged = judge(status, &body);
        match &judged {
            Err(no_object) if *no_object == BUSY => call.busy(retry_after),
            Err(no_object) if *no_object == KEY_REFUSED => call.key_refused(),
            Err(NoObject::Unknown(_)) if !status.is_client_error() => call.failed(),
            _ => call.answered(),
        }
        judged.map_err(|no_object| (self.logged(no_object), retry_after))
    }

    fn logged(&self, no_object: NoObject) -> NoObject {
        let processor = self.availability.processor();
        match &no_object {
            NoObject::NotExecuted(why) => {
                tracing::warn!(processor, why, "a call of a platform was not executed");
            }
            NoObject::Unknown(why) => {
                tracing::warn!(processor, why, "a platform gave no usable answer");
            }
            // What that means depends on the call.
            NoObject::Refused(_) => {}
        }
        no_object
    }
}

/// In seconds, as platforms send it.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers.get(header::RETRY_AFTER)?.to_str().ok()?;
    seconds.trim().parse().ok().map(Duration::from_secs)
}

/// The platform is not to be called now.
pub(super) const NOT_CALLED: NoObject = NoObject::NotExecuted("processor_not_called");

/// Nothing was sent, because the request could not be made.
pub(super) const NOT_SENT: NoObject = NoObject::NotExecuted("request_impossible");

/// The platform does not execute more requests now.
pub(super) const BUSY: NoObject = NoObject::NotExecuted("processor_busy");

/// The platform refuses the account's key.
pub(super) const KEY_REFUSED: NoObject = NoObject::NotExecuted("processor_refuses_key");

/// A header's value.
pub(super) fn value(text: &str) -> Result<HeaderValue, NoObject> {
    HeaderValue::from_str(text).map_err(|_| NOT_SENT)
}

/// A header's value that no log shows.
pub(super) fn secret(text: &str) -> Result<HeaderValue, NoObject> {
    let mut value = value(text)?;
    value.set_sensitive(true);
    Ok(value)
}
