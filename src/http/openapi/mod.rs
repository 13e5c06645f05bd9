//! The description of the REST interface: OpenAPI 3.1, built when the service starts and served at `/openapi.json`.
//!
//! Schemas of answers are derived from the types that are serialized; those of requests are defined next to their parsers
//! ([`crate::wire::schema`]); problems come from the table of [`super::problem`]. The description is public: nothing in
//! it depends on who runs the service or what is stored.

mod components;
mod operation;
mod operations;
mod payments;
mod refusals;
mod samples;
mod service;
mod webhooks;

use serde_json::{Map, Value, json};

use crate::processors::simulated::cards::TEST_CARDS;
use operation::Operation;

const INTRODUCTION: &str = "\
Takes payment requests, authorizes the card through a queue and workers, stores every payment with its history, and calls \
the clients that subscribed.\n\n\
**Authentication.** Send `Authorization: Bearer <API key>`; a client sees only its own payments. A service that was \
started without `CLIENTS_FILE` has one client and ignores keys.\n\n\
**Outcomes.** A decline is an outcome, not an error: 200 with `is_paid: false` and a `decline_code`. A payment that is \
still being processed is answered with 202 and `Retry-After`. `Prefer: wait=N` waits for the outcome, N seconds at most.\n\n\
**Idempotency.** Send an `Idempotency-Key` with `POST /payments` and repeat the request as often as you like: it creates only one \
payment. Keys are kept as long as the payment. Captures, cancellations and refunds take keys as well; a refund requires one.\n\n\
**Errors** are `application/problem+json` (RFC 9457). `error` is one plain sentence, `errors` names every invalid field.\n\n\
**Messages.** The RabbitMQ interface is described in docs/asyncapi.yaml.\n\n\
**Test cards**, with any future month and any code; a token works wherever a `card_token` does:\n\n\
| number | token | what happens |\n|---|---|---|\n";

/// The whole document.
pub fn document() -> Value {
    json!({
        "openapi": "3.1.0",
        "info": {
            "title": "payment-service",
            "version": env!("CARGO_PKG_VERSION"),
            "summary": "Payments for applications that delegate them.",
            "description": introduction(),
            "license": {"name": "MIT OR Apache-2.0", "identifier": "MIT OR Apache-2.0"},
        },
        "servers": [{"url": "/", "description": "This service"}],
        "security": [{"apiKey": []}],
        "tags": [
            {"name": "payments", "description": "Create, pay, read, capture, cancel and refund payments."},
            {"name": "refunds", "description": "Refund payments and read refunds."},
            {"name": "cards", "description": "Create card tokens before payments."},
            {"name": "callbacks", "description": "What the service calls."},
            {"name": "platforms", "description": "What payment platforms call. Needs no key, but a signature."},
            {"name": "service", "description": "Health, version and description of the service. Needs no key."},
        ],
        "paths": paths(),
        "webhooks": webhooks::all(),
        "components": components::all(),
    })
}

fn introduction() -> String {
    let row = |card: &crate::processors::simulated::cards::TestCard| {
        format!("| {} | `{}` | {} |\n", card.number, card.token, card.line)
    };
    let rows: String = TEST_CARDS.iter().map(row).collect();
    format!("{INTRODUCTION}{rows}")
}

fn paths() -> Value {
    let mut paths: Map<String, Value> = Map::new();
    for operation in operations() {
        let Operation {
            path,
            method,
            description,
        } = operation;
        paths.entry(path).or_insert_with(|| json!({}))[method] = description;
    }
    paths.into()
}

fn operations() -> Vec<Operation> {
    vec![
        payments::create(),
        payments::list(),
        payments::show(),
        payments::process(),
        payments::show_link(),
        payments::process_link(),
        payments::events(),
        operations::cancel(),
        operations::capture(),
        operations::refund(),
        operations::list(),
        operations::show(),
        service::create_card_token(),
        service::webhook(),
        service::about(),
        service::live(),
        service::ready(),
        service::openapi(),
        service::docs(),
    ]
}
