//! The calls that this service makes: callbacks of clients with a `callback` in `CLIENTS_FILE`.

use serde_json::{Value, json};

use super::samples;

pub(super) fn all() -> Value {
    json!({
        "outcome": {"post": {
            "operationId": "outcomeCallback",
            "summary": "Tell a client how its payment ended",
            "description": "Standard Webhooks. Sent at least once, in no order: `webhook-id` identifies repeated events, `sequence` \
                            shows which is newer. A receiver checks the signature over `id.timestamp.body`, and answers 2xx.",
            "tags": ["callbacks"],
            "security": [],
            "parameters": headers(),
            "requestBody": body(json!({"$ref": "#/components/schemas/CloudEvent"}), &event()),
            "responses": answers("Received."),
        }},
        "orderPaid": {"put": {
            "operationId": "orderPaidCallback",
            "summary": "Tell Store Manager that an order is paid",
            "description": "The same event in Store Manager's own format, for a callback with the format `store-manager`.",
            "tags": ["callbacks"],
            "security": [],
            "parameters": headers(),
            "requestBody": body(
                json!({
                    "type": "object",
                    "properties": {"order_id": {"type": "integer", "minimum": 1, "maximum": i32::MAX}, "is_paid": {"const": true}, "payment_id": {"type": "integer", "minimum": 1}},
                    "required": ["order_id", "is_paid", "payment_id"],
                }),
                &json!({"order_id": 1, "is_paid": true, "payment_id": 42}),
            ),
            "responses": answers("The answer must be `{\"updated\": true}`."),
        }},
    })
}

fn headers() -> Value {
    let header = |name: &str, description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": true, "description": description,
            "schema": {"type": "string"}, "example": example,
        })
    };
    json!([
        header(
            "webhook-id",
            "The event's id, the same in every call.",
            "019a3f00-0000-7000-8000-000000000004"
        ),
        header(
            "webhook-timestamp",
            "When this call was made: seconds since 1970.",
            "1793527200"
        ),
        header(
            "webhook-signature",
            "`v1,` and the HMAC-SHA256 in base64; one for each of the client's secrets, with a space between.",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        ),
    ])
}

fn body(schema: Value, example: &Value) -> Value {
    json!({"required": true, "content": {"application/json": {"schema": schema, "example": example}}})
}

fn answers(accepted: &str) -> Value {
    json!({
        "2XX": {"description": accepted},
        "410": {"description": "The receiver wants no more calls about this event."},
        "default": {"description": "The call is repeated for a day. Redirects are not followed."},
    })
}

fn event() -> Value {
    let (_, _, payment) = samples::succeeded();
    json!({
        "specversion": "1.0",
        "id": "019a3f00-0000-7000-8000-000000000004",
        "source": "/payment-service",
        "type": "payment.succeeded",
        "subject": "payments/42",
        "time": payment["updated_at"],
        "datacontenttype": "application/json",
        "sequence": "0000000003",
        "data": payment,
    })
}
