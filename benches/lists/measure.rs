//! Sends the requests of a list, one after the other, and times them.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use crate::requests::{List, Request};
use crate::support::operator::Operator;

/// After this the rest of a list's requests is left out, and all others count: it is slow.
const LONGEST: Duration = Duration::from_secs(30);

/// The key of this client.
pub fn api_key(client: &str) -> String {
    format!("key-of-{client}")
}

/// How long the requests of a list took.
pub struct Measured {
    pub name: &'static str,
    pub filter: &'static str,
    /// In order.
    latencies: Vec<Duration>,
    /// The slowest request.
    pub slowest: String,
    /// Answers with another status than 200, and one of them.
    pub failed: Option<(usize, String)>,
}

impl Measured {
    /// Milliseconds, at this share of all answers.
    pub fn latency(&self, share: f64) -> f64 {
        let count = self.latencies.len();
        let place = ((count as f64 * share).ceil() as usize).clamp(1, count);
        self.latencies[place - 1].as_secs_f64() * 1000.0
    }
}

/// The connections to the service.
pub struct Caller {
    http: reqwest::Client,
    api: SocketAddr,
    operator: Operator,
}

impl Caller {
    pub async fn new(api: SocketAddr, admin: SocketAddr) -> Self {
        let http = reqwest::Client::builder().no_proxy().build();
        Self {
            http: http.expect("a client"),
            api,
            operator: Operator::log_in(admin).await,
        }
    }

    /// Times the requests, except the first ones, of which there are fewer if there are few requests.
    pub async fn measure(&self, list: &List, warm_up: usize) -> Measured {
        let warm_up = warm_up.min(list.requests.len() / 10);
        let (mut timed, mut failures) = (Vec::new(), Vec::new());
        let mut total = Duration::ZERO;
        for request in &list.requests {
            tokio::time::sleep(list.pause).await;
            let began = Instant::now();
            let (status, text) = self.send(request).await;
            let took = began.elapsed();
            total += took;
            if status != 200 {
                failures.push(format!("{} {}: {text}", status, path(request)));
            }
            timed.push((took, path(request)));
            if total > LONGEST {
                break;
            }
        }
        if timed.len() == list.requests.len() {
            timed.drain(..warm_up);
        }
        timed.sort_unstable();
        let slowest = timed.last().map_or("", |(_, path)| path);
        let failed = failures.len();
        Measured {
            name: list.name,
            filter: list.filter,
            slowest: slowest.to_owned(),
            latencies: timed.into_iter().map(|(took, _)| took).collect(),
            failed: failures.into_iter().next().map(|first| (failed, first)),
        }
    }

    /// The status, and the whole body.
    async fn send(&self, request: &Request) -> (u16, String) {
        let sent = match request {
            Request::Operator(path) => self.operator.get(path).await,
            Request::Client(client, path) => {
                let request = self.http.get(format!("http://{}{path}", self.api));
                request.bearer_auth(api_key(client)).send().await
            }
        };
        let answer = sent.expect("an answer");
        let status = answer.status().as_u16();
        (status, answer.text().await.expect("a body"))
    }
}

fn path(request: &Request) -> &str {
    let (Request::Client(_, path) | Request::Operator(path)) = request;
    path
}
