//! Operations on card tokens, and on the service itself.

use serde_json::{Value, json};

use super::operation::Operation;
use super::operation::Sample;
use super::payments::reference;
use super::{refusals, samples};
use crate::http::problem::{Kind, Problem};

pub(super) fn create_card_token() -> Operation {
    Operation::post("/card-tokens", "createCardToken", "Create a card token")
        .tag("cards")
        .about(
            "Takes a card before its payment, so that the payment can be requested by message. The token is valid for one payment of \
             the same client, for 15 minutes.",
        )
        .body("Card", &samples::cards())
        .answers(
            201,
            "A token.",
            &["Cache-Control"],
            (reference("CardToken"), &[samples::card_token()]),
        )
        .refuses(&refusals::of_clients())
        .refuses(&refusals::of_bodies())
        .refuses(&[refusals::card()])
}

pub(super) fn webhook() -> Operation {
    let body = json!({"type": "object", "description": "The platform's event. It is read only if its signature is valid."});
    let answer = json!({"type": "object", "properties": {"received": {"type": "boolean", "const": true}}, "required": ["received"]});
    let received = [("received", "", json!({"received": true}))];
    let not_configured = "There is nothing at /webhooks/stripe.";
    Operation::post("/webhooks/{processor}", "receiveWebhook", "Take an event of a payment platform")
        .tag("platforms")
        .public()
        .about(
            "For a payment platform of `PROCESSORS_FILE`, under its name there: not for clients. The platform signs the raw body; \
             Stripe in the header `Stripe-Signature`. The event is a hint: the service stores it, answers, and then asks the platform. \
             200 also for an event that was sent before, or that does not matter here. After any other answer the platform sends it \
             again.",
        )
        .takes(&["processor", "Stripe-Signature"])
        .takes_json(body)
        .answers(
            200,
            "It is stored, or there is nothing to store.",
            &["Cache-Control"],
            (answer, &received),
        )
        .refuses(&refusals::of_any())
        .refuses(&refusals::of_webhooks())
        .refuses(&[("not_configured", Problem::new(Kind::NotFound, not_configured))])
}

pub(super) fn about() -> Operation {
    let schema = json!({
        "type": "object",
        "properties": {
            "service": {"type": "string", "const": env!("CARGO_PKG_NAME")},
            "status": {"type": "string", "const": "running"},
            "version": {"type": "string"},
            "processor": {
                "type": "string",
                "description": "What authorizes payments. `simulated`: test cards work, and no real card is charged.",
            },
        },
        "required": ["service", "status", "version", "processor"],
    });
    let value = json!({"service": env!("CARGO_PKG_NAME"), "status": "running", "version": env!("CARGO_PKG_VERSION"), "processor": "simulated"});
    open("/", "about", "Report that it runs")
        .answers(
            200,
            "It runs.",
            &["Cache-Control"],
            (schema, &[("running", "It runs.", value)]),
        )
        .answers_with(
            200,
            "It runs. A browser gets a page of links.",
            &["Cache-Control"],
            Some(json!({"text/html": {"schema": {"type": "string"}}})),
        )
}

pub(super) fn live() -> Operation {
    let stuck = json!("relay has made no progress for 60 s");
    let (good, live) = health(&[("live", Value::Null)]);
    let (bad, stuck) = health(&[("stuck", stuck)]);
    open("/health/live", "live", "Check whether it makes progress")
        .about("Whether this process's own tasks make progress. A failing dependency does not change it.")
        .answers(200, "It does.", &["Cache-Control"], (good, &live))
        .answers(503, "It does not: restart it.", &["Cache-Control"], (bad, &stuck))
}

pub(super) fn ready() -> Operation {
    let broker = json!("the broker cannot be reached");
    let store = json!("the store cannot be used");
    let (good, can) = health(&[("ready", Value::Null), ("degraded", broker)]);
    let (bad, cannot) = health(&[("not_ready", store)]);
    open("/health/ready", "ready", "Check whether it can work")
        .about("Whether this process can do its work; `degraded` when it can, although something is missing.")
        .answers(200, "It can.", &["Cache-Control"], (good, &can))
        .answers(503, "It cannot.", &["Cache-Control"], (bad, &cannot))
}

pub(super) fn openapi() -> Operation {
    open("/openapi.json", "openapi", "Read this description").answers(
        200,
        "OpenAPI 3.1.",
        &["Cache-Control"],
        (
            json!({"type": "object", "required": ["openapi", "info", "paths"]}),
            &[],
        ),
    )
}

pub(super) fn docs() -> Operation {
    let html = json!({"text/html": {"schema": {"type": "string"}}});
    open("/docs", "docs", "Browse this description").answers_with(
        200,
        "A page to read and try it.",
        &["Content-Security-Policy", "Cache-Control"],
        Some(html),
    )
}

fn open(path: &'static str, id: &str, summary: &str) -> Operation {
    Operation::get(path, id, summary)
        .tag("service")
        .public()
        .refuses(&refusals::of_any())
}

/// A schema with these states, and an example of each.
fn health(states: &[(&'static str, Value)]) -> (Value, Vec<Sample>) {
    let names: Vec<&str> = states.iter().map(|(name, _)| *name).collect();
    let example = |(name, reason): &(&'static str, Value)| {
        (*name, "", json!({"status": name, "reason": reason}))
    };
    let schema = json!({
        "type": "object",
        "properties": {
            "status": {"type": "string", "enum": names},
            "reason": {"type": ["string", "null"], "description": "What is wrong; null if nothing is."},
        },
        "required": ["status", "reason"],
    });
    (schema, states.iter().map(example).collect())
}
