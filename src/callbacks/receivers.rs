//! The receivers as this process knows them: how many calls each has under way, and whether it answers. What one of them
//! does delays no other.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::http::Uri;
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::Instant;

use super::circuit::{Change, Circuit, Verdict};
use super::settings::{Callback, CallbackSettings};
use crate::domain::ClientName;

/// Events of one client in hand, for each that is being called for. More go back, so that the hands are free for others.
const IN_HAND: usize = 8;

/// A receiver that counts as away is asked at least so often.
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

/// When an event comes again for which there was no hand free, at the soonest.
const CROWDED: Duration = Duration::from_secs(1);

/// All of them.
pub struct Receivers {
    settings: CallbackSettings,
    known: Mutex<HashMap<ClientName, Arc<Receiver>>>,
}

/// One.
pub struct Receiver {
    client: ClientName,
    url: Uri,
    settings: CallbackSettings,
    in_hand: Arc<Semaphore>,
    calls: Arc<Semaphore>,
    circuit: Mutex<Circuit>,
}

/// The right to make one call.
pub struct Turn {
    _in_hand: OwnedSemaphorePermit,
    _call: OwnedSemaphorePermit,
}

impl Receivers {
    /// Nobody so far.
    pub fn new(settings: CallbackSettings) -> Self {
        Self {
            settings,
            known: Mutex::default(),
        }
    }

    /// The client's; at another address it is another one.
    pub fn of(&self, client: &ClientName, callback: &Callback) -> Arc<Receiver> {
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(receiver) = known.get(client).filter(|it| it.url == callback.url) {
            return Arc::clone(receiver);
        }
        let calls = self.settings.concurrency;
        let receiver = Arc::new(Receiver {
            client: client.clone(),
            url: callback.url.clone(),
            settings: self.settings.clone(),
            in_hand: Arc::new(Semaphore::new(calls * IN_HAND)),
            calls: Arc::new(Semaphore::new(calls)),
            circuit: Mutex::default(),
        });
        known.insert(client.clone(), Arc::clone(&receiver));
        receiver
    }
}

impl Receiver {
    /// Waits for its turn; an error says how long an event of this age should be left alone instead.
    pub async fn turn(&self, age: time::Duration) -> Result<Turn, Duration> {
        // What cannot be called for is not kept waiting in line.
        self.is_away().map_or(Ok(()), Err)?;
        let in_hand = Arc::clone(&self.in_hand).try_acquire_owned();
        let in_hand = in_hand.map_err(|_| crowded(age, self.settings.retry.max_interval))?;
        let call = Arc::clone(&self.calls).acquire_owned().await;
        let call = call.map_err(|_| CROWDED)?;
        match self.with_circuit(|circuit| circuit.ask(Instant::now(), self.settings.timeout)) {
            Verdict::Call => Ok(Turn {
                _in_hand: in_hand,
                _call: call,
            }),
            Verdict::Wait => Err(self.pause()),
        }
    }

    /// Notes how a call ended.
    pub fn note(&self, delivered: bool) {
        let pause = |times| self.settings.retry.delay_after(times).min(LONGEST_PAUSE);
        let change = self.with_circuit(|circuit| {
            if delivered {
                circuit.succeeded()
            } else {
                circuit.failed(Instant::now(), pause)
            }
        });
        let client = self.client.as_str();
        match change {
            Some(Change::Opened) => {
                tracing::warn!(
                    client,
                    "the receiver of callbacks fails: it is left alone for a while"
                );
            }
            Some(Change::Closed) => tracing::info!(client, "the receiver of callbacks is back"),
            None => {}
        }
    }

    fn is_away(&self) -> Option<Duration> {
        let away = self.with_circuit(|circuit| circuit.is_open(Instant::now()));
        away.then(|| self.pause())
    }

    /// Longer, the longer it has been away: what waits costs a little each time it comes.
    fn pause(&self) -> Duration {
        let times = self.with_circuit(|circuit| circuit.times());
        self.settings.retry.delay_after(times)
    }

    fn with_circuit<T>(&self, act: impl FnOnce(&mut Circuit) -> T) -> T {
        act(&mut self.circuit.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// For as long as the event has been on its way: coming each second to find no hand free would cost payments their time.
fn crowded(age: time::Duration, longest: Duration) -> Duration {
    let age = age.try_into().unwrap_or(Duration::ZERO);
    let pause = age.min(longest.min(LONGEST_PAUSE)).max(CROWDED);
    pause.mul_f64(rand::random_range(0.5..1.5))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_event_for_which_no_hand_is_free_comes_less_often_the_older_it_is() {
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
