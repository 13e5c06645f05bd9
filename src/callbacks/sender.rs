//! Makes one HTTP call: without a proxy, only to an allowed address, with a time-out, without following redirects, and
//! reading no more of the answer than needed.

use std::error::Error;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::body::{Body, Bytes, to_bytes};
use axum::http::Request;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use rustls::ClientConfig;
use rustls::crypto::ring;
use tokio::time::timeout;

use super::event::Event;
use super::failure::Failure;
use super::request;
use super::settings::CallbackSettings;
use crate::callbacks::resolver::{ResolveError, Resolver};
use crate::clients::address::check_literal;
use crate::clients::callback::{Callback, Format};
use crate::domain::Timestamp;

/// How many bytes of an answer are read; the rest is ignored.
const LONGEST_ANSWER: usize = 64 * 1024;

/// How long to wait for the rest of an answer whose status is enough.
const DRAIN: Duration = Duration::from_millis(100);

/// An idle connection is closed after this time.
const IDLE: Duration = Duration::from_secs(30);

type Http = Client<HttpsConnector<HttpConnector<Resolver>>, Body>;

/// Sends events to receivers.
pub struct Sender {
    /// For receivers on the internet.
    public: Http,
    /// For receivers that may have private addresses. It is separate, so that no client uses a connection that only
    /// others may make.
    anywhere: Http,
    timeout: Duration,
}

impl Sender {
    /// Trusts the system's CA certificates and those of the settings.
    pub fn new(settings: &CallbackSettings) -> Result<Self, rustls::Error> {
        let longest = settings.timeout;
        let tls = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()?
            .with_root_certificates(settings.authorities.and_the_system_s())
            .with_no_client_auth();
        let http = |allow_private| {
            let mut connector = HttpConnector::new_with_resolver(Resolver { allow_private });
            connector.enforce_http(false);
            connector.set_nodelay(true);
            connector.set_connect_timeout(Some(longest / 2));
            let connector = HttpsConnectorBuilder::new()
                .with_tls_config(tls.clone())
                .https_or_http()
                .enable_http1()
                .wrap_connector(connector);
            Client::builder(TokioExecutor::new())
                .pool_timer(TokioTimer::new())
                .pool_idle_timeout(IDLE)
                .build(connector)
        };
        Ok(Self {
            public: http(false),
            anywhere: http(true),
            timeout: longest,
        })
    }

    /// Sends one event, signed for this moment, or returns why it failed.
    pub async fn send(
        &self,
        event: &Event,
        callback: &Callback,
        now: Timestamp,
    ) -> Result<(), Failure> {
        let request = request::of(event, callback, now)?;
        let client = if callback.allow_private_addresses {
            &self.anywhere
        } else {
            let host = callback.url.host().unwrap_or_default();
            check_literal(host).map_err(|refused| address_refused(&refused))?;
            &self.public
        };
        let call = call(client, request, callback);
        let timed_out = |_| {
            let error = format!("The receiver did not answer within {:?}.", self.timeout);
            Err(Failure::again("timeout", error))
        };
        timeout(self.timeout, call).await.unwrap_or_else(timed_out)
    }
}

async fn call(client: &Http, request: Request<Body>, callback: &Callback) -> Result<(), Failure> {
    let answer = client
        .request(request)
        .await
        .map_err(|error| failure(&error))?;
    let status = answer.status();
    // An answer that is too long counts as empty, and its connection is not used again.
    let body = to_bytes(Body::new(answer.into_body()), LONGEST_ANSWER);
    let body = if callback.format == Format::StoreManager && status.is_success() {
        body.await
    } else {
        // The status is enough. The body is read only to reuse the connection: an endless body must not turn a delivered
        // event into a time-out.
        timeout(DRAIN, body).await.unwrap_or(Ok(Bytes::new()))
    };
    request::judge(callback.format, status, &body.unwrap_or_default())
}

fn failure(error: &hyper_util::client::legacy::Error) -> Failure {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        if let Some(ResolveError::Refused(refused)) = cause.downcast_ref() {
            return address_refused(refused);
        }
        if let Some(why) = not_trusted(cause) {
            let error = format!("The receiver's certificate is not trusted: {why}.");
            return Failure::again("not_trusted", error);
        }
        words = cause.to_string();
        source = cause.source();
    }
    let error = format!("The receiver cannot be reached: {words}.");
    Failure::again("not_reached", error)
}

/// Finds the certificate error, however many I/O errors wrap it.
fn not_trusted<'a>(cause: &'a (dyn Error + 'static)) -> Option<&'a rustls::CertificateError> {
    let wrapped = cause.downcast_ref::<io::Error>()?.get_ref()?;
    match wrapped.downcast_ref() {
        Some(rustls::Error::InvalidCertificate(why)) => Some(why),
        Some(_) => None,
        None => not_trusted(wrapped),
    }
}

/// The address may be corrected within the day.
fn address_refused(refused: &crate::clients::address::Refused) -> Failure {
    Failure::again(
        "address_refused",
        format!("The receiver is not called: {refused}."),
    )
}
