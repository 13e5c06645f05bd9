use std::sync::Arc;

use serde_json::{Value, json};

use super::*;
use crate::domain::Refusal;
use crate::store::quarantine::Quarantined;

async fn answer(problem: impl Into<Problem>) -> (Response, Value) {
    let (parts, body) = problem.into().into_response().into_parts();
    let bytes = axum::body::to_bytes(body, 1 << 20).await.expect("a body");
    let document = serde_json::from_slice(&bytes).expect("JSON");
    (
        Response::from_parts(parts, axum::body::Body::empty()),
        document,
    )
}

#[tokio::test]
async fn each_kind_has_its_status_and_headers() {
    let expected = [
        (400, None),
        (400, None),
        (401, None),
        (401, None),
        (403, None),
        (404, None),
        (405, None),
        (408, None),
        (409, None),
        (413, None),
        (415, None),
        (415, None),
        (417, None),
        (431, None),
        (501, None),
        (422, None),
        (422, None),
        (429, Some("1")),
        (503, Some("1")),
        (500, None),
        (500, None),
        (503, Some("2")),
        (503, Some("3600")),
    ];
    for (kind, (status, retry_after)) in Kind::ALL.into_iter().zip(expected) {
        let (response, document) = answer(Problem::new(kind, "Why.")).await;
        assert_eq!(response.status().as_u16(), status, "{kind:?}");
        assert_eq!(document["status"], status);
        assert_eq!(document["error"], "Why.");
        assert_eq!(document["errors"], json!([]));
        let header = |name| {
            response
                .headers()
                .get(name)
                .map(|value| value.to_str().expect("text"))
        };
        assert_eq!(header(CONTENT_TYPE), Some("application/problem+json"));
        assert_eq!(header(RETRY_AFTER), retry_after, "{kind:?}");
        assert_eq!(header(WWW_AUTHENTICATE).is_some(), status == 401);
    }
}

#[tokio::test]
async fn every_error_of_the_layers_below_has_its_status() {
    let io = || Arc::new(sqlx::Error::PoolTimedOut);
    let quarantined = Quarantined {
        payment: PaymentId(7),
        client: None,
        reason: "origin cannot be read".to_owned(),
    };
    let cases: [(Problem, u16, &str); 16] = [
        (AcceptError::KeyReused.into(), 422, "idempotency-key-reused"),
        (AcceptError::TokenUnusable.into(), 422, "invalid-fields"),
        (AcceptError::TokenExpired.into(), 422, "invalid-fields"),
        (AcceptError::NotFound(PaymentId(7)).into(), 404, "not-found"),
        (
            AcceptError::from(Refusal::Processing).into(),
            409,
            "conflict",
        ),
        (
            AcceptError::from(Refusal::Succeeded).into(),
            409,
            "conflict",
        ),
        (AcceptError::from(Refusal::Canceled).into(), 409, "conflict"),
        (
            AcceptError::Seal("no key".to_owned()).into(),
            500,
            "internal",
        ),
        (StoreError::Busy.into(), 503, "overloaded"),
        (StoreError::IdsExhausted.into(), 503, "ids-exhausted"),
        (StoreError::Unavailable(io()).into(), 503, "unavailable"),
        (StoreError::CommitUnknown(io()).into(), 503, "unavailable"),
        (StoreError::Rejected(io()).into(), 500, "internal"),
        (
            StoreError::Corrupt("row".to_owned()).into(),
            500,
            "internal",
        ),
        (
            StoreError::Panicked("accept".to_owned()).into(),
            500,
            "internal",
        ),
        (
            StoreError::from(quarantined).into(),
            500,
            "payment-quarantined",
        ),
    ];
    for (problem, status, name) in cases {
        let (response, document) = answer(problem).await;
        assert_eq!(response.status().as_u16(), status, "{document}");
        assert_eq!(
            document["type"],
            format!("urn:problem-type:payment-service:{name}")
        );
    }
}

#[tokio::test]
async fn invalid_fields_are_listed_and_summed_up_in_one_sentence() {
    let fault = |field: &str| FieldError {
        field: field.to_owned(),
        code: "missing",
        message: format!("{field} is missing."),
    };
    let (_, one) = answer(vec![fault("order_id")]).await;
    assert_eq!(one["error"], "order_id is missing.");
    assert_eq!(
        one["errors"],
        json!([{"field": "order_id", "code": "missing", "message": "order_id is missing."}])
    );
    let (_, two) = answer(vec![fault("order_id"), fault("card.cardCode")]).await;
    assert_eq!(
        two["error"],
        "2 invalid fields, in order_id, card.cardCode: each is described under errors."
    );
    assert_eq!(two["errors"].as_array().map(Vec::len), Some(2));
}
