//! What is logged about each request, and its id: `X-Request-Id` of the caller, or a new one. Every answer returns it.

use std::sync::{Arc, OnceLock};
use std::time::Instant;

use axum::extract::{MatchedPath, Request};
use axum::http::request::Parts;
use axum::http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use axum::middleware::Next;
use axum::response::Response;
use tracing::{Instrument, Span, field, info_span};
use uuid::Uuid;

use crate::domain::card::without_card_number;
use crate::domain::{ClientName, PaymentId};
use crate::wire::{TRACEPARENT, callers_trace_id};

/// Request and response header.
pub const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The longest id that is accepted, in characters.
const LONGEST_ID: usize = 128;

/// What the handlers find out about a request, for the log.
#[derive(Debug, Default)]
pub struct Known {
    client: OnceLock<ClientName>,
    payment: OnceLock<PaymentId>,
}

impl Known {
    /// Remembers the client that sends a request.
    pub fn client(parts: &Parts, client: &ClientName) {
        if let Some(known) = parts.extensions.get::<Arc<Self>>() {
            let _ = known.client.set(client.clone());
        }
    }

    /// Remembers the payment in the address of a request.
    pub fn payment(parts: &Parts, payment: PaymentId) {
        Span::current().record("payment.id", payment.0);
        if let Some(known) = parts.extensions.get::<Arc<Self>>() {
            let _ = known.payment.set(payment);
        }
    }
}

/// The problem in an answer, for the log: without its sentences, which repeat values of the request.
#[derive(Debug, Clone)]
pub struct Refused {
    /// The name in the problem's `type`.
    pub name: &'static str,
    /// The invalid fields.
    pub fields: String,
}

/// Gives each request an id and a span, and logs refusals.
pub async fn observed(mut request: Request, next: Next) -> Response {
    let began = Instant::now();
    let id = request_id(request.headers());
    let span = span(&request, id.to_str().unwrap_or_default());
    let known = Arc::new(Known::default());
    request.extensions_mut().insert(Arc::clone(&known));
    let trace = trace_of(request.headers());
    let answering = async {
        let response = next.run(request).await;
        let status = response.status();
        Span::current().record("http.response.status_code", status.as_u16());
        if let Some(refused) = response.extensions().get::<Refused>() {
            log(refused, status, (&known, trace, began));
        }
        tracing::debug!(took = ?began.elapsed(), "answered");
        response
    };
    let mut response = answering.instrument(span).await;
    response.headers_mut().insert(REQUEST_ID, id);
    response
}

/// One span for each request, without headers, query and body: they hold keys and cards.
fn span(request: &Request, id: &str) -> Span {
    let route = request
        .extensions()
        .get::<MatchedPath>()
        .map_or("", MatchedPath::as_str);
    info_span!(
        "http",
        http.request.method = %request.method(),
        http.route = route,
        http.request.id = id,
        http.response.status_code = field::Empty,
        payment.id = field::Empty,
    )
}

/// At `info` if a client sent the request and must correct it. Strangers could fill the disk, and during an overload or an
/// outage the lines would be many and alike: health and metrics report those.
fn log(
    refused: &Refused,
    status: StatusCode,
    (known, trace, began): (&Known, Option<String>, Instant),
) {
    macro_rules! refusal {
        ($level:ident) => {
            tracing::$level!(
                payment.client = known.client.get().map(ClientName::as_str),
                "error.type" = refused.name,
                "error.fields" = (!refused.fields.is_empty()).then_some(refused.fields.as_str()),
                duration_ms = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX),
                trace_id = trace.as_deref(),
                "a request was refused"
            )
        };
    }
    let is_clients_fault = status.is_client_error() && status != StatusCode::TOO_MANY_REQUESTS;
    if is_clients_fault && known.client.get().is_some() {
        refusal!(info);
    } else {
        refusal!(debug);
    }
}

/// The trace id that the caller names, if any.
fn trace_of(headers: &HeaderMap) -> Option<String> {
    let traceparent = headers.get(TRACEPARENT)?.to_str().ok()?;
    callers_trace_id(traceparent).map(str::to_owned)
}

/// The caller's id, if it has up to 128 characters that are safe in logs; masked if it contains a card number. Otherwise
/// a new one.
fn request_id(headers: &HeaderMap) -> HeaderValue {
    let given = headers.get(REQUEST_ID).and_then(|it| it.to_str().ok());
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_.:/+=@".contains(c);
    let given = given.filter(|id| (1..=LONGEST_ID).contains(&id.len()) && id.chars().all(is_safe));
    let kept = given.and_then(|id| HeaderValue::from_str(without_card_number(id)).ok());
    kept.unwrap_or_else(|| {
        let new = HeaderValue::from_str(&Uuid::now_v7().to_string());
        new.unwrap_or_else(|_| HeaderValue::from_static("none"))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn id_for(given: &str) -> String {
        let mut headers = HeaderMap::new();
        headers.insert(REQUEST_ID, given.parse().expect("a header"));
        request_id(&headers).to_str().expect("a text").to_owned()
    }

    #[test]
    fn a_safe_id_is_kept_and_any_other_replaced() {
        for safe in [
            "a",
            "Root=1-5759e988-bd862e3fe1be46a994272793",
            "0198c0de/7+@_.:",
        ] {
            assert_eq!(id_for(safe), safe);
        }
        assert_eq!(id_for(&"x".repeat(128)), "x".repeat(128));
        let too_long = "x".repeat(129);
        for unsafe_id in ["", "a b", "a\"b", "é", "{\"a\":1}", too_long.as_str()] {
            let made = id_for(unsafe_id);
            assert!(Uuid::parse_str(&made).is_ok(), "{unsafe_id}: {made}");
        }
        let made = request_id(&HeaderMap::new());
        assert!(Uuid::parse_str(made.to_str().expect("a text")).is_ok());
        for card in ["4242424242424242", "order-4242.4242.4242.4242"] {
            assert_eq!(id_for(card), "[masked]");
        }
    }
}
