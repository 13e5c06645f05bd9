//! `POST /webhooks/{processor}`: events of payment platforms. Verified over the raw body before anything in it is read, and
//! answered once the event is stored. Needs no API key.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use axum::Json;
use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request, State};
use axum::http::Uri;
use serde_json::{Value, json};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::time::timeout;

use super::Api;
use super::body;
use super::problem::{Kind, Problem};
use crate::metric;
use crate::processors::Processor;
use crate::processors::notifications::{Notification, NotificationRefused, PlatformEvent};

/// Longest body, in bytes.
pub const LIMIT: usize = 256 * 1024;

/// Webhooks of one processor that are verified and stored at the same time: forged ones must not hold up requests of clients.
const AT_ONCE: usize = 32;

/// How long one may wait for its turn. The platform sends it again.
const TURN: Duration = Duration::from_secs(2);

/// How long verifying may take: one platform has to be asked for that.
const PATIENCE: Duration = Duration::from_secs(10);

/// The turns of the webhooks, by processor: many for one hold up no others.
#[derive(Debug, Default)]
pub struct Turns(Mutex<HashMap<String, Arc<Semaphore>>>);

impl Turns {
    /// A turn; none if there are too many webhooks for this processor.
    async fn take(&self, processor: &str) -> Option<OwnedSemaphorePermit> {
        let turns = {
            let mut turns = self.0.lock().unwrap_or_else(PoisonError::into_inner);
            let turns = turns.entry(processor.to_owned());
            Arc::clone(turns.or_insert_with(|| Arc::new(Semaphore::new(AT_ONCE))))
        };
        timeout(TURN, turns.acquire_owned()).await.ok()?.ok()
    }
}

/// 200 once the event is stored, or if there is nothing to store.
pub async fn receive(
    State(api): State<Arc<Api>>,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Json<Value>, Problem> {
    let unknown = Problem::unknown_address(request.uri());
    let Ok(Path(name)) = name else {
        return Err(unknown);
    };
    let Some(platform) = api.acceptor.processors.listed(&name) else {
        return Err(unknown);
    };
    let uri = request.uri().clone();
    let headers = request.headers().clone();
    let body = body::read_up_to(LIMIT, request, &api).await?;
    let notification = Notification {
        headers: &headers,
        body: &body,
        now: (api.now)(),
    };
    let Some(_turn) = api.webhooks.take(&name).await else {
        count("too_many");
        return Err(unavailable());
    };
    let Some(event) = verify(platform.as_ref(), &notification, &uri).await? else {
        count("duplicate");
        return Ok(received());
    };
    let noted = api.acceptor.note_event(&name, &event).await;
    let result = noted.as_ref().map_or("not_stored", |noted| noted.as_str());
    count(result);
    tracing::debug!(
        processor = name,
        event = event.id,
        kind = event.kind,
        result,
        "a webhook"
    );
    noted?;
    Ok(received())
}

fn received() -> Json<Value> {
    Json(json!({ "received": true }))
}

/// The event; none if it is stored already.
async fn verify(
    platform: &dyn Processor,
    notification: &Notification<'_>,
    uri: &Uri,
) -> Result<Option<PlatformEvent>, Problem> {
    let verified = timeout(PATIENCE, platform.notified(notification)).await;
    let refused = match verified.unwrap_or(Err(NotificationRefused::Unavailable)) {
        Ok(event) => return Ok(Some(event)),
        Err(refused) => refused,
    };
    match refused {
        NotificationRefused::Repeated => Ok(None),
        NotificationRefused::NotConfigured => Err(Problem::unknown_address(uri)),
        NotificationRefused::NotGenuine(reason) => {
            count("not_genuine");
            tracing::warn!(
                reason,
                "a webhook was refused: is its secret in PROCESSORS_FILE, and are the clocks right?"
            );
            Err(not_genuine())
        }
        NotificationRefused::Malformed(reason) => {
            count("malformed");
            tracing::warn!(reason, "a signed webhook cannot be read");
            Err(malformed())
        }
        NotificationRefused::Unavailable => {
            count("not_verified");
            Err(unavailable())
        }
    }
}

fn count(result: &'static str) {
    metrics::counter!(metric::PLATFORM_EVENTS, "result" => result).increment(1);
}

/// The labels of [`metric::PLATFORM_EVENTS`].
pub const RESULTS: [&str; 9] = [
    "stored",
    "duplicate",
    "other_installation",
    "unused",
    "not_stored",
    "not_genuine",
    "malformed",
    "not_verified",
    "too_many",
];

/// The answer to a webhook that nobody who knows the secret has just signed.
pub(super) fn not_genuine() -> Problem {
    let sentence = "The webhook's signature is missing, wrong or too old.";
    Problem::new(Kind::NotGenuine, sentence)
}

/// The answer to a signed body that is not an event.
pub(super) fn malformed() -> Problem {
    Problem::new(Kind::BadRequest, "The body is signed, but is not an event.")
}

/// The platform sends it again.
pub(super) fn unavailable() -> Problem {
    let sentence = "The webhook cannot be verified or stored now; send it again.";
    Problem::new(Kind::Unavailable, sentence)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn many_webhooks_for_one_processor_hold_up_no_others() {
        let turns = Turns::default();
        let mut taken = Vec::new();
        for _ in 0..AT_ONCE {
            taken.push(turns.take("paypal").await.expect("a turn"));
        }
        assert!(turns.take("paypal").await.is_none(), "too many");
        assert!(turns.take("stripe").await.is_some());
        taken.pop();
        assert!(turns.take("paypal").await.is_some());
    }
}
