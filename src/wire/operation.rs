//! Captures, voids and refunds as JSON: the fields of requests, and the `Refund` object.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::fields::{Faults, FieldError, Object};
use super::request::read_amount;
use super::rules::UnknownFields;
use crate::domain::card::holds_card_number;
use crate::domain::{
    Currency, Money, Operation, OperationKind, OperationSource, OperationStatus, PaymentId, rfc3339,
};

/// Longest reason of a refund, in characters; the column has the same width.
pub const LONGEST_REASON: usize = 500;

/// Longest reference of a client, in characters; the column has the same width.
pub const LONGEST_REFERENCE: usize = 255;

/// Routing keys of requests by message.
pub const ORDER_CAPTURE: &str = "order.capture";
/// See [`ORDER_CAPTURE`].
pub const ORDER_CANCEL: &str = "order.cancel";
/// See [`ORDER_CAPTURE`].
pub const ORDER_REFUND: &str = "order.refund";

/// What a request asks for.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct OperationFields {
    /// None for all that is left.
    pub amount: Option<Money>,
    /// The client's reason for a refund.
    pub reason: Option<String>,
    /// The client's own reference of a refund.
    pub client_reference: Option<String>,
}

/// The operation that a message with this routing key asks for.
pub fn kind_of(routing_key: &str) -> Option<OperationKind> {
    match routing_key {
        ORDER_CAPTURE => Some(OperationKind::Capture),
        ORDER_CANCEL => Some(OperationKind::Void),
        ORDER_REFUND => Some(OperationKind::Refund),
        _ => None,
    }
}

/// The payment that a message names.
pub fn parse_payment_id(body: &Value) -> Result<PaymentId, Vec<FieldError>> {
    let mut faults = Faults::default();
    let id = Object::root(body, &mut faults)
        .and_then(|fields| fields.positive_integer("payment_id", &mut faults));
    faults.settle(id.map(PaymentId))
}

/// Reads a request for an operation on a payment in this currency. A message also names its payment.
pub fn parse_operation(
    body: &Value,
    kind: OperationKind,
    (currency, is_message): (Currency, bool),
    unknown: UnknownFields,
) -> Result<OperationFields, Vec<FieldError>> {
    let known: &[&str] = match kind {
        OperationKind::Void => &[],
        OperationKind::Capture => &["amount", "currency"],
        OperationKind::Refund => &["amount", "currency", "reason", "client_reference"],
    };
    let mut known = known.to_vec();
    if is_message {
        known.push("payment_id");
    }
    let mut faults = Faults::default();
    let read = Object::root(body, &mut faults).map(|fields| {
        fields.check_unknown(&known, &[], unknown, &mut faults);
        let has = |name: &str| known.contains(&name);
        check_currency(&fields, currency, &mut faults);
        OperationFields {
            amount: has("amount")
                .then(|| amount(&fields, currency, &mut faults))
                .flatten(),
            reason: has("reason")
                .then(|| text(&fields, "reason", LONGEST_REASON, &mut faults))
                .flatten(),
            client_reference: has("client_reference")
                .then(|| text(&fields, "client_reference", LONGEST_REFERENCE, &mut faults))
                .flatten(),
        }
    });
    faults.settle(read)
}

fn amount(fields: &Object, currency: Currency, faults: &mut Faults) -> Option<Money> {
    let value = fields.get("amount")?;
    match read_amount(value, currency) {
        Ok(amount) => Some(amount),
        Err((code, message)) => {
            faults.add(fields.path("amount"), code, message);
            None
        }
    }
}

/// The currency may be sent, but only that of the payment.
fn check_currency(fields: &Object, currency: Currency, faults: &mut Faults) {
    if fields.get("currency").is_none() {
        return;
    }
    let wanted = format!("the currency of the payment, {}", currency.code());
    let Some(code) = fields.text("currency", &wanted, faults) else {
        return;
    };
    if code != currency.code() {
        let message = format!(
            "must be that of the payment: send {}, or leave it out",
            currency.code()
        );
        faults.add(fields.path("currency"), "another_currency", message);
    }
}

fn text(fields: &Object, name: &str, longest: usize, faults: &mut Faults) -> Option<String> {
    fields.get(name)?;
    let text = fields.text(name, "a text", faults)?;
    let length = text.chars().count();
    let (code, message) = if length == 0 || length > longest {
        let message = format!("must have 1 to {longest} characters");
        ("invalid_length", message)
    } else if text.chars().any(char::is_control) {
        let message = "must not contain control characters such as line breaks".to_owned();
        ("invalid_text", message)
    } else if holds_card_number(text) {
        let message = "must not hold a card number, since it is stored and published in clear";
        ("card_in_clear", message.to_owned())
    } else {
        return Some(text.to_owned());
    };
    faults.add(fields.path(name), code, message);
    None
}

/// A refund as JSON. Absent values are null; no field is ever left out.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
#[schemars(rename = "Refund")]
pub struct RefundObject {
    /// A UUID.
    #[schemars(extend("format" = "uuid"))]
    pub refund_id: String,
    /// The payment.
    pub payment_id: PaymentId,
    /// In major units of the currency, exact to its minor unit.
    pub amount: f64,
    /// ISO 4217; always that of the payment.
    #[schemars(regex(pattern = "^[A-Z]{3}$"))]
    pub currency: String,
    /// Its current state. A refund that succeeded can still fail, if the card's bank returns the money.
    pub status: OperationStatus,
    /// Why it failed, in snake case. An open set.
    pub failure_code: Option<String>,
    /// The client's reason.
    pub reason: Option<String>,
    /// The client's own reference.
    pub client_reference: Option<String>,
    /// Who asked for it: `client`, or `processor` if somebody made it at the payment platform, such as in its dashboard.
    #[serde(default)]
    pub source: OperationSource,
    /// When it was accepted: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub created_at: String,
    /// When it last changed: RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    pub updated_at: String,
}

impl From<&Operation> for RefundObject {
    fn from(refund: &Operation) -> Self {
        Self {
            refund_id: refund.id.to_string(),
            payment_id: refund.payment,
            amount: refund.amount.major_number(),
            currency: refund.amount.currency().code().to_owned(),
            status: refund.status,
            failure_code: refund.failure_code.as_ref().map(ToString::to_string),
            reason: refund.reason.clone(),
            client_reference: refund.client_reference.clone(),
            source: refund.source,
            created_at: rfc3339(refund.created_at),
            updated_at: rfc3339(refund.updated_at),
        }
    }
}

/// The id of a refund in a path: a UUID in the usual form.
pub fn parse_refund_id(text: &str) -> Option<crate::domain::OperationId> {
    let id = Uuid::try_parse(text).ok()?;
    (id.to_string() == text.to_ascii_lowercase()).then_some(crate::domain::OperationId(id))
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn read(body: Value, kind: OperationKind) -> Result<OperationFields, Vec<String>> {
        let currency = Currency::parse("CAD").expect("CAD");
        let read = parse_operation(&body, kind, (currency, false), UnknownFields::Refuse);
        read.map_err(|faults| {
            let faults = faults.into_iter();
            faults
                .map(|it| format!("{} {}", it.field, it.code))
                .collect()
        })
    }

    #[test]
    fn a_refund_has_an_amount_a_reason_and_a_reference_or_none_of_them() {
        let fields = read(json!({}), OperationKind::Refund).expect("a request");
        assert_eq!(fields, OperationFields::default());
        let body = json!({"amount": "12.50", "currency": "CAD", "reason": "returned", "client_reference": "R-1"});
        let fields = read(body, OperationKind::Refund).expect("a request");
        assert_eq!(fields.amount.expect("an amount").minor(), 1250);
        assert_eq!(fields.reason.as_deref(), Some("returned"));
        assert_eq!(fields.client_reference.as_deref(), Some("R-1"));
    }

    #[test]
    fn every_fault_names_its_field() {
        let refund = |body| read(body, OperationKind::Refund).expect_err("faults");
        assert_eq!(refund(json!({"amount": 0})), ["amount not_positive"]);
        assert_eq!(refund(json!({"amount": -1.5})), ["amount not_positive"]);
        assert_eq!(refund(json!({"amount": 1.005})), ["amount too_precise"]);
        assert_eq!(refund(json!({"amount": true})), ["amount wrong_type"]);
        assert_eq!(
            refund(json!({"currency": "USD"})),
            ["currency another_currency"]
        );
        assert_eq!(
            refund(json!({"reason": "4242 4242 4242 4242"})),
            ["reason card_in_clear"]
        );
        assert_eq!(
            refund(json!({"reason": "r".repeat(501)})),
            ["reason invalid_length"]
        );
        assert_eq!(
            refund(json!({"client_reference": "a\nb"})),
            ["client_reference invalid_text"]
        );
        assert_eq!(refund(json!({"amuont": 1})), ["amuont unknown_field"]);
        let capture = read(json!({"reason": "x"}), OperationKind::Capture);
        assert_eq!(capture.expect_err("faults"), ["reason unknown_field"]);
    }

    #[test]
    fn a_refund_id_is_a_uuid_in_the_usual_form() {
        let id = "019a3f00-0000-7000-8000-000000000004";
        assert!(parse_refund_id(id).is_some());
        assert!(parse_refund_id(&id.replace('-', "")).is_none());
        assert!(parse_refund_id("4242424242424242").is_none());
    }
}
