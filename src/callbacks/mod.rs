//! Tells clients of results by HTTP. Off for everyone who has no `callback` in `CLIENTS_FILE`.
//!
//! Results that somebody wants lie in a durable queue. Each is called for until its receiver has it: a call that fails
//! becomes an outbox row that is due later, and comes back into the queue. After a day it is a dead letter. A receiver
//! that fails again and again is left alone for a while, and its events wait in the outbox without a call.
//! Payments wait for none of this; docs/adr/adr018-callbacks.md says why.

pub mod address;
pub mod authorities;
pub mod bindings;
mod circuit;
mod event;
mod receivers;
mod request;
mod sender;
pub mod settings;
pub mod signature;

use std::sync::Arc;
use std::time::Duration;

use time::OffsetDateTime;
use tokio::sync::OnceCell;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::broker::{Broker, Consumer, Delivery, Publication, Queue};
use crate::clients::Clients;
use crate::messages::dead_letter;
use crate::relay::Relay;
use crate::stages::{Name, Stage};
use crate::store::StoreError;
use crate::store::commands::{Commands, Message};
use crate::store::rows::OutboxId;
use event::Event;
use receivers::Receivers;
use sender::{Failure, Sender};
use settings::{Callback, CallbackSettings};

/// How long no event may leave although there are some.
const STAGE_LIMIT: Duration = Duration::from_secs(30);

/// Events in hand, of all clients together.
const IN_HAND: u16 = 512;

/// Delivers what the callbacks queue holds.
pub struct Callbacks {
    /// Where events come from.
    broker: Arc<dyn Broker>,
    /// Who wants them.
    clients: Clients,
    /// Notes what comes again.
    commands: Commands,
    /// Takes what is to be published.
    relay: Relay,
    settings: CallbackSettings,
    receivers: Receivers,
    stage: Stage,
    /// Made for the first call: reading the system's certificates takes a while.
    sender: OnceCell<Sender>,
}

/// What becomes of an event.
enum Fate {
    /// Its client has it, or does not want it.
    Done,
    /// It comes again.
    Later(Duration),
    /// It becomes a dead letter.
    GivenUp(Failure),
}

impl Callbacks {
    /// Ready to consume.
    pub fn new(
        broker: Arc<dyn Broker>,
        clients: Clients,
        commands: Commands,
        relay: Relay,
        settings: CallbackSettings,
    ) -> Self {
        Self {
            broker,
            clients,
            commands,
            relay,
            receivers: Receivers::new(settings.clone()),
            stage: Stage::new(Name::Callback),
            settings,
            sender: OnceCell::new(),
        }
    }

    /// The stage of its work. A call may take a while, and so may the turn of an event.
    pub fn stage(&self) -> Stage {
        let call = self.settings.timeout + Duration::from_secs(5);
        self.stage.allow(STAGE_LIMIT.max(call));
        self.stage.clone()
    }

    /// Registers for events. Always, also if nobody wants any: what was bound once must not fill the queue up.
    pub fn consume(&self) -> Consumer {
        self.broker.consume(Queue::Callbacks, IN_HAND)
    }

    /// Delivers what [`Self::consume`] brings until `stop`, then ends the calls under way and puts the rest aside.
    pub async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        tasks.spawn(bindings::follow(
            Arc::clone(&self.broker),
            self.clients.clone(),
            consumer.registered.clone(),
            stop.clone(),
        ));
        let this = Arc::new(self);
        let work = |delivery| {
            let (this, stop) = (Arc::clone(&this), stop.clone());
            async move { this.work_off(delivery, &stop).await }
        };
        consumer
            .hand_out(usize::from(IN_HAND), &tasks, &stop, work)
            .await;
        consumer.deliveries.close();
        while let Some(delivery) = consumer.deliveries.recv().await {
            tasks.spawn(work(delivery));
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn work_off(&self, delivery: Delivery, stop: &CancellationToken) {
        let mut event = match Event::read(&delivery, OffsetDateTime::now_utc()) {
            Ok(event) => event,
            Err(missing) => {
                // Only the relay writes here, so this is a foreign message: it ends among the dead letters.
                tracing::warn!(missing, "a message in the callbacks queue cannot be read");
                return delivery.settle.reject().await;
            }
        };
        let entered = self.stage.enter();
        let settled = match self.fate(&mut event, stop).await {
            Fate::Done => Ok(()),
            Fate::Later(delay) => self.later(&event, delay).await,
            Fate::GivenUp(failure) => self.give_up(&event, &failure).await,
        };
        match settled {
            Ok(()) => {
                entered.left();
                delivery.settle.acknowledge().await;
            }
            Err(error) => {
                entered.failed(&error);
                tracing::error!(event.id, %error, "what becomes of a callback could not be noted");
                delivery.settle.reject().await;
            }
        }
    }

    async fn fate(&self, event: &mut Event, stop: &CancellationToken) -> Fate {
        let callback = self.clients.callback(&event.client);
        let wants = |it: &Arc<Callback>| it.events.contains(&event.kind.as_str());
        let Some(callback) = callback.filter(wants) else {
            return Fate::Done;
        };
        let receiver = self.receivers.of(&event.client, &callback);
        let age = event.age(OffsetDateTime::now_utc());
        let turn = tokio::select! {
            biased;
            // Into the outbox, where the next process finds it; not before every call of this one has ended.
            () = stop.cancelled() => Err(self.settings.timeout + Duration::from_secs(1)),
            turn = receiver.turn(age) => turn,
        };
        let _turn = match turn {
            Ok(turn) => turn,
            Err(delay) => return self.later_or_never(event, delay),
        };
        event.tries = event.tries.saturating_add(1);
        let sent = self.send(event, &callback).await;
        receiver.note(sent.is_ok());
        report(event, sent.as_ref().err());
        match sent {
            Ok(()) => Fate::Done,
            Err(failure) if failure.is_final => Fate::GivenUp(failure),
            Err(failure) => {
                event.failure = Some(failure);
                self.later_or_never(event, self.settings.retry.delay_after(event.tries))
            }
        }
    }

    async fn send(&self, event: &Event, callback: &Callback) -> Result<(), Failure> {
        let make = || async { Sender::new(&self.settings) };
        let sender = self.sender.get_or_try_init(make).await;
        let sender = sender.map_err(|error| Failure::again("tls_unusable", error.to_string()))?;
        sender.send(event, callback).await
    }

    /// Later, unless that is too late.
    fn later_or_never(&self, event: &Event, delay: Duration) -> Fate {
        let age = event.age(OffsetDateTime::now_utc());
        if age + delay < self.settings.give_up_after {
            return Fate::Later(delay);
        }
        let away = || Failure::again("receiver_away", "The receiver was away all the time.");
        Fate::GivenUp(event.failure.clone().unwrap_or_else(away))
    }

    async fn later(&self, event: &Event, delay: Duration) -> Result<(), StoreError> {
        if event.is_new() && self.relay.messages_waiting() >= self.settings.backlog_limit {
            // Rather this than the disk full. The outcome stands in the payment all the same.
            tracing::warn!(event.id, client = %event.client, "too many callbacks wait: not called for again");
            metrics::counter!("callbacks_dropped", "client" => event.client.to_string())
                .increment(1);
            return Ok(());
        }
        self.enqueue(event.again(), Some(delay)).await
    }

    async fn give_up(&self, event: &Event, failure: &Failure) -> Result<(), StoreError> {
        let Failure { reason, error, .. } = failure;
        tracing::warn!(event.id, client = %event.client, reason, error, event.tries, "a callback is given up");
        metrics::counter!("callbacks_given_up", "client" => event.client.to_string(), "reason" => reason.clone())
            .increment(1);
        let body = serde_json::from_str(&event.body).unwrap_or_default();
        let error = format!("{error} Calls: {}.", event.tries);
        let letter =
            dead_letter::undelivered(reason, &error, &event.client, &event.original(), &body);
        self.enqueue(letter, None).await
    }

    async fn enqueue(
        &self,
        publication: Publication,
        delay: Option<Duration>,
    ) -> Result<(), StoreError> {
        let message = Message {
            id: OutboxId(Uuid::now_v7()),
            publication,
            delay,
        };
        let row = self.commands.enqueue(message).await?;
        if delay.is_none() {
            self.relay.hand_over(vec![row]);
        }
        Ok(())
    }
}

fn report(event: &Event, failure: Option<&Failure>) {
    let client = event.client.to_string();
    match failure {
        None => {
            tracing::debug!(event.id, client, event.tries, "a callback is delivered");
            metrics::counter!("callbacks_delivered", "client" => client).increment(1);
        }
        Some(Failure { reason, error, .. }) => {
            tracing::debug!(
                event.id,
                client,
                event.tries,
                reason,
                error,
                "a callback failed"
            );
            metrics::counter!("callbacks_failed", "client" => client, "reason" => reason.clone())
                .increment(1);
        }
    }
}
