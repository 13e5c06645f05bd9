//! What becomes of an authorized amount: when it is captured, and how much was captured and refunded.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::{OperationKind, Timestamp};

/// When an authorized amount is captured.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CaptureMethod {
    /// Together with the authorization.
    #[default]
    Automatic,
    /// When the client asks for it.
    Manual,
}

/// The amounts of a payment after its authorization, in minor units of its currency.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Funds {
    /// When the amount is captured.
    pub capture_method: CaptureMethod,
    /// Captured: 0 before the payment succeeds.
    pub captured: i64,
    /// Refunded, without refunds that are pending or failed.
    pub refunded: i64,
    /// Refunded, together with pending refunds: what no other refund can have.
    pub reserved: i64,
    /// When the authorization expires unless it is captured; none until it is authorized for a later capture.
    pub capture_before: Option<Timestamp>,
    /// The capture or void that is running.
    pub operation: Option<OperationKind>,
    /// Why the payment was canceled.
    pub cancellation_reason: Option<CancellationReason>,
}

/// Why a payment was canceled.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum CancellationReason {
    /// The client asked for it.
    RequestedByClient,
    /// The authorization was not captured in time.
    AuthorizationExpired,
    /// The processor no longer has the authorization.
    AuthorizationGone,
}

impl Funds {
    /// What a further refund can have.
    pub fn refundable(&self) -> i64 {
        (self.captured - self.reserved).max(0)
    }

    /// Whether the amount is captured later.
    pub fn is_manual(&self) -> bool {
        self.capture_method == CaptureMethod::Manual
    }
}

impl CaptureMethod {
    /// As in rows and answers: `manual`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Automatic => "automatic",
            Self::Manual => "manual",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [Self::Automatic, Self::Manual]
            .into_iter()
            .find(|method| method.as_str() == text)
    }
}

impl CancellationReason {
    /// As in rows and answers: `authorization_expired`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::RequestedByClient => "requested_by_client",
            Self::AuthorizationExpired => "authorization_expired",
            Self::AuthorizationGone => "authorization_gone",
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::RequestedByClient,
            Self::AuthorizationExpired,
            Self::AuthorizationGone,
        ]
        .into_iter()
        .find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for CancellationReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
