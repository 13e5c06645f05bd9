//! The whole path: gateway, api and worker as separate processes on real servers; and a caller.

use std::net::SocketAddr;

use reqwest::header::HeaderMap;
use reqwest::{Method, RequestBuilder};
use serde_json::{Value, json};
use sha2::{Digest, Sha256};
use tempfile::TempDir;

use super::krakend::{API_KEY, Krakend};
use crate::support::process::{Process, Settings};
use crate::support::servers::fresh_servers;

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");
/// The API key of another client of the same service.
pub const KIOSK_KEY: &str = "gateway-test-key-of-another-client";

/// Everything, from the gateway to the servers.
pub struct Fixture {
    pub gateway: Caller,
    /// The service itself, without the gateway.
    pub service: Caller,
    _processes: (Krakend, Process, Process),
    _folder: TempDir,
}

impl Fixture {
    pub async fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let (database, amqp) = fresh_servers().await.unwrap();
        let settings = Settings::servers(&database, &amqp)
            .with("CLIENTS_FILE", &clients_file(&folder))
            .with("ISSUER_LATENCY", "1ms")
            .with("LOG", "error");
        let mut setup = Process::spawn(PROGRAM, "setup", &settings);
        assert!(setup.wait(), "setup fails");
        let api = Process::start(PROGRAM, "api", &settings).await;
        let krakend = Krakend::start(api.api, &[]).await;
        // Shoppers come through the gateway; the api itself needs only some address.
        let public_url = format!("http://{}/payments-api", krakend.address);
        let settings = settings.with("PUBLIC_URL", &public_url);
        let worker = Process::start(PROGRAM, "worker", &settings).await;
        Self {
            gateway: Caller::new(krakend.address),
            service: Caller::new(api.api),
            _processes: (krakend, api, worker),
            _folder: folder,
        }
    }

    /// The number of a payment that was accepted through the gateway, and waits for a card.
    pub async fn payment(&self) -> i64 {
        let order = order(1);
        let posted = self.gateway.post("/payments-api/payments", &order);
        posted.await.is(202).payment_id()
    }
}

fn clients_file(folder: &TempDir) -> String {
    let client = |name: &str, key: &str| {
        let digest = hex::encode(Sha256::digest(key));
        json!({ "name": name, "api_key_sha256": [digest], "rabbitmq_user": name })
    };
    let clients = [client("store-manager", API_KEY), client("kiosk", KIOSK_KEY)];
    let file = folder.path().join("clients.json");
    std::fs::write(&file, json!({ "clients": clients }).to_string()).unwrap();
    file.display().to_string()
}

/// A caller of an address, without a key unless one is given.
pub struct Caller {
    http: reqwest::Client,
    address: SocketAddr,
}

impl Caller {
    pub fn new(address: SocketAddr) -> Self {
        let http = reqwest::Client::builder()
            .no_proxy()
            .redirect(reqwest::redirect::Policy::none())
            .build()
            .unwrap();
        Self { http, address }
    }

    pub fn request(&self, method: Method, path: &str) -> RequestBuilder {
        self.http.request(method, self.url(path))
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    pub async fn get(&self, path: &str) -> Answer {
        Answer::to(self.request(Method::GET, path)).await
    }

    pub async fn post(&self, path: &str, body: &Value) -> Answer {
        Answer::to(self.request(Method::POST, path).json(body)).await
    }

    /// With this header.
    pub async fn post_with(&self, path: &str, header: (&str, &str), body: &Value) -> Answer {
        let request = self.request(Method::POST, path).json(body);
        Answer::to(request.header(header.0, header.1)).await
    }
}

/// A response.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: HeaderMap,
    /// Null if it is not JSON.
    pub body: Value,
}

impl Answer {
    pub async fn to(request: RequestBuilder) -> Self {
        let answer = request.send().await.expect("an answer");
        let (status, headers) = (answer.status().as_u16(), answer.headers().clone());
        let bytes = answer.bytes().await.expect("a whole answer");
        Self {
            status,
            headers,
            body: serde_json::from_slice(&bytes).unwrap_or_default(),
        }
    }

    /// Returns it, or fails if it has another status.
    #[track_caller]
    pub fn is(self, status: u16) -> Self {
        assert_eq!(self.status, status, "{self:?}");
        self
    }

    /// A header's text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name);
        value.map_or("", |value| value.to_str().unwrap())
    }

    #[track_caller]
    pub fn payment_id(&self) -> i64 {
        self.body["payment_id"].as_i64().expect("a payment_id")
    }
}

/// What Store Manager sends when an order is placed.
pub fn order(order_id: i64) -> Value {
    json!({ "user_id": 1, "order_id": order_id, "total_amount": 99.53 })
}

/// The same with one of the test cards.
pub fn order_paid_with(order_id: i64, token: &str) -> Value {
    let mut order = order(order_id);
    order["card_token"] = token.into();
    order
}

/// What an old caller sends when the shopper pays: numbers, and a card number whose check digit is wrong.
pub fn old_card() -> Value {
    json!({ "cardNumber": 9_999_999_999_999_i64, "cardCode": 123, "expirationDate": "2030-01-05" })
}
