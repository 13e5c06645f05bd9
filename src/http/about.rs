//! `GET /`: reports that the service runs. A browser gets a small page of links.

use std::sync::Arc;

use askama::Template;
use axum::Json;
use axum::extract::State;
use axum::http::header::{CONTENT_SECURITY_POLICY, CONTENT_TYPE, VARY, X_CONTENT_TYPE_OPTIONS};
use axum::http::{HeaderMap, HeaderValue};
use axum::response::{IntoResponse, Response};
use serde_json::json;

use super::Api;
use super::page::wants_html;
use super::problem::Problem;
use crate::domain::{ClientName, PaymentId};
use crate::store::rows::PaymentFilter;

/// Allows only the style within the page.
const POLICY: &str = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'; \
                      frame-ancestors 'none'";

#[derive(Template)]
#[template(path = "about.html")]
struct AboutPage {
    version: &'static str,
    needs_key: bool,
    /// The newest payment, where the page may show it.
    payment: Option<i64>,
    /// The operators' page, where it can be opened without a token.
    operators: Option<std::net::SocketAddr>,
}

/// JSON by default; the page for a caller that ranks HTML above JSON.
pub async fn about(State(api): State<Arc<Api>>, headers: HeaderMap) -> Response {
    let mut response = if wants_html(&headers) {
        page(&api).await
    } else {
        let running = json!({
            "service": env!("CARGO_PKG_NAME"),
            "status": "running",
            "version": env!("CARGO_PKG_VERSION"),
            "processor": api.processor,
        });
        Json(running).into_response()
    };
    let varies = HeaderValue::from_static("Accept");
    response.headers_mut().insert(VARY, varies);
    response
}

async fn page(api: &Api) -> Response {
    let everyone = api.clients.default_client();
    let view = AboutPage {
        version: env!("CARGO_PKG_VERSION"),
        needs_key: everyone.is_none(),
        payment: match everyone {
            Some(client) => newest(api, client).await.map(|id| id.0),
            None => None,
        },
        operators: api.operators_page,
    };
    let html = match view.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return Problem::internal().into_response();
        }
    };
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, html).into_response()
}

/// The newest payment. If the store cannot be read, the link is left out: it is only a convenience.
async fn newest(api: &Api, client: ClientName) -> Option<PaymentId> {
    let filter = PaymentFilter {
        client,
        order_id: None,
        user_id: None,
        status: None,
        before: None,
        limit: 1,
    };
    let found = api.queries.payments(&filter).await.ok()?;
    found.first().map(|payment| payment.id)
}
