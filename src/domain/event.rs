//! The history of a payment: what happened, in order, never changed afterwards.

use std::fmt;

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::{PaymentId, PaymentStatus, Timestamp};

/// A UUIDv7: the id both in the history and of the published event.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(transparent)]
pub struct EventId(pub Uuid);

/// One line of a payment's history.
#[derive(Debug, Clone, PartialEq)]
pub struct Event {
    /// Also the id of the published event, if there is one.
    pub id: EventId,
    /// The payment.
    pub payment: PaymentId,
    /// 1, 2, 3 … within the payment; consumers of results sort by it.
    pub sequence: u32,
    /// What happened.
    pub kind: EventKind,
    /// When it happened, by the database's clock.
    pub at: Timestamp,
    /// Attempt that it belongs to; 0 before the first.
    pub attempt: u32,
    /// Try within the attempt; 0 if there was none.
    pub try_number: u32,
    /// Decline code or reason, if there is one.
    pub reason: Option<String>,
}

/// What happened.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum EventKind {
    /// The payment was accepted.
    Accepted,
    /// A card was presented.
    AttemptStarted,
    /// A call to the processor gave no decision; another follows.
    TryFailed,
    /// The attempt will be declined or fail, for the event's reason, but one of its calls has not answered and may have
    /// charged: from now on any charge is being reversed.
    ReversalStarted,
    /// The shopper has to approve on a page of the processor.
    RequiresAction,
    /// Another card was presented, the client canceled, or the shopper's time is over, while the shopper could still
    /// approve: the processor closes the attempt, or says that it was charged.
    CloseStarted,
    /// The shopper approved an attempt that was closed already: nothing was charged.
    LateApproval,
    /// Authorized for a later capture, or still authorized because a capture or void failed.
    RequiresCapture,
    /// A capture was requested.
    CaptureStarted,
    /// A void was requested.
    VoidStarted,
    /// A call about a capture, void or refund gave no decision; another follows.
    OperationTryFailed,
    /// A refund was requested.
    RefundStarted,
    /// A refund was carried out.
    RefundSucceeded,
    /// A refund was not carried out, or it was returned afterwards.
    RefundFailed,
    /// The shopper has disputed the payment at their bank.
    DisputeOpened,
    /// A dispute has ended; the event's reason says how.
    DisputeClosed,
    /// Charged.
    Succeeded,
    /// Refused by the issuer.
    Declined,
    /// No issuer decided; not charged.
    Failed,
    /// Canceled by the client.
    Canceled,
}

impl EventKind {
    /// As in rows and answers: `attempt_started`.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::AttemptStarted => "attempt_started",
            Self::TryFailed => "try_failed",
            Self::ReversalStarted => "reversal_started",
            Self::RequiresAction => "requires_action",
            Self::CloseStarted => "close_started",
            Self::LateApproval => "late_approval",
            Self::RequiresCapture => "requires_capture",
            Self::CaptureStarted => "capture_started",
            Self::VoidStarted => "void_started",
            Self::OperationTryFailed => "operation_try_failed",
            Self::RefundStarted => "refund_started",
            Self::RefundSucceeded => "refund_succeeded",
            Self::RefundFailed => "refund_failed",
            Self::DisputeOpened => "dispute_opened",
            Self::DisputeClosed => "dispute_closed",
            Self::Succeeded => "succeeded",
            Self::Declined => "declined",
            Self::Failed => "failed",
            Self::Canceled => "canceled",
        }
    }

    /// The payment's status from this event on; none if the event leaves it unchanged.
    pub fn status(self) -> Option<PaymentStatus> {
        match self {
            Self::Accepted => Some(PaymentStatus::RequiresPaymentMethod),
            Self::AttemptStarted
            | Self::CloseStarted
            | Self::CaptureStarted
            | Self::VoidStarted => Some(PaymentStatus::Processing),
            Self::RequiresAction => Some(PaymentStatus::RequiresAction),
            Self::RequiresCapture => Some(PaymentStatus::RequiresCapture),
            Self::Succeeded => Some(PaymentStatus::Succeeded),
            Self::Declined => Some(PaymentStatus::Declined),
            Self::Failed => Some(PaymentStatus::Failed),
            Self::Canceled => Some(PaymentStatus::Canceled),
            Self::TryFailed
            | Self::ReversalStarted
            | Self::LateApproval
            | Self::OperationTryFailed
            | Self::RefundStarted
            | Self::RefundSucceeded
            | Self::RefundFailed
            | Self::DisputeOpened
            | Self::DisputeClosed => None,
        }
    }

    /// The inverse of [`Self::as_str`].
    pub fn parse(text: &str) -> Option<Self> {
        [
            Self::Accepted,
            Self::AttemptStarted,
            Self::TryFailed,
            Self::ReversalStarted,
            Self::RequiresAction,
            Self::CloseStarted,
            Self::LateApproval,
            Self::RequiresCapture,
            Self::CaptureStarted,
            Self::VoidStarted,
            Self::OperationTryFailed,
            Self::RefundStarted,
            Self::RefundSucceeded,
            Self::RefundFailed,
            Self::DisputeOpened,
            Self::DisputeClosed,
            Self::Succeeded,
            Self::Declined,
            Self::Failed,
            Self::Canceled,
        ]
        .into_iter()
        .find(|kind| kind.as_str() == text)
    }
}

impl fmt::Display for EventKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}
