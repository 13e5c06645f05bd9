//! Webhooks of payment platforms: what arrives, and what the platform says when it is asked about that.
//!
//! An event is only a hint that something may have changed. What counts is what the platform answers, asked with our own key.

use axum::http::HeaderMap;

use super::AttemptKey;
use crate::domain::{DeclineCode, Money, OperationId, PaymentId, Timestamp};

/// A webhook as it arrived.
#[derive(Debug, Clone, Copy)]
pub struct Notification<'a> {
    /// Its headers.
    pub headers: &'a HeaderMap,
    /// Its body, byte by byte: that is what was signed.
    pub body: &'a [u8],
    /// The time of its arrival.
    pub now: Timestamp,
}

/// A verified event of a platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PlatformEvent {
    /// The platform's id of the event: the same each time that it is sent. At most 255 printable ASCII characters.
    pub id: String,
    /// The platform's name for what happened, such as `charge.refunded`; for the log and for operators.
    pub kind: String,
    /// What it is about.
    pub subject: Subject,
}

/// What an event is about.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Subject {
    /// One of our attempts.
    Attempt(AttemptKey),
    /// A refund, ours or one that was made at the platform: the platform's reference, at most 255 printable ASCII
    /// characters.
    Refund(String),
    /// A dispute: the platform's reference, as long as that of a refund.
    Dispute(String),
    /// Something of another installation on the same account: the event is dropped.
    OtherInstallation,
    /// Something that does not matter here: the event is dropped.
    Unused,
}

/// Why a webhook is not taken.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum NotificationRefused {
    /// The processor takes no webhooks, or its secret is not configured.
    #[error("no webhooks are configured for this processor")]
    NotConfigured,
    /// It has no signature, a wrong one, or one of another time. The reason has few values: it is a metric's label.
    #[error("the signature cannot be accepted: {0}")]
    NotGenuine(&'static str),
    /// It is signed, but its body is not an event.
    #[error("the body is not an event: {0}")]
    Malformed(&'static str),
    /// It could not be verified now: the platform is to send it again.
    #[error("the webhook cannot be verified now")]
    Unavailable,
}

/// What the platform says about an event's subject.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Found {
    /// One of our attempts, which is asked about in the usual way.
    Attempt(AttemptKey),
    /// A refund that a client requested here, which is queried in the usual way.
    OurRefund {
        /// Its payment.
        payment: PaymentId,
        /// Its id here.
        refund: OperationId,
        /// How it stands there.
        state: RefundState,
    },
    /// A refund of one of our payments that somebody made at the platform.
    RefundThere(RefundThere),
    /// A dispute about one of our payments.
    Dispute(DisputeThere),
    /// Nothing of ours.
    NotOurs,
    /// No answer, or one that decides nothing: ask again.
    Unknown,
}

/// A refund that somebody made at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RefundThere {
    /// The platform's reference.
    pub reference: String,
    /// The attempt that was charged.
    pub authorization: AttemptKey,
    /// The amount.
    pub amount: Money,
    /// When it was made, by the platform's clock: the same each time.
    pub made_at: Timestamp,
    /// How it stands.
    pub state: RefundState,
}

/// How a refund stands at the platform.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum RefundState {
    /// Not decided yet.
    Pending,
    /// The amount has been returned.
    Succeeded,
    /// It has not.
    Failed(DeclineCode),
}

/// A dispute: the shopper has asked their bank to take the payment back.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct DisputeThere {
    /// The platform's reference.
    pub reference: String,
    /// The attempt that is disputed.
    pub authorization: AttemptKey,
    /// The shopper's reason, in snake case: `fraudulent`.
    pub reason: DeclineCode,
    /// How it ended, in snake case, such as `won` or `lost`; none while it is open.
    pub ended: Option<DeclineCode>,
}
