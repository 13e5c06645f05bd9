//! Sends a scenario to the running service over REST, as its clients do, and waits for its end.

use std::time::{Duration, Instant};

use reqwest::{Client, Method, RequestBuilder};
use serde_json::{Value, json};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::scenario::Scenario;
use crate::config::Fault;
use crate::domain::{OperationKind, OperationStatus, PaymentStatus, WALLET};
use crate::processors::simulated::SimulatedIssuer;
use crate::wire::operation::RefundObject;
use crate::wire::payment::{NextActionObject, PaymentObject};

/// Between two looks at a refund: there is no waiting for one by REST.
const PAUSE: Duration = Duration::from_millis(100);

/// How long an attempt may take to be closed once its shopper's time is over.
const CLOSED_WITHIN: Duration = Duration::from_secs(30);

/// How long one request may take, waiting included.
const REQUEST: Duration = Duration::from_secs(60);

/// Why a scenario could not be sent.
#[derive(Debug, thiserror::Error)]
pub(super) enum NotSent {
    #[error("nothing answers at {0}: is the service running? ({1})")]
    NotReached(String, reqwest::Error),
    #[error(
        "{0} is not this service, or a release without the command's check: `GET /` does not name its processor"
    )]
    NotThisService(String),
    #[error(
        "the processor of {0} is `{1}`, not the simulated issuer: test cards mean nothing to it"
    )]
    RealProcessor(String, String),
    #[error("{0} answered {1}: {2}")]
    Refused(String, u16, String),
    #[error("{0} did not end within {1} s; `payment-service payments show` says what it waits for")]
    NoOutcome(String, u64),
    #[error("{}", .0.iter().map(ToString::to_string).collect::<Vec<_>>().join("; "))]
    Configuration(Vec<Fault>),
    #[error("an answer cannot be read: {0}")]
    Unreadable(String),
    #[error(transparent)]
    Http(#[from] reqwest::Error),
}

/// How a scenario ended.
pub(super) struct Ended {
    pub payment: PaymentObject,
    pub refund: Option<RefundObject>,
    /// What should have happened, in words; none if everything did.
    pub broken: Option<String>,
    /// When the shopper's time is over, RFC 3339, if that is what the payment waits for.
    pub waits_until: Option<String>,
    pub took: Duration,
}

/// The running service.
pub(super) struct Service {
    http: Client,
    pub url: String,
    key: Option<String>,
    /// For each wait.
    patience: Duration,
}

impl Service {
    pub(super) fn new(
        url: &str,
        key: Option<String>,
        patience: Duration,
    ) -> Result<Self, reqwest::Error> {
        // No payment leaves for a proxy that the environment happens to name.
        let http = Client::builder().no_proxy().timeout(REQUEST).build()?;
        Ok(Self {
            http,
            url: url.trim_end_matches('/').to_owned(),
            key,
            patience,
        })
    }

    /// Refuses a service whose processor is not the simulated issuer.
    pub(super) async fn check(&self) -> Result<(), NotSent> {
        let request = self.request(Method::GET, "/");
        let request = request.header("Accept", "application/json");
        let answer = request.send().await;
        let answer = answer.map_err(|error| NotSent::NotReached(self.url.clone(), error))?;
        let about: Value = answer.json().await.unwrap_or_default();
        match (about["service"].as_str(), about["processor"].as_str()) {
            (Some(env!("CARGO_PKG_NAME")), Some(SimulatedIssuer::NAME)) => Ok(()),
            (Some(env!("CARGO_PKG_NAME")), Some(other)) => {
                Err(NotSent::RealProcessor(self.url.clone(), other.to_owned()))
            }
            _ => Err(NotSent::NotThisService(self.url.clone())),
        }
    }

    /// Sends it, and waits until nothing is under way any more.
    pub(super) async fn run(&self, scenario: &Scenario) -> Result<Ended, NotSent> {
        let began = Instant::now();
        let created = self.create(scenario).await?;
        let id = created.payment_id.0;
        let mut payment = self.outcome(id).await?;
        let mut waits_until = None;
        if let Some(action) = payment.next_action.take() {
            self.approve(&action.url).await?;
            let is_long = scenario.ends_when_the_time_is_over() && self.is_too_long(&action)?;
            if is_long {
                payment = self.outcome(id).await?;
                waits_until = Some(action.expires_at);
            } else {
                payment = self.approved(id).await?;
            }
        }
        let promised = match waits_until {
            Some(_) => (PaymentStatus::RequiresAction, None),
            None => scenario.authorized(self.tries(id).await?),
        };
        let mut broken = (promised != (payment.status, payment.decline_code.clone()))
            .then(|| format!("{} ({})", promised.0, promised.1.as_deref().unwrap_or("-")));
        let mut refund = None;
        match scenario.operation {
            Some(kind) if broken.is_none() => {
                if kind == OperationKind::Refund {
                    let ended = self.refund(id, scenario).await?;
                    let promised = scenario.refunded();
                    broken = (ended.status != promised)
                        .then(|| format!("a refund that is {}", promised.as_str()));
                    refund = Some(ended);
                } else {
                    let promised = scenario.operated(kind);
                    self.operate(id, kind).await?;
                    payment = self.outcome(id).await?;
                    broken = (payment.status != promised).then(|| promised.to_string());
                }
            }
            _ => {}
        }
        if refund.is_some() {
            payment = self.outcome(id).await?;
        }
        Ok(Ended {
            payment,
            refund,
            broken,
            waits_until,
            took: began.elapsed(),
        })
    }

    async fn create(&self, scenario: &Scenario) -> Result<PaymentObject, NotSent> {
        let order = time::OffsetDateTime::now_utc().unix_timestamp();
        let mut body = json!({ "order_id": order, "user_id": 1, "total_amount": 20 });
        if scenario.wallet {
            body["payment_method"] = json!({ "type": WALLET });
        } else {
            body["card_token"] = scenario.card.token.into();
        }
        if scenario.is_captured_later() {
            body["capture_method"] = "manual".into();
        }
        let request = self.request(Method::POST, "/payments");
        read(self.answer(keyed(request).json(&body)).await?)
    }

    /// Approves the payment on the page of the simulated issuer, as its shopper.
    async fn approve(&self, url: &str) -> Result<(), NotSent> {
        let approve = self.http.post(url);
        let approve = approve.header("Content-Type", "application/x-www-form-urlencoded");
        let answer = approve.body("choice=approve").send().await?;
        if answer.status().is_success() {
            return Ok(());
        }
        let status = answer.status().as_u16();
        Err(NotSent::Refused(
            url.to_owned(),
            status,
            "no reason given".to_owned(),
        ))
    }

    /// Whether the shopper's time is longer than the patience.
    fn is_too_long(&self, action: &NextActionObject) -> Result<bool, NotSent> {
        let ends = OffsetDateTime::parse(&action.expires_at, &Rfc3339);
        let ends = ends.map_err(|error| NotSent::Unreadable(error.to_string()))?;
        Ok(ends - OffsetDateTime::now_utc() > self.patience)
    }

    /// The payment once the service has found out what its shopper did.
    async fn approved(&self, id: i64) -> Result<PaymentObject, NotSent> {
        let deadline = Instant::now() + self.patience + CLOSED_WITHIN;
        loop {
            let payment = self.outcome(id).await?;
            if payment.status != PaymentStatus::RequiresAction {
                return Ok(payment);
            }
            self.still_waiting(deadline, &format!("payment {id}"))?;
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Captures or voids the payment.
    async fn operate(&self, id: i64, kind: OperationKind) -> Result<(), NotSent> {
        let path = match kind {
            OperationKind::Void => format!("/payments/{id}/cancel"),
            OperationKind::Capture | OperationKind::Refund => format!("/payments/{id}/capture"),
        };
        let request = keyed(self.request(Method::POST, &path)).json(&json!({}));
        self.answer(request).await.map(|_| ())
    }

    /// The payment once it is not processing any more.
    async fn outcome(&self, id: i64) -> Result<PaymentObject, NotSent> {
        let deadline = Instant::now() + self.patience;
        loop {
            let request = self.request(Method::GET, &format!("/payments/{id}"));
            let left = deadline.saturating_duration_since(Instant::now());
            let request = request.header("Prefer", format!("wait={}", left.as_secs().min(20)));
            let payment: PaymentObject = read(self.answer(request).await?)?;
            if payment.status != PaymentStatus::Processing {
                return Ok(payment);
            }
            self.still_waiting(deadline, &format!("payment {id}"))?;
            if left < Duration::from_secs(1) {
                tokio::time::sleep(PAUSE).await;
            }
        }
    }

    /// Refunds the payment, and waits for the refund's end; a refund that fails afterwards has succeeded before.
    async fn refund(&self, id: i64, scenario: &Scenario) -> Result<RefundObject, NotSent> {
        let request = self.request(Method::POST, &format!("/payments/{id}/refunds"));
        let request = keyed(request).json(&json!({ "reason": "triggered" }));
        let mut refund: RefundObject = read(self.answer(request).await?)?;
        let path = format!("/refunds/{}", refund.refund_id);
        let deadline = Instant::now() + self.patience;
        let promised = scenario.refunded();
        while refund.status == OperationStatus::Pending
            || (promised == OperationStatus::Failed && refund.status == OperationStatus::Succeeded)
        {
            self.still_waiting(deadline, &format!("refund {}", refund.refund_id))?;
            tokio::time::sleep(PAUSE).await;
            refund = read(self.answer(self.request(Method::GET, &path)).await?)?;
        }
        Ok(refund)
    }

    /// How many calls the authorization took.
    async fn tries(&self, id: i64) -> Result<u32, NotSent> {
        let request = self.request(Method::GET, &format!("/payments/{id}/events"));
        let history = self.answer(request).await?;
        let events = history["data"].as_array().map_or(&[][..], Vec::as_slice);
        let tries = events.iter().filter_map(|event| event["try"].as_u64());
        Ok(tries
            .max()
            .and_then(|tries| u32::try_from(tries).ok())
            .unwrap_or(1))
    }

    fn still_waiting(&self, deadline: Instant, what: &str) -> Result<(), NotSent> {
        if Instant::now() < deadline {
            return Ok(());
        }
        Err(NotSent::NoOutcome(what.to_owned(), self.patience.as_secs()))
    }

    fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.url));
        match &self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    async fn answer(&self, request: RequestBuilder) -> Result<Value, NotSent> {
        let answer = request.send().await?;
        let (status, url) = (answer.status(), answer.url().to_string());
        let body: Value = answer.json().await.unwrap_or_default();
        if status.is_success() {
            return Ok(body);
        }
        let sentence = body["error"].as_str().unwrap_or("no reason given");
        Err(NotSent::Refused(url, status.as_u16(), sentence.to_owned()))
    }
}

/// A request that creates something, which a gateway must not do twice.
fn keyed(request: RequestBuilder) -> RequestBuilder {
    request.header("Idempotency-Key", uuid::Uuid::now_v7().to_string())
}

fn read<T: serde::de::DeserializeOwned>(body: Value) -> Result<T, NotSent> {
    serde_json::from_value(body).map_err(|error| NotSent::Unreadable(error.to_string()))
}
