//! Routes addresses to handlers, and applies what all of them share: limits, panics, traces.

use std::any::Any;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::{DefaultBodyLimit, Request, State};
use axum::http::header::{CACHE_CONTROL, CONTENT_TYPE};
use axum::http::{HeaderValue, Method, Uri};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use tokio::sync::Mutex;
use tower_http::catch_panic::CatchPanicLayer;

use super::health::{self, Health};
use super::measure::{Measures, measure};
use super::observed::observed;
use super::problem::{Kind, Problem};
use super::{
    Api, about, admin, body, card_tokens, docs, events, list, operations, page, payments, process,
    webhooks,
};
use crate::watchdog::vital::count_panics;

/// How long a request may take in addition to waiting: reading a slow body, and a store at its limit.
const WORKING_TIME: Duration = Duration::from_secs(30);

/// The REST interface.
pub fn router(api: Api) -> Router {
    let longest = api.max_wait.max(api.process_wait) + WORKING_TIME;
    let health = health_routes(api.health.clone());
    count_panics("http", 0);
    let routes = Router::new()
        .route("/", get(about::about))
        .route("/payments", post(payments::create).get(list::list))
        .route("/payments/{payment_id}", get(payments::show))
        .route("/payments/{payment_id}/process", post(process::present))
        // The address that the service before this one used, and that shoppers get.
        .route(
            "/payments/process/{payment_id}",
            get(page::show).post(page::present),
        )
        .route(
            "/simulator/actions/{secret}",
            get(page::shopper::show).post(page::shopper::choose),
        )
        .route("/payments/{payment_id}/events", get(events::list))
        .route("/payments/{payment_id}/cancel", post(operations::cancel))
        .route("/payments/{payment_id}/capture", post(operations::capture))
        .route(
            "/payments/{payment_id}/refunds",
            post(operations::refund).get(operations::list),
        )
        .route("/refunds/{refund_id}", get(operations::show))
        .route("/card-tokens", post(card_tokens::create))
        .route(
            "/webhooks/{processor}",
            post(webhooks::receive).layer(DefaultBodyLimit::max(webhooks::LIMIT)),
        )
        .with_state(Arc::new(api))
        .merge(health)
        .merge(docs::routes());
    guarded(routes)
        .layer(middleware::from_fn_with_state(longest, within))
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(not_stored))
        .layer(middleware::from_fn_with_state(Measures::new(), measure))
        .layer(middleware::from_fn(observed))
}

/// The operators' address: `/metrics` (the output of `render`, in Prometheus' text format), `/health/*`, and the pages,
/// which check who may open them.
pub fn admin_router(
    health: Health,
    render: Arc<dyn Fn() -> String + Send + Sync>,
    pages: Router,
) -> Router {
    // One at a time, so that a flood of requests for metrics uses one thread and leaves the others to the health probes.
    let rendering = Arc::new(Mutex::new(()));
    let metrics = move || {
        let (render, rendering) = (Arc::clone(&render), Arc::clone(&rendering));
        async move {
            let _turn = rendering.lock().await;
            let text_form = HeaderValue::from_static("text/plain; version=0.0.4; charset=utf-8");
            ([(CONTENT_TYPE, text_form)], render())
        }
    };
    let routes = Router::new()
        .route("/metrics", get(metrics))
        .merge(health_routes(health))
        .merge(pages);
    guarded(routes)
        .layer(CatchPanicLayer::custom(panicked))
        .layer(middleware::map_response(not_stored))
        .layer(middleware::map_response(admin::guard::guard_unknown))
}

fn health_routes(health: Health) -> Router {
    Router::new()
        .route("/health/live", get(health::live))
        .route("/health/ready", get(health::ready))
        .with_state(health)
}

fn guarded(routes: Router) -> Router {
    routes
        .fallback(async |uri: Uri| Problem::unknown_address(&uri))
        .method_not_allowed_fallback(unknown_method)
        .layer(DefaultBodyLimit::max(body::LIMIT))
}

async fn unknown_method(method: Method, uri: Uri) -> Problem {
    let path: String = uri.path().chars().take(100).collect();
    let sentence =
        format!("{method} is not allowed at {path}; the header Allow lists the methods that are.");
    Problem::new(Kind::MethodNotAllowed, sentence)
}

/// No answer takes longer than this, whatever hangs behind it. What was accepted meanwhile stays accepted.
async fn within(State(longest): State<Duration>, request: Request, next: Next) -> Response {
    match tokio::time::timeout(longest, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            tracing::warn!("a request exceeded the time limit");
            let sentence = "The service took too long; try again, with the same Idempotency-Key if there was one.";
            Problem::new(Kind::Unavailable, sentence).into_response()
        }
    }
}

fn panicked(panic: Box<dyn Any + Send + 'static>) -> Response {
    let said = panic
        .downcast_ref::<&str>()
        .copied()
        .or_else(|| panic.downcast_ref::<String>().map(String::as_str))
        .unwrap_or("nothing");
    count_panics("http", 1);
    tracing::error!(panic = said, "a handler panicked");
    Problem::internal().into_response()
}

/// A status can change at any moment, so caches must not store it. A response that sets its own caching keeps it.
async fn not_stored(mut response: Response) -> Response {
    let no_store = HeaderValue::from_static("no-store");
    response
        .headers_mut()
        .entry(CACHE_CONTROL)
        .or_insert(no_store);
    response
}
