//! The REST interface as a calling application uses it.

use std::future::Future;
use std::net::SocketAddr;
use std::ops::Index;
use std::time::Duration;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};

use crate::contracts::answers::{Asked, Came};

/// Much longer than any step takes.
pub(super) const LIMIT: Duration = Duration::from_secs(60);

/// One client of one instance.
#[derive(Debug, Clone)]
pub struct Api {
    http: reqwest::Client,
    base: String,
    key: Option<&'static str>,
    is_described: bool,
}

/// A response.
#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    pub headers: HeaderMap,
    /// Null if it is not JSON.
    pub body: Value,
}

impl Index<&str> for Answer {
    type Output = Value;

    fn index(&self, name: &str) -> &Value {
        &self.body[name]
    }
}

impl Answer {
    /// Returns it, or fails if it has another status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{:?}: {}", self.headers, self.body);
        self
    }

    /// A header's text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or("")
    }

    #[track_caller]
    pub fn id(&self) -> i64 {
        self.body["payment_id"].as_i64().expect("a payment_id")
    }

    /// The invalid fields, each with its code.
    pub fn faults(&self) -> Vec<(&str, &str)> {
        let errors = self.body["errors"].as_array().expect("errors");
        // Each error has its own message.
        assert!(
            errors
                .iter()
                .all(|error| !field(error, "message").is_empty())
        );
        let mut faults: Vec<(&str, &str)> = errors
            .iter()
            .map(|error| (field(error, "field"), field(error, "code")))
            .collect();
        faults.sort_unstable();
        faults
    }
}

/// A text field.
#[track_caller]
pub fn field<'v>(value: &'v Value, name: &str) -> &'v str {
    value[name]
        .as_str()
        .unwrap_or_else(|| panic!("no {name} in {value}"))
}

impl Api {
    pub fn new(address: SocketAddr) -> Self {
        Self {
            http: reqwest::Client::builder().no_proxy().build().unwrap(),
            base: format!("http://{address}"),
            key: None,
            is_described: true,
        }
    }

    /// The same, for a payment method that a test has added: the description contains only those of the service itself.
    pub fn beyond_the_description(&self) -> Self {
        Self {
            is_described: false,
            ..self.clone()
        }
    }

    /// The same instance, called by the client with this key.
    pub fn with_key(&self, key: &'static str) -> Self {
        Self {
            key: Some(key),
            ..self.clone()
        }
    }

    /// The same instance, called without a key.
    pub fn without_key(&self) -> Self {
        Self {
            key: None,
            ..self.clone()
        }
    }

    /// The host and port that it listens on.
    pub fn address(&self) -> &str {
        self.base.trim_start_matches("http://")
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        let request = self.http.request(method, format!("{}{path}", self.base));
        match self.key {
            Some(key) => request.bearer_auth(key),
            None => request,
        }
    }

    pub async fn send(&self, request: RequestBuilder) -> Answer {
        let request = request.build().expect("a request");
        let asked = Asked::of(&request);
        let response = self.http.execute(request).await.expect("an answer");
        let (status, headers) = (response.status().as_u16(), response.headers().clone());
        let text = response.bytes().await.expect("a whole answer");
        if self.is_described {
            asked.must_allow(&Came {
                status,
                headers: &headers,
                body: &text,
            });
        }
        let body = serde_json::from_slice(&text).unwrap_or_default();
        Answer {
            status,
            headers,
            body,
        }
    }

    pub async fn get(&self, path: &str) -> Answer {
        self.send(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: Value) -> Answer {
        self.send(self.request(Method::POST, path).json(&body))
            .await
    }

    /// A `POST` with headers.
    pub async fn post_with(&self, path: &str, headers: &[(&str, &str)], body: Value) -> Answer {
        let request = self.request(Method::POST, path).json(&body);
        let with =
            |request: RequestBuilder, (name, value): &(&str, &str)| request.header(*name, *value);
        self.send(headers.iter().fold(request, with)).await
    }

    /// A new payment for this order, without a card.
    pub async fn create(&self, order_id: i64) -> i64 {
        let order = json!({ "order_id": order_id, "user_id": 1, "total_amount": 99.53 });
        self.post("/payments", order).await.is(202).id()
    }

    /// A new payment with one of the listed cards.
    pub async fn pay(&self, order_id: i64, token: &str) -> i64 {
        let order = json!({
            "order_id": order_id, "user_id": 1, "total_amount": 99.53, "card_token": token,
        });
        self.post("/payments", order).await.is(202).id()
    }

    /// A card token of this client.
    pub async fn card_token(&self, number: &str) -> String {
        let answer = self.post("/card-tokens", card(number)).await.is(201);
        field(&answer.body, "card_token").to_owned()
    }

    /// The payment once it is no longer processing.
    pub async fn outcome(&self, id: i64) -> Value {
        let path = format!("/payments/{id}");
        let request = self.request(Method::GET, &path).header("Prefer", "wait=20");
        let answer = self.send(request).await.is(200);
        assert_ne!(answer["status"], "processing", "no outcome in time");
        answer.body
    }

    /// The history of a payment.
    pub async fn events(&self, id: i64) -> Vec<Value> {
        let answer = self.get(&format!("/payments/{id}/events")).await.is(200);
        answer["data"].as_array().expect("events").clone()
    }

    /// The kinds of the events in its history, in order.
    pub async fn history(&self, id: i64) -> Vec<String> {
        let events = self.events(id).await;
        let kind = |event: &Value| field(event, "type").to_owned();
        events.iter().map(kind).collect()
    }
}

/// A card with this number, in the fields of the old service.
pub fn card(number: &str) -> Value {
    json!({ "cardNumber": number, "cardCode": "123", "expirationDate": "2035-01" })
}

/// Repeats a check until it succeeds.
pub async fn eventually<F: Future<Output = bool>>(what: &str, ask: impl FnMut() -> F) {
    eventually_within(LIMIT, what, ask).await;
}

/// The same with a longer time limit.
pub async fn eventually_within<F: Future<Output = bool>>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> F,
) {
    let asking = async {
        while !ask().await {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(limit, asking)
        .await
        .unwrap_or_else(|_| panic!("not in time: {what}"));
}

/// The payment once it has this status.
pub async fn becomes(api: &Api, id: i64, status: &str) -> Value {
    let path = format!("/payments/{id}");
    eventually(&format!("it is {status}"), || async {
        api.get(&path).await.is(200)["status"] == status
    })
    .await;
    api.get(&path).await.body
}
