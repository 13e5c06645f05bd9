//! A stand-in for the gateway that follows krakend.json: paths, headers, the key, and following
//! redirects. The gateway's own tests use the real one, if there is one.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::routing::{MethodFilter, on};
use tokio::net::TcpListener;

use crate::app::Api;

const CONFIGURATION: &str = include_str!("../../../krakend.json");

pub struct Front {
    address: SocketAddr,
    /// The requests so far, as `GET /path`.
    lines: Arc<Mutex<Vec<String>>>,
}

/// One endpoint of krakend.json with the service behind it.
#[derive(Clone)]
struct Route {
    endpoint: String,
    method: Method,
    path: String,
    /// Those that are let through.
    headers: Vec<String>,
    /// Whether the service gets the client's key.
    has_key: bool,
}

impl Front {
    pub async fn start(service: &Api) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        Self::start_on(listener, service)
    }

    /// On an address that the service has to know before it starts, see [`public_url`].
    pub fn start_on(listener: TcpListener, service: &Api) -> Self {
        let address = listener.local_addr().unwrap();
        let lines = Arc::new(Mutex::new(Vec::new()));
        let mut router = Router::new();
        for route in routes() {
            let (service, noted) = (service.clone(), Arc::clone(&lines));
            let filter = MethodFilter::try_from(route.method.clone()).unwrap();
            let endpoint = route.endpoint.clone();
            let forward = async move |Path(values): Path<HashMap<String, String>>,
                                      uri: Uri,
                                      headers: HeaderMap,
                                      body: Bytes| {
                let line = format!("{} {uri}", route.method);
                noted.lock().unwrap().push(line);
                route.forward(&service, &values, &headers, body).await
            };
            router = router.route(&endpoint, on(filter, forward));
        }
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, lines }
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// What a shopper gets.
    pub fn link(&self, id: i64) -> String {
        self.url(&format!("/payments-api/payments/process/{id}"))
    }

    /// What was posted so far.
    pub fn posts(&self) -> usize {
        self.count(|line| line.starts_with("POST "))
    }

    /// How often the page of this payment was loaded, not counting forms.
    pub fn views(&self, id: i64) -> usize {
        let view = format!("GET /payments-api/payments/process/{id}");
        self.count(|line| line == view)
    }

    fn count(&self, fits: impl Fn(&str) -> bool) -> usize {
        let lines = self.lines.lock().unwrap();
        lines.iter().filter(|line| fits(line)).count()
    }
}

/// `PUBLIC_URL` of a service behind a gateway that listens there.
pub fn public_url(listener: &TcpListener) -> String {
    let address = listener.local_addr().unwrap();
    format!("http://{address}/payments-api")
}

impl Route {
    async fn forward(
        &self,
        service: &Api,
        values: &HashMap<String, String>,
        headers: &HeaderMap,
        body: Bytes,
    ) -> Response<Body> {
        let path = values
            .iter()
            .fold(self.path.clone(), |path, (name, value)| {
                path.replace(&format!("{{{name}}}"), value)
            });
        let service = match self.has_key {
            true => service.clone(),
            false => service.without_key(),
        };
        let mut request = service.request(self.method.clone(), &path).body(body);
        for name in &self.headers {
            if let Some(value) = headers.get(name) {
                request = request.header(name, value);
            }
        }
        // KrakenD adds it by itself.
        let request = request.header("X-Forwarded-Host", &headers["host"]);
        let answer = request.send().await.unwrap();
        let mut response = Response::builder().status(answer.status());
        for (name, value) in answer.headers() {
            if name != "transfer-encoding" {
                response = response.header(name, value);
            }
        }
        response
            .body(Body::from(answer.bytes().await.unwrap()))
            .unwrap()
    }
}

/// The file is a template, so it is read as text; scripts/check-deployment reads it as JSON.
fn routes() -> Vec<Route> {
    let endpoints = CONFIGURATION.split("\"endpoint\": \"").skip(1);
    let routes = endpoints
        .filter(|text| text.contains("PAYMENTS_API_URL"))
        .map(|text| {
            let between = |before: &str, after| {
                let (_, rest) = text.split_once(before).expect("a value");
                rest.split_once(after).expect("its end").0
            };
            let headers = between("\"input_headers\": [", "]").split(',');
            Route {
                endpoint: text.split('"').next().unwrap_or("").to_owned(),
                method: between("\"method\": \"", "\"").parse().expect("a method"),
                path: between("\"url_pattern\": \"", "\"").to_owned(),
                headers: headers
                    .map(|name| name.trim().trim_matches('"').to_owned())
                    .collect(),
                has_key: text.contains("STORE_MANAGER_API_KEY"),
            }
        });
    routes.collect()
}
