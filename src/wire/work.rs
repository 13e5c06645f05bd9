//! The work message: contains only the ids of a try (claim check). The card stays sealed in the store.

use serde::{Deserialize, Serialize};

use super::result::CLIENT_HEADER;
use crate::broker::{Exchange, Properties, Publication};
use crate::domain::{ClientName, Operation, OperationId, PaymentId};

/// Header with the number of times the try had to wait in the outbox for its turn. Workers of earlier releases ignore
/// it, like the header with the client's name.
const POSTPONED_HEADER: &str = "postponed";

/// `payment.authorize`: this try of this attempt is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct WorkMessage {
    /// The payment.
    pub payment_id: PaymentId,
    /// Its attempt, from 1.
    pub attempt: u32,
    /// The try within the attempt, from 1.
    #[serde(rename = "try")]
    pub try_number: u32,
}

impl WorkMessage {
    /// Routing key, and the `type` property.
    pub const KEY: &'static str = "payment.authorize";

    /// The message to publish: it must reach the work queue. With the header `client` a worker can share its permits between
    /// clients without querying the database.
    pub fn publication(self, client: &ClientName, traceparent: Option<&str>) -> Publication {
        let mut headers = super::trace_headers(traceparent);
        headers.insert(CLIENT_HEADER.to_owned(), client.to_string());
        Publication {
            exchange: Exchange::Work,
            routing_key: Self::KEY.to_owned(),
            properties: Properties {
                message_id: Some(format!(
                    "{}-{}-{}",
                    self.payment_id, self.attempt, self.try_number
                )),
                content_type: Some("application/json".to_owned()),
                kind: Some(Self::KEY.to_owned()),
                headers,
                ..Properties::default()
            },
            body: super::json(&self),
            mandatory: true,
        }
    }

    /// The same, for a try that had to wait for its turn `times` times.
    pub fn postponed_publication(
        self,
        client: &ClientName,
        traceparent: Option<&str>,
        times: u32,
    ) -> Publication {
        let mut publication = self.publication(client, traceparent);
        if times > 0 {
            let headers = &mut publication.properties.headers;
            headers.insert(POSTPONED_HEADER.to_owned(), times.to_string());
        }
        publication
    }

    /// The same for a payment that is captured later: on the queue that releases without captures do not consume.
    pub fn for_operations(mut publication: Publication) -> Publication {
        OperationWork::KEY.clone_into(&mut publication.routing_key);
        publication.properties.kind = Some(OperationWork::KEY.to_owned());
        publication
    }

    /// The payment's client. Messages of earlier releases do not contain it.
    pub fn client(properties: &Properties) -> Option<ClientName> {
        let name = properties.headers.get(CLIENT_HEADER)?;
        ClientName::parse(name).ok()
    }

    /// How often the try had to wait for its turn.
    pub fn postponed(properties: &Properties) -> u32 {
        let times = properties.headers.get(POSTPONED_HEADER);
        times.and_then(|times| times.parse().ok()).unwrap_or(0)
    }

    /// Whether a message is a work message with one try.
    pub fn is_in(message: &Publication) -> bool {
        message.exchange == Exchange::Work && message.routing_key == Self::KEY
    }

    /// Reads a work message; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

/// `payment.operate`: this try of a capture, void or refund is due.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct OperationWork {
    /// The payment.
    pub payment_id: PaymentId,
    /// The operation.
    pub operation_id: OperationId,
    /// The try, from 1.
    #[serde(rename = "try")]
    pub try_number: u32,
}

/// What the queue of operations holds.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Work {
    /// A try to authorize, of a payment that is captured later.
    Authorization(WorkMessage),
    /// A try of a capture, void or refund.
    Operation(OperationWork),
}

impl Work {
    /// The payment.
    pub fn payment(self) -> PaymentId {
        match self {
            Self::Authorization(work) => work.payment_id,
            Self::Operation(work) => work.payment_id,
        }
    }

    /// Reads a message of either kind; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        #[derive(Deserialize)]
        struct Kind {
            operation_id: Option<serde::de::IgnoredAny>,
        }
        let kind: Kind = serde_json::from_slice(body)?;
        match kind.operation_id {
            Some(_) => serde_json::from_slice(body).map(Self::Operation),
            None => WorkMessage::parse(body).map(Self::Authorization),
        }
    }
}

impl OperationWork {
    /// Routing key, and the `type` property. Workers of releases without operations have no queue bound to it.
    pub const KEY: &'static str = "payment.operate";

    /// A try of an operation.
    pub fn of(operation: &Operation, try_number: u32) -> Self {
        Self {
            payment_id: operation.payment,
            operation_id: operation.id,
            try_number,
        }
    }

    /// The message to publish; it has waited `postponed` times for its turn.
    pub fn publication(
        self,
        client: &ClientName,
        traceparent: Option<&str>,
        postponed: u32,
    ) -> Publication {
        let mut headers = super::trace_headers(traceparent);
        headers.insert(CLIENT_HEADER.to_owned(), client.to_string());
        if postponed > 0 {
            headers.insert(POSTPONED_HEADER.to_owned(), postponed.to_string());
        }
        Publication {
            exchange: Exchange::Work,
            routing_key: Self::KEY.to_owned(),
            properties: Properties {
                message_id: Some(format!("{}-{}", self.operation_id, self.try_number)),
                content_type: Some("application/json".to_owned()),
                kind: Some(Self::KEY.to_owned()),
                headers,
                ..Properties::default()
            },
            body: super::json(&self),
            mandatory: true,
        }
    }
}

/// `payment.authorize-group`: several tries that are due, possibly of different clients.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkGroup {
    /// The tries.
    pub tries: Vec<GroupedTry>,
}

/// One try of a group: what a message of its own has in its body and in its headers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct GroupedTry {
    /// The try.
    #[serde(flatten)]
    pub work: WorkMessage,
    /// The payment's client.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<String>,
    /// How often it had to wait for its turn.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub postponed: u32,
    /// W3C Trace Context of the request.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub traceparent: Option<String>,
}

#[expect(
    clippy::trivially_copy_pass_by_ref,
    reason = "serde passes a reference"
)]
fn is_zero(number: &u32) -> bool {
    *number == 0
}

impl WorkGroup {
    /// Routing key, and the `type` property.
    pub const KEY: &'static str = "payment.authorize-group";

    /// One message for the tries of several; none unless all of them are work messages.
    pub fn publication(messages: &[&Publication]) -> Option<Publication> {
        let tries = messages.iter().map(|message| GroupedTry::of(message));
        let tries: Vec<GroupedTry> = tries.collect::<Option<_>>()?;
        let first = tries.first()?.work;
        Some(Publication {
            exchange: Exchange::Work,
            routing_key: Self::KEY.to_owned(),
            properties: Properties {
                message_id: Some(format!(
                    "{}-{}-{}",
                    first.payment_id, first.attempt, first.try_number
                )),
                content_type: Some("application/json".to_owned()),
                kind: Some(Self::KEY.to_owned()),
                ..Properties::default()
            },
            body: super::json(&Self { tries }),
            mandatory: true,
        })
    }

    /// Reads a group; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}

impl GroupedTry {
    fn of(message: &Publication) -> Option<Self> {
        if !WorkMessage::is_in(message) {
            return None;
        }
        let headers = &message.properties.headers;
        Some(Self {
            work: WorkMessage::parse(message.body.as_bytes()).ok()?,
            client: headers.get(CLIENT_HEADER).cloned(),
            postponed: WorkMessage::postponed(&message.properties),
            traceparent: headers.get(super::TRACEPARENT).cloned(),
        })
    }

    /// The payment's client.
    pub fn client(&self) -> Option<ClientName> {
        ClientName::parse(self.client.as_deref()?).ok()
    }
}
