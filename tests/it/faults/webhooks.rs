//! The webhooks of a drill's platforms: sent to any api until it has taken them, and late, twice, never or out of order while a
//! strike says so.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use reqwest::Client;
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::sleep;
use tokio_util::sync::CancellationToken;

use super::load::Apis;
use super::method::Platform;
use crate::platforms::paypal::stand_in::GENUINE;
use crate::platforms::webhooks::signed_now;

/// A platform sends a webhook again after this time; real ones wait for minutes.
const PAUSE: Duration = Duration::from_millis(500);

const CERTIFICATE: &str = "https://api.paypal.com/v1/notifications/certs/CERT-1";

/// How webhooks are delivered.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Delivery {
    /// At once, and again until an api has taken it.
    #[default]
    Usual,
    /// Twice at the same time, and once more afterwards.
    Twice,
    /// Not until the delivery is the usual one again; then the last one first.
    Late,
    /// Not at all.
    Never,
}

/// Delivers webhooks.
#[derive(Debug, Default)]
pub struct Courier {
    state: Mutex<State>,
    /// Webhooks that were taken over so far.
    taken_over: AtomicUsize,
}

#[derive(Debug, Default)]
struct State {
    delivery: Delivery,
    held: Vec<(Platform, String)>,
    /// Answers that a platform must never get.
    odd: Vec<String>,
}

/// Where webhooks go.
#[derive(Clone)]
struct Route {
    http: Client,
    apis: Apis,
    stop: CancellationToken,
}

impl Courier {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// From now on webhooks are delivered like this.
    pub fn set(&self, delivery: Delivery) {
        self.state().delivery = delivery;
    }

    /// How many webhooks it was given so far.
    pub fn taken_over(&self) -> usize {
        self.taken_over.load(Ordering::Relaxed)
    }

    /// Answers that a platform must never get.
    pub fn odd(&self) -> Vec<String> {
        self.state().odd.clone()
    }

    /// Delivers what a platform reports, until `stop`.
    pub fn deliver(
        self: Arc<Self>,
        platform: Platform,
        mut reports: UnboundedReceiver<String>,
        apis: Apis,
        stop: CancellationToken,
    ) {
        let http = Client::builder()
            .no_proxy()
            .timeout(Duration::from_secs(10))
            .build()
            .expect("a client");
        let route = Route { http, apis, stop };
        tokio::spawn(async move {
            while !route.stop.is_cancelled() {
                tokio::select! {
                    report = reports.recv() => match report {
                        Some(body) => self.take_over(platform, body, &route),
                        None => return,
                    },
                    () = sleep(PAUSE) => {}
                }
                self.send_held(&route);
            }
        });
    }

    fn take_over(self: &Arc<Self>, platform: Platform, body: String, route: &Route) {
        self.taken_over.fetch_add(1, Ordering::Relaxed);
        let delivery = self.state().delivery;
        let copies = match delivery {
            Delivery::Usual => 1,
            Delivery::Twice => 2,
            Delivery::Never => 0,
            Delivery::Late => {
                self.state().held.push((platform, body));
                return;
            }
        };
        for copy in 0..copies {
            let (courier, route, body) = (Arc::clone(self), route.clone(), body.clone());
            tokio::spawn(async move {
                courier.send(platform, &body, &route).await;
                if copies > 1 && copy == 0 {
                    courier.send(platform, &body, &route).await;
                }
            });
        }
    }

    /// What was held back, the last one first.
    fn send_held(self: &Arc<Self>, route: &Route) {
        let held = {
            let mut state = self.state();
            match state.delivery {
                Delivery::Late => Vec::new(),
                _ => std::mem::take(&mut state.held),
            }
        };
        if held.is_empty() {
            return;
        }
        let (courier, route) = (Arc::clone(self), route.clone());
        tokio::spawn(async move {
            for (platform, body) in held.iter().rev() {
                courier.send(*platform, body, &route).await;
            }
        });
    }

    /// Sends it until an api has taken it.
    async fn send(&self, platform: Platform, body: &str, route: &Route) {
        for turn in 0.. {
            if route.stop.is_cancelled() {
                return;
            }
            let api = {
                let apis = route.apis.lock();
                let apis = apis.unwrap_or_else(PoisonError::into_inner);
                apis[turn % apis.len()]
            };
            let url = format!("http://{api}/webhooks/{}", platform.name());
            let post = route
                .http
                .post(url)
                .header("content-type", "application/json");
            let post = match platform {
                Platform::Stripe => post.header("stripe-signature", signed_now(body)),
                Platform::PayPal => post
                    .header("paypal-auth-algo", "SHA256withRSA")
                    .header("paypal-cert-url", CERTIFICATE)
                    .header("paypal-transmission-id", "1")
                    .header("paypal-transmission-sig", GENUINE)
                    .header("paypal-transmission-time", now()),
            };
            let answer = post.body(body.to_owned()).send().await;
            match answer.map(|answer| answer.status().as_u16()) {
                Ok(200) => return,
                // Not now: the database or the platform is away, or the api has other work.
                Ok(429 | 503) | Err(_) => sleep(PAUSE).await,
                Ok(status) => {
                    let name = platform.name();
                    let what = format!("a webhook of {name}'s is answered with {status}: {body}");
                    return self.state().odd.push(what);
                }
            }
        }
    }
}

/// As PayPal writes it.
fn now() -> String {
    let now = OffsetDateTime::now_utc().format(&Rfc3339);
    now.unwrap_or_default()
}
