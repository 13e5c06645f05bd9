//! The receivers as this process knows them: how many calls each has under way, and whether it answers. A slow or failing
//! receiver does not delay the others.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::failure::Evidence;
use super::settings::CallbackSettings;
use crate::circuit::{Calls, Change, Circuit, Verdict};
use crate::clients::callback::Callback;
use crate::domain::ClientName;

/// Events of one client that this process holds for each call it may have under way. Further ones are put off, to leave
/// room for other clients.
const HELD: usize = 8;

/// Upper limit of the events held for one client, however many calls it may have.
const MOST_HELD: usize = 128;

/// A receiver that counts as down is tested at least this often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// The shortest delay of an event for which there was no room.
const CROWDED: Duration = Duration::from_secs(1);

/// All receivers.
pub struct Receivers {
    settings: CallbackSettings,
    known: Mutex<HashMap<ClientName, Arc<Receiver>>>,
}

/// One receiver.
pub struct Receiver {
    client: ClientName,
    url: Uri,
    settings: CallbackSettings,
    /// Room for events that were not sent before.
    fresh: Arc<Semaphore>,
    /// Room for events that were sent before. It is separate, so that they never take room from new events.
    again: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    /// At most half of the calls may be for events that failed before.
    calls_again: Arc<Semaphore>,
    circuit: Mutex<Circuit>,
}

/// The right to make one call.
pub struct Turn {
    _place: OwnedSemaphorePermit,
    _call_again: Option<OwnedSemaphorePermit>,
    _call: OwnedSemaphorePermit,
}

impl Receivers {
    /// Starts without receivers.
    pub fn new(settings: CallbackSettings) -> Self {
        Self {
            settings,
            known: Mutex::default(),
        }
    }

    /// The client's receiver; a new address counts as a new receiver.
    pub fn of(&self, client: &ClientName, callback: &Callback) -> Arc<Receiver> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = known.get(client).filter(|it| it.url == callback.url) {
            return Arc::clone(receiver);
        }
        let calls = self.settings.concurrency;
        let held = (calls * HELD).min(MOST_HELD).max(calls);
        let places = |number: usize| Arc::new(Semaphore::new(number.max(1)));
        let receiver = Arc::new(Receiver {
            client: client.clone(),
            url: callback.url.clone(),
            settings: self.settings.clone(),
            fresh: places(held),
            again: places(held / 2),
            calls: places(calls),
            calls_again: places(calls / 2),
            circuit: Mutex::default(),
        });
        known.insert(client.clone(), Arc::clone(&receiver));
        receiver
    }
}

impl Receiver {
    /// Waits for the event's turn; an error returns how long to put the event off instead, according to its age.
    pub async fn turn(&self, made: Calls, age: time::Duration) -> Result<Turn, Duration> {
        // An event that cannot be sent now must not wait in line.
        self.is_away(made).map_or(Ok(()), Err)?;
        let places = match made {
            Calls::None => &self.fresh,
            Calls::Some => &self.again,
        };
        let place = Arc::clone(places).try_acquire_owned();
        let place = place.map_err(|_| crowded(age, self.settings.retry.max_interval))?;
        let call_again = match made {
            Calls::None => None,
            Calls::Some => Some(acquire(&self.calls_again).await?),
        };
        let call = acquire(&self.calls).await?;
        let call_takes = self.settings.timeout;
        match self.with_circuit(|circuit| circuit.ask(Instant::now(), made, call_takes)) {
            Verdict::Call => Ok(Turn {
                _place: place,
                _call_again: call_again,
                _call: call,
            }),
            Verdict::Wait => Err(self.pause()),
        }
    }

    /// Records what a call showed about the receiver.
    pub fn note(&self, made: Calls, evidence: Evidence) {
        let pause = |times| self.settings.retry.delay_after(times).min(LONGEST_PAUSE);
        let change = self.with_circuit(|circuit| match evidence {
            Evidence::Answers => circuit.answered(),
            Evidence::Fails => circuit.failed(Instant::now(), made, pause),
            Evidence::Nothing => None,
        });
        let client = self.client.as_str();
        match change {
            Some(Change::Opened) => {
                tracing::warn!(
                    client,
                    "the receiver of callbacks fails: it is not called for a while"
                );
            }
            Some(Change::Closed) => tracing::info!(client, "the receiver of callbacks is back"),
            None => {}
        }
    }

    fn is_away(&self, made: Calls) -> Option<Duration> {
        let away = self.with_circuit(|circuit| circuit.is_open(Instant::now(), made));
        away.then(|| self.pause())
    }

    /// Longer, the longer the receiver has been down: each time a waiting event comes back costs a little work.
    fn pause(&self) -> Duration {
        let times = self.with_circuit(|circuit| circuit.times());
        self.settings.retry.delay_after(times)
    }

    fn with_circuit<T>(&self, act: impl FnOnce(&mut Circuit) -> T) -> T {
        act(&mut self.circuit.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

async fn acquire(calls: &Arc<Semaphore>) -> Result<OwnedSemaphorePermit, Duration> {
    Arc::clone(calls).acquire_owned().await.map_err(|_| CROWDED)
}

/// As long as the event has already been on its way: returning every second to find no room would slow payments down.
fn crowded(age: time::Duration, longest: Duration) -> Duration {
    let age = age.try_into().unwrap_or(Duration::ZERO);
    let pause = age.min(longest.min(LONGEST_PAUSE)).max(CROWDED);
    pause.mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_without_a_free_slot_is_repeated_less_often_the_older_it_is() {
        let quarter = Duration::from_secs(15 * 60);
        for (age, pause) in [(-1, 1), (0, 1), (20, 20), (3600, 60)] {
            let pause = Duration::from_secs(pause);
            let told = crowded(time::Duration::seconds(age), quarter);
            assert!(
                pause / 2 <= told && told <= pause * 3 / 2,
                "{age}: {told:?}"
            );
        }
        assert!(crowded(time::Duration::HOUR, CROWDED) <= CROWDED * 3 / 2);
    }
}
