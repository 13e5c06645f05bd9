//! The work message: contains only the ids of a try (claim check). The card stays sealed in the store.

use serde::{Deserialize, Serialize};

use super::result::CLIENT_HEADER;
use crate::broker::{Exchange, Properties, Publication};
use crate::domain::{ClientName, PaymentId};

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

    /// Reads a work message; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
