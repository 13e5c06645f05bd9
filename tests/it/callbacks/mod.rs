//! Callbacks, with a receiver in the test that answers correctly, wrongly, late or not at all.

mod alone;
mod clocks;
mod delivery;
mod https;
mod processes;
pub mod receiver;
mod store_manager;
mod trouble;

use std::future::Future;
use std::sync::Arc;

use payment_service::broker::Consumer;
use serde_json::{Value, json};

use crate::app::{Backend, STORE, Setup, TestApp, run_on};
use receiver::Receiver;

/// The bytes 1 to 32.
pub const SECRET: &str = "whsec_AQIDBAUGBwgJCgsMDQ4PEBESExQVFhcYGRobHB0eHyA=";

/// `callback` of a client, to a receiver on this machine.
pub fn callback(receiver: &Receiver) -> Value {
    json!({ "url": receiver.url("/hook"), "secrets": [SECRET], "allow_private_addresses": true })
}

/// Short intervals between calls.
pub fn quick() -> Setup {
    Setup::new()
        // A busy machine must not make a payment fail.
        .with("PROCESSOR_TIMEOUT", "5s")
        .with("CALLBACK_TIMEOUT", "2s")
        .with("CALLBACK_RETRY_INITIAL", "50ms")
        .with("CALLBACK_RETRY_MAX_INTERVAL", "200ms")
}

/// The store has a callback, the kiosk has none.
pub fn told_to_the_store(receiver: &Receiver) -> Setup {
    quick().with_callback(STORE, callback(receiver))
}

/// The same, abandoned after a short time.
pub fn given_up_soon(receiver: &Receiver) -> Setup {
    told_to_the_store(receiver).with("CALLBACK_GIVE_UP_AFTER", "500ms")
}

/// Runs the same test embedded and with servers, each with its own receiver.
pub async fn with_receiver<F, T>(setup: fn(&Receiver) -> Setup, test: F)
where
    F: Fn(Arc<TestApp>, Receiver) -> T + Copy + Send + Sync + 'static,
    T: Future<Output = ()> + Send + 'static,
{
    let runs = [Backend::Embedded, Backend::Servers].map(|backend| {
        let run = tokio::spawn(async move {
            let receiver = Receiver::start().await;
            let setup = setup(&receiver);
            run_on(setup, backend, |app| test(app, receiver.clone())).await;
        });
        (backend, run)
    });
    let mut failed = Vec::new();
    for (backend, run) in runs {
        if run.await.is_err() {
            failed.push(backend);
        }
    }
    assert!(failed.is_empty(), "it failed on {failed:?}, see above");
}

/// The dead letter of an abandoned event, with its reason.
pub async fn given_up(app: &TestApp, letters: &mut Consumer) -> (Value, String) {
    let (letter, reason) = app.dead_letter(letters).await;
    assert_eq!(letter["reason"], *reason);
    assert_eq!(letter["routing_key"], "payments.callbacks");
    (letter, reason)
}
