//! Operations on payments.

use serde_json::{Value, json};

use super::operation::Operation;
use super::{refusals, samples};
use crate::domain::Refusal;

/// Headers of every answer with a payment to a `POST` that may start an attempt.
pub(super) const ACCEPTED: [&str; 5] = [
    "Location",
    "ETag",
    "Retry-After",
    "Preference-Applied",
    "Cache-Control",
];

pub(super) fn reference(name: &str) -> Value {
    json!({"$ref": format!("#/components/schemas/{name}")})
}

pub(super) fn create() -> Operation {
    let headers = [ACCEPTED.as_slice(), &["Idempotent-Replayed"]].concat();
    let open = [samples::processing(), samples::requires_payment_method()];
    Operation::post("/payments", "createPayment", "Create a payment")
        .tag("payments")
        .about(
            "Answers as soon as the payment is stored: 202 while there is no outcome. With `Prefer: wait=N` it answers 200 with \
             the outcome, if that comes within N seconds. Works while the broker is down. Fields that are not listed are refused, \
             unless the client's entry in CLIENTS_FILE says `\"unknown_fields\": \"ignore\"`.",
        )
        .takes(&["Idempotency-Key", "Prefer", "traceparent"])
        .body("PaymentRequest", &samples::payment_requests())
        .answers(
            200,
            "The outcome came in time, or the request was repeated and already had its outcome.",
            &headers,
            (reference("Payment"), &samples::outcomes()),
        )
        .answers(
            201,
            "As 202, for a payment without a card, where the service runs with `CREATED_STATUS=201`: for callers behind a \
             gateway that does not accept 202.",
            &headers,
            (reference("Payment"), &[samples::requires_payment_method()]),
        )
        .answers(202, "Accepted; no outcome yet.", &headers, (reference("Payment"), &open))
        .refuses(&refusals::of_clients())
        .refuses(&refusals::of_bodies())
        .refuses(&refusals::of_creation())
        .refuses(&[refusals::fields()])
        .refuses(&refusals::tokens())
}

/// The address that the service before this one used, and that shoppers get.
const LINK: &str = "/payments/process/{payment_id}";

pub(super) fn process() -> Operation {
    presented("/payments/{payment_id}/process", "processPayment")
}

pub(super) fn process_link() -> Operation {
    presented(LINK, "processPaymentByLink").about(
        "The same as `POST /payments/{payment_id}/process`, at the address that the service before this one used. The form of \
         the payment page posts here as well; its answers are pages and are not part of this description.",
    )
}

fn presented(path: &'static str, id: &str) -> Operation {
    let outcomes = [
        samples::succeeded(),
        samples::declined(),
        samples::failed(),
        samples::requires_action(),
    ];
    Operation::post(path, id, "Pay with a card")
        .tag("payments")
        .about(
            "Presents a card, or another card after a decline or a failure. Its callers are synchronous, so it waits for the \
             outcome, four seconds unless configured otherwise or set by `Prefer`. A payment that has succeeded \
             is answered with 200 and its current state; one that is being processed with 202, with the card that it already has. A card \
             token that was already used for this payment is answered with the payment's current state: a repeated request \
             starts no second attempt. If the shopper has to approve, it answers 200 with `is_paid: false` and `next_action`. Another card \
             meanwhile first closes the attempt that can still be approved; if that turns out to be charged, the payment has \
             succeeded, and the new card is not used.",
        )
        .takes(&["payment_id", "Prefer"])
        .body("CardOrToken", &samples::methods())
        .answers(200, "The outcome.", &ACCEPTED, (reference("Payment"), &outcomes))
        .answers(
            202,
            "The outcome comes later, or another card is being processed.",
            &ACCEPTED,
            (reference("Payment"), &[samples::processing()]),
        )
        .refuses(&refusals::of_payments())
        .refuses(&refusals::of_bodies())
        .refuses(&[
            refusals::card(),
            refusals::state("canceled", Refusal::Canceled),
            refusals::state("authorized", Refusal::RequiresCapture),
        ])
        .refuses(&refusals::tokens())
}

pub(super) fn show() -> Operation {
    shown("/payments/{payment_id}", "getPayment", "Read a payment")
}

pub(super) fn show_link() -> Operation {
    let html = json!({"text/html": {"schema": {"type": "string"}}});
    shown(LINK, "openPaymentLink", "Open the link that shoppers get")
        .about(
            "Callers that prefer HTML to JSON, as browsers do, get a page where the payment can be paid with a card, in French or \
             English; others get the payment, as `GET /payments/{payment_id}` answers.",
        )
        .answers_with(
            200,
            "The payment, or the payment page.",
            &["Content-Security-Policy"],
            Some(html),
        )
}

fn shown(path: &'static str, id: &str, summary: &str) -> Operation {
    let headers = ["ETag", "Retry-After", "Preference-Applied", "Cache-Control"];
    Operation::get(path, id, summary)
        .tag("payments")
        .about(
            "Its current state; with `Prefer: wait=N` answers when its outcome is there or the shopper has to act, after N \
             seconds at most.",
        )
        .takes(&["payment_id", "Prefer", "If-None-Match"])
        .answers(
            200,
            "The payment.",
            &headers,
            (reference("Payment"), &samples::every_state()),
        )
        .answers_with(304, "The caller has this version.", &headers, None)
        .refuses(&refusals::of_payments())
}

pub(super) fn list() -> Operation {
    Operation::get("/payments", "listPayments", "List payments")
        .tag("payments")
        .about(
            "The client's payments, newest first, page by page. A payment that is quarantined (500 `payment-quarantined` where \
             it is read alone) is left out until an operator has repaired it.",
        )
        .takes(&["order_id", "user_id", "status", "limit", "cursor"])
        .answers(
            200,
            "A page.",
            &["Cache-Control"],
            (reference("Page"), &samples::pages()),
        )
        .refuses(&refusals::of_clients())
        .refuses(&[refusals::query()])
}

pub(super) fn events() -> Operation {
    Operation::get(
        "/payments/{payment_id}/events",
        "listEvents",
        "Read a payment's history",
    )
    .tag("payments")
    .about("What happened, in order: attempt by attempt, try by try.")
    .takes(&["payment_id"])
    .answers(
        200,
        "The whole history.",
        &["Cache-Control"],
        (reference("History"), &[samples::history()]),
    )
    .refuses(&refusals::of_payments())
}
