//! The calls that this service makes: callbacks of clients with a `callback` in `CLIENTS_FILE`. Each event that a client
//! can subscribe to has an entry under its type; the entry `orderPaid` is `payment.succeeded` in Store Manager's format.

use serde_json::{Map, Value, json};

use super::samples;

pub(super) fn all() -> Value {
    let mut all: Map<String, Value> = events().into_iter().map(Event::entry).collect();
    all.insert("orderPaid".to_owned(), order_paid());
    all.into()
}

/// An event as it is described.
struct Event {
    kind: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    /// The component with its schema.
    schema: &'static str,
    subject: &'static str,
    data: Value,
}

fn events() -> Vec<Event> {
    vec![
        of_payment(
            "payment.succeeded",
            "paymentSucceededCallback",
            "Tell a client that a payment has succeeded",
            samples::succeeded().2,
        ),
        of_payment(
            "payment.declined",
            "paymentDeclinedCallback",
            "Tell a client that the issuer has declined a payment",
            samples::declined().2,
        ),
        of_payment(
            "payment.failed",
            "paymentFailedCallback",
            "Tell a client that a payment has failed",
            samples::failed().2,
        ),
        of_payment(
            "payment.canceled",
            "paymentCanceledCallback",
            "Tell a client that a payment is canceled",
            samples::canceled().2,
        ),
        of_payment(
            "payment.requires_payment_method",
            "paymentRequiresPaymentMethodCallback",
            "Tell a client that a payment waits for a card",
            samples::requires_payment_method().2,
        ),
        of_payment(
            "payment.requires_capture",
            "paymentRequiresCaptureCallback",
            "Tell a client that a payment is authorized and waits to be captured",
            samples::requires_capture().2,
        ),
        of_payment(
            "payment.requires_action",
            "paymentRequiresActionCallback",
            "Tell a client that the shopper has to approve a payment",
            samples::requires_action().2,
        ),
        of_refund(
            "refund.succeeded",
            "refundSucceededCallback",
            "Tell a client that a refund has succeeded",
            samples::refunded(),
        ),
        of_refund(
            "refund.failed",
            "refundFailedCallback",
            "Tell a client that a refund has failed, or was returned after it had succeeded",
            samples::refund_failed(),
        ),
        of_payment(
            "dispute.opened",
            "disputeOpenedCallback",
            "Tell a client that a shopper disputes a payment at their bank",
            samples::disputed(true),
        ),
        of_payment(
            "dispute.closed",
            "disputeClosedCallback",
            "Tell a client that a dispute has ended",
            samples::disputed(false),
        ),
        Event {
            kind: "payment.request_rejected",
            operation_id: "requestRejectedCallback",
            summary: "Tell a client that its request by message was refused",
            schema: "RejectionEvent",
            subject: "requests/order-9",
            data: samples::rejection(),
        },
    ]
}

fn of_payment(
    kind: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    data: Value,
) -> Event {
    Event {
        kind,
        operation_id,
        summary,
        schema: "PaymentEvent",
        subject: "payments/42",
        data,
    }
}

fn of_refund(
    kind: &'static str,
    operation_id: &'static str,
    summary: &'static str,
    data: Value,
) -> Event {
    Event {
        kind,
        operation_id,
        summary,
        schema: "RefundEvent",
        subject: "refunds/019a3f00-0000-7000-8000-000000000009",
        data,
    }
}

impl Event {
    fn entry(self) -> (String, Value) {
        let call = json!({
            "operationId": self.operation_id,
            "summary": self.summary,
            "description": "Standard Webhooks. Sent at least once, in no order: `webhook-id` identifies repeated events, `sequence` \
                            shows which is newer. A receiver checks the signature over `id.timestamp.body`, and answers 2xx.",
            "tags": ["callbacks"],
            "security": [],
            "parameters": [header("webhook-id"), header("webhook-timestamp"), header("webhook-signature")],
            "requestBody": body(self.body_schema(), &self.example()),
            "responses": answers("Received."),
        });
        (self.kind.to_owned(), json!({"post": call}))
    }

    /// The schema of all events about such data, narrowed to this type. Only a rejection has no status and no sequence.
    fn body_schema(&self) -> Value {
        let mut narrowed = json!({"properties": {"type": {"const": self.kind}}});
        if let Some(status) = self.data.get("status") {
            narrowed["properties"]["data"] = json!({"properties": {"status": {"const": status}}});
            narrowed["required"] = json!(["sequence"]);
        }
        let schema = format!("#/components/schemas/{}", self.schema);
        json!({"allOf": [{"$ref": schema}, narrowed]})
    }

    fn example(&self) -> Value {
        let mut example = json!({
            "specversion": "1.0",
            "id": "019a3f00-0000-7000-8000-000000000004",
            "source": "/payment-service",
            "type": self.kind,
            "subject": self.subject,
            "time": samples::CHANGED,
            "datacontenttype": "application/json",
            "data": self.data,
        });
        if self.data.get("status").is_some() {
            example["sequence"] = json!("0000000003");
        }
        example
    }
}

fn order_paid() -> Value {
    json!({"put": {
        "operationId": "orderPaidCallback",
        "summary": "Tell Store Manager that an order is paid",
        "description": "`payment.succeeded` in Store Manager's own format, for a callback with the format `store-manager`. Signed only \
                        if the callback has `secrets`.",
        "tags": ["callbacks"],
        "security": [],
        "parameters": [header("webhook-id"), header("webhook-timestamp"), header("optional-webhook-signature")],
        "requestBody": body(
            json!({
                "type": "object",
                "properties": {"order_id": {"type": "integer", "minimum": 1, "maximum": i32::MAX}, "is_paid": {"const": true}, "payment_id": {"type": "integer", "minimum": 1}},
                "required": ["order_id", "is_paid", "payment_id"],
            }),
            &json!({"order_id": 1, "is_paid": true, "payment_id": 42}),
        ),
        "responses": answers("The answer must be `{\"updated\": true}`."),
    }})
}

fn header(name: &str) -> Value {
    json!({"$ref": format!("#/components/parameters/{name}")})
}

/// The headers of calls, for the components of the description.
pub(super) fn parameters() -> Value {
    let header = |(name, required): (&str, bool), description: &str, example: &str| {
        json!({
            "name": name, "in": "header", "required": required, "description": description,
            "schema": {"type": "string"}, "example": example,
        })
    };
    let signature = |required| {
        header(
            ("webhook-signature", required),
            "`v1,` and the HMAC-SHA256 in base64; one for each of the client's secrets, with a space between.",
            "v1,K5oZfzN95Z9UVu1EsfQmfVNQhnkZ2pj9o9NDN/H/pI4=",
        )
    };
    json!({
        "webhook-id": header(
            ("webhook-id", true),
            "The event's id, the same in every call.",
            "019a3f00-0000-7000-8000-000000000004"
        ),
        "webhook-timestamp": header(
            ("webhook-timestamp", true),
            "When this call was made: seconds since 1970.",
            "1793527200"
        ),
        "webhook-signature": signature(true),
        "optional-webhook-signature": signature(false),
    })
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
