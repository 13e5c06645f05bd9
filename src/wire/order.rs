//! `order.payment`, a request by message: its routing key, and how it is refused.

use schemars::JsonSchema;
use serde::Serialize;

use super::fields::FieldError;
use crate::domain::ClientName;
use crate::domain::card::without_card_number;

/// The routing key, and the `type` property if a client sets one.
pub const ORDER_PAYMENT: &str = "order.payment";

/// Every reason of a [`Refusal`].
pub const REASONS: [&str; 23] = [
    "body_too_large",
    "card_token_expired",
    "card_token_unreadable",
    "card_token_unusable",
    "client_unknown",
    "correlation_id_invalid",
    "data_refused",
    "funding_not_allowed",
    "headers_too_large",
    "internal_error",
    "invalid",
    "message_id_invalid",
    "message_id_missing",
    "message_id_reused",
    "method_not_allowed",
    "not_json",
    "not_possible",
    "payment_quarantined",
    "property_invalid",
    "replay_not_proven",
    "reply_to_foreign",
    "schema_version_unknown",
    "user_id_missing",
];

/// Why a message is refused. It is not retried: it becomes a dead letter and, if the client is known, an event.
#[derive(Debug, Clone, PartialEq)]
pub struct Refusal {
    /// Snake case, for programs: `not_json`, `message_id_missing`.
    pub reason: &'static str,
    /// One plain sentence.
    pub error: String,
    /// Every invalid field.
    pub errors: Vec<FieldError>,
    /// Who sent it, if that is known.
    pub client: Option<ClientName>,
}

impl Refusal {
    /// A refusal without single fields.
    pub fn new(reason: &'static str, error: impl Into<String>) -> Self {
        Self {
            reason,
            error: error.into(),
            errors: Vec::new(),
            client: None,
        }
    }

    /// The same, with the client that sent the message.
    #[must_use]
    pub fn of(self, client: &ClientName) -> Self {
        Self {
            client: Some(client.clone()),
            ..self
        }
    }

    /// The data of the event.
    pub fn rejection<'a>(&'a self, message_id: Option<&'a str>) -> Rejection<'a> {
        Rejection {
            reason: self.reason,
            error: &self.error,
            errors: &self.errors,
            message_id: message_id.map(without_card_number),
        }
    }
}

/// Why a request by message was refused: the data of the event `payment.request_rejected`.
#[derive(Debug, Serialize, JsonSchema)]
pub struct Rejection<'a> {
    /// Snake case. An open set.
    reason: &'static str,
    /// One plain sentence.
    error: &'a str,
    /// Every invalid field.
    errors: &'a [FieldError],
    /// The message's id; null if it has none.
    message_id: Option<&'a str>,
}
