//! Health checks: `GET /health/live` and `GET /health/ready`.

use std::fmt;
use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

use crate::watchdog::stages::Stages;

/// Whether this process's own tasks make progress. A failing dependency does not change it.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Liveness {
    /// All make progress.
    Live,
    /// At least one does not; restart the process.
    Stuck(String),
}

/// Whether this process can do its work.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Readiness {
    /// It can.
    Ready,
    /// It can, although something is missing, which the text names.
    Degraded(String),
    /// It cannot; with the reason.
    NotReady(String),
}

/// Both checks. Called for every probe, so neither may block.
#[derive(Clone)]
pub struct Health {
    live: Arc<dyn Fn() -> Liveness + Send + Sync>,
    ready: Arc<dyn Fn() -> Readiness + Send + Sync>,
    /// Shown to operators only: failures may reveal how this service is built.
    stages: Option<Stages>,
}

impl Health {
    /// From the two checks.
    pub fn new(
        live: impl Fn() -> Liveness + Send + Sync + 'static,
        ready: impl Fn() -> Readiness + Send + Sync + 'static,
    ) -> Self {
        Self {
            live: Arc::new(live),
            ready: Arc::new(ready),
            stages: None,
        }
    }

    /// Also reports each stage.
    pub fn with_stages(self, stages: Stages) -> Self {
        Self {
            stages: Some(stages),
            ..self
        }
    }

    /// Whether its tasks make progress.
    pub fn live(&self) -> Liveness {
        (self.live)()
    }

    /// Whether it can do its work.
    pub fn ready(&self) -> Readiness {
        (self.ready)()
    }
}

impl fmt::Debug for Health {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Health").finish_non_exhaustive()
    }
}

/// 200 `live`, 503 `stuck`.
pub async fn live(State(health): State<Health>) -> Response {
    match health.live() {
        Liveness::Live => answer(StatusCode::OK, state("live", Value::Null)),
        Liveness::Stuck(why) => answer(StatusCode::SERVICE_UNAVAILABLE, state("stuck", why.into())),
    }
}

/// 200 `ready`, 200 `degraded`, 503 `not_ready`.
pub async fn ready(State(health): State<Health>) -> Response {
    let (code, mut body) = match health.ready() {
        Readiness::Ready => (StatusCode::OK, state("ready", Value::Null)),
        Readiness::Degraded(why) => (StatusCode::OK, state("degraded", why.into())),
        Readiness::NotReady(why) => (
            StatusCode::SERVICE_UNAVAILABLE,
            state("not_ready", why.into()),
        ),
    };
    if let Some(stages) = &health.stages {
        body["stages"] = stages.to_json();
    }
    answer(code, body)
}

fn state(status: &str, reason: Value) -> Value {
    json!({ "status": status, "reason": reason })
}

fn answer(code: StatusCode, body: Value) -> Response {
    (code, Json(body)).into_response()
}
