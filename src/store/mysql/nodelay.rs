//! `TCP_NODELAY` on connections to the database, which sqlx 0.9.0 does not set. Without it, the last part of data sent in
//! several parts waits until the server acknowledges the earlier ones: 40 ms on Linux. With TLS this happens to nearly
//! every batch. docs/adr/adr020-tcp-nodelay.md explains this solution.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use tokio::task::spawn_blocking;

use crate::sockets::set_nodelay_to;

/// Sets it for all connections of this process to these ports. A failure is logged once: the connection works, but is
/// slow.
pub async fn set(ports: Arc<[u16]>) {
    static LOGGED: AtomicBool = AtomicBool::new(false);
    // Blocking, because it reads a small file for each descriptor of the process.
    let set = spawn_blocking(move || set_nodelay_to(&ports)).await;
    let problem = match set.map_err(io::Error::other).flatten() {
        Ok(0) => "the connection is not among the process's descriptors".to_owned(),
        Ok(_) => return,
        Err(error) => error.to_string(),
    };
    if !LOGGED.swap(true, Ordering::Relaxed) {
        tracing::warn!(
            problem,
            "TCP_NODELAY cannot be set on database connections; statements may take 40 ms longer"
        );
    }
}

#[cfg(test)]
mod tests {
    use sqlx::ConnectOptions;
    use sqlx::mysql::MySqlConnectOptions;
    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::sockets::connected_tcp_sockets;

    /// What sqlx does to its sockets, with a server that never greets.
    async fn sqlx_connects(check: impl AsyncFnOnce(u16)) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a listener");
        let port = listener.local_addr().expect("an address").port();
        let options = MySqlConnectOptions::new().host("127.0.0.1").port(port);
        let connecting = tokio::spawn(async move { options.connect().await.is_ok() });
        let (mut server, _) = listener.accept().await.expect("a connection");
        check(port).await;
        connecting.abort();
        let ended = server.read(&mut [0]).await;
        assert!(!matches!(ended, Ok(1..)), "sqlx says nothing first");
    }

    fn is_set(port: u16) -> Vec<bool> {
        let sockets = connected_tcp_sockets().expect("descriptors");
        let to_port = sockets.filter(|socket| {
            let peer = socket.peer_addr();
            peer.is_ok_and(|peer| peer.port() == port)
        });
        to_port
            .map(|socket| socket.nodelay().expect("an option"))
            .collect()
    }

    #[tokio::test]
    async fn sqlx_does_not_set_the_option_itself() {
        sqlx_connects(async |port| {
            let is_set = is_set(port);
            assert!(!is_set.is_empty(), "no connection");
            assert!(
                !is_set.contains(&true),
                "This sqlx sets TCP_NODELAY itself, so the workaround can go: remove this file and its calls, \
                 src/sockets.rs except what tests use, and nix from Cargo.toml; ADR 020 is then superseded."
            );
        })
        .await;
    }

    #[tokio::test]
    async fn it_is_set_on_a_connection_of_sqlx() {
        sqlx_connects(async |port| {
            set([port].into()).await;
            let is_set = is_set(port);
            assert!(!is_set.is_empty() && !is_set.contains(&false));
        })
        .await;
    }
}
