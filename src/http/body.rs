//! Request bodies: JSON declared as JSON (except the page's form), not compressed, at most 64 KiB, received within 10
//! seconds.

use std::time::Duration;

use axum::body::{Body, Bytes, HttpBody};
use axum::extract::rejection::{BytesRejection, FailedToBufferBody};
use axum::extract::{FromRequest, Request};
use axum::http::header::{CONTENT_ENCODING, CONTENT_TYPE};
use axum::http::{HeaderMap, HeaderValue};
use serde_json::Value;

use super::problem::{Kind, Problem};
use crate::wire::json;
use crate::wire::json::Unreadable;

/// Longest body, in bytes.
pub const LIMIT: usize = crate::wire::LONGEST_REQUEST_BYTES;

/// How long a caller may take to send its body.
const PATIENCE: Duration = Duration::from_secs(10);

/// A body as parsed JSON. It may hold a card in clear, so it has no `Debug`.
pub struct JsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for JsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        require_json(request.headers())?;
        let bytes = read(request, state).await?;
        json::parse(&bytes).map(Self).map_err(|unreadable| {
            let sentence = format!("The body {unreadable}.");
            match unreadable {
                Unreadable::Fields(faults) => faults.into(),
                _ => Problem::new(Kind::MalformedJson, sentence),
            }
        })
    }
}

/// A body that may be missing: then it is an empty object.
pub struct OptionalJsonBody(pub Value);

impl<S: Send + Sync> FromRequest<S> for OptionalJsonBody {
    type Rejection = Problem;

    async fn from_request(request: Request, state: &S) -> Result<Self, Problem> {
        let (head, body) = request.into_parts();
        let read_body = read(Request::from_parts(head.clone(), body), state).await?;
        // Only its end tells that a body sent in chunks is empty.
        if read_body.is_empty() {
            return Ok(Self(Value::Object(serde_json::Map::new())));
        }
        let request = Request::from_parts(head, Body::from(read_body));
        let JsonBody(body) = JsonBody::from_request(request, state).await?;
        Ok(Self(body))
    }
}

/// Reads a whole body of any media type.
pub(super) async fn read<S: Send + Sync>(request: Request, state: &S) -> Result<Bytes, Problem> {
    read_up_to(LIMIT, request, state).await
}

/// Reads a whole body of at most so many bytes, which is also the limit of its route.
pub(super) async fn read_up_to<S: Send + Sync>(
    limit: usize,
    request: Request,
    state: &S,
) -> Result<Bytes, Problem> {
    refuse_compressed(request.headers())?;
    // A caller that announces a body that is too long need not send it.
    if request.body().size_hint().lower() > limit as u64 {
        return Err(too_large(limit));
    }
    let received = tokio::time::timeout(PATIENCE, Bytes::from_request(request, state)).await;
    received
        .map_err(|_| Problem::new(Kind::Timeout, "The body did not arrive within 10 seconds."))?
        .map_err(|rejection| not_received(limit, rejection))
}

/// The declared media type, in lower case and without parameters; empty if none is declared.
pub(super) fn media_type(headers: &HeaderMap) -> String {
    headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .and_then(|value| value.split(';').next())
        .map(|media_type| media_type.trim().to_ascii_lowercase())
        .unwrap_or_default()
}

fn require_json(headers: &HeaderMap) -> Result<(), Problem> {
    let media_type = media_type(headers);
    let subtype = media_type.strip_prefix("application/").unwrap_or("");
    if subtype == "json" || subtype.ends_with("+json") {
        return Ok(());
    }
    let sentence = "Send a JSON object, with the header Content-Type: application/json.";
    Err(Problem::new(Kind::UnsupportedMediaType, sentence))
}

fn refuse_compressed(headers: &HeaderMap) -> Result<(), Problem> {
    let is_plain = |value: &HeaderValue| {
        let mut codings = value.as_bytes().split(|byte| *byte == b',');
        codings.all(|coding| {
            let coding = coding.trim_ascii();
            coding.is_empty() || coding.eq_ignore_ascii_case(b"identity")
        })
    };
    if headers.get_all(CONTENT_ENCODING).iter().all(is_plain) {
        return Ok(());
    }
    Err(compressed())
}

/// The answer to a compressed body.
pub(super) fn compressed() -> Problem {
    let sentence = "The body is compressed: send it as it is, without the header Content-Encoding.";
    Problem::new(Kind::ContentCoding, sentence)
}

/// The answer to a body that is longer than so many bytes.
pub(super) fn too_large(limit: usize) -> Problem {
    let sentence = format!("The body is longer than {} KiB.", limit / 1024);
    Problem::new(Kind::TooLarge, sentence)
}

fn not_received(limit: usize, rejection: BytesRejection) -> Problem {
    match rejection {
        BytesRejection::FailedToBufferBody(FailedToBufferBody::LengthLimitError(_)) => {
            too_large(limit)
        }
        _ => Problem::new(
            Kind::BadRequest,
            "The connection ended before the body was complete.",
        ),
    }
}
