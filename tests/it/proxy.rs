//! Tests of the harness: each fault of the proxy does what it says.

use std::{
    net::SocketAddr,
    time::{Duration, Instant},
};

use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::{TcpListener, TcpStream},
    time::timeout,
};

use crate::{
    app::eventually,
    support::proxy::{Mode, Proxy, Trigger},
};

/// The time limit for expected data, and how long unexpected data is waited for.
const SILENCE: Duration = Duration::from_millis(200);

/// Answers each piece with a word in front of it.
async fn server(word: &'static str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                let mut bytes = [0; 1024];
                while let Ok(length @ 1..) = stream.read(&mut bytes).await {
                    let answer = [word.as_bytes(), &bytes[..length]].concat();
                    if stream.write_all(&answer).await.is_err() {
                        break;
                    }
                }
            });
        }
    });
    address
}

async fn proxy() -> Proxy {
    Proxy::start(server(">").await).unwrap()
}

async fn connect(proxy: &Proxy) -> TcpStream {
    TcpStream::connect(proxy.address()).await.unwrap()
}

async fn says(stream: &mut TcpStream, text: &str) {
    stream.write_all(text.as_bytes()).await.unwrap();
}

async fn hears(stream: &mut TcpStream, text: &str) {
    let mut bytes = vec![0; text.len()];
    let read = timeout(Duration::from_secs(10), stream.read_exact(&mut bytes));
    read.await.expect("in time").expect("an open connection");
    assert_eq!(String::from_utf8(bytes).unwrap(), text);
}

async fn is_reset(mut stream: TcpStream) {
    let mut byte = [0];
    let read = timeout(Duration::from_secs(10), stream.read(&mut byte));
    let error = read.await.expect("in time").expect_err("a reset");
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
}

async fn hears_nothing(stream: &mut TcpStream) {
    let mut byte = [0];
    let read = timeout(SILENCE, stream.read(&mut byte)).await;
    assert!(read.is_err(), "{read:?}");
}

#[tokio::test]
async fn traffic_arrives_unchanged_and_a_close_is_passed_on() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "hello").await;
    hears(&mut stream, ">hello").await;
    assert_eq!((proxy.accepted(), proxy.open()), (1, 1));
    stream.shutdown().await.unwrap();
    assert_eq!(stream.read(&mut [0]).await.unwrap(), 0);
    eventually("it is closed", || async { proxy.open() == 0 }).await;
}

#[tokio::test]
async fn a_cut_resets_open_and_new_connections_until_it_ends() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "hello").await;
    hears(&mut stream, ">hello").await;
    proxy.set(Mode::Cut);
    is_reset(stream).await;
    // The reset may be there before the connection is.
    match TcpStream::connect(proxy.address()).await {
        Ok(stream) => is_reset(stream).await,
        Err(error) => assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset),
    }
    proxy.set(Mode::Pass);
    let mut stream = connect(&proxy).await;
    says(&mut stream, "again").await;
    hears(&mut stream, ">again").await;
}

#[tokio::test]
async fn where_nobody_listens_connections_are_refused_until_somebody_does() {
    let proxy = proxy().await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "hello").await;
    hears(&mut stream, ">hello").await;
    for _ in 0..3 {
        proxy.set(Mode::Refuse);
        eventually("it is refused", || async {
            let refused = TcpStream::connect(proxy.address()).await.err();
            refused.is_some_and(|it| it.kind() == std::io::ErrorKind::ConnectionRefused)
        })
        .await;
        proxy.set(Mode::Pass);
        eventually("somebody listens", || async {
            TcpStream::connect(proxy.address()).await.is_ok()
        })
        .await;
    }
    is_reset(stream).await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "again").await;
    hears(&mut stream, ">again").await;
}

#[tokio::test]
async fn a_black_hole_accepts_everything_answers_nothing_and_resets_at_its_end() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await;
    hears(&mut old, ">hello").await;
    proxy.set(Mode::BlackHole);
    let mut new = connect(&proxy).await;
    for stream in [&mut old, &mut new] {
        says(stream, "anybody?").await;
        hears_nothing(stream).await;
    }
    proxy.set(Mode::Pass);
    is_reset(old).await;
    is_reset(new).await;
    let mut stream = connect(&proxy).await;
    says(&mut stream, "again").await;
    hears(&mut stream, ">again").await;
}

#[tokio::test]
async fn open_connections_become_silent_and_new_ones_work() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "hello").await;
    hears(&mut old, ">hello").await;
    proxy.silence_all();
    says(&mut old, "anybody?").await;
    hears_nothing(&mut old).await;
    let mut new = connect(&proxy).await;
    says(&mut new, "hello").await;
    hears(&mut new, ">hello").await;
    hears_nothing(&mut old).await;
}

#[tokio::test]
async fn a_delay_is_added_in_each_direction_and_affects_nothing_else() {
    let proxy = proxy().await;
    proxy.set(Mode::Delay(Duration::from_millis(100)));
    let mut stream = connect(&proxy).await;
    let begin = Instant::now();
    says(&mut stream, "a").await;
    hears(&mut stream, ">a").await;
    let one = begin.elapsed();
    assert!(one >= Duration::from_millis(200), "{one:?}");
    // Sent without waiting, they are under way at the same time.
    let begin = Instant::now();
    for _ in 0..10 {
        says(&mut stream, "b").await;
        tokio::task::yield_now().await;
    }
    while stream.read(&mut [0; 64]).await.unwrap() < 2 {}
    assert!(begin.elapsed() < Duration::from_secs(1));
}

#[tokio::test]
async fn byte_by_byte_traffic_arrives_in_many_pieces() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
    proxy.set(Mode::ByteByByte);
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    let text = [7; 2_000];
    client.write_all(&text).await.unwrap();
    let (mut pieces, mut arrived, mut bytes) = (0, 0, [0; 4096]);
    while arrived < text.len() {
        arrived += server.read(&mut bytes).await.unwrap();
        pieces += 1;
    }
    assert!(pieces > 10, "{pieces} pieces");
}

#[tokio::test]
async fn a_trigger_cuts_one_connection_before_the_bytes_arrive_even_if_they_are_split() {
    let proxy = proxy().await;
    let mut other = connect(&proxy).await;
    let mut stream = connect(&proxy).await;
    let tripped = proxy.cut_at(Trigger::client_says(b"secret"));
    says(&mut stream, "a sec").await;
    hears(&mut stream, ">a sec").await;
    says(&mut stream, "ret").await;
    assert!(tripped.wait().await);
    is_reset(stream).await;
    says(&mut other, "secret").await;
    hears(&mut other, ">secret").await;

    let tripped = proxy.cut_at(Trigger::server_says(b">x"));
    says(&mut other, "x").await;
    assert!(tripped.wait().await);
    is_reset(other).await;
}

#[tokio::test]
async fn a_withheld_answer_was_sent_by_the_server() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = Proxy::start(listener.local_addr().unwrap()).unwrap();
    let mut client = connect(&proxy).await;
    let (mut server, _) = listener.accept().await.unwrap();
    let tripped = proxy.cut_at(Trigger::commit_not_answered());
    client.write_all(b"\x07\0\0\0\x03COMMIT").await.unwrap();
    let mut bytes = [0; 11];
    server.read_exact(&mut bytes).await.unwrap();
    assert_eq!(&bytes[5..], b"COMMIT");
    hears_nothing(&mut client).await;
    server.write_all(b"done").await.unwrap();
    assert!(tripped.wait().await);
    is_reset(client).await;
}

#[tokio::test]
async fn a_new_target_applies_to_new_connections() {
    let proxy = proxy().await;
    let mut old = connect(&proxy).await;
    says(&mut old, "a").await;
    hears(&mut old, ">a").await;
    proxy.forward_to(server("#").await);
    let mut new = connect(&proxy).await;
    says(&mut new, "a").await;
    hears(&mut new, "#a").await;
    says(&mut old, "b").await;
    hears(&mut old, ">b").await;
}

#[tokio::test]
async fn a_url_through_the_proxy_changes_only_host_and_port() {
    let address = server(">").await;
    let url = format!("mysql://root:p@{address}/payments?ssl-mode=DISABLED");
    let proxy = Proxy::before(&url).unwrap();
    assert_eq!(
        proxy.url(&url),
        format!(
            "mysql://root:p@127.0.0.1:{}/payments?ssl-mode=DISABLED",
            proxy.port()
        )
    );
    let mut stream = connect(&proxy).await;
    says(&mut stream, "a").await;
    hears(&mut stream, ">a").await;
    drop(proxy);
    is_reset(stream).await;
}
