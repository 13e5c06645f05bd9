//! Errors as `application/problem+json` (RFC 9457), and which error of the layers below maps to which [`Kind`].
//!
//! In addition to the RFC's members an answer has `error`, one plain sentence (which older callers read), and `errors`,
//! every invalid field.

use axum::Json;
use axum::http::header::{ACCEPT_ENCODING, CONTENT_TYPE, RETRY_AFTER, WWW_AUTHENTICATE};
use axum::http::{HeaderValue, Uri};
use axum::response::{IntoResponse, Response};
use schemars::JsonSchema;
use serde::Serialize;

use super::observed::Refused;
use crate::domain::{MethodForm, PaymentId};
use crate::payments::AcceptError;
use crate::payments::operations::start::OperationRefusal;
use crate::store::StoreError;
use crate::wire::fields::FieldError;

mod kind;

pub use kind::Kind;

/// An error answer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    kind: Kind,
    sentence: String,
    errors: Vec<FieldError>,
}

impl Problem {
    /// No such address.
    pub fn unknown_address(uri: &Uri) -> Self {
        // Without the query, which may hold secrets.
        let path: String = uri.path().chars().take(100).collect();
        Self::new(Kind::NotFound, format!("There is nothing at {path}."))
    }

    /// A problem with its one plain sentence.
    pub fn new(kind: Kind, sentence: impl Into<String>) -> Self {
        Self {
            kind,
            sentence: sentence.into(),
            errors: Vec::new(),
        }
    }

    /// A problem with every invalid field; the sentence is built from them.
    pub fn with_errors(kind: Kind, errors: Vec<FieldError>) -> Self {
        let sentence = match errors.as_slice() {
            [only] => only.message.clone(),
            several => {
                let names: Vec<&str> = several.iter().map(|fault| fault.field.as_str()).collect();
                format!(
                    "{} invalid fields, in {}: each is described under errors.",
                    names.len(),
                    names.join(", ")
                )
            }
        };
        Self {
            kind,
            sentence,
            errors,
        }
    }

    /// One invalid field.
    pub fn field(kind: Kind, field: &str, code: &'static str, message: &str) -> Self {
        let fault = FieldError {
            field: field.to_owned(),
            code,
            message: message.to_owned(),
        };
        Self::with_errors(kind, vec![fault])
    }

    /// No such payment, for this client.
    pub fn no_payment(id: PaymentId) -> Self {
        Self::new(Kind::NotFound, format!("There is no payment {id}."))
    }

    /// No such refund, for this client.
    pub fn no_refund() -> Self {
        let sentence = "There is no such refund: its id is the refund_id that POST /payments/{payment_id}/refunds answers.";
        Self::new(Kind::NotFound, sentence)
    }

    /// What kind of problem it is.
    pub fn kind(&self) -> Kind {
        self.kind
    }

    /// The one plain sentence.
    pub fn sentence(&self) -> &str {
        &self.sentence
    }

    /// The answer's body.
    pub fn document(&self) -> Document<'_> {
        let (status, name, title) = self.kind.row();
        Document {
            kind: format!("urn:problem-type:payment-service:{name}"),
            title,
            status: status.as_u16(),
            detail: &self.sentence,
            error: &self.sentence,
            errors: &self.errors,
        }
    }
}

impl From<Vec<FieldError>> for Problem {
    fn from(errors: Vec<FieldError>) -> Self {
        Self::with_errors(Kind::InvalidFields, errors)
    }
}

impl From<AcceptError> for Problem {
    fn from(error: AcceptError) -> Self {
        Self::about(error, MethodForm::InPayment)
    }
}

impl Problem {
    /// Why a request was not accepted that gave its payment method in this form.
    pub fn about(error: AcceptError, form: MethodForm) -> Self {
        match error {
            AcceptError::KeyReused => Self::field(
                Kind::KeyReused,
                "Idempotency-Key",
                "key_reused",
                "Idempotency-Key was used for a different request: send a new key for a new request.",
            ),
            AcceptError::TokenUnusable
            | AcceptError::TokenExpired
            | AcceptError::NotAllowed { .. } => {
                let fields: Vec<FieldError> = error.invalid_field(form).into_iter().collect();
                fields.into()
            }
            AcceptError::NotFound(id) => Self::no_payment(id),
            AcceptError::Refused(refusal) => {
                Self::new(Kind::Conflict, format!("This cannot be done: {refusal}."))
            }
            AcceptError::Operation(refusal) => refusal.into(),
            AcceptError::Seal(reason) => {
                tracing::error!(error = %reason, "a card could not be sealed");
                Self::internal()
            }
            AcceptError::BacklogFull => Self::new(
                Kind::Unavailable,
                "Too many payments are waiting for the broker; try again shortly.",
            ),
            AcceptError::Store(error) => error.into(),
        }
    }
}

impl From<OperationRefusal> for Problem {
    fn from(refusal: OperationRefusal) -> Self {
        let (field, code, message) = match refusal {
            OperationRefusal::TooMuch(left) => (
                "amount",
                "amount_too_large",
                format!("amount is more than what is left: at most {left}."),
            ),
            OperationRefusal::Currency(currency) => (
                "currency",
                "another_currency",
                format!("currency must be that of the payment, {}.", currency.code()),
            ),
            OperationRefusal::State(_)
            | OperationRefusal::CancelInstead
            | OperationRefusal::Expired
            | OperationRefusal::RefundInstead
            | OperationRefusal::NothingCharged
            | OperationRefusal::NothingLeft => {
                return Self::new(Kind::Conflict, format!("This cannot be done: {refusal}."));
            }
        };
        Self::field(Kind::InvalidFields, field, code, &message)
    }
}

impl From<StoreError> for Problem {
    fn from(error: StoreError) -> Self {
        match error {
            StoreError::Busy => Self::new(
                Kind::Overloaded,
                "The service is overloaded; try again shortly.",
            ),
            StoreError::IdsExhausted => Self::new(
                Kind::Exhausted,
                "No payment ids are left; the service accepts no new payments until its operator raises the limit.",
            ),
            StoreError::Unavailable(_)
            | StoreError::Conflict(_)
            | StoreError::Locked(_)
            | StoreError::CommitUnknown(_)
            | StoreError::Migration(_) => {
                // The readiness check reports an outage once; during it, very many requests end here.
                tracing::debug!(error = %error, "a request failed: the store is unavailable");
                Self::new(
                    Kind::Unavailable,
                    "The payment store cannot be used now; try again shortly, with the same Idempotency-Key if there \
                     was one.",
                )
            }
            StoreError::Quarantined(payment) => {
                tracing::debug!(error = %payment, "a quarantined payment was requested");
                Self::new(
                    Kind::Quarantined,
                    format!(
                        "Payment {} is quarantined: its stored data cannot be used until an operator has repaired it.",
                        payment.payment
                    ),
                )
            }
            StoreError::Rejected(_) | StoreError::Corrupt(_) | StoreError::Panicked(_) => {
                tracing::error!(error = %error, "a request failed in the store");
                Self::internal()
            }
        }
    }
}

impl Problem {
    /// An internal error; details are in the log.
    pub fn internal() -> Self {
        Self::new(Kind::Internal, "Internal error; it has been logged.")
    }
}

/// Members of RFC 9457, then those of this service.
#[derive(Serialize, JsonSchema)]
#[schemars(rename = "Problem")]
pub struct Document<'p> {
    /// `urn:problem-type:payment-service:` and the name of the problem, such as `not-found`.
    #[serde(rename = "type")]
    kind: String,
    /// The same for every problem of this type.
    title: &'static str,
    /// The HTTP status.
    status: u16,
    /// The same as `error`.
    detail: &'p str,
    /// One plain sentence.
    error: &'p str,
    /// Every invalid field.
    errors: &'p [FieldError],
}

impl IntoResponse for Problem {
    fn into_response(self) -> Response {
        let mut response = (self.kind.status(), Json(self.document())).into_response();
        let fields = self.errors.iter().map(|it| it.field.as_str());
        response.extensions_mut().insert(Refused {
            name: self.kind.name(),
            fields: fields.collect::<Vec<_>>().join(", "),
        });
        let headers = response.headers_mut();
        headers.insert(
            CONTENT_TYPE,
            HeaderValue::from_static("application/problem+json"),
        );
        if let Some(seconds) = self.kind.retry_after() {
            headers.insert(RETRY_AFTER, seconds.into());
        }
        if self.kind == Kind::ContentCoding {
            // RFC 9110, section 15.5.16: which codings are accepted.
            headers.insert(ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        }
        let challenge = match self.kind {
            Kind::Unauthorized => Some("Bearer realm=\"payment-service\""),
            Kind::NotGenuine => Some("Signature realm=\"payment-service\""),
            _ => None,
        };
        if let Some(challenge) = challenge {
            headers.insert(WWW_AUTHENTICATE, HeaderValue::from_static(challenge));
        }
        response
    }
}

#[cfg(test)]
mod tests;
