use axum::Router;
use axum::body::Body;
use axum::http::Request;
use serde_json::{Value, json};
use tower::ServiceExt;

use super::*;
use crate::http::admin_router;
use crate::watchdog::pulse::Pulse;

const LONGEST: std::time::Duration = std::time::Duration::from_secs(120);

async fn ask(router: &Router) -> (u16, Value) {
    let request = Request::get("/health/live").body(Body::empty());
    let answer = router.clone().oneshot(request.expect("a request"));
    let (parts, body) = answer.await.expect("an answer").into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 16).await.expect("a body");
    let body = serde_json::from_slice(&bytes).expect("JSON");
    (parts.status.as_u16(), body)
}

#[tokio::test(start_paused = true)]
async fn liveness_fails_when_a_task_hangs_longer_than_allowed() {
    let (rests, hangs) = (Pulse::new("relay"), Pulse::new("sweep"));
    let pulses = Pulses::new(vec![rests, hangs.clone()], LONGEST);
    let health = Health::new(move || liveness(&pulses), || Readiness::Ready);
    let router = admin_router(health, Arc::new(String::new), axum::Router::new());
    let live = (200, json!({ "status": "live", "reason": null }));
    assert_eq!(ask(&router).await, live);

    let hanging = tokio::spawn(async move {
        let _in_hand = hangs.take();
        std::future::pending::<()>().await;
    });
    tokio::task::yield_now().await;
    tokio::time::advance(LONGEST).await;
    assert_eq!(ask(&router).await, live);
    tokio::time::advance(std::time::Duration::from_secs(1)).await;
    let reason = "`sweep` has made no progress for 121 s";
    let stuck = (503, json!({ "status": "stuck", "reason": reason }));
    assert_eq!(ask(&router).await, stuck);
    // Only the one: a restart helps, and nothing else was wrong.
    hanging.abort();
    let _ = hanging.await;
    assert_eq!(ask(&router).await, live);
}

#[tokio::test]
async fn addresses_and_methods_that_the_operators_page_does_not_have_get_its_policy() {
    let health = Health::new(|| Liveness::Live, || Readiness::Ready);
    let router = admin_router(health, Arc::new(String::new), axum::Router::new());
    for (method, path, status) in [("GET", "/nope", 404), ("PUT", "/metrics", 405)] {
        let request = Request::builder().method(method).uri(path);
        let request = request.body(Body::empty()).expect("a request");
        let answer = router.clone().oneshot(request).await.expect("an answer");
        assert_eq!(answer.status(), status, "{method} {path}");
        let policy = answer.headers()["content-security-policy"].to_str();
        assert!(policy.expect("text").starts_with("default-src 'none'"));
        assert_eq!(answer.headers()["x-content-type-options"], "nosniff");
    }
}

#[tokio::test(start_paused = true)]
async fn readiness_depends_on_what_the_role_needs() {
    use crate::watchdog::stages::Stage;
    let stages = Stages::new(
        [Name::Accept, Name::Record, Name::Announce]
            .map(Stage::new)
            .into(),
    );
    let enter = |name| stages.get(name).expect("registered").enter();
    let hearts =
        || [Role::Api, Role::Worker, Role::All].map(|role| stuck_at_the_heart(&stages, role));
    let announcing = enter(Name::Announce);
    tokio::time::advance(LONGEST).await;
    stages.look(LONGEST);
    assert_eq!(hearts(), [None; 3]);
    let recording = enter(Name::Record);
    tokio::time::advance(LONGEST).await;
    stages.look(LONGEST);
    assert_eq!(hearts(), [None, Some(Name::Record), Some(Name::Record)]);
    let accepting = enter(Name::Accept);
    recording.left();
    tokio::time::advance(LONGEST).await;
    stages.look(LONGEST);
    assert_eq!(hearts(), [Some(Name::Accept), None, Some(Name::Accept)]);
    drop((announcing, accepting));
}
