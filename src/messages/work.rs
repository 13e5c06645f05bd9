//! The work message: names a try and nothing else (claim check). The card stays sealed in the store.

use serde::{Deserialize, Serialize};

use crate::broker::{Exchange, Properties, Publication};
use crate::domain::PaymentId;

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

    /// The message as it is published: it must reach the work queue.
    pub fn publication(self, traceparent: Option<&str>) -> Publication {
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
                headers: super::trace_headers(traceparent),
                ..Properties::default()
            },
            body: super::json(&self),
            mandatory: true,
        }
    }

    /// Reads a work message; an error says what is wrong with it.
    pub fn parse(body: &[u8]) -> Result<Self, serde_json::Error> {
        serde_json::from_slice(body)
    }
}
