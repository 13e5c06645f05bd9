//! `/openapi.json`, and `/docs`: a page to read and try it, with all its assets in this program.
//!
//! The page is Swagger UI (docs/README.md has the version). Its policy lets it load from and call only this service.

use std::sync::Arc;

use axum::Router;
use axum::body::Bytes;
use axum::extract::{Path, State};
use axum::http::header::{
    ACCEPT_ENCODING, CACHE_CONTROL, CONTENT_ENCODING, CONTENT_SECURITY_POLICY, CONTENT_TYPE,
    HeaderName, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS,
};
use axum::http::{HeaderMap, Uri};
use axum::response::{IntoResponse, Response};
use axum::routing::get;

use super::openapi;
use super::problem::{Kind, Problem};

/// Scripts only from this service and none inline; Swagger UI sets styles on its elements, and uses `data:` images.
const POLICY: &str = "default-src 'none'; script-src 'self'; style-src 'self' 'unsafe-inline'; img-src 'self' data:; \
                      connect-src 'self'; base-uri 'none'; form-action 'none'; frame-ancestors 'none'";

const PAGE: &str = include_str!("index.html");

struct Asset {
    name: &'static str,
    media_type: &'static str,
    gzip: bool,
    content: &'static [u8],
}

const ASSETS: [Asset; 4] = [
    Asset {
        name: "swagger-ui-bundle.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: true,
        content: include_bytes!("swagger-ui-bundle.js.gz"),
    },
    Asset {
        name: "swagger-ui.css",
        media_type: "text/css; charset=utf-8",
        gzip: true,
        content: include_bytes!("swagger-ui.css.gz"),
    },
    Asset {
        name: "narrow.css",
        media_type: "text/css; charset=utf-8",
        gzip: false,
        content: include_bytes!("narrow.css"),
    },
    Asset {
        name: "start.js",
        media_type: "text/javascript; charset=utf-8",
        gzip: false,
        content: include_bytes!("start.js"),
    },
];

/// Needs no key: nothing here depends on who runs the service.
pub fn routes() -> Router {
    let description: Arc<Bytes> = Arc::new(openapi::document().to_string().into());
    Router::new()
        .route("/openapi.json", get(describe).with_state(description))
        .route("/docs", get(page))
        .route("/docs/{asset}", get(asset))
}

async fn describe(State(description): State<Arc<Bytes>>) -> Response {
    let json = [(CONTENT_TYPE, "application/json")];
    (json, Bytes::clone(&description)).into_response()
}

async fn page() -> Response {
    let headers = [
        (CONTENT_TYPE, "text/html; charset=utf-8"),
        (CONTENT_SECURITY_POLICY, POLICY),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (REFERRER_POLICY, "no-referrer"),
    ];
    (headers, PAGE).into_response()
}

async fn asset(
    Path(name): Path<String>,
    headers: HeaderMap,
    uri: Uri,
) -> Result<Response, Problem> {
    let Some(asset) = ASSETS.iter().find(|asset| asset.name == name) else {
        return Err(Problem::unknown_address(&uri));
    };
    if asset.gzip && refuses_gzip(&headers) {
        let sentence = "This file is available only with gzip: send Accept-Encoding: gzip.";
        return Err(Problem::new(Kind::NotFound, sentence));
    }
    let mut named: Vec<(HeaderName, &str)> = vec![
        (CONTENT_TYPE, asset.media_type),
        (X_CONTENT_TYPE_OPTIONS, "nosniff"),
        // It changes only with the program.
        (CACHE_CONTROL, "public, max-age=3600"),
    ];
    if asset.gzip {
        named.push((CONTENT_ENCODING, "gzip"));
    }
    let mut response = asset.content.into_response();
    for (name, value) in named {
        if let Ok(value) = value.parse() {
            response.headers_mut().insert(name, value);
        }
    }
    Ok(response)
}

/// Whether a caller lists encodings without gzip. Without the header any encoding may be sent (RFC 9110, section 12.5.3).
fn refuses_gzip(headers: &HeaderMap) -> bool {
    let mut named = headers.get_all(ACCEPT_ENCODING).iter().peekable();
    let accepts = |text: &str| text.contains("gzip") || text.contains('*');
    named.peek().is_some() && !named.any(|value| value.to_str().is_ok_and(accepts))
}
