//! Requests by message: `order.payment`, `order.capture`, `order.cancel` and `order.refund`. Converts a delivery into the same
//! request as REST.

use std::sync::Arc;

use serde_json::Value;

use crate::broker::{Delivery, HEADERS_DROPPED, LONGEST_HEADER_BYTES, Properties};
use crate::clients::Clients;
use crate::domain::Origin;
use crate::domain::card::{holds_card_number, without_card_number};
use crate::domain::{ClientName, Currency, OperationKind, Timestamp};
use crate::intake::request::{OperationOrder, Request};
use crate::intake::signed_replay;
use crate::payments::operate::OperationRequest;
use crate::payments::{Submission, WayIn};
use crate::vault::SealKeys;
use crate::wire::LONGEST_REQUEST_BYTES;
use crate::wire::fields::FieldError;
use crate::wire::json;
use crate::wire::json::Unreadable;
use crate::wire::operation::{kind_of, parse_operation, parse_payment_id};
use crate::wire::order::Refusal;
use crate::wire::request::parse_payment;
use crate::wire::rules::{CardsAllowed, Rules};
use crate::wire::{TRACEPARENT, is_traceparent};

/// Header with the version of the body's schema; absent means [`SCHEMA_VERSION`].
pub const SCHEMA_VERSION_HEADER: &str = "schema-version";

/// The only version so far.
pub const SCHEMA_VERSION: &str = "1";

/// The longest headers of a message, names and values together, in bytes.
pub const LONGEST_HEADERS_BYTES: usize = 64 * 1024;

/// The longest part of a text that an answer repeats, in bytes.
const REPEATED: usize = 64;

/// RabbitMQ's direct reply-to: an address that only the requester's own channel reads.
const DIRECT_REPLY_TO: &str = "amq.rabbitmq.reply-to.";

/// What reading a message requires.
pub struct OrderReader {
    /// Finds the client of a RabbitMQ user.
    pub clients: Clients,
    /// `DEFAULT_CLIENT`
    pub default_client: Option<ClientName>,
    /// For requests without a currency.
    pub default_currency: Currency,
    /// Proves which client sent a message that the previous release has replayed.
    pub seal: Arc<SealKeys>,
}

/// An `order.payment` message: what of a delivery, or of its dead letter, makes the request.
#[derive(Debug, Clone, Copy)]
pub struct Order<'a> {
    /// Says what it asks for.
    pub routing_key: &'a str,
    /// Properties and headers.
    pub properties: &'a Properties,
    /// The body as received.
    pub body: &'a [u8],
}

impl<'a> Order<'a> {
    /// The message in a delivery.
    pub fn of(delivery: &'a Delivery) -> Self {
        Self {
            routing_key: &delivery.routing_key,
            properties: &delivery.properties,
            body: &delivery.body,
        }
    }
}

impl OrderReader {
    /// Reads a delivery, or returns why it is refused.
    pub fn read(&self, delivery: &Delivery, now: Timestamp) -> Result<Request, Refusal> {
        let client = self.client(delivery)?;
        self.read_order(Order::of(delivery), &client, now)
    }

    /// Reads the amount and the texts of an operation, in the currency of its payment.
    pub fn read_fields(
        &self,
        order: &OperationOrder,
        currency: Currency,
    ) -> Result<OperationRequest, Refusal> {
        let rules = self.clients.rules(&order.client);
        let (kind, unknown) = (order.kind, rules.unknown_fields);
        let fields = parse_operation(&order.body, kind, (currency, true), unknown);
        let fields = fields.map_err(|errors| invalid(errors).of(&order.client))?;
        Ok(OperationRequest {
            amount: fields.amount,
            reason: fields.reason,
            client_reference: fields.client_reference,
            idempotency_key: Some(order.idempotency_key.clone()),
            origin: order.origin.clone(),
            ..OperationRequest::new(&order.client, order.payment, kind)
        })
    }

    /// Reads a message of a client, or returns why it is refused.
    pub fn read_order(
        &self,
        order: Order<'_>,
        client: &ClientName,
        now: Timestamp,
    ) -> Result<Request, Refusal> {
        let read = match kind_of(order.routing_key) {
            None => self
                .payment(order, client, now)
                .map(|submission| Request::Payment(Box::new(submission))),
            Some(kind) => Self::operation(order, client, kind).map(Request::Operation),
        };
        read.map_err(|refusal| refusal.of(client))
    }

    /// Where answers to a message go, whether it can be read or not.
    pub fn origin(properties: &Properties, client: Option<&ClientName>) -> Origin {
        let own = |queue: &&String| client.is_some_and(|client| may_reply_to(queue, client));
        let text = |text: &&String| is_text(text);
        let traceparent = properties.headers.get(TRACEPARENT);
        Origin {
            correlation_id: properties
                .correlation_id
                .as_ref()
                .filter(text)
                .filter(|id| !holds_card_number(id))
                .cloned(),
            reply_to: properties
                .reply_to
                .as_ref()
                .filter(text)
                .filter(own)
                .cloned(),
            traceparent: traceparent.filter(|trace| is_traceparent(trace)).cloned(),
        }
    }

    /// The client whose RabbitMQ user published a message.
    fn user(&self, delivery: &Delivery) -> Option<ClientName> {
        let user = delivery.properties.user_id.as_deref()?;
        self.clients.by_rabbitmq_user(user)
    }

    fn client(&self, delivery: &Delivery) -> Result<ClientName, Refusal> {
        let replayed = signed_replay::client(&self.seal, delivery).map_err(|error| Refusal {
            // The broker authenticated this user, so the answer may go to them.
            client: self.user(delivery),
            ..Refusal::new("replay_not_proven", error.to_string())
        })?;
        if let Some(client) = replayed {
            return Ok(client);
        }
        match &delivery.properties.user_id {
            Some(user) => self.clients.by_rabbitmq_user(user).ok_or_else(|| {
                Refusal::new("client_unknown", format!("No client has the RabbitMQ user `{user}`."))
            }),
            None => self.default_client.clone().ok_or_else(|| {
                Refusal::new(
                    "user_id_missing",
                    "The AMQP property user-id is missing: set it to the RabbitMQ user that publishes.",
                )
            }),
        }
    }

    fn payment(
        &self,
        order: Order<'_>,
        client: &ClientName,
        now: Timestamp,
    ) -> Result<Submission, Refusal> {
        let (key, body) = read_message(order, client)?;
        let client_rules = self.clients.rules(client);
        let rules = Rules {
            default_currency: self.default_currency,
            now,
            cards: CardsAllowed::No,
            client: &client_rules,
        };
        let request = parse_payment(&body, &rules).map_err(invalid)?;
        Ok(Submission {
            client: client.clone(),
            request,
            idempotency_key: Some(key),
            origin: Self::origin(order.properties, Some(client)),
            way_in: WayIn::Message,
        })
    }

    fn operation(
        order: Order<'_>,
        client: &ClientName,
        kind: OperationKind,
    ) -> Result<OperationOrder, Refusal> {
        let (idempotency_key, body) = read_message(order, client)?;
        Ok(OperationOrder {
            client: client.clone(),
            kind,
            payment: parse_payment_id(&body).map_err(invalid)?,
            body,
            idempotency_key,
            origin: Self::origin(order.properties, Some(client)),
        })
    }
}

fn invalid(errors: Vec<FieldError>) -> Refusal {
    Refusal {
        errors,
        ..Refusal::new("invalid", "The body has invalid fields.")
    }
}

/// Checks everything but the fields of the body; returns the message id and the body.
fn read_message(order: Order<'_>, client: &ClientName) -> Result<(String, Value), Refusal> {
    within_limits(order)?;
    let properties = order.properties;
    let version = properties.headers.get(SCHEMA_VERSION_HEADER);
    if let Some(version) = version.filter(|version| *version != SCHEMA_VERSION) {
        let version = &version[..version.floor_char_boundary(REPEATED)];
        return Err(Refusal::new(
            "schema_version_unknown",
            format!(
                "The schema version `{}` is unknown: this service reads version 1.",
                without_card_number(version)
            ),
        ));
    }
    texts_are_texts(properties)?;
    let key = idempotency_key(properties)?;
    let reply_to = properties.reply_to.as_ref();
    if let Some(queue) = reply_to.filter(|queue| !may_reply_to(queue, client)) {
        return Err(Refusal::new(
            "reply_to_foreign",
            format!(
                "The reply-to `{}` is not yours: use direct reply-to or a queue whose name begins with `{client}.`.",
                without_card_number(queue)
            ),
        ));
    }
    let body = json::parse(order.body).map_err(|unreadable| {
        let sentence = format!("The body {unreadable}.");
        match unreadable {
            Unreadable::Fields(errors) => invalid(errors),
            _ => Refusal::new("not_json", sentence),
        }
    })?;
    Ok((key, body))
}

/// The message id, which is the idempotency key.
fn idempotency_key(properties: &Properties) -> Result<String, Refusal> {
    let key = properties.message_id.clone().ok_or_else(|| {
        Refusal::new(
            "message_id_missing",
            "The AMQP property message-id is missing: it is the idempotency key.",
        )
    })?;
    if key.is_empty() || key.len() > 255 || !key.bytes().all(|b| b.is_ascii_graphic()) {
        return Err(Refusal::new(
            "message_id_invalid",
            "The message-id must be 1 to 255 visible ASCII characters.",
        ));
    }
    if holds_card_number(&key) {
        return Err(Refusal::new(
            "message_id_invalid",
            "The message-id must not hold a card number, since it is stored in clear: send a UUID.",
        ));
    }
    Ok(key)
}

/// A message that is longer than allowed is not read at all.
fn within_limits(order: Order<'_>) -> Result<(), Refusal> {
    let size = order.properties.size_of(order.body);
    if size > LONGEST_REQUEST_BYTES as u64 {
        return Err(Refusal::new(
            "body_too_large",
            format!(
                "The body has {size} bytes: a message may have {LONGEST_REQUEST_BYTES} (64 KiB)."
            ),
        ));
    }
    let headers = &order.properties.headers;
    let bytes: usize = headers
        .iter()
        .filter(|(name, _)| *name != TRACEPARENT)
        .map(|(name, value)| name.len() + value.len())
        .sum();
    if bytes > LONGEST_HEADERS_BYTES || headers.contains_key(HEADERS_DROPPED) {
        return Err(Refusal::new(
            "headers_too_large",
            format!(
                "The headers cannot be read or are too long: together they may have {LONGEST_HEADERS_BYTES} bytes (64 KiB), tables and lists {LONGEST_HEADER_BYTES} each."
            ),
        ));
    }
    Ok(())
}

/// The properties that go back to the sender with every answer must be storable and sendable.
fn texts_are_texts(properties: &Properties) -> Result<(), Refusal> {
    for (name, field, text) in [
        (
            "correlation-id",
            "correlation_id",
            &properties.correlation_id,
        ),
        ("reply-to", "reply_to", &properties.reply_to),
    ] {
        if text.as_ref().is_some_and(|text| !is_text(text)) {
            let message = format!(
                "The AMQP property {name} must be text in UTF-8 of at most 255 bytes, without control characters."
            );
            return Err(Refusal {
                errors: vec![FieldError {
                    field: field.to_owned(),
                    code: "invalid",
                    message: message.clone(),
                }],
                ..Refusal::new("property_invalid", message)
            });
        }
    }
    let correlation_id = properties.correlation_id.as_deref();
    if correlation_id.is_some_and(holds_card_number) {
        return Err(Refusal::new(
            "correlation_id_invalid",
            "The correlation-id must not hold a card number, since it is stored in clear: send a UUID.",
        ));
    }
    Ok(())
}

/// Bytes that were not UTF-8 arrive here as a control character.
fn is_text(text: &str) -> bool {
    text.len() <= 255 && !text.chars().any(char::is_control)
}

fn may_reply_to(queue: &str, client: &ClientName) -> bool {
    queue.starts_with(DIRECT_REPLY_TO)
        || queue
            .strip_prefix(client.as_str())
            .is_some_and(|rest| rest.starts_with('.'))
}
