//! Examples of problems: which operations return which, and their texts.

use crate::domain::{Currency, Funding, Money, PaymentId, Refusal};
use crate::http::body;
use crate::http::problem::{Kind, Problem};
use crate::http::server::{head, socket};
use crate::http::webhooks;
use crate::payments::AcceptError;
use crate::payments::operations::start::OperationRefusal;
use crate::store::StoreError;
use crate::store::quarantine::Quarantined;
use crate::wire::fields::FieldError;
use crate::wire::rules::NotAllowed;

type Named = (&'static str, Problem);

/// Problems of any operation.
pub(super) fn of_any() -> Vec<Named> {
    let too_long =
        "The service took too long; try again, with the same Idempotency-Key if there was one.";
    let no_host = "The header Host is missing: HTTP/1.1 requires it.";
    vec![
        ("no_host", Problem::new(Kind::BadRequest, no_host)),
        ("unknown_expectation", head::unknown_expectation()),
        ("head_too_large", socket::too_large()),
        ("mistake", Problem::internal()),
        ("unknown_transfer_coding", head::unknown_transfer_coding()),
        ("overloaded", StoreError::Busy.into()),
        ("took_too_long", Problem::new(Kind::Unavailable, too_long)),
    ]
}

/// Problems of operations that need a key.
pub(super) fn of_clients() -> Vec<Named> {
    let unknown = Problem::new(Kind::Unauthorized, "The API key is unknown.");
    let too_many = "Too many of your requests are under way; send fewer at the same time.";
    let too_many = Problem::new(Kind::TooManyRequests, too_many);
    let of_key = vec![("unauthorized", unknown), ("too_many_requests", too_many)];
    [of_key, of_any()].concat()
}

/// Problems of operations on one payment.
pub(super) fn of_payments() -> Vec<Named> {
    let no_payment = AcceptError::NotFound(PaymentId(42)).into();
    let quarantined = Quarantined {
        payment: PaymentId(42),
        client: None,
        reason: String::new(),
    };
    let of_payment = vec![
        ("no_payment", no_payment),
        ("quarantined", StoreError::from(quarantined).into()),
    ];
    [of_payment, of_clients()].concat()
}

/// Problems of operations with a body.
pub(super) fn of_bodies() -> Vec<Named> {
    let not_json = "The body is not JSON: look at line 2, column 2.";
    let slow = "The body did not arrive within 10 seconds.";
    let no_type = "Send a JSON object, with the header Content-Type: application/json.";
    let too_large = Problem::new(Kind::TooLarge, "The body is longer than 64 KiB.");
    vec![
        ("not_json", Problem::new(Kind::MalformedJson, not_json)),
        ("too_slow", Problem::new(Kind::Timeout, slow)),
        ("too_large", too_large),
        (
            "not_said_to_be_json",
            Problem::new(Kind::UnsupportedMediaType, no_type),
        ),
        ("compressed", body::compressed()),
        ("key_twice", key_twice()),
    ]
}

/// Problems of webhooks.
pub(super) fn of_webhooks() -> Vec<Named> {
    let slow = "The body did not arrive within 10 seconds.";
    vec![
        ("not_genuine", webhooks::not_genuine()),
        ("no_event", webhooks::malformed()),
        ("too_slow", Problem::new(Kind::Timeout, slow)),
        ("too_large", body::too_large(webhooks::LIMIT)),
        ("compressed", body::compressed()),
        ("not_stored", webhooks::unavailable()),
    ]
}

/// A proxy could have read the other value.
fn key_twice() -> Problem {
    let message = "order_id was sent more than once: send it once.";
    Problem::field(Kind::InvalidFields, "order_id", "duplicate_field", message)
}

/// Invalid fields, all reported together.
pub(super) fn fields() -> Named {
    let number =
        "must be a whole number such as 42, without sign, spaces, decimals or leading zeros";
    let missing = "is missing: send a whole number such as 42";
    let faults = vec![
        fault("order_id", "wrong_type", number),
        fault("user_id", "missing", missing),
        fault("total_amount", "not_positive", "must be greater than zero"),
    ];
    ("fields_at_fault", Problem::from(faults))
}

/// An invalid card.
pub(super) fn card() -> Named {
    let faults = vec![fault(
        "cardNumber",
        "invalid_card_number",
        "must be 12 to 19 digits",
    )];
    ("impossible_card", Problem::from(faults))
}

fn fault(field: &str, code: &'static str, message: &str) -> FieldError {
    FieldError {
        field: field.to_owned(),
        code,
        message: format!("{field} {message}."),
    }
}

/// Tokens that can no longer be used.
pub(super) fn tokens() -> Vec<Named> {
    vec![
        ("token_unusable", AcceptError::TokenUnusable.into()),
        ("token_expired", AcceptError::TokenExpired.into()),
        ("not_allowed", not_allowed().into()),
    ]
}

/// The client may not use the card.
fn not_allowed() -> AcceptError {
    let what = NotAllowed::Funding {
        funding: Funding::Prepaid,
        allowed: vec![Funding::Credit, Funding::Debit],
    };
    AcceptError::NotAllowed {
        what,
        by_token: true,
    }
}

/// Problems of `Idempotency-Key`, and of new payments.
pub(super) fn of_creation() -> Vec<Named> {
    let sentence =
        "Idempotency-Key must be sent once, as 1 to 255 visible ASCII characters, such as a UUID.";
    let malformed = Problem::field(
        Kind::BadRequest,
        "Idempotency-Key",
        "invalid_idempotency_key",
        sentence,
    );
    vec![
        ("malformed_key", malformed),
        ("key_reused", AcceptError::KeyReused.into()),
        ("backlog_full", AcceptError::BacklogFull.into()),
        ("ids_exhausted", StoreError::IdsExhausted.into()),
    ]
}

/// The payment's state forbids the request.
pub(super) fn state(name: &'static str, refusal: Refusal) -> Named {
    (name, AcceptError::from(refusal).into())
}

/// The payment does not allow the operation.
pub(super) fn operation(name: &'static str, refusal: OperationRefusal) -> Named {
    (name, AcceptError::from(refusal).into())
}

/// An amount that is more than what is left.
pub(super) fn too_much() -> Named {
    let left = Currency::parse("CAD")
        .ok()
        .and_then(|currency| Money::from_minor(2500, currency).ok());
    let problem = left.map_or_else(Problem::internal, |left| {
        AcceptError::from(OperationRefusal::TooMuch(left)).into()
    });
    ("too_much", problem)
}

/// No such refund.
pub(super) fn no_refund() -> Named {
    ("no_refund", Problem::no_refund())
}

/// Problems of `Idempotency-Key`, and of operations on payments.
pub(super) fn of_operations() -> Vec<Named> {
    let of_new_ids = |named: &Named| named.0 != "ids_exhausted";
    of_creation().into_iter().filter(of_new_ids).collect()
}

/// An invalid query.
pub(super) fn query() -> Named {
    let message = "limit must be a whole number from 1 to 100.";
    (
        "query",
        Problem::field(Kind::BadRequest, "limit", "invalid_limit", message),
    )
}
