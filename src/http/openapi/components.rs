//! What operations have in common: schemas, parameters, headers of answers, authentication.

use schemars::generate::{SchemaGenerator, SchemaSettings};
use schemars::transform::RecursiveTransform;
use schemars::{JsonSchema, Schema};
use serde_json::{Value, json};

use super::operation::merge;
use super::webhooks;
use crate::http::card_tokens::CardTokenObject;
use crate::http::events::History;
use crate::http::list::{self, Page};
use crate::http::operations::Refunds;
use crate::http::problem;
use crate::wire::operation::RefundObject;
use crate::wire::order::Rejection;
use crate::wire::payment::PaymentObject;
use crate::wire::result::CloudEvent;
use crate::wire::schema;

pub(super) fn all() -> Value {
    let mut parameters = parameters();
    merge(&mut parameters, webhooks::parameters());
    json!({
        "schemas": schemas(),
        "parameters": parameters,
        "headers": headers(),
        "securitySchemes": {"apiKey": {
            "type": "http",
            "scheme": "bearer",
            "description": "An API key of `payment-service keys`, listed in `CLIENTS_FILE`.",
        }},
    })
}

/// Answers as they are serialized, requests as they are parsed.
fn schemas() -> Value {
    let settings = SchemaSettings::draft2020_12()
        .for_serialize()
        .with(|settings| settings.definitions_path = "/components/schemas".into())
        .with_transform(RecursiveTransform(listed_values));
    let mut generator = settings.into_generator();
    add::<PaymentObject>(&mut generator);
    add::<CloudEvent<PaymentObject>>(&mut generator);
    add::<CloudEvent<RefundObject>>(&mut generator);
    add::<CloudEvent<Rejection>>(&mut generator);
    add::<Page>(&mut generator);
    add::<History>(&mut generator);
    add::<Refunds>(&mut generator);
    add::<CardTokenObject>(&mut generator);
    add::<problem::Document>(&mut generator);
    let mut schemas = generator.take_definitions(true);
    for (name, schema) in [
        ("CaptureRequest", schema::capture_request()),
        ("Card", schema::card()),
        ("CardMethod", schema::card_method()),
        ("CardOrToken", schema::card_or_token()),
        ("GivenMethod", schema::given_method()),
        ("PaymentRequest", schema::payment_request()),
        ("PresentedCard", schema::presented_card()),
        ("PresentedMethod", schema::presented_method()),
        ("PresentedToken", schema::presented_token()),
        ("RefundRequest", schema::refund_request()),
        ("TokenMethod", schema::token_method()),
        ("WalletMethod", schema::wallet_method()),
        ("PlatformMethod", schema::platform_method()),
        ("RedirectMethod", schema::redirect_method()),
    ] {
        schemas.insert(name.to_owned(), schema);
    }
    schemas.into()
}

/// An enum as a list of values. `schemars` writes `oneOf` with one constant for each value, which keeps the comments but
/// is not supported by client generators.
fn listed_values(schema: &mut Schema) {
    let constant = |form: &Value| {
        Some((
            form["const"].as_str()?.to_owned(),
            form["description"].clone(),
        ))
    };
    let forms = schema.get("oneOf").and_then(Value::as_array);
    let values: Option<Vec<_>> = forms.and_then(|forms| forms.iter().map(constant).collect());
    let Some(values) = values else {
        return;
    };
    let mut description = schema
        .get("description")
        .and_then(Value::as_str)
        .unwrap_or_default()
        .to_owned();
    for (value, meaning) in &values {
        if let Some(meaning) = meaning.as_str() {
            description.push_str(&format!("\n\n- `{value}`: {meaning}"));
        }
    }
    let names: Vec<&String> = values.iter().map(|(name, _)| name).collect();
    let listed = json!({"type": "string", "enum": names, "description": description});
    schema.remove("oneOf");
    if let Value::Object(listed) = listed {
        schema.ensure_object().extend(listed);
    }
}

fn add<T: JsonSchema>(generator: &mut SchemaGenerator) {
    generator.subschema_for::<T>();
}

/// The parameters of requests.
fn parameters() -> Value {
    json!({
        "payment_id": {
            "name": "payment_id", "in": "path", "required": true,
            "description": "The payment's id.",
            "schema": {"type": "integer", "format": "int64", "minimum": 1, "maximum": i64::MAX},
            "example": 1,
        },
        "refund_id": {
            "name": "refund_id", "in": "path", "required": true,
            "description": "The refund's id.",
            "schema": {"type": "string", "format": "uuid"},
            "example": "019a3f00-0000-7000-8000-000000000009",
        },
        "Required-Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header", "required": true,
            "description": "As with `POST /payments`, but required: a refund that is sent twice must not be made twice. One key \
                            belongs to one request: used again for another payment or operation it gives 422.",
            "schema": {
                "type": "string",
                "pattern": "^([!#-~][!-~]{0,254}|\"([!#-\\[\\]-~]|\\\\[\"\\\\]){1,255}\")$",
            },
            "example": "0d2f6a52-6d0e-4b5c-9d6a-2b1f6f3d2c11",
        },
        // Optional headers have no `example`: documentation pages fill it in, and every second try would then fail.
        "Idempotency-Key": {
            "name": "Idempotency-Key", "in": "header",
            "description": "1 to 255 visible ASCII characters, such as a UUID; bare, or quoted as a structured field. The \
                            same key with the same request gives the same payment, with another request 422.",
            "schema": {
                "type": "string",
                "pattern": "^([!#-~][!-~]{0,254}|\"([!#-\\[\\]-~]|\\\\[\"\\\\]){1,255}\")$",
            },
        },
        "Prefer": {
            "name": "Prefer", "in": "header",
            "description": "RFC 7240. `wait=N`: answer with the outcome if it comes within N seconds, of which the service \
                            grants 30 unless configured otherwise. `respond-async`: answer at once. Anything else is ignored.",
            "schema": {"type": "string"},
            "example": "wait=5",
        },
        "If-None-Match": {
            "name": "If-None-Match", "in": "header",
            "description": "The `ETag` that the caller has, such as `\"42-2\"`: 304 while it is current.",
            "schema": {"type": "string"},
        },
        "traceparent": {
            "name": "traceparent", "in": "header",
            "description": "W3C Trace Context, such as `00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01`; passed on to the \
                            messages about the payment. Anything else starts a new trace.",
            "schema": {"type": "string"},
        },
        "order_id": query("order_id", "Only payments of this order.", schema::positive_integer("The client's order.")),
        "user_id": query("user_id", "Only payments of this shopper.", schema::positive_integer("The client's shopper.")),
        "status": query("status", "Only payments with this status.", json!({"$ref": "#/components/schemas/PaymentStatus"})),
        "limit": query("limit", "Payments on a page.", json!({
            "type": "integer", "minimum": 1, "maximum": list::MAX_LIMIT, "default": list::DEFAULT_LIMIT,
        })),
        "cursor": query("cursor", "`next_cursor` of the previous page, unchanged. Its format may change.", json!({
            "type": "string", "pattern": "^0[0-2][0-9a-fA-F]{14}[0-7][0-9a-fA-F]{15}$",
        })),
    })
}

fn query(name: &str, description: &str, schema: Value) -> Value {
    json!({"name": name, "in": "query", "description": description, "schema": schema})
}

fn headers() -> Value {
    let text = |description: &str, example: &str| json!({"description": description, "schema": {"type": "string"}, "example": example});
    json!({
        "Location": text("Where the payment is.", "/payments/42"),
        "ETag": text("This version of the payment; send it back as `If-None-Match`.", "\"42-2\""),
        "Cache-Control": text("`no-store`: a status can change at any moment.", "no-store"),
        "Retry-After": {
            "description": "After how many seconds to try again. With a payment: sent while it is being processed.",
            "schema": {"type": "integer", "minimum": 0},
            "example": 1,
        },
        "Idempotent-Replayed": {
            "description": "Sent with the answer to a repeated `Idempotency-Key`.",
            "schema": {"type": "string", "const": "true"},
        },
        "Preference-Applied": text("The preferences that were applied, with the seconds granted.", "wait=5"),
        "X-Request-Id": text(
            "The id of the request in the service's log: the caller's own `X-Request-Id` if it has 1 to 128 letters, digits or \
             characters of `-_.:/+=@`, otherwise a new one.",
            "0198c0de-7a3f-7c11-9d6a-2b1f6f3d2c11",
        ),
        "WWW-Authenticate": text("How to authenticate.", "Bearer realm=\"payment-service\""),
        "Accept-Encoding": text("Bodies must not be compressed. Sent when one was.", "identity"),
        "Content-Security-Policy": text("Restricts the page to this service: no external assets, no external addresses.", "default-src 'none'"),
    })
}
