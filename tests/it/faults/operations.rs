//! The captures, cancellations and refunds of the load: what the client requests once a payment is authorized or paid, and
//! how each request must end, whatever fails meanwhile.

use std::collections::BTreeMap;
use std::time::Instant;

use payment_service::domain::OperationKind;
use payment_service::processors::simulated::{Behaviour, OperationFault, TEST_CARDS, TestCard};
use serde_json::{Value, json};

use super::cards::by_token;
use super::notes::Way;
use super::random::Random;

/// An operation that the client requests.
#[derive(Debug, Clone)]
pub struct Operation {
    pub kind: OperationKind,
    /// In minor units; none for everything that is left.
    pub amount: Option<i64>,
    pub way: Way,
    /// When it was requested first.
    pub submitted: Option<Instant>,
    /// When the client had its answer: 202, or the broker's confirm.
    pub accepted: Option<Instant>,
    /// Results by the id of their event.
    pub results: BTreeMap<String, String>,
    /// When the first result came.
    pub heard: Option<Instant>,
    /// Its platform will never say what became of it, so that a person has to find out.
    pub needs_person: bool,
}

impl Operation {
    fn new(kind: OperationKind, amount: Option<i64>, way: Way) -> Self {
        Self {
            kind,
            amount,
            way,
            submitted: None,
            accepted: None,
            results: BTreeMap::new(),
            heard: None,
            needs_person: false,
        }
    }

    /// The last part of its address by REST.
    pub fn path(&self) -> &'static str {
        match self.kind {
            OperationKind::Capture => "capture",
            OperationKind::Void => "cancel",
            OperationKind::Refund => "refunds",
        }
    }

    /// The routing key of its message.
    pub fn routing_key(&self) -> &'static str {
        match self.kind {
            OperationKind::Capture => "order.capture",
            OperationKind::Void => "order.cancel",
            OperationKind::Refund => "order.refund",
        }
    }

    /// The fields of its request. The events of a refund name its reference: here its key.
    pub fn body(&self, key: &str) -> Value {
        let mut body = json!({});
        if let Some(minor) = self.amount {
            body["amount"] = format!("{}.{:02}", minor / 100, minor % 100).into();
        }
        if self.kind == OperationKind::Refund {
            body["client_reference"] = key.into();
        }
        body
    }
}

/// The idempotency key or message id of an operation, by its number among those of its order.
pub fn key(order: i64, number: usize) -> String {
    format!("order-{order}-{number}")
}

/// The order and number in such a key.
pub fn parse_key(key: &str) -> Option<(i64, usize)> {
    let (order, number) = key.strip_prefix("order-")?.split_once('-')?;
    Some((order.parse().ok()?, number.parse().ok()?))
}

/// The statuses that the results of an operation report, with as many tries as the processes have.
pub fn promised(card: &TestCard, kind: OperationKind) -> &'static [&'static [&'static str]] {
    let Behaviour::ApproveThen(fault) = card.behaviour else {
        return &[&["succeeded"]];
    };
    match fault {
        OperationFault::RefundFailsAfterwards if kind == OperationKind::Refund => {
            &[&["succeeded", "failed"]]
        }
        OperationFault::StaySilent(its) | OperationFault::Refuse(its) if its == kind => {
            &[&["failed"]]
        }
        _ => &[&["succeeded"]],
    }
}

/// What the client requests for one payment of the steady load, with the card that it is paid with.
pub fn any(random: &mut Random, way: Way) -> Option<(&'static TestCard, Vec<Operation>)> {
    let operations = chosen(random, way)?;
    let kinds: Vec<OperationKind> = operations.iter().map(|it| it.kind).collect();
    let kind = random.pick(&kinds);
    Some((card_for(random, kind), operations))
}

/// What the client requests for one payment. Of ten payments two are captured later or canceled, and two are refunded, in part
/// or whole, once or several times.
pub fn chosen(random: &mut Random, way: Way) -> Option<Vec<Operation>> {
    use OperationKind::{Capture, Refund, Void};
    const PART: Option<i64> = Some(600);
    const LITTLE: Option<i64> = Some(205);
    let operations: &[(OperationKind, Option<i64>)] = match random.below(10) {
        0 => &[(Capture, PART), (Refund, LITTLE), (Refund, LITTLE)],
        1 => random.pick(&[&[(Capture, None)], &[(Void, None)]]),
        2 => &[(Refund, None)],
        3 => &[(Refund, LITTLE), (Refund, LITTLE), (Refund, LITTLE)],
        _ => return None,
    };
    // Half of the operations take the other way than their payment.
    let ways = [way, random.pick(&[Way::Rest, Way::Message])];
    let operations = operations
        .iter()
        .zip(ways.into_iter().cycle())
        .map(|((kind, amount), way)| Operation::new(*kind, *amount, way));
    Some(operations.collect())
}

/// Every second one has trouble with such an operation, or with the authorization.
fn card_for(random: &mut Random, kind: OperationKind) -> &'static TestCard {
    let troubles: &[&str] = match kind {
        OperationKind::Capture => &["tok_capture_down_2", "tok_capture_answer_lost"],
        OperationKind::Void => &["tok_void_down_2", "tok_void_answer_lost"],
        OperationKind::Refund => &[
            "tok_refund_down_2",
            "tok_refund_answer_lost",
            "tok_refund_pending",
            "tok_refund_refused",
            "tok_refund_fails",
        ],
    };
    match random.below(8) {
        0 => by_token(random.pick(&["tok_issuer_down_1", "tok_answer_lost_once"])),
        1..4 => by_token(random.pick(troubles)),
        _ => {
            let approved = TEST_CARDS.iter();
            let approved = approved.filter(|card| card.behaviour == Behaviour::Approve);
            random.pick(&approved.collect::<Vec<_>>())
        }
    }
}
