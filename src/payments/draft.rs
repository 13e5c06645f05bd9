//! The rows of one accepted payment. Pure: this builds what [`super::accept`] writes.

use super::outgoing::{self, NewMessage};
use super::presented_card::PresentedCard;
use super::row_ids::RowIds;
use crate::domain::{
    CaptureMethod, ClientName, Event, EventKind, Funds, Metadata, Money, Next, OrderId, Origin,
    Payment, PaymentId, Progress, ReturnUrl, Timestamp, Trigger, UserId, next,
};
use crate::payments::leases::Leases;
use crate::store::rows::{Idempotency, StoredPayment, TokenId};

/// A payment that is about to be accepted.
#[derive(Debug, Clone)]
pub struct NewPayment {
    /// From [`crate::payments::commands::Commands::next_payment_id`].
    pub id: PaymentId,
    /// The client it belongs to.
    pub client: ClientName,
    /// The client's order.
    pub order_id: OrderId,
    /// The client's shopper.
    pub user_id: UserId,
    /// The amount.
    pub amount: Money,
    /// When the amount is captured.
    pub capture_method: CaptureMethod,
    /// The client's metadata.
    pub metadata: Metadata,
    /// Where the payment page sends the shopper back to.
    pub return_url: Option<ReturnUrl>,
    /// The first attempt's card, sealed for this payment and attempt 1.
    pub card: Option<PresentedCard>,
    /// The card token that the card came from; the payment uses it.
    pub token: Option<TokenId>,
    /// The idempotency key of the request.
    pub idempotency: Option<Idempotency>,
    /// Where its results go in addition to the topic.
    pub origin: Origin,
    /// Whether to publish an event if it is accepted without a card (`requires_payment_method`).
    pub announce: bool,
    /// Ids of the rows to write.
    pub ids: RowIds,
}

/// A payment that is about to be written, with its other rows.
pub(super) struct Draft {
    pub row: StoredPayment,
    pub events: Vec<Event>,
    pub messages: Vec<NewMessage>,
    pub token: Option<TokenId>,
}

impl Draft {
    /// Drafts the rows of a payment; `now` is the database's time.
    pub(super) fn of(item: &NewPayment, now: Timestamp, leases: Leases) -> Self {
        let progress = first_step(item);
        let events = events(item, now);
        let payment = payment(item, &progress, &events, now);
        let row = StoredPayment {
            payment,
            try_number: progress.try_number,
            phase: progress.phase,
            uncertain: progress.uncertain,
            pending: progress.pending,
            staged: false,
            sealed_card: item.card.as_ref().map(|card| card.sealed.clone()),
            claimed_until: None,
            check_at: item.card.as_ref().map(|_| now + leases.check),
            idempotency: item.idempotency.clone(),
            origin: item.origin.clone(),
        };
        let is_silent = item.card.is_none() && !item.announce;
        let told = events.last().filter(|_| !is_silent);
        let messages =
            told.map(|event| outgoing::messages(&row, event, &item.ids, now + leases.outbox));
        Self {
            row,
            messages: messages.unwrap_or_default(),
            events,
            token: item.token.clone(),
        }
    }
}

/// A card in the request is presented at once.
fn first_step(item: &NewPayment) -> Progress {
    let new = Progress {
        capture_method: item.capture_method,
        ..Progress::NEW
    };
    match next(new.clone(), &Trigger::PresentCard) {
        Ok(Next::Attempt(progress)) if item.card.is_some() => progress,
        _ => new,
    }
}

fn events(item: &NewPayment, now: Timestamp) -> Vec<Event> {
    let happened = [
        Some((1, EventKind::Accepted, 0)),
        item.card
            .as_ref()
            .map(|_| (2, EventKind::AttemptStarted, 1)),
    ];
    let event = |(id, (sequence, kind, attempt))| Event {
        id,
        payment: item.id,
        sequence,
        kind,
        at: now,
        attempt,
        try_number: 0,
        reason: None,
    };
    item.ids
        .events
        .into_iter()
        .zip(happened.into_iter().flatten())
        .map(event)
        .collect()
}

fn payment(item: &NewPayment, progress: &Progress, events: &[Event], now: Timestamp) -> Payment {
    Payment {
        id: item.id,
        client: item.client.clone(),
        order_id: item.order_id,
        user_id: item.user_id,
        amount: item.amount,
        status: progress.status,
        decline_code: None,
        authorization_code: None,
        method: item.card.as_ref().map(|card| card.summary.clone()),
        attempt: progress.attempt,
        metadata: item.metadata.clone(),
        action: None,
        return_url: item.return_url.clone(),
        funds: Funds {
            capture_method: item.capture_method,
            ..Funds::default()
        },
        disputes: Vec::new(),
        sequence: events.last().map_or(0, |event| event.sequence),
        created_at: now,
        updated_at: now,
    }
}
