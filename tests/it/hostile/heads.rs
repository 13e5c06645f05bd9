//! Invalid HTTP/1.1 request heads, and the answer to each, at both addresses.

use serde_json::Value;

use super::early::Answer;
use super::*;

/// What is sent, the status of the answer, and a word that its sentence has.
type Case = (&'static str, String, u16, &'static str);

#[tokio::test]
async fn every_invalid_head_is_answered_with_problem_details_and_ends_the_connection() {
    let victim = Victim::embedded(&[]).await;
    for address in [victim.api.api, victim.api.admin] {
        for (what, request, status, word) in unreadable() {
            let answer = refused(address, &request).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            assert_eq!(
                answer.header("connection"),
                Some("close"),
                "{what}: {answer:?}"
            );
            is_problem(&answer, what, word);
        }
        for (what, request, status, word) in against_the_rules() {
            let answer = refused(address, &request).await;
            assert_eq!(answer.status, status, "{what}: {answer:?}");
            is_problem(&answer, what, word);
        }
    }
}

#[tokio::test]
async fn unusual_but_valid_heads_are_served() {
    let victim = Victim::embedded(&[]).await;
    for address in [victim.api.api, victim.api.admin] {
        for (what, head, status) in [
            (
                "HTTP/1.0 without Host",
                "GET /health/live HTTP/1.0\r\n\r\n",
                200,
            ),
            (
                "HTTP/1.0 with Host",
                "GET /health/live HTTP/1.0\r\nHost: a\r\n\r\n",
                200,
            ),
            (
                "an absolute target",
                "GET http://other:1/health/live HTTP/1.1\r\nHost: a\r\n\r\n",
                200,
            ),
            (
                "an empty Host",
                "GET /health/live HTTP/1.1\r\nHost:\r\n\r\n",
                200,
            ),
            (
                "an underscore",
                "GET /health/live HTTP/1.1\r\nHost: payments_api:5009\r\n\r\n",
                200,
            ),
            (
                "an address",
                "GET /health/live HTTP/1.1\r\nHost: [::1]:5009\r\n\r\n",
                200,
            ),
            (
                "one length twice",
                "GET /health/live HTTP/1.1\r\nHost: a\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
                200,
            ),
            ("an asterisk", "OPTIONS * HTTP/1.1\r\nHost: a\r\n\r\n", 404),
            ("a tunnel", "CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 404),
        ] {
            let mut stream = open(address).await;
            send(&mut stream, head).await;
            assert_eq!(Answer::read(&mut stream).await.status, status, "{what}");
        }
    }
}

/// A length next to `chunked` can smuggle requests: the length is ignored, and the connection ends.
#[tokio::test]
async fn a_content_length_next_to_chunked_is_ignored_and_ends_the_connection() {
    let victim = Victim::embedded(&[]).await;
    for lengths in [
        "Content-Length: 3\r\nTransfer-Encoding: chunked",
        "Transfer-Encoding: chunked\r\nContent-Length: 3",
    ] {
        let mut stream = open(victim.address()).await;
        let request = head(2).replace("Content-Length: 2", lengths);
        let smuggled = "GET /health/live HTTP/1.1\r\nHost: a\r\n\r\n";
        send(
            &mut stream,
            &format!("{request}2\r\n{{}}\r\n0\r\n\r\n{smuggled}"),
        )
        .await;
        let answer = Answer::read(&mut stream).await;
        assert_eq!(
            (answer.status, answer.header("connection")),
            (422, Some("close")),
            "{lengths}"
        );
        assert_eq!(rest(&mut stream).await, "", "nothing else is answered");
    }
}

#[tokio::test]
async fn an_invalid_head_behind_a_valid_request_does_not_damage_the_first_answer() {
    let victim = Victim::embedded(&[]).await;
    let mut stream = open(victim.address()).await;
    let wrong = "GET /health/live HTTP/1.1\r\nHost : a\r\n\r\n";
    send(&mut stream, &format!("{}{{}}{wrong}", head(2))).await;
    assert_eq!(Answer::read(&mut stream).await.status, 422);
    let answer = Answer::read(&mut stream).await;
    assert_eq!(answer.status, 400);
    is_problem(&answer, "the second", "HTTP/1.1");
    assert_eq!(rest(&mut stream).await, "");
}

/// hyper refuses these by itself.
fn unreadable() -> Vec<Case> {
    let get = |lines: &str| format!("GET /health/live HTTP/1.1\r\nHost: a\r\n{lines}\r\n");
    let post = |lines: &str| get(lines).replace("GET", "POST") + "{}";
    let many = |number: usize, length: usize| {
        let value = "v".repeat(length);
        get(&(0..number).fold(String::new(), |text, at| {
            text + &format!("x-{at}: {value}\r\n")
        }))
    };
    vec![
        ("noise", "\0\u{1}\u{2}\r\n\r\n".to_owned(), 400, "HTTP/1.1"),
        (
            "a TLS hello",
            "\u{16}\u{3}\u{1}\u{2}\0\u{1}\0".to_owned(),
            400,
            "HTTP/1.1",
        ),
        (
            "another version",
            "GET / HTTP/2.0\r\nHost: a\r\n\r\n".to_owned(),
            400,
            "HTTP/1.1",
        ),
        ("no version", "GET /\r\n\r\n".to_owned(), 400, "HTTP/1.1"),
        (
            "HTTP/2 at once",
            "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_owned(),
            400,
            "HTTP/1.1",
        ),
        (
            "a space in the target",
            "GET /a b HTTP/1.1\r\nHost: a\r\n\r\n".to_owned(),
            400,
            "HTTP/1.1",
        ),
        ("a folded line", get("x-a: 1\r\n 2\r\n"), 400, "header"),
        (
            "a space before the colon",
            get("x-a : 1\r\n"),
            400,
            "header",
        ),
        ("an invalid header name", get("x a: 1\r\n"), 400, "header"),
        ("a line without a colon", get("x-a\r\n"), 400, "header"),
        ("a line without a name", get(": 1\r\n"), 400, "header"),
        ("a control character", get("x-a: \u{1}\r\n"), 400, "header"),
        (
            "two lengths",
            post("Content-Length: 2\r\nContent-Length: 3\r\n"),
            400,
            "Content-Length",
        ),
        (
            "two lengths in one",
            post("Content-Length: 2, 2\r\n"),
            400,
            "Content-Length",
        ),
        (
            "a negative length",
            post("Content-Length: -2\r\n"),
            400,
            "Content-Length",
        ),
        (
            "a signed length",
            post("Content-Length: +2\r\n"),
            400,
            "Content-Length",
        ),
        (
            "a length beyond all numbers",
            post("Content-Length: 99999999999999999999999\r\n"),
            400,
            "Content-Length",
        ),
        (
            "not chunked at the end",
            post("Transfer-Encoding: chunked, gzip\r\n"),
            400,
            "Transfer-Encoding",
        ),
        (
            "an unknown coding",
            post("Transfer-Encoding: gzip\r\n"),
            400,
            "Transfer-Encoding",
        ),
        (
            "chunked in HTTP/1.0",
            post("Transfer-Encoding: chunked\r\n").replace("/1.1", "/1.0"),
            400,
            "Transfer-Encoding",
        ),
        ("too many headers", many(150, 1), 431, "100 headers"),
        ("a long head", many(20, 1000), 431, "16 KiB"),
        ("a very long header", many(1, 1_000_000), 431, "16 KiB"),
        (
            "a long target",
            format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(100_000)),
            431,
            "16 KiB",
        ),
    ]
}

/// hyper accepts these.
fn against_the_rules() -> Vec<Case> {
    let get = |lines: &str| format!("GET /health/live HTTP/1.1\r\n{lines}\r\n");
    let coded = |codings: &str| {
        get(&format!("Host: a\r\nTransfer-Encoding: {codings}\r\n")).replace("GET", "POST")
            + "2\r\n{}\r\n0\r\n\r\n"
    };
    vec![
        ("no Host", get(""), 400, "Host"),
        (
            "no Host, an absolute target",
            get("").replace("/health", "http://a/health"),
            400,
            "Host",
        ),
        ("Host twice", get("Host: a\r\nHost: a\r\n"), 400, "Host"),
        ("two Hosts", get("Host: a\r\nhOST: b\r\n"), 400, "Host"),
        (
            "two Hosts in HTTP/1.0",
            get("Host: a\r\nHost: b\r\n").replace("/1.1", "/1.0"),
            400,
            "Host",
        ),
        ("a Host with a space", get("Host: a b\r\n"), 400, "Host"),
        ("a Host with a path", get("Host: a/b\r\n"), 400, "Host"),
        ("a Host with a user", get("Host: a@b\r\n"), 400, "Host"),
        (
            "a Host with a port that is none",
            get("Host: a:b\r\n"),
            400,
            "Host",
        ),
        ("a Host beyond ASCII", get("Host: é\r\n"), 400, "Host"),
        ("compressed chunks", coded("gzip, chunked"), 501, "chunked"),
        (
            "compressed chunks, in two lines",
            coded("gzip\r\nTransfer-Encoding: chunked"),
            501,
            "chunked",
        ),
        (
            "chunks of chunks",
            coded("chunked, chunked"),
            400,
            "chunked",
        ),
        (
            "another expectation",
            get("Host: a\r\nExpect: 200-ok\r\n"),
            417,
            "Expect",
        ),
    ]
}

/// Sends it like callers that read only after writing.
async fn refused(address: SocketAddr, request: &str) -> Answer {
    let mut stream = open(address).await;
    for piece in request.as_bytes().chunks(64 * 1024) {
        stream.write_all(piece).await.unwrap();
    }
    Answer::read(&mut stream).await
}

#[track_caller]
fn is_problem(answer: &Answer, what: &str, word: &str) {
    assert_eq!(
        answer.header("content-type"),
        Some("application/problem+json"),
        "{what}: {answer:?}"
    );
    assert_eq!(
        answer.header("cache-control"),
        Some("no-store"),
        "{what}: {answer:?}"
    );
    let document: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(document["status"], answer.status, "{what}");
    let sentence = document["error"].as_str().unwrap();
    assert!(sentence.contains(word), "{what}: {sentence}");
}
