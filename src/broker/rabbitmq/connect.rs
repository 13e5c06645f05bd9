//! One TCP or TLS connection to one host, with a time-out for every step, and a way to cut it.

use std::net::{Shutdown, SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use lapin::tcp::OwnedTLSConfig;
use lapin::types::LongString;
use lapin::uri::{AMQPScheme, AMQPUri};
use lapin::{AsyncTcpStream, Connection, ConnectionProperties};
use tokio::net::lookup_host;
use tokio::time::timeout;

use super::RabbitMqOptions;
use super::connection_status::Purpose;
use super::inbound::{Cleaned, Kit};
use crate::retry::Backoff;

/// A connection is half-open if nothing is received for twice this long.
const HEARTBEAT_SECONDS: u16 = 10;

/// A second handle on the socket of a connection. lapin's I/O thread waits for ever for a peer that stops answering
/// during the handshake or the close; shutting the socket down ends the thread.
#[derive(Clone, Default)]
pub(super) struct Socket(Arc<Mutex<Option<TcpStream>>>);

impl Socket {
    fn keep(&self, stream: &impl AsFd) -> std::io::Result<()> {
        let handle = TcpStream::from(stream.as_fd().try_clone_to_owned()?);
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = Some(handle);
        Ok(())
    }

    /// Ends the connection in any state.
    pub(super) fn cut(&self) {
        if let Some(stream) = self.0.lock().unwrap_or_else(PoisonError::into_inner).take() {
            // It may already be closed, which is fine.
            let _ = stream.shutdown(Shutdown::Both);
        }
    }
}

/// Connects and logs in within the time-out, or cuts the connection and returns why.
pub(super) async fn connect(
    uri: &AMQPUri,
    purpose: Purpose,
    options: &RabbitMqOptions,
) -> Result<(Connection, Socket), String> {
    // rustls needs one provider per process; it is fine if another part of the process has already set it.
    let _ = rustls::crypto::ring::default_provider().install_default();
    let mut uri = uri.clone();
    uri.query.heartbeat.get_or_insert(HEARTBEAT_SECONDS);
    let socket = Socket::default();
    match timeout(
        options.connect_timeout,
        log_in(uri, purpose, options, socket.clone()),
    )
    .await
    {
        Ok(Ok(connection)) => Ok((connection, socket)),
        Ok(Err(error)) => {
            socket.cut();
            Err(error.to_string())
        }
        Err(_) => {
            socket.cut();
            Err("no answer in time".to_owned())
        }
    }
}

async fn log_in(
    uri: AMQPUri,
    purpose: Purpose,
    options: &RabbitMqOptions,
    socket: Socket,
) -> lapin::Result<Connection> {
    let tls = OwnedTLSConfig {
        identity: None,
        cert_chain: options.ca_certificates.clone(),
    };
    // Shown in the broker's own tools.
    let name = LongString::from(format!("{} ({})", options.connection_name, purpose.name()));
    let properties = ConnectionProperties::default().with_connection_name(name);
    let time = options.connect_timeout;
    Connection::connector(
        uri,
        Kit::runtime(),
        async move |uri, _| {
            // A separate time-out, because this runs on a thread that outlives the future that waits for it.
            let stream = async {
                let host = uri.authority.host.as_str();
                let addresses: Vec<SocketAddr> =
                    lookup_host((host, uri.authority.port)).await?.collect();
                // Sets TCP_NODELAY.
                let stream = Kit::connect(addresses).await?;
                if let AsyncTcpStream::Plain(tcp) = &stream {
                    socket.keep(tcp.get_ref())?;
                }
                let wire = match uri.scheme {
                    AMQPScheme::AMQP => stream,
                    AMQPScheme::AMQPS => {
                        let encrypted = stream.into_tls(host, tls.as_ref()).await;
                        encrypted.map_err(not_encrypted)?
                    }
                };
                std::io::Result::Ok(AsyncTcpStream::Plain(Cleaned::new(wire)))
            };
            match timeout(time, stream).await {
                Ok(stream) => stream.map_err(lapin::Error::from),
                Err(_) => Err(std::io::Error::from(std::io::ErrorKind::TimedOut).into()),
            }
        },
        properties,
    )
    .await
}

/// Adds a hint to an error of TLS: the host name must be that of `AMQP_URL`, and its certificate from a known authority.
fn not_encrypted(error: std::io::Error) -> std::io::Error {
    std::io::Error::other(format!(
        "no TLS connection: {error} (check amqps:// and the host name in AMQP_URL, and the CA certificate in AMQP_CA_FILE)"
    ))
}

/// At most 200 ms at first, then up to 5 s. With jitter, so that the processes of a deployment do not all reconnect at
/// once: each delay is at least half as long as it can be.
const RECONNECT: Backoff = Backoff {
    initial: Duration::from_millis(150),
    multiplier: 2.0,
    max_interval: Duration::from_millis(3750),
    jitter: 1.0 / 3.0,
};

/// How long to wait before the next attempt, after this many failures.
pub(super) fn delay(failures: u32) -> Duration {
    RECONNECT.delay_after(failures.saturating_add(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reconnect_delays_grow_to_five_seconds_at_most() {
        for (attempt, longest) in [
            (0, 200),
            (1, 400),
            (4, 3200),
            (5, 5000),
            (40, 5000),
            (u32::MAX, 5000),
        ] {
            let longest = Duration::from_millis(longest);
            for _ in 0..100 {
                let delay = delay(attempt);
                let rounding = Duration::from_micros(1);
                assert!(
                    delay + rounding >= longest / 2 && delay <= longest + rounding,
                    "{attempt}: {delay:?}"
                );
            }
        }
    }
}
