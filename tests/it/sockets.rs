//! Every TCP socket that the service opens or accepts has `TCP_NODELAY`: database and broker with and without TLS, both
//! HTTP listeners, callbacks. Otherwise what leaves in several parts waits 40 ms for the peer's delayed acknowledgment.

use std::net::{SocketAddr, TcpListener};
use std::time::Duration;

use payment_service::broker::rabbitmq::{RabbitMq, RabbitMqOptions, parse_urls};
use payment_service::broker::{Broker as _, ConnectionState};
use payment_service::sockets::connected_tcp_sockets;
use payment_service::store::mysql::parse_url;
use payment_service::store::{Store, StoreError};

use crate::app::{Api, Backend, STORE, eventually, run_on};
use crate::callbacks::receiver::Receiver;
use crate::callbacks::told_to_the_store;
use crate::support::certificates::Certificates;
use crate::support::proxy::{Mode, Proxy};
use crate::support::servers::{Broker, BrokerOptions, Database, DatabaseOptions, fresh_database};

/// Which end of a connection is looked at, by the port that a server listens on.
#[derive(Debug, Clone, Copy)]
enum End {
    /// The one that connected to the port.
    Opened(u16),
    /// The one that the listener of the port accepted.
    Accepted(u16),
}

impl End {
    fn is(self, local: SocketAddr, peer: SocketAddr) -> bool {
        match self {
            Self::Opened(port) => peer.port() == port,
            Self::Accepted(port) => local.port() == port,
        }
    }

    /// Whether each of its sockets in this process has the option.
    fn options(self) -> Vec<bool> {
        let sockets = connected_tcp_sockets().unwrap();
        let of_this_end = sockets.filter(|socket| {
            let (local, peer) = (socket.local_addr(), socket.peer_addr());
            matches!((local, peer), (Ok(local), Ok(peer)) if self.is(local, peer))
        });
        of_this_end.filter_map(|it| it.nodelay().ok()).collect()
    }

    /// A connection that is just being made gets the option a moment later.
    async fn has_no_delay(self, at_least: usize) {
        eventually(&format!("{self:?} has TCP_NODELAY"), || async {
            let options = self.options();
            options.len() >= at_least && !options.contains(&false)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_database_set_tcp_nodelay_with_and_without_tls() {
    let certificates = Certificates::make();
    let with_tls = DatabaseOptions {
        tls: Some(certificates.server.clone()),
        ..DatabaseOptions::default()
    };
    let server = tokio::task::spawn_blocking(move || Database::start(&with_tls));
    let server = server.await.unwrap().unwrap();
    let verified = format!(
        "ssl-mode=VERIFY_IDENTITY&ssl-ca={}",
        certificates.file("right")
    );
    for options in ["ssl-mode=DISABLED", "ssl-mode=REQUIRED", &verified] {
        let url = format!("mysql://root@localhost:{}/mysql?{options}", server.port());
        let database = Store::mysql(parse_url(&url).unwrap(), 4);
        // Connected, and the tables are missing. Several at the same time, so that each has a connection.
        let (first, second, third) =
            tokio::join!(database.check(), database.check(), database.check());
        for checked in [first, second, third] {
            assert!(
                matches!(checked, Err(StoreError::Migration(_))),
                "{options}"
            );
        }
        End::Opened(server.port()).has_no_delay(2).await;
        database.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_next_database_host_set_tcp_nodelay_too() {
    let url = fresh_database().await.unwrap();
    let [first, second] = [(); 2].map(|()| Proxy::before(&url).unwrap());
    let both = format!("127.0.0.1:{},127.0.0.1:{}", first.port(), second.port());
    let (login, place) = url.split_once('@').unwrap();
    let (_, name) = place.split_once('/').unwrap();
    let hosts = parse_url(&format!("{login}@{both}/{name}")).unwrap();
    let database = Store::mysql(hosts, 4);
    database.migrate().await.unwrap();
    End::Opened(first.port()).has_no_delay(1).await;
    first.set(Mode::Cut);
    eventually("the other host is used", || async {
        database.check().await.is_ok() && second.open() > 0
    })
    .await;
    End::Opened(second.port()).has_no_delay(1).await;
    database.close().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn connections_to_the_broker_set_tcp_nodelay_with_and_without_tls() {
    let certificates = Certificates::make();
    let with_tls = BrokerOptions {
        tls: Some(certificates.server.clone()),
        ..BrokerOptions::default()
    };
    let server = tokio::task::spawn_blocking(move || Broker::start(&with_tls));
    let server = server.await.unwrap().unwrap();
    let authority = std::fs::read_to_string(certificates.file("right")).unwrap();
    for (scheme, port) in [("amqp", server.port()), ("amqps", server.tls_port())] {
        let url = format!("{scheme}://guest:guest@localhost:{port}/test-0");
        let hosts = parse_urls(&url).unwrap();
        let hosts = match scheme {
            "amqps" => hosts.with_ca(&authority).unwrap(),
            _ => hosts,
        };
        let broker = RabbitMq::new(RabbitMqOptions::new(hosts, "sockets").unwrap());
        let mut connection = broker.connection();
        let up = connection.wait_for(|state| *state == ConnectionState::Up);
        let up = tokio::time::timeout(Duration::from_secs(20), up).await;
        drop(up.expect("a connection in time").unwrap());
        End::Opened(port).has_no_delay(1).await;
        broker.close().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn requests_to_both_listeners_and_callbacks_set_tcp_nodelay() {
    let receiver = Receiver::start().await;
    let admin: SocketAddr = {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        listener.local_addr().unwrap()
    };
    let setup = told_to_the_store(&receiver).with("ADMIN_ADDR", &admin.to_string());
    run_on(setup, Backend::Embedded, async |app| {
        let store = app.api.with_key(STORE.1);
        store.pay(1, "tok_visa").await;
        receiver.called(1).await;
        let operators = Api::new(admin);
        operators.get("/health/live").await.is(200);
        let request = app.api.request(reqwest::Method::GET, "/").build().unwrap();
        let api = request.url().port().unwrap();
        for end in [
            End::Accepted(api),
            End::Accepted(admin.port()),
            End::Opened(receiver.address.port()),
        ] {
            end.has_no_delay(1).await;
        }
    })
    .await;
}
