//! Harmful clients, on purpose or by mistake, of a real process; each time another client is served
//! meanwhile, and the time that its requests take is printed and limited.

mod connections;
mod early;
mod flood;
mod heads;
mod requests;

use std::io::Write;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use serde_json::json;
use sha2::{Digest, Sha256};
use tempfile::TempDir;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

use crate::app::{KIOSK, STORE};
use crate::scale::fleet::{Fleet, PROGRAM};
use crate::support::process::{Process, Settings};

/// A process with two clients.
struct Victim {
    api: Process,
    folder: TempDir,
}

impl Victim {
    /// An `api` on servers, without a worker.
    async fn on_servers(variables: &[(&str, &str)]) -> Self {
        let fleet = Fleet::new(variables).await;
        Self::start(PROGRAM, "api", fleet.settings).await
    }

    /// The embedded service: quicker to start, where only the connections count.
    async fn embedded(variables: &[(&str, &str)]) -> Self {
        Self::embedded_by(PROGRAM, variables).await
    }

    /// By another program, which becomes the service.
    async fn embedded_by(program: &str, variables: &[(&str, &str)]) -> Self {
        let settings = variables
            .iter()
            .fold(Settings::default(), |settings, (name, value)| {
                settings.with(name, value)
            });
        Self::start(program, "", settings).await
    }

    async fn start(program: &str, role: &str, settings: Settings) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let settings = settings
            .with("DATA_DIR", &folder.path().display().to_string())
            .with("CLIENTS_FILE", &clients_file(folder.path()))
            .with_log(&folder.path().join("log"));
        let api = Process::start(program, role, &settings).await;
        Self { api, folder }
    }

    fn address(&self) -> SocketAddr {
        self.api.api
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap()
    }

    /// Another client begins to create payments, one after the other.
    fn neighbor(&self) -> Neighbor {
        let stop = Arc::new(AtomicBool::new(false));
        let served = Arc::new(AtomicUsize::new(0));
        let (url, stopped, count) = (
            self.api.url("/payments"),
            Arc::clone(&stop),
            Arc::clone(&served),
        );
        let running = tokio::spawn(async move {
            let http = reqwest::Client::builder().no_proxy().build().unwrap();
            let mut took = Vec::new();
            while !stopped.load(Ordering::Relaxed) || took.len() < Neighbor::FEWEST {
                let begin = Instant::now();
                let order = json!({ "order_id": 1, "user_id": 1, "total_amount": 1 });
                let sent = http.post(&url).bearer_auth(KIOSK.1).json(&order).send();
                assert_eq!(sent.await.unwrap().status(), 202);
                took.push(begin.elapsed());
                count.fetch_add(1, Ordering::Relaxed);
            }
            took
        });
        Neighbor {
            stop,
            served,
            running,
        }
    }
}

/// An ordinary client.
struct Neighbor {
    stop: Arc<AtomicBool>,
    served: Arc<AtomicUsize>,
    running: JoinHandle<Vec<Duration>>,
}

impl Neighbor {
    /// Requests that say something about the slowest in a hundred.
    const FEWEST: usize = 100;

    fn has_begun(&self) -> bool {
        self.served.load(Ordering::Relaxed) > 0
    }

    /// Ends it; all of its requests were answered 202, and all but one in a hundred within this time.
    async fn was_served_within(self, longest: Duration, meanwhile: &str) {
        self.stop.store(true, Ordering::Relaxed);
        let mut took = self.running.await.unwrap();
        took.sort_unstable();
        let (median, p99) = (took[took.len() / 2], took[took.len() * 99 / 100]);
        // Not captured like other test output, so that the figures are seen.
        let _ = writeln!(
            std::io::stderr(),
            "{meanwhile}: another client's {} requests, median {:.1} ms, p99 {:.1} ms",
            took.len(),
            median.as_secs_f64() * 1e3,
            p99.as_secs_f64() * 1e3,
        );
        assert!(p99 < longest, "p99 {p99:?} while {meanwhile}");
    }
}

fn clients_file(folder: &Path) -> String {
    let client = |(name, key): (&str, &str)| {
        let digest = hex::encode(Sha256::digest(key.as_bytes()));
        json!({ "name": name, "api_key_sha256": [digest] })
    };
    let file = folder.join("clients.json");
    let clients = json!({ "clients": [client(STORE), client(KIOSK)] });
    std::fs::write(&file, clients.to_string()).unwrap();
    file.display().to_string()
}

/// The time limit for everything that should happen at once.
const LONGEST: Duration = Duration::from_secs(10);

async fn open(address: SocketAddr) -> TcpStream {
    TcpStream::connect(address).await.unwrap()
}

/// The head of a request that creates a payment.
fn head(length: usize) -> String {
    format!(
        "POST /payments HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {}\r\n\
         Content-Type: application/json\r\nContent-Length: {length}\r\n\r\n",
        STORE.1
    )
}

/// Everything until the other side closes; empty if it closed without sending.
async fn rest(stream: &mut TcpStream) -> String {
    let mut bytes = Vec::new();
    let read = tokio::time::timeout(LONGEST, stream.read_to_end(&mut bytes)).await;
    // A reset is an end, too.
    let _ = read.expect("the other side closes in time");
    String::from_utf8(bytes).unwrap()
}

/// The status of one answer, of which enough is read to see it.
async fn status(stream: &mut TcpStream) -> String {
    let mut begin = [0; 12];
    let read = tokio::time::timeout(LONGEST, stream.read_exact(&mut begin)).await;
    read.expect("an answer in time").expect("an answer");
    String::from_utf8_lossy(&begin[9..]).into_owned()
}

/// Sends the head of a request and waits until its body of two bytes is wanted, so that the request is in hand.
async fn begin_body(stream: &mut TcpStream, key: &str) {
    let head = head(2).replace(STORE.1, key);
    let (head, _) = head.split_at(head.len() - 2);
    send(stream, &format!("{head}Expect: 100-continue\r\n\r\n")).await;
    assert_eq!(status(stream).await, "100");
    let mut rest_of_it = [0; " Continue\r\n\r\n".len()];
    stream.read_exact(&mut rest_of_it).await.unwrap();
}

/// Sends a whole request that is answered 422, which takes an api key and a look at the body.
async fn is_served(stream: &mut TcpStream) {
    send(stream, &(head(2) + "{}")).await;
    assert_eq!(status(stream).await, "422");
    // The rest of it.
    let mut buffer = [0; 4096];
    let _ = stream.read(&mut buffer).await;
}

async fn send(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}
