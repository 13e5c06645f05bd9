//! Answers that are ready before the body has arrived: none is lost, however the body is sent, and the next request on
//! the same connection is served.

use std::collections::BTreeMap;

use payment_service::metric;

use super::*;

/// One answer as it was received.
#[derive(Debug)]
pub struct Answer {
    pub status: u16,
    headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Answer {
    /// The next one, and not a byte more.
    pub async fn read(stream: &mut TcpStream) -> Self {
        let read = tokio::time::timeout(LONGEST, Self::try_read(stream)).await;
        read.expect("an answer in time").expect("an answer")
    }

    async fn try_read(stream: &mut TcpStream) -> std::io::Result<Self> {
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await?);
        }
        let head = String::from_utf8(head).unwrap();
        let mut lines = head.trim_end().split("\r\n");
        let status = lines.next().unwrap()[9..12].parse().unwrap();
        let headers = lines.map(|line| line.split_once(": ").unwrap());
        let mut answer = Self {
            status,
            headers: headers
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .collect(),
            body: Vec::new(),
        };
        let length = answer
            .header("content-length")
            .map_or(0, |it| it.parse().unwrap());
        answer.body.resize(length, 0);
        stream.read_exact(&mut answer.body).await?;
        Ok(answer)
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self.headers.iter().find(|(known, _)| known == name);
        header.map(|(_, value)| value.as_str())
    }

    fn closes(&self) -> bool {
        self.header("connection") == Some("close")
    }
}

/// How a body goes out.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Framing {
    Length,
    Chunked,
}

/// A request that is answered before its body is read.
#[derive(Debug, Clone, Copy)]
struct Early {
    status: u16,
    line: &'static str,
    headers: &'static str,
}

const JSON: &str = "Content-Type: application/json\r\n";
const EARLY: [Early; 11] = [
    early(
        401,
        "POST /payments",
        "Content-Type: application/json\r\nAuthorization: Bearer nobody's\r\n",
    ),
    early(
        403,
        "POST /payments/process/7",
        "Accept: text/html\r\nContent-Type: application/x-www-form-urlencoded\r\nOrigin: http://elsewhere\r\n",
    ),
    early(404, "POST /nowhere", JSON),
    early(404, "POST /payments/seven/process", JSON),
    early(405, "PUT /payments", JSON),
    early(413, "POST /payments", JSON),
    early(415, "POST /payments", "Content-Type: text/plain\r\n"),
    early(
        415,
        "POST /payments",
        "Content-Type: application/json\r\nContent-Encoding: gzip\r\n",
    ),
    early(200, "GET /payments", ""),
    early(404, "POST /webhooks/nobody", JSON),
    early(405, "PUT /webhooks/stripe", JSON),
];

const fn early(status: u16, line: &'static str, headers: &'static str) -> Early {
    Early {
        status,
        line,
        headers,
    }
}

impl Early {
    fn head(&self, framing: Framing, length: usize) -> String {
        let key = if self.headers.contains("Authorization") {
            String::new()
        } else {
            format!("Authorization: Bearer {}\r\n", STORE.1)
        };
        let framing = match framing {
            Framing::Length => format!("Content-Length: {length}"),
            Framing::Chunked => "Transfer-Encoding: chunked".to_owned(),
        };
        format!(
            "{} HTTP/1.1\r\nHost: a\r\n{key}{}{framing}\r\n\r\n",
            self.line, self.headers
        )
    }

    /// A body of less than 64 KiB is no reason for a 413.
    fn fits(&self, length: usize) -> bool {
        self.status != 413 || length > 64 * 1024
    }
}

/// Sends a body in several writes, without reading meanwhile.
async fn send_body(stream: &mut TcpStream, framing: Framing, length: usize) -> std::io::Result<()> {
    let piece = vec![b' '; 32 * 1024];
    let mut left = length;
    while left > 0 {
        let now = left.min(piece.len());
        if framing == Framing::Chunked {
            stream.write_all(format!("{now:x}\r\n").as_bytes()).await?;
        }
        stream.write_all(&piece[..now]).await?;
        if framing == Framing::Chunked {
            stream.write_all(b"\r\n").await?;
        }
        left -= now;
        tokio::task::yield_now().await;
    }
    match framing {
        Framing::Chunked => stream.write_all(b"0\r\n\r\n").await,
        Framing::Length => Ok(()),
    }
}

/// Sends a request as blocking clients do, and reads its answer afterwards.
async fn exchange(
    stream: &mut TcpStream,
    request: &Early,
    framing: Framing,
    length: usize,
) -> std::io::Result<Answer> {
    stream
        .write_all(request.head(framing, length).as_bytes())
        .await?;
    tokio::task::yield_now().await;
    send_body(stream, framing, length).await?;
    Answer::try_read(stream).await
}

/// 1,000 refusals with bodies up to 2 MiB, each followed by a valid request on the same connection.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn none_of_1000_early_answers_is_lost_and_the_next_requests_work() {
    const SIZES: [usize; 8] = [1, 2_000, 60_000, 66_000, 150_000, 300_000, 700_000, 2 << 20];
    let victim = Victim::embedded(&[]).await;
    let address = victim.address();
    let mut callers = tokio::task::JoinSet::new();
    for caller in 0..8 {
        callers.spawn(async move {
            let (mut stream, mut counts) = (open(address).await, BTreeMap::<&str, usize>::new());
            for number in 0..125 {
                let request = EARLY[(number + caller) % EARLY.len()];
                let length = SIZES[(number / 3) % SIZES.len()];
                let length = if request.fits(length) { length } else { 80_000 };
                let framing = [Framing::Chunked, Framing::Length][number % 2];
                let what = (request, length, framing);
                let closed = match exchange(&mut stream, &request, framing, length).await {
                    Ok(answer) if answer.status == request.status => answer.closes(),
                    other => {
                        eprintln!("lost: {what:?}: {other:?}");
                        *counts.entry("lost").or_default() += 1;
                        true
                    }
                };
                if closed {
                    *counts.entry("closed").or_default() += 1;
                    stream = open(address).await;
                    continue;
                }
                let next = early(422, "POST /payments", JSON);
                let next = exchange(&mut stream, &next, Framing::Length, 2).await;
                if !next.is_ok_and(|answer| answer.status == 400) {
                    *counts.entry("hurt").or_default() += 1;
                    stream = open(address).await;
                }
            }
            counts
        });
    }
    let mut total = BTreeMap::<&str, usize>::new();
    while let Some(counts) = callers.join_next().await {
        for (name, count) in counts.unwrap() {
            *total.entry(name).or_default() += count;
        }
    }
    let _ = writeln!(std::io::stderr(), "1000 early answers: {total:?}");
    assert_eq!(
        (total.get("lost"), total.get("hurt")),
        (None, None),
        "{total:?}"
    );
    // A machine that is busy may need more than the second for a body of 2 MiB.
    assert!(
        total.get("closed").is_none_or(|closed| *closed < 100),
        "{total:?}"
    );
}

#[tokio::test]
async fn a_request_behind_a_refused_one_is_served() {
    let victim = Victim::embedded(&[]).await;
    for request in EARLY {
        let mut stream = open(victim.address()).await;
        let mut bytes = Vec::new();
        for _ in 0..3 {
            bytes.extend_from_slice(request.head(Framing::Chunked, 0).as_bytes());
            for _ in 0..20 {
                bytes.extend_from_slice(format!("1000\r\n{}\r\n", " ".repeat(4096)).as_bytes());
            }
            bytes.extend_from_slice(b"0\r\n\r\nGET /health/live HTTP/1.1\r\nHost: a\r\n\r\n");
        }
        let (mut reading, mut writing) = stream.split();
        let answers = async {
            let mut statuses = Vec::new();
            let mut text = String::new();
            let mut buffer = [0; 4096];
            while statuses.len() < 6 {
                let length = reading.read(&mut buffer).await.unwrap();
                assert!(length > 0, "{request:?}: {text}");
                text.push_str(&String::from_utf8_lossy(&buffer[..length]));
                statuses = text
                    .split("HTTP/1.1 ")
                    .skip(1)
                    .filter_map(|answer| answer.get(..3).map(str::to_owned))
                    .collect();
            }
            statuses
        };
        let answers = tokio::time::timeout(LONGEST, answers);
        let (answers, written) = tokio::join!(answers, writing.write_all(&bytes));
        written.unwrap();
        let refused = request.status.to_string();
        let expected = [&refused, "200", &refused, "200", &refused, "200"];
        assert_eq!(answers.unwrap(), expected, "{request:?}");
    }
}

#[tokio::test]
async fn a_body_above_4_mib_gets_an_answer_and_ends_the_connection() {
    let victim = Victim::embedded(&[]).await;
    for request in EARLY {
        for framing in [Framing::Chunked, Framing::Length] {
            let mut stream = open(victim.address()).await;
            let answer = exchange(&mut stream, &request, framing, 10 << 20).await;
            let answer = answer.unwrap_or_else(|error| panic!("{request:?}, {framing:?}: {error}"));
            assert_eq!(
                (answer.status, answer.closes()),
                (request.status, true),
                "{request:?}, {framing:?}"
            );
            assert_eq!(rest(&mut stream).await, "");
        }
    }
    let cut = victim
        .api
        .counter(&format!(
            "{}{{result=\"cut\"}}",
            metric::HTTP_BODIES_DISCARDED
        ))
        .await;
    assert!(cut >= 18.0, "{cut}");
}

#[tokio::test]
async fn callers_with_expect_100_continue_are_answered_at_once_and_so_are_others() {
    let victim = Victim::embedded(&[]).await;
    for request in EARLY {
        if request.status == 413 {
            continue;
        }
        let head = request
            .head(Framing::Length, 100_000)
            .replace("Host:", "Expect: 100-continue\r\nHost:");
        // It waits: no 100 comes, and no second passes.
        let begin = Instant::now();
        let mut stream = open(victim.address()).await;
        send(&mut stream, &head).await;
        let answer = Answer::read(&mut stream).await;
        assert_eq!(
            (answer.status, answer.closes()),
            (request.status, true),
            "{request:?}"
        );
        assert!(
            begin.elapsed() < Duration::from_millis(900),
            "{:?}",
            begin.elapsed()
        );
        // It does not.
        let mut stream = open(victim.address()).await;
        send(&mut stream, &head).await;
        send_body(&mut stream, Framing::Length, 100_000)
            .await
            .unwrap();
        let answer = Answer::read(&mut stream).await;
        assert_eq!(
            (answer.status, answer.closes()),
            (request.status, true),
            "{request:?}"
        );
    }
    // A body that is too long is refused by its announcement alone.
    let mut stream = open(victim.address()).await;
    let head = EARLY[5]
        .head(Framing::Length, 100_000)
        .replace("Host:", "Expect: 100-continue\r\nHost:");
    send(&mut stream, &head).await;
    assert_eq!(Answer::read(&mut stream).await.status, 413);
    // An expectation that nobody knows.
    let mut stream = open(victim.address()).await;
    let head = EARLY[5]
        .head(Framing::Length, 200_000)
        .replace("Host:", "Expect: more\r\nHost:");
    send(&mut stream, &head).await;
    send_body(&mut stream, Framing::Length, 200_000)
        .await
        .unwrap();
    assert_eq!(Answer::read(&mut stream).await.status, 417);
}

/// Refusals at a limit: 429 and 503.
#[tokio::test]
async fn a_caller_refused_at_the_connection_limit_gets_an_answer() {
    let victim = Victim::embedded(&[("CLIENT_REQUESTS", "1")]).await;
    let mut busy = open(victim.address()).await;
    begin_body(&mut busy, STORE.1).await;
    for framing in [Framing::Chunked, Framing::Length] {
        let mut stream = open(victim.address()).await;
        let request = early(429, "POST /payments", JSON);
        let answer = exchange(&mut stream, &request, framing, 1 << 20)
            .await
            .unwrap();
        assert_eq!((answer.status, answer.closes()), (429, false));
        send(&mut stream, "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n").await;
        assert_eq!(Answer::read(&mut stream).await.status, 200);
    }
    // Every place is taken by a request that waits for its body.
    let victim = Victim::embedded(&[("HTTP_CONNECTIONS", "2")]).await;
    let mut held = [open(victim.address()).await, open(victim.address()).await];
    begin_body(&mut held[0], STORE.1).await;
    begin_body(&mut held[1], KIOSK.1).await;
    for framing in [Framing::Chunked, Framing::Length] {
        let mut stream = open(victim.address()).await;
        let request = early(503, "POST /payments", JSON);
        let answer = exchange(&mut stream, &request, framing, 1 << 20)
            .await
            .unwrap();
        assert_eq!((answer.status, answer.closes()), (503, true));
    }
}

#[tokio::test]
async fn an_incomplete_or_wrongly_framed_body_gets_an_answer_and_ends_the_connection() {
    let victim = Victim::embedded(&[]).await;
    for (request, status) in [(early(413, "POST /payments", JSON), 400), (EARLY[0], 401)] {
        let mut stream = open(victim.address()).await;
        send(&mut stream, &request.head(Framing::Chunked, 0)).await;
        send(&mut stream, "5\r\n{\"a\":\r\nno chunk\r\n").await;
        let answer = Answer::read(&mut stream).await;
        assert_eq!(
            (answer.status, answer.closes()),
            (status, true),
            "{request:?}"
        );
        assert_eq!(rest(&mut stream).await, "");
    }
}

/// A caller that never finishes holds a connection for seconds at most, and never one that another caller needs.
#[tokio::test]
async fn callers_that_never_finish_sending_are_disconnected_and_block_no_other() {
    let victim = Victim::embedded(&[("HTTP_CONNECTIONS", "20")]).await;
    let refused = early(
        401,
        "POST /payments",
        "Content-Type: application/json\r\nAuthorization: Bearer nobody's\r\n",
    );
    // Silence after the head, and after a part of the body.
    for begun in ["", "{", "1000\r\n"] {
        let begin = Instant::now();
        let mut stream = open(victim.address()).await;
        let framing = if begun.ends_with('\n') {
            Framing::Chunked
        } else {
            Framing::Length
        };
        send(&mut stream, &(refused.head(framing, 1000) + begun)).await;
        let answer = Answer::read(&mut stream).await;
        assert_eq!((answer.status, answer.closes()), (401, true));
        assert_eq!(rest(&mut stream).await, "");
        assert!(
            begin.elapsed() < Duration::from_secs(5),
            "{:?}",
            begin.elapsed()
        );
    }
    // Twice as many callers as connections that never stop sending.
    let address = victim.address();
    let mut crowd = tokio::task::JoinSet::new();
    for _ in 0..40 {
        crowd.spawn(async move {
            loop {
                let mut stream = open(address).await;
                let head = refused.head(Framing::Chunked, 0);
                let mut going = stream.write_all(head.as_bytes()).await.is_ok();
                while going {
                    tokio::time::sleep(Duration::from_millis(20)).await;
                    going = stream.write_all(b"1\r\nx\r\n").await.is_ok();
                }
            }
        });
    }
    let neighbor = victim.neighbor();
    let meanwhile = "20 places are wanted by 40 callers that never finish a refused request";
    neighbor
        .was_served_within(Duration::from_secs(2), meanwhile)
        .await;
    crowd.abort_all();
    let cut = victim
        .api
        .counter(&format!(
            "{}{{result=\"cut\"}}",
            metric::HTTP_BODIES_DISCARDED
        ))
        .await;
    assert!(cut >= 3.0, "{cut}");
}
