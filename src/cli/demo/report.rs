//! Prints how the payments ended, and the steps of one of them.

use std::net::SocketAddr;

use serde_json::{Value, json};

use super::milliseconds;
use super::payments::Way;
use super::send::Ended;
use super::spans::{SpanLog, Step};
use crate::wire::payment::PaymentMethodObject;

/// Prints the table and the steps of the first payment; false if some card did not keep its promise.
pub(super) fn print(ended: &[Ended], spans: &SpanLog) -> bool {
    crate::outln!("");
    crate::outln!(
        "{:<6} {:>12}  {:<17} {:<17} {:<10} {:<20} {:>5} {:>10}",
        "order",
        "amount",
        "card",
        "way in",
        "status",
        "reason",
        "tries",
        "outcome in"
    );
    for payment in ended {
        crate::outln!("{}", line(payment));
    }
    let broken: Vec<&Ended> = ended.iter().filter(|ended| !ended.kept()).collect();
    crate::outln!("");
    if broken.is_empty() {
        crate::outln!("All {} outcomes are as the cards promise.", ended.len());
    }
    for payment in &broken {
        crate::outln!(
            "Order {} has the wrong outcome: {:?} was expected.",
            payment.sent.order_id,
            payment.promise
        );
    }
    if let Some(first) = ended.iter().find(|ended| ended.sent.way == Way::Rest) {
        print_way(first, spans);
    }
    broken.is_empty()
}

/// Prints the same as one JSON object.
pub(super) fn print_json(ended: &[Ended], api: SocketAddr) -> bool {
    let kept = ended.iter().all(Ended::kept);
    let payments: Vec<Value> = ended
        .iter()
        .map(|ended| {
            json!({
                "way_in": ended.sent.way.label(),
                "card_token": ended.sent.token,
                "tries": ended.tries,
                "duration_ms": u64::try_from(ended.took.as_millis()).unwrap_or(u64::MAX),
                "as_promised": ended.kept(),
                "payment": ended.payment,
            })
        })
        .collect();
    let report = json!({
        "url": format!("http://{api}"),
        "as_promised": kept,
        "payments": payments,
    });
    crate::outln!("{report:#}");
    kept
}

fn line(ended: &Ended) -> String {
    let payment = &ended.payment;
    let card = payment.payment_method.as_ref();
    let card = card.map_or_else(String::new, |method| match method {
        PaymentMethodObject::Card(card) => format!("{} …{}", card.brand, card.last4),
        PaymentMethodObject::Other { kind, .. } => kind.clone(),
    });
    format!(
        "{:<6} {:>12}  {:<17} {:<17} {:<10} {:<20} {:>5} {:>10}",
        payment.order_id,
        format!("{:.2} {}", payment.total_amount, payment.currency),
        card,
        ended.sent.way.label(),
        payment.status.as_str(),
        payment.decline_code.as_deref().unwrap_or("–"),
        ended.tries,
        milliseconds(ended.took),
    )
}

fn print_way(ended: &Ended, spans: &SpanLog) {
    let steps = spans.way_of(ended.payment.payment_id.0);
    crate::outln!("\nOrder {}, step by step:", ended.payment.order_id);
    crate::outln!("      {:>9} {:>9}  {:<62} source", "at", "took", "step");
    for Step {
        number,
        what,
        file,
        at,
        took,
    } in steps
    {
        crate::outln!(
            "  {number}.  {:>9} {:>9}  {what:<62} {file}",
            milliseconds(at),
            milliseconds(took)
        );
    }
    crate::outln!("");
}
