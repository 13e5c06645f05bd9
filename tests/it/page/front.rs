//! Something before the service that does with the shoppers' link what krakend.json says: the path, the headers, the
//! key, and the habit of following redirects by itself. Where there is a real gateway, its own tests use that.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::Path;
use axum::http::{HeaderMap, Method, Response};
use axum::routing::get;
use tokio::net::TcpListener;

use crate::app::Api;

const CONFIGURATION: &str = include_str!("../../../krakend.json");
const LINK: &str = "/payments-api/payments/process/{payment_id}";

pub struct Front {
    address: SocketAddr,
    posts: Arc<AtomicU32>,
}

impl Front {
    pub async fn start(service: &Api) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let posts = Arc::new(AtomicU32::new(0));
        let (service, counted) = (service.clone(), Arc::clone(&posts));
        let forward =
            async move |Path(id): Path<String>, method: Method, headers: HeaderMap, body: Bytes| {
                if method == Method::POST {
                    counted.fetch_add(1, Ordering::SeqCst);
                }
                forwarded(&service, &id, method, &headers, body).await
            };
        let router = Router::new().route(LINK, get(forward.clone()).post(forward));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { address, posts }
    }

    /// What a shopper gets.
    pub fn link(&self, id: i64) -> String {
        format!(
            "http://{}{}",
            self.address,
            LINK.replace("{payment_id}", &id.to_string())
        )
    }

    /// Forms posted so far.
    pub fn posts(&self) -> u32 {
        self.posts.load(Ordering::SeqCst)
    }
}

async fn forwarded(
    service: &Api,
    id: &str,
    method: Method,
    headers: &HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let (path, forwarded) = route(&method);
    let mut request = service
        .request(method, &path.replace("{payment_id}", id))
        .body(body);
    for name in forwarded {
        if let Some(value) = headers.get(&name) {
            request = request.header(name, value);
        }
    }
    // KrakenD adds it by itself.
    let answer = request
        .header("X-Forwarded-Host", &headers["host"])
        .send()
        .await
        .unwrap();
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

/// Where krakend.json sends the link with this method, and the headers that it lets through.
fn route(method: &Method) -> (String, Vec<String>) {
    let endpoint = format!("\"endpoint\": \"{LINK}\",\n      \"method\": \"{method}\"");
    let (_, rest) = CONFIGURATION
        .split_once(&endpoint)
        .expect("the link has a route");
    let between = |before: &str, after| {
        let (_, rest) = rest.split_once(before).expect("a value");
        rest.split_once(after).expect("its end").0.to_owned()
    };
    let headers = between("\"input_headers\": [", "]");
    let headers = headers
        .split(',')
        .map(|name| name.trim().trim_matches('"').to_owned());
    (between("\"url_pattern\": \"", "\""), headers.collect())
}
