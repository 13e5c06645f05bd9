//! An event for a client's receiver, read from the results topic or from a message for another call.

use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::failure::Failure;
use crate::broker::{Delivery, Exchange, Properties, Publication, Queue};
use crate::circuit::Calls;
use crate::domain::rfc3339;
use crate::domain::{ClientName, PaymentId, Timestamp};
use crate::wire::result::{CLIENT_HEADER, PAYMENT_ID_HEADER};

pub use crate::wire::result::{
    CALLBACK_ERROR_HEADER as ERROR_HEADER, CALLBACK_REASON_HEADER as REASON_HEADER,
    CALLBACK_TRIES_HEADER as TRIES_HEADER,
};

/// Header with the time at which the event first arrived, RFC 3339.
const FIRST_AT_HEADER: &str = "callback-first-at";

/// An event for one client.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// The event's id in the payment's history; the same in every call.
    pub id: String,
    /// The client to call.
    pub client: ClientName,
    /// The event type, such as `payment.succeeded`.
    pub kind: String,
    /// A CloudEvent in JSON, as on the topic.
    pub body: String,
    /// Calls so far.
    pub tries: u32,
    /// When it first arrived.
    pub first_at: Timestamp,
    /// The payment that it is about; a refused request has none.
    pub payment: Option<PaymentId>,
    /// How the last call failed.
    pub failure: Option<Failure>,
    properties: Properties,
}

impl Event {
    /// Reads a message of the callbacks queue; an error names what is missing.
    pub fn read(delivery: &Delivery, now: Timestamp) -> Result<Self, &'static str> {
        let properties = delivery.properties.clone();
        let header = |name: &str| properties.headers.get(name);
        let client = header(CLIENT_HEADER).and_then(|name| ClientName::parse(name).ok());
        let tries = header(TRIES_HEADER).and_then(|text| text.parse().ok());
        let first_at =
            header(FIRST_AT_HEADER).and_then(|text| OffsetDateTime::parse(text, &Rfc3339).ok());
        let failure = header(REASON_HEADER).zip(header(ERROR_HEADER));
        let failure = failure.map(|(reason, error)| Failure::again(reason, error));
        let payment = header(PAYMENT_ID_HEADER).and_then(|id| id.parse().ok());
        let body = std::str::from_utf8(&delivery.body);
        Ok(Self {
            client: client.ok_or("the header client")?,
            id: properties.message_id.clone().ok_or("the message-id")?,
            kind: properties.kind.clone().ok_or("the type")?,
            body: body.map_err(|_| "a body in UTF-8")?.to_owned(),
            tries: tries.unwrap_or(0),
            first_at: first_at.unwrap_or(now),
            payment: payment.map(PaymentId),
            failure,
            properties,
        })
    }

    /// It came from the topic, not from the outbox.
    pub fn is_new(&self) -> bool {
        !self.properties.headers.contains_key(FIRST_AT_HEADER)
    }

    /// Whether a call was made for it before.
    pub fn calls(&self) -> Calls {
        if self.tries == 0 {
            Calls::None
        } else {
            Calls::Some
        }
    }

    /// How long ago it first arrived.
    pub fn age(&self, now: Timestamp) -> time::Duration {
        now - self.first_at
    }

    /// The message for another call: sent directly to the callbacks queue, so that no other subscriber receives it twice.
    pub fn again(&self) -> Publication {
        let mut properties = self.original();
        properties.headers.extend([
            (TRIES_HEADER.to_owned(), self.tries.to_string()),
            (FIRST_AT_HEADER.to_owned(), rfc3339(self.first_at)),
        ]);
        if let Some(Failure { reason, error, .. }) = &self.failure {
            properties.headers.extend([
                (REASON_HEADER.to_owned(), reason.clone()),
                (ERROR_HEADER.to_owned(), error.clone()),
            ]);
        }
        Publication {
            exchange: Exchange::Default,
            routing_key: Queue::Callbacks.name().to_owned(),
            properties,
            body: self.body.clone(),
            mandatory: true,
        }
    }

    /// Its properties as they first arrived: a dead letter of it is replayed with these.
    pub fn original(&self) -> Properties {
        let mut properties = self.properties.clone();
        for name in [TRIES_HEADER, FIRST_AT_HEADER, REASON_HEADER, ERROR_HEADER] {
            properties.headers.remove(name);
        }
        properties
    }
}
