//! Calls clients by HTTP with their results. Off for every client without a `callback` in `CLIENTS_FILE`.
//!
//! Results that clients subscribed to are in a durable queue. Each is sent until its receiver accepts it: a failed call
//! becomes an outbox row that is due later and returns to the queue. After a day it becomes a dead letter. A receiver
//! that keeps failing is not called for a while, and its events wait in the outbox. Payments never wait for callbacks;
//! see docs/adr/adr018-callbacks.md for the reasons.

pub mod authorities;
pub mod bindings;

mod clock;
pub mod event;
pub mod failure;
mod receivers;
mod request;
mod resolver;
mod sender;
pub mod settings;
pub mod signature;

use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{OnceCell, Semaphore};
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;
use uuid::Uuid;

use crate::broker::{Broker, Consumer, Delivery, Publication, Queue};
use crate::clients::Clients;
use crate::clients::callback::Callback;
use crate::domain::Timestamp;
use crate::metric;
use crate::payments::backlog::Backlog;
use crate::payments::commands::Commands;
use crate::payments::outbox::Message;
use crate::store::rows::OutboxId;
use crate::store::{Store, StoreError};
use crate::watchdog::stages::{Name, Stage};
use crate::wire::dead_letter;
use clock::DatabaseClock;
use event::Event;
use failure::{Evidence, Failure};
use receivers::Receivers;
use sender::Sender;
use settings::CallbackSettings;

/// Events that this process holds, of all clients together.
const HELD: u16 = 512;

/// How long an event of an unknown payment is held before it is returned to the queue: otherwise it would be redelivered
/// at once.
const UNKNOWN_PAUSE: Duration = Duration::from_secs(1);

/// How many of them are held at the same time; further ones are returned at once.
const UNKNOWN_HELD: usize = 16;

/// How long the stage may complete no event although some are waiting.
const STAGE_LIMIT: Duration = Duration::from_secs(30);

/// Delivers what the callbacks queue holds.
pub struct Callbacks {
    /// Where events come from.
    broker: Arc<dyn Broker>,
    /// The clients and their receivers.
    clients: Clients,
    /// Writes the outbox rows of further calls.
    commands: Commands,
    /// Counts what waits to be published.
    backlog: Backlog,
    /// Knows which payments belong to this installation.
    database: Store,
    settings: CallbackSettings,
    clock: DatabaseClock,
    receivers: Receivers,
    stage: Stage,
    /// Created at the first call: reading the system's certificates takes a while.
    sender: OnceCell<Sender>,
    /// Permits to hold events of unknown payments.
    unknown: Semaphore,
}

/// What happens to an event.
enum Fate {
    /// Its client has it, or no longer wants it.
    Done,
    /// It is sent again after this delay.
    Later(Duration),
    /// It becomes a dead letter.
    GivenUp(Failure),
    /// It is about a payment that is not in this worker's database.
    UnknownPayment,
}

impl Callbacks {
    /// Creates it, ready to consume.
    pub fn new(
        broker: Arc<dyn Broker>,
        clients: Clients,
        (database, commands): (Store, Commands),
        backlog: Backlog,
        settings: CallbackSettings,
    ) -> Self {
        Self {
            clock: DatabaseClock::new(database.clone()),
            database,
            broker,
            clients,
            commands,
            backlog,
            receivers: Receivers::new(settings.clone()),
            stage: Stage::new(Name::Callback),
            settings,
            sender: OnceCell::new(),
            unknown: Semaphore::new(UNKNOWN_HELD),
        }
    }

    /// The stage of its work. A call may take a while, and so may an event's wait for its turn.
    pub fn stage(&self) -> Stage {
        let call = self.settings.timeout + Duration::from_secs(5);
        self.stage.allow(STAGE_LIMIT.max(call));
        self.stage.clone()
    }

    /// Registers for events, even if no client wants any: events of earlier bindings must not fill the queue.
    pub fn consume(&self) -> Consumer {
        self.broker.consume(Queue::Callbacks, HELD)
    }

    /// Delivers what [`Self::consume`] receives until `stop`, then ends the calls under way and stores the rest for
    /// later.
    pub async fn run(self, mut consumer: Consumer, stop: CancellationToken) {
        let tasks = TaskTracker::new();
        // Ends with `stop`. If it ends earlier, by a panic, this task ends too, and so does the process.
        let following = tokio::spawn(bindings::follow(
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
        let handing_out = consumer.hand_out(usize::from(HELD), &tasks, &stop, &work);
        tokio::select! {
            () = handing_out => {}
            _ = following => {}
        }
        consumer.deliveries.close();
        while let Some(delivery) = consumer.deliveries.recv().await {
            tasks.spawn(work(delivery));
        }
        tasks.close();
        tasks.wait().await;
    }

    async fn work_off(&self, delivery: Delivery, stop: &CancellationToken) {
        let now = tokio::select! {
            now = self.clock.now() => now,
            () = stop.cancelled() => return delivery.settle.give_back().await,
        };
        let mut event = match Event::read(&delivery, now) {
            Ok(event) => event,
            Err(missing) => {
                // Only the relay publishes here, so this message is foreign: it becomes a dead letter.
                tracing::warn!(missing, "a message in the callbacks queue cannot be read");
                return delivery.settle.reject().await;
            }
        };
        let entered = self.stage.enter();
        let settled = match self.fate(&mut event, now, stop).await {
            Fate::Done => Ok(()),
            Fate::Later(delay) => self.later(&event, delay).await,
            Fate::GivenUp(failure) => self.give_up(&event, &failure).await,
            Fate::UnknownPayment => return self.put_back(&event, delivery, stop).await,
        };
        match settled {
            Ok(()) => {
                entered.left();
                delivery.settle.acknowledge().await;
            }
            Err(error) => {
                entered.failed(&error);
                tracing::error!(event.id, %error, "the result of a callback could not be recorded");
                delivery.settle.reject().await;
            }
        }
    }

    async fn fate(&self, event: &mut Event, now: Timestamp, stop: &CancellationToken) -> Fate {
        let callback = self.clients.callback(&event.client);
        let wants = |it: &Arc<Callback>| it.events.contains(&event.kind.as_str());
        let Some(callback) = callback.filter(wants) else {
            // A client that was removed from the file gets no more callbacks. One that was never in it may belong to
            // another installation.
            let is_ours = self.clients.knows(&event.client) || self.has_payment_of(event).await;
            return if is_ours {
                Fate::Done
            } else {
                Fate::UnknownPayment
            };
        };
        let receiver = self.receivers.of(&event.client, &callback);
        let made = event.calls();
        let turn = tokio::select! {
            biased;
            // It goes to the outbox, where the next process finds it, but not before all calls of this process have
            // ended.
            () = stop.cancelled() => Err(self.settings.timeout + Duration::from_secs(1)),
            turn = receiver.turn(made, event.age(now)) => turn,
        };
        let _turn = match turn {
            Ok(turn) => turn,
            Err(delay) => return self.later_or_never(event, delay).await,
        };
        event.tries = event.tries.saturating_add(1);
        let sent = self.send(event, &callback).await;
        let failure = sent.as_ref().err();
        receiver.note(made, failure.map_or(Evidence::Answers, |it| it.evidence));
        report(event, failure);
        match sent {
            Ok(()) => Fate::Done,
            Err(failure) if failure.is_final => Fate::GivenUp(failure),
            Err(failure) => {
                event.failure = Some(failure);
                let delay = self.settings.retry.delay_after(event.tries);
                self.later_or_never(event, delay).await
            }
        }
    }

    /// Whether the event's payment is in the database. If the event has no payment or the database does not answer,
    /// assumes that it is.
    async fn has_payment_of(&self, event: &Event) -> bool {
        let Some(payment) = event.payment else {
            return true;
        };
        let found = self.database.payment(payment).await;
        found.map_or(true, |found| found.is_some())
    }

    /// Returns it to the queue for a worker that knows the payment; in the end it becomes a dead letter.
    async fn put_back(&self, event: &Event, delivery: Delivery, stop: &CancellationToken) {
        if !delivery.redelivered {
            tracing::error!(
                event.id,
                client = %event.client,
                payment.id = event.payment.map(|id| id.0),
                "a callback about a payment that is not in this database goes back to the queue, and becomes a \
                 dead letter in the end: is DATABASE_URL the database of this virtual host?"
            );
        }
        metrics::counter!(metric::CALLBACKS_FOR_UNKNOWN_PAYMENTS).increment(1);
        if let Ok(_place) = self.unknown.try_acquire() {
            tokio::select! {
                () = tokio::time::sleep(UNKNOWN_PAUSE) => {}
                () = stop.cancelled() => return delivery.settle.give_back().await,
            }
        }
        delivery.settle.reject().await;
    }

    async fn send(&self, event: &Event, callback: &Callback) -> Result<(), Failure> {
        let make = || async { Sender::new(&self.settings) };
        let sender = self.sender.get_or_try_init(make).await;
        let sender = sender
            .map_err(|error| Failure::again("tls_unusable", error.to_string()).without_a_call())?;
        sender.send(event, callback, self.clock.now().await).await
    }

    /// Calls again later, unless the event is too old by then.
    async fn later_or_never(&self, event: &Event, delay: Duration) -> Fate {
        // In another installation's database the outbox row would be lost.
        if !self.has_payment_of(event).await {
            return Fate::UnknownPayment;
        }
        let age = event.age(self.clock.now().await);
        if age + delay < self.settings.give_up_after {
            return Fate::Later(delay);
        }
        let away = || Failure::again("receiver_away", "The receiver was down all the time.");
        Fate::GivenUp(event.failure.clone().unwrap_or_else(away))
    }

    async fn later(&self, event: &Event, delay: Duration) -> Result<(), StoreError> {
        if event.is_new() && self.backlog.messages_waiting() >= self.settings.backlog_limit {
            // Drops the callback rather than fill the disk. The payment still has its outcome.
            tracing::warn!(event.id, client = %event.client, "too many callbacks wait: this one is not tried again");
            metrics::counter!(metric::CALLBACKS_DROPPED, "client" => event.client.to_string())
                .increment(1);
            return Ok(());
        }
        self.enqueue(event.again(), Some(delay)).await
    }

    async fn give_up(&self, event: &Event, failure: &Failure) -> Result<(), StoreError> {
        let Failure { reason, error, .. } = failure;
        tracing::warn!(event.id, client = %event.client, reason, error, event.tries, "a callback has failed and becomes a dead letter");
        metrics::counter!(metric::CALLBACKS_GIVEN_UP, "client" => event.client.to_string(), "reason" => reason.clone())
            .increment(1);
        let body = serde_json::from_str(&event.body).unwrap_or_default();
        let error = format!("{error} Calls: {}.", event.tries);
        let letter =
            dead_letter::undelivered(reason, &error, &event.client, &event.original(), &body);
        self.enqueue(letter, None).await?;
        metrics::counter!(metric::DEAD_LETTERS, "reason" => reason.clone()).increment(1);
        Ok(())
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
        self.commands.enqueue(message).await
    }
}

fn report(event: &Event, failure: Option<&Failure>) {
    let client = event.client.to_string();
    match failure {
        None => {
            tracing::debug!(event.id, client, event.tries, "a callback was delivered");
            metrics::counter!(metric::CALLBACKS_DELIVERED, "client" => client).increment(1);
        }
        Some(failure) if failure.evidence == Evidence::Answers && event.tries == 1 => {
            let Failure { reason, error, .. } = failure;
            count_failure(&client, reason);
            tracing::warn!(
                event.id,
                client,
                reason,
                error,
                "the receiver works, but rejects this event: it is tried again, and other events do not wait"
            );
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
            count_failure(&client, reason);
        }
    }
}

fn count_failure(client: &str, reason: &str) {
    let labels = [("client", client.to_owned()), ("reason", reason.to_owned())];
    metrics::counter!(metric::CALLBACKS_FAILED, &labels).increment(1);
}
