//! Keeps the spans that have a payment's id, so that its steps can be shown with the measured times.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::Subscriber;
use tracing::field::{Field, Visit};
use tracing::span::{Attributes, Id, Record};
use tracing_subscriber::Layer;
use tracing_subscriber::layer::Context;
use tracing_subscriber::registry::LookupSpan;

/// The steps by span name (and, where one name serves two steps, its `kind`), numbered as in `lib.rs`.
const STEPS: &[(u8, &str, &str, &str)] = &[
    (
        1,
        "http",
        "",
        "a request is read and checked; its answer is on the way",
    ),
    (
        2,
        "accept",
        "",
        "payment, history and outbox row are committed",
    ),
    (
        3,
        "relay",
        "payment.authorize",
        "the work message is published and confirmed",
    ),
    (4, "claim", "", "a worker claims the try for one lease"),
    (5, "authorize", "", "the simulated issuer is called"),
    (
        6,
        "record",
        "",
        "outcome, history and outbox row are committed, the card erased",
    ),
    (
        7,
        "relay",
        "payment.succeeded",
        "the result is published and confirmed",
    ),
    (
        8,
        "wait",
        "",
        "a waiting request is woken and reads the outcome",
    ),
];

/// A measured step of a payment.
#[derive(Debug, Clone)]
pub(super) struct Step {
    pub number: u8,
    pub what: &'static str,
    /// The source file of its span.
    pub file: String,
    /// Time since the first step began.
    pub at: Duration,
    pub took: Duration,
}

/// The tracing layer that keeps them.
#[derive(Debug, Clone, Default)]
pub(super) struct SpanLog {
    ended: Arc<Mutex<HashMap<i64, Vec<Seen>>>>,
}

#[derive(Debug, Clone)]
struct Seen {
    name: &'static str,
    kind: String,
    file: String,
    began: Instant,
    ended: Instant,
}

/// What is known about a span that is still open.
struct Open {
    began: Instant,
    fields: Fields,
}

#[derive(Default)]
struct Fields {
    payment: Option<i64>,
    kind: String,
}

impl Visit for Fields {
    fn record_i64(&mut self, field: &Field, value: i64) {
        if field.name() == "payment.id" {
            self.payment = Some(value);
        }
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        if field.name() == "kind" {
            value.clone_into(&mut self.kind);
        }
    }

    fn record_debug(&mut self, _field: &Field, _value: &dyn std::fmt::Debug) {}
}

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for SpanLog {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        let mut fields = Fields::default();
        attributes.record(&mut fields);
        if let Some(span) = context.span(id) {
            span.extensions_mut().insert(Open {
                began: Instant::now(),
                fields,
            });
        }
    }

    fn on_record(&self, id: &Id, values: &Record<'_>, context: Context<'_, S>) {
        if let Some(span) = context.span(id)
            && let Some(open) = span.extensions_mut().get_mut::<Open>()
        {
            values.record(&mut open.fields);
        }
    }

    fn on_close(&self, id: Id, context: Context<'_, S>) {
        let Some(span) = context.span(&id) else {
            return;
        };
        let Some(open) = span.extensions_mut().remove::<Open>() else {
            return;
        };
        let Some(payment) = open.fields.payment else {
            return;
        };
        let metadata = span.metadata();
        let seen = Seen {
            name: metadata.name(),
            kind: open.fields.kind,
            file: metadata.file().unwrap_or("").to_owned(),
            began: open.began,
            ended: Instant::now(),
        };
        let mut ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        ended.entry(payment).or_default().push(seen);
    }
}

impl SpanLog {
    /// The steps of one payment, in the order of their numbers; steps that did not happen are left out.
    pub(super) fn way_of(&self, payment: i64) -> Vec<Step> {
        let ended = self.ended.lock().unwrap_or_else(PoisonError::into_inner);
        let seen = ended.get(&payment).map_or(&[][..], Vec::as_slice);
        let Some(began) = seen.iter().map(|seen| seen.began).min() else {
            return Vec::new();
        };
        let step = |(number, name, kind, what): &(u8, &str, &str, &'static str)| {
            let seen = seen
                .iter()
                .find(|seen| seen.name == *name && (kind.is_empty() || seen.kind == *kind))?;
            Some(Step {
                number: *number,
                what,
                file: seen.file.clone(),
                at: seen.began - began,
                took: seen.ended - seen.began,
            })
        };
        STEPS.iter().filter_map(step).collect()
    }
}
