//! Payment requests by message: consumes `order.payment` messages and passes them to the same `accept` as REST.
//!
//! A message that is not accepted is refused, as a dead letter and an event, or held and tried again ([`refusal`]);
//! nothing is dropped silently and nothing loops.

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use tracing::Instrument;

use super::accept::{NotAccepted, accept};
use super::order_reader::OrderReader;
use crate::broker::{Broker, Consumer, Delivery, Queue};
use crate::domain::MethodForm;
use crate::domain::card::without_card_number;
use crate::metric;
use crate::payments::commands::Commands;
use crate::payments::outbox::Refused;
use crate::payments::row_ids::RowIds;
use crate::payments::{AcceptError, Acceptor};
use crate::store::StoreError;
use crate::watchdog::pulse::Pulse;
use crate::wire::order::Refusal;
use crate::wire::{TRACEPARENT, callers_trace_id, dead_letter, result};

/// Messages worked on at the same time: about one group commit.
const UNDER_WAY: u16 = 256;

/// Pause before a message that the store could not accept is tried again.
const PAUSE: Duration = Duration::from_millis(500);

/// Consumes requests by message.
pub struct Orders {
    /// Where the messages come from.
    pub broker: Arc<dyn Broker>,
    /// Reads them.
    pub reader: OrderReader,
    /// Accepts them.
    pub acceptor: Arc<Acceptor>,
    /// Records refusals.
    pub commands: Commands,
    /// The progress of reading messages; after that they wait for group commits.
    pub pulse: Pulse,
}

impl Orders {
    /// Registers for requests.
    pub fn consume(&self) -> Consumer {
        self.broker.consume(Queue::Requests, UNDER_WAY)
    }

    /// Accepts what [`Self::consume`] receives until `stop`, then finishes the work under way.
    pub async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        let under_way = TaskTracker::new();
        let this = Arc::new(self);
        let work = |delivery: Delivery| {
            let (this, stop) = (Arc::clone(&this), stop.clone());
            let message_id = shown_id(&delivery).map(str::to_owned);
            let span = tracing::debug_span!("order", message.id = message_id);
            async move { this.work_off(delivery, stop).await }.instrument(span)
        };
        consumer
            .hand_out(usize::from(UNDER_WAY), &under_way, &stop, work)
            .await;
        consumer.give_back_the_rest().await;
        under_way.close();
        under_way.wait().await;
    }

    async fn work_off(&self, delivery: Delivery, stop: CancellationToken) {
        loop {
            let taken = self.pulse.take();
            let read = self.reader.read(&delivery, OffsetDateTime::now_utc());
            drop(taken);
            let refusal = match read {
                Err(refusal) => refusal,
                Ok(request) => {
                    let (client, form) = (request.client().clone(), request.method_form());
                    match accept(&self.acceptor, &self.reader, request).await {
                        Ok(accepted) => {
                            tracing::debug!(
                                payment.id = accepted.payment.id.0,
                                accepted.replayed,
                                "accepted"
                            );
                            return delivery.settle.acknowledge().await;
                        }
                        Err(NotAccepted::Refused(refusal)) => refusal,
                        Err(NotAccepted::Failed(error)) => match refusal(&error, form) {
                            Some(refusal) => refusal.of(&client),
                            // Meanwhile the full prefetch stops consumption.
                            None => {
                                tracing::debug!(%error, "a message is held until it can be accepted");
                                tokio::select! {
                                    () = tokio::time::sleep(PAUSE) => continue,
                                    () = stop.cancelled() => return delivery.settle.give_back().await,
                                }
                            }
                        },
                    }
                }
            };
            return self.refuse(delivery, refusal).await;
        }
    }

    /// Commits the dead letter and the event, then acknowledges.
    async fn refuse(&self, delivery: Delivery, refusal: Refusal) {
        let fields: Vec<&str> = refusal.errors.iter().map(|it| it.field.as_str()).collect();
        tracing::info!(
            reason = refusal.reason,
            fields = fields.join(", "),
            client = refusal.client.as_ref().map(|c| c.as_str()),
            message.id = shown_id(&delivery),
            trace_id = trace_of(&delivery),
            "a request by message was refused"
        );
        metrics::counter!(metric::MESSAGES_REFUSED, "reason" => refusal.reason).increment(1);
        let mut publications = vec![dead_letter::publication(&delivery, &refusal)];
        let ids = [RowIds::draw(), RowIds::draw()];
        if let Some(client) = &refusal.client {
            let message_id = shown_id(&delivery);
            let origin = OrderReader::origin(&delivery.properties, Some(client));
            publications.extend(result::rejection(
                client,
                message_id,
                ids[0].events[0],
                OffsetDateTime::now_utc(),
                &origin,
                refusal.rejection(message_id),
            ));
        }
        match self.commands.refuse(Refused { publications, ids }).await {
            Ok(()) => {
                metrics::counter!(metric::DEAD_LETTERS, "reason" => refusal.reason).increment(1);
                delivery.settle.acknowledge().await;
            }
            Err(error) => {
                tracing::error!(%error, "a refusal could not be recorded; the message is rejected");
                delivery.settle.reject().await;
            }
        }
    }
}

/// The message's id, if it may be logged and published.
fn shown_id(delivery: &Delivery) -> Option<&str> {
    let id = delivery.properties.message_id.as_deref();
    id.map(without_card_number)
}

/// The trace id of the message, if it has a valid one.
fn trace_of(delivery: &Delivery) -> Option<&str> {
    let traceparent = delivery.properties.headers.get(TRACEPARENT)?;
    callers_trace_id(traceparent)
}

/// The refusal of a message that can never be accepted; none if it can be tried again, because only the store or the
/// backlog cannot take it now.
pub fn refusal(error: &AcceptError, form: MethodForm) -> Option<Refusal> {
    let reason = match error {
        AcceptError::KeyReused => "message_id_reused",
        AcceptError::TokenUnusable => "card_token_unusable",
        AcceptError::TokenExpired => "card_token_expired",
        AcceptError::NotAllowed { what, .. } => what.code(),
        AcceptError::NotFound(_) | AcceptError::Refused(_) | AcceptError::Operation(_) => {
            "not_possible"
        }
        AcceptError::Seal(_) => "card_token_unreadable",
        AcceptError::Store(StoreError::Rejected(_)) => "data_refused",
        AcceptError::Store(StoreError::Quarantined(_)) => "payment_quarantined",
        AcceptError::Store(StoreError::Corrupt(_) | StoreError::Panicked(_)) => "internal_error",
        AcceptError::BacklogFull | AcceptError::Store(_) => return None,
    };
    Some(Refusal {
        errors: error.invalid_field(form).into_iter().collect(),
        ..Refusal::new(reason, format!("{error}."))
    })
}
