//! Requests that are too large or too slow.

use std::time::Duration;

use super::*;

const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn oversized_heads_and_bodies_and_slow_bodies_are_answered() {
    let victim = Victim::embedded(&[]).await;
    let neighbor = victim.neighbor();
    let slow = tokio::spawn(slow_body(victim.address()));
    let fields = |number: usize, size: usize| -> String {
        let value = "v".repeat(size);
        (0..number).fold(
            "GET / HTTP/1.1\r\nHost: localhost\r\n".to_owned(),
            |text, at| text + &format!("x-{at}: {value}\r\n"),
        ) + "\r\n"
    };
    let body = |length: usize| head(length) + &"x".repeat(length);
    let cases = [
        ("heads of 15 KiB are taken", fields(15, 1000), "200"),
        ("a longer one is not", fields(17, 1000), "431"),
        ("nor one of many fields", fields(150, 1), "431"),
        ("nor one long field", fields(1, 1_000_000), "431"),
        (
            "nor a long address",
            format!("GET /{} HTTP/1.1\r\n\r\n", "p".repeat(100_000)),
            "431",
        ),
        ("a body of 64 KiB is read", body(64 * 1024), "400"),
        ("a longer one is not", body(64 * 1024 + 1), "413"),
        ("nor a said one", head(1 << 40), "413"),
        ("no HTTP", "\0\u{1}\u{2}\r\n\r\n".to_owned(), "400"),
    ];
    for (what, request, expected) in cases {
        let mut stream = open(victim.address()).await;
        // What is not read makes writing fail.
        let _ = stream.write_all(request.as_bytes()).await;
        let status = tokio::time::timeout(SOON, status(&mut stream)).await;
        assert_eq!(status.as_deref(), Ok(expected), "{what}");
    }
    cut_without_end(victim.address()).await;
    assert_eq!(slow.await.unwrap(), "408");
    let meanwhile = "oversized and slow requests come in";
    neighbor
        .was_served_within(Duration::from_secs(1), meanwhile)
        .await;
}

/// The status of a request whose body comes byte by byte, with its last byte never.
async fn slow_body(address: SocketAddr) -> String {
    let mut stream = open(address).await;
    send(&mut stream, &(head(100) + "{")).await;
    let (mut reading, mut writing) = stream.split();
    let mut answer = [0; 12];
    tokio::select! {
        read = reading.read_exact(&mut answer) => drop(read.unwrap()),
        () = async {
            for _ in 0..90 {
                tokio::time::sleep(Duration::from_millis(200)).await;
                let _ = writing.write_all(b" ").await;
            }
        } => panic!("a body may take for ever"),
    }
    String::from_utf8_lossy(&answer[9..]).into_owned()
}

/// A chunked body without end is not read without end.
async fn cut_without_end(address: SocketAddr) {
    let mut stream = open(address).await;
    let begin = head(0).replace("Content-Length: 0", "Transfer-Encoding: chunked");
    send(&mut stream, &begin).await;
    let chunk = format!("1000\r\n{}\r\n", "x".repeat(4096));
    let mut sent = 0_usize;
    while sent < (64 << 20) && stream.write_all(chunk.as_bytes()).await.is_ok() {
        sent += chunk.len();
    }
    assert!(sent < (64 << 20), "it was read for ever");
}
