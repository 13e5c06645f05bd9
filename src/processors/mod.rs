//! The interface to payment processors, and its implementations: the simulated issuer, Stripe, and PayPal.

pub mod availability;
pub mod books;
mod http;
mod keys;
pub mod named;
pub mod notifications;
pub mod paypal;
pub mod references;
pub mod routes;
pub mod simulated;
pub mod stripe;
mod unclear;

use std::time::Duration;

use async_trait::async_trait;
use zeroize::Zeroizing;

use self::availability::Availability;
use crate::domain::{
    ActionAnswer, Answer, AttemptCloseAnswer, CaptureMethod, Card, CloseAnswer, DeclineCode, Money,
    OperationAnswer, OperationId, OperationKind, PaymentId, ReversalAnswer,
};
use notifications::{Claim, Found, Notification, NotificationRefused, PlatformEvent, Subject};

/// A call that charges a payment method, or holds an amount on it.
pub struct Authorization<'a> {
    /// Which attempt of which payment: the idempotency key.
    pub key: AttemptKey,
    /// The amount.
    pub amount: Money,
    /// Whether the amount is captured at once, or only held for a later capture.
    pub capture: CaptureMethod,
    /// The payment method.
    pub method: &'a dyn MethodSource,
    /// Where the shopper goes after approving on a page of the processor; none if that is not possible here.
    pub return_to: Option<&'a str>,
}

/// A payment method that only a processor that needs it in clear opens.
pub trait MethodSource: Send + Sync {
    /// The payment method in clear.
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable>;
}

/// A payment method in clear.
#[derive(Clone)]
pub enum OpenedMethod {
    /// A card.
    Card(Card),
    /// Another method: what its file has sealed.
    Other {
        /// Its `type`.
        name: String,
        /// Only its processor knows what it means.
        secret: Zeroizing<Vec<u8>>,
    },
}

/// The payment method cannot be opened; the reason is logged where it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("the payment method cannot be opened")]
pub struct MethodUnreadable;

/// What a processor cannot do.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Unsupported {
    /// It is not configured.
    #[error("{}", no_such_processor(.known))]
    Processor {
        /// Those that are.
        known: Vec<String>,
    },
    /// It does not take this payment method.
    #[error("does not take the payment method {method}: it takes {}", .taken.join(", "))]
    Method {
        /// The method's name.
        method: String,
        /// Those that it takes.
        taken: &'static [&'static str],
    },
    /// It does not take this currency.
    #[error("does not take the currency {currency}")]
    Currency {
        /// ISO 4217 code.
        currency: &'static str,
    },
    /// Its amounts in this currency are coarser.
    #[error("takes amounts in {currency} only in steps of {step}")]
    Precision {
        /// ISO 4217 code.
        currency: &'static str,
        /// The smallest step: `0.010`.
        step: &'static str,
    },
}

fn no_such_processor(known: &[String]) -> String {
    match known {
        [] => "is not configured: there is no processor here until its operator lists one in PROCESSORS_FILE".to_owned(),
        known => format!("is not configured: send one of {}", known.join(", ")),
    }
}

/// `{payment_id}-{attempt}`: every call of an attempt has the same key, so that a processor charges it at most once.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct AttemptKey {
    /// The payment.
    pub payment: PaymentId,
    /// The attempt, from 1.
    pub attempt: u32,
}

/// A call about an operation on an authorized amount.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct OperationCall {
    /// The idempotency key: every call about an operation has the same, so that it is carried out at most once.
    pub key: OperationId,
    /// What to do.
    pub kind: OperationKind,
    /// The authorization that it is about.
    pub authorization: AttemptKey,
    /// The authorized amount.
    pub authorized: Money,
    /// The amount of the operation.
    pub amount: Money,
}

/// A processor. Its caller adds the time-out and treats it as [`Answer::Unknown`]. Calls with one key may run at the same
/// time, from several processes, and reach the platform in any order; docs/adr/adr004-never-charged-twice.md says what
/// must hold even then.
///
/// # A new one
///
/// ```
/// use async_trait::async_trait;
/// use payment_service::domain::{Answer, CloseAnswer, Money, OperationAnswer, ReversalAnswer, TOKEN};
/// use payment_service::processors::{
///     AttemptKey, Authorization, OperationCall, Processor, Unsupported,
/// };
///
/// struct Acme;
///
/// #[async_trait]
/// impl Processor for Acme {
///     fn check(&self, method: &str, _: Money) -> Result<(), Unsupported> {
///         Unsupported::unless_taken(method, &[TOKEN])
///     }
///
///     async fn authorize(&self, _: &Authorization<'_>) -> Answer {
///         // Create under a key, store the reference (`References`), and only then charge. Unknown unless it is certain.
///         Answer::Unknown
///     }
///
///     async fn reverse(&self, _: AttemptKey, _: Money) -> ReversalAnswer {
///         // Close the key first, then cancel or refund, then read it back.
///         ReversalAnswer::Unknown
///     }
///
///     async fn capture(&self, _: &OperationCall) -> OperationAnswer {
///         OperationAnswer::Unknown
///     }
///
///     async fn void(&self, _: &OperationCall) -> OperationAnswer {
///         OperationAnswer::Unknown
///     }
///
///     async fn refund(&self, _: &OperationCall) -> OperationAnswer {
///         OperationAnswer::Unknown
///     }
///
///     async fn query(&self, _: &OperationCall) -> OperationAnswer {
///         OperationAnswer::Unknown
///     }
///
///     async fn close(&self, _: &OperationCall) -> CloseAnswer {
///         // Repeat the operation until the answer is definite.
///         CloseAnswer::Unknown
///     }
/// }
/// ```
#[async_trait]
pub trait Processor: Send + Sync + 'static {
    /// Whether it can take this amount by this payment method (its `type`) at all: checked before a payment is accepted. By
    /// default everything.
    fn check(&self, method: &str, amount: Money) -> Result<(), Unsupported> {
        let _ = (method, amount);
        Ok(())
    }

    /// Whether its platform can be called, as this process sees it. None if that is not watched: nothing is called that could
    /// be away.
    fn availability(&self) -> Option<&Availability> {
        None
    }

    /// Charges a payment method, or returns why not. The same key never charges twice, and never after its reversal was confirmed, not
    /// even by an earlier call. [`Answer::NotCharged`] only if this call provably was not executed; a server error (HTTP
    /// 5xx) and an answer that cannot be read are [`Answer::Unknown`]. A decline need not be remembered.
    async fn authorize(&self, authorization: &Authorization<'_>) -> Answer;

    /// Reverses any charge under a key and refuses any later charge under it. Idempotent. Confirmed only when that is
    /// certain for every call under the key, including calls that have not arrived yet.
    async fn reverse(&self, key: AttemptKey, amount: Money) -> ReversalAnswer;

    /// Says whether the shopper has approved an attempt for which [`Answer::ActionRequired`] was the answer. If the platform
    /// leaves it to its caller to charge what the shopper has approved, this charges it, at most once and never after
    /// [`AttemptCloseAnswer::Closed`]. Otherwise it changes nothing.
    async fn ask(&self, key: AttemptKey) -> ActionAnswer {
        let _ = key;
        ActionAnswer::Unknown
    }

    /// Makes sure that an attempt is charged already, or never will be, whatever its shopper does. Idempotent. By default
    /// reverses it, for processors that never need a shopper.
    async fn close_attempt(&self, key: AttemptKey, amount: Money) -> AttemptCloseAnswer {
        match self.reverse(key, amount).await {
            ReversalAnswer::Confirmed => AttemptCloseAnswer::Closed,
            ReversalAnswer::Unknown => AttemptCloseAnswer::Unknown,
        }
    }

    /// Captures a held amount, or a part of it; the rest is released. The same key captures once.
    async fn capture(&self, call: &OperationCall) -> OperationAnswer;

    /// Releases a held amount. The same key releases once.
    async fn void(&self, call: &OperationCall) -> OperationAnswer;

    /// Returns a captured amount, or a part of it. The same key refunds once.
    async fn refund(&self, call: &OperationCall) -> OperationAnswer;

    /// Says what became of an operation that was accepted, or whether a refund that succeeded still stands. Changes
    /// nothing.
    async fn query(&self, call: &OperationCall) -> OperationAnswer;

    /// Makes sure that an operation is carried out, or never will be, whatever calls about it are still on their way.
    /// Idempotent.
    async fn close(&self, call: &OperationCall) -> CloseAnswer;

    /// Verifies the signature of a webhook over its raw body, and only then reads which event it reports. Changes nothing,
    /// and decides nothing about payments: the platform is asked about the event's subject later.
    async fn notified(
        &self,
        notification: &Notification<'_>,
    ) -> Result<PlatformEvent, NotificationRefused> {
        let _ = notification;
        Err(NotificationRefused::NotConfigured)
    }

    /// Asks the platform what an event was about. Changes nothing.
    async fn look_up(&self, subject: &Subject) -> Found {
        let _ = subject;
        Found::Unknown
    }

    /// What the name of an event says about its attempt, such as `payment_intent.succeeded`. By default nothing.
    fn claim(&self, kind: &str) -> Claim {
        let _ = kind;
        Claim::Other
    }

    /// Its own record of what it has charged, if it can be read. By default it cannot.
    fn books(&self) -> Option<&dyn books::Books> {
        None
    }

    /// After how long a call without a result will not be found out any more by repeating it or asking about it, so that
    /// a person has to. By default it always can be.
    fn finds_out_within(&self) -> Option<Duration> {
        None
    }
}

impl Unsupported {
    /// Fails unless the method is one of those that a processor takes.
    pub fn unless_taken(method: &str, taken: &'static [&'static str]) -> Result<(), Self> {
        if taken.contains(&method) {
            return Ok(());
        }
        let method = method.to_owned();
        Err(Self::Method { method, taken })
    }
}

impl Authorization<'_> {
    /// The card in clear; otherwise the answer of a processor that only takes cards.
    pub fn card(&self) -> Result<Card, Answer> {
        match self.method.open()? {
            OpenedMethod::Card(card) => Ok(card),
            OpenedMethod::Other { .. } => Err(Answer::Declined {
                code: DeclineCode::METHOD_NOT_SUPPORTED,
            }),
        }
    }
}

impl MethodSource for Card {
    fn open(&self) -> Result<OpenedMethod, MethodUnreadable> {
        Ok(OpenedMethod::Card(self.clone()))
    }
}

/// Nothing was sent.
impl From<MethodUnreadable> for Answer {
    fn from(_: MethodUnreadable) -> Self {
        Self::NotCharged {
            reason: DeclineCode::CARD_UNREADABLE,
        }
    }
}

impl std::fmt::Display for AttemptKey {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}-{}", self.payment, self.attempt)
    }
}
