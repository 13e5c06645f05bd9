//! From JSON to the domain: the bodies of `POST /payments`, `process`, `card-tokens` and `order.payment`.
//!
//! Reports every fault. Independent of HTTP and AMQP, writes nothing, reads no clock.

use std::collections::BTreeMap;

use serde_json::Value;

use super::card_fields::{self, CARD_FIELDS};
use super::did_you_mean;
use super::fields::{Faults, FieldError, Object, shown};
use super::methods::{PAYMENT_METHOD, refuse_cards_in_clear};
pub use super::rules::CardsAllowed;
use super::rules::Rules;
use crate::domain::card::holds_card_number;
use crate::domain::money::InvalidAmount;
use crate::domain::return_url::InvalidUrl;
use crate::domain::{CaptureMethod, Card, Currency, Metadata, Money, OrderId, ReturnUrl, UserId};
use crate::domain::{MethodForm, PaymentMethod, PaymentRequest};

const PAYMENT_FIELDS: [&str; 10] = [
    "order_id",
    "user_id",
    "total_amount",
    "currency",
    "payment_method",
    "card",
    "card_token",
    "capture_method",
    "metadata",
    "return_url",
];
const CARD_PATHS: [&str; 3] = ["card.cardNumber", "card.cardCode", "card.expirationDate"];

/// Not a field of the body. It has its own message, because a caller that sends it relies on it.
const IDEMPOTENCY_KEY: &str = "idempotency_key";

/// Longest decimal that is read, in characters: far longer than any amount, far shorter than a body.
pub const LONGEST_AMOUNT: usize = 40;

/// Reads a request for a payment.
pub fn parse_payment(body: &Value, rules: &Rules) -> Result<PaymentRequest, Vec<FieldError>> {
    let mut faults = Faults::default();
    let request = Object::root(body, &mut faults).and_then(|fields| {
        let order_id = fields.positive_integer("order_id", &mut faults);
        let user_id = fields.positive_integer("user_id", &mut faults);
        let amount = amount(&fields, rules.default_currency, &mut faults);
        let method = optional_method(&fields, rules, &mut faults);
        let capture_method = capture_method(&fields, &mut faults);
        let metadata = metadata(&fields, &mut faults);
        let return_url = return_url(&fields, rules, &mut faults);
        check_unknown(&fields, rules, &mut faults);
        Some(PaymentRequest {
            order_id: OrderId(order_id?),
            user_id: UserId(user_id?),
            amount: amount?,
            method,
            method_form: method_form(body, MethodForm::InPayment),
            capture_method: capture_method?,
            metadata,
            return_url,
        })
    });
    faults.settle(request)
}

/// How a body gives its payment method, if not in the given form.
pub fn method_form(body: &Value, otherwise: MethodForm) -> MethodForm {
    let is_nested = !body[PAYMENT_METHOD].is_null();
    if is_nested {
        MethodForm::Nested
    } else {
        otherwise
    }
}

/// Reads the payment method: `payment_method`, the three card fields, or `card_token`.
pub fn parse_method(body: &Value, rules: &Rules) -> Result<PaymentMethod, Vec<FieldError>> {
    let mut faults = Faults::default();
    let method = Object::root(body, &mut faults).and_then(|fields| {
        let of_cards = [CARD_FIELDS.as_slice(), &["card_token"]].concat();
        let known = [of_cards.as_slice(), &[PAYMENT_METHOD]].concat();
        fields.check_unknown(&known, &[], rules.client.unknown_fields, &mut faults);
        if fields.get(PAYMENT_METHOD).is_some() {
            let methods = &rules.client.methods;
            return methods.read(&fields, &of_cards, rules.reading(), &mut faults);
        }
        if fields.get("card_token").is_none() {
            return card_fields::card(&fields, rules.now, &mut faults).map(PaymentMethod::Card);
        }
        card_fields::refuse_both(&fields, &mut faults);
        card_fields::token(&fields, &mut faults).map(PaymentMethod::Token)
    });
    faults.settle(method)
}

/// Reads a card that is exchanged for a token.
pub fn parse_card(body: &Value, rules: &Rules) -> Result<Card, Vec<FieldError>> {
    let mut faults = Faults::default();
    let card = Object::root(body, &mut faults).and_then(|fields| {
        fields.check_unknown(&CARD_FIELDS, &[], rules.client.unknown_fields, &mut faults);
        card_fields::card(&fields, rules.now, &mut faults)
    });
    faults.settle(card)
}

fn amount(fields: &Object, default_currency: Currency, faults: &mut Faults) -> Option<Money> {
    let currency = currency(fields, default_currency, faults);
    let value = fields.required("total_amount", "a number such as 99.53", faults)?;
    // With an unknown currency, only check what holds for every currency.
    let assumed = currency.unwrap_or(default_currency);
    match read_amount(value, assumed) {
        Ok(money) => return currency.map(|_| money),
        Err(("too_precise", _)) if currency.is_none() => {}
        Err((code, message)) => faults.add(fields.path("total_amount"), code, message),
    }
    None
}

/// Reads an amount that is a number or a decimal in a string; an error has its code and its message.
pub(super) fn read_amount(
    value: &Value,
    currency: Currency,
) -> Result<Money, (&'static str, String)> {
    let read = match value {
        Value::Number(number) => Money::parse_number(number, currency),
        Value::String(text) if text.len() > LONGEST_AMOUNT => Err(InvalidAmount::NotANumber),
        Value::String(text) => Money::parse_text(text, currency),
        _ => Err(InvalidAmount::NotANumber),
    };
    read.map_err(|invalid| {
        let code = match invalid {
            InvalidAmount::NotANumber if value.is_string() => "not_a_number",
            InvalidAmount::NotANumber => "wrong_type",
            InvalidAmount::NotPositive => "not_positive",
            InvalidAmount::TooLarge => "too_large",
            InvalidAmount::TooPrecise { .. } => "too_precise",
        };
        (code, invalid.to_string())
    })
}

fn currency(fields: &Object, default: Currency, faults: &mut Faults) -> Option<Currency> {
    if fields.get("currency").is_none() {
        return Some(default);
    }
    let code = fields.text("currency", "an ISO 4217 code such as CAD", faults)?;
    let currency = Currency::parse(code).ok();
    if currency.is_none() {
        let message = match Currency::parse(&code.to_ascii_uppercase()) {
            Ok(meant) => format!("must be in upper case: send {}", meant.code()),
            Err(_) => "is unknown: send an ISO 4217 code such as CAD, EUR or JPY".to_owned(),
        };
        faults.add(fields.path("currency"), "unknown_currency", message);
    }
    currency
}

fn optional_method(fields: &Object, rules: &Rules, faults: &mut Faults) -> Option<PaymentMethod> {
    let of_card = match rules.cards {
        CardsAllowed::Yes => card_or_token(fields, rules, faults),
        CardsAllowed::No => token_only(fields, faults),
    };
    if fields.get(PAYMENT_METHOD).is_none() {
        return of_card;
    }
    let methods = &rules.client.methods;
    methods.read(fields, &["card", "card_token"], rules.reading(), faults)
}

fn card_or_token(fields: &Object, rules: &Rules, faults: &mut Faults) -> Option<PaymentMethod> {
    let card = fields.get("card").and_then(|card| {
        let card = Object::of(card, fields.path("card"), faults)?;
        card.check_unknown(&CARD_FIELDS, &[], rules.client.unknown_fields, faults);
        card_fields::card(&card, rules.now, faults)
    });
    if fields.get("card_token").is_none() {
        return card.map(PaymentMethod::Card);
    }
    if fields.get("card").is_some() {
        faults.add(
            fields.path("card_token"),
            "conflicting_fields",
            "must not come together with card: send one of them",
        );
    }
    card_fields::token(fields, faults).map(PaymentMethod::Token)
}

fn token_only(fields: &Object, faults: &mut Faults) -> Option<PaymentMethod> {
    refuse_cards_in_clear(fields, faults);
    fields.get("card_token")?;
    card_fields::token(fields, faults).map(PaymentMethod::Token)
}

fn capture_method(fields: &Object, faults: &mut Faults) -> Option<CaptureMethod> {
    if fields.get("capture_method").is_none() {
        return Some(CaptureMethod::Automatic);
    }
    let text = fields.text("capture_method", "automatic or manual", faults)?;
    let method = CaptureMethod::parse(text);
    if method.is_none() {
        let message = "must be automatic or manual";
        faults.add(
            fields.path("capture_method"),
            "unknown_capture_method",
            message,
        );
    }
    method
}

fn metadata(fields: &Object, faults: &mut Faults) -> Metadata {
    let Some(value) = fields.get("metadata") else {
        return Metadata::default();
    };
    let path = fields.path("metadata");
    let Some(object) = Object::of(value, path.clone(), faults) else {
        return Metadata::default();
    };
    let mut texts = BTreeMap::new();
    for (key, value) in object.entries() {
        match value {
            Value::String(text) => {
                texts.insert(key.clone(), text.clone());
            }
            _ => {
                let message = "must be a string: put numbers and flags in quotes";
                faults.add(object.path(&shown(key)), "wrong_type", message);
            }
        }
    }
    Metadata::parse(texts).unwrap_or_else(|invalid| {
        let message = format!("cannot be kept: {invalid}");
        faults.add(path, "invalid_metadata", message);
        Metadata::default()
    })
}

/// Checks the URL as written, and with its percent-encoded characters decoded.
fn shows_card_number(url: &str) -> bool {
    let mut parts = form_urlencoded::parse(url.as_bytes());
    holds_card_number(url)
        || parts.any(|(name, value)| holds_card_number(&name) || holds_card_number(&value))
}

fn return_url(fields: &Object, rules: &Rules, faults: &mut Faults) -> Option<ReturnUrl> {
    fields.get("return_url")?;
    let wanted = "an address such as https://shop.example/orders/1";
    let text = fields.text("return_url", wanted, faults)?;
    let (code, message) = match ReturnUrl::parse(text) {
        Ok(_) if shows_card_number(text) => (
            "card_in_clear",
            "must not hold a card number, since it is stored and published in clear".to_owned(),
        ),
        Ok(url) if rules.client.return_origins.allow(&url) => return Some(url),
        Ok(_) => (
            "foreign_origin",
            "must be at one of the client's return_origins, which the operator of this service keeps in CLIENTS_FILE"
                .to_owned(),
        ),
        Err(invalid) => {
            let code = match invalid {
                InvalidUrl::TooLong => "too_long",
                InvalidUrl::Scheme => "not_https",
                _ => "invalid_url",
            };
            (code, invalid.to_string())
        }
    };
    faults.add(fields.path("return_url"), code, message);
    None
}

fn check_unknown(fields: &Object, rules: &Rules, faults: &mut Faults) {
    let unknown = rules.client.unknown_fields;
    let keys = fields.entries().keys().map(String::as_str);
    for name in keys.filter(|name| did_you_mean::misspells(name, IDEMPOTENCY_KEY)) {
        let message = match rules.cards {
            CardsAllowed::Yes => "is not a field of the body: send the header Idempotency-Key",
            CardsAllowed::No => {
                "is not a field of the body: the AMQP property message-id is the key"
            }
        };
        faults.add(fields.path(&shown(name)), "unknown_field", message);
    }
    match rules.cards {
        CardsAllowed::Yes => fields.check_unknown(&PAYMENT_FIELDS, &CARD_PATHS, unknown, faults),
        // Card fields are already reported, and must not be recommended: see `token_only`.
        CardsAllowed::No => {
            let without_cards = PAYMENT_FIELDS.iter().filter(|name| **name != "card");
            let known: Vec<&str> = without_cards.copied().collect();
            fields.check_unknown(&known, &[], unknown, faults);
        }
    }
}

#[cfg(test)]
mod tests;
