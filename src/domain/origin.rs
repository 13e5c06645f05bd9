//! Where the results of a request go, in addition to the topic.

use serde::{Deserialize, Serialize};

/// The request's properties for replies and traces; all absent for a plain REST request.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Origin {
    /// The caller's correlation id for this exchange of messages.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub correlation_id: Option<String>,
    /// A queue for the replies, AMQP `reply-to`.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub reply_to: Option<String>,
    /// W3C Trace Context.
    #[serde(skip_serializing_if = "Option::is_none", default)]
    pub traceparent: Option<String>,
}
