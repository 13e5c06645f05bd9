//! Examples of bodies of requests and answers. A test parses each with the code that handles it.

use serde_json::{Value, json};

use super::operation::{Sample, merge};

const CREATED: &str = "2026-11-01T10:00:00.123456Z";
pub(super) const CHANGED: &str = "2026-11-01T10:00:00.234567Z";

/// A payment in some state.
fn payment(status: &str, changes: Value) -> Value {
    let payment = json!({
        "payment_id": 42, "id": 42, "order_id": 1, "user_id": 1, "total_amount": 99.53, "currency": "CAD",
        "status": status, "is_paid": status == "succeeded", "decline_code": null, "authorization_code": null,
        "payment_method": {"type": "card", "brand": "visa", "last4": "4242", "expiration": "2030-01", "funding": "credit"},
        "next_action": null, "attempt": 1, "capture_method": "automatic", "amount_captured": if status == "succeeded" { 99.53 } else { 0.0 },
        "amount_refunded": 0.0, "capture_before": null, "operation": null, "cancellation_reason": null, "disputed": false,
        "metadata": {}, "return_url": null, "created_at": CREATED, "updated_at": CHANGED,
    });
    with(payment, changes)
}

/// An object with some fields changed or added.
fn with(mut object: Value, changes: Value) -> Value {
    merge(&mut object, changes);
    object
}

pub(super) fn processing() -> Sample {
    let value = payment("processing", json!({"updated_at": CREATED}));
    ("processing", "Being processed: no outcome yet.", value)
}

pub(super) fn requires_payment_method() -> Sample {
    let changes = json!({"payment_method": null, "attempt": 0, "updated_at": CREATED});
    let value = payment("requires_payment_method", changes);
    ("without_card", "It waits for a card.", value)
}

pub(super) fn succeeded() -> Sample {
    let value = payment("succeeded", json!({"authorization_code": "A5F1C2"}));
    ("succeeded", "Charged.", value)
}

pub(super) fn declined() -> Sample {
    let method = json!({"type": "card", "brand": "visa", "last4": "9995", "expiration": "2030-01", "funding": "credit"});
    let changes = json!({"decline_code": "insufficient_funds", "payment_method": method});
    let value = payment("declined", changes);
    (
        "declined",
        "Refused by the issuer: an outcome, not an error.",
        value,
    )
}

pub(super) fn failed() -> Sample {
    let value = payment("failed", json!({"decline_code": "issuer_unavailable"}));
    ("failed", "No issuer decided; nothing is charged.", value)
}

pub(super) fn canceled() -> Sample {
    let changes = json!({
        "payment_method": null, "attempt": 0, "cancellation_reason": "requested_by_client",
    });
    let value = payment("canceled", changes);
    ("canceled", "Canceled by the client.", value)
}

pub(super) fn requires_action() -> Sample {
    let action = json!({
        "type": "redirect", "url": "https://pay.example/simulator/actions/yMH5EZY3QDepe0xmwQxqSKEG5aQAyAMv",
        "expires_at": "2026-11-01T10:15:00.234567Z",
    });
    let changes = json!({"payment_method": null, "next_action": action});
    let mut value = payment("requires_action", changes);
    value["payment_method"] = json!({"type": "wallet"});
    (
        "to_be_approved",
        "The shopper has to approve on the page of `next_action`.",
        value,
    )
}

pub(super) fn requires_capture() -> Sample {
    let value = payment("requires_capture", authorized(json!({})));
    (
        "authorized",
        "Authorized: to be captured or canceled.",
        value,
    )
}

/// A payment whose capture or void is running.
pub(super) fn operating(operation: &str) -> Sample {
    let value = payment("processing", authorized(json!({"operation": operation})));
    ("operating", "The processor has not answered yet.", value)
}

pub(super) fn captured() -> Sample {
    let value = payment("succeeded", authorized(json!({"amount_captured": 60.0})));
    ("captured", "A part of the amount is captured.", value)
}

/// A payment that its shopper disputes, or no longer.
pub(super) fn disputed(is_disputed: bool) -> Value {
    with(succeeded().2, json!({"disputed": is_disputed}))
}

/// Fields of a payment that is captured later.
fn authorized(mut changes: Value) -> Value {
    changes["capture_method"] = json!("manual");
    changes["authorization_code"] = json!("A5F1C2");
    changes["capture_before"] = json!("2026-11-08T10:00:00.234567Z");
    changes
}

/// Bodies of captures.
pub(super) fn captures() -> Vec<Sample> {
    vec![
        (
            "part",
            "A part; the rest is released.",
            json!({"amount": 60}),
        ),
        ("all", "All that is authorized.", json!({})),
    ]
}

/// Bodies of refunds.
pub(super) fn refund_requests() -> Vec<Sample> {
    vec![
        (
            "part",
            "A part, with the client's reason and reference.",
            json!({"amount": "25.00", "reason": "One of two books was damaged", "client_reference": "R-7"}),
        ),
        ("all", "All that is left.", json!({})),
    ]
}

pub(super) fn refund() -> Sample {
    let value = json!({
        "refund_id": "019a3f00-0000-7000-8000-000000000009", "payment_id": 42, "amount": 25.0, "currency": "CAD",
        "status": "pending", "failure_code": null, "reason": "One of two books was damaged", "client_reference": "R-7",
        "source": "client", "created_at": CHANGED, "updated_at": CHANGED,
    });
    ("pending", "The processor has not answered yet.", value)
}

/// A refund that has succeeded.
pub(super) fn refunded() -> Value {
    with(refund().2, json!({"status": "succeeded"}))
}

/// A refund that has failed.
pub(super) fn refund_failed() -> Value {
    let changes = json!({"status": "failed", "failure_code": "expired_or_canceled_card"});
    with(refund().2, changes)
}

/// Why a request by message was refused.
pub(super) fn rejection() -> Value {
    let message = "user_id is missing: send a whole number such as 42.";
    json!({
        "reason": "invalid", "error": "The body has invalid fields.",
        "errors": [{"field": "user_id", "code": "missing", "message": message}], "message_id": "order-9",
    })
}

pub(super) fn refunds() -> Sample {
    ("one", "One refund.", json!({"data": [refund().2]}))
}

/// Every outcome, and a repeated request that already has one.
pub(super) fn outcomes() -> Vec<Sample> {
    let (_, _, paid) = succeeded();
    let replayed = (
        "replayed",
        "The same Idempotency-Key again: the same payment, in its current state.",
        paid,
    );
    vec![
        succeeded(),
        declined(),
        failed(),
        requires_action(),
        replayed,
    ]
}

/// A payment in every state.
pub(super) fn every_state() -> Vec<Sample> {
    vec![
        requires_payment_method(),
        processing(),
        requires_action(),
        requires_capture(),
        succeeded(),
        declined(),
        failed(),
        canceled(),
    ]
}

/// Bodies of `POST /payments`.
pub(super) fn payment_requests() -> Vec<Sample> {
    let order = |changes: Value| {
        let order = json!({"order_id": 1, "user_id": 1, "total_amount": 99.53});
        with(order, changes)
    };
    vec![
        (
            "with_token",
            "With a token of POST /card-tokens, or a test token.",
            order(json!({"card_token": "tok_visa"})),
        ),
        (
            "without_card",
            "Without a card: it is sent later.",
            order(json!({})),
        ),
        (
            "with_card",
            "With a card.",
            order(json!({"card": card("4242424242424242")})),
        ),
        (
            "with_method",
            "With a payment method that names its type.",
            order(json!({"payment_method": {"type": "card", "card_token": "tok_visa_debit"}})),
        ),
        (
            "with_wallet",
            "With an electronic wallet, and where its shopper comes back to.",
            order(json!({"payment_method": {"type": "wallet"}})),
        ),
        (
            "everything",
            "With all fields.",
            order(json!({
                "total_amount": "12.00", "currency": "EUR", "card_token": "tok_mastercard", "metadata": {"channel": "web"},
            })),
        ),
        (
            "declined",
            "With a test card that the issuer declines.",
            order(json!({"card": card("4000000000009995")})),
        ),
        (
            "binary_float",
            "With a total that was added up in binary floats: 13999.93.",
            order(json!({"total_amount": 13_999.930_000_000_002_f64, "card_token": "tok_visa"})),
        ),
        (
            "texts",
            "With numbers as text, as they come from Redis.",
            json!({"order_id": "1", "user_id": "1", "total_amount": "71.0", "card_token": "tok_visa"}),
        ),
    ]
}

/// Bodies of `process`.
pub(super) fn methods() -> Vec<Sample> {
    let numbers = json!({"cardNumber": 9_999_999_999_999_u64, "cardCode": 123, "expirationDate": "2030-01-05"});
    vec![
        ("token", "A token.", json!({"card_token": "tok_visa"})),
        ("strings", "As strings.", card("4242424242424242")),
        (
            "method",
            "A payment method that names its type.",
            json!({"payment_method": {"type": "card", "card_token": "tok_visa_debit"}}),
        ),
        ("numbers", "As older callers send it: numbers.", numbers),
        (
            "declined",
            "A test card that the issuer declines.",
            card("4000000000009995"),
        ),
    ]
}

/// Bodies of `POST /card-tokens`.
pub(super) fn cards() -> Vec<Sample> {
    vec![
        ("card", "A card.", card("5555555555554444")),
        (
            "month",
            "A card, its month as it is printed.",
            json!({"cardNumber": "5555 5555 5555 4444", "cardCode": "123", "expirationDate": "01/30"}),
        ),
    ]
}

fn card(number: &str) -> Value {
    json!({"cardNumber": number, "cardCode": "123", "expirationDate": "2030-01"})
}

pub(super) fn card_token() -> Sample {
    let value = json!({
        "card_token": "tok_8w2kT1mZ4bQx7Rj5", "brand": "mastercard", "last4": "4444", "funding": "credit", "expires_at": "2026-11-01T10:15:00.123456Z",
    });
    ("token", "Valid for one payment.", value)
}

/// Pages of payments.
pub(super) fn pages() -> Vec<Sample> {
    let page = |data: Vec<Value>, next: Value| json!({"data": data, "next_cursor": next});
    let cursor = json!("000642a1b2c3d4e5000000000000002a");
    vec![
        (
            "page",
            "A page with another one after it.",
            page(vec![succeeded().2], cursor),
        ),
        (
            "last",
            "The last page.",
            page(vec![declined().2], Value::Null),
        ),
        (
            "empty",
            "No matching payments.",
            page(Vec::new(), Value::Null),
        ),
    ]
}

/// The history of a payment.
pub(super) fn history() -> Sample {
    let event = |sequence: u32, kind: &str, attempt: u32, try_number: u32, reason: Value| {
        json!({
            "id": format!("019a3f00-0000-7000-8000-00000000000{sequence}"), "sequence": sequence, "type": kind,
            "time": CREATED, "attempt": attempt, "try": try_number, "reason": reason,
        })
    };
    let events = [
        event(1, "accepted", 0, 0, Value::Null),
        event(2, "attempt_started", 1, 0, Value::Null),
        event(3, "try_failed", 1, 1, json!("issuer_unavailable")),
        event(4, "succeeded", 1, 2, Value::Null),
    ];
    (
        "second_try",
        "The issuer was down once.",
        json!({"data": events}),
    )
}
