//! The series that exist from the start of a process, with the value 0.
//!
//! Series by route, stage, batch, task, pool and processor call are created by the code that counts them: it knows these
//! labels' values.

use metrics::Label;

use crate::callbacks::failure;
use crate::clients::Clients;
use crate::config::Role;
use crate::domain::{
    ClientName, DeclineCode, EventKind, OperationKind, OperationStatus, PaymentStatus,
};
use crate::http::admin::access;
use crate::http::webhooks;
use crate::metric::{self, CATALOGUE, Kind, Metric};
use crate::payments::outcomes::NONE;
use crate::processors::simulated::DECLINE_CODES;
use crate::wire::{dead_letter, order};

type Labels = Vec<Label>;

/// The clients that a process counts for.
struct Known {
    all: Vec<ClientName>,
    /// Those that are called.
    called: Vec<ClientName>,
}

/// Creates them. Repeating it changes no value.
pub(super) fn create(role: Role, clients: &Clients) {
    let called = clients.callbacks().into_iter();
    let known = Known {
        all: clients.names(),
        called: called
            .filter_map(|(name, callback)| callback.map(|_| name))
            .collect(),
    };
    for metric in CATALOGUE.iter().filter(|metric| is_of(role, metric.role)) {
        for labels in series(metric, role, &known) {
            touch(metric, labels);
        }
    }
}

pub(super) fn is_of(role: Role, wanted: metric::Role) -> bool {
    match wanted {
        metric::Role::Each => true,
        metric::Role::Api => role != Role::Worker,
        metric::Role::Worker => role != Role::Api,
    }
}

fn touch(metric: &Metric, labels: Labels) {
    match metric.kind {
        Kind::Counter => metrics::counter!(metric.name, labels).increment(0),
        Kind::Gauge if metric.name == metric::BUILD_INFO => {
            metrics::gauge!(metric.name, labels).set(1.0);
        }
        Kind::Gauge => metrics::gauge!(metric.name, labels).increment(0.0),
        Kind::Histogram(_) => drop(metrics::histogram!(metric.name, labels)),
    }
}

/// Every combination of label values.
fn series(metric: &Metric, role: Role, known: &Known) -> Vec<Labels> {
    if metric.name == metric::PAYMENT_OUTCOMES {
        return outcomes(role, known);
    }
    let mut combined = vec![Labels::new()];
    for label in metric.labels {
        let values = values(metric.name, label, role, known);
        let with = |labels: &Labels| -> Vec<Labels> {
            let value = |value: &String| {
                let mut labels = labels.clone();
                labels.push(Label::new(*label, value.clone()));
                labels
            };
            values.iter().map(value).collect()
        };
        combined = combined.iter().flat_map(with).collect();
    }
    combined
}

/// The values that a label will have; none if other code creates the series.
fn values(name: &str, label: &str, role: Role, known: &Known) -> Vec<String> {
    let texts = |texts: &[&str]| texts.iter().copied().map(str::to_owned).collect();
    let names = |names: &[ClientName]| names.iter().map(ClientName::to_string).collect();
    match (name, label) {
        (_, "version") => texts(&[env!("CARGO_PKG_VERSION")]),
        (
            metric::CALLBACKS_DELIVERED
            | metric::CALLBACKS_FAILED
            | metric::CALLBACKS_GIVEN_UP
            | metric::CALLBACKS_DROPPED,
            "client",
        ) => names(&known.called),
        (metric::CALLBACKS_FAILED | metric::CALLBACKS_GIVEN_UP, "reason") => {
            texts(&failure::REASONS)
        }
        (_, "client") => names(&known.all),
        (metric::ADMIN_REQUESTS_REFUSED, "reason") => texts(&access::REASONS),
        (metric::DISPUTES, "event") => {
            texts(&[EventKind::DisputeOpened, EventKind::DisputeClosed].map(EventKind::as_str))
        }
        (metric::PLATFORM_EVENTS, "result") => texts(&webhooks::RESULTS),
        (metric::HTTP_BODIES_DISCARDED, "result") => texts(&["whole", "cut"]),
        (metric::MESSAGES_REFUSED, "reason") => texts(&order::REASONS),
        (metric::DEAD_LETTERS, "reason") => {
            let mut reasons = vec![dead_letter::UNDELIVERABLE];
            if is_of(role, metric::Role::Api) {
                reasons.extend(order::REASONS);
            }
            if is_of(role, metric::Role::Worker) {
                reasons.extend(failure::REASONS);
            }
            texts(&reasons)
        }
        (metric::PAYMENT_TRIES, "status") => {
            let after_a_try = [
                PaymentStatus::Processing,
                PaymentStatus::RequiresAction,
                PaymentStatus::RequiresCapture,
                PaymentStatus::Succeeded,
                PaymentStatus::Declined,
                PaymentStatus::Failed,
            ];
            texts(&after_a_try.map(PaymentStatus::as_str))
        }
        (metric::OPERATION_TRIES, "kind") => texts(&OperationKind::ALL.map(OperationKind::as_str)),
        (metric::OPERATION_TRIES, "status") => {
            texts(&OperationStatus::ALL.map(OperationStatus::as_str))
        }
        (metric::ROWS_QUARANTINED, "table") => {
            texts(&["payments", "outbox", "operations", "platform_events"])
        }
        _ => Vec::new(),
    }
}

/// By client: each status with the codes that it can have. Other payment methods and codes appear when they occur.
fn outcomes(role: Role, known: &Known) -> Vec<Labels> {
    let none = DeclineCode::from_static(NONE);
    let mut kinds = Vec::new();
    // Before a card was presented, or after it.
    for method in [NONE, "card"] {
        kinds.push((PaymentStatus::Canceled, method, none.clone()));
    }
    if is_of(role, metric::Role::Worker) {
        let card = |status, code| (status, "card", code);
        kinds.push(card(PaymentStatus::Succeeded, none.clone()));
        kinds.push(card(PaymentStatus::RequiresCapture, none));
        let declines = DECLINE_CODES.map(DeclineCode::from_static);
        kinds.extend(declines.map(|code| card(PaymentStatus::Declined, code)));
        let failures = [
            DeclineCode::ISSUER_UNAVAILABLE,
            DeclineCode::ISSUER_NO_ANSWER,
            DeclineCode::CARD_UNREADABLE,
            DeclineCode::ACTION_EXPIRED,
        ];
        kinds.extend(failures.map(|code| card(PaymentStatus::Failed, code)));
    }
    let of_client = |client: &ClientName| -> Vec<Labels> {
        let labels = |(status, method, code): &(PaymentStatus, &'static str, DeclineCode)| {
            vec![
                Label::new("status", status.as_str()),
                Label::new("payment_method", *method),
                Label::new("decline_code", code.to_string()),
                Label::new("client", client.to_string()),
            ]
        };
        kinds.iter().map(labels).collect()
    };
    known.all.iter().flat_map(of_client).collect()
}
