//! Webhooks of payment platforms: what arrives, and what the platform says when it is asked about that.
//!
//! An event is only a hint that something may have changed. What counts is what the platform answers, asked with our own key.

use axum::http::HeaderMap;
use sha2::{Digest, Sha256};
use uuid::Builder;

use super::AttemptKey;
use crate::domain::{DeclineCode, Money, OperationId, PaymentId, PaymentStatus, Timestamp};
use crate::store::EventSubject;

const ATTEMPT: &str = "attempt";
const REFUND: &str = "refund";
const DISPUTE: &str = "dispute";

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

impl Subject {
    /// As columns of a row; none if the event is dropped.
    pub fn columns(&self) -> Option<EventSubject> {
        let (kind, reference) = match self {
            Self::Attempt(key) => (ATTEMPT, key.to_string()),
            Self::Refund(reference) => (REFUND, reference.clone()),
            Self::Dispute(reference) => (DISPUTE, reference.clone()),
            Self::OtherInstallation | Self::Unused => return None,
        };
        Some(EventSubject {
            kind: kind.to_owned(),
            reference,
        })
    }

    /// The inverse of [`Self::columns`]; none if it cannot be read.
    pub fn from_columns(columns: &EventSubject) -> Option<Self> {
        let reference = columns.reference.clone();
        match columns.kind.as_str() {
            ATTEMPT => {
                let (payment, attempt) = reference.split_once('-')?;
                Some(Self::Attempt(AttemptKey {
                    payment: PaymentId(payment.parse().ok()?),
                    attempt: attempt.parse().ok()?,
                }))
            }
            REFUND => Some(Self::Refund(reference)),
            DISPUTE => Some(Self::Dispute(reference)),
            _ => None,
        }
    }
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
    /// The event is stored already: there is nothing more to do.
    #[error("the event is stored already")]
    Repeated,
    /// It could not be verified now: the platform is to send it again.
    #[error("the webhook cannot be verified now")]
    Unavailable,
}

/// What the name of an event says about its attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Claim {
    /// It was charged.
    Charged,
    /// Its amount is held for a later capture.
    Held,
    /// Nothing was charged.
    NotCharged,
    /// None of these.
    Other,
}

impl Claim {
    /// Whether it says nothing new about an attempt of a payment with this status, so that the platform need not be asked.
    pub fn agrees_with(self, status: PaymentStatus) -> bool {
        use PaymentStatus::{
            Canceled, Declined, Failed, RequiresCapture, RequiresPaymentMethod, Succeeded,
        };
        match self {
            Self::Charged => status == Succeeded,
            // It was held before it was captured.
            Self::Held => matches!(status, RequiresCapture | Succeeded),
            Self::NotCharged => {
                matches!(status, Declined | Failed | Canceled | RequiresPaymentMethod)
            }
            Self::Other => false,
        }
    }
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

impl RefundThere {
    /// Its id here: made of the processor's name and the reference, so that it is the same each time.
    pub fn id(&self, processor: &str) -> OperationId {
        let digest = Sha256::digest(format!("{processor}\n{}", self.reference));
        let mut random = [0; 10];
        random.copy_from_slice(&digest[..10]);
        let millis = self.made_at.unix_timestamp().saturating_mul(1000);
        let millis = u64::try_from(millis).unwrap_or(0);
        OperationId(Builder::from_unix_timestamp_millis(millis, &random).into_uuid())
    }
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::domain::Currency;

    #[test]
    fn a_subject_is_the_same_after_it_was_stored() {
        let key = AttemptKey {
            payment: PaymentId(7),
            attempt: 2,
        };
        for about in [
            Subject::Attempt(key),
            Subject::Refund("re_1".to_owned()),
            Subject::Dispute("du_1".to_owned()),
        ] {
            let columns = about.columns().unwrap();
            assert_eq!(Subject::from_columns(&columns), Some(about));
        }
        assert_eq!(Subject::Unused.columns(), None);
        for (kind, reference) in [("attempt", "7"), ("attempt", "x-1"), ("card", "7-1")] {
            let columns = EventSubject {
                kind: kind.to_owned(),
                reference: reference.to_owned(),
            };
            assert_eq!(Subject::from_columns(&columns), None, "{columns:?}");
        }
    }

    #[test]
    fn a_refund_made_there_has_the_same_id_each_time_and_no_other_has_it() {
        let made = |reference: &str, seconds| RefundThere {
            reference: reference.to_owned(),
            authorization: AttemptKey {
                payment: PaymentId(7),
                attempt: 1,
            },
            amount: Money::from_minor(500, Currency::parse("CAD").unwrap()).unwrap(),
            made_at: Timestamp::from_unix_timestamp(seconds).unwrap(),
            state: RefundState::Pending,
        };
        let id = made("re_1", 1_700_000_000).id("stripe");
        assert_eq!(id, made("re_1", 1_700_000_000).id("stripe"));
        assert_ne!(id, made("re_2", 1_700_000_000).id("stripe"));
        assert_ne!(id, made("re_1", 1_700_000_000).id("other"));
        assert_eq!(id.0.get_version_num(), 7);
        assert!(
            id < made("re_1", 1_700_000_001).id("stripe"),
            "sorted by time"
        );
    }

    #[test]
    fn a_claim_agrees_only_with_what_it_says() {
        let agrees = |claim: Claim| -> Vec<&str> {
            let all = PaymentStatus::ALL.into_iter();
            let agree = all.filter(|status| claim.agrees_with(*status));
            agree.map(PaymentStatus::as_str).collect()
        };
        assert_eq!(agrees(Claim::Charged), ["succeeded"]);
        assert_eq!(agrees(Claim::Held), ["requires_capture", "succeeded"]);
        let none = ["requires_payment_method", "declined", "failed", "canceled"];
        assert_eq!(agrees(Claim::NotCharged), none);
        assert_eq!(agrees(Claim::Other), Vec::<&str>::new());
    }
}
