//! An in-memory broker inside this process, with the rules of definitions.json: the default of the embedded service.
//!
//! Its messages do not survive a restart. No payment is lost by that: the outbox and the rescue publish due messages
//! again. Dead letters would not be published again, so [`KeepDeadLetters`] stores them before they count as published.

mod consumer;
mod queue;
mod state;

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use async_trait::async_trait;
use tokio::sync::{mpsc, watch};
use tokio_util::sync::CancellationToken;

use super::{
    Broker, BrokerError, ConnectionState, Consumer, Delivery, Exchange, Publication, PublishError,
    Queue, RESULTS_BUFFER, Settle, Topology,
};
use crate::watchdog::vital::Vital;
use consumer::ConsumerId;
use state::State;

/// Stores dead letters permanently.
#[async_trait]
pub trait KeepDeadLetters: Send + Sync + std::fmt::Debug {
    /// Stores all of them, or none and logs why; the same letter twice is stored once.
    async fn keep(&self, letters: &[Publication]) -> Result<(), PublishError>;
}

/// One client of an in-memory broker; [`Embedded::another`] creates more clients of the same broker.
#[derive(Debug)]
pub struct Embedded {
    state: Arc<Mutex<State>>,
    connection: watch::Sender<ConnectionState>,
    consumers: Mutex<Vec<ConsumerId>>,
    /// Tells every consumer of this client whether it is registered.
    registered: watch::Sender<bool>,
    stopping: CancellationToken,
    keeper: Option<Arc<dyn KeepDeadLetters>>,
}

impl Embedded {
    /// An empty broker with the topology of definitions.json.
    pub fn new() -> Result<Self, BrokerError> {
        Topology::of_definitions().map(Self::with_topology)
    }

    /// The same, with dead letters that survive a restart.
    pub fn keeping_dead_letters(keeper: Arc<dyn KeepDeadLetters>) -> Result<Self, BrokerError> {
        let mut state = State::new(Topology::of_definitions()?);
        state.keep_dead_letters(Arc::clone(&keeper));
        Ok(Self {
            keeper: Some(keeper),
            ..Self::client(Arc::new(Mutex::new(state)))
        })
    }

    /// An empty broker with another topology.
    pub fn with_topology(topology: Topology) -> Self {
        Self::client(Arc::new(Mutex::new(State::new(topology))))
    }

    /// Another client of the same broker, with its own consumers.
    pub fn another(&self) -> Self {
        Self {
            keeper: self.keeper.clone(),
            ..Self::client(Arc::clone(&self.state))
        }
    }

    fn client(state: Arc<Mutex<State>>) -> Self {
        Self {
            state,
            connection: watch::Sender::new(ConnectionState::Up),
            consumers: Mutex::default(),
            registered: watch::Sender::new(true),
            stopping: CancellationToken::new(),
            keeper: None,
        }
    }

    /// When a consumer's receiver is dropped, its unsettled messages go back to the queue.
    fn watch_receiver(&self, id: ConsumerId, deliveries: mpsc::Sender<Delivery>) {
        let (state, stopping) = (Arc::clone(&self.state), self.stopping.clone());
        tokio::spawn(async move {
            tokio::select! {
                () = deliveries.closed() => lock(&state).remove(&state, id),
                () = stopping.cancelled() => {}
            }
        });
    }

    async fn keep_dead_letters(&self, messages: &[Publication]) -> Result<(), PublishError> {
        let Some(keeper) = &self.keeper else {
            return Ok(());
        };
        let letters: Vec<Publication> = messages
            .iter()
            .filter(|message| message.exchange == Exchange::DeadLetters)
            .cloned()
            .collect();
        if letters.is_empty() {
            return Ok(());
        }
        keeper.keep(&letters).await
    }

    fn is_closed(&self) -> bool {
        matches!(*self.connection.borrow(), ConnectionState::Down(_))
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

#[async_trait]
impl Broker for Embedded {
    async fn publish(&self, messages: &[Publication]) -> Vec<Result<(), PublishError>> {
        if self.is_closed() {
            return vec![Err(PublishError::NotConnected); messages.len()];
        }
        let kept = self.keep_dead_letters(messages).await;
        let mut state = lock(&self.state);
        messages
            .iter()
            .map(|message| {
                if self.keeper.is_some() && message.exchange == Exchange::DeadLetters {
                    kept.clone()?;
                    // A stored dead letter need not also fit into the queue in memory.
                    let _ = state.publish(&self.state, message);
                    return Ok(());
                }
                if self.stopping.is_cancelled() && state.leads_to(Queue::Callbacks, message) {
                    // Nothing consumes any more, and messages in memory are lost when the process ends; their outbox rows
                    // are not. Payments are dispatched again after a start anyway, callbacks are not.
                    return Err(PublishError::Refused);
                }
                state.publish(&self.state, message)
            })
            .collect()
    }

    fn consume(&self, queue: Queue, prefetch: u16) -> Consumer {
        // Room for the maximum number of unsettled deliveries: it is never full.
        let (sender, deliveries) = mpsc::channel(usize::from(prefetch).max(1));
        let consumer = Consumer {
            deliveries,
            registered: self.registered.subscribe(),
        };
        if !self.stopping.is_cancelled() {
            let id = lock(&self.state).consume(&self.state, queue, prefetch, sender.clone());
            lock(&self.consumers).push(id);
            self.watch_receiver(id, sender);
        }
        consumer
    }

    fn subscribe_results(&self, binding_keys: &[&str]) -> Consumer {
        let (sender, deliveries) = mpsc::channel(RESULTS_BUFFER);
        let consumer = Consumer {
            deliveries,
            registered: self.registered.subscribe(),
        };
        if !self.stopping.is_cancelled() {
            let keys = binding_keys.iter().map(|key| (*key).to_owned()).collect();
            let id = lock(&self.state).subscribe(keys, sender.clone());
            lock(&self.consumers).push(id);
            self.watch_receiver(id, sender);
        }
        consumer
    }

    async fn bind_results(
        &self,
        queue: Queue,
        wanted: &[String],
        unwanted: &[String],
    ) -> Result<(), BrokerError> {
        if self.is_closed() {
            return Err(BrokerError::NotConnected);
        }
        lock(&self.state).bind_results(queue, wanted, unwanted);
        Ok(())
    }

    async fn depth(&self, queue: Queue) -> Result<u64, BrokerError> {
        if self.is_closed() {
            return Err(BrokerError::NotConnected);
        }
        let depth = lock(&self.state).depth(queue.name());
        depth.ok_or_else(|| BrokerError::Refused(format!("no queue {}", queue.name())))
    }

    async fn is_consumed(&self, queue: Queue) -> bool {
        lock(&self.state).is_consumed(queue.name())
    }

    async fn declare_topology(&self) -> Result<(), BrokerError> {
        Ok(())
    }

    /// No other task relies on a task of this broker.
    fn vital(&self) -> Vital {
        Vital::new("broker")
    }

    fn connection(&self) -> watch::Receiver<ConnectionState> {
        self.connection.subscribe()
    }

    async fn stop_consuming(&self) {
        self.stopping.cancel();
        self.registered.send_replace(false);
        let mut state = lock(&self.state);
        for id in lock(&self.consumers).iter() {
            state.cancel(*id);
        }
    }

    async fn close(&self) {
        self.stop_consuming().await;
        self.connection
            .send_replace(ConnectionState::Down("closed".to_owned()));
        let mut state = lock(&self.state);
        for id in lock(&self.consumers).drain(..) {
            state.remove(&self.state, id);
        }
    }
}

/// Settles a delivery, unless its consumer is gone.
#[derive(Debug)]
struct Settlement {
    state: Arc<Mutex<State>>,
    consumer: ConsumerId,
    tag: u64,
}

#[async_trait]
impl Settle for Settlement {
    async fn acknowledge(self: Box<Self>) {
        lock(&self.state).settle(&self.state, self.consumer, self.tag, state::Verdict::Done);
    }

    async fn reject(self: Box<Self>) {
        lock(&self.state).settle(&self.state, self.consumer, self.tag, state::Verdict::Failed);
    }

    async fn give_back(self: Box<Self>) {
        lock(&self.state).settle(
            &self.state,
            self.consumer,
            self.tag,
            state::Verdict::GivenBack,
        );
    }
}

/// For results, which need no settlement.
#[derive(Debug)]
struct Settled;

#[async_trait]
impl Settle for Settled {
    async fn acknowledge(self: Box<Self>) {}
    async fn reject(self: Box<Self>) {}
    async fn give_back(self: Box<Self>) {}
}
