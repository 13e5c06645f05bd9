//! The answers that show a payment: status, headers and the `Payment` object, all built here.

use axum::Json;
use axum::http::header::{ETAG, HeaderName, LOCATION, RETRY_AFTER};
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};

use super::headers::has_version;
use super::prefer::{PREFERENCE_APPLIED, Prefer};
use crate::domain::{Payment, PaymentStatus};
use crate::wire::payment::PaymentObject;

const IDEMPOTENT_REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// Answer to a `POST` that may start an attempt: 200 with an outcome, 202 while there is none.
pub fn accepted(payment: &Payment, prefer: Prefer) -> Response {
    let open = matches!(
        payment.status,
        PaymentStatus::Processing | PaymentStatus::RequiresPaymentMethod
    );
    let status = if open {
        StatusCode::ACCEPTED
    } else {
        StatusCode::OK
    };
    let mut response = (status, Json(PaymentObject::from(payment))).into_response();
    let headers = response.headers_mut();
    describe(headers, payment);
    if let Ok(location) = HeaderValue::try_from(format!("/payments/{}", payment.id)) {
        headers.insert(LOCATION, location);
    }
    if let Some(applied) = prefer.applied(open) {
        headers.insert(PREFERENCE_APPLIED, applied);
    }
    response
}

/// Answer to `POST /payments`: for a payment without a card the status is configured (`CREATED_STATUS`).
pub fn created(payment: &Payment, prefer: Prefer, without_card: StatusCode) -> Response {
    let mut response = accepted(payment, prefer);
    if payment.status == PaymentStatus::RequiresPaymentMethod {
        *response.status_mut() = without_card;
    }
    response
}

/// Marks an answer to a repeated request.
pub fn replayed(mut response: Response) -> Response {
    let yes = HeaderValue::from_static("true");
    response.headers_mut().insert(IDEMPOTENT_REPLAYED, yes);
    response
}

/// The payment in its current state, whatever that is: 200.
pub fn as_it_stands(payment: &Payment) -> Response {
    let mut response = Json(PaymentObject::from(payment)).into_response();
    describe(response.headers_mut(), payment);
    response
}

/// Answer to a `GET`: 200, or 304 if the caller has this version.
pub fn version(payment: &Payment, prefer: Prefer, request: &HeaderMap) -> Response {
    let mut response = if has_version(request, &etag(payment)) {
        let mut response = StatusCode::NOT_MODIFIED.into_response();
        describe(response.headers_mut(), payment);
        response
    } else {
        as_it_stands(payment)
    };
    if let Some(applied) = prefer.applied(false) {
        response.headers_mut().insert(PREFERENCE_APPLIED, applied);
    }
    response
}

fn describe(headers: &mut HeaderMap, payment: &Payment) {
    if let Ok(etag) = HeaderValue::try_from(etag(payment)) {
        headers.insert(ETAG, etag);
    }
    if payment.status == PaymentStatus::Processing {
        headers.insert(RETRY_AFTER, HeaderValue::from_static("1"));
    }
}

/// The sequence grows with every change, so payment id and sequence identify one version.
fn etag(payment: &Payment) -> String {
    format!("\"{}-{}\"", payment.id, payment.sequence)
}
