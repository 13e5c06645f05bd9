//! Whether a server's address can be reached, and if not, why: the first check of `check` and `setup`. The libraries that
//! connect retry again and again, and report only a time-out.

use std::io::ErrorKind;
use std::time::Duration;

use futures::future::join_all;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::timeout;

/// How long one server may take.
pub const PATIENCE: Duration = Duration::from_secs(3);

/// Host and port of a server.
pub type Address = (String, u16);

/// Each address that cannot be reached, as `host:port: cause`. All are tried at the same time.
pub async fn unreachable(addresses: &[Address]) -> Vec<String> {
    let tried = addresses.iter().map(|(host, port)| async move {
        let cause = match timeout(PATIENCE, connect(host, *port)).await {
            Ok(connected) => connected.err()?,
            Err(_) => format!("timed out: no answer within {} s", PATIENCE.as_secs()),
        };
        Some(format!("{host}:{port}: {cause}"))
    });
    join_all(tried).await.into_iter().flatten().collect()
}

async fn connect(host: &str, port: u16) -> Result<(), String> {
    let unknown = |cause: String| format!("unknown host ({cause})");
    let mut addresses = lookup_host((host, port))
        .await
        .map_err(|error| unknown(error.to_string()))?
        .peekable();
    if addresses.peek().is_none() {
        return Err(unknown("it has no address".to_owned()));
    }
    let mut cause = String::new();
    for address in addresses {
        match TcpStream::connect(address).await {
            Ok(_) => return Ok(()),
            Err(error) => cause = in_words(&error),
        }
    }
    Err(cause)
}

fn in_words(error: &std::io::Error) -> String {
    match error.kind() {
        ErrorKind::ConnectionRefused => "connection refused: nothing listens there".to_owned(),
        ErrorKind::TimedOut => "timed out".to_owned(),
        ErrorKind::HostUnreachable | ErrorKind::NetworkUnreachable => {
            format!("cannot be reached ({error})")
        }
        _ => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use tokio::net::TcpListener;

    use super::*;

    #[tokio::test]
    async fn each_unreachable_server_is_named_with_the_cause() {
        let there = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let away = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let (port, closed) = (
            there.local_addr().unwrap().port(),
            away.local_addr().unwrap().port(),
        );
        drop(away);
        let host = |name: &str, port| (name.to_owned(), port);
        assert_eq!(
            unreachable(&[host("127.0.0.1", port)]).await,
            Vec::<String>::new()
        );
        let found = unreachable(&[
            host("127.0.0.1", port),
            host("127.0.0.1", closed),
            host("no-such-host.invalid", 3306),
        ])
        .await;
        assert_eq!(found.len(), 2, "{found:?}");
        let refused = format!("127.0.0.1:{closed}: connection refused: nothing listens there");
        assert_eq!(found[0], refused);
        assert!(
            found[1].starts_with("no-such-host.invalid:3306: unknown host"),
            "{found:?}"
        );
    }
}
