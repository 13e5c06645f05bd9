//! A receiver of callbacks over HTTP or HTTPS: records every call and answers as configured.

use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{HeaderMap, Method, Response, Uri};
use axum::serve::{Listener, ListenerExt};
use serde_json::Value;
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::server::TlsStream;

use crate::app::eventually;
use crate::contracts::callbacks::Called;
use crate::support::servers::ServerCertificate;

/// One call.
#[derive(Debug, Clone)]
pub struct Call {
    pub line: String,
    pub headers: HeaderMap,
    pub text: String,
}

impl Call {
    /// A header's text, empty if it is missing.
    pub fn header(&self, name: &str) -> &str {
        let value = self.headers.get(name).map(|value| value.to_str().unwrap());
        value.unwrap_or("")
    }

    pub fn body(&self) -> Value {
        serde_json::from_str(&self.text).unwrap()
    }

    /// The number that orders the events of a payment.
    pub fn sequence(&self) -> String {
        self.body()["sequence"].as_str().unwrap().to_owned()
    }

    /// How it differs from the description of callbacks.
    fn faults(&self) -> Vec<String> {
        let headers = self.headers.iter();
        let called = Called {
            method: self.line.split(' ').next().unwrap_or_default(),
            headers: headers
                .map(|(name, value)| (name.as_str(), value.to_str().unwrap()))
                .collect(),
            body: &self.text,
        };
        called.faults()
    }

    /// The type of the CloudEvent.
    pub fn kind(&self) -> String {
        self.body()["type"].as_str().unwrap().to_owned()
    }
}

type Answering = Pin<Box<dyn Future<Output = Response<Body>> + Send>>;
type Answer = Arc<dyn Fn(usize, Call) -> Answering + Send + Sync>;

/// A receiver on a free port.
#[derive(Clone)]
pub struct Receiver {
    pub address: SocketAddr,
    connections: Arc<AtomicUsize>,
    calls: Arc<Mutex<Vec<Call>>>,
    /// How calls differ from the description.
    faults: Arc<Mutex<Vec<String>>>,
    answer: Arc<Mutex<Answer>>,
}

impl Receiver {
    /// Answers every call with 204.
    pub async fn start() -> Self {
        Self::on(TcpListener::bind("127.0.0.1:0").await.unwrap())
    }

    /// The same over HTTPS, with this certificate.
    pub async fn start_with(certificate: &ServerCertificate) -> Self {
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let tls = acceptor(certificate);
        Self::on(Encrypted { tcp, tls })
    }

    fn on(listener: impl Listener<Addr = SocketAddr>) -> Self {
        let receiver = Self {
            address: listener.local_addr().unwrap(),
            connections: Arc::default(),
            calls: Arc::default(),
            faults: Arc::default(),
            answer: Arc::new(Mutex::new(Arc::new(|_, _| ready(204, "")))),
        };
        let router = Router::new().fallback(answer).with_state(receiver.clone());
        let connections = Arc::clone(&receiver.connections);
        let listener = listener.tap_io(move |_| {
            connections.fetch_add(1, Ordering::Relaxed);
        });
        tokio::spawn(async move { axum::serve(listener, router).await });
        receiver
    }

    pub fn url(&self, path: &str) -> String {
        format!("http://{}{path}", self.address)
    }

    /// Sets the answers, by the number of the call from 0.
    pub fn answers(&self, with: impl Fn(usize, Call) -> Answering + Send + Sync + 'static) {
        *self.answer.lock().unwrap() = Arc::new(with);
    }

    /// From now on answers with this status.
    pub fn answers_with(&self, status: u16, body: &'static str) {
        self.answers(move |_, _| ready(status, body));
    }

    /// From now on never answers.
    pub fn hangs(&self) {
        self.answers(|_, _| Box::pin(std::future::pending()));
    }

    /// How many connections were made to it.
    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::Relaxed)
    }

    /// All calls so far; fails if one of them is not as described.
    #[track_caller]
    pub fn calls(&self) -> Vec<Call> {
        let faults = self.faults.lock().unwrap().clone();
        assert!(
            faults.is_empty(),
            "not as described in src/http/openapi/webhooks.rs: {faults:#?}"
        );
        self.calls.lock().unwrap().clone()
    }

    /// Waits for this many calls, and fails if there are more.
    pub async fn called(&self, times: usize) -> Vec<Call> {
        eventually(&format!("{times} calls"), || async {
            self.calls().len() >= times
        })
        .await;
        let calls = self.calls();
        assert_eq!(calls.len(), times, "{calls:?}");
        calls
    }
}

struct Encrypted {
    tcp: TcpListener,
    tls: TlsAcceptor,
}

impl Listener for Encrypted {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    /// A caller that does not trust the certificate does not count as connected.
    async fn accept(&mut self) -> (Self::Io, SocketAddr) {
        loop {
            let (stream, from) = Listener::accept(&mut self.tcp).await;
            if let Ok(stream) = self.tls.accept(stream).await {
                return (stream, from);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<SocketAddr> {
        self.tcp.local_addr()
    }
}

fn acceptor(certificate: &ServerCertificate) -> TlsAcceptor {
    let chain = CertificateDer::from_pem_slice(certificate.certificate.as_bytes()).unwrap();
    let key = PrivateKeyDer::from_pem_slice(certificate.key.as_bytes()).unwrap();
    let config = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(vec![chain], key)
        .unwrap();
    TlsAcceptor::from(Arc::new(config))
}

/// An answer at once.
pub fn ready(status: u16, body: &'static str) -> Answering {
    let answer = Response::builder()
        .status(status)
        .header("content-type", "text/html")
        .body(Body::from(body))
        .unwrap();
    Box::pin(std::future::ready(answer))
}

/// A redirect.
pub fn redirect(to: &str) -> Answering {
    let answer = Response::builder()
        .status(307)
        .header("location", to)
        .body(Body::empty())
        .unwrap();
    Box::pin(std::future::ready(answer))
}

async fn answer(
    State(receiver): State<Receiver>,
    method: Method,
    uri: Uri,
    headers: HeaderMap,
    body: Bytes,
) -> Response<Body> {
    let call = Call {
        line: format!("{method} {uri}"),
        headers,
        text: String::from_utf8(body.to_vec()).unwrap(),
    };
    receiver.faults.lock().unwrap().extend(call.faults());
    let number = {
        let mut calls = receiver.calls.lock().unwrap();
        calls.push(call.clone());
        calls.len() - 1
    };
    let answer = Arc::clone(&receiver.answer.lock().unwrap());
    answer(number, call).await
}
