//! HTTP towards payment platforms: one client for every connector, and what an answer that is none means.

use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::response::Parts;
use axum::http::{HeaderValue, Request, StatusCode};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::crypto::ring;
use rustls::{ClientConfig, RootCertStore};
use serde_json::Value;

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
}

/// Why there is no object in the answer.
#[derive(Debug, Clone, PartialEq)]
pub(super) enum NoObject {
    /// The request was provably not executed: there was no connection, or there are too many requests.
    NotExecuted(&'static str),
    /// The platform has refused the request: its description of the error.
    Refused(Value),
    /// Anything may have happened.
    Unknown(String),
}

impl Http {
    /// `base` is `https://api.stripe.com`, or another server with the same API.
    pub(super) fn new(base: &str) -> Result<Self, rustls::Error> {
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
        Ok(Self { client, base })
    }

    /// The address of a path: `/v1/refunds`.
    pub(super) fn address(&self, path: &str) -> String {
        format!("{}{path}", self.base)
    }

    /// Sends a request, and reads the whole answer.
    pub(super) async fn send(
        &self,
        request: Request<Body>,
    ) -> Result<(StatusCode, Bytes), NoObject> {
        let (parts, body) = self.call(request, LONGEST_ANSWER).await?;
        Ok((parts.status, body))
    }

    /// Sends a request, and reads the whole answer with its head, if its body has at most so many bytes.
    pub(super) async fn call(
        &self,
        request: Request<Body>,
        longest: usize,
    ) -> Result<(Parts, Bytes), NoObject> {
        let answer = self.client.request(request).await.map_err(|error| {
            if error.is_connect() {
                NoObject::NotExecuted("processor_unreachable")
            } else {
                NoObject::Unknown(error.to_string())
            }
        })?;
        let (parts, body) = answer.into_parts();
        let body = to_bytes(Body::new(body), longest).await;
        let body = body.map_err(|error| NoObject::Unknown(error.to_string()))?;
        Ok((parts, body))
    }
}

/// Nothing was sent, because the request could not be made.
pub(super) const NOT_SENT: NoObject = NoObject::NotExecuted("request_impossible");

/// The platform does not execute more requests now.
pub(super) const BUSY: NoObject = NoObject::NotExecuted("processor_busy");

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
