//! The two callback formats: what is sent in each, and which answers count as delivered.

use axum::body::Body;
use axum::http::{HeaderName, HeaderValue, Method, Request, StatusCode, header};
use serde_json::{Value, json};
use time::OffsetDateTime;

use super::event::Event;
use super::failure::Failure;
use super::signature;
use crate::clients::callback::{Callback, Format};

const USER_AGENT: &str = concat!("payment-service/", env!("CARGO_PKG_VERSION"));

/// The request of one call, signed for this moment.
pub fn of(
    event: &Event,
    callback: &Callback,
    now: OffsetDateTime,
) -> Result<Request<Body>, Failure> {
    let (method, body) = match callback.format {
        Format::StandardWebhooks => (Method::POST, event.body.clone()),
        Format::StoreManager => (Method::PUT, order_paid(event)?),
    };
    let since_1970 = (now - OffsetDateTime::UNIX_EPOCH)
        .try_into()
        .unwrap_or_default();
    let signed = signature::headers(&callback.secrets, &event.id, since_1970, &body);
    let mut request = Request::new(Body::from(body));
    *request.method_mut() = method;
    *request.uri_mut() = callback.url.clone();
    let headers = request.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        HeaderValue::from_static("application/json"),
    );
    headers.insert(header::USER_AGENT, HeaderValue::from_static(USER_AGENT));
    for (name, value) in signed {
        let value = HeaderValue::from_str(&value).map_err(|_| {
            Failure::last(
                "event_unreadable",
                "The event's id is not a valid header value.",
            )
            .without_a_call()
        })?;
        headers.insert(HeaderName::from_static(name), value);
    }
    Ok(request)
}

/// Whether the receiver accepted the event. Redirects are answers like others: they are never followed.
pub fn judge(format: Format, status: StatusCode, body: &[u8]) -> Result<(), Failure> {
    match status {
        StatusCode::GONE => Err(Failure::last(
            "gone",
            "The receiver answered 410: it wants no more callbacks.",
        )
        .about_the_event()),
        _ if status.is_redirection() => Err(Failure::again(
            "redirect",
            format!(
                "The receiver answered {}; redirects are not followed.",
                status.as_u16()
            ),
        )),
        _ if status.is_client_error() => Err(client_error(status)),
        _ if !status.is_success() => Err(Failure::again(
            "server_error",
            format!("The receiver answered {}.", status.as_u16()),
        )),
        _ => match format {
            Format::StandardWebhooks => Ok(()),
            Format::StoreManager => updated(body),
        },
    }
}

/// Most 4xx answers mean that the receiver works but cannot use this event; a few mean that it is too busy.
fn client_error(status: StatusCode) -> Failure {
    let failure = Failure::again(
        "client_error",
        format!("The receiver answered {}.", status.as_u16()),
    );
    match status {
        StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_EARLY | StatusCode::TOO_MANY_REQUESTS => {
            failure
        }
        _ => failure.about_the_event(),
    }
}

/// Only Store Manager itself sends this answer; a page of a proxy in front of it does not.
fn updated(body: &[u8]) -> Result<(), Failure> {
    let answer: Value = serde_json::from_slice(body).unwrap_or_default();
    match answer["updated"].as_bool() {
        Some(true) => Ok(()),
        Some(false) => Err(Failure::again(
            "not_updated",
            "The receiver answered {\"updated\": false}: it does not know the order.",
        )
        .about_the_event()),
        None => Err(Failure::again(
            "not_understood",
            "The receiver answered 2xx without {\"updated\": true}.",
        )),
    }
}

/// Store Manager keeps ids in 32 bits and accepts numbers and booleans, not strings. Newer copies of it store the
/// payment's id.
fn order_paid(event: &Event) -> Result<String, Failure> {
    let unreadable =
        |_| Failure::last("event_unreadable", "The event is not JSON.").without_a_call();
    let body: Value = serde_json::from_str(&event.body).map_err(unreadable)?;
    let order_id = body["data"]["order_id"].as_i64();
    let order_id = order_id
        .and_then(|id| i32::try_from(id).ok())
        .ok_or_else(|| {
            Failure::last(
                "order_id_too_large",
                "Store Manager cannot have this order: its ids have 32 bits.",
            )
            .without_a_call()
        })?;
    let payment_id = &body["data"]["payment_id"];
    let told = json!({ "order_id": order_id, "is_paid": true, "payment_id": payment_id });
    Ok(told.to_string())
}

#[cfg(test)]
mod tests;
