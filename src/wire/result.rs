//! Results: CloudEvents 1.0 in structured JSON, on the results topic and, if requested, as a reply.

use schemars::JsonSchema;
use serde::Serialize;

use super::operation::RefundObject;
use super::order::Rejection;
use super::payment::PaymentObject;
use super::trace_headers;
use crate::broker::{Exchange, Properties, Publication};
use crate::domain::Origin;
use crate::domain::rfc3339;
use crate::domain::{ClientName, Event, EventId, EventKind, Operation, Payment, Timestamp};

/// Header with the payment's id, so that a waiting request can be woken without reading the body.
pub const PAYMENT_ID_HEADER: &str = "payment-id";

/// Header with the client's name, for consumers of several clients' results.
pub const CLIENT_HEADER: &str = "client";

/// Header of a callback that is repeated: the number of calls so far.
pub const CALLBACK_TRIES_HEADER: &str = "callback-tries";

/// Headers of a callback that is repeated: the reason and the error text of the last failure.
pub const CALLBACK_REASON_HEADER: &str = "callback-reason";
pub const CALLBACK_ERROR_HEADER: &str = "callback-error";

/// `application/cloudevents+json`
const CONTENT_TYPE: &str = "application/cloudevents+json";

/// A CloudEvent; `sequence`, `correlationid` and `traceparent` are extension attributes.
#[derive(Debug, Serialize, JsonSchema)]
#[schemars(rename = "{D}Event")]
pub struct CloudEvent<'a, D> {
    specversion: &'static str,
    /// UUIDv7 of the event in the payment's history: the same for every copy.
    #[schemars(with = "String", extend("format" = "uuid"))]
    id: EventId,
    source: &'static str,
    #[serde(rename = "type")]
    /// `payment.` and the payment's status, `refund.` and the refund's, `dispute.opened`, `dispute.closed`, or
    /// `payment.request_rejected`.
    kind: &'a str,
    /// `payments/` and the payment's id, `refunds/` and the refund's, or `requests/` and the message's.
    subject: &'a str,
    /// RFC 3339, UTC.
    #[schemars(extend("format" = "date-time"))]
    time: String,
    datacontenttype: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    /// 0000000001, 0000000002, … within the payment, which also sort correctly as text: events may come out of order.
    #[schemars(regex(pattern = "^[0-9]{10}$"))]
    sequence: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    correlationid: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    traceparent: Option<&'a str>,
    data: D,
}

/// The messages to publish when a payment has moved: to the topic, and to `reply_to` if there is one.
/// The event has the id of the history event; its type is `payment.` and the status.
pub fn publications(payment: &Payment, event: EventId, origin: &Origin) -> Vec<Publication> {
    let kind = format!("payment.{}", payment.status);
    with_reply(about_payment(&kind, payment, event, origin), origin)
}

/// The message to publish when a dispute about a payment was opened or has ended: the payment as it is now.
pub fn dispute_publication(payment: &Payment, event: &Event) -> Publication {
    let kind = match event.kind {
        EventKind::DisputeClosed => "dispute.closed",
        _ => "dispute.opened",
    };
    about_payment(kind, payment, event.id, &Origin::default())
}

fn about_payment(kind: &str, payment: &Payment, event: EventId, origin: &Origin) -> Publication {
    let body = super::json(&CloudEvent {
        specversion: "1.0",
        id: event,
        source: "/payment-service",
        kind,
        subject: &format!("payments/{}", payment.id),
        time: rfc3339(payment.updated_at),
        datacontenttype: "application/json",
        sequence: Some(format!("{:010}", payment.sequence)),
        correlationid: origin.correlation_id.as_deref(),
        traceparent: origin.traceparent.as_deref(),
        data: PaymentObject::from(payment),
    });
    let mut topic = on_topic(kind, &payment.client, event, origin, body);
    topic
        .properties
        .headers
        .insert(PAYMENT_ID_HEADER.to_owned(), payment.id.to_string());
    topic
}

/// The messages to publish when a refund has succeeded or failed: to the topic, and to `reply_to` if there is one. The event
/// has the id and the sequence of the event in the payment's history; its type is `refund.` and the status.
pub fn refund_publications(refund: &Operation, event: &Event, origin: &Origin) -> Vec<Publication> {
    let kind = format!("refund.{}", refund.status.as_str());
    let body = super::json(&CloudEvent {
        specversion: "1.0",
        id: event.id,
        source: "/payment-service",
        kind: &kind,
        subject: &format!("refunds/{}", refund.id),
        time: rfc3339(event.at),
        datacontenttype: "application/json",
        sequence: Some(format!("{:010}", event.sequence)),
        correlationid: origin.correlation_id.as_deref(),
        traceparent: origin.traceparent.as_deref(),
        data: RefundObject::from(refund),
    });
    let mut topic = on_topic(&kind, &refund.client, event.id, origin, body);
    topic
        .properties
        .headers
        .insert(PAYMENT_ID_HEADER.to_owned(), refund.payment.to_string());
    with_reply(topic, origin)
}

/// The messages to publish when a request by message was refused.
pub fn rejection(
    client: &ClientName,
    message_id: Option<&str>,
    event: EventId,
    at: Timestamp,
    origin: &Origin,
    rejection: Rejection<'_>,
) -> Vec<Publication> {
    let kind = "payment.request_rejected";
    let body = super::json(&CloudEvent {
        specversion: "1.0",
        id: event,
        source: "/payment-service",
        kind,
        subject: &format!("requests/{}", message_id.unwrap_or("unknown")),
        time: rfc3339(at),
        datacontenttype: "application/json",
        sequence: None,
        correlationid: origin.correlation_id.as_deref(),
        traceparent: origin.traceparent.as_deref(),
        data: rejection,
    });
    with_reply(on_topic(kind, client, event, origin, body), origin)
}

fn on_topic(
    kind: &str,
    client: &ClientName,
    event: EventId,
    origin: &Origin,
    body: String,
) -> Publication {
    let mut headers = trace_headers(origin.traceparent.as_deref());
    headers.insert(CLIENT_HEADER.to_owned(), client.to_string());
    Publication {
        exchange: Exchange::Results,
        routing_key: format!("{kind}.{client}"),
        properties: Properties {
            message_id: Some(event.0.to_string()),
            correlation_id: origin.correlation_id.clone(),
            content_type: Some(CONTENT_TYPE.to_owned()),
            kind: Some(kind.to_owned()),
            headers,
            ..Properties::default()
        },
        body,
        // No subscriber is fine.
        mandatory: false,
    }
}

fn with_reply(topic: Publication, origin: &Origin) -> Vec<Publication> {
    let reply = origin.reply_to.clone().map(|queue| Publication {
        exchange: Exchange::Default,
        routing_key: queue,
        ..topic.clone()
    });
    std::iter::once(topic).chain(reply).collect()
}
