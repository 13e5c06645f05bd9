//! How a payment's row changes when it moves, with its event and messages. Pure: from the domain's decision, this builds
//! what [`super::advance`] writes.

use std::time::Duration;

use super::leases::Leases;
use super::outgoing::{self, NewMessage};
use super::presented_card::PresentedCard;
use super::row_ids::RowIds;
use crate::domain::{
    Action, ActionState, CancellationReason, ClientName, DeclineCode, Event, EventId, EventKind,
    MethodSummary, Next, OperationKind, Outcome, Payment, PaymentId, PaymentStatus, PendingOutcome,
    Phase, Progress, Timestamp, Trigger,
};
use crate::store::rows::{StoredPayment, TokenId};

/// Something that happened to a payment.
#[derive(Debug, Clone)]
pub struct Advance {
    /// Which payment.
    pub payment: PaymentId,
    /// The client that must own the payment; none if the service itself acts.
    pub client: Option<ClientName>,
    /// What happened.
    pub trigger: Trigger,
    /// The card of a new attempt, and the attempt that it was sealed for.
    pub card: Option<(PresentedCard, u32)>,
    /// The card token that the card came from; the payment uses it.
    pub token: Option<TokenId>,
    /// How long to wait before another try, if there is one.
    pub delay: Duration,
    /// How long an authorization can be captured, if the payment is captured later.
    pub capture_within: Duration,
    /// Ids of the rows to write.
    pub ids: RowIds,
}

/// What a move adds to the payment's history and messages.
struct Change {
    kind: EventKind,
    reason: Option<DeclineCode>,
    /// How long the next try waits, if there is one.
    delay: Option<Duration>,
}

/// The other rows of a move.
pub(super) struct Applied {
    /// None if only time has passed.
    pub event: Option<Event>,
    /// To be published as soon as they are committed.
    pub messages: Vec<NewMessage>,
    /// To be published when they are due.
    pub later: Vec<NewMessage>,
}

/// Changes the row; returns its event and its messages.
pub(super) fn apply(
    row: &mut StoredPayment,
    item: &Advance,
    moved: Next,
    now: Timestamp,
    leases: Leases,
) -> Applied {
    if let Next::AskAgain(progress) = moved {
        return ask_again(row, item, progress, now + item.delay, leases);
    }
    // If the clock was set back, for example by a fail-over, the history must stay in order.
    let at = now.max(row.payment.updated_at);
    let tried = row.try_number;
    let is_authorized = matches!(moved, Next::Ended(_, Outcome::Authorized { .. }));
    let change = change(row, item, moved);
    if is_authorized {
        row.payment.funds.capture_before = Some(now + item.capture_within);
    }
    let due_at = now + change.delay.unwrap_or(leases.outbox);
    row.claimed_until = None;
    let has_a_try = row.payment.status.has_a_try();
    row.check_at = has_a_try.then(|| due_at + leases.check);
    row.payment.updated_at = at;
    row.payment.sequence += 1;
    let event = Event {
        id: item.ids.events[0],
        payment: row.payment.id,
        sequence: row.payment.sequence,
        kind: change.kind,
        at,
        attempt: row.payment.attempt,
        try_number: if change.kind == EventKind::AttemptStarted {
            0
        } else {
            tried
        },
        reason: change.reason.map(|reason| reason.to_string()),
    };
    let (mut messages, mut later) = (Vec::new(), Vec::new());
    match (row.payment.status, change.delay) {
        (PaymentStatus::RequiresAction, _) => {
            let results = (now + leases.outbox, None);
            messages = outgoing::results(row, &event, &item.ids, results);
            later.push(NewMessage::of_try(row, due_at));
        }
        (PaymentStatus::Processing, Some(_)) => later = outgoing::work(row, &item.ids, due_at),
        _ => messages = outgoing::messages(row, &event, &item.ids, due_at),
    }
    Applied {
        event: Some(event),
        messages,
        later,
    }
}

/// The shopper has not acted yet: nothing has happened that anybody is told.
fn ask_again(
    row: &mut StoredPayment,
    item: &Advance,
    progress: Progress,
    due_at: Timestamp,
    leases: Leases,
) -> Applied {
    place(row, progress);
    row.claimed_until = None;
    row.check_at = Some(due_at + leases.check);
    Applied {
        event: None,
        messages: Vec::new(),
        later: outgoing::work(row, &item.ids, due_at),
    }
}

fn change(row: &mut StoredPayment, item: &Advance, moved: Next) -> Change {
    let phase = row.phase;
    match moved {
        Next::Attempt(progress) => {
            place(row, progress);
            let card = item.card.as_ref().map(|(card, _)| card);
            row.payment.method = card.map(|card| card.summary.clone());
            row.sealed_card = card.map(|card| card.sealed.clone());
            row.payment.decline_code = None;
            Change {
                kind: EventKind::AttemptStarted,
                reason: None,
                delay: None,
            }
        }
        Next::FellBack { progress, reason } => {
            place(row, progress);
            let card = item.card.as_ref().map(|(card, _)| card);
            row.payment.method = card.map(|card| card.summary.clone());
            row.sealed_card = card.map(|card| card.sealed.clone());
            Change {
                kind: EventKind::AttemptStarted,
                reason: Some(reason),
                delay: None,
            }
        }
        Next::TryAgain { progress, reason } => {
            place(row, progress);
            let kind = match (phase, row.phase) {
                (Phase::Authorize | Phase::Ask, Phase::Reverse) => {
                    end_action(row);
                    EventKind::ReversalStarted
                }
                _ => EventKind::TryFailed,
            };
            Change {
                kind,
                reason: Some(reason),
                delay: Some(item.delay),
            }
        }
        Next::ActionRequired {
            progress,
            url,
            expires_at,
        } => {
            place(row, progress);
            row.sealed_card = None;
            row.payment.action = Some(Action {
                url,
                expires_at,
                state: ActionState::Open,
                replaced: None,
                late: false,
            });
            Change {
                kind: EventKind::RequiresAction,
                reason: None,
                delay: Some(item.delay),
            }
        }
        Next::Closing(progress) => {
            let reason = progress.pending.as_ref().map(PendingOutcome::code);
            place(row, progress);
            start_closing(row, item);
            Change {
                kind: EventKind::CloseStarted,
                reason,
                delay: None,
            }
        }
        Next::Replaced(progress) => {
            place(row, progress);
            end_action(row);
            row.payment.decline_code = None;
            Change {
                kind: EventKind::AttemptStarted,
                reason: None,
                delay: None,
            }
        }
        Next::AskAgain(progress) => {
            place(row, progress);
            Change {
                kind: EventKind::RequiresAction,
                reason: None,
                delay: Some(item.delay),
            }
        }
        Next::Ended(progress, outcome) => {
            place(row, progress);
            row.sealed_card = None;
            if let Some(charged) = end_action(row) {
                // Not the method that was presented meanwhile.
                row.payment.method = Some(charged);
            }
            let (kind, reason) = conclude(&mut row.payment, outcome);
            Change {
                kind,
                reason,
                delay: None,
            }
        }
        Next::Canceled(progress) => {
            place(row, progress);
            end_action(row);
            row.sealed_card = None;
            let reason = CancellationReason::RequestedByClient;
            row.payment.funds.cancellation_reason = Some(reason);
            Change {
                kind: EventKind::Canceled,
                reason: Some(DeclineCode::from_static(reason.as_str())),
                delay: None,
            }
        }
        Next::Operating(progress) | Next::Captured(progress) | Next::StillAuthorized(progress) => {
            place(row, progress);
            Change {
                kind: operation_event(&row.payment),
                reason: None,
                delay: None,
            }
        }
    }
}

/// The attempt is being closed. A card that was presented waits until it is.
fn start_closing(row: &mut StoredPayment, item: &Advance) {
    let Some(action) = &mut row.payment.action else {
        return;
    };
    action.state = ActionState::Closing;
    if let Some((card, _)) = &item.card {
        action.replaced = row.payment.method.replace(card.summary.clone());
        row.sealed_card = Some(card.sealed.clone());
    }
}

/// The attempt is closed or over; returns its payment method if another one was presented meanwhile.
fn end_action(row: &mut StoredPayment) -> Option<MethodSummary> {
    let action = row.payment.action.as_mut()?;
    action.state = ActionState::Over;
    action.replaced.take()
}

/// Changes the row of a payment whose capture or void starts or ends; returns its event.
pub(super) fn apply_operation(
    row: &mut StoredPayment,
    moved: Next,
    reason: Option<String>,
    (id, now): (EventId, Timestamp),
) -> Event {
    let (Next::Operating(progress)
    | Next::Captured(progress)
    | Next::StillAuthorized(progress)
    | Next::Canceled(progress)
    | Next::Attempt(progress)
    | Next::FellBack { progress, .. }
    | Next::ActionRequired { progress, .. }
    | Next::AskAgain(progress)
    | Next::Closing(progress)
    | Next::Replaced(progress)
    | Next::TryAgain { progress, .. }
    | Next::Ended(progress, _)) = moved;
    place(row, progress);
    row.claimed_until = None;
    row.check_at = None;
    let kind = operation_event(&row.payment);
    next_event(row, kind, reason, (id, now))
}

/// The event after a payment's capture or void has started or ended.
fn operation_event(payment: &Payment) -> EventKind {
    match (payment.status, payment.funds.operation) {
        (PaymentStatus::Processing, Some(OperationKind::Void)) => EventKind::VoidStarted,
        (PaymentStatus::Processing, _) => EventKind::CaptureStarted,
        (PaymentStatus::Succeeded, _) => EventKind::Succeeded,
        (PaymentStatus::Canceled, _) => EventKind::Canceled,
        _ => EventKind::RequiresCapture,
    }
}

/// Adds an event to a payment that is not about a try of its authorization.
pub(super) fn next_event(
    row: &mut StoredPayment,
    kind: EventKind,
    reason: Option<String>,
    (id, now): (EventId, Timestamp),
) -> Event {
    // If the clock was set back, for example by a fail-over, the history must stay in order.
    row.payment.updated_at = now.max(row.payment.updated_at);
    row.payment.sequence += 1;
    Event {
        id,
        payment: row.payment.id,
        sequence: row.payment.sequence,
        kind,
        at: row.payment.updated_at,
        attempt: row.payment.attempt,
        try_number: 0,
        reason,
    }
}

fn place(row: &mut StoredPayment, progress: Progress) {
    row.payment.status = progress.status;
    row.payment.attempt = progress.attempt;
    row.try_number = progress.try_number;
    row.phase = progress.phase;
    row.uncertain = progress.uncertain;
    row.pending = progress.pending;
    row.payment.funds.operation = progress.operation;
}

fn conclude(payment: &mut Payment, outcome: Outcome) -> (EventKind, Option<DeclineCode>) {
    let (kind, reason) = match outcome {
        Outcome::Succeeded { authorization_code } => {
            payment.authorization_code = Some(authorization_code);
            payment.funds.captured = payment.amount.minor();
            (EventKind::Succeeded, None)
        }
        Outcome::Authorized { authorization_code } => {
            payment.authorization_code = Some(authorization_code);
            (EventKind::RequiresCapture, None)
        }
        Outcome::Declined { code } => (EventKind::Declined, Some(code)),
        Outcome::Failed { reason } => (EventKind::Failed, Some(reason)),
    };
    payment.decline_code.clone_from(&reason);
    (kind, reason)
}
