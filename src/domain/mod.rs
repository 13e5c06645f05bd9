//! What a payment is and how it moves: types that cannot hold an invalid value, and pure functions that decide.
//!
//! No code here does I/O, reads a clock or generates random numbers; the caller passes those in.

pub mod action;
pub mod card;
pub mod client;
pub mod dispute;
pub mod event;
pub mod funds;
pub mod metadata;
pub mod method;
pub mod money;
pub mod operation;
pub mod origin;
pub mod outcome;
pub mod payment;
pub mod request;
pub mod return_url;
pub mod timestamp;
pub mod transition;

pub use action::{Action, ActionAnswer, ActionState, AttemptCloseAnswer};
pub use card::{Brand, Card, CardCode, CardNumber, CardSummary, Expiration, Funding};
pub use client::ClientName;
pub use dispute::Dispute;
pub use event::{Event, EventId, EventKind};
pub use funds::{CancellationReason, CaptureMethod, Funds};
pub use metadata::Metadata;
pub use method::{
    InvalidMethod, MethodSummary, OtherMethod, OtherSummary, PROCESSOR, REDIRECT, TOKEN, WALLET,
};
pub use money::{Currency, Money};
pub use operation::{
    CloseAnswer, Operation, OperationAnswer, OperationId, OperationKind, OperationNext,
    OperationPhase, OperationProgress, OperationSource, OperationStatus, OperationTrigger,
    next_operation,
};
pub use origin::Origin;
pub use outcome::{Answer, DeclineCode, Outcome, PendingOutcome, ReversalAnswer};
pub use payment::{OrderId, Payment, PaymentId, PaymentStatus, UserId};
pub use request::{MethodForm, PaymentMethod, PaymentRequest};
pub use return_url::{InvalidUrl, ReturnUrl, WebOrigin};
pub use timestamp::{Timestamp, rfc3339};
pub use transition::{Next, OperationEnd, Phase, Progress, Refusal, Trigger, next};
