//! The page itself: templates, and the headers that every page has.

use std::borrow::Cow;
use std::sync::Arc;

use askama::Template;
use axum::http::header::{
    CONTENT_SECURITY_POLICY, CONTENT_TYPE, REFERRER_POLICY, X_CONTENT_TYPE_OPTIONS, X_FRAME_OPTIONS,
};
use axum::http::{HeaderName, HeaderValue, StatusCode};
use axum::response::{IntoResponse, Response};
use rand::distr::{Alphanumeric, SampleString};

use super::form::Form;
use super::test_cards::Row;
use super::texts::Words;
use super::{amount, date};
use crate::domain::{Money, Payment, PaymentStatus};
use crate::http::problem::Problem;
use crate::wire::fields::FieldError;
use crate::wire::rules::NotAllowed;

/// A payment as its shopper sees it.
#[derive(Template)]
#[template(path = "payment.html")]
pub struct PaymentView {
    words: &'static Words,
    nonce: String,
    /// `content` of the refresh, if there is one.
    refresh: Option<String>,
    id: i64,
    /// The client's display name, if it is known.
    shop: Option<Arc<str>>,
    /// The client's own address, checked when the payment was created.
    return_url: Option<String>,
    /// When it was paid, and the issuer's code for it.
    paid: Option<(String, String)>,
    order_id: i64,
    amount: String,
    /// As in answers, for the style.
    status: &'static str,
    state: &'static str,
    explanation: Option<&'static str>,
    card: Option<(String, String)>,
    /// Where the shopper approves.
    action: Option<String>,
    /// What was refunded, if anything was.
    refunded: Option<String>,
    form: Option<FormView>,
}

/// The form for a card. After an error it shows what was typed, except the security code: only to the browser that sent
/// it, in an answer that is not stored anywhere.
pub struct FormView {
    pub token: String,
    pub typed_number: String,
    pub typed_expiry: String,
    /// Why the form is shown again.
    pub notice: Option<&'static str>,
    pub number: Option<Cow<'static, str>>,
    pub expiry: Option<&'static str>,
    pub code: Option<&'static str>,
    pub test_cards: Vec<Row>,
    /// Whether the shop takes cards on this page.
    pub card: bool,
    /// Whether the shop takes wallets.
    pub wallet: bool,
    /// The platforms on whose pages the shopper can pay: the button's value, and the name.
    pub platforms: Vec<(String, String)>,
}

/// An answer without a payment.
#[derive(Template)]
#[template(path = "problem.html")]
struct ProblemView {
    words: &'static Words,
    nonce: String,
    refresh: Option<String>,
    headline: &'static str,
    sentence: &'static str,
}

impl PaymentView {
    /// The payment in its current state, with a form if it can be paid.
    pub fn new(
        payment: &Payment,
        shop: Option<Arc<str>>,
        words: &'static Words,
        form: Option<FormView>,
    ) -> Self {
        let paid = payment.is_paid().then(|| {
            let reference = payment.authorization_code.clone();
            let date = date::written(payment.updated_at, words.language);
            (date, reference.unwrap_or_else(|| payment.id.to_string()))
        });
        // While there is a form, the page does not renew itself: what is typed would be lost.
        let processing = payment.status == PaymentStatus::Processing;
        Self {
            words,
            nonce: nonce(),
            refresh: processing.then(|| "2".to_owned()),
            id: payment.id.0,
            shop,
            return_url: payment
                .return_url
                .as_ref()
                .map(|url| url.as_str().to_owned()),
            paid,
            order_id: payment.order_id.0,
            amount: amount::written(payment.amount, words.language),
            status: payment.status.as_str(),
            state: words.status(payment.status),
            explanation: words.explanation(payment.status, payment.decline_code.as_ref()),
            card: payment
                .card()
                .map(|card| (card.brand.to_string(), card.last4.clone())),
            action: payment.next_action().map(|action| action.url.clone()),
            refunded: Money::from_minor(payment.funds.refunded, payment.amount.currency())
                .ok()
                .map(|refunded| amount::written(refunded, words.language)),
            form,
        }
    }

    /// The answer to a form: shows the payment's state, and sends the browser to the same address by `GET` at once, so
    /// that a reload does not post again. Not a 303: the gateway would follow it itself and answer the `POST` with the
    /// result. The address is relative to the last slash, so it works with any prefix. If the shopper has to approve, the
    /// browser is sent there.
    pub fn after_post(mut self) -> Self {
        let next = self.action.clone().unwrap_or_else(|| self.id.to_string());
        self.refresh = Some(format!("0; url={next}"));
        self
    }

    pub fn into_response(self, status: StatusCode) -> Response {
        respond(status, &self, &self.nonce)
    }
}

impl FormView {
    /// Shows again what was typed.
    pub fn with_typed(mut self, form: &Form) -> Self {
        self.typed_number = form.typed("cardNumber");
        self.typed_expiry = form.typed("expirationDate");
        self
    }

    /// Shows next to each field what is wrong with it.
    pub fn with_faults(mut self, faults: &[FieldError], words: &'static Words) -> Self {
        let of = |name: &str| {
            let fault = faults.iter().find(|fault| fault.field == name);
            fault.map(|fault| words.fault(fault.code))
        };
        self.number = of("cardNumber").map(Cow::Borrowed);
        self.expiry = of("expirationDate");
        self.code = of("cardCode");
        self.notice = Some(words.correct);
        self
    }

    /// Shows that the client may not use the card, and which ones it may use.
    pub fn with_refused_card(self, why: &NotAllowed, words: &'static Words) -> Self {
        Self {
            number: Some(words.not_allowed(why).into()),
            notice: Some(words.correct),
            ..self
        }
    }
}

/// A problem with its status and its headers, as a page.
pub fn problem(problem: Problem, words: &'static Words) -> Response {
    let (headline, sentence) = words.problem(problem.kind());
    let view = ProblemView {
        words,
        nonce: nonce(),
        refresh: None,
        headline,
        sentence,
    };
    let (mut said, _) = problem.into_response().into_parts();
    let mut response = respond(said.status, &view, &view.nonce);
    said.headers.remove(CONTENT_TYPE);
    response.headers_mut().extend(said.headers);
    // With what the log says of it.
    response.extensions_mut().extend(said.extensions);
    response
}

pub fn respond(status: StatusCode, view: &impl Template, nonce: &str) -> Response {
    let html = match view.render() {
        Ok(html) => html,
        Err(error) => {
            tracing::error!(%error, "a page could not be rendered");
            return Problem::internal().into_response();
        }
    };
    let mut response = (status, html).into_response();
    let headers = response.headers_mut();
    for (name, value) in FIXED {
        headers.insert(name, HeaderValue::from_static(value));
    }
    if let Ok(policy) = HeaderValue::try_from(policy(nonce)) {
        headers.insert(CONTENT_SECURITY_POLICY, policy);
    }
    response
}

const FIXED: [(HeaderName, &str); 4] = [
    (CONTENT_TYPE, "text/html; charset=utf-8"),
    (X_CONTENT_TYPE_OPTIONS, "nosniff"),
    (X_FRAME_OPTIONS, "DENY"),
    // Not `no-referrer`: browsers would then send `Origin: null` with the form.
    (REFERRER_POLICY, "same-origin"),
];

/// Allows only this page's own style, and a form that posts to this service. There is no script.
fn policy(nonce: &str) -> String {
    format!(
        "default-src 'none'; style-src 'nonce-{nonce}'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
    )
}

/// 131 random bits, new for each answer.
pub fn nonce() -> String {
    Alphanumeric.sample_string(&mut rand::rng(), 22)
}
