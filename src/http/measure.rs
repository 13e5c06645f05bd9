//! Counts and times the requests to each route.

use std::sync::Arc;

use axum::extract::{MatchedPath, Request, State};
use axum::http::StatusCode;
use axum::middleware::Next;
use axum::response::Response;
use metrics::{Counter, Histogram};
use tokio::time::Instant;

use crate::metric;

/// Every route with its methods. Requests to anything else are counted together: their paths have no limit.
const ROUTES: [(&str, &[&str]); 19] = [
    ("/", &["GET"]),
    ("/payments", &["GET", "POST"]),
    ("/payments/{payment_id}", &["GET"]),
    ("/payments/{payment_id}/process", &["POST"]),
    ("/payments/process/{payment_id}", &["GET", "POST"]),
    ("/payments/{payment_id}/events", &["GET"]),
    ("/payments/{payment_id}/cancel", &["POST"]),
    ("/payments/{payment_id}/capture", &["POST"]),
    ("/payments/{payment_id}/refunds", &["GET", "POST"]),
    ("/refunds/{refund_id}", &["GET"]),
    ("/simulator/actions/{secret}", &["GET", "POST"]),
    ("/card-tokens", &["POST"]),
    ("/webhooks/{processor}", &["POST"]),
    ("/health/live", &["GET"]),
    ("/health/ready", &["GET"]),
    ("/openapi.json", &["GET"]),
    ("/docs", &["GET"]),
    ("/docs/{asset}", &["GET"]),
    OTHER,
];

/// The labels of requests that no route serves.
const OTHER: (&str, &[&str]) = ("other", &["other"]);

const CLASSES: [&str; 4] = ["2xx", "3xx", "4xx", "5xx"];

/// The metrics of all routes, looked up once.
pub(super) struct Measures(Vec<Measured>);

/// The metrics of one method of a route.
struct Measured {
    route: &'static str,
    method: &'static str,
    /// By class of the status.
    requests: [Counter; CLASSES.len()],
    seconds: Histogram,
}

impl Measures {
    /// From now on `/metrics` shows every route.
    pub(super) fn new() -> Arc<Self> {
        let methods = |(route, methods): &(&'static str, &'static [&'static str])| {
            let route = *route;
            methods
                .iter()
                .map(move |method| Measured::new(route, method))
        };
        Arc::new(Self(ROUTES.iter().flat_map(methods).collect()))
    }

    fn of(&self, request: &Request) -> Option<&Measured> {
        let route = request.extensions().get::<MatchedPath>();
        let route = route.map_or(OTHER.0, MatchedPath::as_str);
        let method = match request.method().as_str() {
            "HEAD" => "GET",
            method => method,
        };
        let is_it = |it: &&Measured| it.method == method && it.route == route;
        self.0.iter().find(is_it).or(self.0.last())
    }
}

impl Measured {
    fn new(route: &'static str, method: &'static str) -> Self {
        let requests = CLASSES.map(|class| {
            metrics::counter!(
                metric::HTTP_REQUESTS,
                "route" => route, "method" => method, "status" => class
            )
        });
        let seconds = metrics::histogram!(
            metric::HTTP_REQUEST_SECONDS,
            "route" => route, "method" => method
        );
        Self {
            route,
            method,
            requests,
            seconds,
        }
    }

    fn count(&self, status: StatusCode, began: Instant) {
        let class = usize::from(status.as_u16() / 100).saturating_sub(2);
        if let Some(requests) = self.requests.get(class) {
            requests.increment(1);
        }
        self.seconds.record(began.elapsed().as_secs_f64());
    }
}

/// Counts a request when it is answered. A request whose caller disconnects before is not counted.
pub(super) async fn measure(
    State(measures): State<Arc<Measures>>,
    request: Request,
    next: Next,
) -> Response {
    let began = Instant::now();
    let measured = measures.of(&request);
    let response = next.run(request).await;
    if let Some(measured) = measured {
        measured.count(response.status(), began);
    }
    response
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_described_operation_is_measured() {
        let description = crate::http::openapi::document();
        let mut described = 0;
        for (path, operations) in description["paths"].as_object().expect("paths") {
            for method in operations.as_object().expect("operations").keys() {
                let method = method.to_uppercase();
                if !["GET", "POST"].contains(&method.as_str()) {
                    continue;
                }
                described += 1;
                let listed = ROUTES.iter().find(|(route, _)| route == path);
                let listed = listed.is_some_and(|(_, methods)| methods.contains(&method.as_str()));
                assert!(listed, "{method} {path}");
            }
        }
        assert!(described > 10, "{described}");
    }
}
