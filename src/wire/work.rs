//! The work message: names a try and nothing else (claim check). The card stays sealed in the store.

use serde::{Deserialize, Serialize};

use super::result::CLIENT_HEADER;
use crate::broker::{Exchange, Properties, Publication};
use crate::domain::{ClientName, PaymentId};

/// Header that says how often the try had to wait in the outbox for its turn. Workers of a release before it ignore it,
/// as they do with the header that names the client.
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

    /// The message as it is published: it must reach the work queue. The header `client` lets a worker share out its
    /// permits without asking the database.
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

    /// The same, of a try that had to wait for its turn so often.
    pub fn postponed_publication(
        self,
        client: &ClientName,
        traceparent: Option<&str>,
        times: u32,
    ) -> Publication {
        let mut publication = self.publication(client, traceparent);
        let headers = &mut publication.properties.headers;
        headers.insert(POSTPONED_HEADER.to_owned(), times.to_string());
        publication
    }

    /// Whose the payment is. Messages of earlier releases do not say it.
    pub fn client(properties: &Properties) -> Option<ClientName> {
        let name = properties.headers.get(CLIENT_HEADER)?;
        ClientName::parse(name).ok()
    }

    /// How often the try had to wait for its turn.
    pub fn postponed(properties: &Properties) -> u32 {
        let times = properties.headers.get(POSTPONED_HEADER);
        times.and_then(|times| times.parse().ok()).unwrap_or(0)
    }

    /// Reads a work message; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
