//! Many open operators' pages: streams of events, also of readers that do not read.

use std::time::{Duration, Instant};

use futures::future::join_all;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::app::{Api, eventually};
use crate::support::process::{Process, Settings};

const PROGRAM: &str = env!("CARGO_BIN_EXE_payment-service");

/// As many as a process serves.
const STREAMS: usize = 1000;

/// What the process may need more with them, in KiB: 64 each.
const MOST_MEMORY: u64 = 64_000;

/// A reader of the events.
struct Reader(TcpStream);

impl Reader {
    /// Opens a stream, and returns the status of the answer.
    async fn open(service: &Process, language: &str) -> (Self, u16) {
        let mut stream = TcpStream::connect(service.admin).await.unwrap();
        let head = format!(
            "GET /api/events HTTP/1.1\r\nHost: {}\r\nAccept-Language: {language}\r\n\r\n",
            service.admin
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        let mut reader = Self(stream);
        let head = reader.until("\r\n\r\n").await;
        let status = head.split(' ').nth(1).and_then(|it| it.parse().ok());
        (reader, status.unwrap_or_else(|| panic!("{head}")))
    }

    /// Reads up to a text.
    async fn until(&mut self, text: &str) -> String {
        let mut read = Vec::new();
        while !String::from_utf8_lossy(&read).contains(text) {
            let mut buffer = [0; 8192];
            let some = self.0.read(&mut buffer).await.unwrap();
            assert!(some > 0, "the stream has ended");
            read.extend_from_slice(&buffer[..some]);
        }
        String::from_utf8_lossy(&read).into_owned()
    }
}

/// The memory that a process uses, in KiB.
fn memory(service: &Process) -> u64 {
    let status = std::fs::read_to_string(format!("/proc/{}/status", service.pid())).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let number = line.and_then(|line| line.split_whitespace().nth(1));
    number.and_then(|number| number.parse().ok()).unwrap()
}

/// Payments get their outcome, and probes are answered at once.
async fn all_is_well(service: &Process) {
    let (api, admin) = (Api::new(service.api), Api::new(service.admin));
    for order in 1..=20 {
        let id = api.pay(order, "tok_visa").await;
        assert_eq!(api.outcome(id).await["status"], "succeeded");
    }
    for probe in ["/health/ready", "/health/live", "/metrics"] {
        let asked = Instant::now();
        admin.get(probe).await.is(200);
        assert!(asked.elapsed() < Duration::from_secs(2), "{probe}");
    }
}

#[tokio::test]
async fn a_thousand_streams_and_readers_that_do_not_read_cost_neither_payments_nor_memory() {
    let folder = tempfile::tempdir().unwrap();
    let settings = Settings::embedded(folder.path()).with("ISSUER_LATENCY", "1ms");
    let mut service = Process::start(PROGRAM, "", &settings).await;
    all_is_well(&service).await;
    let before = memory(&service);
    // Half of them read nothing but the head of the answer.
    let open = |number: usize| {
        let language = if number.is_multiple_of(2) { "en" } else { "fr" };
        Reader::open(&service, language)
    };
    let mut readers = Vec::new();
    for hundred in 0..STREAMS / 100 {
        let numbers = hundred * 100..(hundred + 1) * 100;
        for (reader, status) in join_all(numbers.map(open)).await {
            assert_eq!(status, 200);
            readers.push(reader);
        }
    }
    assert_eq!(open(0).await.1, 503, "one too many");
    let slow = readers.split_off(STREAMS / 2);
    let first = tokio::time::timeout(
        Duration::from_secs(60),
        join_all(readers.iter_mut().map(|reader| reader.until("event: page"))),
    );
    assert_eq!(first.await.expect("pages in time").len(), STREAMS / 2);
    all_is_well(&service).await;
    // The results are on the page of each reader: succeeded payments.
    let results = readers[0].until("payment.succeeded");
    let results = tokio::time::timeout(Duration::from_secs(60), results).await;
    assert!(results.expect("the results").contains("event: page"));
    let grown = memory(&service).saturating_sub(before);
    assert!(grown < MOST_MEMORY, "{grown} KiB");
    drop((readers, slow));
    eventually("there is room again", async || open(0).await.1 == 200).await;
    all_is_well(&service).await;
    assert!(service.stop());
}
