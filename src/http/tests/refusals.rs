use axum::http::StatusCode;
use serde_json::json;

use super::*;

#[tokio::test]
async fn a_browser_gets_a_page_of_links_and_every_other_caller_json() {
    let served = Served::start().await;
    let browser = "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8";
    let request = with(get("/"), "accept", browser);
    let response = served
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(
        response.headers()["content-type"],
        "text/html; charset=utf-8"
    );
    assert_eq!(response.headers()["vary"], "Accept");
    assert_eq!(response.headers()["x-content-type-options"], "nosniff");
    let policy = response.headers()["content-security-policy"]
        .to_str()
        .expect("text")
        .to_owned();
    assert!(policy.starts_with("default-src 'none'"), "{policy}");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    let page = String::from_utf8(body.to_vec()).expect("text");
    for link in ["/docs", "/openapi.json", "/health/ready", "/health/live"] {
        assert!(
            page.contains(&format!("href=\"{link}\"")),
            "{link} is not in {page}"
        );
    }
    assert!(page.contains("No API key is needed"), "{page}");
    assert!(
        !page.contains("href=\"/payments"),
        "there is no payment yet: {page}"
    );
    assert_eq!(served.status(post("/payments", PAYMENT)).await, 202);
    let request = with(get("/"), "accept", browser);
    let response = served
        .router
        .clone()
        .oneshot(request)
        .await
        .expect("an answer");
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    let page = String::from_utf8_lossy(&body);
    assert!(page.contains("href=\"/payments/process/1\""), "{page}");
    for other in [
        "*/*",
        "application/json",
        "application/json, text/plain, */*",
        "",
    ] {
        let (response, document) = served.answer(with(get("/"), "accept", other)).await;
        assert_eq!(
            response.headers()["content-type"],
            "application/json",
            "{other}"
        );
        assert_eq!(document["status"], "running", "{other}");
    }
}

#[tokio::test]
async fn the_start_page_and_health_answer() {
    let served = Served::start().await;
    let (response, document) = served.answer(get("/")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(document["service"], "payment-service");
    assert_eq!(document["status"], "running");
    assert_eq!(document["version"], env!("CARGO_PKG_VERSION"));
    let (_, live) = served.answer(get("/health/live")).await;
    assert_eq!(live, json!({"status": "live", "reason": null}));
    let (response, ready) = served.answer(get("/health/ready")).await;
    assert_eq!(response.status(), StatusCode::OK);
    assert_eq!(ready, json!({"status": "degraded", "reason": "no broker"}));
}

#[tokio::test]
async fn a_body_that_is_not_a_json_object_is_refused() {
    let served = Served::start().await;
    for (body, expected) in [
        ("", 400),
        (" \n", 400),
        ("{", 400),
        ("{}x", 400),
        ("[]", 422),
        ("1", 422),
    ] {
        for path in ["/payments", "/payments/7/process", "/card-tokens"] {
            assert_eq!(
                served.status(post(path, body)).await,
                expected,
                "{path} {body}"
            );
        }
    }
    let (_, document) = served
        .answer(post("/payments", "{\"order_id\": 1,\n x"))
        .await;
    assert_eq!(
        document["error"],
        "The body is not JSON: look at line 2, column 2."
    );
}

#[tokio::test]
async fn the_content_type_must_be_json() {
    let served = Served::start().await;
    for (content_type, expected) in [
        (None, 415),
        (Some("text/plain"), 415),
        (Some("application/x-www-form-urlencoded"), 415),
        (Some("application/jsonx"), 415),
        (Some("application/json"), 202),
        (Some("Application/JSON; charset=utf-8"), 202),
        (Some("application/vnd.shop+json"), 202),
    ] {
        let mut request = Request::post("/payments");
        if let Some(content_type) = content_type {
            request = request.header("content-type", content_type);
        }
        let request = request.body(Body::from(PAYMENT)).expect("a request");
        assert_eq!(served.status(request).await, expected, "{content_type:?}");
    }
}

/// The gateway passes them on as they are; resolved, they would be another address.
#[tokio::test]
async fn dots_in_a_path_are_not_resolved() {
    let served = Served::start().await;
    for path in [
        "/payments/..",
        "/payments/%2e%2e",
        "/payments/../health/live",
        "/payments/process/..",
    ] {
        assert_eq!(served.status(get(path)).await, 404, "{path}");
    }
    assert_eq!(served.status(post("/payments/../process", CARD)).await, 404);
}

#[tokio::test]
async fn a_compressed_body_is_refused_with_the_accepted_encoding() {
    let served = Served::start().await;
    for path in ["/payments", "/payments/7/process", "/card-tokens"] {
        for coding in [
            "gzip",
            "GZIP",
            "br",
            "deflate, gzip",
            "identity, gzip",
            "\"gzip\"",
            "x",
        ] {
            let request = with(post(path, PAYMENT), "content-encoding", coding);
            let (response, document) = served.answer(request).await;
            assert_eq!(response.status(), 415, "{path} {coding}");
            assert_eq!(response.headers()["accept-encoding"], "identity");
            let sentence = document["error"].as_str().expect("a sentence");
            assert!(sentence.contains("Content-Encoding"), "{sentence}");
        }
    }
    for coding in ["identity", "Identity", "", "identity, identity"] {
        let request = with(post("/payments", PAYMENT), "content-encoding", coding);
        assert_eq!(served.status(request).await, 202, "{coding}");
    }
}

#[tokio::test]
async fn a_duplicate_key_is_refused_with_its_name() {
    let served = Served::start().await;
    for (path, body, field) in [
        (
            "/payments",
            PAYMENT.replace("{", r#"{"order_id": 2, "#),
            "order_id",
        ),
        (
            "/payments",
            PAYMENT.replace("{", r#"{"order\u005fid": 2, "#),
            "order_id",
        ),
        (
            "/payments",
            PAYMENT.replace("}", r#", "metadata": {"a": "1", "a": "1"}}"#),
            "metadata.a",
        ),
        (
            "/payments",
            WITH_CARD.replace(r#""cardCode""#, r#""cardCode": 999, "cardCode""#),
            "card.cardCode",
        ),
        (
            "/payments/7/process",
            CARD.replace("{", r#"{"cardCode": 1, "#),
            "cardCode",
        ),
        (
            "/card-tokens",
            CARD.replace("{", r#"{"cardCode": 1, "#),
            "cardCode",
        ),
        (
            "/payments",
            PAYMENT.replace("99.53", "1e400"),
            "total_amount",
        ),
    ] {
        let (response, document) = served.answer(post(path, body)).await;
        assert_eq!(response.status(), 422, "{path} {field}");
        assert_eq!(document["errors"][0]["field"], field, "{document}");
        let sentence = document["error"].as_str().expect("a sentence");
        assert!(sentence.starts_with(field), "{sentence}");
    }
}

#[tokio::test]
async fn a_body_with_a_byte_order_mark_is_accepted() {
    let served = Served::start().await;
    let marked = format!("\u{feff}{PAYMENT}");
    assert_eq!(served.status(post("/payments", marked)).await, 202);
    let utf16: Vec<u8> = std::iter::once(0xfeff)
        .chain(PAYMENT.encode_utf16())
        .flat_map(u16::to_le_bytes)
        .collect();
    let (response, document) = served.answer(post("/payments", utf16)).await;
    assert_eq!(response.status(), 400);
    assert_eq!(
        document["error"],
        "The body is not UTF-8: send JSON in UTF-8."
    );
}

#[tokio::test]
async fn a_body_has_at_most_64_kib() {
    let served = Served::start().await;
    let padded = |length: usize| PAYMENT.to_owned() + &" ".repeat(length - PAYMENT.len());
    assert_eq!(
        served.status(post("/payments", padded(body::LIMIT))).await,
        202
    );
    assert_eq!(
        served
            .status(post("/payments", padded(body::LIMIT + 1)))
            .await,
        413
    );
}

#[tokio::test]
async fn every_invalid_field_is_in_the_answer() {
    let served = Served::start().await;
    let body = r#"{"order_id": "01", "total_amount": 0, "card": {"cardNumber": "x"}, "colour": 1}"#;
    let (response, document) = served.answer(post("/payments", body)).await;
    assert_eq!(response.status(), StatusCode::UNPROCESSABLE_ENTITY);
    let errors = document["errors"].as_array().expect("errors");
    let fields: Vec<&str> = errors
        .iter()
        .filter_map(|fault| fault["field"].as_str())
        .collect();
    let expected = [
        "order_id",
        "user_id",
        "total_amount",
        "card.cardNumber",
        "card.cardCode",
        "card.expirationDate",
        "colour",
    ];
    assert_eq!(fields, expected);
}

#[tokio::test]
async fn unknown_addresses_ids_and_methods_are_answered_with_a_problem() {
    let served = Served::start().await;
    for path in [
        "/nothing",
        "/payments/",
        "/payments/7/x",
        "/payments/abc",
        "/payments/process",
        "/payments/0",
        "/payments/7.0",
        "/payments/99999999999999999999",
        "/payments/-1/events",
    ] {
        assert_eq!(served.status(get(path)).await, 404, "{path}");
    }
    let (_, document) = served.answer(get("/payments/abc")).await;
    let error = document["error"].as_str().expect("a sentence");
    assert!(error.contains("whole numbers"), "{error}");
    for (method, path, allow) in [
        ("DELETE", "/payments", "POST,GET,HEAD"),
        ("POST", "/payments/7", "GET,HEAD"),
        ("GET", "/payments/7/process", "POST"),
        ("DELETE", "/payments/process/7", "GET,HEAD,POST"),
        ("PUT", "/card-tokens", "POST"),
        ("POST", "/", "GET,HEAD"),
    ] {
        let request = Request::builder().method(method).uri(path);
        let (response, _) = served
            .answer(request.body(Body::empty()).expect("a request"))
            .await;
        assert_eq!(response.status(), StatusCode::METHOD_NOT_ALLOWED);
        assert_eq!(response.headers()["allow"], allow, "{method} {path}");
    }
}

#[tokio::test]
async fn a_bad_idempotency_key_or_query_is_named() {
    let served = Served::start().await;
    let request = Request::post("/payments")
        .header("content-type", "application/json")
        .header("idempotency-key", "a b")
        .body(Body::from(PAYMENT))
        .expect("a request");
    let (response, document) = served.answer(request).await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(document["errors"][0]["field"], "Idempotency-Key");

    let (response, document) = served
        .answer(get("/payments?limit=0&status=paid&cursor=x"))
        .await;
    assert_eq!(response.status(), StatusCode::BAD_REQUEST);
    assert_eq!(document["errors"].as_array().map(Vec::len), Some(3));
}

#[tokio::test]
async fn with_a_clients_file_a_key_is_required() {
    let (key, digest) = crate::clients::new_api_key();
    let file = format!(r#"{{"clients": [{{"name": "shop", "api_key_sha256": ["{digest}"]}}]}}"#);
    let clients = Clients::parse(file.as_bytes()).expect("a good file");
    let served = Served::with(clients, now).await;
    for (path, expected) in [
        ("/payments", 200),
        ("/payments/7", 404),
        ("/payments/7/events", 404),
    ] {
        let (response, _) = served.answer(get(path)).await;
        assert_eq!(response.status(), StatusCode::UNAUTHORIZED);
        let challenge = "Bearer realm=\"payment-service\"";
        assert_eq!(response.headers()["www-authenticate"], challenge);
        let request = with(get(path), "authorization", &format!("Bearer {key}"));
        assert_eq!(served.status(request).await, expected);
    }
    for path in [
        "/payments",
        "/payments/7/process",
        "/payments/7/cancel",
        "/card-tokens",
    ] {
        let (response, _) = served.answer(post(path, "{")).await;
        assert_eq!(
            response.status(),
            StatusCode::UNAUTHORIZED,
            "before the body is read"
        );
    }
    for path in ["/", "/health/live", "/health/ready"] {
        let (response, _) = served.answer(get(path)).await;
        assert_eq!(response.status(), StatusCode::OK);
    }
}

#[tokio::test]
async fn a_panic_is_answered_with_a_problem() {
    let served = Served::with(Clients::single(), || panic!("the clock stopped")).await;
    let (response, document) = served.answer(post("/payments", PAYMENT)).await;
    assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
    assert!(!document.to_string().contains("clock"));
}

#[tokio::test]
async fn operators_get_metrics_and_health() {
    let health = || {
        Health::new(
            || Liveness::Stuck("relay".to_owned()),
            || Readiness::NotReady("no store".to_owned()),
        )
    };
    let admin = || {
        let metrics = Arc::new(|| "payments_total 1\n".to_owned());
        admin_router(health(), metrics, axum::Router::new())
    };
    let response = admin().oneshot(get("/metrics")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::OK);
    let body = axum::body::to_bytes(response.into_body(), 1 << 20)
        .await
        .expect("a body");
    assert_eq!(body, "payments_total 1\n");
    for path in ["/health/live", "/health/ready"] {
        let response = admin().oneshot(get(path)).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::SERVICE_UNAVAILABLE);
    }
    let response = admin().oneshot(get("/payments")).await.expect("an answer");
    assert_eq!(response.status(), StatusCode::NOT_FOUND);
}
